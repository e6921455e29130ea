"""Everything that decides what a run answers, in one checked object.

The runner writes its settings into the run's config.json, from which its workers read them; both
compute the same fingerprint from them, and every stored prediction carries it: predictions made
under other settings, or for another annotation file, can therefore never be mixed into a run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from hermes.config import PROFILES
from hermes.policy_text import POLICY_NAMES
from inference.checkpoints.models import MODELS
from video_qa.settings.pixel_presets import PRESETS, pixels

SAMPLINGS = ("timestamps", "released")
LATE_QUESTIONS = ("error", "answer")
VIDEO_BACKENDS = ("pyav", "decord", "torchcodec", "torchcodec-cuda")
DTYPES = ("float16", "bfloat16", "float32")
DEFAULT_ENGINE = "inference:load_model"
ATTENTIONS = ("auto", "sdpa", "flash")
EXECUTIONS = ("auto", "plain", "fused", "captured")
IN_ORDER = "in_order"
TURNS = (IN_ORDER, "shuffled", "alone")
"""What was asked before a question; `video_qa.lanes.turns` says how."""
POLICIES_HELP = ", ".join(POLICY_NAMES)
MODEL_HELP = f"{', '.join(MODELS)}; or a checkpoint folder or hub id"


class SettingsError(ValueError):
    """A setting of the run is missing or makes no sense."""


@dataclass(frozen=True)
class RunSettings:
    """Settings of one run; see ``add_settings_arguments`` for what each one means.

    Raises:
        SettingsError: a value is missing or out of range.
    """

    model: str
    kv_size: int
    sample_fps: float
    streaming: bool
    policy: str = "hermes"
    profile: str = "released"
    sampling: str = "timestamps"
    late_questions: str = "error"
    max_new_tokens: int | None = None
    max_pixels: int | None = None
    chunk_frames: int = 16
    video_backend: str = "pyav"
    dtype: str | None = None
    attn: str = "auto"
    execution: str = "auto"
    engine: str = DEFAULT_ENGINE
    decode_workers: int | None = None
    """Decides no answer and is therefore not part of a run's identity."""
    turns: str = IN_ORDER
    """One of `TURNS`; only `video_qa/robustness.py` asks otherwise than in order."""

    def __post_init__(self) -> None:
        if self.kv_size is None:
            raise SettingsError(
                "--kv_size is missing: visual tokens kept per layer, e.g. --kv_size 6000"
            )
        for name in ("kv_size", "max_new_tokens", "max_pixels", "chunk_frames", "decode_workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"--{name} must be at least 1, got {value}")
        if not (math.isfinite(self.sample_fps) and self.sample_fps > 0):
            raise SettingsError(
                f"--sample_fps must be a number of frames per second above 0, got {self.sample_fps}"
            )
        if self.turns not in TURNS:
            raise SettingsError(f"turns are asked {', '.join(TURNS)}; got '{self.turns}'")
        # 1 and 1.0 are the same rate, but not the same text in a fingerprint.
        object.__setattr__(self, "sample_fps", float(self.sample_fps))

    @classmethod
    def among(cls, values: Mapping[str, Any]) -> RunSettings:
        """Those of ``values`` (arguments, the settings in a config.json) that are settings."""
        given = {field.name: values[field.name] for field in fields(cls) if field.name != "turns"}
        return cls(**given, turns=values.get("turns", IN_ORDER))


def add_settings_arguments(parser: argparse.ArgumentParser, with_policy: bool = True) -> None:
    """Arguments that the runner and its workers share, except model, fps, budget and streaming."""
    add = parser.add_argument
    if with_policy:
        policy_help = (
            f"memory policy: {POLICIES_HELP}; with options of its own or of the memory as "
            "NAME:OPTION=VALUE:..., e.g. hermes:reindex=eager (default: %(default)s)"
        )
        add("--policy", default="hermes", help=policy_help)
    profile_help = f"profile of constants: {', '.join(PROFILES)} (default: %(default)s)"
    add("--profile", default="released", help=profile_help)
    add("--sampling", choices=SAMPLINGS, default="timestamps", help="rule that picks the frames")
    add(
        "--late_questions",
        choices=LATE_QUESTIONS,
        default="error",
        help="what to do when end_time lies after the end of the video: an error row (default), or "
        "an answer from the whole video",
    )
    add("--max_new_tokens", type=int, help="default: 16 for multiple choice, 256 for open ended")
    caps = f"largest frame area the model sees (Qwen), or {', '.join(PRESETS)} (default: released)"
    add("--max_pixels", type=pixels, help=caps)
    add("--chunk_frames", type=int, default=16, help="most frames encoded at once (default: 16)")
    add("--video_backend", choices=VIDEO_BACKENDS, default="pyav", help="video reader")
    workers = "pieces of a video decoded at a time (default: one per core, at most 4)"
    add("--decode_workers", type=int, help=workers)
    add("--dtype", choices=DTYPES, help="default: float16 on a GPU, float32 on the CPU")
    add("--attn", choices=ATTENTIONS, default="auto", help="attention kernels")
    add(
        "--execution",
        choices=EXECUTIONS,
        default="auto",
        help="module by module, in few operators (where that can be, it is the default), or "
        "answers as CUDA graphs too; the answers are the same, but for near ties",
    )
    add(
        "--engine",
        metavar="MODULE:FUNCTION",
        default=DEFAULT_ENGINE,
        help="function that loads the model; same signature as %(default)s",
    )


def fingerprint(described: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that differ whenever anything in ``described`` differs."""
    canonical = json.dumps(described, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each entry in which two descriptions of a run differ."""
    names = [*wanted, *(name for name in stored if name not in wanted)]
    return [
        f"{name}: {stored.get(name)!r} there, {wanted.get(name)!r} now"
        for name in names
        if stored.get(name) != wanted.get(name)
    ]

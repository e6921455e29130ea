"""Replaying traces of the released engines: the same run here, compared step by step.

A reduced trace (scripts/shrink_golden.py) names the layers of its keys and values in `state_layers`
and holds them for some steps only; kept indices, positions and answers are always complete.

Shapes: l layers, g key heads, n tokens, d head width, a position axes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from inference.abstract_hermes import AbstractHermes
from inference.checkpoints.loading import load_model

QUESTION = (
    "Question: What is shown in part {chunk}?\nOptions:\n(A) one\n(B) two\n(C) three\n(D) four\n"
    "Only give the best option."
)
MAX_NEW_TOKENS = 12
QUESTION_PERIOD = 3
"""A question follows chunks 2, 5, 8, ..."""


class TraceError(ValueError):
    """A file is no trace; the message says what it lacks."""


@dataclass
class Replay:
    """What one trace showed."""

    name: str
    num_steps: int = 0
    kept_mismatches: list[str] = field(default_factory=list)
    position_mismatches: list[str] = field(default_factory=list)
    largest_error: float = 0.0
    """Largest absolute difference of a rotated key or a value."""
    answer_mismatches: list[str] = field(default_factory=list)

    def passed(self, tolerance: float) -> bool:
        """Everything exact, keys and values within `tolerance`."""
        exact = not (self.kept_mismatches or self.position_mismatches or self.answer_mismatches)
        return exact and self.largest_error <= tolerance

    def line(self, tolerance: float) -> str:
        """One line for the terminal."""
        parts = [
            f"{self.num_steps} steps",
            _verdict("kept", self.kept_mismatches),
            _verdict("positions", self.position_mismatches),
            f"largest key/value error {self.largest_error:.1e}",
            _verdict("answers", self.answer_mismatches),
        ]
        return f"{'ok  ' if self.passed(tolerance) else 'FAIL'} {self.name}: {', '.join(parts)}"


def _verdict(what: str, mismatches: list[str]) -> str:
    return f"{what} exact" if not mismatches else f"{what} differ ({'; '.join(mismatches[:3])})"


def replay(checkpoint: str | Path, trace_path: str | Path) -> Replay:
    """Run the trace's video through our engine under the `released` profile and compare.

    Raises:
        TraceError: the file is not a trace.
        ModelLoadError: the checkpoint cannot be loaded.
    """
    trace = _read(trace_path)
    engine, _ = load_model(
        checkpoint,
        kv_size=int(trace["kv_size"]),
        streaming=bool(trace["streaming"]),
        device="cpu",
        sample_fps=float(trace.get("sample_fps", 1.0)),
    )
    result = Replay(Path(trace_path).name)
    _compare_prefix(engine, trace, result)
    num_chunks = sum(key.endswith("_applied") for key in trace)
    frames, length = trace["frames"], -(-len(trace["frames"]) // num_chunks)
    chunks = [frames[start : start + length] for start in range(0, len(frames), length)]
    answers = list(trace["answers"])
    for index, chunk in enumerate(chunks):
        engine.encode_video_chunk(chunk)
        if index == 0:
            _compare_states(engine, trace, "first_chunk", result)
        _compress(engine, trace, index, result)
        if index % QUESTION_PERIOD == QUESTION_PERIOD - 1 and answers:
            _ask(engine, index, str(answers.pop(0)), result)
    if answers:
        result.answer_mismatches.append(f"{len(answers)} answers of the trace were never asked for")
    return result


def _read(path: str | Path) -> dict[str, Any]:
    try:
        with np.load(path) as archive:
            trace = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zlib.error, BadZipFile) as error:
        raise TraceError(f"cannot read the trace {path}: {error}") from error
    except (AttributeError, TypeError):  # a single array is no context manager
        raise TraceError(f"{path} is not a trace: it holds a single array") from None
    if lacking := [key for key in _needed(trace) if key not in trace]:
        raise TraceError(f"{path} is not a trace: it lacks {', '.join(lacking)}")
    return trace


def _needed(trace: dict[str, Any]) -> list[str]:
    needed = ["frames", "init_ids", "kv_size", "streaming", "answers", "c0_applied"]
    steps = [key.removesuffix("_applied") for key in trace if key.endswith("_applied")]
    needed += [f"{step}_positions" for step in steps]
    states = ["first_chunk"] if "state_layers" in trace else ["first_chunk", *steps]
    return needed + [f"{step}_{kind}" for step in states for kind in "kv"]


def _compare_prefix(engine: AbstractHermes, trace: dict[str, Any], result: Replay) -> None:
    ids = engine.processor.encode(engine.init_prompt)
    if not np.array_equal(ids.numpy(), trace["init_ids"].ravel()):
        result.kept_mismatches.append("init prompt has other token ids")
    engine.encode_init_prompt()


def _compress(engine: AbstractHermes, trace: dict[str, Any], index: int, result: Replay) -> None:
    frames_before = engine.memory.num_tokens
    engine.predict_and_compress()
    result.num_steps += 1
    done = engine.last_compression
    if done.entered != bool(trace[f"c{index}_applied"]):
        result.kept_mismatches.append(f"chunk {index}: pruning entered {done.entered}")
    if f"c{index}_keep" in trace:
        expected = np.split(trace[f"c{index}_keep"], np.cumsum(trace[f"c{index}_keep_len"])[:-1])
        for layer, kept in enumerate(rows_with_prefix(engine, done.kept, frames_before)):
            if not np.array_equal(kept, np.sort(expected[layer])):
                result.kept_mismatches.append(f"chunk {index} layer {layer}")
    _compare_positions(engine, trace[f"c{index}_positions"], index, result)
    if f"c{index}_k" in trace or "state_layers" not in trace:
        _compare_states(engine, trace, f"c{index}", result)


def rows_with_prefix(engine: AbstractHermes, kept: Any, num_tokens: int) -> list[np.ndarray]:
    """Per layer the kept tokens, counted from the first of the prefix, which is kept whole."""
    prefix = engine.memory.num_prefix
    if kept is None:
        return [np.arange(num_tokens)] * engine.memory.num_layers
    return [np.concatenate((np.arange(prefix), prefix + rows.numpy())) for rows in kept]


def _compare_positions(
    engine: AbstractHermes, expected: np.ndarray, index: int, result: Replay
) -> None:
    memory = engine.memory
    ours = memory.positions[..., : memory.num_tokens].numpy()
    theirs = expected if expected.ndim == 3 else expected[:, None]
    if ours.shape != theirs.shape:
        result.position_mismatches.append(f"chunk {index}: shape {ours.shape}, {theirs.shape}")
    elif not np.allclose(ours, theirs, rtol=0, atol=1e-3):
        layer = int(np.abs(ours - theirs).max(axis=(1, 2)).argmax())
        result.position_mismatches.append(f"chunk {index} layer {layer}")


def _compare_states(
    engine: AbstractHermes, trace: dict[str, Any], step: str, result: Replay
) -> None:
    keys, values = trace[f"{step}_k"], trace[f"{step}_v"]
    cache = engine.kv_cache or []
    for row, layer in enumerate(trace.get("state_layers", range(len(cache)))):
        for ours, theirs in zip(cache[layer], (keys[row], values[row]), strict=True):
            result.largest_error = max(result.largest_error, _distance(ours, theirs))


def _distance(ours: Tensor, theirs: np.ndarray) -> float:
    expected = torch.from_numpy(theirs)
    if ours.shape != expected.shape:
        return float("inf")
    return float((ours - expected).abs().max())


def _ask(engine: AbstractHermes, index: int, expected: str, result: Replay) -> None:
    body = QUESTION.format(chunk=index)
    asked = {
        "question": body,
        "formatted_question": body,
        "prompt": engine.get_prompt(body, mc=True),
    }
    answer = engine.question_answering(asked, max_new_tokens=MAX_NEW_TOKENS)
    if answer != expected:
        result.answer_mismatches.append(f"after chunk {index}: {answer!r}, expected {expected!r}")

"""A run as it lies in its folder, ready to be put into a table beside others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from video_qa.results.predictions import Key, Prediction, read_predictions
from video_qa.runner.shards import PREDICTIONS_FILE

OWN_SETTINGS = ("policy", "kv_size")
"""What runs of one table may differ in."""
ENGINE_FACTS = ("prompts_hash", "dtype", "attn")
"""What the engine adds to the protocol."""


class ComparisonError(ValueError):
    """Runs cannot be compared; the message says why and what to do."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder that has been read."""

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    predictions: Mapping[Key, Prediction]

    @property
    def policy(self) -> str:
        """The policy as it was written on the command line."""
        return str(self.config["settings"]["policy"])

    @property
    def kv_size(self) -> int:
        """Visual tokens per layer."""
        return int(self.config["settings"]["kv_size"])

    @property
    def run_id(self) -> str:
        """Fingerprint of settings and annotations."""
        return str(self.config["run_id"])

    @property
    def engine(self) -> Mapping[str, Any]:
        """What the engine said of itself; empty if it never did."""
        return self.config.get("engine") or {}

    @property
    def protocol(self) -> dict[str, Any]:
        """Everything that has to be the same for answers to be comparable."""
        settings = self.config["settings"]
        shared = {name: settings[name] for name in settings if name not in OWN_SETTINGS}
        facts = {name: self.engine.get(name) for name in ENGINE_FACTS}
        return {"dataset": self.config.get("dataset")} | shared | prefixed(facts)


def prefixed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Names of engine facts, told apart from the settings asked for (`dtype`: None, say)."""
    return {f"engine.{name}": value for name, value in facts.items()}


def read_run(folder: Path, keys: Sequence[Key]) -> FinishedRun:
    """Read a run folder; of its predictions those with the given keys.

    Raises:
        ComparisonError: no run there, or it lacks predictions.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        complete = {"run_id", "settings"} <= set(config)
    except (OSError, ValueError, TypeError) as error:
        raise ComparisonError(
            f"{folder} holds no run of this program: cannot read its config.json ({error}); give "
            "folders that video_qa/run_infer.py or video_qa/compare.py wrote"
        ) from error
    if not complete or not set(OWN_SETTINGS) <= set(config["settings"]):
        raise ComparisonError(f"{folder}/config.json names no run, policy and kv_size")
    found = read_predictions([folder / PREDICTIONS_FILE], config["run_id"])
    if lacking := [key for key in keys if key not in found]:
        raise ComparisonError(
            f"{folder} lacks {len(lacking)} of {len(keys)} questions; finish that run first"
        )
    return FinishedRun(
        folder, config, _environment(folder), {key: found[key] for key in keys if key in found}
    )


def check_same_protocol(runs: Iterable[FinishedRun]) -> None:
    """Refuse runs that were not made alike.

    Raises:
        ComparisonError: names every setting that differs and which run has which value.
    """
    runs = list(runs)
    lines = []
    for name in dict.fromkeys(name for run in runs for name in run.protocol):
        holders: dict[str, list[str]] = {}
        for run in runs:
            holders.setdefault(repr(run.protocol.get(name)), []).append(str(run.folder))
        if len(holders) > 1:
            values = "; ".join(f"{value} in {', '.join(who)}" for value, who in holders.items())
            lines.append(f"  {name}: {values}")
    if lines:
        raise ComparisonError(
            "these runs were made under different protocols and do not belong into one table:\n"
            + "\n".join(lines)
            + "\nmake them again under one protocol (--overwrite), or compare them separately"
        )


def _environment(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}

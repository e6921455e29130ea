"""A run as it lies in its folder, ready to be put into a table beside others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from video_qa.json_input.json_text import json_object
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import read_predictions
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
    def is_imported(self) -> bool:
        """Made by other code, which said little about its protocol."""
        return self.config.get("imported_from") is not None

    @property
    def protocol(self) -> dict[str, Any]:
        """Everything that has to be the same for answers to be comparable."""
        settings = self.config["settings"]
        shared = {name: settings[name] for name in settings if name not in OWN_SETTINGS}
        facts = {name: self.engine.get(name) for name in ENGINE_FACTS}
        if self.is_imported:
            facts = {name: fact for name, fact in facts.items() if fact is not None}
        return {"dataset": self.config.get("dataset")} | shared | prefixed(facts)


def prefixed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Names of engine facts, told apart from the settings asked for (`dtype`: None, say)."""
    return {f"engine.{name}": value for name, value in facts.items()}


def read_run(folder: Path, keys: Sequence[Key]) -> FinishedRun:
    """Read a run folder; of its predictions those with the given keys.

    Raises:
        ComparisonError: no run there, or it lacks predictions.
    """
    from video_qa.results.stored import ComparedConfig, config_of  # needs pydantic

    try:
        config = config_of(folder / "config.json", ComparedConfig)
    except (OSError, ValueError) as error:
        raise ComparisonError(
            f"{folder} holds no run of this program: cannot use its config.json ({error}); give "
            "folders that video_qa/run_infer.py or video_qa/compare.py wrote"
        ) from error
    found = read_predictions([folder / PREDICTIONS_FILE], config["run_id"])
    if lacking := [key for key in keys if key not in found]:
        raise ComparisonError(
            f"{folder} lacks {len(lacking)} of {len(keys)} questions; finish that run first"
        )
    environment = json_object(folder / "environment.json") or {}
    return FinishedRun(folder, config, environment, {key: found[key] for key in keys})


def check_same_protocol(runs: Iterable[FinishedRun]) -> None:
    """Refuse runs that were not made alike, as far as imported ones say how they were made.

    Raises:
        ComparisonError: names every setting that differs and which run has which value.
    """
    runs = list(runs)
    lines = []
    for name in dict.fromkeys(name for run in runs for name in run.protocol):
        holders: dict[str, list[str]] = {}
        for run in runs:
            if run.is_imported and name not in run.protocol:
                continue
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

"""What a run stored, read back and checked field by field."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from video_qa.json_input.checks import Checked, Identifier, check
from video_qa.json_input.json_text import read_json
from video_qa.results.prediction import Prediction

FIELDS = {field.name for field in fields(Prediction)}


class StoredPrediction(Checked):
    """A line of predictions.jsonl; what it holds beside these fields is the answer's timing."""

    model_config = ConfigDict(extra="allow")

    run_id: str
    video_index: int
    video_id: Identifier
    question_index: int
    question: str
    end_time: float | None
    prediction: str
    prediction_stripped: str = ""
    letter: str | None
    correct_letter: str | None
    correct: bool | None
    num_frames: int
    num_corrupt_frames: int = 0
    """Absent from predictions that earlier versions wrote."""
    error: str | None


class StoredConfig(Checked):
    """What is read of the config.json of any run."""

    settings: dict[str, Any]
    engine: dict[str, Any] | None = None


class ComparedSettings(Checked):
    """What runs of one table may differ in."""

    policy: str
    kv_size: int


class ComparedConfig(Checked):
    """What it must hold for a run to be put beside others."""

    run_id: str
    settings: ComparedSettings
    engine: dict[str, Any] | None = None


def prediction_of(line: str) -> Prediction:
    """The inverse of `Prediction.to_json`. Raises ValueError on anything else."""
    found = dict(check(StoredPrediction, read_json(line, parse_int=int), "not a prediction"))
    del found["prediction_stripped"]
    timing = {name: found.pop(name) for name in list(found) if name not in FIELDS}
    return Prediction(**found, timing=timing)


def config_of(path: Path, schema: type[Checked] = StoredConfig) -> dict[str, Any]:
    """The content of a config.json. Raises OSError and ValueError; the message names the field."""
    content = read_json(path.read_text(encoding="utf-8"), parse_int=int)
    check(schema, content, path.name)
    return content

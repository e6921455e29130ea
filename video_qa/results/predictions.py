"""Predictions on disk: one JSON line per question, safe against kills and full disks."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from video_qa.results.atomic_file import REMEDY, write_text_atomically

logger = logging.getLogger(__name__)

LATER_FIELDS = ("num_corrupt_frames",)
"""Absent from predictions that earlier versions wrote."""

Key = tuple[int, int]  # (index of the video in the annotation file, index of the question in it)


class PredictionsError(OSError):
    """Predictions cannot be read or written; what was written before is kept."""


@dataclass(frozen=True)
class Prediction:
    """The reply to one question, or the error that stands in its place.

    Attributes:
        run_id: fingerprint of the settings and annotations it was made under.
        prediction: the model's text, unchanged; empty where ``error`` is set. The file also holds
            ``prediction_stripped``, the same without the spaces around it.
        letter: the letter read out of it; None for open-ended questions.
        correct: whether that letter is the right one; None for open-ended questions.
        num_frames: frames of the video seen before the answer.
        num_corrupt_frames: frames decoded for them that were damaged and had to be guessed at.
        timing: seconds and token counts of the answer, as the engine measured them.
    """

    run_id: str
    video_index: int
    video_id: int | str
    question_index: int
    question: str
    end_time: float | None
    prediction: str = ""
    letter: str | None = None
    correct_letter: str | None = None
    correct: bool | None = None
    num_frames: int = 0
    num_corrupt_frames: int = 0
    error: str | None = None
    timing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.video_index, self.question_index

    def to_json(self) -> str:
        """One line of JSON; the timing fields stand beside the others, as pandas likes it."""
        values = asdict(self) | {"prediction_stripped": self.prediction.strip()}
        timing = values.pop("timing")
        return json.dumps(values | {k: v for k, v in timing.items() if k not in values})

    @classmethod
    def from_json(cls, line: str) -> Prediction:
        """The inverse of ``to_json``. Raises ValueError, TypeError or KeyError on anything else."""
        values = json.loads(line)
        values.pop("prediction_stripped", None)
        names = [f.name for f in fields(cls) if f.name != "timing"]
        own = {
            name: values.pop(name) for name in names if name in values or name not in LATER_FIELDS
        }
        return cls(**own, timing=values)


class PredictionLog:
    """Append-only file of predictions; each one is on the disk before ``append`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab", buffering=0)
            self._drop_half_written_line()
        except OSError as error:
            raise PredictionsError(f"cannot write predictions to {path}: {error}") from error

    def _drop_half_written_line(self) -> None:
        content = self._path.read_bytes()
        self._file.truncate(content.rfind(b"\n") + 1)

    def append(self, prediction: Prediction) -> None:
        """Write one line and wait until it is on the disk.

        Raises:
            PredictionsError: the disk refused it; the lines before it are kept.
        """
        try:
            line = prediction.to_json().encode() + b"\n"
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise PredictionsError(
                f"cannot write to {self._path}: {error}. Answers written before are kept: {REMEDY}"
            ) from error

    def __enter__(self) -> PredictionLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()


def read_predictions(paths: Iterable[Path], run_id: str) -> dict[Key, Prediction]:
    """The predictions of one run, a later line over an earlier one, an answer over an error.

    Lines of other runs are left out with a warning, and so is a last line cut short by a kill.

    Raises:
        PredictionsError: a line in the middle of a file is damaged.
    """
    found: dict[Key, Prediction] = {}
    for path in paths:
        predictions = list(_read_file(path))
        mine = [prediction for prediction in predictions if prediction.run_id == run_id]
        if len(mine) < len(predictions):
            logger.warning(
                "%s: %d lines of other runs left out", path, len(predictions) - len(mine)
            )
        for prediction in mine:
            if prediction.error is None or _is_missing(found, prediction.key):
                found[prediction.key] = prediction
    return found


def holds_other_runs(path: Path, run_id: str) -> bool:
    """Whether some line of a file was written by another run."""
    return any(prediction.run_id != run_id for prediction in _read_file(path))


def answer_texts(predictions: Mapping[Key, Prediction]) -> dict[Key, str]:
    """The answers among the predictions; errors are left out, so their questions are asked anew."""
    return {key: p.prediction for key, p in predictions.items() if p.error is None}


def _is_missing(found: Mapping[Key, Prediction], key: Key) -> bool:
    return key not in found or found[key].error is not None


def _read_file(path: Path) -> Iterable[Prediction]:
    try:
        complete_lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    except FileNotFoundError:
        return
    except OSError as error:
        raise PredictionsError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(complete_lines, start=1):
        try:
            yield Prediction.from_json(line)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise PredictionsError(
                f"{path}, line {number} is damaged ({error!r}); remove that line or use --overwrite"
            ) from error


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Replace ``path`` by these predictions in annotation order, atomically."""
    ordered = sorted(predictions, key=lambda prediction: prediction.key)
    write_text_atomically(path, "".join(f"{p.to_json()}\n" for p in ordered))

"""Predictions on disk: one JSON line per question, safe against kills and full disks."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from eval.whole_file import REMEDY, write_text
from video_qa.results.prediction import Key, Prediction

logger = logging.getLogger(__name__)


class PredictionsError(OSError):
    """Predictions cannot be read or written; what was written before is kept."""


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
    from video_qa.results.stored import prediction_of  # needs pydantic

    for number, line in enumerate(complete_lines, start=1):
        try:
            yield prediction_of(line)
        except ValueError as error:
            raise PredictionsError(
                f"{path}, line {number} is damaged ({error}); remove that line or use --overwrite"
            ) from error


def write_predictions(path: Path, predictions: Iterable[Prediction]) -> None:
    """Replace ``path`` by these predictions in annotation order, atomically."""
    ordered = sorted(predictions, key=lambda prediction: prediction.key)
    write_text(path, "".join(f"{p.to_json()}\n" for p in ordered))

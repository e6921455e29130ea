"""The annotation schema: what is asked about which video, and when.

An annotation file is a JSON list with one object per video entry. ``load_annotations`` reads it
into frozen ``Video`` and ``Question`` objects and checks every field it uses; keys it does not
know are ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.multiple_choice import LETTERS
from video_qa.questions.json_fields import AnnotationError, JsonFields, shown
from video_qa.questions.json_text import NestingError, read_json

logger = logging.getLogger(__name__)

MULTIPLE_CHOICE = "multiple_choice"
OPEN_ENDED = "open_ended"


@dataclass(frozen=True)
class Question:
    """One question of a video.

    ``choices`` is None for open-ended questions; ``end_time_seconds`` None asks after the video.
    """

    question: str
    answer: str | None
    choices: tuple[str, ...] | None = None
    end_time_seconds: float | None = None
    task: str | None = None

    @property
    def reference_answer(self) -> str | None:
        """The answer to compare with; the first choice stands in for a withheld (null) one."""
        return self.choices[0] if self.answer is None and self.choices else self.answer

    @property
    def correct_letter(self) -> str | None:
        """Letter of the first choice equal to the answer; None for open-ended questions."""
        if self.choices is None or self.reference_answer is None:
            return None
        return LETTERS[self.choices.index(self.reference_answer)]


@dataclass(frozen=True)
class Video:
    """One entry of an annotation file.

    ``index`` is its position in the file, ``clip_seconds`` the part [start, end] to watch (None:
    all of it), ``folder_fps`` the frame rate of a folder of images.
    """

    index: int
    video_id: int | str
    video_path: str
    questions: tuple[Question, ...]
    folder_fps: float | None = None
    clip_seconds: tuple[float, float] | None = None
    duration_category: str | None = None


def load_annotations(path: str | Path, kind: str | None = None) -> tuple[Video, ...]:
    """Read an annotation file.

    Args:
        path: a JSON file in the released schema.
        kind: ``MULTIPLE_CHOICE`` or ``OPEN_ENDED`` demands that every question is of that kind.

    Raises:
        AnnotationError: unreadable file, missing or mistyped field, answer not among the choices,
            question of the wrong kind.
    """
    entries = _read_json(Path(path))
    if not isinstance(entries, list) or not entries:
        raise AnnotationError(
            f"{path}: expected a JSON list with one object per video, got {shown(entries)}"
        )
    videos = tuple(_parse_video(entry, i, str(path), kind) for i, entry in enumerate(entries))
    _warn_of_duplicate_choices(videos, path)
    return videos


def _read_json(path: Path) -> Any:
    try:
        return read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"no annotation file at {path}; give one with --anno_path") from None
    except OSError as error:
        raise AnnotationError(f"cannot read the annotation file {path}: {error}") from error
    except NestingError as error:
        raise AnnotationError(f"{path}, {error}") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise AnnotationError(f"{path} is not valid JSON: {error}") from error


def _parse_video(value: Any, index: int, path: str, kind: str | None) -> Video:
    fields = JsonFields(value, f"{path}, entry {index}")
    video_id = fields.required("video_id")
    if isinstance(video_id, bool) or not isinstance(video_id, int | str):
        raise fields.failure("video_id", f"expected an integer or text, got {shown(video_id)}")
    if isinstance(video_id, str):
        fields.check_text("video_id", video_id)
    fields.where += f" (video_id {video_id!r})"
    folder_fps = fields.number_or_none("fps")
    if folder_fps is not None and folder_fps <= 0:
        raise fields.failure("fps", f"expected frames per second above 0, got {folder_fps:g}")
    task = fields.text_or_none("task")
    return Video(
        index=index,
        video_id=video_id,
        video_path=fields.text("video_path"),
        questions=tuple(
            _parse_question(item, f"{fields.where}, conversations[{i}]", task, kind)
            for i, item in enumerate(fields.items("conversations"))
        ),
        folder_fps=folder_fps,
        clip_seconds=_parse_clip(fields),
        duration_category=fields.text_or_none("duration_category"),
    )


def _parse_question(value: Any, where: str, video_task: str | None, kind: str | None) -> Question:
    fields = JsonFields(value, where)
    choices = _parse_choices(fields)
    if kind == MULTIPLE_CHOICE and choices is None:
        raise fields.failure(
            "choices", "missing; every question of this dataset is multiple choice"
        )
    if kind == OPEN_ENDED and choices is not None:
        raise fields.failure(
            "choices", "not expected; every question of this dataset is open ended"
        )
    return Question(
        question=fields.text("question"),
        answer=_parse_answer(fields, choices),
        choices=choices,
        end_time_seconds=fields.number_or_none("end_time"),
        task=fields.text_or_none("task") or fields.text_or_none("question_type") or video_task,
    )


def _parse_choices(fields: JsonFields) -> tuple[str, ...] | None:
    if not fields.has("choices"):
        return None
    values = fields.items("choices")
    if len(values) > len(LETTERS):
        limit = f"at most {len(LETTERS)} options ({LETTERS[0]} to {LETTERS[-1]})"
        raise fields.failure("choices", f"expected {limit}, got {len(values)}")
    for value in values:
        if not isinstance(value, str):
            raise fields.failure("choices", f"expected a list of texts, found {shown(value)}")
        fields.check_text("choices", value)
    return tuple(values)


def _parse_answer(fields: JsonFields, choices: Sequence[str] | None) -> str | None:
    value = fields.required("answer")
    if value is None and choices is not None:
        return None
    if not isinstance(value, str):
        raise fields.failure("answer", f"expected text, got {shown(value)}")
    fields.check_text("answer", value)
    if choices is not None and value not in choices:
        raise fields.failure("answer", f"{value!r} is not among the choices {list(choices)}")
    return value


def _parse_clip(fields: JsonFields) -> tuple[float, float] | None:
    if not fields.has("clip"):
        return None
    bounds = [fields.as_number("clip", bound) for bound in fields.items("clip")]
    if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1]:
        expected = "expected [start, end] in seconds with 0 <= start < end"
        raise fields.failure("clip", f"{expected}, got {bounds}")
    return bounds[0], bounds[1]


def _warn_of_duplicate_choices(videos: Sequence[Video], path: str | Path) -> None:
    # The published files contain such questions, so they must load.
    doubtful = [
        f"entry {video.index} conversations[{i}]"
        for video in videos
        for i, question in enumerate(video.questions)
        if question.choices and len(set(question.choices)) < len(question.choices)
    ]
    if doubtful:
        logger.warning(
            "%s: %d question(s) offer the same option twice (the first one counts): %s",
            path,
            len(doubtful),
            "; ".join(doubtful),
        )

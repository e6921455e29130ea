"""Reading an annotation file: a JSON list with one object per video entry."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from video_qa.json_input.json_text import NestingError, read_json
from video_qa.questions.annotations import Video

logger = logging.getLogger(__name__)


class AnnotationError(ValueError):
    """An annotation file cannot be used; the message names file, entry and field."""


def load_annotations(path: str | Path, kind: str | None = None) -> tuple[Video, ...]:
    """Read an annotation file.

    Args:
        path: a JSON file in the released schema.
        kind: ``MULTIPLE_CHOICE`` or ``OPEN_ENDED`` demands that every question is of that kind.

    Raises:
        AnnotationError: unreadable file, missing or mistyped field, answer not among the choices,
            question of the wrong kind.
    """
    # They need pydantic, which a machine that only watches does not.
    from video_qa.json_input.checks import shown
    from video_qa.questions.annotation_schema import read_entry

    entries = _read_json(Path(path))
    if not isinstance(entries, list) or not entries:
        raise AnnotationError(
            f"{path}: expected a JSON list with one object per video, got {shown(entries)}"
        )
    try:
        videos = tuple(read_entry(entry, i, str(path), kind) for i, entry in enumerate(entries))
    except ValueError as error:
        raise AnnotationError(str(error)) from error
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

"""The released schema of annotations, field by field; keys that it does not name are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from inference.multiple_choice import LETTERS
from video_qa.json_input.checks import (
    Characters,
    Checked,
    Identifier,
    Number,
    Text,
    check,
    problem,
)
from video_qa.questions.annotations import MULTIPLE_CHOICE, OPEN_ENDED, Question, Video


def _bounds(clip: list[float]) -> list[float]:
    if len(clip) != 2 or not 0 <= clip[0] < clip[1]:
        raise problem("expected [start, end] in seconds with 0 <= start < end")
    return clip


class QuestionEntry(Checked):
    """One of the ``conversations`` of a video."""

    choices: Annotated[list[Characters], Field(min_length=1)] | None = Field(
        default=None, validate_default=True
    )
    question: Text
    answer: Characters | None
    end_time: Number | None = None
    task: Text | None = None
    question_type: Text | None = None
    required_ability: Characters | None = None

    @field_validator("choices")
    @classmethod
    def _fits_the_dataset(cls, choices: list[str] | None, info: ValidationInfo) -> list[str] | None:
        kind = (info.context or {}).get("kind")
        if choices is None and kind == MULTIPLE_CHOICE:
            raise problem("missing; every question of this dataset is multiple choice")
        if choices is not None and kind == OPEN_ENDED:
            raise problem("not expected; every question of this dataset is open ended")
        if choices is not None and len(choices) > len(LETTERS):
            limit = f"at most {len(LETTERS)} options ({LETTERS[0]} to {LETTERS[-1]})"
            raise problem(f"expected {limit}, got {len(choices)}")
        return choices

    @field_validator("answer")
    @classmethod
    def _is_a_choice(cls, answer: str | None, info: ValidationInfo) -> str | None:
        choices = info.data.get("choices")
        if answer is None and choices is None:
            raise problem("expected text")
        if answer is not None and choices is not None and answer not in choices:
            raise problem(f"{answer!r} is not among the choices {choices}")
        return answer

    def question_of(self, video_task: str | None) -> Question:
        """The question; ``video_task`` stands in where it has no task of its own."""
        return Question(
            question=self.question,
            answer=self.answer,
            choices=None if self.choices is None else tuple(self.choices),
            end_time_seconds=self.end_time,
            task=self.task or self.question_type or video_task,
            required_ability=self.required_ability or None,
        )


class VideoEntry(Checked):
    """One object of the list."""

    video_id: Identifier
    fps: Annotated[Number, Field(gt=0)] | None = None
    task: Text | None = None
    video_path: Text
    conversations: Annotated[list[QuestionEntry], Field(min_length=1)]
    clip: Annotated[list[Number], AfterValidator(_bounds)] | None = None
    duration_category: Text | None = None


def read_entry(value: Any, index: int, path: str, kind: str | None) -> Video:
    """Entry ``index`` of a file. Raises ValueError, naming file, entry and field."""
    where = f"{path}, entry {index}"
    if isinstance(value, dict) and isinstance(video_id := value.get("video_id"), int | str):
        where += f" (video_id {video_id!r})"
    entry = check(VideoEntry, value, where, kind=kind)
    return Video(
        index=index,
        video_id=entry.video_id,
        video_path=entry.video_path,
        questions=tuple(item.question_of(entry.task) for item in entry.conversations),
        folder_fps=entry.fps,
        clip_seconds=None if entry.clip is None else (entry.clip[0], entry.clip[1]),
        duration_category=entry.duration_category,
    )

"""The released schema of annotations, field by field; keys that it does not name are ignored."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from inference.answers.multiple_choice import LETTERS
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


Choices = Annotated[
    list[Characters],
    Field(min_length=1),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": len(LETTERS),
        }
    ),
]
Bounds = Annotated[
    list[Number],
    AfterValidator(_bounds),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "number", "minimum": 0},
            "minItems": 2,
            "maxItems": 2,
        }
    ),
]


class QuestionEntry(Checked):
    """One of the questions of a video."""

    choices: Choices | None = Field(
        default=None,
        validate_default=True,
        description="Options without letters; their presence makes the question multiple choice.",
    )
    question: Text = Field(description="The question.")
    answer: Characters | None = Field(
        description="The right answer; with options, the text of one of them (the first that "
        "equals it counts). null, with options only: not public."
    )
    end_time: Number | None = Field(
        default=None,
        description="Seconds from the video's start at which it is asked; only frames before "
        "count. Ascending within a video. Absent: asked after the whole video.",
    )
    task: Text | None = Field(default=None, description="Label under which accuracy is reported.")
    question_type: Text | None = Field(default=None, description="The same, where task is absent.")
    required_ability: Characters | None = Field(
        default=None,
        description="Kind of memory that it needs (StreamingBench); accuracy is reported by it.",
    )

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
    """A video and its questions."""

    video_id: Identifier = Field(description="Name of the entry in the results.")
    fps: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="Frames per second; needed where the video is a folder of images."
    )
    task: Text | None = Field(
        default=None, description="Label of the questions that have none of their own."
    )
    video_path: Text = Field(
        description="A video file, a .npy array of RGB frames at 1 per second (frames, height, "
        "width, 3), or a folder of .jpg or .png images. Looked for as it stands, else by its "
        "longest end below the working directory or --video_root."
    )
    conversations: Annotated[list[QuestionEntry], Field(min_length=1)] = Field(
        description="The questions, asked in this order."
    )
    clip: Bounds | None = Field(
        default=None, description="[start, end] in seconds: the part to watch, not for arrays."
    )
    duration_category: Text | None = Field(
        default=None, description="short, medium or long, for VideoMME's report."
    )


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


def json_schema() -> dict[str, Any]:
    """The schema of a whole file, as `data/annotation.schema.json` publishes it.

    It says less than the loader, which also wants an answer to be among the choices, clips to end
    after they start, and characters that a file can hold.
    """
    schema = TypeAdapter(Annotated[list[VideoEntry], Field(min_length=1)]).json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Annotation file: videos and the questions asked of them",
    }
    return head | schema

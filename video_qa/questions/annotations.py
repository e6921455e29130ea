"""What is asked about which video, and when."""

from __future__ import annotations

from dataclasses import dataclass

from inference.answers.multiple_choice import LETTERS

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
    required_ability: str | None = None
    """StreamingBench: the kind of memory that is needed."""

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

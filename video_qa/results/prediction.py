"""The reply to one question, as the question loop makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Key = tuple[int, int]  # (index of the video in the annotation file, index of the question in it)


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

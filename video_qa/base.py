"""The question loop: watch a video up to each question's time stamp, answer, go on watching.

``BaseVQA`` knows videos, questions and errors; how a model watches and answers is up to the class
that derives from it (``video_qa.hermes_vqa.HermesVQA``).
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from video.error import VideoError
from video.reader import FrameChunk, VideoStream, open_video
from video_qa.questions.annotations import Question, Video
from video_qa.questions.question_times import QuestionError, last_stop_index, lateness, stop_index
from video_qa.questions.video_paths import locate_video
from video_qa.results.prediction import Prediction
from video_qa.settings.run_settings import RunSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A model's reply: its text, the letter read out of it (multiple choice), its timing."""

    text: str
    letter: str | None = None
    timing: Mapping[str, Any] = field(default_factory=dict)


class Watched(NamedTuple):
    """A part of a video, as `inference.vision.lookahead.Lookahead.over` takes it."""

    chunks: Iterator[FrameChunk]
    frames_of: Callable[[FrameChunk], np.ndarray]
    is_ready: Callable[[], bool]


def watched(video: VideoStream, stop_index: int | None) -> Watched:
    """The sampled frames [video.next_index, stop_index); None: to the end."""
    return Watched(video.take(stop_index), attrgetter("frames"), lambda: video.is_ready(stop_index))


class BaseVQA(ABC):
    """Asks the questions of videos in annotation order.

    Args:
        settings: what decides the answers.
        run_id: stamped on every prediction.
        video_root: folder under which the annotations' absolute paths are looked for.
    """

    def __init__(self, settings: RunSettings, run_id: str, video_root: Path | None = None) -> None:
        self.settings, self.run_id, self.video_root = settings, run_id, video_root

    @abstractmethod
    def start_stream(self) -> None:
        """Forget everything and get ready for a new video."""

    @abstractmethod
    def encode_until(self, video: VideoStream, stop_index: int | None) -> None:
        """Encode the sampled frames [video.next_index, stop_index); None: to the end."""

    @abstractmethod
    def ask(self, question: Question) -> Answer:
        """Answer from what has been watched."""

    @abstractmethod
    def remember(self, question: Question, answer_text: str) -> None:
        """Put a turn that was answered in an earlier run into the dialogue history."""

    def load_video(self, video: Video) -> VideoStream:
        """Open a video for reading up to its last question. Raises VideoError."""
        return open_video(
            locate_video(video.video_path, self.video_root),
            sample_fps=self.settings.sample_fps,
            sampling=self.settings.sampling,
            folder_fps=video.folder_fps,
            clip=video.clip_seconds,
            backend=self.settings.video_backend,
            chunk_frames=self.settings.chunk_frames,
            stop_index=last_stop_index(video, self.settings.sample_fps),
            decode_workers=self.settings.decode_workers,
        )

    def analyze_a_video(
        self, video: Video, answered: Mapping[int, str] | None = None
    ) -> Iterator[Prediction]:
        """Yield a prediction for each question that is not in ``answered``, in annotation order.

        ``answered`` maps question indices to the answers an earlier run stored. They are not asked
        again but replayed: the video is cut into the same chunks, because memory is compressed
        after each, and the turns enter the history, because history steers what memory keeps.

        Never raises for a bad video: every question it still owes gets a prediction with ``error``.
        """
        answered = answered or {}
        next_question = 0
        try:
            with self.load_video(video) as stream:
                self.start_stream()
                for index, question in enumerate(video.questions):
                    prediction = self._turn(video, index, question, stream, answered.get(index))
                    if prediction is not None:
                        yield prediction
                    next_question = index + 1
        except Exception as error:  # whatever it is, it must cost this video's rows only
            logger.exception("video %s (%s) failed", video.video_id, video.video_path)
            for index in range(next_question, len(video.questions)):
                if index not in answered:
                    yield self._failure(video, index, error)

    def _turn(
        self,
        video: Video,
        index: int,
        question: Question,
        stream: VideoStream,
        stored_answer: str | None,
    ) -> Prediction | None:
        try:
            self._watch_up_to(video, question, stream)
        except QuestionError as error:
            return self._failure(video, index, error)
        if stored_answer is not None:
            self.remember(question, stored_answer)
            return None
        answer = self.ask(question)
        return self._prediction(video, index, answer, stream)

    def _watch_up_to(self, video: Video, question: Question, stream: VideoStream) -> None:
        sample_fps, duration = self.settings.sample_fps, stream.duration_seconds
        stop = stop_index(video, question, sample_fps)
        self.encode_until(stream, stop)
        if stop is None or stream.next_index >= stop:
            return
        problem = lateness(video, question, stream.next_index, sample_fps, duration)
        if problem is None:
            return
        if self.settings.late_questions == "error":
            raise QuestionError(f"{problem}; --late_questions answer asks at its end instead")
        logger.warning("video %s: %s, asked at its end", video.video_id, problem)

    def _prediction(
        self, video: Video, index: int, answer: Answer, stream: VideoStream
    ) -> Prediction:
        question = video.questions[index]
        correct_letter = question.correct_letter
        return Prediction(
            **self._identity(video, index),
            prediction=answer.text,
            letter=answer.letter,
            correct=None if correct_letter is None else answer.letter == correct_letter,
            num_frames=stream.next_index,
            num_corrupt_frames=stream.num_corrupt_frames,
            timing=answer.timing,
        )

    def _failure(self, video: Video, index: int, error: Exception) -> Prediction:
        text = str(error) or repr(error)
        if not isinstance(error, ValueError):
            text = f"{type(error).__name__}: {text}"
        if not isinstance(error, VideoError):  # which names the file itself
            text = f"{video.video_path}: {text}"
        return Prediction(
            **self._identity(video, index),
            correct=None if video.questions[index].choices is None else False,
            error=text,
        )

    def _identity(self, video: Video, index: int) -> dict[str, Any]:
        question = video.questions[index]
        return {
            "run_id": self.run_id,
            "video_index": video.index,
            "video_id": video.video_id,
            "question_index": index,
            "question": question.question,
            "end_time": question.end_time_seconds,
            "correct_letter": question.correct_letter,
        }

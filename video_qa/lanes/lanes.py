"""Several streams over one video: frames are decoded and encoded once, then every stream reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from video.reader import FrameChunk, VideoStream
from video_qa.base import Answer, BaseVQA, watched
from video_qa.hermes_vqa import HermesVQA
from video_qa.lanes.retention import RetentionLog
from video_qa.lanes.step_peak import step_peak
from video_qa.questions.annotations import Question, Video
from video_qa.questions.question_times import QuestionError
from video_qa.results.prediction import Prediction
from video_qa.settings.run_settings import RunSettings

logger = logging.getLogger(__name__)


class Lane(HermesVQA):
    """One memory among several. Its failure costs its own rows of the video, not the others'."""

    RECORDED = (*HermesVQA.RECORDED, "memory_bytes", "host_bytes")
    retention: RetentionLog | None = None
    """Set to have the states of the memory recorded while it watches."""

    def begin(self) -> None:
        """Get ready for a new video."""
        self._error: Exception | None = None
        self._peak_bytes: int | None = None
        self._attempt(self.start_stream)

    def see(self, chunk: FrameChunk, features: Any) -> None:
        """Read a chunk whose features are known, and make room."""
        self._attempt(lambda: self._see(chunk, features))

    def turn(
        self, video: Video, index: int, stream: VideoStream, stored_answer: str | None
    ) -> Prediction | None:
        """Answer question `index`, or enter the answer stored earlier into the dialogue."""
        question = video.questions[index]
        if stored_answer is not None:
            self._attempt(lambda: self.remember(question, stored_answer))
            return None
        answer = self._attempt(lambda: self.ask(question))
        if self._error is not None or answer is None:
            return self._failure(video, index, self._error or RuntimeError("no answer"))
        return self._prediction(video, index, answer, stream)

    def failure(
        self, video: Video, index: int, stored_answer: str | None, error: Exception
    ) -> Prediction | None:
        """The row of a question that cannot be asked; None if it was answered earlier."""
        return None if stored_answer is not None else self._failure(video, index, error)

    def _attempt(self, act: Callable[[], Any]) -> Any:
        if self._error is not None:
            return None
        try:
            return act()
        except Exception as error:  # whatever it is, it must cost this stream's rows only
            logger.exception("policy %s failed", self.settings.policy)
            self._error = error
            return None

    def _see(self, chunk: FrameChunk, features: Any) -> None:
        with step_peak(self.model.device) as peak_bytes:
            self.model.encode_video_chunk(chunk.frames, chunk.times_seconds, seen=features)
            self.model.predict_and_compress()
        if (measured := peak_bytes()) is not None:
            self._peak_bytes = max(self._peak_bytes or 0, measured)
        if self.retention is not None:
            self.retention.observe(self.model, features, list(chunk.times_seconds))

    def _timing(self) -> dict[str, Any]:
        return super()._timing() | {"peak_bytes": self._peak_bytes}


class SharedWatch(BaseVQA):
    """The question loop of one video for all lanes at once.

    Chunks end where the next question is due, which no memory has a say in, so all lanes can share
    them. Which question comes when is decided exactly as for a single run (`BaseVQA`).
    """

    def __init__(self, encoder: Any, settings: RunSettings, video_root: Path | None = None) -> None:
        """`encoder`: any stream on the weights; it encodes the frames for all."""
        super().__init__(settings, "", video_root)
        self.encoder = encoder
        self.lanes: Sequence[Lane] = ()

    def analyze(
        self, video: Video, answered: Mapping[Lane, Mapping[int, str]]
    ) -> Iterator[tuple[Lane, Prediction]]:
        """Yield what each lane owes, question by question; `answered` as in `analyze_a_video`.

        Never raises for a bad video: every question still owed gets a prediction with `error`.
        """
        self.lanes, next_question = tuple(answered), 0
        try:
            with self.load_video(video) as stream:
                self.start_stream()
                for index in range(len(video.questions)):
                    yield from self._turns(video, index, stream, answered)
                    next_question = index + 1
        except Exception as error:  # the video itself: missing or damaged
            logger.exception("video %s (%s) failed", video.video_id, video.video_path)
            for index in range(next_question, len(video.questions)):
                yield from self._failures(video, index, answered, error)

    def start_stream(self) -> None:
        for lane in self.lanes:
            lane.begin()

    def encode_until(self, video: VideoStream, stop_index: int | None) -> None:
        see = self.encoder.encode_features
        for chunk, seen in self.encoder.lookahead.over(*watched(video, stop_index), see):
            features = seen or see(chunk.frames)
            for lane in self.lanes:
                lane.see(chunk, features)

    def ask(self, question: Question) -> Answer:
        raise NotImplementedError("lanes are asked one by one")

    def remember(self, question: Question, answer_text: str) -> None:
        raise NotImplementedError("lanes remember one by one")

    def _turns(
        self,
        video: Video,
        index: int,
        stream: VideoStream,
        answered: Mapping[Lane, Mapping[int, str]],
    ) -> Iterator[tuple[Lane, Prediction]]:
        try:
            self._watch_up_to(video, video.questions[index], stream)
        except QuestionError as error:
            yield from self._failures(video, index, answered, error)
            return
        for lane in self.lanes:
            stored = answered[lane].get(index)
            if prediction := lane.turn(video, index, stream, stored):
                yield lane, prediction

    def _failures(
        self,
        video: Video,
        index: int,
        answered: Mapping[Lane, Mapping[int, str]],
        error: Exception,
    ) -> Iterator[tuple[Lane, Prediction]]:
        for lane in self.lanes:
            if prediction := lane.failure(video, index, answered[lane].get(index), error):
                yield lane, prediction

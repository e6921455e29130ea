"""What was asked before a question: everything in order, the same in another order, nothing.

A turn can change what a memory keeps in two ways: its text enters the dialogue, which steers
guidance, and a chunk of frames ends where it is due, after which the memory is compressed.

`shuffled` changes the texts alone. Of the questions of a video every one is asked at its own time,
and what enters the dialogue there is another one, with its options and the model's answer to it at
that time. The texts are permuted so that a question stands neither at its own time nor at the turn
before it. One pass over the video asks two questions a turn, which is the same as a stream for each
question: an answer leaves the memory as it was and touches nothing but the dialogue.

`alone` takes both away: each question is put to a copy of a stream that nobody has asked anything,
whose chunks are whole up to the one in which the question is due. The stream itself is read once;
for each question the frames since its last whole chunk are read again, by the copy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import inference
from video.reader import FrameChunk, VideoStream
from video_qa.base import Answer
from video_qa.lanes.lanes import Lane
from video_qa.questions.annotations import Question, Video
from video_qa.results.prediction import Prediction
from video_qa.settings.run_settings import IN_ORDER

SEED = 2024


def other_turns(num_questions: int, seed: int | str = SEED) -> list[int]:
    """Which question enters the dialogue at each turn: a permutation in which no number stands at
    its own place or at the one before it. Of fewer than three there is none: they stay in order."""
    order = list(range(num_questions))
    if num_questions < 3:
        return order
    draws = Random(seed)
    while any(turn in (place, place + 1) for place, turn in enumerate(order)):
        draws.shuffle(order)
    return order


class ShuffledLane(Lane):
    """At each turn a question is asked that leaves no trace, and then another one that does."""

    def turn(
        self, video: Video, index: int, stream: VideoStream, stored_answer: str | None
    ) -> Prediction | None:
        """Answer question `index`; an answer stored earlier is not asked for again, the other
        turns are."""
        prediction = None
        if stored_answer is None:
            prediction = super().turn(video, index, stream, None)
            if self._error is None:
                self.model.conv_history.pop()
        order = other_turns(len(video.questions), f"{SEED} {video.index}")
        self._attempt(lambda: self.ask(video.questions[order[index]]))
        return prediction


class AloneLane(Lane):
    """Each question is put to a copy of the stream, which itself is never asked anything."""

    def begin(self) -> None:
        super().begin()
        self._frames: list[np.ndarray] = []
        self._seconds: list[float] = []
        self._saved = False

    def turn(
        self, video: Video, index: int, stream: VideoStream, stored_answer: str | None
    ) -> Prediction | None:
        """Answer question `index`; one that was answered earlier has changed nothing."""
        return super().turn(video, index, stream, None) if stored_answer is None else None

    def ask(self, question: Question) -> Answer:
        """Asked of the copy, which then holds all frames up to the question."""
        stream, self.model = self.model, self._copied()
        try:
            return super().ask(question)
        finally:
            self.model = stream

    def _see(self, chunk: FrameChunk, features: Any) -> None:
        """Keep frames until they fill a chunk."""
        if not self._frames and len(chunk.frames) == self.settings.chunk_frames:
            self._read(chunk.frames, chunk.times_seconds, features)
            return
        self._frames += list(chunk.frames)
        self._seconds += [float(seconds) for seconds in chunk.times_seconds]
        size = self.settings.chunk_frames
        while len(self._frames) >= size:
            self._read(np.stack(self._frames[:size]), self._seconds[:size], None)
            del self._frames[:size], self._seconds[:size]

    def _read(self, frames: Any, seconds: Any, features: Any) -> None:
        self._saved = False
        self.model.encode_video_chunk(frames, seconds, seen=features)
        self.model.predict_and_compress()

    def _copied(self) -> Any:
        """The copy, brought to where the stream is, with the frames that wait for their chunk."""
        copy, path = self._copy
        if not self._saved:
            inference.save_stream(self.model, path)
            self._saved = True
        inference.load_stream(copy, path)
        if self._frames:
            copy.encode_video_chunk(np.stack(self._frames), self._seconds)
            copy.predict_and_compress()
        return copy

    @cached_property
    def _copy(self) -> tuple[Any, Path]:
        """Another stream on the same weights, and where the state of this one is written for it."""
        self._folder = tempfile.TemporaryDirectory(prefix="hermes-alone-")
        return self.model.new_stream(), Path(self._folder.name) / "stream.safetensors"


LANES: Mapping[str, type[Lane]] = {
    IN_ORDER: Lane,
    "shuffled": ShuffledLane,
    "alone": AloneLane,
}
"""By `RunSettings.turns`."""

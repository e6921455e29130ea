"""A stream that watches frames or videos and answers questions.

stream = hermes.open("nano", kv_size=64, sample_fps=1)
stream.watch("talk.mp4")
print(stream.ask("What is on the table?"))
print(stream.ask("What is on the table?", options=["a cup", "a book"]).option)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from inference.abstract_hermes import AbstractHermes
from inference.answers.multiple_choice import CHOICE_TOKENS, OPEN_TOKENS
from inference.checkpoints.loading import load_model
from inference.errors import FrameError
from inference.face.answer import Answer, request_for
from inference.face.frame_chunks import Chunks, cut
from inference.face.video_chunks import cut_video
from inference.saved.stream_file import load_stream, save_stream

PROGRESS_DELAY_SECONDS = 2.0


class Stream:
    """One stream over one model: what it has watched is its memory, whatever the length."""

    def __init__(self, engine: AbstractHermes) -> None:
        self.engine = engine
        """Everything below the face: memory, policy, configuration, timing, released names."""

    def watch(
        self,
        source: Any,
        *,
        times_seconds: Sequence[float] | None = None,
        on_chunk: Callable[[Stream], None] | None = None,
        progress: bool = True,
        **video_options: Any,
    ) -> int:
        """Watch frames or a video to its end, chunk by chunk; may be called again and again.

        Memory is brought back to its budget after every chunk. A video whose times lie before what
        has been watched already goes on where the stream ended: time never runs backwards.

        Args:
            source: path of a video file, of a folder of images or of a `.npy` array; or uint8
                frames (f, H, W, 3) or (f, 3, H, W), one frame (H, W, 3), or any iterable of single
                frames, finite or not.
            times_seconds: stream time of each frame of an array, ascending; default: the next ones
                at the stream's `sample_fps`.
            on_chunk: called with this stream after every chunk.
            progress: show a bar on a terminal if it takes more than two seconds.
            video_options: of `video.open_video` for a path: `clip` (start, end in seconds),
                `folder_fps`, `sampling`, `backend`, `decode_workers`.

        Returns:
            Number of frames watched by this call.

        Raises:
            VideoError: the video cannot be opened, or is damaged; the frames before the damage have
                been watched.
            FrameError: frames of the wrong type or shape, or larger than the budget; times that do
                not ascend or are not one per frame.
            TypeError: a source that is none of the above, or options that do not go with it.
            ContextLimitError, DeviceMemoryError: see `AbstractHermes.encode_video_chunk`.
        """
        chunks, before = self._chunks(source, times_seconds, video_options), self.num_frames
        with closing(chunks.iterator) as parts, _bar(chunks.num_frames, progress) as bar:
            engine = self.engine
            ahead = engine.lookahead.over(parts, itemgetter(0), chunks.is_ready, engine.look)
            for (frames, times), seen in ahead:
                self.engine.encode_video_chunk(frames, times, seen)
                self.engine.predict_and_compress()
                bar.update(len(frames))
                if on_chunk:
                    on_chunk(self)
        return self.num_frames - before

    def ask(
        self,
        question: str,
        options: Sequence[str] | None = None,
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0,
        repetition_penalty: float = 1.1,
        seed: int | None = None,
    ) -> Answer:
        """Answer from memory, which is afterwards what it was before.

        The turn enters the dialogue, which steers what memory keeps from now on.

        Args:
            question: in words.
            options: texts of up to eight options, without letters, for a multiple-choice question.
            max_new_tokens: default 256, with options 16.
            temperature: 0 takes the likeliest token.
            repetition_penalty: on the answer's own tokens; 1 is none.
            seed: of the draws at a temperature above 0.

        Returns:
            The model's reply, a `str`; `letter` and `option` say what it chose.

        Raises:
            RuntimeError: nothing has been watched yet.
            TypeError: a question that is no text, or options that are no list of texts.
            ContextLimitError, NonFiniteLogitsError, ValueError: see `AnswerLoop.run`.
        """
        sampling = (max_new_tokens, temperature, repetition_penalty, seed)
        return Answer("".join(self._answer(question, options, *sampling)), options)

    def ask_stream(
        self,
        question: str,
        options: Sequence[str] | None = None,
        *,
        max_new_tokens: int | None = None,
        temperature: float = 0,
        repetition_penalty: float = 1.1,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Like `ask`, but yields pieces of the reply as they come. Close it to stop early; while
        it runs, nothing else can be done with the stream."""
        return self._answer(
            question, options, max_new_tokens, temperature, repetition_penalty, seed
        )

    def clear(self) -> None:
        """Forget frames and dialogue; a new video can begin."""
        self.engine.clear_cache()

    def new_stream(self, **named: Any) -> Stream:
        """Another, empty stream on the same weights.

        Args:
            named: settings that shall be others: `execution`, `kv_size`, `policy` (its options may
                stand behind its name), `profile`, any field of `hermes.MemoryConfig`.

        Raises:
            ValueError: a setting that makes no sense, or contradicts the policy.
        """
        return Stream(self.engine.new_stream(**named))

    def new_streams(self, count: int, **named: Any) -> list[Stream]:
        """Several, as `new_stream`; `inference.ask_together` answers them in one batch."""
        return [Stream(engine) for engine in self.engine.new_streams(count, **named)]

    def save(self, path: str | Path) -> None:
        """Write the stream to a file; see `inference.save_stream`."""
        save_stream(self.engine, path)

    def load(self, path: str | Path) -> None:
        """Go on with a saved stream; see `inference.load_stream`."""
        load_stream(self.engine, path)

    @property
    def num_frames(self) -> int:
        """Frames watched since the stream began."""
        return self.engine.total_processed_frames

    @property
    def end_seconds(self) -> float:
        """Stream time at which the next frame is due; 0 at the beginning."""
        return self.engine.next_seconds

    @property
    def num_tokens(self) -> int:
        """Tokens in memory, per layer: the prompt's and at most `kv_size` visual ones."""
        return self.engine.memory.num_tokens

    @property
    def num_bytes(self) -> int:
        """Bytes that are allocated for the memory, all layers."""
        return self.engine.memory.num_bytes

    def __repr__(self) -> str:
        config = self.engine.config
        return (
            f"Stream(policy={config.policy!r}, kv_size={config.kv_size}: {self.num_frames} frames, "
            f"{self.end_seconds:g} s watched, {self.num_tokens} tokens per layer)"
        )

    def _answer(
        self,
        question: str,
        options: Sequence[str] | None,
        max_new_tokens: int | None,
        *sampling: Any,
    ) -> Iterator[str]:
        request = request_for(question, options)
        if not self.num_frames:
            raise RuntimeError("nothing has been watched yet; call watch(frames or a path) first")
        if max_new_tokens is None:
            max_new_tokens = OPEN_TOKENS if options is None else CHOICE_TOKENS
        return self._pieces(request, max_new_tokens, *sampling)

    def _pieces(self, request: Any, max_new_tokens: int, *sampling: Any) -> Iterator[str]:
        if not self.num_frames:  # cleared since the question was put
            raise RuntimeError("the stream was cleared before the answer began; watch again first")
        yield from self.engine.stream_answer(request, max_new_tokens, *sampling)

    def _chunks(self, source: Any, times_seconds: Any, video_options: dict[str, Any]) -> Chunks:
        if isinstance(source, str | Path):
            if times_seconds is not None:
                raise TypeError("a video brings its own times; times_seconds goes with frames")
            return cut_video(self.engine, source, **video_options)
        if video_options:
            raise TypeError(f"{', '.join(video_options)}: for the path of a video, not for frames")
        if times_seconds is not None:
            self._check_times(np.asarray(times_seconds, np.float64))
        return cut(source, self.engine.config.chunk_frames, times_seconds)

    def _check_times(self, times: np.ndarray) -> None:
        if times.ndim != 1:
            raise FrameError(f"times_seconds must be one number per frame, got {times.tolist()!r}")
        last = self.engine.last_seconds
        steps = np.diff(times if last is None else np.concatenate(([last], times)))
        if not (np.isfinite(times).all() and (steps > 0).all()):
            since = "" if last is None else f" from above {last:g}, where the stream stands"
            raise FrameError(f"times_seconds must be finite and ascend{since}")


def _bar(num_frames: int | None, wanted: bool) -> tqdm:
    return tqdm(
        desc="Watching",
        total=num_frames,
        unit="frame",
        delay=PROGRESS_DELAY_SECONDS,
        disable=None if wanted else True,  # None: unless stderr is a terminal
    )


def open_stream(model: str | Path, *, kv_size: int, **options: Any) -> Stream:
    """What `hermes.open` does."""
    engine, _ = load_model(model, kv_size=kv_size, **options)
    return Stream(engine)

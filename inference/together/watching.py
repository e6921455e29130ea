"""The next chunks of several streams, read in one batch. Shapes: f frames, H and W in pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from inference.abstract_hermes import AbstractHermes
from inference.errors import FrameError
from inference.kept.tokens import KeptTokens
from inference.together.reading import read_together
from inference.together.seeing import grouped, see_together
from inference.vision.frames import to_frames
from inference.vision.visual_chunk import VisualChunk

Times = Sequence[float] | Tensor


@dataclass(eq=False)
class _Arrival:
    """What has come for a stream."""

    number: int
    """Of the stream, for errors."""
    stream: AbstractHermes
    frames: Tensor
    """(f, H, W, 3) uint8."""
    times: Times | None
    seen: VisualChunk | None


def encode_together(
    streams: Sequence[AbstractHermes],
    chunks: Sequence[Any],
    times_seconds: Sequence[Times | None] | None = None,
    seen: Sequence[VisualChunk | None] | None = None,
) -> None:
    """Read the next frames of each stream, as `AbstractHermes.encode_video_chunk` would one after
    another; `predict_and_compress` of each remains to be called.

    Streams on the same weights are read in one batch, whatever their lengths, policies and
    settings; frames of one size pass the vision tower in one batch, too. Then streams whose policy
    re-prefills, and those without a companion, advance in turn.

    Frames of a wrong type or shape, and times that are not one per frame, are found before any
    stream is touched. An error in a batch leaves all its memories as they were, but for the prompt
    before the first frame and room that was forgotten. A note on the error says which streams have
    advanced nevertheless.

    Args:
        streams: different ones.
        chunks: for each stream frames as there; None or empty does nothing.
        times_seconds: for each stream the time of each frame, or None.
        seen: for each stream `encode_features` of its frames, or None.

    Raises:
        ValueError: not one chunk for each of different streams.
        FrameError, ContextLimitError, DeviceMemoryError: as there.
    """
    arrivals = _arrivals(streams, chunks, times_seconds, seen)
    advanced: list[int] = []
    with _saying_who_advanced(advanced):
        in_turn = []
        for alike in grouped(arrivals, lambda each: id(each.stream.model)):
            _see(alike)
            batch = [each for each in alike if isinstance(each.stream.kept, KeptTokens)]
            if len(batch) > 1:
                _read(batch)
                advanced += [each.number for each in batch]
            in_turn += [each for each in alike if each.number not in advanced]
        for each in in_turn:
            with _naming(each):
                each.stream.encode_video_chunk(each.frames, each.times, each.seen)
            advanced.append(each.number)


def _arrivals(
    streams: Sequence[AbstractHermes],
    chunks: Sequence[Any],
    times_seconds: Sequence[Times | None] | None,
    seen: Sequence[VisualChunk | None] | None,
) -> list[_Arrival]:
    """Of the streams for which something has come."""
    nothing = [None] * len(streams)
    given = (chunks, times_seconds or nothing, seen or nothing)
    if len({id(stream) for stream in streams}) < len(streams) or any(
        len(each) != len(streams) for each in given
    ):
        raise ValueError(
            f"expected one chunk (and its times) for each of different streams, got {len(chunks)} "
            f"chunks for {len(streams)} streams"
        )
    arrivals = []
    for number, (stream, frames, times, features) in enumerate(zip(streams, *given, strict=True)):
        if frames is None or len(frames) == 0:
            continue
        with noting(f"of stream {number}"):
            stream._answering.refuse_interruption()
            frames = to_frames(frames)
            if times is not None and len(times) != len(frames):
                raise FrameError(f"{len(times)} times were given for {len(frames)} frames")
        arrivals.append(_Arrival(number, stream, frames, times, features))
    return arrivals


def _see(arrivals: Sequence[_Arrival]) -> None:
    """Note features of frames that have none yet, where a batch gives them."""
    new = [each for each in arrivals if each.seen is None]
    if not new:
        return
    with new[0].stream.naming_remedies(f"seeing frames of {len(new)} streams"):
        chunks = see_together([each.stream for each in new], [each.frames for each in new])
    for each, chunk in zip(new, chunks, strict=True):
        each.seen = chunk


def _read(arrivals: Sequence[_Arrival]) -> None:
    """As `encode_video_chunk` step by step, each step for all streams before the next."""
    opened = []
    for each in arrivals:
        with _naming(each):
            stream, kept = each.stream, each.stream.kept
            assert isinstance(kept, KeptTokens)
            times, seen = stream.prepare_chunk(each.frames, each.times, each.seen)
            opened.append((stream, kept, times, *kept.open(each.frames, times, seen)))
    first = arrivals[0].stream
    with first.naming_remedies(f"watching frames of {len(arrivals)} streams"):
        read_together(first.decoder, [passage for *_, passage in opened])
    for stream, kept, times, chunk, _ in opened:
        kept.close()
        stream.count_chunk(chunk, times)


@contextmanager
def _naming(arrival: _Arrival) -> Iterator[None]:
    doing = f"watching {len(arrival.frames)} frames"
    with noting(f"of stream {arrival.number}"), arrival.stream.naming_remedies(doing):
        yield


@contextmanager
def noting(note: str) -> Iterator[None]:
    """Errors inside bear the note."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise


@contextmanager
def _saying_who_advanced(advanced: list[int]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if advanced:
            numbers = ", ".join(map(str, advanced))
            error.add_note(f"streams that have advanced nevertheless: {numbers}")
        raise

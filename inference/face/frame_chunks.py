"""Frames, however they come, cut into chunks. Shapes: f frames, H and W their size in pixels."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from inference.errors import FrameError

Chunk = tuple[Any, Any]
"""(f, H, W, 3) or (f, 3, H, W) frames, and the seconds of each or None."""


Chunking = Generator[Chunk, None, None]


class Chunks(NamedTuple):
    """What is to be watched."""

    iterator: Chunking
    num_frames: int | None
    """In all, if that is known."""
    is_ready: Callable[[], bool]
    """Whether the next chunk is there without waiting for it."""


def cut(source: Any, chunk_frames: int, times_seconds: Sequence[float] | None = None) -> Chunks:
    """Chunks of at most `chunk_frames` frames.

    Args:
        source: an array or tensor of frames, one frame (H, W, 3), or an iterable of such.
        times_seconds: one per frame, with an array only; else every chunk's are None.

    Raises:
        FrameError: not one time per frame; while cutting, frames of one chunk that differ in size.
        TypeError: something else, or times of an iterable.
    """
    if hasattr(source, "shape"):
        frames = source[None] if len(source.shape) == 3 else source
        if times_seconds is not None and len(times_seconds) != len(frames):
            raise FrameError(f"{len(times_seconds)} times were given for {len(frames)} frames")
        return Chunks(_slices(frames, chunk_frames, times_seconds), len(frames), lambda: True)
    if not isinstance(source, Iterable) or isinstance(source, bytes):
        raise TypeError(f"expected the path of a video, or frames, got {source!r:.80}")
    if times_seconds is not None:
        raise TypeError("times_seconds goes with an array of frames, not with an iterable")
    return Chunks(_groups(iter(source), chunk_frames), None, lambda: False)


def _slices(frames: Any, chunk_frames: int, times: Sequence[float] | None) -> Chunking:
    for start in range(0, len(frames), chunk_frames):
        rows = slice(start, start + chunk_frames)
        yield frames[rows], None if times is None else times[rows]


def _groups(frames: Iterator[Any], chunk_frames: int) -> Chunking:
    """If the iterator fails, the frames before that come first, then its error."""
    failure = None
    while failure is None:
        group: list[Any] = []
        try:
            for frame in islice(frames, chunk_frames):
                group.append(frame)
        except Exception as error:
            failure = error
        if group:
            yield _stacked(group), None
        if failure is None and len(group) < chunk_frames:
            return
    raise failure


def _stacked(frames: Sequence[Any]) -> Any:
    shapes = {tuple(np.shape(frame)) for frame in frames}
    if len(shapes) > 1:
        raise FrameError(f"frames of one chunk must have one size, got {sorted(shapes)}")
    if isinstance(frames[0], torch.Tensor):
        return torch.stack(list(frames))
    return np.stack([np.asarray(frame) for frame in frames])

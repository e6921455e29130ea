"""The vision tower sees the next chunk while the decoder reads the present one.

On one GPU the features of a chunk that is at hand already are issued on a stream of their own
before the present chunk is read; the host waits for nothing, streams wait for each other's events.
Elsewhere, and for a chunk that has still to come, everything happens at its turn. What is read is
the same, bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from inference.vision.visual_chunk import VisualChunk

logger = logging.getLogger(__name__)

Chunk = TypeVar("Chunk")
See = Callable[[Any], VisualChunk | None]
"""(f, H, W, 3) or (f, 3, H, W) uint8 frames to features; None where there is nothing to do."""


class Lookahead:
    """Sees nothing ahead."""

    def over(
        self,
        chunks: Iterable[Chunk],
        frames_of: Callable[[Chunk], Any],
        is_ready: Callable[[], bool],
        see: See,
    ) -> Iterator[tuple[Chunk, VisualChunk | None]]:
        """Each chunk with the features of its frames, None where they have not been seen ahead.

        Args:
            chunks: an error in place of one comes after all before it have been handed out.
            frames_of: the frames of a chunk.
            is_ready: whether the next chunk can be had without waiting for it.
            see: runs the vision tower, and writes nothing that others read.
        """
        for chunk in chunks:
            yield chunk, None
            del chunk  # or two would be alive while the next one is waited for


class StreamLookahead(Lookahead):
    """Sees one chunk ahead, on a second CUDA stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)
        self._shape: tuple[int, ...] | None = None
        """Of the frames read last. The tower keeps tables for each shape, which must not be made
        on a stream that comes and goes: another shape waits for its turn."""

    def over(
        self,
        chunks: Iterable[Chunk],
        frames_of: Callable[[Chunk], Any],
        is_ready: Callable[[], bool],
        see: See,
    ) -> Iterator[tuple[Chunk, VisualChunk | None]]:
        """As `Lookahead.over`."""
        coming, issued = _Coming(iter(chunks)), None
        for chunk in coming:
            now, issued = issued, None
            if self._shape is not None and is_ready() and coming.take_early():
                issued = self._issue(frames_of(coming.early[0]), see)
            yield chunk, None if now is None else self._arrived(now)
            self._shape = tuple(frames_of(chunk).shape)
            del chunk, now

    def _issue(self, frames: Any, see: See) -> _Issued | None:
        """Queue the vision of these frames behind what has been queued so far."""
        if tuple(frames.shape) != self._shape:
            return None
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(self._stream):
                seen = see(frames)
                return None if seen is None else _Issued(seen, self._stream.record_event())
        except Exception as error:  # it costs the present chunk nothing; at its turn it raises anew
            logger.debug("not seen ahead: %s", error)
            return None

    def _arrived(self, issued: _Issued) -> VisualChunk:
        """Features that the current stream may read, and hold as long as it likes."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(issued.event)
        for tensor in issued.tensors():
            tensor.record_stream(stream)
        return issued.chunk


@dataclass(frozen=True)
class _Issued:
    """Features under way."""

    chunk: VisualChunk
    event: Any
    """After which they are there."""

    def tensors(self) -> Iterator[Tensor]:
        """Those that lie on the device."""
        chunk = self.chunk
        for tensor in (chunk.features, *chunk.added, chunk.placement.offsets):
            if tensor.is_cuda:
                yield tensor


class _Coming(Generic[Chunk]):
    """An iterator of which one item can be taken early; an error keeps its place."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._error: Exception | None = None
        self.early: list[Chunk] = []

    def take_early(self) -> bool:
        """Whether there is one; it stands in `early` until it is its turn."""
        try:
            self.early.append(next(self._chunks))
        except StopIteration:
            return False
        except Exception as error:
            self._error = error
        return bool(self.early)

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        if self._error is not None:
            raise self._error
        return self.early.pop() if self.early else next(self._chunks)


def open_lookahead(model: nn.Module, device: torch.device) -> Lookahead:
    """For a model that lies on one GPU; else one that sees nothing ahead.

    Spread over several GPUs, the tower's work would have to be followed from one to the other.
    """
    if device.type == "cuda" and {weight.device for weight in model.parameters()} == {device}:
        return StreamLookahead(device)
    return Lookahead()

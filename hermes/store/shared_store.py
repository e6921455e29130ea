"""Buffers of several streams side by side, so that one operation reaches the same layer of all.

Shapes: s streams, l layers of a stack, g key heads, c capacity, d head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Buffers(NamedTuple):
    """Keys, values and rotated keys; (l, g, c, d) each, or (s, l, g, c, d) of all streams."""

    keys: Tensor
    values: Tensor
    rotated: Tensor


class SharedStore:
    """A stream axis before the buffers of every stack; allocated when the first stream is."""

    def __init__(self, num_streams: int) -> None:
        """Raises ValueError for fewer than one stream."""
        if num_streams < 1:
            raise ValueError(f"num_streams must be at least 1, got {num_streams}")
        self.num_streams = num_streams
        self._stacks: dict[int, Buffers] = {}

    def of_stack(self, first_layer: int) -> Buffers:
        """(s, l, g, c, d) of the stack that begins with this layer."""
        return self._stacks[first_layer]

    def buffers(
        self,
        stream: int,
        first_layer: int,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> Buffers | None:
        """(l, g, c, d) views that belong to one stream; None for a stream of another shape than the
        first, which needs buffers of its own.

        Raises:
            ValueError: a stream that there is not.
        """
        if not 0 <= stream < self.num_streams:
            raise ValueError(f"stream {stream} of {self.num_streams}")
        if first_layer not in self._stacks:
            self._stacks[first_layer] = _zeros((self.num_streams, *shape), dtype, device)
        held = self._stacks[first_layer]
        if held.keys.shape[1:] != torch.Size(shape) or held.keys.dtype != dtype:
            return None
        return Buffers(*(buffer[stream] for buffer in held))


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Buffers:
    """A masked slot must not hold NaN, which no weight of 0 takes away."""
    return Buffers(*(torch.zeros(shape, dtype=dtype, device=device) for _ in Buffers._fields))


class Place(NamedTuple):
    """Where a stream's buffers are."""

    store: SharedStore
    stream: int
    """Index on the stream axis."""

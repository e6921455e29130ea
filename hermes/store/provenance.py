"""Where each remembered token came from: frame, moment, place in the frame, and its weight.

Shapes: l layers, c capacity, q new tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

TEXT = -1
"""Frame number of prompt tokens."""
SUMMARY = -2
"""Frame number of summary tokens."""
NO_PATCH = -1
"""Patch number of text that belongs to a frame, such as its time stamp."""


@dataclass(frozen=True)
class Provenance:
    """Origin of q new visual tokens, in host memory."""

    frame: Tensor
    """(q,) int64 number of the sampled frame, counted from the start of the stream."""
    seconds: Tensor
    """(q,) fp64 time of that frame in the stream."""
    patch: Tensor
    """(q,) int64 index of the token inside its frame (row by row); `NO_PATCH` for its text."""
    size: tuple[int, int] | None = None
    """Rows and columns of the visual tokens of each frame; None: one row."""

    @property
    def has_text(self) -> bool:
        """Whether some of the tokens are text of a frame."""
        return bool((self.patch == NO_PATCH).any())


class ProvenanceBuffers:
    """Origin of every token of every layer, in the order of the cache.

    `weights` counts the picture tokens that a token stands for: 1, more for a summary, 0 for text
    that belongs to a frame.
    """

    def __init__(self, num_layers: int, capacity: int, device: torch.device) -> None:
        def allocate(dtype: torch.dtype) -> Tensor:
            return torch.zeros(num_layers, capacity, dtype=dtype, device=device)

        self.frame = allocate(torch.int64)
        self.seconds = allocate(torch.float64)
        self.patch = allocate(torch.int64)
        self.weights = allocate(torch.float32)

    NAMES = ("frame", "seconds", "patch", "weights")

    @property
    def is_text(self) -> Tensor:
        """(l, c) bool: text that belongs to a frame."""
        return self.patch == NO_PATCH

    @property
    def num_bytes(self) -> int:
        """Bytes allocated."""
        buffers = [getattr(self, name) for name in self.NAMES]
        return sum(buffer.numel() * buffer.element_size() for buffer in buffers)

    def grow(self, capacity: int) -> None:
        """Reallocate to `capacity` columns."""
        for name in self.NAMES:
            old = getattr(self, name)
            new = old.new_zeros(old.shape[0], capacity)
            new[:, : old.shape[1]] = old
            setattr(self, name, new)

    def write(self, slots: slice, origin: Provenance | None) -> None:
        """Record the origin of new tokens, the same in every layer; None means text."""
        self.weights[:, slots] = 1
        if origin is None:
            self.frame[:, slots] = TEXT
            self.seconds[:, slots] = 0
            self.patch[:, slots] = 0
            return
        self.frame[:, slots], self.seconds[:, slots], self.patch[:, slots] = (
            torch.stack((origin.frame.double(), origin.seconds, origin.patch.double()))
            .to(self.frame.device)
            .unbind()
        )  # one copy; whole numbers are exact in fp64
        if origin.has_text:
            self.weights[:, slots] = (self.patch[:, slots] != NO_PATCH).float()

    def write_summary(self, layers: slice, slot: int, seconds: Tensor, weights: Tensor) -> None:
        """Record the summary tokens of m layers: (m,) mean times and numbers of tokens they stand
        for."""
        self.frame[layers, slot] = SUMMARY
        self.patch[layers, slot] = 0
        self.seconds[layers, slot] = seconds
        self.weights[layers, slot] = weights

    def gather(self, start: int, source: Tensor) -> None:
        """Move the tokens at (l, k) `source` to `start` and following."""
        stop = start + source.shape[1]
        for name in self.NAMES:
            buffer = getattr(self, name)
            buffer[:, start:stop] = buffer.gather(1, source)


class ProvenanceView:
    """The provenance of all layers as if it were one: (l, c) each, joined from several devices."""

    NAMES = ProvenanceBuffers.NAMES

    def __init__(self, parts: list[ProvenanceBuffers]) -> None:
        self._parts = parts

    def __getattr__(self, name: str) -> Tensor:
        if name not in self.NAMES:
            raise AttributeError(name)
        return joined([getattr(part, name) for part in self._parts])


def joined(parts: list[Tensor]) -> Tensor:
    """Tensors of several stacks as one over all layers, on the device of the first; the shorter
    ones are filled up with zeros at the end."""
    if len(parts) == 1:
        return parts[0]
    home, longest = parts[0].device, max(part.shape[-1] for part in parts)
    if parts[0].dim() > 1:
        parts = [pad(part, (0, longest - part.shape[-1])) for part in parts]
    return torch.cat([part.to(home) for part in parts])

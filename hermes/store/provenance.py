"""Where each remembered token came from: frame, moment, place in the frame, and its weight.

Shapes: l layers, c capacity, q new tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
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


class ProvenanceBuffers:
    """Origin of every token of every layer, in the order of the cache.

    `weights` counts the picture tokens that a token stands for: 1, more for a summary, 0 for text
    that belongs to a frame.
    """

    def __init__(self, num_layers: int, capacity: int, device: torch.device) -> None:
        self._name(torch.zeros(4, num_layers, capacity, dtype=torch.int64, device=device))
        self._text = torch.zeros(4, 1, 1, dtype=torch.int64, device=device)
        self._text[0] = TEXT
        self._text[3].view(torch.float32)[..., 0] = 1

    def _name(self, packed: Tensor) -> None:
        """All four lie in one buffer, so that they are written and moved by one operation each."""
        self._packed = packed
        self.frame, self.patch = packed[0], packed[1]
        self.seconds = packed[2].view(torch.float64)
        self.weights = packed[3].view(torch.float32)[..., ::2]

    NAMES = ("frame", "seconds", "patch", "weights")

    @property
    def is_text(self) -> Tensor:
        """(l, c) bool: text that belongs to a frame."""
        return self.patch == NO_PATCH

    @property
    def num_bytes(self) -> int:
        """Bytes allocated."""
        return self._packed.nbytes

    def grow(self, capacity: int) -> None:
        """Reallocate to `capacity` columns."""
        self._name(pad(self._packed, (0, capacity - self._packed.shape[2])))

    def write_text(self, slots: slice) -> None:
        """Record that these tokens are text of no frame."""
        self._packed[..., slots] = self._text

    def write(self, slots: slice, origin: Provenance, offsets: Tensor) -> Tensor:
        """Record the origin of new tokens, the same in every layer.

        Returns:
            Their (a, q) `offsets` on the device of the buffers; from the host they travel along,
            in fp64.
        """
        device = self._packed.device
        together = offsets.device == origin.frame.device
        packed = _packed(origin, offsets if together else ()).to(device)
        self._packed[..., slots] = packed[:4]
        return packed[4:, 0].view(torch.float64) if together else offsets.to(device)

    def write_summary(self, layers: slice, slot: int, seconds: Tensor, weights: Tensor) -> None:
        """Record the summary tokens of m layers: (m,) mean times and numbers of tokens they stand
        for."""
        self.frame[layers, slot] = SUMMARY
        self.patch[layers, slot] = 0
        self.seconds[layers, slot] = seconds
        self.weights[layers, slot] = weights

    def gather(self, start: int, source: Tensor) -> None:
        """Move the tokens at `start` + (l, k) `source` to `start` and following."""
        stop = start + source.shape[1]
        index = source.expand(len(self._packed), -1, -1)
        self._packed[..., start:stop] = self._packed[..., start:].gather(2, index)


def _packed(origin: Provenance, offsets: Iterable[Tensor]) -> Tensor:
    """(4 + a, 1, q) int64 on the host, in the layout of `ProvenanceBuffers`; then the bits of the
    (a, q) offsets in fp64."""
    weights = torch.zeros(len(origin.frame), 2)
    weights[:, 0] = origin.patch != NO_PATCH
    bits = origin.seconds.view(torch.int64), weights.view(torch.int64)[:, 0]
    beside = [row.double().view(torch.int64) for row in offsets]
    return torch.stack((origin.frame, origin.patch, *bits, *beside))[:, None]


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

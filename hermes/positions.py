"""Renumbering of positions, shared by one and three axes. No host synchronisation.

Shapes: a axes (1 for RoPE, 3 for M-RoPE: time, height, width), n tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


def dense_ranks(values: Tensor) -> Tensor:
    """Rank of each of (..., n) values among the distinct ones: [7, 3, 7, 9] -> [1, 0, 1, 2].

    Equal to the inverse of `torch.unique`, which waits for the device to learn the output's size.
    """
    ordered, order = values.sort(stable=True)
    steps = torch.zeros_like(order)
    steps[..., 1:] = (ordered[..., 1:] != ordered[..., :-1]).long()
    return torch.empty_like(order).scatter_(-1, order, steps.cumsum(-1))


@dataclass(frozen=True)
class Placement:
    """Where new tokens stand relative to a layer's next free position."""

    offsets: Tensor
    """(a, n) added to the next free position of every layer."""
    advance: int | float
    """By how much the next free position moves; a host number, so nothing waits for the device."""

    @property
    def num_tokens(self) -> int:
        """n."""
        return self.offsets.shape[-1]


Renumber = Callable[[Tensor, int], Tensor]
"""Positions (l, a, n) of l layers and the number of prefix tokens -> new positions (l, a, n)."""


class PositionRule(Protocol):
    """How a family counts: implemented by `inference.reindex_1d` and `inference.reindex_3d`."""

    num_axes: int
    dtype: torch.dtype

    def text(self, num_tokens: int, device: torch.device | None = None) -> Placement:
        """Consecutive positions, the same on every axis; offsets made where they are needed."""

    def renumber(self, positions: Tensor, num_prefix: int) -> Tensor:
        """Close the gaps of (l, a, n) positions, layer by layer; the first `num_prefix` stay."""

"""Positions on one axis (RoPE): LLaVA-OneVision. Shapes: n tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.positions import Placement


class Positions1D:
    """Text and frames alike take consecutive integers."""

    num_axes = 1
    dtype = torch.int64

    def text(self, num_tokens: int, device: torch.device | None = None) -> Placement:
        """0 .. n-1 after the next free position."""
        return Placement(torch.arange(num_tokens, device=device).view(1, -1), num_tokens)

    def renumber(self, positions: Tensor, num_prefix: int) -> Tensor:
        """(l, 1, n) positions -> 0 .. n-1; the prefix already stands there."""
        return torch.arange(positions.shape[-1], device=positions.device).expand_as(positions)

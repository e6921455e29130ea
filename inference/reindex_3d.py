"""Positions on three axes (M-RoPE: time, height, width): Qwen2.5-VL. Shapes: n tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.positions import Placement, dense_ranks


class Positions3D:
    """A chunk is a grid that starts at the next free position on all three axes at once.

    As released, the next free position lies one past the largest of the three axes; steps in time
    need not be whole numbers, so positions are fp32.
    """

    num_axes = 3
    dtype = torch.float32

    def __init__(self, time_step: float = 1) -> None:
        """`time_step`: positions between two temporal patches,
        temporal_patch_size / sample_fps * tokens_per_second (8 at 0.5 fps for Qwen2.5-VL)."""
        self.time_step = time_step

    def text(self, num_tokens: int, device: torch.device | None = None) -> Placement:
        """Consecutive, the same on every axis."""
        offsets = torch.arange(num_tokens, dtype=self.dtype, device=device).expand(3, -1)
        return Placement(offsets, num_tokens)

    def grid(self, num_times: int, height: int, width: int) -> Placement:
        """A (time, height, width) grid of merged patches, in the order of the visual tokens."""
        axes = torch.meshgrid(
            torch.arange(num_times, dtype=self.dtype) * self.time_step,
            torch.arange(height, dtype=self.dtype),
            torch.arange(width, dtype=self.dtype),
            indexing="ij",
        )
        offsets = torch.stack([axis.flatten() for axis in axes])
        return Placement(offsets, offsets.max().item() + 1)

    def renumber(self, positions: Tensor, num_prefix: int) -> Tensor:
        """Rank compaction: on each axis the distinct values of the (l, 3, n) positions after the
        prefix become num_prefix, num_prefix + 1, ... (released rule for M-RoPE)."""
        compact = positions.clone()
        compact[..., num_prefix:] = num_prefix + dense_ranks(positions[..., num_prefix:])
        return compact

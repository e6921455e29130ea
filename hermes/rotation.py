"""Rotary position embedding applied at use: keys rest un-rotated, so a position is an integer.

Shapes: l layers, g heads, n tokens, d head width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Angles = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions (axes, n) -> cos and sin, each (n, d) fp32. Injected by the model family."""


def layer_tables(angles: Angles, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (l, n, d) of the (axes, l, n) positions of l layers."""
    cos, sin = angles(positions.flatten(1))
    shape = (*positions.shape[1:], -1)
    return cos.view(shape), sin.view(shape)


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate queries or keys (RoFormer Eq. 34, half-split layout of the Qwen2 family).

    Args:
        states: (..., n, d), any float dtype; the arithmetic is fp32.
        cos, sin: (n, d) fp32, or with leading axes that broadcast.

    Returns:
        (..., n, d) in the dtype of `states`.
    """
    wide = states.float()
    first, second = wide.chunk(2, dim=-1)
    return (wide * cos + torch.cat((-second, first), dim=-1) * sin).to(states.dtype)

"""Eight-bit storage of keys and values: one scale per vector, symmetric.

Shapes: any leading axes, d head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 127


class Quantised(NamedTuple):
    """`levels` * `scale` is within scale / 2 of the original, scale = largest magnitude / 127."""

    levels: Tensor
    """(..., d) int8."""
    scale: Tensor
    """(..., 1) fp32."""


def quantise(states: Tensor) -> Quantised:
    """Round (..., d) floats to 255 levels."""
    wide = states.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / LEVELS
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny)
    levels = (wide / scale).round()
    return Quantised(levels.to(torch.int8), scale)


def dequantise(packed: Quantised) -> Tensor:
    """(..., d) fp32."""
    return packed.levels.float() * packed.scale

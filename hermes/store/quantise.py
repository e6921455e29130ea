"""Eight bits per number: levels of a format times one scale per vector, symmetric.

Shapes: any leading axes, d head width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Format:
    """What the eight bits of a level mean. Levels rest as int8 whatever they mean: what only moves
    bytes then needs no device that knows the format."""

    dtype: torch.dtype
    largest: float
    """Magnitude of the largest level."""
    levels_of: Callable[[Tensor], Tensor]
    """Nearest levels of numbers up to `largest`, int8 bits."""
    scaled: Callable[[Tensor, Tensor, Tensor], object]
    """Level bits, their scale and a target: writes level * scale."""


def _scaled_fp8(levels: Tensor, scale: Tensor, target: Tensor) -> object:
    """Torch multiplies no float8."""
    return target.copy_(levels.view(torch.float8_e4m3fn)).mul_(scale)


INT8 = Format(
    torch.int8,
    127,
    lambda numbers: numbers.round_().to(torch.int8),
    lambda levels, scale, target: torch.mul(levels, scale, out=target),
)
FP8 = Format(
    torch.float8_e4m3fn,
    448,
    lambda numbers: numbers.to(torch.float8_e4m3fn).view(torch.int8),
    _scaled_fp8,
)


class Quantised(NamedTuple):
    """`INT8`: level * scale is within scale / 2 of the original. `FP8`: within 1/16 of it, or
    scale / 1024."""

    levels: Tensor
    """(..., d) int8 bits."""
    scale: Tensor
    """(..., 1): largest magnitude / largest level, rounded to its dtype."""


def quantise(
    states: Tensor, form: Format = INT8, scale_dtype: torch.dtype = torch.float32
) -> Quantised:
    """Nearest levels of (..., d) floats. `scale_dtype`: float32 or bfloat16, which have the same
    range; bfloat16 errs by at most 1/512, so that no level is passed."""
    wide = states.float()
    scale = wide.abs().amax(dim=-1, keepdim=True) / form.largest
    scale = scale.clamp(min=torch.finfo(torch.float32).tiny).to(scale_dtype)
    return Quantised(form.levels_of(wide / scale), scale)


def dequantise(packed: Quantised, form: Format = INT8) -> Tensor:
    """(..., d) fp32, exactly level * scale. What is quantised again has the same levels and, where
    its scale is bfloat16, the same bits."""
    return packed.levels.view(form.dtype).float() * packed.scale

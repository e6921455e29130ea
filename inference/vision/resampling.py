"""Antialiased resizing that gives the bytes of Pillow's `resize`, columns first.

Pillow multiplies by weights rounded to 22 binary digits after the point, adds a half and cuts; one
pass along the width, then one along the height, each ending in bytes. All sums are whole numbers
below 2 ** 31, so matrix products in float64 are exact in any order and on any device. (Pillow 13
takes the height first where that is less work; the processors the checkpoints were trained and
published with do not.)

Shapes: f frames, H and W their size in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

_DIGITS = 22
"""Binary digits of a weight after the point: 32 bits less 8 of the pixel and 2 of overshoot."""
_BLOCK = 16
"""Outputs per matrix product: they share a window of the input, so most of it is not zero."""


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _bicubic(x: float) -> float:
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0


FILTERS: dict[str, tuple[Callable[[float], float], int]] = {
    "bilinear": (_bilinear, 1),
    "bicubic": (_bicubic, 2),
}
"""Kernel and its reach in pixels of the smaller image."""


class _Block(NamedTuple):
    """Consecutive outputs: `weights` (inputs, outputs) fp64 of the inputs from `start` on."""

    start: int
    weights: Tensor


def resample(levels: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize (f, 3, H, W) uint8 to (f, 3, *size) uint8.

    Args:
        mode: a key of `FILTERS`.
    """
    return _pass(_pass(levels.contiguous(), size[1], 3, mode), size[0], 2, mode)


def _pass(levels: Tensor, length: int, axis: int, mode: str) -> Tensor:
    """One axis (2 height, 3 width) of (f, 3, H, W) uint8 to `length`; untouched if it has it."""
    if levels.shape[axis] == length:
        return levels
    shape = list(levels.shape)
    shape[axis] = length
    resized, first = levels.new_empty(shape), 0
    for start, weights in _blocks(levels.shape[axis], length, mode, levels.device):
        window = levels.narrow(axis, start, len(weights)).double()
        sums = window @ weights if axis == 3 else weights.T @ window
        sums.add_(2 ** (_DIGITS - 1)).mul_(2.0**-_DIGITS).floor_().clamp_(0, 255)
        resized.narrow(axis, first, weights.shape[1]).copy_(sums)
        first += weights.shape[1]
    return resized


@lru_cache(maxsize=16)
def _blocks(num_in: int, num_out: int, mode: str, device: torch.device) -> tuple[_Block, ...]:
    rows = [_weights(num_in, num_out, index, mode) for index in range(num_out)]
    blocks = []
    for first in range(0, num_out, _BLOCK):
        chosen = rows[first : first + _BLOCK]
        start = chosen[0][0]
        stop = max(begin + len(weights) for begin, weights in chosen)
        table = torch.zeros(stop - start, len(chosen), dtype=torch.float64)
        for column, (begin, weights) in enumerate(chosen):
            table[begin - start : begin - start + len(weights), column] = torch.tensor(
                weights, dtype=torch.float64
            )
        blocks.append(_Block(start, table.to(device)))
    return tuple(blocks)


def _weights(num_in: int, num_out: int, index: int, mode: str) -> tuple[int, list[int]]:
    """First input of an output and its weights times 2 ** 22, in Pillow's order of operations."""
    kernel, reach = FILTERS[mode]
    scale = num_in / num_out
    stretch = max(scale, 1.0)
    centre, support, shrink = (index + 0.5) * scale, reach * stretch, 1.0 / stretch
    start = max(int(centre - support + 0.5), 0)
    stop = min(int(centre + support + 0.5), num_in)
    values = [kernel((x - centre + 0.5) * shrink) for x in range(start, stop)]
    total = 0.0
    for value in values:  # one by one: `sum` compensates
        total += value
    scaled = [value / total * 2**_DIGITS for value in values]
    return start, [int(math.copysign(0.5, value) + value) for value in scaled]

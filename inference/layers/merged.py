"""Weights of linear maps that read the same input, side by side in one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Merged(NamedTuple):
    """One linear map that does what several did."""

    weight: Tensor
    """(rows of all, columns)."""
    bias: Tensor | None
    """(rows of all,); zero where a map had none, None if none had one."""

    def holds(self, linear: nn.Linear) -> bool:
        """Whether the map still is where these weights are: a model can be moved."""
        weight = linear.weight
        return weight.device == self.weight.device and weight.dtype == self.weight.dtype

    def __call__(self, rows: Tensor) -> Tensor:
        """(q, columns) -> (q, rows of all)."""
        return nn.functional.linear(rows, self.weight, self.bias)


@torch.no_grad()
def merge(linears: Sequence[nn.Linear]) -> Merged:
    """Put their weights side by side.

    The parameters become views of the merged ones, so that no weight exists twice and whoever
    changes one in place changes both.
    """
    sizes = [linear.out_features for linear in linears]
    weight = torch.cat([linear.weight for linear in linears])
    for linear, part in zip(linears, weight.split(sizes), strict=True):
        linear.weight.data = part
    if all(linear.bias is None for linear in linears):
        return Merged(weight, None)
    bias = torch.cat([_bias(linear) for linear in linears])
    for linear, part in zip(linears, bias.split(sizes), strict=True):
        if linear.bias is not None:
            linear.bias.data = part
    return Merged(weight, bias)


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias

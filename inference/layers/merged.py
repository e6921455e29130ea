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
    linears: Sequence[nn.Linear]
    addresses: Sequence[int]
    """Of their weights."""

    @property
    def holds(self) -> bool:
        """Whether these maps still have these weights: a model can be moved or get others."""
        return all(
            linear.weight.data_ptr() == address
            for linear, address in zip(self.linears, self.addresses, strict=True)
        )

    def __call__(self, rows: Tensor) -> Tensor:
        """(q, columns) -> (q, rows of all)."""
        return nn.functional.linear(rows, self.weight, self.bias)


def merge(linears: Sequence[nn.Linear]) -> Merged:
    """Put their weights side by side.

    The parameters become views of the merged ones, so that no weight exists twice and whoever
    changes one in place changes both.
    """
    with torch.inference_mode(False), torch.no_grad():  # parameters must not become other tensors
        sizes = [linear.out_features for linear in linears]
        weight = torch.cat([linear.weight for linear in linears])
        for linear, part in zip(linears, weight.split(sizes), strict=True):
            linear.weight.data = part
        bias = _merged_biases(linears, sizes)
    return Merged(weight, bias, linears, [linear.weight.data_ptr() for linear in linears])


def _merged_biases(linears: Sequence[nn.Linear], sizes: list[int]) -> Tensor | None:
    if all(linear.bias is None for linear in linears):
        return None
    bias = torch.cat([_bias(linear) for linear in linears])
    for linear, part in zip(linears, bias.split(sizes), strict=True):
        if linear.bias is not None:
            linear.bias.data = part
    return bias


def _bias(linear: nn.Linear) -> Tensor:
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias

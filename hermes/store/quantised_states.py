"""States in eight bits that are written and read like the tensor they stand for.

Shapes: d head width.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from hermes.store.quantise import Format, Quantised, dequantise, quantise

SCALE_DTYPE = torch.bfloat16
"""Two bytes with the range of fp32, whatever the dtype of the model."""


class QuantisedStates:
    """(..., d) states of a stack, quantised when they are written.

    Reading gives fp32 copies, exactly what is stored; an index must leave the last axis alone.
    `select` and `narrow` give views that can be written to, as of a tensor.
    """

    def __init__(self, parts: Quantised, form: Format, dtype: torch.dtype) -> None:
        """`dtype`: of the states that they stand for."""
        self.parts, self.form, self.dtype = parts, form, dtype

    @property
    def shape(self) -> torch.Size:
        """Of the states."""
        return self.parts.levels.shape

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.parts.levels.device

    def __getitem__(self, index: Any) -> Tensor:
        """fp32 copy."""
        levels, scale = self.parts
        return dequantise(Quantised(levels[index], scale[index]), self.form)

    def __setitem__(self, index: Any, states: Tensor) -> None:
        """Quantise and store."""
        for part, new in zip(self.parts, self.quantised(states), strict=True):
            part[index] = new

    def quantised(self, states: Tensor) -> Quantised:
        """As these states would be stored."""
        return quantise(states, self.form, SCALE_DTYPE)

    def select(self, dim: int, index: int) -> Self:
        """As of a tensor, a view; not of the last axis."""
        return self._viewed(*(part.select(dim, index) for part in self.parts))

    def narrow(self, dim: int, start: int, length: int) -> Self:
        """As of a tensor, a view; not of the last axis."""
        return self._viewed(*(part.narrow(dim, start, length) for part in self.parts))

    def copy_(self, states: Tensor) -> Self:
        """Quantise and store all of it."""
        self[...] = states
        return self

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """As of a tensor; fp32."""
        moved = (part.index_select(dim, index) for part in self.parts)
        return dequantise(Quantised(*moved), self.form)

    def gather(self, dim: int, index: Tensor) -> Tensor:
        """As of a tensor, where `index` repeats along the last axis; fp32."""
        levels, scale = self.parts
        moved = Quantised(levels.gather(dim, index), scale.gather(dim, index[..., :1]))
        return dequantise(moved, self.form)

    def scatter_(self, dim: int, index: Tensor, states: Tensor) -> Self:
        """As of a tensor, where `index` repeats along the last axis."""
        new = self.quantised(states)
        self.parts.levels.scatter_(dim, index, new.levels)
        self.parts.scale.scatter_(dim, index[..., :1], new.scale)
        return self

    def read_into(self, target: Tensor) -> Tensor:
        """Write all of it into a tensor of the model's dtype, which comes back."""
        levels, scale = self.parts
        self.form.scaled(levels, scale.to(target.dtype), target)
        return target

    def _viewed(self, levels: Tensor, scale: Tensor) -> Self:
        return type(self)(Quantised(levels, scale), self.form, self.dtype)


States = Tensor | QuantisedStates

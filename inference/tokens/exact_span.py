"""Text of the length that it has, behind memory of the length that it has.

Shapes: as in `text_pass`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes import StreamMemory
from hermes.store.layer_stack import LayerStack
from inference.attention import Kernel


class ExactSpan:
    """No padding and no mask; lengths are host numbers."""

    def __init__(self, memory: StreamMemory, kernel: Kernel, offset: int, num_new: int) -> None:
        """`num_new` tokens, `offset` tokens behind those in use."""
        self.memory, self._kernel, self._offset, self._num_new = memory, kernel, offset, num_new
        starts = ((stack.layers, stack.num_tokens + offset) for stack in memory.stacks)
        self._slots = {layers: slice(start, start + num_new) for layers, start in starts}

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, q)."""
        stop = self._offset + self._num_new
        return stack.next_position[:, None] + torch.arange(self._offset, stop, device=stack.device)

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Into the slots behind those in use."""
        new = self._slots[stack.layers]
        stack.rotated[index, :, new] = keys.transpose(0, 1)
        stack.values[index, :, new] = values.transpose(0, 1)

    def last(self, rows: Tensor) -> Tensor:
        """(1, ...)."""
        return rows[-1:]

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """Causal to the lower right."""
        stop = self._slots[stack.layers].stop
        seen = stack.storage.attended(stack.rotated, stack.values, index, stop)
        return self._kernel(queries.transpose(0, 1), *seen, scaling).transpose(0, 1)

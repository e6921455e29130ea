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

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, q)."""
        stop = self._offset + self._num_new
        return stack.next_position[:, None] + torch.arange(self._offset, stop, device=stack.device)

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Into the slots behind those in use."""
        new = slice(stack.num_tokens + self._offset, self._stop(stack))
        stack.rotated[index, :, new] = keys.transpose(0, 1)
        stack.values[index, :, new] = values.transpose(0, 1)

    def last(self, rows: Tensor) -> Tensor:
        """(1, ...)."""
        return rows[-1:]

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """Causal to the lower right."""
        seen = stack.storage.attended(stack.rotated, stack.values, index, self._stop(stack))
        return self._kernel(queries.transpose(0, 1), *seen, scaling).transpose(0, 1)

    def _stop(self, stack: LayerStack) -> int:
        return stack.num_tokens + self._offset + self._num_new

"""Text in a place that only the device knows: every address and shape stays from one use to the
next, as a CUDA graph needs it.

Shapes: as in `text_pass`; c slots that are looked at, used or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hermes import StreamMemory
from hermes.store.layer_stack import LayerStack


class ConstantSpan:
    """q rows, of which the last may be padding: nothing sees them, and later text takes their
    slots."""

    def __init__(
        self, memory: StreamMemory, num_rows: int, lengths: Sequence[int], repeats: int
    ) -> None:
        """`lengths`: c of each stack; `repeats`: query heads of a key head."""
        self.memory, self._repeats = memory, repeats
        self._lengths = {id(s): c for s, c in zip(memory.stacks, lengths, strict=True)}
        device = memory.device
        self._used = torch.zeros(len(memory.stacks), dtype=torch.int64, device=device)
        self.offset = torch.zeros(1, dtype=torch.int64, device=device)
        """Tokens between those in use and the first row."""
        self._last = torch.zeros(1, dtype=torch.int64, device=device)
        self._rows = torch.arange(num_rows, device=device)
        self._columns = torch.arange(max(lengths), device=device)
        self._slots: dict[int, Tensor] = {}
        self._masks: dict[int, dict[int, Tensor]] = {}

    def place(self, offset: int, num_real: int) -> None:
        """Put the rows behind what is in use now; one copy to the device."""
        used = [stack.num_tokens for stack in self.memory.stacks]
        numbers = torch.tensor([offset, num_real - 1, *used])
        numbers = numbers.to(self.offset.device, non_blocking=True)
        for target, value in zip((self.offset, self._last), numbers[:2].split(1), strict=True):
            target.copy_(value)
        self._used.copy_(numbers[2:])

    def begin(self) -> None:
        """Where rows go and what they see, from the numbers on the device."""
        offsets = self.offset + self._rows
        for number, stack in enumerate(self.memory.stacks):
            slots = self._used[number] + offsets
            columns = self._columns[: self._lengths[id(stack)]]
            seen = columns <= slots[:, None]
            mask = torch.full(seen.shape, -torch.inf, dtype=stack.rotated.dtype, device=seen.device)
            mask.masked_fill_(seen, 0)
            self._slots[id(stack)] = slots
            whole = mask.repeat(self._repeats, 1) if len(mask) > 1 else mask
            self._masks[id(stack)] = {len(mask): whole, 1: self.last(mask)}
        self._offsets = offsets

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, q)."""
        return stack.next_position[:, None] + self._offsets

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Padding too."""
        slots = self._slots[id(stack)]
        stack.rotated[index].index_copy_(1, slots, keys.transpose(0, 1))
        stack.values[index].index_copy_(1, slots, values.transpose(0, 1))

    def last(self, rows: Tensor) -> Tensor:
        """(1, ...) of the last row that is not padding."""
        return rows if len(rows) == 1 else rows.index_select(0, self._last)

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """Heads that share a key head become rows of it; unused slots weigh nothing."""
        num_rows, num_heads, width = queries.shape
        seen = slice(self._lengths[id(stack)])
        keys, values = stack.rotated[index, :, seen], stack.values[index, :, seen]
        rows = queries.view(num_rows, len(keys), -1, width).permute(1, 2, 0, 3)
        attended = scaled_dot_product_attention(
            rows.reshape(1, len(keys), -1, width),
            keys[None],
            values[None],
            attn_mask=self._masks[id(stack)][num_rows],
            scale=scaling,
        )
        attended = attended.view(len(keys), -1, num_rows, width)
        return attended.permute(2, 0, 1, 3).reshape(num_rows, num_heads, width)

"""Where texts go in memories that lie side by side in one store, and what they see there: one
operation reaches the same layer of all of them.

Shapes: s streams, t tokens of all texts, q of the longest, h query heads, g key heads, r = h / g,
n tokens in the longest memory, d head width, l layers of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hermes import StreamMemory
from hermes.store.layer_stack import LayerStack
from hermes.store.shared_store import Buffers, SharedStore
from inference.together.texts import Texts, texts_of


class _Place(NamedTuple):
    """The same stack of all streams."""

    buffers: Buffers
    """Of all streams of the store."""
    streams: Tensor
    """(s,) rows of the store."""
    has_all: bool
    """Whether these are all of them, in their order."""
    texts: Texts
    ends: Texts
    """Of the last tokens."""
    slots: Tensor
    """(t,) where each token goes."""
    positions: Tensor
    """(l, t)."""
    mask: Tensor
    """(s, 1, r * q, n) to be added, the same for one token: -inf where it may not look."""

    @classmethod
    def of(
        cls,
        stacks: Sequence[LayerStack],
        store: SharedStore,
        lengths: tuple[int, ...],
        num_heads: int,
    ) -> _Place:
        first, device = stacks[0], stacks[0].device
        rows = [stack.place.stream for stack in stacks if stack.place is not None]
        used = [stack.num_tokens for stack in stacks]
        streams, starts = torch.tensor([rows, used]).to(device)
        texts = texts_of(lengths, device)
        following = torch.stack([stack.next_position for stack in stacks], dim=1)
        slots = starts[texts.owner] + texts.offset
        longest = min(max(used) + texts.longest, first.capacity)
        mask = _mask(slots[texts.filled], longest, first.keys.dtype)
        if texts.longest > 1:  # the r heads of a key head become rows of it
            mask = mask.repeat(1, 1, num_heads // first.keys.shape[1], 1)
        return cls(
            store.of_stack(first.layers.start),
            streams,
            rows == list(range(store.num_streams)),
            texts,
            texts_of((1,) * len(rows), device),
            slots,
            following[:, texts.owner] + texts.offset,
            mask,
        )

    def following(self) -> _Place:
        """For one more token behind each text."""
        slots, positions = self.slots, self.positions
        if self.texts.longest > 1:
            slots, positions = slots[self.texts.ends], positions[:, self.texts.ends]
        longest = min(self.mask.shape[-1] + 1, self.buffers.keys.shape[3])
        mask = _mask(slots[:, None] + 1, longest, self.mask.dtype)
        return self._replace(texts=self.ends, slots=slots + 1, positions=positions + 1, mask=mask)


def _mask(slots: Tensor, num_columns: int, dtype: torch.dtype) -> Tensor:
    """(s, 1, q, n): tokens in these (s, q) slots look up to themselves."""
    hidden = torch.arange(num_columns, device=slots.device) > slots[:, None, :, None]
    mask = torch.zeros(hidden.shape, dtype=dtype, device=slots.device)
    return mask.masked_fill_(hidden, -torch.inf)


class SharedSpan:
    """Texts of any lengths, one behind the other, each in the slots that follow in its stream."""

    def __init__(
        self,
        memories: Sequence[StreamMemory],
        store: SharedStore,
        lengths: tuple[int, ...],
        num_heads: int,
    ) -> None:
        """`memories`: s of the store; `lengths`: tokens of their texts, above 0; `num_heads`: h."""
        self.memories, self.memory = list(memories), memories[0]
        """The stacks of the first stand for those of all."""
        self._places = {
            stacks[0].layers: _Place.of(stacks, store, lengths, num_heads)
            for stacks in zip(*(memory.stacks for memory in memories), strict=True)
        }

    def move(self) -> None:
        """Stand for one more token behind each text: nothing is sent to a device for that."""
        self._places = {layers: place.following() for layers, place in self._places.items()}

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, t)."""
        return self._places[stack.layers].positions

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Store (t, g, d) rotated keys and values of a layer."""
        place = self._places[stack.layers]
        rows = place.streams[place.texts.owner] if place.texts.longest > 1 else place.streams
        for buffer, states in ((place.buffers.rotated, keys), (place.buffers.values, values)):
            buffer[rows, index, :, place.slots] = states

    def last(self, rows: Tensor) -> Tensor:
        """(s, ...) of (t, ...): what belongs to the last token of each text."""
        texts = self._places[self.memory.stacks[-1].layers].texts
        return rows if texts.longest == 1 else rows[texts.ends]

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """(t, h, d) rotated queries, or (s, h, d) of the last tokens, each over its own stream."""
        place = self._places[stack.layers]
        texts, mask = place.texts, place.mask
        if len(queries) < len(place.slots):
            mask = mask[place.ends.owner, :, texts.offset[texts.ends], None]
            texts = place.ends
        batch = texts.batched(queries).transpose(1, 2)  # (s, h, q, d)
        groups, seen = place.buffers.keys.shape[2], slice(mask.shape[-1])
        attended = scaled_dot_product_attention(
            batch.reshape(len(batch), groups, -1, batch.shape[-1]),
            _of(place, place.buffers.rotated[:, index, :, seen]),
            _of(place, place.buffers.values[:, index, :, seen]),
            attn_mask=mask,
            scale=scaling,
        )
        return texts.joined(attended.reshape(batch.shape).transpose(1, 2))


def _of(place: _Place, states: Tensor) -> Tensor:
    return states if place.has_all else states.index_select(0, place.streams)

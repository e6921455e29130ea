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
    texts: Texts
    ends: Texts
    """Of the last tokens."""
    streams: Tensor | None
    """(s,) rows of the store; None if they are all, in their order."""
    rows: Tensor
    """(t,) row of the store of each token."""
    slots: Tensor
    """(t,) where it goes there."""
    positions: Tensor
    """(l, t)."""
    mask: Tensor
    """(s, 1, r * q, n) to be added: -inf where a token may not look."""
    mask_of_ends: Tensor
    """(s, 1, 1, n) or (s, 1, r, n)."""


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
        self.memory = memories[0]
        """Its stacks stand for those of all."""
        self._places = {
            stacks[0].layers: _place(stacks, store, lengths, num_heads)
            for stacks in zip(*(memory.stacks for memory in memories), strict=True)
        }

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, t)."""
        return self._places[stack.layers].positions

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Store (t, g, d) rotated keys and values of a layer."""
        place = self._places[stack.layers]
        for buffer, states in ((place.buffers.rotated, keys), (place.buffers.values, values)):
            buffer[place.rows, index, :, place.slots] = states

    def last(self, rows: Tensor) -> Tensor:
        """(s, ...) of (t, ...): what belongs to the last token of each text."""
        texts = self._places[self.memory.stacks[-1].layers].texts
        return rows if texts.longest == 1 else rows[texts.ends]

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """(t, h, d) rotated queries, or (s, h, d) of the last tokens, each over its own stream."""
        place = self._places[stack.layers]
        is_whole = len(queries) == len(place.rows)
        texts, mask = (place.texts, place.mask) if is_whole else (place.ends, place.mask_of_ends)
        batch = texts.batched(queries).transpose(1, 2)  # (s, h, q, d)
        groups = place.buffers.keys.shape[2]
        seen = slice(mask.shape[-1])
        attended = scaled_dot_product_attention(
            batch.reshape(len(batch), groups, -1, batch.shape[-1]),
            _of(place.streams, place.buffers.rotated[:, index, :, seen]),
            _of(place.streams, place.buffers.values[:, index, :, seen]),
            attn_mask=mask,
            scale=scaling,
        )
        return texts.joined(attended.reshape(batch.shape).transpose(1, 2))


def _place(
    stacks: Sequence[LayerStack], store: SharedStore, lengths: tuple[int, ...], num_heads: int
) -> _Place:
    first, device = stacks[0], stacks[0].device
    texts, ends = texts_of(lengths, device), texts_of((1,) * len(lengths), device)
    rows = [stack.place.stream for stack in stacks if stack.place is not None]
    used = [stack.num_tokens for stack in stacks]
    streams, starts = torch.tensor([rows, used]).to(device)
    slots = starts[texts.owner] + texts.offset
    following = torch.stack([stack.next_position for stack in stacks], dim=1)
    columns = torch.arange(max(used) + texts.longest, device=device)
    hidden = columns > slots[texts.filled][:, None, :, None]
    mask = torch.zeros(hidden.shape, dtype=first.keys.dtype, device=device)
    mask.masked_fill_(hidden, -torch.inf)
    repeats = num_heads // first.keys.shape[1] if texts.longest > 1 else 1
    return _Place(
        store.of_stack(first.layers.start),
        texts,
        ends,
        None if rows == list(range(store.num_streams)) else streams,
        streams[texts.owner],
        slots,
        following[:, texts.owner] + texts.offset,
        mask.repeat(1, 1, repeats, 1) if repeats > 1 else mask,
        mask[ends.owner, :, texts.offset[texts.ends], None],
    )


def _of(streams: Tensor | None, states: Tensor) -> Tensor:
    return states if streams is None else states.index_select(0, streams)

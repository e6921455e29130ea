"""Texts read into memories that lie side by side in one store: one operation reaches the same layer
of all of them.

Shapes: s streams, t tokens of all texts, q of the longest, h query heads, g key heads, r = h / g,
n tokens in the longest memory, d head width, e embedding width, l layers of a stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from hermes import StreamMemory
from hermes.rotation import rotate
from hermes.store.layer_stack import LayerStack
from hermes.store.shared_store import Buffers, SharedStore
from inference.abstract_hermes import AbstractHermes
from inference.together.texts import Texts, texts_of


def is_in(store: SharedStore, memory: StreamMemory) -> bool:
    """Not if a text of more than the reserve made its buffers grow."""
    return all(stack.place is not None and stack.place.store is store for stack in memory.stacks)


@torch.no_grad()
def read_beside(
    stream: AbstractHermes,
    memories: Sequence[StreamMemory],
    store: SharedStore,
    texts: Sequence[Tensor],
) -> Tensor:
    """Read a text into each memory. Where its tokens stand is not noted: they can only be rolled
    back.

    Args:
        stream: whose weights are used.
        memories: s of the store, all with room for their text.
        texts: ids for each, of any lengths above 0.

    Returns:
        (s, e) normalised hidden states of the last tokens.
    """
    for memory in memories:
        memory.refresh()
    decoder, num_layers = stream.decoder, memories[0].num_layers
    lengths = tuple(map(len, texts))
    hidden = stream.embed(torch.cat(list(texts)))
    for stacks in zip(*(memory.stacks for memory in memories), strict=True):
        batch = _Batch.of(stacks, store, texts_of(lengths, stacks[0].device), stream)
        hidden = hidden.to(stacks[0].device)
        for index, layer in enumerate(stacks[0].layers):
            queries, keys, values = decoder.project(layer, hidden)
            cos, sin = batch.cos[:, index], batch.sin[:, index]
            batch.write(index, rotate(keys, cos, sin), values)
            if layer == num_layers - 1 and len(hidden) > len(stacks):
                ends, batch = batch.texts.ends, batch.of_ends()
                queries, hidden, cos, sin = queries[:, ends], hidden[ends], cos[ends], sin[ends]
            attended = batch.attend(index, rotate(queries, cos, sin), decoder.scaling(layer))
            hidden = decoder.after_attention(layer, hidden, attended)
    for memory, length in zip(memories, lengths, strict=True):
        memory.advance(length)
    return decoder.norm(hidden)


class _Batch(NamedTuple):
    """The same stack of all streams, and the texts that go there."""

    buffers: Buffers
    """Of all streams of the store."""
    texts: Texts
    streams: Tensor
    """(s,) rows of the store."""
    has_all: bool
    """Whether these are all of them, in their order."""
    rows: Tensor
    """(t,) row of the store of each token."""
    slots: Tensor
    """(t,) where it goes there."""
    cos: Tensor
    """(t, l, d)."""
    sin: Tensor
    mask: Tensor
    """(s, 1, r * q, n) to be added: -inf where a token may not look."""

    @classmethod
    def of(
        cls, stacks: Sequence[LayerStack], store: SharedStore, texts: Texts, stream: AbstractHermes
    ) -> _Batch:
        first = stacks[0]
        rows = [stack.place.stream for stack in stacks if stack.place is not None]
        used = [stack.num_tokens for stack in stacks]
        streams, starts = torch.tensor([rows, used]).to(first.device)
        following = torch.stack([stack.next_position for stack in stacks])
        slots = starts[texts.owner] + texts.offset
        positions = following[texts.owner] + texts.offset[:, None]
        tables = stream.decoder.angles(positions.flatten().expand(stream.rule.num_axes, -1))
        cos, sin = (table.view(*positions.shape, -1) for table in tables)
        repeats = stream.text_config.num_attention_heads // first.keys.shape[1]
        columns = torch.arange(max(used) + texts.longest, device=first.device)
        hidden = columns > slots[texts.filled][:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=first.keys.dtype, device=first.device)
        return cls(
            store.of_stack(first.layers.start),
            texts,
            streams,
            rows == list(range(store.num_streams)),
            streams[texts.owner],
            slots,
            cos,
            sin,
            mask.masked_fill_(hidden, -torch.inf).repeat(1, 1, repeats, 1),
        )

    def of_ends(self) -> _Batch:
        """For queries of the last tokens only."""
        texts, ends = self.texts, self.texts.ends
        last = texts_of((1,) * len(ends), ends.device)
        own = self.mask[last.owner, :, texts.offset[ends]]  # (s, 1, n)
        repeats = self.mask.shape[2] // texts.longest
        return self._replace(texts=last, mask=own[:, None].expand(-1, -1, repeats, -1))

    def write(self, index: int, rotated: Tensor, values: Tensor) -> None:
        """(g, t, d) states of a layer into each stream's next slots."""
        for buffer, states in ((self.buffers.rotated, rotated), (self.buffers.values, values)):
            buffer[self.rows, index, :, self.slots] = states.transpose(0, 1)

    def attend(self, index: int, queries: Tensor, scaling: float) -> Tensor:
        """(h, t, d) rotated queries, each over its own stream -> (h, t, d)."""
        groups, longest = self.buffers.keys.shape[2], self.mask.shape[-1]
        rows = self.texts.batched(queries).transpose(0, 1)  # (s, h, q, d)
        attended = scaled_dot_product_attention(
            rows.reshape(len(rows), groups, -1, rows.shape[-1]),
            self._of_streams(self.buffers.rotated[:, index, :, :longest]),
            self._of_streams(self.buffers.values[:, index, :, :longest]),
            attn_mask=self.mask,
            scale=scaling,
        )
        return self.texts.joined(attended.reshape(rows.shape).transpose(0, 1))

    def _of_streams(self, states: Tensor) -> Tensor:
        return states if self.has_all else states.index_select(0, self.streams)

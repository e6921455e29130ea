"""Texts read into memories that lie side by side in one store.

Shapes: s streams, t tokens of all texts, e embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes import StreamMemory
from hermes.rotation import rotate
from hermes.store.shared_store import SharedStore
from inference.abstract_hermes import AbstractHermes
from inference.together.shared_span import SharedSpan


def is_in(store: SharedStore, memory: StreamMemory) -> bool:
    """Not if a text of more than the reserve made its buffers grow."""
    return all(stack.place is not None and stack.place.store is store for stack in memory.stacks)


class SideBySide:
    """Reads text after text. Neither un-rotated keys nor where tokens stand are noted: what is read
    can only be rolled back."""

    def __init__(self, stream: AbstractHermes, store: SharedStore) -> None:
        """`stream`: whose weights are used."""
        self._stream, self._store = stream, store
        self._span: SharedSpan | None = None

    @torch.no_grad()
    def read(self, memories: Sequence[StreamMemory], texts: Sequence[Tensor]) -> Tensor:
        """Read a text into each memory.

        Args:
            memories: s of the store, all with room for their text; nothing else has been read into
                them since the last call.
            texts: ids for each, of any lengths above 0.

        Returns:
            (s, e) normalised hidden states of the last tokens.
        """
        lengths = tuple(map(len, texts))
        span = self._moved(memories, lengths)
        embeddings = self._stream.embed(torch.cat(list(texts)))
        hidden = self._pass(embeddings, span)
        for memory, length in zip(memories, lengths, strict=True):
            memory.advance(length)
        self._span = span
        return hidden

    def _pass(self, embeddings: Tensor, span: SharedSpan) -> Tensor:
        """(t, e) embeddings -> (s, e)."""
        if self._stream.execution == "plain":
            return _read(self._stream, embeddings, span)
        return self._stream._answering.text_pass(embeddings, span)

    def _moved(self, memories: Sequence[StreamMemory], lengths: tuple[int, ...]) -> SharedSpan:
        """On from the last text where all go on by a token."""
        span = self._span
        if span is not None and span.memories == memories and set(lengths) == {1}:
            span.move()
            return span
        for memory in memories:
            memory.refresh()
        self._stream.decoder.refresh()
        num_heads = self._stream.text_config.num_attention_heads
        return SharedSpan(memories, self._store, lengths, num_heads)


def _read(stream: AbstractHermes, hidden: Tensor, span: SharedSpan) -> Tensor:
    """(t, e) embeddings -> (s, e)."""
    decoder, num_layers = stream.decoder, span.memory.num_layers
    for stack in span.memory.stacks:
        hidden = hidden.to(stack.device)
        positions = span.positions(stack)
        tables = decoder.angles(positions.flatten().expand(stream.rule.num_axes, -1))
        cos, sin = (table.view(*positions.shape, -1) for table in tables)
        for index, layer in enumerate(stack.layers):
            queries, keys, values = decoder.project(layer, hidden)
            queries, keys = (rotate(each, cos[index], sin[index]) for each in (queries, keys))
            span.write(stack, index, keys.transpose(0, 1), values.transpose(0, 1))
            rows = queries.transpose(0, 1)
            if layer == num_layers - 1:
                rows, hidden = span.last(rows), span.last(hidden)
            attended = span.attend(stack, index, rows, decoder.scaling(layer))
            hidden = decoder.after_attention(layer, hidden, attended.transpose(0, 1))
    return decoder.norm(hidden)

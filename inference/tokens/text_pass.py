"""Text read behind what is in use, in few operators, for answers: it leaves no trace.

Only rotated keys and values are written, in slots that are not in use: no positions, no provenance,
no un-rotated keys, so that there is nothing to take back.

Shapes: h query heads, g key heads, q new tokens, n tokens up to and with the new ones, d head
width, e embedding width, l layers of a stack, a position axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hermes import StreamMemory
from hermes.store.layer_stack import LayerStack
from inference.decoder import StreamDecoder
from inference.layers.fused_layer import FusedLayer


class Span(Protocol):
    """Where the text goes, and what it sees."""

    memory: StreamMemory

    def positions(self, stack: LayerStack) -> Tensor:
        """(l, q) of the new tokens."""

    def write(self, stack: LayerStack, index: int, keys: Tensor, values: Tensor) -> None:
        """Store (q, g, d) rotated keys and values of a layer."""

    def last(self, rows: Tensor) -> Tensor:
        """(1, ...) of (q, ...): what belongs to the last token."""

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """Rotated (q, h, d) queries, or the last token's, over all that they may see -> same."""


class _Angles(NamedTuple):
    """Of a stack; factors of states, and of states rolled by half a head."""

    cos: Tensor
    """(l, q, 1, d) fp32, or (l, q, h + g, d) with the weights of the heads' norms in it."""
    sin: Tensor
    """The same, negative in its first half: rolled states are not negated."""


class TextPass:
    """Reads text through all layers; see `Span` for where."""

    def __init__(self, decoder: StreamDecoder, num_axes: int) -> None:
        """`decoder`: its layers are `FusedLayer`s."""
        self._decoder, self._num_axes = decoder, num_axes
        self._layers = [layer for layer in decoder.layers if isinstance(layer, FusedLayer)]
        self._weights: dict[range, _Angles | None] = {}

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, span: Span) -> Tensor:
        """(q, e) embeddings -> (1, e) normalised hidden state of the last token."""
        angles = {
            id(stack): self._angles(span.positions(stack), stack) for stack in span.memory.stacks
        }
        hidden, decoder = embeddings, self._decoder
        for number, layer in enumerate(self._layers):
            stack, index = span.memory.place_of(number)
            hidden = hidden.to(stack.device)
            heads = layer.heads(hidden)
            turned = _turned(layer, heads, self._of_layer(angles[id(stack)], stack, index))
            values = heads[:, -layer.num_groups :]
            span.write(stack, index, turned[:, layer.num_heads :], values)
            queries = turned[:, : layer.num_heads]
            if number == len(self._layers) - 1:
                queries, hidden = span.last(queries), span.last(hidden)
            attended = span.attend(stack, index, queries, layer.scaling)
            hidden = layer.finish(hidden, attended.flatten(1))
        return decoder.norm(hidden)

    def _angles(self, positions: Tensor, stack: LayerStack) -> _Angles:
        count, num_new = positions.shape
        flat = positions.flatten().expand(self._num_axes, -1)
        cos, sin = (table.view(count, num_new, 1, -1) for table in self._decoder.angles(flat))
        sin[..., : sin.shape[-1] // 2].neg_()
        weights = self._weights_of(stack)
        if num_new > 1 or weights is None:
            return _Angles(cos, sin)
        return _Angles(cos * weights.cos, sin * weights.sin)

    def _of_layer(self, angles: _Angles, stack: LayerStack, index: int) -> _Angles:
        """Large tables are multiplied layer by layer."""
        own, weights = _Angles(angles.cos[index], angles.sin[index]), self._weights_of(stack)
        if len(own.cos) == 1 or weights is None:
            return own
        return _Angles(own.cos * weights.cos[index], own.sin * weights.sin[index])

    def _weights_of(self, stack: LayerStack) -> _Angles | None:
        """(l, 1, h + g, d) weights of the heads' norms."""
        if stack.layers not in self._weights:
            rows = [self._layers[layer].head_weights for layer in stack.layers]
            self._weights[stack.layers] = _stacked(rows)
        return self._weights[stack.layers]


def _stacked(rows: Sequence[Tensor | None]) -> _Angles | None:
    present = [row for row in rows if row is not None]
    if not present:
        return None
    weights = torch.stack(present).unsqueeze(1)
    return _Angles(weights, weights.roll(weights.shape[-1] // 2, dims=-1))


def _turned(layer: FusedLayer, heads: Tensor, angles: _Angles) -> Tensor:
    """(q, h + g, d) rotated queries and keys, the arithmetic in fp32."""
    own = layer.normed_heads(heads[:, : layer.num_heads + layer.num_groups])
    rolled = own.roll(own.shape[-1] // 2, dims=-1)
    return torch.addcmul(own * angles.cos, rolled, angles.sin, out=own)

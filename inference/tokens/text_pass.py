"""Text read behind what is in use, in few operators, for answers: it leaves no trace.

Only rotated keys and values are written, in slots that are not in use: no positions, no provenance,
no un-rotated keys, so that there is nothing to take back.

Shapes: h query heads, g key heads, q new tokens, n tokens up to and with the new ones, d head
width, e embedding width, l layers of a stack, a position axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

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
        """(1, ...) of (q, ...): what belongs to the last token; (s, ...) where s texts are read."""

    def attend(self, stack: LayerStack, index: int, queries: Tensor, scaling: float) -> Tensor:
        """Rotated (q, h, d) queries, or the last token's, over all that they may see -> same."""


class _Angles(NamedTuple):
    """Of the layers of a stack; factors of states, and of states rolled by half a head."""

    cos: Sequence[Tensor]
    """l times (q, 1, d) fp32, or (q, h + g, d) with the weights of the heads' norms in it."""
    sin: Sequence[Tensor]
    """The same, negative in its first half: rolled states are not negated."""


class _Weights(NamedTuple):
    """(l, 1, h + g, d) weights of the heads' norms."""

    own: Tensor
    rolled: Tensor
    of: Sequence[Tensor | None]
    """What they were made of."""


class TextPass:
    """Reads text through all layers; see `Span` for where."""

    def __init__(self, decoder: StreamDecoder, num_axes: int) -> None:
        """`decoder`: its layers are `FusedLayer`s."""
        self._decoder, self._num_axes = decoder, num_axes
        self._layers = [layer for layer in decoder.layers if isinstance(layer, FusedLayer)]
        self._weights: dict[range, _Weights] = {}

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, span: Span) -> Tensor:
        """(q, e) embeddings -> (1, e) normalised hidden state of the last token, or of the
        last of each text of the span. The decoder has been refreshed."""
        hidden, decoder, last = embeddings, self._decoder, len(self._layers) - 1
        for stack in span.memory.stacks:
            hidden = hidden.to(stack.device)
            cos, sin = self._angles(span.positions(stack), stack)
            for index, number in enumerate(stack.layers):
                layer = self._layers[number]
                heads = layer.heads(hidden)
                turned = _turned(layer, heads, cos[index], sin[index])
                queries, keys = turned.split([layer.num_heads, layer.num_groups], dim=1)
                span.write(stack, index, keys, heads[:, -layer.num_groups :])
                if number == last:
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
        if weights is None:
            return _Angles(cos.unbind(), sin.unbind())
        if num_new > 1:
            return _Angles(_Products(cos, weights.own), _Products(sin, weights.rolled))
        return _Angles((cos * weights.own).unbind(), (sin * weights.rolled).unbind())

    def _weights_of(self, stack: LayerStack) -> _Weights | None:
        first = self._layers[stack.layers.start].head_weights
        if first is None:
            return None
        held = self._weights.get(stack.layers)
        rows = [self._layers[layer].head_weights for layer in stack.layers]
        if held is None or any(a is not b for a, b in zip(held.of, rows, strict=True)):
            held = self._weights[stack.layers] = _stacked(rows)
        return held


class _Products(Sequence[Tensor]):
    """Large tables are multiplied when a layer needs them."""

    def __init__(self, table: Tensor, weights: Tensor) -> None:
        self._table, self._weights = table, weights

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        return self._table[index] * self._weights[index]


def _stacked(rows: Sequence[Tensor | None]) -> _Weights:
    weights = torch.stack([row for row in rows if row is not None]).unsqueeze(1)
    return _Weights(weights, weights.roll(weights.shape[-1] // 2, dims=-1), rows)


def _turned(layer: FusedLayer, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(q, h + g, d) rotated queries and keys, the arithmetic in fp32."""
    own = layer.normed_heads(heads[:, : layer.num_heads + layer.num_groups])
    rolled = own.roll(own.shape[-1] // 2, dims=-1)
    return torch.addcmul(own * cos, rolled, sin, out=own)

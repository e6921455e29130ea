"""A decoder layer in few operators: merged matrices, sums inside matrix products.

Fifteen launches a token instead of forty-five. In half precision a sum inside a product is rounded
once instead of twice, so that results are not bit for bit those of the modules, but not worse.

Shapes: h query heads, g key heads, q new tokens, d head width, e embedding width, m width of the
MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from inference.layers.merged import Merged, merge
from inference.layers.plain_layer import PlainLayer

_MERGED: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()
"""Streams over the same model share them."""


class _Parts(NamedTuple):
    """Of a layer."""

    projections: Merged
    first_half: Merged
    """Of the MLP."""
    head_weights: Tensor | None


class FusedLayer(PlainLayer):
    """Needs what `obstacle` does not object to."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        attention = layer.self_attn
        self.width: int = attention.head_dim
        self.num_groups = attention.k_proj.out_features // self.width
        self.num_heads = attention.q_proj.out_features // self.width
        self.has_head_norms = hasattr(attention, "q_norm")
        # looking a module up costs as much as a small operator
        self._queries, self._output = attention.q_proj, attention.o_proj
        self._first_norm, self._second_norm = layer.input_layernorm, layer.post_attention_layernorm
        self._activation, self._down = layer.mlp.act_fn, layer.mlp.down_proj
        self._found: _Parts | None = None

    @staticmethod
    def norm_of(module: Any) -> Callable[[Tensor], Tensor]:
        """As `PlainLayer.norm_of`."""
        return partial(normed, module) if is_norm(module) else module

    def heads(self, hidden: Tensor) -> Tensor:
        """(q, h + 2 * g, d) queries, keys and values of (q, e), before any norm of their own."""
        rows = normed(self._first_norm, hidden)
        return self._parts.projections(rows).view(hidden.shape[0], -1, self.width)

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `PlainLayer.project`."""
        queries, keys, values = self.heads(hidden).split(
            [self.num_heads, self.num_groups, self.num_groups], dim=1
        )
        if self.has_head_norms:
            attention = self.module.self_attn
            queries, keys = normed(attention.q_norm, queries), normed(attention.k_norm, keys)
        return queries.transpose(0, 1), keys.transpose(0, 1), values.transpose(0, 1)

    def normed_heads(self, heads: Tensor) -> Tensor:
        """(q, h + g, d) queries and keys without the weights of their norms, which
        `head_weights` are: a rotation takes them up at no cost."""
        if not self.has_head_norms:
            return heads
        return rms_norm(heads, (self.width,), None, self.module.self_attn.q_norm.variance_epsilon)

    @property
    def head_weights(self) -> Tensor | None:
        """(h + g, d) fp32; None where heads have no norm."""
        return self._parts.head_weights

    def finish(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """As `PlainLayer.finish`."""
        hidden = _added(hidden, rows, self._output)
        rows = normed(self._second_norm, hidden)
        gate, up = self._parts.first_half(rows).chunk(2, -1)
        return _added(hidden, self._activation(gate) * up, self._down)

    @property
    def _parts(self) -> _Parts:
        found = self._found
        if found is None or not found.projections.holds(self._queries):
            found = self._found = self._merged()
        return found

    def _merged(self) -> _Parts:
        attention, mlp = self.module.self_attn, self.module.mlp
        found = _MERGED.get(self.module)
        if found is None or not found.projections.holds(self._queries):
            found = _MERGED[self.module] = _Parts(
                merge([attention.q_proj, attention.k_proj, attention.v_proj]),
                merge([mlp.gate_proj, mlp.up_proj]),
                self._weights_of_heads() if self.has_head_norms else None,
            )
        return found

    @torch.no_grad()
    def _weights_of_heads(self) -> Tensor:
        attention = self.module.self_attn
        parts = ((attention.q_norm, self.num_heads), (attention.k_norm, self.num_groups))
        return torch.cat([norm.weight.float().expand(count, -1) for norm, count in parts])


def normed(norm: Any, states: Tensor) -> Tensor:
    """(..., d) states through a root-mean-square norm of the transformers library."""
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _added(hidden: Tensor, rows: Tensor, linear: nn.Linear) -> Tensor:
    """The sum of `hidden` and what the map makes of `rows`."""
    if linear.bias is not None:
        hidden = hidden + linear.bias
    return torch.addmm(hidden, rows, linear.weight.t())


def obstacle(layer: Any) -> str | None:
    """Why a layer has to be computed by its own modules; None if it need not."""
    attention, mlp = layer.self_attn, getattr(layer, "mlp", None)
    names = [(attention, name) for name in ("q_proj", "k_proj", "v_proj", "o_proj")]
    names += [(mlp, name) for name in ("gate_proj", "up_proj", "down_proj")]
    for owner, name in names:
        linear = getattr(owner, name, None)
        if type(linear) is not nn.Linear:
            return f"{name} is {type(linear).__name__}, not a plain linear map"
        if linear.weight.device.type == "meta":
            return f"{name} is not on a device (offloaded)"
    hooked = [name for owner, name in names if _has_hooks(getattr(owner, name))]
    if hooked:
        return f"a hook is registered on {hooked[0]}, which would not be called"
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    if hasattr(attention, "q_norm"):
        norms += [attention.q_norm, attention.k_norm]
    for norm in norms:
        if not is_norm(norm):
            return f"{type(norm).__name__} is not a root-mean-square norm with a variance_epsilon"
    return None


def is_norm(norm: Any) -> bool:
    """Whether `normed` computes it."""
    return type(norm).__name__.endswith("RMSNorm") and hasattr(norm, "variance_epsilon")


def _has_hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)

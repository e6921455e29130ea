"""A decoder layer in few operators: merged matrices, sums inside matrix products.

Fourteen launches a token on a GPU instead of 37, fifteen instead of 49 where heads have norms. In
half precision a sum inside a product is rounded once instead of twice, so that results are not bit
for bit those of the modules, but not worse.

Shapes: h query heads, g key heads, q new tokens, d head width, e embedding width, m width of the
MLP.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from inference.errors import ModelLoadError
from inference.layers.merged import Merged, merge
from inference.layers.plain_layer import PlainLayer

_MERGED: WeakKeyDictionary[nn.Module, _Parts] = WeakKeyDictionary()
"""Streams over the same model share them."""
_LOCK = threading.Lock()


class _Parts(NamedTuple):
    """Of a layer."""

    projections: Merged
    first_half: Merged
    """Of the MLP."""
    head_weights: Tensor | None
    norms: Sequence[nn.Module]
    """Of the heads."""
    modules: Sequence[Any]
    """What the layer calls; others may stand in their places by now."""
    norm_states: Sequence[tuple[int, int]]
    """Address and version of their weights, which `head_weights` are copies of."""

    def hold_of(self, layer: Any) -> bool:
        """Whether the layer still has these modules and weights."""
        return (
            all(a is b for a, b in zip(self.modules, _modules_of(layer), strict=True))
            and self.projections.holds
            and self.first_half.holds
            and (not self.norms or self.norm_states == _states_of(self.norms))
        )


class FusedLayer(PlainLayer):
    """Needs what `obstacle` does not object to."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        attention = layer.self_attn
        self.width: int = attention.head_dim
        self.num_groups = attention.k_proj.out_features // self.width
        self.num_heads = attention.q_proj.out_features // self.width
        self.has_head_norms = hasattr(attention, "q_norm")
        self._take()  # here, before memories and other streams take up room

    @staticmethod
    def norm_of(module: Any) -> Callable[[Tensor], Tensor]:
        """As `PlainLayer.norm_of`."""
        if not is_norm(module) or _replaced(module):
            return module
        return lambda states: normed(module, states.to(module.weight.device))

    def refresh(self) -> None:
        """As `PlainLayer.refresh`.

        Raises:
            ModelLoadError: other modules, which only a new stream can serve.
        """
        if not self._found.hold_of(self.module):
            self._check_modules()
            self._take()

    def _take(self) -> None:
        """Looking a module up costs as much as a small operator."""
        layer = self.module
        self._output = layer.self_attn.o_proj
        self._first_norm, self._second_norm = layer.input_layernorm, layer.post_attention_layernorm
        self._activation, self._down = layer.mlp.act_fn, layer.mlp.down_proj
        self._found = self._merged()

    def heads(self, hidden: Tensor) -> Tensor:
        """(q, h + 2 * g, d) queries, keys and values of (q, e), before any norm of their own."""
        rows = normed(self._first_norm, hidden)
        return self._found.projections(rows).view(hidden.shape[0], -1, self.width)

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
        return self._found.head_weights

    def finish(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """As `PlainLayer.finish`."""
        hidden = _added(hidden, rows, self._output)
        rows = normed(self._second_norm, hidden)
        gate, up = self._found.first_half(rows).chunk(2, -1)
        return _added(hidden, self._activation(gate) * up, self._down)

    def _check_modules(self) -> None:
        if reason := obstacle(self.module):
            raise ModelLoadError(
                f"a decoder layer was changed after the stream was made: {reason}; open a new "
                "stream (execution='plain' serves whatever the layer is made of)"
            )

    def _merged(self) -> _Parts:
        attention, mlp = self.module.self_attn, self.module.mlp
        norms = [attention.q_norm, attention.k_norm] if self.has_head_norms else []
        with _LOCK:
            found = _MERGED.pop(self.module, None)
            if found is None or not found.hold_of(self.module):
                found = None  # gone before its successor takes up room
                found = _Parts(
                    merge([attention.q_proj, attention.k_proj, attention.v_proj]),
                    merge([mlp.gate_proj, mlp.up_proj]),
                    self._weights_of_heads() if norms else None,
                    norms,
                    _modules_of(self.module),
                    _states_of(norms),
                )
            _MERGED[self.module] = found
        return found

    @torch.no_grad()
    def _weights_of_heads(self) -> Tensor:
        attention = self.module.self_attn
        parts = ((attention.q_norm, self.num_heads), (attention.k_norm, self.num_groups))
        return torch.cat([norm.weight.float().expand(count, -1) for norm, count in parts])


def _modules_of(layer: Any) -> list[Any]:
    attention, mlp = layer.self_attn, layer.mlp
    own = [getattr(attention, name, None) for name in ("q_norm", "k_norm")]
    linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    called = [mlp, mlp.gate_proj, mlp.up_proj, mlp.down_proj, mlp.act_fn]
    return [*linears, *own, *called, layer.input_layernorm, layer.post_attention_layernorm]


def normed(norm: Any, states: Tensor) -> Tensor:
    """(..., d) states through a root-mean-square norm of the transformers library."""
    return rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _added(hidden: Tensor, rows: Tensor, linear: nn.Linear) -> Tensor:
    """The sum of `hidden` and what the map makes of `rows`."""
    if linear.bias is not None:
        hidden = hidden + linear.bias
    return torch.addmm(hidden, rows, linear.weight.t())


def _states_of(norms: Sequence[Any]) -> list[tuple[int, int]]:
    weights = [norm.weight for norm in norms]
    versions = [0 if weight.is_inference() else weight._version for weight in weights]
    return list(zip((weight.data_ptr() for weight in weights), versions, strict=True))


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
        if hasattr(linear.weight.data, "__tensor_flatten__"):
            return f"the weight of {name} is {type(linear.weight.data).__name__}, not plain numbers"
    norms = [layer.input_layernorm, layer.post_attention_layernorm]
    if hasattr(attention, "q_norm"):
        norms += [attention.q_norm, attention.k_norm]
    for norm in norms:
        if not is_norm(norm):
            return f"{type(norm).__name__} is not a root-mean-square norm with a variance_epsilon"
    called = {name: getattr(owner, name) for owner, name in names} | {"mlp": mlp}
    called |= {f"norm {number}": norm for number, norm in enumerate(norms, 1)}
    replaced = [name for name, module in called.items() if _replaced(module)]
    if replaced:
        return f"{replaced[0]} has a hook or a forward of its own, which would not be called"
    return None


def is_norm(norm: Any) -> bool:
    """Whether `normed` computes it."""
    return type(norm).__name__.endswith("RMSNorm") and hasattr(norm, "variance_epsilon")


def _replaced(module: Any) -> bool:
    """Whether calling it does more than its class says; accelerate's moving of inputs does not."""
    own = "forward" in vars(module) and not hasattr(module, "_hf_hook")
    return bool(own or module._forward_hooks or module._forward_pre_hooks)

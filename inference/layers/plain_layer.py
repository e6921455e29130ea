"""A decoder layer as the checkpoint's own modules compute it: the reference of the others.

Shapes: h query heads, g key heads, q new tokens, d head width, e embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor


class PlainLayer:
    """Calls one module after another."""

    def __init__(self, layer: Any) -> None:
        self.module = layer

    @staticmethod
    def norm_of(module: Any) -> Callable[[Tensor], Tensor]:
        """What computes the norm behind the last layer."""
        return module

    def refresh(self) -> None:
        """Look whether the layer has got other weights; before a pass."""

    @property
    def scaling(self) -> float:
        """Factor on the logits, usually d ** -0.5."""
        return self.module.self_attn.scaling

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Un-rotated queries (h, q, d), keys and values (g, q, d) of (q, e) hidden states."""
        attention, normed = self.module.self_attn, self.module.input_layernorm(hidden)
        shape = (hidden.shape[0], -1, attention.head_dim)
        queries = attention.q_proj(normed).view(shape)
        keys = attention.k_proj(normed).view(shape)
        if hasattr(attention, "q_norm"):
            queries, keys = attention.q_norm(queries), attention.k_norm(keys)
        values = attention.v_proj(normed).view(shape)
        return queries.transpose(0, 1), keys.transpose(0, 1), values.transpose(0, 1)

    def finish(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """The rest of the layer: (q, e) hidden states and (q, h * d) attention -> (q, e)."""
        hidden = hidden + self.module.self_attn.o_proj(rows)
        return hidden + self.module.mlp(self.module.post_attention_layernorm(hidden))

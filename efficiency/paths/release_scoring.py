"""Importance as the release computes it: three passes, all layers, all maps, lists on the host.

Written from the description of the release, not from `hermes`, whose result it has to equal; only
the constants of the bands come from there. Shapes: h query heads, t text tokens, n cached tokens,
d head width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hermes import MemoryConfig
from hermes.layout import Band, MemoryLayout

Angles = Callable[[int, int], tuple[Tensor, Tensor]]
"""Layer and number of tokens -> cos and sin (t, d) at the layer's next positions."""
_TEXT = {Band.SENSORY: "local", Band.WORKING: "mixed", Band.LONG_TERM: "global"}


def turn(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (..., t, d) by cos and sin (t, d), in the dtype of the states."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


def text_attention(
    layers: Any, cache: Any, embeddings: Tensor, angles: Angles, num_prefix: int
) -> list[Tensor]:
    """Per layer the attention (n,) that the visual tokens receive from raw text embeddings."""
    return [
        _layer_attention(layer, held, embeddings, angles(index, len(embeddings)), num_prefix)
        for index, (layer, held) in enumerate(zip(layers, cache.layers, strict=True))
    ]


def _layer_attention(
    layer: Any, held: Any, embeddings: Tensor, rotation: tuple[Tensor, Tensor], num_prefix: int
) -> Tensor:
    attention, normed = layer.self_attn, layer.input_layernorm(embeddings)
    queries, keys, values = (
        part(normed).view(len(normed), -1, attention.head_dim).transpose(0, 1)
        for part in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    repeats = len(queries) // len(keys)
    everything = torch.cat((held.keys[0], turn(keys, *rotation)), dim=1)
    everything = everything.repeat_interleave(repeats, dim=0)
    # repeated like the keys and never used: part of what the release spends
    torch.cat((held.values[0], values), dim=1).repeat_interleave(repeats, dim=0)
    logits = turn(queries, *rotation) @ everything.transpose(1, 2) * attention.scaling
    weights = logits.softmax(dim=-1, dtype=torch.float32).to(embeddings.dtype)
    return weights[..., num_prefix : held.keys.shape[-2]].mean(dim=0).mean(dim=0)


def layer_scores(
    maps: dict[str, list[Tensor]], config: MemoryConfig, layout: MemoryLayout
) -> list[Tensor]:
    """Per layer the smoothed score (n,)."""
    scores = []
    for index in range(layout.num_layers):
        attended = maps[_TEXT[layout.band(index)]][index].float()
        weight, decay = layout.recency(index, config)
        newest = len(attended) - 1
        age = torch.arange(newest, -1, -1, device=attended.device) / max(newest, 1)
        recent = _scaled(torch.exp(-decay * age), config.min_max_epsilon)
        scores.append((1 - weight) * _scaled(attended, config.min_max_epsilon) + weight * recent)
    for index in range(layout.num_layers - 2, -1, -1):
        share = layout.smoothing(index, config)
        scores[index] = (1 - share) * scores[index] + share * scores[index + 1]
    return scores


def _scaled(values: Tensor, epsilon: float) -> Tensor:
    low, high = values.min(), values.max()
    return (values - low) / (high - low + epsilon)

"""Attention of the guidance questions to the visual tokens in memory (paper section 3.3).

Shapes: t text tokens, n visual tokens, e embedding width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.positions import PositionRule
from hermes.rotation import rotate
from hermes.scores.importance import mean_attention
from inference.decoder import StreamDecoder

Probe = Callable[[StreamDecoder, StreamMemory, PositionRule, Tensor, list[int]], dict[int, Tensor]]
"""Decoder, memory, rule, (t, e) text embeddings, layers -> per layer (n,) fp32 attention.
The memory is as before when a probe returns."""


@torch.no_grad()
def embedding_probe(
    decoder: StreamDecoder,
    memory: StreamMemory,
    rule: PositionRule,
    embeddings: Tensor,
    layers: list[int],
) -> dict[int, Tensor]:
    """The released scorer: raw text embeddings at every layer, no causal mask among them."""
    attention = {}
    with memory.scratch(), memory.append(rule.text(len(embeddings), embeddings.device)) as angles:
        for layer in layers:
            stack, _ = memory.place_of(layer)
            hidden = embeddings.to(stack.device)
            queries, keys, _ = decoder.project(layer, hidden)
            cos, sin = angles(layer)
            everything, _ = memory.write(layer, keys, None, cos, sin)
            attention[layer] = mean_attention(
                rotate(queries, cos, sin),
                everything,
                decoder.scaling(layer),
                stack.visual,
                causal=False,
            )
    return attention


@torch.no_grad()
def exact_probe(
    decoder: StreamDecoder,
    memory: StreamMemory,
    rule: PositionRule,
    embeddings: Tensor,
    layers: list[int],
) -> dict[int, Tensor]:
    """A true causal forward of the text, up to the deepest layer that is asked for."""
    attention: dict[int, Tensor] = {}

    def observe(layer: int, queries: Tensor, keys: Tensor, scaling: float) -> None:
        if layer in layers:
            visual = memory.place_of(layer)[0].visual
            attention[layer] = mean_attention(queries, keys, scaling, visual, causal=True)

    with memory.scratch():
        decoder.forward(
            memory,
            embeddings,
            rule.text(len(embeddings), embeddings.device),
            output="none",
            observer=observe,
            depth=max(layers) + 1,
        )
    return attention


PROBES: dict[str, Probe] = {"embedding": embedding_probe, "exact": exact_probe}

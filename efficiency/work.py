"""Arithmetic and traffic that the steps of a stream cannot do without, from the model's modules.

The same whoever does the step: what a path does beside it lowers its share of the ceiling.
Shapes: l layers, h query heads, g key heads, d head width, q new tokens, n tokens before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from efficiency.roofline import Work
from inference import AbstractHermes
from inference.visual_chunk import VisualChunk


class StreamWork:
    """Work of each kind of step of one model."""

    def __init__(self, engine: AbstractHermes) -> None:
        layers = list(engine.language_model.layers)
        attention = layers[0].self_attn
        self.num_layers, self.width = len(layers), attention.head_dim
        self.groups = engine.text_config.num_key_value_heads
        self.heads = engine.text_config.num_attention_heads
        self.layer_weights = _weights(layers)
        self.query_weights = attention.q_proj.weight.numel()
        self.key_weights = attention.k_proj.weight.numel()
        self.head_weights = engine.model.lm_head.weight.numel()
        self.bytes_per_number = engine.language_model.embed_tokens.weight.element_size()

    def reading(self, num_new: int, num_before: int) -> Work:
        """A chunk: of the last layer only keys and values are of use."""
        per_layer = self.layer_weights / self.num_layers
        weights = per_layer * (self.num_layers - 1) + 2 * self.key_weights
        return self._pass(weights, num_new, num_before, num_new, self.num_layers - 1)

    def question(self, num_new: int, num_before: int) -> Work:
        """A prompt, up to the logits of its last token."""
        work = self._pass(self.layer_weights, num_new, num_before, num_new, self.num_layers)
        head = self.head_weights
        return Work(work.flops + 2 * head, work.num_bytes + head * self.bytes_per_number)

    def token(self, num_before: int) -> Work:
        """One token of an answer."""
        return self.question(1, num_before)

    def scoring(self, num_tokens: Mapping[int, int], num_before: int) -> Work:
        """Attention of guidance texts; `num_tokens`: layer -> length of the text that it uses."""
        rows, layers = sum(num_tokens.values()), len(num_tokens)
        weights = self.query_weights + self.key_weights
        flops = 2 * rows * (weights + self.heads * self.width * num_before)
        traffic = layers * (weights + self.groups * self.width * num_before)
        return Work(flops, traffic * self.bytes_per_number)

    def compaction(self, num_kept: int) -> Work:
        """Kept keys and values are read and written."""
        return Work(0, 2 * self._cache_numbers(num_kept) * self.bytes_per_number)

    def _pass(
        self, weights: float, num_new: int, num_before: int, rows: int, attending: int
    ) -> Work:
        pairs = rows * num_before + rows * (rows + 1) / 2
        flops = 2 * num_new * weights + 4 * attending * self.heads * self.width * pairs
        numbers = weights + self._cache_numbers(num_new + num_before)
        return Work(flops, numbers * self.bytes_per_number)

    def _cache_numbers(self, num_tokens: int) -> int:
        return 2 * self.num_layers * self.groups * self.width * num_tokens


def vision_work(engine: AbstractHermes, frames: Any) -> tuple[VisualChunk, Work]:
    """What encoding these frames costs, counted while it runs once."""
    with FlopCounterMode(display=False) as counter:
        chunk = engine.encode_features(frames)
    tower = [part for name, part in engine.model.model.named_children() if name != "language_model"]
    num_bytes = _weights(tower) * chunk.features.element_size() + chunk.features.nbytes
    return chunk, Work(counter.get_total_flops(), num_bytes)


def _weights(modules: Iterable[nn.Module]) -> int:
    """Numbers in the weight matrices; vectors are nothing beside them."""
    return sum(w.numel() for module in modules for w in module.parameters() if w.ndim > 1)

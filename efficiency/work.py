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
from inference.vision.visual_chunk import VisualChunk


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
        return self._pass(num_new, num_before, num_outputs=0)

    def question(self, num_new: int, num_before: int) -> Work:
        """A prompt, up to the logits of its last token."""
        work, head = self._pass(num_new, num_before, num_outputs=1), self.head_weights
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

    def attention_flops(self, num_new: int, num_before: int, num_outputs: int) -> float:
        """Products of queries and keys, and of weights and values; the last layer has as many
        queries as there are outputs."""
        pairs = num_new * num_before + num_new * (num_new + 1) / 2
        pairs = (self.num_layers - 1) * pairs + num_outputs * (num_before + num_new)
        return 4 * self.heads * self.width * pairs

    def _pass(self, num_new: int, num_before: int, num_outputs: int) -> Work:
        per_layer, cached = self.layer_weights / self.num_layers, 2 * self.key_weights
        all_rows, few_rows = per_layer * (self.num_layers - 1) + cached, per_layer - cached
        flops = 2 * (num_new * all_rows + num_outputs * few_rows)
        flops += self.attention_flops(num_new, num_before, num_outputs)
        numbers = all_rows + few_rows * bool(num_outputs)
        numbers += self._cache_numbers(num_new + num_before)
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

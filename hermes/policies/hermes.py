"""HERMES: hierarchical memory (arXiv 2601.14724, sections 3.2 to 3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hermes.config import MemoryConfig
from hermes.layout import Band, MemoryLayout
from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.guidance import Guidance
from hermes.policy_parts.selection import top_rows
from hermes.scores.importance import recency, weighted_recency, with_attention
from hermes.scores.smoothing import aligned, smooth_across_layers, smoothing_matrix
from hermes.store.layer_stack import LayerStack

_GUIDANCE: dict[Band, Guidance] = {
    Band.SENSORY: "local",
    Band.WORKING: "mixed",
    Band.LONG_TERM: "global",
}


class _Constants(NamedTuple):
    """Of the layers of a stack, on its device."""

    recency_weight: Tensor
    """(l, 1) fp64."""
    attention_weight: Tensor
    """(l, 1): what is left of it."""
    decay: Tensor
    """(l, 1)."""
    smoothing: Tensor
    """(l, l), or (l + 1, l + 1) where a deeper stack follows."""


class Hermes(Policy):
    """Recency below, guidance attention above, a blend between; smoothed; top-k per layer."""

    takes_budget_weights: ClassVar[bool] = True

    def __init__(self, config: MemoryConfig, layout: MemoryLayout) -> None:
        super().__init__(config, layout)
        self._constants: dict[range, _Constants] = {}
        self._recent: dict[range, Tensor] = {}

    def guidance(self, layer: int) -> Guidance | None:
        """The band's text; None where attention has no weight (Eq. 1)."""
        weight, _ = self.layout.recency(layer, self.config)
        return None if weight == 1 else _GUIDANCE[self.layout.band(layer)]

    def folds(self, layer: int) -> bool:
        """Long-term layers only, as released and as in section 4.4 of the paper."""
        return self.config.summary != "none" and self.layout.band(layer) is Band.LONG_TERM

    def scores(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Smoothed importance of the n visual tokens, (l, n) fp32 per stack (Eqs. 1 to 5)."""
        smoothed: list[Tensor] = []
        for stack, attended in zip(memory.stacks[::-1], attention[::-1], strict=True):
            constants = self._constants_of(stack)
            recent, epsilon = self._recent_of(stack), self.config.min_max_epsilon
            raw = with_attention(recent, constants.attention_weight, attended, epsilon)
            deeper = smoothed[-1][0].to(stack.device) if smoothed else None
            deeper = None if deeper is None else aligned(deeper, raw[-1])
            smoothed.append(smooth_across_layers(raw, constants.smoothing, deeper))
        return smoothed[::-1]

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Scores of a stack need those of the deeper one."""
        return [
            self.select(stack, scores)
            for stack, scores in zip(memory.stacks, self.scores(memory, attention), strict=True)
        ]

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """The same scores."""
        return self.scores(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Top-k of the smoothed scores, which `choose` hands over, in time order."""
        assert attention is not None
        return top_rows(attention, self.budget(stack), self.folding(stack))

    def _recent_of(self, stack: LayerStack) -> Tensor:
        """(l, n) what recency gives; the same at every chunk once the budget is full."""
        known, count = self._recent.get(stack.layers), stack.num_visual
        if known is None or known.shape[1] != count:
            constants, epsilon = self._constants_of(stack), self.config.min_max_epsilon
            recent = recency(count, constants.decay, stack.device)
            known = weighted_recency(constants.recency_weight, recent, epsilon)
            self._recent[stack.layers] = known
        return known

    def _constants_of(self, stack: LayerStack) -> _Constants:
        if stack.layers not in self._constants:
            pairs = [self.layout.recency(layer, self.config) for layer in stack.layers]
            weights, decays = torch.tensor(pairs, dtype=torch.float64).to(stack.device).T[..., None]
            stop = min(stack.layers.stop + 1, self.layout.num_layers)
            lambdas = [
                self.layout.smoothing(layer, self.config)
                for layer in range(stack.layers.start, stop)
            ]
            matrix = smoothing_matrix(lambdas).to(stack.device)
            self._constants[stack.layers] = _Constants(
                weights, (1 - weights).float(), decays.float(), matrix
            )
        return self._constants[stack.layers]

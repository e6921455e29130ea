"""HERMES: hierarchical memory (arXiv 2601.14724, sections 3.2 to 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hermes.importance import blend, recency
from hermes.layout import Band
from hermes.memory import StreamMemory
from hermes.policies.base import Guidance, Policy
from hermes.smoothing import smooth_across_layers

_GUIDANCE: dict[Band, Guidance] = {
    Band.SENSORY: "local",
    Band.WORKING: "mixed",
    Band.LONG_TERM: "global",
}


class Hermes(Policy):
    """Recency below, guidance attention above, a blend between; smoothed; top-k per layer."""

    def guidance(self, layer: int) -> Guidance | None:
        """The band's text; None where attention has no weight (Eq. 1)."""
        weight, _ = self.layout.recency(layer, self.config)
        return None if weight == 1 else _GUIDANCE[self.layout.band(layer)]

    def folds(self, layer: int) -> bool:
        """Long-term layers only, as released and as in section 4.4 of the paper."""
        return self.config.summary != "none" and self.layout.band(layer) is Band.LONG_TERM

    def scores(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Smoothed importance of the n visual tokens, (n,) fp32 per layer (Eqs. 1 to 5)."""
        raw = []
        for layer, attended in enumerate(attention):
            weight, decay = self.layout.recency(layer, self.config)
            recent = recency(memory.num_visual, decay, memory.layers[layer].device)
            raw.append(blend(attended, weight, recent, self.config.min_max_epsilon))
        lambdas = [self.layout.smoothing(layer, self.config) for layer in range(len(raw))]
        return smooth_across_layers(raw, lambdas)

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Top-k of the smoothed scores, in time order."""
        scores = self.scores(memory, attention)
        return [
            score.topk(min(self.capacity(layer), memory.num_visual), sorted=False).indices.sort()[0]
            for layer, score in enumerate(scores)
        ]

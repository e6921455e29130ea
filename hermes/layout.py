"""Which layer plays which part: sensory, working or long-term memory (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hermes.config import MemoryConfig


class Band(Enum):
    """A stretch of neighbouring layers that remember in the same way; values count from below."""

    SENSORY = 0
    WORKING = 1
    LONG_TERM = 2


@dataclass(frozen=True)
class MemoryLayout:
    """Layers `[0, sensory_end)` are sensory, `[long_term_start, num_layers)` long-term.

    The rounding is the released one: both borders are truncated, so 28 layers split 2 / 17 / 9.
    """

    num_layers: int
    sensory_end: int
    long_term_start: int

    @classmethod
    def from_config(cls, num_layers: int, config: MemoryConfig) -> MemoryLayout:
        """Split `num_layers` layers by the ratios of `config`."""
        return cls(
            num_layers,
            sensory_end=int(num_layers * config.sensory_ratio),
            long_term_start=int(num_layers * (1 - config.long_term_ratio)),
        )

    def band(self, layer: int) -> Band:
        """The band of `layer`."""
        if layer < self.sensory_end:
            return Band.SENSORY
        return Band.LONG_TERM if layer >= self.long_term_start else Band.WORKING

    def depth(self, layer: int) -> float:
        """Relative depth of a working layer: 0 at the first, below 1 at the last."""
        return (layer - self.sensory_end) / (self.long_term_start - self.sensory_end)

    def recency(self, layer: int, config: MemoryConfig) -> tuple[float, float]:
        """Weight of recency in the score of `layer`, and its decay k (Eq. 3)."""
        band = self.band(layer)
        if band is Band.SENSORY:
            return config.sensory_recency_weight, config.sensory_decay
        if band is Band.LONG_TERM:
            return config.long_term_recency_weight, config.long_term_decay
        depth = self.depth(layer)
        return (
            _interpolate(config.working_recency_weight, depth),
            _interpolate(config.working_decay, depth),
        )

    def budgets(self, config: MemoryConfig) -> tuple[int, ...]:
        """Visual tokens that each layer may hold; together at most `kv_size` per layer.

        Raises:
            ValueError: a band would hold nothing.
        """
        weights = [
            config.budget_weights[self.band(layer).value] for layer in range(self.num_layers)
        ]
        tokens = config.kv_size * self.num_layers / sum(weights)
        budgets = tuple(int(tokens * weight + 1e-9) for weight in weights)
        if min(budgets) < 1:
            raise ValueError(
                f"budget_weights {config.budget_weights} leave a band without a token at kv_size "
                f"{config.kv_size}: raise the smallest weight or kv_size"
            )
        return budgets

    def smoothing(self, layer: int, config: MemoryConfig) -> float:
        """Lambda of Eq. 5 for `layer`."""
        return config.smoothing[self.band(layer).value]


def _interpolate(ends: tuple[float, float], depth: float) -> float:
    first, last = ends
    return first - (first - last) * depth

"""A random subset: what any score has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.base import Policy


class Random(Policy):
    """Draws `kv_size` visual tokens per layer, layers independently; seeded per stream."""

    _generator: torch.Generator

    def reset(self) -> None:
        """Start every stream from the configured seed."""
        self._generator = torch.Generator().manual_seed(self.config.seed)

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Uniform without replacement, in time order. Drawn on the CPU: the same on any device."""
        count = min(self.config.kv_size, memory.num_visual)
        device = memory.positions.device
        return [
            torch.randperm(memory.num_visual, generator=self._generator)[:count]
            .sort()[0]
            .to(device)
            for _ in range(memory.num_layers)
        ]

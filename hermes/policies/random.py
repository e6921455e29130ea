"""A random subset: what any score has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.base import Policy


class Random(Policy):
    """Draws `kv_size` visual tokens per layer, layers independently.

    The draw depends on the seed and the newest frame alone, so that a stream that is saved and
    continued keeps what an uninterrupted one keeps.
    """

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Uniform without replacement, in time order. Drawn on the CPU: the same on any device."""
        count = min(self.config.kv_size, memory.num_visual)
        device = memory.positions.device
        newest = int(memory.provenance.frame[0, memory.num_tokens - 1])
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + newest)
        return [
            torch.randperm(memory.num_visual, generator=generator)[:count].sort()[0].to(device)
            for _ in range(memory.num_layers)
        ]

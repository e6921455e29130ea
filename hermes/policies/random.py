"""A random subset: what any score has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.store.layer_stack import LayerStack


class Random(Policy):
    """Draws `kv_size` visual tokens per layer, layers independently.

    The draw depends on the seed and the newest frame alone, so that a stream that is saved and
    continued keeps what an uninterrupted one keeps.
    """

    takes_budget_weights: ClassVar[bool] = True

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Uniform without replacement, in time order. Drawn on the CPU: the same on any device."""
        newest = memory.ledger.newest.number
        self._generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + newest)
        return super().choose(memory, attention)

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Drawn as well."""
        return [
            torch.rand(len(stack), stack.num_visual, generator=self._generator).to(stack.device)
            for stack in memory.stacks
        ]

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """One draw per layer, layers in their order."""
        total = stack.num_visual
        count = min(self.budget(stack), total)
        draws = [torch.randperm(total, generator=self._generator)[:count] for _ in stack.layers]
        return torch.stack(draws).sort()[0].to(stack.device)

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
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + newest)
        drawn = [self._draw(stack, generator) for stack in memory.stacks]
        if not memory.has_frame_text:
            return [rows.to(stack.device) for rows, stack in zip(drawn, memory.stacks, strict=True)]
        self._preferences, kept = [], []
        for rows, stack in zip(drawn, memory.stacks, strict=True):
            scores = torch.rand(len(stack), stack.num_visual, generator=generator)
            both = torch.cat((rows.double(), scores.double()), dim=1).to(stack.device)
            kept.append(both[:, : rows.shape[1]].long())
            self._preferences.append(both[:, rows.shape[1] :].float())
        return kept

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Drawn as well; they travel with what is kept."""
        return self._preferences

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Never called: draws of all stacks come from one generator."""
        raise AssertionError("the policy 'random' chooses for all stacks at once")

    def _draw(self, stack: LayerStack, generator: torch.Generator) -> Tensor:
        """(l, k) ascending; one draw per layer, layers in their order."""
        total = stack.num_visual
        count = min(self.budget(stack), total)
        draws = [torch.randperm(total, generator=generator)[:count] for _ in stack.layers]
        return torch.stack(draws).sort()[0]

"""Attention sinks and a window: StreamingLLM (arXiv 2309.17453, section 3.2).

There the first 4 tokens of the sequence stay for ever, the rest is a sliding window, and positions
are those inside the cache. Here the prompt prefix is always kept and holds those 4 tokens.
Deviations: the first 4 *visual* tokens stay as sinks too (option `num_sinks`, 0 for the paper's
rule), and they count in the budget. Positions are renumbered at every pruning (`eager`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.options import check_count
from hermes.policy_parts.selection import newest_rows
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class StreamingLlmOptions:
    """Size of the sink."""

    num_sinks: int = 4
    """First visual tokens that are never evicted; at most half of the budget is used."""

    def __post_init__(self) -> None:
        check_count("num_sinks", self.num_sinks, minimum=0)


class StreamingLlm(Policy):
    """Prefix, first visual tokens, newest visual tokens."""

    Options = StreamingLlmOptions
    defines: ClassVar[Mapping[str, Any]] = {"reindex": "eager"}  # positions inside the cache

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """The same in every layer."""
        first = self._sinks(stack)
        newest = newest_rows(stack, self.config.kv_size - first.shape[1])
        return torch.cat((first, newest), dim=1)

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """Sinks before all others, then the newest."""
        return [
            torch.arange(stack.num_visual, device=stack.device)
            .repeat(len(stack), 1)
            .scatter_add(1, rows, torch.full_like(rows, stack.num_visual))
            for stack, rows in ((stack, self._sinks(stack)) for stack in memory.stacks)
        ]

    def _sinks(self, stack: LayerStack) -> Tensor:
        """(l, m) rows of the first tokens that are no text of a frame; text stands before them."""
        count = min(self.options.num_sinks, self.config.kv_size // 2)
        num_text = stack.origin.is_text[:, stack.visual].sum(1, keepdim=True)
        return num_text + torch.arange(count, device=stack.device)

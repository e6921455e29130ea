"""Sliding window: prefix plus the last visual tokens, no scoring.

The control that ties with the released HERMES on StreamingBench at the same budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.base import Policy


class Recent(Policy):
    """Keeps the last `kv_size` visual tokens of every layer."""

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """The newest tokens."""
        newest = torch.arange(
            max(0, memory.num_visual - self.config.kv_size),
            memory.num_visual,
            device=memory.positions.device,
        )
        return [newest] * memory.num_layers

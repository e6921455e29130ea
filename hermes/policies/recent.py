"""Sliding window: prefix plus the last visual tokens, no scoring.

The control that ties with the released HERMES on StreamingBench at the same budget.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from hermes.policy_parts.base import Policy
from hermes.policy_parts.selection import newest_rows
from hermes.store.layer_stack import LayerStack


class Recent(Policy):
    """Keeps the last `kv_size` visual tokens of every layer."""

    takes_budget_weights: ClassVar[bool] = True

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """The newest tokens."""
        return newest_rows(stack, self.budget(stack))

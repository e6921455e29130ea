"""Keep everything: the full cache, baseline and oracle. Ends at the model's position limit."""

from __future__ import annotations

from torch import Tensor

from hermes.policy_parts.base import Policy
from hermes.store.layer_stack import LayerStack


class KeepAll(Policy):
    """Never evicts; the engine raises when the model's limit would be passed."""

    evicts = False

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Never called: nothing overflows."""
        raise AssertionError("the policy 'none' evicts nothing")

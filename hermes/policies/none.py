"""Keep everything: the full cache, baseline and oracle. Ends at the model's position limit."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.base import Policy


class KeepAll(Policy):
    """Never evicts; the engine raises when the model's limit would be passed."""

    evicts = False

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Never called: nothing overflows."""
        raise AssertionError("the policy 'none' evicts nothing")

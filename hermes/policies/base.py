"""What a memory policy is: it says which visual tokens of each layer stay.

Shapes: l layers, n visual tokens (the same in every layer).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from hermes.config import MemoryConfig
from hermes.layout import MemoryLayout
from hermes.memory import StreamMemory

Guidance = Literal["local", "mixed", "global"]
"""Names of the guidance texts whose attention a layer may ask for."""


class Policy(ABC):
    """Chooses what stays when a layer holds more than its capacity.

    A new policy is one file with one subclass, one line in `hermes.policies.POLICIES`, and one
    parameter in the policy tests. It must be deterministic for a given configuration.
    """

    evicts = True
    """False for a policy that keeps everything."""

    def __init__(self, config: MemoryConfig, layout: MemoryLayout) -> None:
        self.config = config
        self.layout = layout

    def guidance(self, layer: int) -> Guidance | None:
        """The guidance text whose attention `layer` needs for its score, or None."""
        return None

    def folds(self, layer: int) -> bool:
        """Whether `layer` folds what it evicts into a summary token."""
        return False

    def capacity(self, layer: int) -> int:
        """Visual tokens `layer` may keep; its summary token is counted in the budget."""
        return self.config.kv_size - self.folds(layer)

    def overflows(self, num_visual: int) -> bool:
        """Whether any layer holds more than its capacity."""
        return self.evicts and any(
            num_visual > self.capacity(layer) for layer in range(self.layout.num_layers)
        )

    def reset(self) -> None:  # noqa: B027 - most policies hold no state
        """Forget what belongs to a stream; called when the memory is cleared."""

    @abstractmethod
    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Choose what stays. Called only when `overflows`.

        Args:
            memory: not to be changed.
            attention: per layer the (n,) fp32 attention its `guidance` text pays to the visual
                tokens, None where no guidance is asked for.

        Returns:
            Per layer ascending int64 indices in [0, n), at most `capacity(layer)` of them. After
            summaries every layer must hold the same number of tokens.
        """

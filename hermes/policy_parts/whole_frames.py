"""A window of whole frames: what a policy keeps in the memory that has the rest elsewhere.

Shapes: l layers of a stack, k kept tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.selection import newest_rows
from hermes.store.layer_stack import LayerStack


class WholeFrames(Policy):
    """The newest frames that fit, the same in every layer."""

    num_fitting = 0
    """Frames that `choose` found room for."""

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """With their text if it is to stay."""
        self._tail = frame_tail(memory)
        with_text = self.config.frame_text != "dropped"
        fitting = self._tail.fitting(self.config.kv_size, with_text=with_text)
        self.num_fitting, self._num_text = fitting
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """(l, k) rows: the last of the text tokens, which stand first, and the pictures."""
        newest = newest_rows(stack, self.num_fitting * self._tail.tokens_per_frame)
        texts = self._tail.num_text
        last = torch.arange(texts - self._num_text, texts, device=stack.device)
        return torch.cat((last.expand(len(stack), -1), newest), dim=1)

"""What the choice of a token leaves on the device for the next one. Shapes: v vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.answers.sampler import Sampler
from inference.tokens.graph import WARM_UPS

_NUM_DRAWS = 256
"""What chance contributes comes from the host for so many tokens at a time."""


class ChoiceState:
    """Constant addresses, used by one answer after another."""

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        """(v,) tokens of the answer."""
        self.token = torch.zeros(1, dtype=torch.int64, device=device)
        """The latest."""
        self.choice = torch.zeros(2, dtype=torch.float64, device=device)
        """As `Sampler.choose` gave it."""
        self._draws = torch.zeros(_NUM_DRAWS + WARM_UPS, device=device)
        self._turn = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def tensors(self) -> list[Tensor]:
        """All that a choice changes."""
        return [self.seen, self.token, self.choice, self._turn]

    def begin(self) -> None:
        """Nothing chosen yet."""
        self.seen.zero_()

    def prepare(self, sampler: Sampler, number: int) -> None:
        """Have draws for the choice of this number, counted from 0; before every choice."""
        if sampler.temperature and number % _NUM_DRAWS == 0:
            self._draws[:_NUM_DRAWS] = sampler.draws(_NUM_DRAWS).to(self._draws.device)
            self._turn.zero_()

    def choose(self, sampler: Sampler, logits: Tensor) -> None:
        """The next token for (v,) logits."""
        draw = None
        if sampler.temperature:
            draw = self._draws.index_select(0, self._turn)
            self._turn.add_(1)
        self.choice.copy_(sampler.choose(logits, self.seen, draw))
        self.token.copy_(self.choice[:1])

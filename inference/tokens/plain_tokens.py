"""The tokens of an answer one by one: each is read into the memory before the next is chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock
from inference.tokens.parts import Loop, Prompt


class PlainTokens:
    """The reference, and what questions take that fill the memory while they are read."""

    def __init__(self, loop: Loop, prompt: Prompt, sampler: Sampler, clock: AnswerClock) -> None:
        self._loop, self._prompt, self._sampler, self._clock = loop, prompt, sampler, clock
        self._token = 0

    def first(self) -> int:
        """As `Tokens.first`."""
        hidden = self._loop.read(self._prompt.memory, self._prompt.ids, self._prompt.recall)
        self._clock.prefilled()
        return self._chosen(hidden)

    def following(self) -> int:
        """As `Tokens.following`."""
        return self._chosen(self._loop.read(self._prompt.memory, torch.tensor([self._token])))

    def _chosen(self, hidden: Tensor) -> int:
        self._token = self._sampler(self._loop.logits(hidden))
        return self._token

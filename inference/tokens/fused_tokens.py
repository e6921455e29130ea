"""The tokens of an answer in few operators each; the host sees every token before the next."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock
from inference.tokens.fused_reader import FusedReader
from inference.tokens.parts import Loop, Prompt


class FusedTokens:
    """Nothing is appended to the memory: see `TextPass`."""

    def __init__(self, loop: Loop, prompt: Prompt, sampler: Sampler, clock: AnswerClock) -> None:
        self._loop, self._prompt, self._sampler, self._clock = loop, prompt, sampler, clock
        self._token = 0

    def first(self) -> int:
        """As `Tokens.first`."""
        self._read = FusedReader(self._loop, self._prompt.memory)
        hidden = self._read(self._prompt.ids)
        self._clock.prefilled()
        return self._chosen(hidden)

    def following(self) -> int:
        """As `Tokens.following`."""
        return self._chosen(self._read(torch.tensor([self._token])))

    def _chosen(self, hidden: Tensor) -> int:
        self._token = self._sampler(self._loop.logits(hidden))
        return self._token

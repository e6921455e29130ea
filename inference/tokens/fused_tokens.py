"""The tokens of an answer in few operators each; the host sees every token before the next."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.answers.sampler import Sampler
from inference.answers.timing import AnswerClock
from inference.tokens.exact_span import ExactSpan
from inference.tokens.parts import Loop, Prompt


class FusedTokens:
    """Nothing is appended to the memory: see `TextPass`."""

    def __init__(self, loop: Loop, prompt: Prompt, sampler: Sampler, clock: AnswerClock) -> None:
        self._loop, self._prompt, self._sampler, self._clock = loop, prompt, sampler, clock
        self._offset = self._token = 0

    def first(self) -> int:
        """As `Tokens.first`."""
        self._prompt.memory.refresh()
        self._loop.engine.decoder.refresh()
        hidden = self._read(self._prompt.ids)
        self._clock.prefilled()
        return self._chosen(hidden)

    def following(self) -> int:
        """As `Tokens.following`."""
        return self._chosen(self._read(torch.tensor([self._token])))

    def _read(self, ids: Tensor) -> Tensor:
        engine, memory = self._loop.engine, self._prompt.memory
        memory.reserve(self._offset + len(ids))
        span = ExactSpan(memory, engine.decoder.kernel, self._offset, len(ids))
        self._offset += len(ids)
        return self._loop.text_pass(engine.embed(ids), span)

    def _chosen(self, hidden: Tensor) -> int:
        self._token = self._sampler(self._loop.logits(hidden))
        return self._token

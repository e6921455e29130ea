"""Choosing the next token. Shapes: v vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor


class Sampler:
    """Greedy or tempered choice with a repetition penalty over generated tokens only."""

    def __init__(
        self, temperature: float = 0, repetition_penalty: float = 1.1, seed: int | None = None
    ) -> None:
        """`temperature` 0 is greedy; a penalty of 1 is none.

        Raises:
            ValueError: negative temperature or a penalty that is not positive.
        """
        if temperature < 0 or repetition_penalty <= 0:
            raise ValueError(
                "temperature must be at least 0 and repetition_penalty above 0, got "
                f"{temperature} and {repetition_penalty}"
            )
        self._temperature = temperature
        self._penalty = repetition_penalty
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        self._generated: list[int] = []

    def __call__(self, logits: Tensor) -> int:
        """The next token for (v,) logits. Waits for the device: the host must see the token."""
        token = self._choose(self._penalised(logits.float()))
        self._generated.append(token)
        return token

    def _penalised(self, logits: Tensor) -> Tensor:
        if self._penalty == 1 or not self._generated:
            return logits
        seen = torch.tensor(sorted(set(self._generated)), device=logits.device)
        old = logits[seen]
        logits = logits.clone()
        logits[seen] = torch.where(old < 0, old * self._penalty, old / self._penalty)
        return logits

    def _choose(self, logits: Tensor) -> int:
        if self._temperature == 0:
            return int(logits.argmax())
        probabilities = (logits / self._temperature).softmax(-1).cpu()
        return int(torch.multinomial(probabilities, 1, generator=self._generator))

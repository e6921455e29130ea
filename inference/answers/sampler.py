"""Choosing the next token, on the device that has the logits. Shapes: v vocabulary."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inference.errors import NonFiniteLogitsError


class Sampler:
    """Greedy or tempered choice with a repetition penalty over generated tokens only."""

    def __init__(
        self, temperature: float = 0, repetition_penalty: float = 1.1, seed: int | None = None
    ) -> None:
        """`temperature` 0 is greedy; a penalty of 1 is none; without `seed` torch's own is used.

        Raises:
            ValueError: negative temperature or a penalty that is not positive.
        """
        if temperature < 0 or repetition_penalty <= 0:
            raise ValueError(
                "temperature must be at least 0 and repetition_penalty above 0, got "
                f"{temperature} and {repetition_penalty}"
            )
        self.temperature, self.penalty = temperature, repetition_penalty
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        self._num_generated = 0
        self._seen: Tensor | None = None

    def __call__(self, logits: Tensor) -> int:
        """The next token for (v,) logits. Waits once for the device: the host must see the token.

        Raises:
            NonFiniteLogitsError: the logits hold NaN or infinity.
        """
        if self._seen is None:
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
        draw = self.draws(1).to(logits.device) if self.temperature else None
        return self.accept(self.choose(logits, self._seen, draw).tolist())

    def draws(self, count: int) -> Tensor:
        """(count,) fp32 in [0, 1) on the host: what chance contributes to so many choices."""
        return torch.rand(count, generator=self._generator)

    def choose(self, logits: Tensor, seen: Tensor, draw: Tensor | None) -> Tensor:
        """A choice that the host has not seen yet.

        Args:
            logits: (v,).
            seen: (v,) bool, the tokens generated so far; the choice is entered.
            draw: (1,) of `draws`; None if greedy.

        Returns:
            (2,) fp64: the token, and a number that is finite if the logits are.
        """
        logits = self._penalised(logits.float(), seen)
        if draw is None:
            token, check = logits.argmax(), logits.sum(dtype=torch.float64)
        else:
            heights = (logits / self.temperature).softmax(-1).cumsum(-1)
            found = torch.searchsorted(heights, draw * heights[-1:], right=True)
            token, check = found[0].clamp_max(len(logits) - 1), heights[-1].double()
        seen.index_fill_(0, token.view(1), True)
        return torch.stack((token.double(), check))

    def accept(self, choice: list[float]) -> int:
        """The token of a choice that has reached the host.

        Raises:
            NonFiniteLogitsError: the logits were not finite.
        """
        token, check = choice
        self._num_generated += 1
        if math.isfinite(check):
            return int(token)
        raise NonFiniteLogitsError(
            f"token {self._num_generated} of the answer cannot be chosen: the model's logits are "
            "not finite. In float16 activations of some checkpoints overflow: load the model with "
            'dtype="bfloat16" (--dtype bfloat16), or float32 where the GPU has no bfloat16'
        )

    def _penalised(self, logits: Tensor, seen: Tensor) -> Tensor:
        if self.penalty == 1:
            return logits
        lowered = torch.where(logits < 0, logits * self.penalty, logits / self.penalty)
        return torch.where(seen, lowered, logits)

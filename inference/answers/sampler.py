"""Choosing the next token. Shapes: v vocabulary."""

from __future__ import annotations

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
        self._temperature = temperature
        self._penalty = repetition_penalty
        self._generator = None if seed is None else torch.Generator().manual_seed(seed)
        self._generated: list[int] = []

    def __call__(self, logits: Tensor) -> int:
        """The next token for (v,) logits. Waits once for the device: the host must see the token.

        Raises:
            NonFiniteLogitsError: the logits hold NaN or infinity.
        """
        token, finite = self._choose(self._penalised(logits.float()))
        if not finite:
            raise NonFiniteLogitsError(
                f"token {len(self._generated) + 1} of the answer cannot be chosen: the model's "
                f"logits ({logits.dtype}) are not finite. In float16 activations of some "
                'checkpoints overflow: load the model with dtype="bfloat16" (--dtype bfloat16), or '
                "float32 where the GPU has no bfloat16"
            )
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

    def _choose(self, logits: Tensor) -> tuple[int, bool]:
        """Token, and whether all logits are finite: both in one transfer."""
        if self._temperature == 0:
            token, finite = torch.stack((logits.argmax(), logits.isfinite().all())).tolist()
            return token, bool(finite)
        probabilities = (logits / self._temperature).softmax(-1).cpu()
        if not probabilities.isfinite().all():
            return 0, False
        return int(torch.multinomial(probabilities, 1, generator=self._generator)), True

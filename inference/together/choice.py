"""The next token of several answers, chosen in one batch. Shapes: s streams, v vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.answers.sampler import Sampler
from inference.errors import NonFiniteLogitsError


class Choices:
    """What one `Sampler` per stream would choose."""

    def __init__(
        self, count: int, temperature: float, repetition_penalty: float, seed: int | None
    ) -> None:
        """As `Sampler`, for so many streams.

        Raises:
            ValueError: as there.
        """
        self._samplers = [Sampler(temperature, repetition_penalty, seed) for _ in range(count)]
        self._is_greedy, self._penalty = temperature == 0, repetition_penalty
        self._seen: Tensor | None = None
        """(all streams, v) bool: tokens of the answers so far."""

    def __call__(self, streams: Sequence[int], logits: Tensor) -> list[int]:
        """The next token of each of these streams, for their (s, v) logits. Greedy choices wait
        once for the device, others once for each stream.

        Raises:
            NonFiniteLogitsError: logits hold NaN or infinity.
        """
        if not self._is_greedy:
            return [self._samplers[one](row) for one, row in zip(streams, logits, strict=True)]
        choices, finite = self._likeliest(list(streams), logits.float()).tolist()
        if not all(finite):
            raise NonFiniteLogitsError(
                f"the answer of stream {streams[finite.index(0)]} cannot go on: the model's logits "
                'are not finite; load it with dtype="bfloat16", or float32 where the GPU has none'
            )
        return choices

    def _likeliest(self, streams: list[int], logits: Tensor) -> Tensor:
        """(2, s): tokens, and whether all logits are finite."""
        if self._seen is None:
            shape = (len(self._samplers), logits.shape[1])
            self._seen = torch.zeros(shape, dtype=torch.bool, device=logits.device)
        has_all = streams == list(range(len(self._samplers)))
        seen = self._seen if has_all else self._seen[streams]
        lowered = torch.where(logits < 0, logits * self._penalty, logits / self._penalty)
        chosen = torch.where(seen, lowered, logits).argmax(-1)
        seen.scatter_(1, chosen[:, None], True)
        if not has_all:
            self._seen[streams] = seen
        return torch.stack((chosen, logits.isfinite().all(-1)))

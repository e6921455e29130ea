"""Frames evenly spread over the stream: time, and nothing else, decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.store.layer_stack import LayerStack
from hermes.store.ledger import Frame


class Uniform(Policy):
    """Drops whole frames until the rest fits, always the one whose neighbours are closest.

    All layers agree, so the choice is made once, on the host.
    """

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """All tokens of the frames that stay, text included."""
        frames = memory.ledger.frames
        counts = [frame.num_tokens + frame.num_text for frame in frames]
        self._kept = spread([frame.number for frame in frames], counts, self.config.kv_size)
        held = _numbers(frames, lambda frame: frame.num_text)  # text stands first
        held = torch.cat((held, _numbers(frames, lambda frame: frame.num_tokens)))
        self._rows = torch.isin(held, torch.tensor(self._kept)).nonzero().flatten()
        return super().choose(memory, attention)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """The others are gone altogether."""
        memory.ledger.keep_only(self._kept)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """The same rows in every layer."""
        return self._rows.to(stack.device).expand(len(stack), -1)


def _numbers(frames: Sequence[Frame], count: Callable[[Frame], int]) -> Tensor:
    """Each frame's number as often as it has such tokens."""
    numbers = torch.tensor([frame.number for frame in frames])
    return numbers.repeat_interleave(torch.tensor([count(frame) for frame in frames]))


def spread(frames: list[int], counts: list[int], budget: int) -> list[int]:
    """Thin ascending frame numbers until their token counts sum to at most `budget`.

    The first and the last frame go last; among equals the earlier one goes first.

    Examples:
        >>> spread([0, 1, 2, 3, 4], [1] * 5, 3)
        [0, 2, 4]
    """
    kept = list(zip(frames, counts, strict=True))
    while sum(count for _, count in kept) > budget and len(kept) > 1:
        gaps = [kept[i + 1][0] - kept[i - 1][0] for i in range(1, len(kept) - 1)]
        del kept[gaps.index(min(gaps)) + 1 if gaps else 0]
    return [frame for frame, _ in kept]

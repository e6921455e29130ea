"""Frames evenly spread over the stream: time, and nothing else, decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.store.layer_stack import LayerStack
from hermes.store.ledger import Frame
from hermes.store.provenance import NO_PATCH


class Uniform(Policy):
    """Drops whole frames until the rest fits, always the one whose neighbours are closest.

    All layers agree, so the choice is made once, on the host.
    """

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """All tokens of the frames that stay, text included unless it is dropped anyway."""
        held, is_text = _frames(memory)
        stays = ~is_text if self.config.frame_text == "dropped" else torch.ones_like(is_text)
        numbers, counts = held[stays].unique(return_counts=True)
        self._kept = spread(numbers.tolist(), counts.tolist(), self.config.kv_size)
        self._rows = (torch.isin(held, torch.tensor(self._kept)) & stays).nonzero().flatten()
        return super().choose(memory, attention)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """The others are gone altogether."""
        memory.ledger.keep_only(self._kept)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """The same rows in every layer."""
        return self._rows.to(stack.device).expand(len(stack), -1)


def _frames(memory: StreamMemory) -> tuple[Tensor, Tensor]:
    """(n,) frame number of every visual token, in host memory, and whether it is a frame's text.

    Where tokens were dropped by hand the ledger does not account for all of them, and layer 0 is
    asked, which waits for the device.
    """
    texts = _numbers(memory.ledger.frames, lambda frame: frame.num_text)  # they stand first
    pictures = _numbers(memory.ledger.frames, lambda frame: frame.num_tokens)
    if len(texts) + len(pictures) == memory.num_visual:
        is_text = torch.arange(memory.num_visual) < len(texts)
        return torch.cat((texts, pictures)), is_text
    first = memory.stacks[0]
    held = torch.stack((first.origin.frame[0, first.visual], first.origin.patch[0, first.visual]))
    frames, patches = held.cpu()
    return frames, patches == NO_PATCH


def _numbers(frames: Sequence[Frame], count: Callable[[Frame], int]) -> Tensor:
    """Each frame's number as often as it has such tokens."""
    numbers = torch.tensor([frame.number for frame in frames], dtype=torch.int64)
    counts = torch.tensor([count(frame) for frame in frames], dtype=torch.int64)
    return numbers.repeat_interleave(counts)


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

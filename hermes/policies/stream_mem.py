"""Question-free memory by the attention of the chat template: StreamMem (arXiv 2508.15717).

At every chunk (once the budget is full) memory and chunk are scored by the attention of the chat
tokens that start an assistant turn, mean over heads and tokens; the best stay. Every new frame adds
one prototype: the mean of its keys and of its values, weighted by the scores.

Deviations: the prototype takes the slot, and so the position, of the frame's least attended token,
so that it counts in the budget and all layers stay equally long; a frame that stays whole gets
none. Prototypes are at most half of the budget, newest frames first, and are ordinary tokens
afterwards. Keys are averaged un-rotated. Positions follow the configuration's renumbering
(paper: YaRN scaling). The paper's filter, which merges similar frames before the language model, is
left out: it works with any policy and would hide what this one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.base import Guidance, Policy
from hermes.policies.frames import FrameTail, frame_tail
from hermes.policies.slices import top_after


class StreamMem(Policy):
    """Top-k by the template's attention, and a prototype per frame."""

    defines: ClassVar[Mapping[str, Any]] = {"probe": "exact"}

    def reset(self) -> None:
        """No frame has a prototype yet."""
        self._last_frame = -1

    def guidance(self, layer: int) -> Guidance:
        """The same text in every layer."""
        return "template"

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """One slot per new frame for its prototype, then the best tokens."""
        tail = frame_tail(memory)
        kept = []
        for scores in attention:
            assert scores is not None
            secured = torch.zeros_like(scores, dtype=torch.bool)
            secured[self._slots(scores, tail)] = True
            kept.append(top_after(scores, secured, min(self.config.kv_size, scores.numel())))
        return kept

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Write the prototypes of the frames that lose something."""
        tail = frame_tail(memory)
        length = tail.tokens_per_frame
        for layer, scores in enumerate(attention):
            assert scores is not None
            rows = self._slots(scores, tail)
            first = scores.numel() - rows.numel() * length
            stays = torch.zeros_like(scores, dtype=torch.bool)
            stays[kept[layer]] = True
            whole = stays[first:].view(-1, length).all(dim=1)
            keys, values = self._prototypes(memory, layer, scores[first:].view(-1, length))
            own = memory.num_prefix + rows
            buffers = memory.layers[layer]
            memory.replace(
                layer,
                rows,
                torch.where(whole[:, None], buffers.keys[:, own].float(), keys),
                torch.where(whole[:, None], buffers.values[:, own].float(), values),
                torch.where(whole, 1, length),
            )
        self._last_frame = tail.numbers[-1]

    def _slots(self, scores: Tensor, tail: FrameTail) -> Tensor:
        """(m,) index of the least attended token of each of the m newest frames."""
        count = min(tail.whole_since(self._last_frame), self.config.kv_size // 2)
        length = tail.tokens_per_frame
        first = scores.numel() - count * length
        lowest = scores[first:].view(count, length).argmin(dim=1)
        return first + torch.arange(count, device=scores.device) * length + lowest

    def _prototypes(
        self, memory: StreamMemory, layer: int, scores: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean keys and values (g, m, d) fp32 of the m newest frames, weights (m, t)."""
        used = slice(memory.num_tokens - scores.numel(), memory.num_tokens)
        share = scores / scores.sum(dim=1, keepdim=True).clamp(min=torch.finfo(scores.dtype).tiny)
        buffers = memory.layers[layer]
        frames = (
            states[:, used].float().unflatten(1, scores.shape)
            for states in (buffers.keys, buffers.values)
        )
        keys, values = ((states * share[..., None]).sum(dim=2) for states in frames)
        return keys, values

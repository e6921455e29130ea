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
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.guidance import Guidance
from hermes.policy_parts.selection import scaled_ranks, top_after
from hermes.policy_parts.state import PolicyState, check_names, frame_number
from hermes.store.layer_stack import LayerStack
from hermes.store.quantised_states import States


class StreamMem(Policy):
    """Top-k by the template's attention, and a prototype per frame."""

    needs_equal_frames: ClassVar[bool] = True
    defines: ClassVar[Mapping[str, Any]] = {"probe": "exact"}

    def reset(self) -> None:
        """No frame has a prototype yet."""
        self._last_frame = -1

    def state(self) -> PolicyState:
        """The newest frame that has its prototype."""
        return {"last_frame": self._last_frame}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """One number."""
        check_names(state, "last_frame")
        self._last_frame = frame_number(state, "last_frame")

    def guidance(self, layer: int) -> Guidance:
        """The same text in every layer."""
        return "template"

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """One slot per new frame for its prototype, then the best tokens."""
        tail = frame_tail(memory)
        count = min(tail.whole_since(self._last_frame), self.config.kv_size // 2)
        self._new = count, tail.tokens_per_frame
        self._pending = tail.numbers[-1]
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """The least attended token of each new frame is secured: its slot is the prototype's."""
        assert attention is not None
        return top_after(attention, self._secured(attention), self.config.kv_size)

    def preferences(
        self, memory: StreamMemory, attention: Sequence[Tensor | None]
    ) -> Sequence[Tensor | None]:
        """As they are chosen: slots of prototypes first."""
        return [
            None if scores is None else scaled_ranks(scores) + 2 * self._secured(scores)
            for scores in attention
        ]

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Write the prototypes of the frames that lose something."""
        for stack, scores, rows in zip(memory.stacks, attention, kept, strict=True):
            assert scores is not None
            self._write_prototypes(memory, stack, scores, rows)
        self._last_frame = self._pending

    def _write_prototypes(
        self, memory: StreamMemory, stack: LayerStack, scores: Tensor, kept: Tensor
    ) -> None:
        count, length = self._new
        newest = slice(scores.shape[1] - count * length, None)
        stays = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, kept, True)
        whole = stays[:, newest].unflatten(1, (count, length)).all(dim=2)
        share = scores[:, newest].unflatten(1, (count, length))
        share = share / share.sum(dim=2, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
        rows = self._slots(scores)
        places = (rows + stack.num_prefix)[:, None, :, None]
        places = places.expand(-1, stack.keys.shape[1], -1, stack.keys.shape[3])
        keys, values = (
            torch.where(
                whole[:, None, :, None],
                held.gather(2, places).float(),
                _frame_means(stack, held, share),
            )
            for held in (stack.keys, stack.values)
        )
        memory.replace(stack, rows, keys, values, torch.where(whole, 1, length))

    def _secured(self, scores: Tensor) -> Tensor:
        """(l, n) bool."""
        nothing = torch.zeros_like(scores, dtype=torch.bool)
        return nothing.scatter_(1, self._slots(scores), True)

    def _slots(self, scores: Tensor) -> Tensor:
        """(l, m) index of the least attended token of each of the m newest frames."""
        count, length = self._new
        first = scores.shape[1] - count * length
        lowest = scores[:, first:].unflatten(1, (count, length)).argmin(dim=2)
        return first + torch.arange(count, device=scores.device) * length + lowest


def _frame_means(stack: LayerStack, held: States, share: Tensor) -> Tensor:
    """(l, g, m, d) fp32 means of the m newest frames, weighted by (l, m, t)."""
    count, length = share.shape[1:]
    newest = slice(stack.num_tokens - count * length, stack.num_tokens)
    means = []
    for layers in stack.blocks(count * length):
        frames = held[layers, :, newest].float().unflatten(2, (count, length))
        means.append((frames * share[layers, None, :, :, None]).sum(dim=3))
    return torch.cat(means)

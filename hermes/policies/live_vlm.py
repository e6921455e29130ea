"""Visual tokens that other visual tokens look at, chosen in buckets: LiveVLM (arXiv 2505.15269).

The newest frames stay raw as short-term memory. What is older is scored by the attention it
receives from visual tokens, and the best are taken bucket by bucket, so that picks cover the
time and do not pile up on a few sinks.

Deviations: the paper compresses every clip once, pages the result to the host and retrieves
pages when asked; here everything lives in one budget, so older tokens are scored again by the
attention of the newest chunk, buckets are equal spans of the time remembered, and nothing is
retrieved. Attention is divided by the number of queries that can see a token and taken over
`max_queries` evenly spaced queries per head and chunk. It is observed only while a chunk is read
that makes something leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Observer, Policy
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.options import check_count, check_share
from hermes.policy_parts.received_attention import received_attention
from hermes.policy_parts.selection import newest_rows, pictures_only
from hermes.policy_parts.slices import time_slices, top_with_floors
from hermes.policy_parts.state import PolicyState, check_names
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class LiveVlmOptions:
    """Sizes of the short-term memory and of the buckets."""

    recent_share: float = 0.25
    """Share of kv_size for the newest frames, kept whole: at least one, unless it is 0."""
    num_buckets: int = 16
    max_queries: int = 64
    """Visual tokens of a chunk whose attention is looked at, in each head others."""

    def __post_init__(self) -> None:
        check_share("recent_share", self.recent_share)
        check_count("num_buckets", self.num_buckets)
        check_count("max_queries", self.max_queries)


class LiveVlm(Policy):
    """Vision looks at vision; no text takes part."""

    Options = LiveVlmOptions

    def reset(self) -> None:
        """Nothing observed yet."""
        self._received: dict[int, Tensor] = {}

    def state(self) -> PolicyState:
        """(l, n) what was received, if room is still to be made for the chunk."""
        received = [row.cpu() for _, row in sorted(self._received.items())]
        return {"received": torch.stack(received)} if received else {}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """There where something is about to leave, and only there."""
        if not self.overflows(memory.stacks):
            check_names(state)
            return
        check_names(state, "received")
        received, shape = state["received"], (memory.num_layers, memory.num_visual)
        if received.shape != shape or received.dtype != torch.float32:
            raise ValueError(
                f"received is {received.dtype} of {tuple(received.shape)}, not {shape}"
            )
        if not torch.isfinite(received).all():
            raise ValueError("received holds values that are not finite")
        self._received = dict(enumerate(received))

    def observer(self, memory: StreamMemory, num_new: int) -> Observer | None:
        """Only if this chunk will make something leave."""
        self._received = {}
        if not self.overflows(memory.stacks, num_new):
            return None
        prefix = memory.num_prefix

        def observe(layer: int, queries: Tensor, keys: Tensor, scaling: float) -> None:
            received = received_attention(queries, keys, scaling, self.options.max_queries)
            self._received[layer] = _text_first(memory, layer, received[prefix:])

        return observe

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Buckets of the past, then the newest frames."""
        length, share = frame_tail(memory).tokens_per_frame, self.options.recent_share
        self._recent = max(int(share * self.config.kv_size) // length, share > 0) * length
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """As `choose` split the budget."""
        older, buckets = stack.num_visual - self._recent, self.options.num_buckets
        received = [self._received[layer].to(stack.device) for layer in stack.layers]
        scores = torch.stack([row[:older] for row in received])
        scores = pictures_only(scores, stack.origin.is_text[:, stack.visual][:, :older])
        slices = time_slices(stack.origin.seconds[:, stack.visual][:, :older], buckets)
        budget = self.config.kv_size - self._recent
        past = top_with_floors(scores, slices, buckets, 1.0, budget)
        return torch.cat((past, newest_rows(stack, self._recent)), dim=1)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """What was received has served."""
        self._received = {}


def _text_first(memory: StreamMemory, layer: int, received: Tensor) -> Tensor:
    """(n,) in the order in which the tokens will stand (`StreamMemory.text_first`)."""
    if not memory.has_frame_text:
        return received
    stack, index = memory.place_of(layer)
    rows = slice(stack.num_prefix, stack.num_prefix + len(received))
    return received[(~stack.origin.is_text[index, rows]).int().argsort(stable=True)]

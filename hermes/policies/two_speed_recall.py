"""`two_speed` with a bounded, quantised archive: what was evicted can come back for a question.

A policy of this project. Frames that leave the recent part are copied, whole and as int8, to host
memory of at most `host_bytes_limit` bytes. When a question comes, every layer looks for the frames
whose mean key fits its queries best (as ReKV, arXiv 2503.00540) and swaps them for as many tokens
of its past: first for what it still holds of the same frames, then for what the question looks at
least. The budget therefore stays kv_size, also while answering. Positions are gapless, by frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policies.two_speed import TwoSpeed, TwoSpeedOptions
from hermes.policy_parts.archive.archive_policy import ArchivePolicy, Room
from hermes.policy_parts.archive.frame_store import ON_FULL, mean_query
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.options import check_choice, check_count, check_flag, check_share
from hermes.policy_parts.selection import top_after
from hermes.policy_parts.value_norm import known_frames
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class TwoSpeedRecallOptions(TwoSpeedOptions):
    """What comes back, and what may be stored."""

    recall_share: float = 0.5
    """Share of the past's tokens that recalled frames may replace."""
    host_bytes_limit: int = 4 * 2**30
    on_full: str = "thin"
    """What leaves a full archive: the `oldest` frame, or `thin`, keeping an even spread."""
    quantised: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("recall_share", self.recall_share)
        check_count("host_bytes_limit", self.host_bytes_limit)
        check_choice("on_full", self.on_full, ON_FULL)
        check_flag("quantised", self.quantised)


class _Plan(NamedTuple):
    """Counts that hold for all layers of one question."""

    length: int
    """Tokens per frame."""
    recalled: int
    """Frames."""
    past: int
    """Tokens of the memory's past that the question still sees."""
    recent: int
    """Tokens of the recent part, with what came since the last compression."""


class TwoSpeedRecall(ArchivePolicy, TwoSpeed):
    """The past is scored while watching and refined when asked."""

    Options = TwoSpeedRecallOptions

    def reset(self) -> None:
        """Empty archive."""
        super().reset()
        options = self.options
        self.open_archive(
            options.host_bytes_limit, quantised=options.quantised, on_full=options.on_full
        )

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Archive frames when they leave the recent part, while they are whole."""
        tail = frame_tail(memory)
        aged, length = self.aged(tail), tail.tokens_per_frame
        start = memory.num_visual - (self.recent_frames(tail) + len(aged)) * length
        self.store.add(memory, start, aged, length)
        super().evicting(memory, attention, kept)

    def room(self, memory: StreamMemory, plan: _Plan) -> Room:
        """As much as the stream holds: what comes back takes the place of something else."""
        distinct = known_frames(memory).numel()
        return Room(plan.length, memory.num_visual, distinct + plan.recalled)

    def plan(self, memory: StreamMemory) -> _Plan | None:
        """How many frames come back; None for none."""
        tail = frame_tail(memory)
        length = tail.tokens_per_frame
        recent = tail.whole_since(self._last_aged) * length
        past = memory.num_visual - recent
        wanted = int(self.options.recall_share * past) // length
        recalled = min(wanted, len(self.store.frames))
        return _Plan(length, recalled, past - recalled * length, recent) if recalled else None

    def fill(self, memory: StreamMemory, plan: _Plan, layer: int, queries: Tensor) -> None:
        """What stays of the stream, then the frames that fit the question."""
        stack, index = memory.place_of(layer)
        query = mean_query(queries, stack.keys.shape[1])
        found = self.store.scores(layer, query).topk(plan.recalled).indices.sort()[0].tolist()
        chosen = [self.store.frames[turn].number for turn in found]
        numbers = torch.tensor(chosen, device=stack.device)
        rows = stack.num_prefix + self._stays(stack, index, plan, query, numbers)
        keys, values = self._question.slots(layer, 0, rows.numel())
        held = stack[index]
        keys.copy_(held.keys.index_select(1, rows))
        values.copy_(held.values.index_select(1, rows))
        for turn, frame in enumerate(found):
            start = rows.numel() + turn * plan.length
            self.store.read(frame, layer, *self._question.slots(layer, start, start + plan.length))
        patches = torch.arange(plan.length, device=stack.device).repeat(plan.recalled)
        origin = stack.origin
        self._question.place(
            layer,
            torch.cat((origin.frame[index, rows], numbers.repeat_interleave(plan.length))),
            torch.cat((origin.patch[index, rows], patches)),
        )

    def _stays(
        self, stack: LayerStack, index: int, plan: _Plan, query: Tensor, recalled: Tensor
    ) -> Tensor:
        """Visual tokens of the stream that the question still sees in this layer, ascending: what
        comes back anyway and text of frames only where nothing else is left."""
        total = stack.num_visual - plan.recent
        rows = slice(stack.num_prefix, stack.num_prefix + total)
        keys = stack.keys[index, :, rows].float()
        looks = keys.transpose(0, 1).flatten(1) @ query
        twice = torch.isin(stack.origin.frame[index, rows], recalled)
        twice |= stack.origin.is_text[index, rows]  # a question reads pictures only
        past = top_after(looks[None], ~twice[None], plan.past)[0]
        recent = torch.arange(total, stack.num_visual, device=stack.device)
        return torch.cat((past, recent))

"""Everything in host memory, the frames that fit the question fetched back: ReKV (2503.00540).

Section 3.2 (retrieval inside the model) of arXiv 2503.00540. While watching, the prefix and a
window of the newest frames are attended to; what leaves the window goes to host memory,
un-rotated, frame by frame. A question looks, in every layer, at the prefix and at the frames
whose mean key has the largest product with the mean of the question's queries (heads
concatenated; the question's tokens without options and chat frame), in time order, at gapless
positions.

Choices and deviations:
- Similarity is taken between un-rotated queries and un-rotated keys, so that age does not count.
- Window and retrieved frames share one budget: kv_size tokens while watching, kv_size tokens when
  answering (paper: a window of 15,000 tokens, 64 frames of 196 tokens retrieved). Frames that are
  still in the window are candidates like those in host memory.
- `local_share` keeps a part of the budget for the newest frames (paper: 0).
- One frame is one block; a temporal patch of two frames counts as one.
- Positions in the window are the stream's own (lazy or eager), not clamped distances.

Host memory grows without end (18.8 GB per hour in the paper) unless `host_bytes_limit` is set;
then the oldest frames leave. Choosing needs the indices on the host: one wait per layer and
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.archive.archive_policy import ArchivePolicy, Room
from hermes.policy_parts.archive.frame_store import mean_query
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.options import check_count, check_flag, check_share
from hermes.policy_parts.whole_frames import WholeFrames


@dataclass(frozen=True)
class ReKVOptions:
    """How much is retrieved, and what may be stored."""

    num_frames: int | None = None
    """Frames retrieved per layer (paper: 64); None: what the budget holds beside the local part."""
    local_share: float = 0.0
    """Share of kv_size for the newest frames, which every question sees."""
    host_bytes_limit: int | None = None
    quantised: bool = False
    """Store int8 instead of the model's dtype."""

    def __post_init__(self) -> None:
        for name in ("num_frames", "host_bytes_limit"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        check_share("local_share", self.local_share)
        check_flag("quantised", self.quantised)


class _Plan(NamedTuple):
    """Counts that hold for all layers of one question."""

    length: int
    """Tokens per frame."""
    window: list[int]
    """Frame numbers in the window, the local ones left out."""
    local: list[int]
    retrieved: int
    num_text: int
    """Tokens before the pictures of the window's frames; a question reads pictures only."""


class ReKV(ArchivePolicy, WholeFrames):
    """A window while watching, retrieval when asked."""

    needs_equal_frames: ClassVar[bool] = True
    Options = ReKVOptions

    def reset(self) -> None:
        """Empty the store."""
        options = self.options
        self.open_archive(options.host_bytes_limit, quantised=options.quantised)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Frames that leave go to host memory."""
        tail = frame_tail(memory)
        tail.whole_since(-1)
        leaving = len(tail.numbers) - self.num_fitting
        start = tail.first_picture(memory)
        self.store.add(memory, start, tail.numbers[:leaving], tail.tokens_per_frame)

    def room(self, memory: StreamMemory, plan: _Plan) -> Room:
        """Retrieved and local frames."""
        count = plan.retrieved + len(plan.local)
        return Room(plan.length, count * plan.length, count)

    def plan(self, memory: StreamMemory) -> _Plan:
        """What is a candidate, and how much of it is retrieved."""
        tail = frame_tail(memory)
        length, options = tail.tokens_per_frame, self.options
        total = self.config.kv_size // length
        num_local = min(int(options.local_share * self.config.kv_size) // length, tail.num_whole)
        split = len(tail.numbers) - num_local
        window, local = tail.numbers[:split], tail.numbers[split:]
        wanted = total - num_local if options.num_frames is None else options.num_frames
        retrieved = min(wanted, len(self.store.frames) + len(window))
        return _Plan(length, window, local, retrieved, tail.first_picture(memory))

    def fill(self, memory: StreamMemory, plan: _Plan, layer: int, queries: Tensor) -> None:
        """Retrieved frames in time order, then the local ones."""
        chosen = self._choose(memory, plan, layer, queries)
        stored, start = len(self.store.frames), memory.num_prefix + plan.num_text
        for turn, index in enumerate(chosen):
            keys, values = self._question.slots(layer, turn * plan.length, (turn + 1) * plan.length)
            if index < stored:
                self.store.read(index, layer, keys, values)
                continue
            first = start + (index - stored) * plan.length
            stack, place = memory.place_of(layer)
            held = stack[place]
            keys.copy_(held.keys[:, first : first + plan.length])
            values.copy_(held.values[:, first : first + plan.length])
        numbers = [frame.number for frame in self.store.frames] + plan.window + plan.local
        chosen_numbers = [numbers[index] for index in chosen]
        frames = torch.tensor(chosen_numbers, device=memory.place_of(layer)[0].device)
        patches = torch.arange(plan.length, device=frames.device).repeat(len(chosen))
        self._question.place(layer, frames.repeat_interleave(plan.length), patches)

    def _choose(self, memory: StreamMemory, plan: _Plan, layer: int, queries: Tensor) -> list[int]:
        """Indices into stored, window and local frames, in time order."""
        stack, index = memory.place_of(layer)
        keys = stack[index].keys
        query = mean_query(queries, keys.shape[0])
        start = memory.num_prefix + plan.num_text
        window = keys[:, start : start + len(plan.window) * plan.length]
        window = window.unflatten(1, (-1, plan.length))
        means = window.float().mean(dim=2).transpose(0, 1).flatten(1)
        scores = torch.cat((self.store.scores(layer, query), means @ query))
        found = scores.topk(plan.retrieved).indices.sort()[0].tolist()
        return found + list(range(len(scores), len(scores) + len(plan.local)))

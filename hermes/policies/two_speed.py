"""Two speeds: the present whole in every layer, the past chosen by what questions look at.

A policy of this project. Its parts come from a probe in which a window forgot the past,
hierarchical memory paid for the past with the present, and a plain split of the budget paid for
nothing:

1. Recent: the newest `recent_share` of the budget, whole frames, untouched in every layer.
2. Anchors: up to `anchor_share` of the rest, whole frames in every layer that differ most from the
   anchor before them, so that a scene leaves one intact picture (first object, attributes, order).
3. Past: per layer the tokens with the best score, attention of the guidance text (exact probe;
   Eq. 2 of arXiv 2601.14724 in every layer) mixed with novelty (what does not repeat the token
   before it at the same patch; compare InfiniPot-V's TaR). Equal spans of time are each sure of an
   equal part of `floor_share`, so that the past cannot collapse into the last minute.
4. Hand-over: a frame that leaves the recent part gets a bonus that fades with the frames since,
   instead of having to compete at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hermes.config import MemoryConfig
from hermes.importance import min_max
from hermes.memory import StreamMemory
from hermes.policies.anchors import (
    choose_anchors,
    frame_similarity,
    novelty,
    stream_novelty,
)
from hermes.policies.base import Guidance, Policy
from hermes.policies.frames import FrameTail, frame_tail
from hermes.policies.options import check_choice, check_count, check_share
from hermes.policies.slices import ranks_within, time_slices, top_after

GUIDANCES = ("local", "mixed", "global", "template")
SCALES = ("rank", "min_max")
NOVELTY_STATES = ("keys", "values")
NOVELTY_SCOPES = ("patch", "stream")


@dataclass(frozen=True)
class TwoSpeedOptions:
    """How the budget is split and how the past is scored."""

    recent_share: float = 0.5
    """Share of kv_size for the newest frames; at least one frame."""
    anchor_share: float = 0.25
    """Share of the rest for whole frames."""
    anchor_spread: float = 0.1
    """How much an even spread over time counts against difference when anchors are chosen."""
    num_slices: int = 8
    floor_share: float = 0.5
    """Share of the past's tokens that is divided equally among the slices of time."""
    guidance: Guidance = "mixed"
    attention_scale: str = "rank"
    """Attention enters as `rank` (robust against sinks) or `min_max`, both in [0, 1]."""
    novelty_weight: float = 0.25
    novelty_states: str = "keys"
    novelty_scope: str = "patch"
    """New against the token before at the same `patch`, or against everything older in `stream`."""
    handover_bonus: float = 0.25
    """Added to the score of a frame that has just left the recent part."""
    handover_frames: int = 16
    """Frames after which the bonus has fallen to 1 / e."""

    def __post_init__(self) -> None:
        for name in ("recent_share", "anchor_share", "floor_share", "novelty_weight"):
            check_share(name, getattr(self, name))
        for name in ("anchor_spread", "handover_bonus"):
            check_share(name, getattr(self, name), high=10)
        check_count("num_slices", self.num_slices)
        check_count("handover_frames", self.handover_frames)
        check_choice("guidance", self.guidance, GUIDANCES)
        check_choice("attention_scale", self.attention_scale, SCALES)
        check_choice("novelty_states", self.novelty_states, NOVELTY_STATES)
        check_choice("novelty_scope", self.novelty_scope, NOVELTY_SCOPES)


class TwoSpeed(Policy):
    """Recent frames untouched, the past by guidance attention with floors."""

    Options = TwoSpeedOptions

    @classmethod
    def adjust(cls, config: MemoryConfig) -> MemoryConfig:
        """Attention is that of a true forward of the guidance text."""
        return replace(config, probe="exact")

    def reset(self) -> None:
        """No anchors; no frame has left the recent part."""
        self._anchors: list[int] = []
        self._last_aged = -1
        self._pending = self._anchors, self._last_aged

    def guidance(self, layer: int) -> Guidance:
        """The same text in every layer."""
        return self.options.guidance

    def select(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Anchors and floors first, then the best of the past, then the recent frames."""
        tail = frame_tail(memory)
        recent = self.recent_frames(tail) * tail.tokens_per_frame
        chosen = self._choose_anchors(memory, tail)
        self._pending = chosen, tail.numbers[-1 - self.recent_frames(tail)]
        anchors = torch.tensor(chosen, dtype=torch.int64, device=memory.positions.device)
        kept = []
        for layer, attended in enumerate(attention):
            assert attended is not None
            past = self._past(memory, layer, attended[: memory.num_visual - recent], anchors)
            newest = torch.arange(recent, device=past.device) + memory.num_visual - recent
            kept.append(torch.cat((past, newest)))
        return kept

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Remember which frames are anchors and which have aged."""
        self._anchors, self._last_aged = self._pending

    def recent_frames(self, tail: FrameTail) -> int:
        """Frames of the recent part."""
        share = int(self.options.recent_share * self.config.kv_size)
        return max(1, share // tail.tokens_per_frame)

    def aged(self, tail: FrameTail) -> list[int]:
        """Frames that leave the recent part now, still whole in every layer."""
        tail.whole_since(self._last_aged)
        border = tail.numbers[: -self.recent_frames(tail)]
        return [number for number in border if number > self._last_aged]

    def _choose_anchors(self, memory: StreamMemory, tail: FrameTail) -> list[int]:
        length = tail.tokens_per_frame
        past = self.config.kv_size - self.recent_frames(tail) * length
        limit = int(self.options.anchor_share * past) // length
        candidates = self._anchors + self.aged(tail)
        if not limit or not candidates:
            return []
        similarity = frame_similarity(memory, tail, candidates)
        return choose_anchors(candidates, similarity, limit, self.options.anchor_spread)

    def _past(self, memory: StreamMemory, layer: int, attended: Tensor, anchors: Tensor) -> Tensor:
        origin, options, device = memory.provenance, self.options, attended.device
        rows = slice(memory.num_prefix, memory.num_prefix + attended.numel())
        frames = origin.frame[layer, rows].to(device)
        anchored = torch.isin(frames, anchors.to(device))
        scores = self._scores(memory, layer, rows, attended, frames)
        budget = self.config.kv_size - (memory.num_visual - attended.numel())
        floor = int(options.floor_share * (1 - options.anchor_share) * budget / options.num_slices)
        slices = time_slices(origin.seconds[layer, rows].to(device), options.num_slices)
        secured = anchored | (ranks_within(slices, scores, options.num_slices) < floor)
        return top_after(scores, secured, min(budget, attended.numel()))

    def _scores(
        self, memory: StreamMemory, layer: int, rows: slice, attended: Tensor, frames: Tensor
    ) -> Tensor:
        options = self.options
        weight = options.novelty_weight
        new = self._novelty(memory, layer, rows)
        mixed = (1 - weight) * self._scaled(attended) + weight * new
        age = (frames[-1] - frames).float() / options.handover_frames
        return mixed + options.handover_bonus * torch.exp(-age)

    def _novelty(self, memory: StreamMemory, layer: int, rows: slice) -> Tensor:
        states = getattr(memory.layers[layer], self.options.novelty_states)[:, rows]
        if self.options.novelty_scope == "stream":
            return stream_novelty(states)
        return novelty(states, memory.provenance.patch[layer, rows].to(states.device))

    def _scaled(self, attended: Tensor) -> Tensor:
        if self.options.attention_scale == "min_max":
            return min_max(attended, self.config.min_max_epsilon)
        ranks = torch.empty_like(attended)
        order = attended.argsort(stable=True)
        ranks[order] = torch.linspace(0, 1, attended.numel(), device=attended.device)
        return ranks

"""Two speeds: the present whole in every layer, of the past what it has that nothing else has.

A policy of this project, tuned on training streams of NanoStream (docs/log.md):

1. Recent: the newest `recent_share` of the budget, whole frames, untouched in every layer.
2. Hand-over: of the frames that leave the recent part, those after which the picture changed stay
   whole in every layer (`keyframe_share` of the rest), the older the less likely.
3. Past: per layer the tokens that repeat no older one (`stream_novelty`): a thing that comes back
   again and again costs one token, so the budget covers the most different things and cannot
   collapse into the last minute. It needs no question and no probe.

What carries over to other frames, rates and budgets (4 tokens a frame, one frame per second and 64
tokens were tuned on):

- Shares (`recent_share`, `keyframe_share`, `floor_share`) are parts of kv_size, only then rounded
  down to frames: 64 tokens of 4 a frame and 3,136 of 196 are the same 4 newest and 4 key frames.
  Of a budget of few frames (Qwen at full resolution: a pair may have 1,000 tokens) the newest takes
  more than its share, and there may be no room for a key frame: the past is tokens alone. A budget
  below tokens of a frame / `recent_share` is better spent on smaller frames (`max_pixels`).
- Novelty is a rank among the tokens of a layer: no threshold, nothing to scale. Neighbouring
  patches of a large frame are alike, so that it counts things, not area.
- `keyframe_frames` counts sampled frames (two for a temporal patch): 16 s at one frame per second.
  Scenes change by the second, by which it should be 8 at 0.5 and 32 at 2 frames per second; 8, 16
  and 32 could not be told apart at either rate (docs/log.md), and the tuned 16 stays.
- `num_slices` is a number of parts of whatever time there is.

Attention of the guidance text (exact probe; Eq. 2 of arXiv 2601.14724 in every layer) can be mixed
in with `attention_weight`, and equal spans of time can each be made sure of an equal part of
`floor_share`. This is what the policy was planned to be; on NanoStream coverage alone did better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frames import FrameTail, frame_tail
from hermes.policy_parts.guidance import TEXTS, Guidance
from hermes.policy_parts.novelty.all_pairs import stream_novelty
from hermes.policy_parts.novelty.keyframes import choose_keyframes, frame_similarity
from hermes.policy_parts.options import check_choice, check_count, check_share
from hermes.policy_parts.selection import newest_rows, pictures_only, scaled_ranks, top_after
from hermes.policy_parts.slices import ranks_within, time_slices
from hermes.policy_parts.state import PolicyState, check_names, frame_number, frame_numbers
from hermes.store.layer_stack import LayerStack


@dataclass(frozen=True)
class TwoSpeedOptions:
    """How the budget is split and how the past is scored."""

    recent_share: float = 0.25
    """Share of kv_size for the newest frames; at least one frame."""
    keyframe_share: float = 0.4
    """Share of the rest for whole frames after which the picture changed."""
    keyframe_frames: int = 16
    """Frames after which a change counts 1 / e of a new one."""
    attention_weight: float = 0.0
    """How much the rank by guidance attention counts against novelty; 0 saves the probe."""
    guidance: Guidance = "mixed"
    num_slices: int = 8
    floor_share: float = 0.0
    """Share of the past's tokens that is divided equally among the slices of time."""

    def __post_init__(self) -> None:
        for name in ("recent_share", "keyframe_share", "attention_weight", "floor_share"):
            check_share(name, getattr(self, name))
        for name in ("keyframe_frames", "num_slices"):
            check_count(name, getattr(self, name))
        check_choice("guidance", self.guidance, tuple(TEXTS))


class TwoSpeed(Policy):
    """Recent frames untouched, then key frames, then what repeats nothing."""

    needs_equal_frames: ClassVar[bool] = True
    Options = TwoSpeedOptions
    defines: ClassVar[Mapping[str, Any]] = {"probe": "exact"}

    def reset(self) -> None:
        """No key frames; no frame has left the recent part."""
        self._keyframes: list[int] = []
        self._last_aged = -1
        self._pending = self._keyframes, self._last_aged

    def state(self) -> PolicyState:
        """Key frames, and the newest frame that has left the recent part."""
        return {"keyframes": self._keyframes, "last_aged": self._last_aged}

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """Key frames are in the memory."""
        check_names(state, "keyframes", "last_aged")
        self._keyframes = frame_numbers(state, "keyframes")
        self._last_aged = frame_number(state, "last_aged")
        first = memory.stacks[0]
        if gone := set(self._keyframes) - set(first.origin.frame[0, first.visual].tolist()):
            raise ValueError(f"key frames {sorted(gone)} are not in the memory")

    def guidance(self, layer: int) -> Guidance | None:
        """The same text in every layer, if its attention counts."""
        return self.options.guidance if self.options.attention_weight else None

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Key frames are the same in all layers."""
        tail = frame_tail(memory)
        chosen = self._choose_keyframes(memory, tail)
        self._pending = chosen, tail.numbers[-1 - self.recent_frames(tail)]
        self._num_recent = self.recent_frames(tail) * tail.tokens_per_frame
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Key frames and floors first, then the best of the past, then the recent frames."""
        past = self._past(stack, attention, stack.num_visual - self._num_recent)
        return torch.cat((past, newest_rows(stack, self._num_recent)), dim=1)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Remember which frames are key frames and which have aged."""
        self._keyframes, self._last_aged = self._pending

    def recent_frames(self, tail: FrameTail) -> int:
        """Frames of the recent part."""
        share = int(self.options.recent_share * self.config.kv_size)
        return max(1, share // tail.tokens_with_text)

    def most_keyframes(self, tail: FrameTail) -> int:
        """Frames of the past that may stay whole."""
        past = self.config.kv_size - self.recent_frames(tail) * tail.tokens_with_text
        return int(self.options.keyframe_share * past) // tail.tokens_with_text

    def aged(self, tail: FrameTail) -> list[int]:
        """Frames that leave the recent part now, still whole in every layer."""
        tail.whole_since(self._last_aged)
        border = tail.numbers[: -self.recent_frames(tail)]
        return [number for number in border if number > self._last_aged]

    def novelty(self, stack: LayerStack, rows: slice) -> Tensor:
        """(l, n) how new the tokens in these slots of the past are; the larger, the rather kept."""
        return stream_novelty(stack.values[:, :, rows])

    def _choose_keyframes(self, memory: StreamMemory, tail: FrameTail) -> list[int]:
        limit, options = self.most_keyframes(tail), self.options
        candidates = tail.whole_among(self._keyframes) + self.aged(tail)
        self._chosen = torch.empty(0, dtype=torch.int64, device=memory.device)
        if not limit or not candidates:
            return []
        candidates.append(tail.numbers[-self.recent_frames(tail)])
        numbers = torch.tensor(candidates).to(memory.device)
        similarity = frame_similarity(memory, tail, numbers).tolist()
        chosen = choose_keyframes(candidates, similarity, limit, options.keyframe_frames)
        if chosen:  # picked where they are
            self._chosen = torch.stack([numbers[candidates.index(number)] for number in chosen])
        return chosen

    def _past(self, stack: LayerStack, attended: Tensor | None, num_past: int) -> Tensor:
        """(l, k) ascending indices of what stays of the first `num_past` visual tokens."""
        options = self.options
        rows = slice(stack.num_prefix, stack.num_prefix + num_past)
        scores = self.novelty(stack, rows)
        is_text = stack.origin.is_text[:, rows]
        if attended is not None:
            weight = options.attention_weight
            scores = (1 - weight) * scores + weight * scaled_ranks(attended[:, :num_past])
        budget = self.config.kv_size - self._num_recent
        secured = torch.isin(stack.origin.frame[:, rows], self._chosen.to(stack.device))
        floor = int(options.floor_share * (1 - options.keyframe_share) * budget)
        if floor := floor // options.num_slices:
            slices = time_slices(stack.origin.seconds[:, rows], options.num_slices)
            secured |= ranks_within(slices, scores, options.num_slices) < floor
        return top_after(pictures_only(scores, is_text), secured & ~is_text, budget)

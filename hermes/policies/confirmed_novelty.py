"""The present whole, changes whole, and of the past what is new and was seen twice.

A policy of this project, `two_speed` without its weak sides (docs/log.md):

1. Recent: the newest frame stays whole in every layer, and before it one frame per
   `pace_seconds`, as many as make `recent_share` of the budget with it.
2. Changes: of the frames before them those stay whole after which the picture changed
   (`keyframe_share` of the rest), a change the less likely the more scenes began after it: first
   what changed in this scene, then the last of the scene before, however long either lasts.
3. Past: per layer the tokens that repeat no older one and were not alone. A token's score is how
   little it resembles any older token, less how little it resembles the nearest token of a
   neighbouring frame: what flashes up in one frame is new, but nothing beside it in time says that
   it was there. Of frames that are to stay for what changed after them the same is asked, as far as
   they resemble their neighbours less than frames do here. The less often frames come, the less a
   neighbour tells.

Neighbours and paces are seconds of the stream, ages are scenes, budgets are shares: neither the
rate of sampling nor the tokens of a frame are in any constant. A model that reads two frames as one
(Qwen) has half as many frames here, so that at 1 fps a neighbour is two seconds away and tells
half. At each compression newcomers are compared with what is older, and of what was kept only
tokens whose nearest one is gone (`nearest_older`): the result is that of comparing all with all.

The defaults were chosen on training streams of all degrees of NanoStream at 32, 64 and 128 tokens
of 4 a frame (docs/log.md). `fading_scenes` 0.3 lets the last of the scene before go only for what
changed in this one; with key frames aged by the clock `two_speed` is 9 points worse on the recent
past at 32 tokens. `unconfirmed_weight` 2 was better than 1 in five of eight comparisons and worse
in two. Off the pace only the newest frame is whole: a second one costs 3 points of the recent past
at 2 fps, where `unconfirmed_frame_weight` 2 was chosen, too. Shares of 0.125 and 0.25, 0.35 and 0.5
could not be told apart: of 8 frames the defaults keep 2 newest, 2 before changes and 4 as tokens,
of 16 it is 4, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hermes.memory import StreamMemory
from hermes.policy_parts.base import Policy
from hermes.policy_parts.frames import FrameTail, frame_tail
from hermes.policy_parts.novelty import nearest_older
from hermes.policy_parts.novelty.keyframes import frame_similarity
from hermes.policy_parts.novelty.nearest_older import Carried
from hermes.policy_parts.novelty.whole_choice import (
    Sight,
    choose_whole,
    neighbours,
    noted_beside,
    runs,
    steady,
    with_new,
)
from hermes.policy_parts.options import check_positive, check_share
from hermes.policy_parts.selection import pictures_only, top_after
from hermes.policy_parts.state import PolicyState, check_names
from hermes.store.blocks import layer_blocks
from hermes.store.layer_stack import LayerStack

_PARTS = Carried._fields


@dataclass(frozen=True)
class ConfirmedNoveltyOptions:
    """How the budget is split and how the past is scored."""

    recent_share: float = 0.25
    """Share of kv_size for the newest frames; at least one frame."""
    pace_seconds: float = 1.0
    """Least time between two of them, but for the very newest; 0 for every frame."""
    keyframe_share: float = 0.45
    """Share of the rest for whole frames after which the picture changed."""
    fading_scenes: float = 0.3
    """Scenes that begin after a change until it counts 1 / e of a new one."""
    neighbour_seconds: float = 1.0
    """From a frame to those before and after it that have to confirm it; where frames come less
    often it is the next one, and tells as much less as it is further away."""
    unconfirmed_weight: float = 2.0
    """How much a token's distance from its neighbouring frames counts against its novelty."""
    unconfirmed_frame_weight: float = 2.0
    """The same of a frame, as far as it is more than usual, against the change after it."""
    window_share: float = 0.0
    """Share of the layers, from below, whose past is the newest tokens, not the newest things."""

    def __post_init__(self) -> None:
        for name in ("recent_share", "keyframe_share", "window_share"):
            check_share(name, getattr(self, name))
        for name in ("unconfirmed_weight", "unconfirmed_frame_weight"):
            check_share(name, getattr(self, name), high=float("inf"))
        check_share("pace_seconds", self.pace_seconds, high=float("inf"))
        for name in ("neighbour_seconds", "fading_scenes"):
            check_positive(name, getattr(self, name))


class ConfirmedNovelty(Policy):
    """Recent frames untouched, then frames before a change, then what is new and confirmed."""

    needs_equal_frames: ClassVar[bool] = True
    Options = ConfirmedNoveltyOptions

    def reset(self) -> None:
        """Nothing seen."""
        self._sights: list[Sight] = []
        self._carried: dict[range, Carried] = {}
        self._found: dict[range, Carried] = {}
        self._whole: dict[range, Tensor] = {}

    def state(self) -> PolicyState:
        """Whole frames, and what is known of the tokens that were kept, (l, n) over all layers."""
        known = [self._carried[layers] for layers in sorted(self._carried, key=lambda r: r.start)]
        parts = zip(*known, strict=True)
        joined = [torch.cat([part.cpu() for part in own], dim=-2) for own in parts]
        return {"sights": [list(sight) for sight in self._sights]} | dict(
            zip(_PARTS, joined, strict=bool(known))
        )

    def load_state(self, state: PolicyState, memory: StreamMemory) -> None:
        """Whole frames are in the memory."""
        sights = [Sight(*entry) for entry in state["sights"]]
        check_names(state, "sights", *(_PARTS if sights else ()))
        first = memory.stacks[0]
        held = set(first.origin.frame[0, first.visual].tolist())
        for sight in sights:
            if type(sight.number) is not int or sight.number not in held:
                raise ValueError(f"frame {sight.number!r} is not in the memory")
            kinds = [type(value) for value in sight[1:]]
            if kinds != [float, bool, float]:
                raise ValueError(f"{sight} is not a frame")
        if sights:
            carried = Carried(*(state[name] for name in _PARTS))
            carried.check(memory.num_layers, memory.num_visual)
            self._carried = {range(memory.num_layers): carried}
        self._sights = sights

    @property
    def device_bytes(self) -> int:
        """What is carried."""
        return sum(carried.num_bytes for carried in self._carried.values())

    def choose(self, memory: StreamMemory, attention: Sequence[Tensor | None]) -> list[Tensor]:
        """Whole frames are the same in all layers."""
        tail = frame_tail(memory)
        self._has_text = memory.has_frame_text
        self._found = {stack.layers: self._found_again(stack) for stack in memory.stacks}
        self._look(memory, tail)
        self._choose_whole(memory, tail)
        return super().choose(memory, attention)

    def select(self, stack: LayerStack, attention: Tensor | None) -> Tensor:
        """Whole frames first, the newest among them, then the best of the past."""
        found = self._found[stack.layers]
        staying = torch.isin(stack.origin.frame[:, stack.visual], self._staying.to(stack.device))
        self._whole[stack.layers] = staying
        self._compare(stack, found, staying)
        scores, secured = self._scores(stack, found), staying
        if self._has_text:
            is_text = stack.origin.is_text[:, stack.visual]
            scores, secured = pictures_only(scores, is_text), secured & ~is_text
        return top_after(scores, secured, self.config.kv_size)

    def evicting(
        self, memory: StreamMemory, attention: Sequence[Tensor | None], kept: Sequence[Tensor]
    ) -> None:
        """Remember what is whole, and what is known of what stays."""
        self._sights = self._pending
        self._carried = {
            layers: self._found[layers].kept(rows, self._whole[layers])
            for layers, rows in zip(self._found, kept, strict=True)
        }
        self._found, self._whole = {}, {}

    def recent_frames(self, tail: FrameTail) -> int:
        """Frames that stay whole for being new."""
        return max(1, int(self.options.recent_share * self.config.kv_size) // tail.tokens_with_text)

    def most_keyframes(self, tail: FrameTail) -> int:
        """Frames that stay whole for what changed after them."""
        past = self.config.kv_size - self.recent_frames(tail) * tail.tokens_with_text
        return int(self.options.keyframe_share * past) // tail.tokens_with_text

    def _look(self, memory: StreamMemory, tail: FrameTail) -> None:
        """Which frames are whole before anything leaves."""
        before = tail.whole_among([sight.number for sight in self._sights])
        known = [sight for sight in self._sights if sight.number in before]
        self._num_new = tail.whole_since(known[-1].number if known else -1)
        frames = memory.ledger.frames
        new = [(frame.number, frame.seconds) for frame in frames[len(frames) - self._num_new :]]
        self._pending = with_new(known, new, self.options.pace_seconds)
        self._length = tail.tokens_per_frame
        alike = [
            a.number == b.number for a, b in zip(frames[::-1], self._pending[::-1], strict=False)
        ]
        self._run = [*alike, False].index(False)
        self._apart, self._trust = neighbours(
            self._pending[-self._run :], self.options.neighbour_seconds
        )

    def _choose_whole(self, memory: StreamMemory, tail: FrameTail) -> None:
        """Waits for the device once."""
        options, sights = self.options, self._pending
        numbers = torch.tensor([sight.number for sight in sights]).to(memory.device)
        similarity = frame_similarity(memory, tail, numbers)
        before = memory.num_visual - self._run * self._length
        orphans = [
            nearest_older.num_orphans(found, before).view(1).to(memory.device)
            for found in self._found.values()
        ]
        told = torch.cat((similarity.flatten(), *orphans)).tolist()
        size = len(sights)
        rows = [told[start : start + size] for start in range(0, size * size, size)]
        sights = noted_beside(sights, rows, self._run, self._apart)
        places = choose_whole(
            sights,
            rows,
            steady(sights, self.recent_frames(tail)),
            self.most_keyframes(tail),
            options.fading_scenes,
            options.unconfirmed_frame_weight * self._trust,
        )
        older = {sight.number for sight in self._sights} - {s.number for s in sights[-self._run :]}
        self._pending = [sights[place] for place in places]
        self._staying = torch.stack([numbers[place] for place in places])
        given_up = older - {sight.number for sight in self._pending}
        self._num_wanted = int(max(told[size * size :])) + len(given_up) * self._length
        self._leaving = runs([place in places for place in range(size - self._run, size)])

    def _compare(self, stack: LayerStack, found: Carried, staying: Tensor) -> None:
        """What is not known yet, but for the (l, n) bool tokens of frames that stay whole."""
        run, length = self._run, self._length
        first = stack.num_visual - run * length
        new = [slice(*(first + place * length for place in ends)) for ends in self._leaving]
        for layers in layer_blocks(len(stack), nearest_older.ROWS_AT_A_TIME * stack.num_visual):
            values, part = stack.values[layers, :, stack.visual], found.layers(layers)
            unit = nearest_older.unit_states(values, stack.values.dtype)
            nearest_older.beside(part, unit, run, self._apart, length, self._num_new)
            among = self._num_wanted, staying[layers, :first]
            nearest_older.compare(part, unit, among, new, has_text=self._has_text)

    def _scores(self, stack: LayerStack, found: Carried) -> Tensor:
        """(l, n) novelty less what is not confirmed, but for the same number everywhere."""
        nearest, beside = found.likeness
        scores = torch.sub(self.options.unconfirmed_weight * self._trust * beside, nearest)
        window = int(self.options.window_share * self.layout.num_layers) - stack.layers.start
        if window > 0:
            scores[:window] = torch.arange(scores.shape[1], device=stack.device, dtype=scores.dtype)
        return scores

    def _found_again(self, stack: LayerStack) -> Carried:
        keys = nearest_older.token_keys(stack, self._has_text)
        return nearest_older.found_again(self._carried_of(stack), keys, self._has_text)

    def _carried_of(self, stack: LayerStack) -> Carried | None:
        """As it was kept, or the layers of it that were saved on other devices."""
        if stack.layers in self._carried or not self._carried:
            return self._carried.get(stack.layers)
        (everything,) = self._carried.values()
        return everything.layers(slice(stack.layers.start, stack.layers.stop))

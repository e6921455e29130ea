"""A past cache that runs in first-in first-out, and the present without it: DSCache (2605.01858).

While watching, the newest frames are held, whole, as keys and values that were made knowing the
past; the oldest leave first. A question reads them but for the last few, whose place is taken by
the same frames read afresh after the prefix alone, so that the present owes nothing to the past:
[prefix | past | instant | question], at gapless positions.

Deviations: only a description of arXiv 2605.01858 and of the released logs was known.
- The logs are labelled 16-4 (LLaVA-OneVision-7B) and 4-12 (Qwen2.5-VL-7B), past and instant frames.
  Here kv_size bounds both together and `instant_share` splits it; 0.2 is 4 of 16 + 4 frames, and
  0.75 would be 12 of 4 + 12.
- The last frame is read at the resolution of all others (there at a higher one), and the past is
  read without a stride (there an option).
- Past frames were read with the window before them in sight; how it is there is not known.
- As long as no frame has left, a question reads the stream as it is.
- A question reads pictures of frames, not their texts, such as time stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from hermes.memory import StreamMemory
from hermes.policies.last_frames import LastFrames
from hermes.policy_parts.archive.question_memory import QuestionMemory
from hermes.policy_parts.frames import frame_tail
from hermes.policy_parts.options import check_flag, check_share
from hermes.policy_parts.reprefill_base import ReencodingPolicy, ReprefillPolicy
from hermes.policy_parts.whole_frames import WholeFrames
from hermes.positions import PositionRule


@dataclass(frozen=True)
class DSCacheOptions:
    """How the budget is split."""

    instant_share: float = 0.2
    """Share of kv_size for the frames that are read afresh; at least one is."""
    cache_features: bool = True
    """As for re-prefill baselines: False encodes these frames anew for every question."""

    def __post_init__(self) -> None:
        check_share("instant_share", self.instant_share)
        check_flag("cache_features", self.cache_features)


class _Instant(LastFrames):
    """The last frames, as many as the share holds."""

    Options = DSCacheOptions

    def num_steps(self, tokens_per_step: int, frames_per_step: int) -> int:
        """At least one if kv_size holds one."""
        whole, share = self.config.kv_size, self.options.instant_share
        return max(min(1, whole // tokens_per_step), int(share * whole) // tokens_per_step)


class DSCache(ReencodingPolicy, WholeFrames):
    """The past as it was seen, the present as if there were none."""

    needs_equal_frames: ClassVar[bool] = True
    Options = DSCacheOptions

    def reset(self) -> None:
        """The memory of a question is made when the first one comes."""
        self._question = QuestionMemory()

    def state(self) -> dict[str, object]:
        """Nothing: what a question reads is made for it alone."""
        return {}

    def afresh(self) -> ReprefillPolicy:
        """The last frames."""
        return _Instant(self.config, self.layout)

    def reencodes(self, memory: StreamMemory) -> bool:
        """Once a frame has left."""
        frames = memory.ledger.frames
        return bool(frames) and frames[0].number > 0

    def joined(self, memory: StreamMemory, fresh: StreamMemory, rule: PositionRule) -> StreamMemory:
        """Past frames of the memory, then the pictures of the fresh ones."""
        tail, instant = frame_tail(memory), frame_tail(fresh)
        length = tail.tokens_per_frame
        num_past = sum(number < instant.numbers[0] for number in tail.numbers) * length
        parts = (
            (memory, tail.first_picture(memory), num_past),
            (fresh, instant.first_picture(fresh), len(instant.numbers) * length),
        )
        total = num_past + len(instant.numbers) * length
        active = self._question.open(memory, rule, length, total, total // length)
        for layer in range(memory.num_layers):
            self._fill(layer, parts)
        return active

    def _fill(self, layer: int, parts: Sequence[tuple[StreamMemory, int, int]]) -> None:
        """Tokens of one layer: of each memory so many visual tokens, from a first one on."""
        origins, start = [], 0
        for source, first, count in parts:
            stack, index = source.place_of(layer)
            rows = slice(stack.num_prefix + first, stack.num_prefix + first + count)
            keys, values = self._question.slots(layer, start, start + count)
            keys.copy_(stack[index].keys[:, rows])
            values.copy_(stack[index].values[:, rows])
            origins.append(
                torch.stack((stack.origin.frame[index, rows], stack.origin.patch[index, rows]))
            )
            start += count
        self._question.place(layer, *torch.cat(origins, dim=1))

    @property
    def device_bytes(self) -> int:
        """The question's memory."""
        return self._question.num_bytes

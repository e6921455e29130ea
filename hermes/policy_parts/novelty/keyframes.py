"""Whole frames after which the picture changed.

Shapes: m candidate frames, n places, t tokens per frame, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policy_parts.frames import FrameTail


def frame_similarity(memory: StreamMemory, tail: FrameTail, numbers: Tensor) -> Tensor:
    """(m, m) mean cosine of the layer-0 values of the frames with these (m,) numbers, given on the
    device of layer 0, where they are whole.

    Layer-0 values depend on the picture alone, not on what was seen before.
    """
    stack, length = memory.stacks[0], tail.tokens_per_frame
    start = stack.num_prefix + tail.num_text
    frames = stack.origin.frame[0, start : stack.num_tokens]  # ascending
    first = start + torch.searchsorted(frames, numbers)
    rows = (first[:, None] + torch.arange(length, device=stack.device)).flatten()
    values = stack.values[0, :, rows].unflatten(1, (len(numbers), length))
    return mean_cosines(values.transpose(0, 1).flatten(1, 2))


def mean_cosines(states: Tensor) -> Tensor:
    """(m, m) fp32 mean cosine of (m, n, d) states at the same of the n places."""
    flat = normalize(states.float(), dim=-1).flatten(1)
    return flat @ flat.T / states.shape[1]


def choose_keyframes(
    numbers: Sequence[int],
    similarity: Sequence[Sequence[float]],
    limit: int,
    fading: float,
    *,
    times: Sequence[float] | None = None,
    penalties: Sequence[float] | None = None,
    fixed: Collection[int] = (),
) -> list[int]:
    """Thin frames to `limit`: always drop the one after which the picture changes least.

    A change fades with its age by 1 / e per `fading` frames, or seconds where `times` are given.
    What stays is the last sight of a scene, closest in time to what came after it.

    Args:
        numbers: m - 1 ascending frame numbers and then that of the frame after them, which is only
            compared with.
        similarity: (m, m), see `frame_similarity`.
        times: of the m frames, in seconds.
        penalties: of each of the m frames; taken from the change after it.
        fixed: places among the m frames that stay whatever changes after them, and count.
    """
    kept = list(range(len(numbers)))
    when = numbers if times is None else times

    def change(place: int) -> float:
        here, after = kept[place], kept[place + 1]
        changed = 1 - similarity[here][after] - (penalties[here] if penalties else 0)
        return max(0.0, changed) * math.exp((when[here] - when[-1]) / fading)

    while len(kept) > limit + 1:
        free = [place for place in range(len(kept) - 1) if kept[place] not in fixed]
        if not free:
            break
        del kept[min(free, key=change)]
    return [numbers[index] for index in kept[:-1]]

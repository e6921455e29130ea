"""Whole frames after which the picture changed.

Shapes: m candidate frames, n places, t tokens per frame, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    fading_frames: float,
) -> list[int]:
    """Thin frames to `limit`: always drop the one after which the picture changes least.

    A change fades with its age by 1 / e per `fading_frames`. What stays is the last sight of a
    scene, closest in time to what came after it.

    Args:
        numbers: m - 1 ascending frame numbers and then that of the frame after them, which is only
            compared with.
        similarity: (m, m), see `frame_similarity`.
    """
    kept = list(range(len(numbers)))

    def change(place: int) -> float:
        here, after = kept[place], kept[place + 1]
        age = numbers[-1] - numbers[here]
        return max(0.0, 1 - similarity[here][after]) * math.exp(-age / fading_frames)

    while len(kept) > limit + 1:
        del kept[min(range(len(kept) - 1), key=change)]
    return [numbers[index] for index in kept[:-1]]

"""What is new: whole frames after which the picture changes, tokens that repeat nothing older.

Shapes: l layers, m candidate frames, n tokens, t tokens per frame, g key heads, d head width.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policy_parts.frames import FrameTail
from hermes.policy_parts.nearest_older import unit_states
from hermes.store.blocks import MOST_NUMBERS


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


def stream_novelty(states: Tensor, most_numbers: int = MOST_NUMBERS) -> Tensor:
    """(l, n) fp32 in [0, 1]: how little a token repeats any older one, wherever in the picture.

    Of a thing that comes back again and again only the first sight is new, so that the best tokens
    cover the most different things (compare max-min diversity, DivPrune, arXiv 2503.02175).

    Args:
        states: (l, g, n, d) keys or values in time order.
        most_numbers: bound on the similarities that exist at a time.

    Returns:
        1 - largest mean cosine over heads with a token before it; 1 for the first token.
    """
    layers, _, tokens, _ = states.shape
    unit = unit_states(states, torch.float32)
    result = torch.ones(layers, tokens, device=unit.device)
    block = max(1, most_numbers // max(1, layers * tokens))
    for start in range(0, tokens, block):
        likeness = unit[:, start : start + block] @ unit[:, : start + block].transpose(1, 2)
        older = torch.ones_like(likeness[0], dtype=torch.bool).tril(start - 1)
        nearest = likeness.masked_fill(~older, 0).amax(dim=2)
        result[:, start : start + block] = (1 - nearest).clamp(0, 1)
    return result

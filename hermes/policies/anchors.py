"""What is new: whole frames that differ from the frames before them, tokens that repeat no other.

Shapes: m candidate frames, t tokens per frame, g key heads, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from hermes.memory import StreamMemory
from hermes.policies.frames import FrameTail


def frame_similarity(
    memory: StreamMemory, tail: FrameTail, numbers: list[int]
) -> list[list[float]]:
    """(m, m) mean cosine of the layer-0 values of frames that are whole in layer 0.

    Layer-0 values depend on the picture alone, not on what was seen before. Waits for the device.
    """
    starts, length = {}, tail.tokens_per_frame
    slot = memory.num_prefix
    for number, count in zip(tail.numbers, tail.counts, strict=True):
        starts[number] = slot
        slot += count
    first = torch.tensor([starts[number] for number in numbers])
    rows = (first[:, None] + torch.arange(length)).flatten().to(memory.layers[0].device)
    values = memory.layers[0].values[:, rows].float()
    features = normalize(values, dim=-1).unflatten(1, (len(numbers), length))
    flat = features.transpose(0, 1).flatten(1)
    return (flat @ flat.T / (length * values.shape[0])).tolist()


def choose_anchors(
    numbers: list[int], similarity: list[list[float]], limit: int, spread: float
) -> list[int]:
    """Thin ascending frame numbers to `limit`: always drop the one that adds least.

    What a frame adds is its difference from the anchor before it, plus `spread` times the share of
    the time that its two neighbours would leave uncovered. The first frame stays.
    """
    kept = list(range(len(numbers)))
    span = max(1, numbers[-1] - numbers[0]) if numbers else 1

    def adds(place: int) -> float:
        before, here = kept[place - 1], kept[place]
        after = kept[min(place + 1, len(kept) - 1)]
        return 1 - similarity[before][here] + spread * (numbers[after] - numbers[before]) / span

    while len(kept) > max(limit, 1):
        del kept[min(range(1, len(kept)), key=adds)]
    return [numbers[index] for index in kept[:limit]]


def novelty(states: Tensor, patch: Tensor) -> Tensor:
    """(n,) fp32 in [0, 1]: how little a token repeats the one before it at the same patch.

    Args:
        states: (g, n, d) keys or values in time order.
        patch: (n,) int64.

    Returns:
        1 - mean cosine over heads; 1 for the first token of a patch.
    """
    order = patch.argsort(stable=True)
    unit = normalize(states[:, order].float(), dim=-1)
    cosine = (unit[:, 1:] * unit[:, :-1]).sum(dim=-1).mean(dim=0)
    same = patch[order][1:] == patch[order][:-1]
    result = torch.ones(patch.numel(), device=states.device)
    result[order[1:]] = torch.where(same, 1 - cosine, 1).clamp(0, 1)
    return result


def stream_novelty(states: Tensor, block: int = 1024) -> Tensor:
    """(n,) fp32 in [0, 1]: how little a token repeats any older one, wherever in the picture.

    Of a thing that comes back again and again only the first sight is new, so that the best tokens
    cover the most different things (compare max-min diversity, DivPrune, arXiv 2503.02175).

    Args:
        states: (g, n, d) keys or values in time order.
        block: rows compared at once; bounds the working memory to block * n numbers.

    Returns:
        1 - largest mean cosine over heads with a token before it; 1 for the first token.
    """
    unit = normalize(states.float(), dim=-1).transpose(0, 1).flatten(1) / states.shape[0] ** 0.5
    result = torch.ones(len(unit), device=unit.device)
    for start in range(0, len(unit), block):
        likeness = unit[start : start + block] @ unit[: start + block].T
        older = torch.ones_like(likeness, dtype=torch.bool).tril(start - 1)
        nearest = likeness.masked_fill(~older, 0).amax(dim=1)
        result[start : start + block] = (1 - nearest).clamp(0, 1)
    return result

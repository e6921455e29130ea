"""Top-k with a floor per slice of time, so that what is kept cannot collapse into one moment.

Shapes: n tokens. No host synchronisation.
"""

from __future__ import annotations

import torch
from torch import Tensor


def time_slices(seconds: Tensor, num_slices: int) -> Tensor:
    """(n,) int64 number of the slice of each token; slices are equal spans of (n,) seconds."""
    first, last = torch.aminmax(seconds)
    share = (seconds - first) / (last - first).clamp(min=torch.finfo(seconds.dtype).tiny)
    return (share * num_slices).long().clamp(max=num_slices - 1)


def ranks_within(slices: Tensor, scores: Tensor, num_slices: int) -> Tensor:
    """(n,) int64: how many tokens of the same slice come first, by score and then by age."""
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score[slices[by_score].argsort(stable=True)]
    sizes = torch.zeros(num_slices, dtype=torch.int64, device=slices.device)
    sizes.scatter_add_(0, slices, torch.ones_like(slices))
    starts = sizes.cumsum(0) - sizes
    ranks = torch.empty_like(slices)
    ranks[order] = torch.arange(slices.numel(), device=slices.device) - starts[slices[order]]
    return ranks


def top_with_floors(
    scores: Tensor, slices: Tensor, num_slices: int, floor_share: float, budget: int
) -> Tensor:
    """Ascending indices of min(budget, n) tokens.

    Every slice first gets its floor, an equal part of `floor_share * budget`, filled by its own
    best tokens; the rest goes to the best tokens anywhere. A slice with fewer tokens than its floor
    leaves the rest to the others.

    Args:
        scores: (n,) finite.
        slices: (n,) int64 in [0, num_slices).
    """
    budget = min(budget, scores.numel())
    floor = int(floor_share * budget / num_slices)
    secured = ranks_within(slices, scores, num_slices) < floor
    return top_after(scores, secured, budget)


def top_after(scores: Tensor, secured: Tensor, budget: int) -> Tensor:
    """Ascending indices of `budget` of n tokens: the (n,) bool `secured` first, then by score."""
    places = torch.empty_like(scores)
    order = scores.argsort(stable=True)
    places[order] = torch.arange(scores.numel(), dtype=scores.dtype, device=scores.device)
    preferred = places + secured * scores.numel()  # whole numbers: scores of any size keep order
    return preferred.topk(budget, sorted=False).indices.sort()[0]


def scaled_ranks(scores: Tensor) -> Tensor:
    """(n,) fp32 from 0 (lowest) to 1 (highest): attention on a scale that sinks cannot bend."""
    ranks = torch.empty_like(scores)
    order = scores.argsort(stable=True)
    ranks[order] = torch.linspace(0, 1, scores.numel(), device=scores.device)
    return ranks

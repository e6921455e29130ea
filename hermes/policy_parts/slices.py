"""Top-k with a floor per slice of time, so that what is kept cannot collapse into one moment.

Shapes: l layers, n tokens. No host synchronisation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.policy_parts.selection import top_after


def time_slices(seconds: Tensor, num_slices: int) -> Tensor:
    """(l, n) int64 number of the slice of each token; slices are equal spans of a layer's (l, n)
    seconds."""
    first, last = torch.aminmax(seconds, dim=-1, keepdim=True)
    share = (seconds - first) / (last - first).clamp(min=torch.finfo(seconds.dtype).tiny)
    return (share * num_slices).long().clamp(max=num_slices - 1)


def ranks_within(slices: Tensor, scores: Tensor, num_slices: int) -> Tensor:
    """(l, n) int64: how many tokens of the same slice come first, by score and then by age."""
    by_score = scores.argsort(descending=True, stable=True)
    order = by_score.gather(1, slices.gather(1, by_score).argsort(stable=True))
    sizes = torch.zeros(len(slices), num_slices, dtype=torch.int64, device=slices.device)
    sizes.scatter_add_(1, slices, torch.ones_like(slices))
    starts = sizes.cumsum(1) - sizes
    places = torch.arange(slices.shape[1], device=slices.device)
    ranks = places - starts.gather(1, slices.gather(1, order))
    return torch.empty_like(slices).scatter_(1, order, ranks)


def top_with_floors(
    scores: Tensor,
    slices: Tensor,
    num_slices: int,
    floor_share: float,
    budget: int,
    folding: slice | None = None,
) -> Tensor:
    """(l, k) ascending indices of k = min(budget, n) tokens, as `selection.top_rows`.

    Every slice first gets its floor, an equal part of `floor_share * budget`, filled by its own
    best tokens; the rest goes to the best tokens anywhere. A slice with fewer tokens than its floor
    leaves the rest to the others.

    Args:
        scores: (l, n) finite.
        slices: (l, n) int64 in [0, num_slices).
    """
    total = scores.shape[1]
    floors = slices.new_full((len(scores), 1), _floor(floor_share, min(budget, total), num_slices))
    if folding is not None:
        floors[folding] = _floor(floor_share, min(budget - 1, total), num_slices)
    secured = ranks_within(slices, scores, num_slices) < floors
    return top_after(scores, secured, budget, folding)


def _floor(share: float, budget: int, num_slices: int) -> int:
    return int(share * budget / num_slices)

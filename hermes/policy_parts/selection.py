"""The best tokens of every layer, at once.

Shapes: l layers, n tokens, k kept tokens. No host synchronisation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.store.layer_stack import LayerStack


def top_rows(scores: Tensor, count: int, folding: slice | None = None) -> Tensor:
    """(l, k) ascending indices of the `count` largest of (l, n) scores of each layer.

    Layers in `folding` keep one less; their last index only repeats the one before it and holds
    the slot of the summary (`StreamMemory.keep`).
    """
    best = scores.topk(min(count, scores.shape[1])).indices
    return ascending(best, scores.shape[1], folding)


def ascending(best: Tensor, num_tokens: int, folding: slice | None = None) -> Tensor:
    """(l, k) rows, the best first, as `top_rows` returns them; `best` is written to."""
    if folding is not None:
        best[folding, -1] = num_tokens  # behind all others
    best = best.sort().values
    if folding is not None:
        best[folding, -1] = best[folding, -2] if best.shape[1] > 1 else 0
    return best


def top_after(scores: Tensor, secured: Tensor, count: int, folding: slice | None = None) -> Tensor:
    """`top_rows`, the (l, n) bool `secured` first, then by score."""
    places = torch.empty_like(scores)
    order = scores.argsort(stable=True)
    ranks = torch.arange(scores.shape[1], dtype=scores.dtype, device=scores.device)
    places.scatter_(1, order, ranks.expand_as(scores))
    preferred = places + secured * scores.shape[1]  # whole numbers: scores of any size keep order
    return top_rows(preferred, count, folding)


def pictures_only(scores: Tensor, is_text: Tensor) -> Tensor:
    """(l, n) scores in which text of frames comes last: it follows its frame, whatever its own."""
    return scores.masked_fill(is_text, -torch.inf)


def scaled_ranks(scores: Tensor) -> Tensor:
    """(l, n) fp32 from 0 (lowest) to 1 (highest): attention on a scale that sinks cannot bend."""
    order = scores.argsort(stable=True)
    ranks = torch.linspace(0, 1, scores.shape[1], device=scores.device)
    return torch.empty_like(scores).scatter_(1, order, ranks.expand_as(scores))


def newest_rows(stack: LayerStack, count: int) -> Tensor:
    """(l, k) indices of the newest `count` visual tokens, ascending."""
    total = stack.num_visual
    return torch.arange(max(0, total - count), total, device=stack.device).expand(len(stack), -1)

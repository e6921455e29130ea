"""Importance of visual tokens: recency, guidance attention, and the blend of both.

Shapes: h query heads, g key heads (h is a multiple of g), q query tokens, n cached tokens,
d head width. All scores are fp32 whatever the model's dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor


def recency(num_tokens: int, decay: float | Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Forgetting curve exp(-k * age), age scaled to [0, 1] over the cached visual tokens.

    Paper Eq. 1 with the released scaling (the paper leaves the unit of age open).

    Args:
        num_tokens: n, visual tokens in cache order, oldest first.
        decay: k, or (l, 1) of them.

    Returns:
        (n,) or (l, n) fp32; the newest token has 1.
    """
    newest = num_tokens - 1
    age = torch.arange(newest, -1, -1, device=device, dtype=torch.float32) / max(newest, 1)
    return torch.exp(-decay * age)


def min_max(scores: Tensor, epsilon: float) -> Tensor:
    """Scale (..., n) scores to [0, 1); `epsilon` is added to the range (released: 1e-6)."""
    low, high = torch.aminmax(scores, dim=-1, keepdim=True)
    return (scores - low) / (high - low + epsilon)


def blend(
    attention: Tensor | None, recency_weight: Tensor, recency_scores: Tensor, epsilon: float
) -> Tensor:
    """Score (1 - w) * A + w * R of min-max normalised attention and recency (paper Eq. 3).

    With w = 1 this is the sensory score (Eq. 1), whatever the attention; with w = 0 the long-term
    score (Eq. 2).

    Args:
        attention: (l, n); None where w = 1 in all layers.
        recency_weight: (l, 1) fp64 w per layer.
        recency_scores: (l, n).

    Returns:
        (l, n) fp32.
    """
    recent = min_max(recency_scores, epsilon)
    if attention is None:
        return recent
    attended = min_max(attention.float(), epsilon)
    blended = (1 - recency_weight).float() * attended + recency_weight.float() * recent
    return torch.where(recency_weight == 1, recent, blended)


def mean_attention(
    queries: Tensor, keys: Tensor, scaling: float, columns: slice, *, causal: bool
) -> Tensor:
    """Attention that the cached tokens of `columns` receive, mean over heads and queries (Eq. 2).

    Softmax runs over all keys, the queries' own included; logits and softmax in fp32.

    Args:
        queries: (h, q, d) rotated.
        keys: (g, n, d) rotated; the last q of them belong to the queries.
        scaling: usually d ** -0.5.
        columns: the keys of interest.
        causal: mask the queries' own keys to the lower right; False as in the released scorer.

    Returns:
        (columns,) fp32.
    """
    (num_heads, num_queries, width), (num_groups, num_keys, _) = queries.shape, keys.shape
    grouped = queries.float().reshape(num_groups, -1, width)
    logits = grouped @ keys.float().transpose(1, 2)
    logits = logits.mul_(scaling).view(num_heads, num_queries, num_keys)
    if causal:
        own = logits[:, :, num_keys - num_queries :]
        future = torch.ones(num_queries, num_queries, dtype=torch.bool, device=own.device)
        own.masked_fill_(future.triu_(1), -torch.inf)
    return logits.softmax(dim=-1)[:, :, columns].mean(dim=(0, 1))

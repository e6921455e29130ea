"""Importance of visual tokens: recency, guidance attention, and the blend of both.

Shapes: l layers, n cached tokens. All scores are fp32 whatever the model's dtype.
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
        attention: (l, n) finite; None where w = 1 in all layers.
        recency_weight: (l, 1) fp64 w per layer.
        recency_scores: (l, n).

    Returns:
        (l, n) fp32.
    """
    recent = weighted_recency(recency_weight, recency_scores, epsilon)
    return with_attention(recent, (1 - recency_weight).float(), attention, epsilon)


def weighted_recency(weight: Tensor, scores: Tensor, epsilon: float) -> Tensor:
    """(l, n) w * R of Eq. 3: min-max normalised (l, n) recency, (l, 1) fp64 w per layer."""
    return weight.float() * min_max(scores, epsilon)


def with_attention(
    recent: Tensor, weight: Tensor, attention: Tensor | None, epsilon: float
) -> Tensor:
    """(l, n) `weighted_recency` and the other part of Eq. 3; `weight` is (l, 1) fp32 1 - w."""
    if attention is None:
        return recent
    return torch.addcmul(recent, weight, min_max(attention.float(), epsilon))

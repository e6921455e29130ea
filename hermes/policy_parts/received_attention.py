"""Attention that cached tokens receive from tokens being read.

Shapes: h query heads, g key heads, q new tokens, n tokens up to and with the new ones, d head
width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK_QUERIES = 64
"""Queries whose attention map exists at a time."""


def received_attention(queries: Tensor, keys: Tensor, scaling: float, max_queries: int) -> Tensor:
    """Mean attention over heads and over those queries that can see the token.

    Dividing by how many can see it keeps the newest tokens from being underrated.

    Args:
        queries: (h, q, d) rotated.
        keys: (g, n, d) rotated; the last q belong to the queries, which see up to themselves.
        max_queries: evenly spaced queries that are looked at, the last one always.

    Returns:
        (n,) fp32.
    """
    num_new, num_keys = queries.shape[1], keys.shape[1]
    count = min(max_queries, num_new)
    picked = num_new - 1 - torch.arange(count, device=keys.device) * num_new // count
    total = torch.zeros(num_keys, dtype=torch.float32, device=keys.device)
    seen_by = torch.zeros_like(total)
    columns, wide = torch.arange(num_keys, device=keys.device), keys.float()
    for rows in picked.split(_BLOCK_QUERIES):
        hidden = columns > (num_keys - num_new + rows)[:, None]
        total += _mean_over_heads(queries[:, rows].float(), wide, scaling, hidden).sum(dim=0)
        seen_by += (~hidden).sum(dim=0)
    return total / seen_by


def _mean_over_heads(queries: Tensor, keys: Tensor, scaling: float, hidden: Tensor) -> Tensor:
    num_heads, num_rows, width = queries.shape
    grouped = queries.reshape(keys.shape[0], -1, width)
    logits = (grouped @ keys.transpose(1, 2)).mul_(scaling).view(num_heads, num_rows, -1)
    return logits.masked_fill_(hidden, -torch.inf).softmax(dim=-1).mean(dim=0)

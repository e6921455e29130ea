"""Attention that cached tokens receive from tokens being read.

Shapes: h query heads, g key heads, q new tokens, n tokens up to and with the new ones, d head
width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.scores.attention import attention_weights
from hermes.store import blocks


def received_attention(queries: Tensor, keys: Tensor, scaling: float, max_queries: int) -> Tensor:
    """Mean attention over heads and over those queries that can see the token.

    Dividing by how many can see it keeps the newest tokens from being underrated.

    Args:
        queries: (h, q, d) rotated.
        keys: (g, n, d) rotated; the last q belong to the queries, which see up to themselves.
        max_queries: queries of each head that are looked at, evenly spaced and not the same in
            every head; the last one always.

    Returns:
        (n,) fp32.
    """
    (heads, num_new, _), num_keys = queries.shape, keys.shape[1]
    count, cached = min(max_queries, num_new), num_keys - num_new
    picked = _spread(heads, count, num_new, keys.device)
    later = torch.arange(num_new, device=keys.device) > picked[..., None]
    asking = queries.gather(1, picked[..., None].expand(-1, -1, queries.shape[2]))[None]
    parts = keys[None, :, :cached], keys[None, :, cached:]
    total = torch.zeros(num_keys, dtype=torch.float32, device=keys.device)
    for rows in blocks.layer_blocks(count, heads * num_keys):
        weights = attention_weights(asking[:, :, rows], *parts, scaling, later[:, rows])
        total += weights.sum(dim=(0, 1, 2))
    total[:cached] /= heads * count
    total[cached:] /= (~later).sum(dim=(0, 1))
    return total


def _spread(heads: int, count: int, num_new: int, device: torch.device) -> Tensor:
    """(h, count) evenly spaced queries; those of other heads lie between those of one, so that
    together they look from everywhere. The last query is one of the first head's."""
    places = (
        torch.arange(count, device=device) * heads + torch.arange(heads, device=device)[:, None]
    )
    return num_new - 1 - places * num_new // (heads * count)

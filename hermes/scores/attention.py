"""Attention that cached tokens receive from a few queries, fp32 whatever the model's dtype.

Of keys in half precision no copy in fp32 is larger than a block of layers; on a GPU there is none.

Shapes: l layers, h query heads, g key heads (h is a multiple of g), q query tokens, m tokens that
are not in the cache yet (their own among them), n cached tokens, d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hermes.store import blocks
from hermes.store.quantised_states import States


def mean_attention(
    queries: Tensor, keys: Tensor, scaling: float, columns: slice, *, causal: bool
) -> Tensor:
    """Attention that the cached tokens of `columns` receive, mean over heads and queries (Eq. 2).

    Softmax runs over all keys, the queries' own included; logits and softmax in fp32.

    Args:
        queries: (h, q, d) rotated.
        keys: (g, n + q, d) rotated; the last q of them belong to the queries.
        scaling: usually d ** -0.5.
        columns: the keys of interest.
        causal: mask the queries' own keys to the lower right; False as in the released scorer.

    Returns:
        (columns,) fp32.
    """
    cached = keys.shape[1] - queries.shape[1]
    hidden = later_ones(queries.shape[1], queries.device) if causal else None
    result = queries.new_empty(1, keys[0, columns].shape[0], dtype=torch.float32)
    parts = queries[None], keys[None, :, :cached], keys[None, :, cached:]
    attend(*parts, scaling, columns, result, hidden)
    return result[0]


def attend(
    queries: Tensor,
    keys: States,
    own: Tensor,
    scaling: float,
    columns: slice,
    result: Tensor,
    hidden: Tensor | None = None,
) -> None:
    """`mean_attention` of several layers, four operators per block of layers in fp32.

    Args:
        queries: (l, h, q, d) rotated, perhaps fp32 where keys are not.
        keys: (l, g, n, d) rotated; a view of the cache, read block by block.
        own: (l, g, m, d) rotated, not in the cache.
        columns: of the n + m keys.
        result: (l, columns) fp32, is written to.
        hidden: (q, m) bool, True where a query may not look; None for nowhere.
    """
    num_layers, heads, count, _ = queries.shape
    row = heads * (keys.shape[2] + own.shape[2])
    rows = max(1, min(count, blocks.MOST_NUMBERS // row))
    for layers in blocks.layer_blocks(num_layers, row * rows):
        part, into = (queries[layers], keys[layers], own[layers]), result[layers]
        if rows == count:
            weights = attention_weights(*part, scaling, hidden)
            torch.mean(weights[..., columns], dim=(1, 2), out=into)
            continue
        into.zero_()
        for first in range(0, count, rows):
            some = slice(first, first + rows)
            seen = None if hidden is None else hidden[some]
            weights = attention_weights(part[0][:, :, some], *part[1:], scaling, seen)
            into += weights[..., columns].sum(dim=(1, 2))
        into /= heads * count


def attention_weights(
    queries: Tensor, keys: Tensor, own: Tensor, scaling: float, hidden: Tensor | None
) -> Tensor:
    """(l, h, q, n + m) fp32 softmax; arguments as in `attend`."""
    num_layers, heads, count, width = queries.shape
    groups, cached, new = keys.shape[1], keys.shape[2], own.shape[2]
    rows = queries.float().reshape(num_layers * groups, -1, width)
    if adds_halves(keys):
        rows = (rows * scaling).to(keys.dtype)
    logits = rows.new_empty(*rows.shape[:2], cached + new, dtype=torch.float32)
    _product(rows, keys.flatten(0, 1), scaling, logits[..., :cached])
    _product(rows, own.flatten(0, 1).to(keys.dtype), scaling, logits[..., cached:])
    logits = logits.view(num_layers, heads, count, cached + new)
    if hidden is not None:
        logits[..., cached:].masked_fill_(hidden, -torch.inf)
    return logits.softmax(dim=-1)


def later_ones(count: int, device: torch.device) -> Tensor:
    """(q, q) bool, True where a token comes after the one that asks."""
    return torch.ones(count, count, dtype=torch.bool, device=device).triu_(1)


def _product(rows: Tensor, keys: Tensor, scaling: float, out: Tensor) -> None:
    """Scaled logits of (b, q, d) and (b, n, d) into (b, q, n) fp32; halves are scaled already."""
    if adds_halves(keys):
        torch.bmm(rows, keys.mT, out_dtype=torch.float32, out=out)
    else:
        out.baddbmm_(rows, keys.float().mT, beta=0, alpha=scaling)


def adds_halves(states: Tensor) -> bool:
    """Whether the device multiplies half precision and adds up in fp32 (meta stands for one)."""
    return states.device.type in ("cuda", "meta") and states.dtype != torch.float32

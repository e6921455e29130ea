"""The summary token: what a long-term layer evicts is folded into one token (paper section 3.4).

Shapes: m layers that fold, g key heads, n visual tokens, k kept tokens, d head width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hermes.store.blocks import layer_blocks
from hermes.store.quantised_states import States


class Summary(NamedTuple):
    """Per folding layer one token that stands for many evicted ones."""

    layers: slice
    """The m layers, by their index in the stack."""
    keys: Tensor
    """(m, g, d) un-rotated."""
    values: Tensor
    """(m, g, d)."""
    weights: Tensor
    """(m,) fp32: tokens folded in, directly or through earlier summaries."""
    seconds: Tensor
    """(m,) fp64: mean time of what was folded."""


def fold(
    layers: slice,
    keys: States,
    values: States,
    seconds: Tensor,
    weights: Tensor,
    kept: Tensor,
    *,
    weighted: bool,
    has_text: bool = True,
) -> Summary:
    """Mean key and mean value of the tokens that are not kept.

    The paper rotates every evicted key to the summary's position and averages. On un-rotated keys
    this is the plain mean, rotated once at the summary's position; the two are equal because
    rotation is linear.

    Deviation: as released, an earlier summary counts as one token (`weighted=False`). With
    `weighted=True` it counts as many tokens as it stands for.

    Args:
        layers: recorded in the result.
        keys, values: (m, g, n, d), keys un-rotated.
        seconds, weights: (m, n) time and multiplicity of each token.
        kept: (m, k) indices in [0, n) that stay; the others, at least one per
            layer, are folded, those of weight 0 (text of frames) only if there are no others.
        has_text: whether there may be such; known to be False, it spares looking.
    """
    gone = torch.ones_like(weights).scatter_(1, kept, 0)
    share = weights * gone
    if has_text:
        share = torch.where(share.sum(dim=1, keepdim=True) > 0, share, gone)  # if all of it is text
    totals = share.sum(dim=1)
    if weighted:
        share = share / totals[:, None]
    elif has_text:
        share = (share > 0).to(share.dtype)
        share = share / share.sum(dim=1, keepdim=True)
    else:
        share = gone / (gone.shape[1] - kept.shape[1])
    moments = (seconds * share).sum(dim=1)  # fp64
    rows = share[:, None].expand(-1, keys.shape[1], -1).contiguous().view(-1, 1, share.shape[1])
    return Summary(layers, _means(keys, rows), _means(values, rows), totals, moments)


def _means(states: States, rows: Tensor) -> Tensor:
    """(m, g, n, d) weighted by (m * g, 1, n) -> (m, g, d)."""
    layers, heads, tokens, width = states.shape
    means = [
        torch.bmm(rows[part.start * heads : part.stop * heads], states[part].float().flatten(0, 1))
        for part in layer_blocks(layers, heads * tokens * width)
    ]
    whole = means[0] if len(means) == 1 else torch.cat(means)
    return whole.view(layers, heads, width).to(states.dtype)

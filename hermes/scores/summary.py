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
    """
    gone = torch.ones_like(weights).scatter(1, kept, 0)
    share = weights * gone
    share = torch.where(share.sum(dim=1, keepdim=True) > 0, share, gone)  # if all of it is text
    totals = share.sum(dim=1)
    if not weighted:
        share = (share > 0).to(share.dtype)
    share = share / share.sum(dim=1, keepdim=True)
    moments = (seconds * share.double()).sum(dim=1)
    return Summary(layers, _means(keys, share), _means(values, share), totals, moments)


def _means(states: States, share: Tensor) -> Tensor:
    """(m, g, n, d) weighted by (m, n) -> (m, g, d)."""
    _, heads, tokens, width = states.shape
    means = [
        share[layers, None, None] @ states[layers].float()
        for layers in layer_blocks(len(share), heads * tokens * width)
    ]
    return torch.cat(means).squeeze(2).to(states.dtype)

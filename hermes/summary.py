"""The summary token: what a long-term layer evicts is folded into one token (paper section 3.4).

Shapes: g key heads, n visual tokens, d head width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Summary(NamedTuple):
    """One token that stands for many evicted ones, on the layer's device."""

    key: Tensor
    """(g, 1, d) un-rotated."""
    value: Tensor
    """(g, 1, d)."""
    weight: Tensor
    """() fp32: tokens folded in, directly or through earlier summaries."""
    seconds: Tensor
    """() fp64: mean time of what was folded."""


def fold(
    keys: Tensor, values: Tensor, seconds: Tensor, weights: Tensor, kept: Tensor, *, weighted: bool
) -> Summary:
    """Mean key and mean value of the tokens that are not kept.

    The paper rotates every evicted key to the summary's position and averages. On un-rotated keys
    this is the plain mean, rotated once at the summary's position; the two are equal because
    rotation is linear.

    Deviation: as released, an earlier summary counts as one token (`weighted=False`). With
    `weighted=True` it counts as many tokens as it stands for.

    Args:
        keys, values: (g, n, d), keys un-rotated.
        seconds, weights: (n,) time and multiplicity of each token.
        kept: indices in [0, n) that stay; the others, at least one, are folded.
    """
    share = weights.clone()
    share[kept] = 0
    total = share.sum()
    if not weighted:
        share = (share > 0).to(share)
    share = share / share.sum()
    return Summary(
        _weighted_mean(keys, share), _weighted_mean(values, share), total, seconds @ share.double()
    )


def _weighted_mean(states: Tensor, share: Tensor) -> Tensor:
    mean = share @ states.float()  # (n,) @ (g, n, d) -> (g, d): no copy of the evicted rows
    return mean.unsqueeze(1).to(states.dtype)

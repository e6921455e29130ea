"""Cross-layer smoothing: what a deeper layer finds important also counts one layer below.

Shapes: l layers, n tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def smoothing_matrix(weights: Sequence[float]) -> Tensor:
    """(l, l) fp32: how much of each layer's own score (columns) a smoothed one (rows) holds.

    S_l <- (1 - lambda_l) * S_l + lambda_l * S_{l+1}, from the deepest layer down (paper Eq. 5).

    Deviation: like the release, and unlike Eq. 5 read literally, the deeper score is the already
    smoothed one, so importance travels down several layers. The deepest layer stays as it is.

    Args:
        weights: lambda per layer.
    """
    rows = torch.eye(len(weights), dtype=torch.float64)
    for layer in range(len(weights) - 2, -1, -1):
        rows[layer] = (1 - weights[layer]) * rows[layer] + weights[layer] * rows[layer + 1]
    return rows.float()


def aligned(deeper: Tensor, own: Tensor) -> Tensor:
    """(n,) scores of a deeper layer for the tokens of the one above it, newest to newest.

    Only bands of different budgets hold different numbers of tokens. Where the deeper layer has no
    token any more, the `own` score (n,) stands in for it, so that nothing is smoothed.
    """
    missing = len(own) - len(deeper)
    return torch.cat((own[:missing], deeper)) if missing > 0 else deeper[-missing:]


def smooth_across_layers(scores: Tensor, matrix: Tensor, deeper: Tensor | None = None) -> Tensor:
    """Smoothed (l, n) scores of the layers of a stack, all at once.

    Args:
        scores: (l, n).
        matrix: `smoothing_matrix` of these layers, and of one more where a deeper stack follows.
        deeper: (n,) the already smoothed scores of the first layer of that stack.
    """
    if deeper is not None:
        scores = torch.cat((scores, deeper[None]))
    return (matrix @ scores)[: len(scores) - (deeper is not None)]

"""Cross-layer smoothing: what a deeper layer finds important also counts one layer below."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def smooth_across_layers(scores: Sequence[Tensor], weights: Sequence[float]) -> list[Tensor]:
    """S_l <- (1 - lambda_l) * S_l + lambda_l * S_{l+1}, from the deepest layer down (paper Eq. 5).

    Deviation: like the release, and unlike Eq. 5 read literally, the deeper score is the already
    smoothed one, so importance travels down several layers. The deepest layer stays as it is.

    Args:
        scores: one (n_l,) tensor per layer, each on its layer's device.
        weights: lambda per layer.

    Returns:
        New (n_l,) tensors. Where lengths differ the deeper score is linearly interpolated.
    """
    smoothed = list(scores)
    for layer in range(len(scores) - 2, -1, -1):
        own = scores[layer]
        deeper = resample(smoothed[layer + 1].to(own.device), own.numel())
        smoothed[layer] = (1 - weights[layer]) * own + weights[layer] * deeper
    return smoothed


def resample(scores: Tensor, num_tokens: int) -> Tensor:
    """Linear interpolation of (n,) scores to (num_tokens,); the same tensor if n fits."""
    if scores.numel() == num_tokens:
        return scores
    stretched = torch.nn.functional.interpolate(
        scores.view(1, 1, -1), size=num_tokens, mode="linear", align_corners=False
    )
    return stretched.view(-1)

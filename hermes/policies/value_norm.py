"""Norm of the values, averaged over a neighbourhood that shrinks with depth (InfiniPot-V, VaN).

Shapes: l layers, n visual tokens, F frames present in any layer, h and w rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, pad

from hermes.memory import StreamMemory

WINDOWS = ((7, 7, 7), (1, 5, 5), (1, 1, 3), (1, 1, 1))
"""Frames, rows, columns averaged over in each quarter of the layers; the third runs along the
sequence of tokens instead of the row."""


def pooled(memory: StreamMemory, grid: tuple[int, int]) -> Callable[[int], Tensor]:
    """Layer -> (n,) fp32 scores. Waits for the device once, for the set of frames."""
    visual = slice(memory.num_prefix, memory.num_tokens)
    known = memory.provenance.frame[:, visual].unique()

    def scores(layer: int) -> Tensor:
        norms = memory.layers[layer].values[:, visual].float().norm(dim=-1).mean(dim=0)
        window = WINDOWS[len(WINDOWS) * layer // memory.num_layers]
        if window == (1, 1, 3):
            present = torch.ones_like(norms)[None, None, None]
            return masked_mean(norms[None, None, None], present, window).flatten()
        origin = memory.provenance
        frames = torch.searchsorted(known, origin.frame[layer, visual]).to(norms.device)
        cells = frames * (grid[0] * grid[1]) + origin.patch[layer, visual].to(norms.device)
        return _on_grid(norms, cells, (len(known), *grid), window)

    return scores


def _on_grid(
    norms: Tensor, cells: Tensor, shape: tuple[int, int, int], window: tuple[int, int, int]
) -> Tensor:
    volume = norms.new_zeros(shape[0] * shape[1] * shape[2])
    present = volume.clone()
    volume[cells], present[cells] = norms, 1
    mean = masked_mean(volume.view(1, *shape), present.view(1, *shape), window)
    return mean.flatten()[cells]


def masked_mean(volume: Tensor, present: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Mean over a window of a (1, F, h, w) volume, cells that are not `present` left out."""
    if window == (1, 1, 1):
        return volume
    border = [size // 2 for size in reversed(window) for _ in range(2)]
    total = avg_pool3d(pad(volume * present, border), window, stride=1)
    share = avg_pool3d(pad(present, border), window, stride=1)
    return total / share.clamp(min=torch.finfo(share.dtype).tiny)

"""Norm of the values, averaged over a neighbourhood that shrinks with depth (InfiniPot-V, VaN).

Shapes: l layers, n visual tokens, F frames present in any layer, h and w rows and columns.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, pad

from hermes.memory import StreamMemory
from hermes.store.layer_stack import LayerStack

WINDOWS = ((7, 7, 7), (1, 5, 5), (1, 1, 3), (1, 1, 1))
"""Frames, rows, columns averaged over in each quarter of the layers; the third runs along the
sequence of tokens instead of the row."""


def known_frames(memory: StreamMemory) -> Tensor:
    """(F,) ascending numbers of the frames that any layer holds. Waits for the devices."""
    found = [stack.origin.frame[:, stack.visual].unique() for stack in memory.stacks]
    return found[0] if len(found) == 1 else torch.cat([f.to(memory.device) for f in found]).unique()


def pooled_norms(
    stack: LayerStack, known: Tensor, grid: tuple[int, int], num_layers: int
) -> Tensor:
    """(l, n) fp32 scores.

    Args:
        known: `known_frames`.
        grid: rows and columns of a frame.
        num_layers: of the model, whose quarters have different windows.
    """
    visual, quarters = stack.visual, len(WINDOWS)
    blocks = stack.blocks(stack.num_visual)
    norms = torch.cat(
        [stack.values[layers, :, visual].float().norm(dim=-1).mean(dim=1) for layers in blocks]
    )
    turns = torch.searchsorted(known.to(stack.device), stack.origin.frame[:, visual].contiguous())
    cells = turns * (grid[0] * grid[1]) + stack.origin.patch[:, visual]
    nowhere = len(known) * grid[0] * grid[1]
    cells = torch.where(stack.origin.is_text[:, visual], nowhere, cells)
    parts = []
    quarter = [quarters * layer // num_layers for layer in stack.layers]
    for window, run in groupby(range(len(stack)), quarter.__getitem__):
        rows = list(run)
        layers = slice(rows[0], rows[-1] + 1)
        shape = (len(known), *grid)
        parts.append(_pooled(norms[layers], cells[layers], shape, WINDOWS[window]))
    return torch.cat(parts)


def _pooled(
    norms: Tensor, cells: Tensor, shape: tuple[int, int, int], window: tuple[int, int, int]
) -> Tensor:
    if window == (1, 1, 3):  # along the sequence
        line = norms[:, None, None]
        return masked_mean(line, torch.ones_like(line), window).flatten(1)
    count = shape[0] * shape[1] * shape[2]
    volume = norms.new_zeros(len(norms), count + 1)  # the last one for text, which is nowhere
    present = volume.scatter(1, cells, 1)[:, :count]
    volume.scatter_(1, cells, norms)
    mean = masked_mean(volume[:, :count].view(-1, *shape), present.view(-1, *shape), window)
    return mean.flatten(1).gather(1, cells.clamp(max=count - 1))


def masked_mean(volume: Tensor, present: Tensor, window: tuple[int, int, int]) -> Tensor:
    """Mean over a window of (l, F, h, w) volumes, cells that are not `present` left out."""
    if window == (1, 1, 1):
        return volume
    border = [size // 2 for size in reversed(window) for _ in range(2)]
    total = avg_pool3d(pad(volume * present, border), window, stride=1)
    share = avg_pool3d(pad(present, border), window, stride=1)
    return total / share.clamp(min=torch.finfo(share.dtype).tiny)

"""Vision tower of the Qwen-VL families without waiting for the device: it is told what it would
work out, here for Qwen2.5-VL, and its patch convolution becomes a matrix product.

Shapes: p patches, w windows of attention, q merged tokens, e embedding width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import vision_utils

Grid = tuple[int, int, int]
"""Time, height and width in patches."""

_NUM_LAYOUTS = 8
"""Whole chunks, the short ones before questions, and a change of frame size now and then."""


Layout = dict[str, Tensor]
"""What a tower needs to know about a grid, under the names by which it asks for it."""


def windowed(visual: Any, grid: Grid, device: torch.device) -> Layout:
    """Layout of p patches in w windows for Qwen2.5-VL: `position_ids` (p, 2) row and column,
    `window_index` (q,) order of the merged tokens; in host memory, where their reader reads them,
    `cu_seqlens` (times + 1,) and `cu_window_seqlens` (w + 1,)."""
    config, host = visual.config, torch.tensor([grid])
    merge = config.spatial_merge_size
    window_index, cu_window_seqlens = vision_utils.get_vision_window_index(
        host, merge, config.window_size, config.patch_size
    )
    return {
        "position_ids": vision_utils.get_vision_position_ids(host, merge).to(device),
        "window_index": window_index.to(device),
        "cu_seqlens": vision_utils.get_vision_cu_seqlens(host),
        "cu_window_seqlens": cu_window_seqlens,
    }


class QwenVision:
    """The tower of one loaded model; remembers the layouts of the latest grids.

    Left alone, the tower derives them from the grid for every chunk, and where the grid lies on a
    GPU the host waits a dozen times.
    """

    def __init__(
        self, visual: Any, work_out: Callable[[Any, Grid, torch.device], Layout] = windowed
    ) -> None:
        self._visual, self._work_out = visual, work_out
        self._layouts: OrderedDict[Grid, Layout] = OrderedDict()

    def __call__(self, rows: Tensor, grid: Grid) -> Any:
        """All that the tower gives for (p, row width) pixels; (q, e) merged in `pooler_output`."""
        return self._visual(rows, torch.tensor([grid]), **self._layout(grid, rows.device))

    def _layout(self, grid: Grid, device: torch.device) -> Layout:
        if grid not in self._layouts:
            self._layouts[grid] = self._work_out(self._visual, grid, device)
        self._layouts.move_to_end(grid)
        while len(self._layouts) > _NUM_LAYOUTS:
            self._layouts.popitem(last=False)
        return dict(self._layouts[grid])


class PatchLinear(nn.Module):
    """A convolution whose stride is its kernel, as one matrix product.

    Exact, and much faster where half-precision Conv3d has no good kernel.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, patches: Tensor) -> Tensor:
        """(rows, channels, time, height, width) -> (rows, width of the tower, 1, 1, 1)."""
        product = nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def prepare(model: Any) -> None:
    """Replace the patch convolution of a loaded model by the equal matrix product."""
    embed = model.model.visual.patch_embed
    embed.proj = PatchLinear(embed.proj)

"""Qwen3-VL: every temporal patch stands between its time stamp and a closing mark; features of
several depths of the vision tower enter the first decoder layers (DeepStack, arXiv 2406.04334).
Prompt and positions are transformers' own; no release of HERMES has this family.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import vision_utils

from hermes.positions import Placement
from inference.abstract_hermes import AbstractHermes
from inference.checkpoints.family import Family
from inference.reindex_3d import Positions3D
from inference.vision import qwen_vision
from inference.vision.frames import PixelConfig, patchify, pixels, smart_size
from inference.vision.visual_chunk import VisualChunk

_TOKENS_PER_FRAME = 768
"""Cap on the merged patches of a frame: transformers' own with `cap_pixels_per_frame`."""


class SteppedPositions(Positions3D):
    """Whole numbers: text counts alike on all axes, a grid is one moment and as long as its longer
    side. Gaps are closed axis by axis."""

    dtype = torch.int64

    def grid(self, num_times: int, height: int, width: int) -> Placement:
        """Grids of one moment, one behind the other."""
        side = max(height, width)
        corners = side * torch.arange(num_times).repeat_interleave(height * width)
        moment = super().grid(1, height, width).offsets.repeat(1, num_times)
        return Placement(corners + moment, num_times * side)


class Qwen3VLHermes(AbstractHermes):
    """A stream over `Qwen3VLForConditionalGeneration` or its mixture of experts."""

    family = "qwen3"
    default_sample_fps = 2.0

    def __init__(self, model: Any, *settings: Any, **options: Any) -> None:
        super().__init__(model, *settings, **options)
        self._vision = qwen_vision.QwenVision(model.model.visual, layout)

    @property
    def init_prompt(self) -> str:
        """The chat template has no system turn of its own."""
        return "<|im_start|>user\n" + ("<|vision_start|>" if self.config.outer_markers else "")

    @property
    def closing_prompt(self) -> str:
        """The mark that ends the video as a whole."""
        return "<|vision_end|>" if self.config.outer_markers else ""

    def frame_text(self, seconds: float) -> tuple[str, str]:
        """Time stamp and marks of a temporal patch."""
        return f"<{seconds:.1f} seconds><|vision_start|>", "<|vision_end|>"

    def position_rule(self) -> SteppedPositions:
        """Time is in the stamps, not in the positions."""
        return SteppedPositions()

    def tokens_per_step(self) -> None:
        """Depends on the frame size."""

    @torch.no_grad()
    def see(self, frames: Tensor) -> VisualChunk:
        """An odd chunk repeats its last frame, so that temporal patches are whole."""
        config = self.processor.pixels
        size = smart_size(frames.shape[1], frames.shape[2], config)
        rows, grid = patchify(pixels(frames, size, config, self.device), config)
        output = self._vision(rows.to(self.dtype), grid)
        depths = [output.pooler_output, *output.deepstack_features]
        features, *added = (depth.to(self.device) for depth in depths)
        height, width = (count // config.merge_size for count in grid[1:])

        def place(num_steps: int) -> Placement:
            return SteppedPositions().grid(num_steps, height, width)

        count, step, size = height * width, config.temporal_patch_size, (height, width)
        return VisualChunk(features, place(grid[0]), place, step, count, size, added=tuple(added))


def layout(tower: Any, grid: qwen_vision.Grid, device: torch.device) -> qwen_vision.Layout:
    """What the tower asks for about a grid of p patches: (p, 2) rows and columns, (p, 4) entries
    of its table of learned positions and their weights, borders of the moments (on the host)."""
    host, merge = torch.tensor([grid]), tower.spatial_merge_size
    side, corners = tower.num_grid_per_side, tower.interpolation_align_corners
    indices, weights = vision_utils.get_vision_interpolation_indices_and_weights(
        host, side, tower.interpolation_mode, corners, merge
    )
    return {
        "position_ids": vision_utils.get_vision_position_ids(host, merge).to(device),
        "interp_indices": indices.to(device),
        "interp_weights": weights.to(device),
        "cu_seqlens": vision_utils.get_vision_cu_seqlens(host),
    }


class Unbatched(nn.Module):
    """A mixture of experts that takes (q, e) beside (batch, q, e), as a plain MLP does."""

    def __init__(self, experts: nn.Module) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, hidden: Tensor) -> Tensor:
        """Same shape out as in."""
        mixed: Tensor = self.experts(hidden if hidden.dim() == 3 else hidden[None])
        return mixed.view_as(hidden)


def prepare(model: Any) -> None:
    """Patch convolution as for Qwen2.5-VL; experts like a plain MLP."""
    qwen_vision.prepare(model)
    for layer in model.model.language_model.layers:
        if hasattr(layer.mlp, "experts"):
            layer.mlp = Unbatched(layer.mlp)


def pixel_config(files: dict[str, Any], model_config: Any, max_pixels: int | None) -> PixelConfig:
    """Pixel numbers of the processor files; `max_pixels` caps the pixels of a frame.

    The files bound the pixels of a whole video. Here they bound those of one temporal patch, so
    that a frame has the same size whatever the chunk it comes in.
    """
    vision, size = model_config.vision_config, files.get("size") or {}
    patch, length = vision.patch_size * vision.spatial_merge_size, vision.temporal_patch_size
    lowest = (size.get("shortest_edge") or 128 * patch**2) // length
    highest = (size.get("longest_edge") or _TOKENS_PER_FRAME * patch**2) // length
    config = PixelConfig(
        mean=tuple(files.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(files.get("image_std") or (0.5, 0.5, 0.5)),
        resample=files.get("resample", 3),
        rescale_factor=files.get("rescale_factor") or 1 / 255,
        patch_size=vision.patch_size,
        temporal_patch_size=length,
        merge_size=vision.spatial_merge_size,
        min_pixels=lowest,
        max_pixels=max(lowest, min(_TOKENS_PER_FRAME * patch**2, highest)),
    )
    if max_pixels is None:
        return config
    return replace(config, max_pixels=max_pixels, min_pixels=min(config.min_pixels, max_pixels))


FAMILY = Family(Qwen3VLHermes, "Qwen3VLForConditionalGeneration", pixel_config, prepare)
MIXTURE_FAMILY = replace(FAMILY, architecture="Qwen3VLMoeForConditionalGeneration")

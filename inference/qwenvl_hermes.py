"""Qwen2.5-VL: pairs of frames become grids of tokens, positions on three axes (M-RoPE)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hermes.positions import Placement
from inference.abstract_hermes import AbstractHermes
from inference.checkpoints.family import Family
from inference.reindex_3d import Positions3D
from inference.released_loader import released_loader
from inference.vision.frames import PixelConfig, patchify, pixels, smart_size
from inference.vision.qwen_vision import QwenVision, prepare
from inference.vision.visual_chunk import VisualChunk

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class QwenVLHermes(AbstractHermes):
    """A stream over `Qwen2_5_VLForConditionalGeneration`."""

    family = "qwen"
    default_sample_fps = 1.0
    init_prompt = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"

    def __init__(self, model: Any, *settings: Any, **options: Any) -> None:
        super().__init__(model, *settings, **options)
        self._vision = QwenVision(model.model.visual)

    def position_rule(self) -> Positions3D:
        """Real seconds on the time axis: a temporal patch lasts temporal_patch / fps seconds."""
        vision = self.model.config.vision_config
        return Positions3D(vision.temporal_patch_size / self.sample_fps * vision.tokens_per_second)

    def tokens_per_step(self) -> None:
        """Depends on the frame size."""

    @torch.no_grad()
    def get_video_features(self, frames: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """(f, H, W, 3) uint8 frames -> (q, e) merged features and the grid (t, h, w) in patches."""
        config = self.processor.pixels
        size = smart_size(frames.shape[1], frames.shape[2], config)
        rows, grid = patchify(pixels(frames, size, config, self.device), config)
        return self._vision(rows.to(self.dtype), grid).pooler_output, grid

    def see(self, frames: Tensor) -> VisualChunk:
        """An odd chunk repeats its last frame, so that pairs are whole."""
        features, (times, rows, columns) = self.get_video_features(frames)
        config = self.processor.pixels
        height, width = rows // config.merge_size, columns // config.merge_size

        def place(num_steps: int) -> Placement:
            return self.position_rule().grid(num_steps, height, width)

        return VisualChunk(
            features,
            place(times),
            place,
            config.temporal_patch_size,
            height * width,
            (height, width),
        )


def pixel_config(files: dict[str, Any], model_config: Any, max_pixels: int | None) -> PixelConfig:
    """Pixel numbers of the processor files; `max_pixels` caps the pixels of a frame."""
    vision, size = model_config.vision_config, files.get("size") or {}
    config = PixelConfig(
        mean=tuple(files.get("image_mean") or _CLIP_MEAN),
        std=tuple(files.get("image_std") or _CLIP_STD),
        resample=files.get("resample", 3),
        rescale_factor=files.get("rescale_factor") or 1 / 255,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        min_pixels=files.get("min_pixels") or size.get("shortest_edge") or 56 * 56,
        max_pixels=files.get("max_pixels") or size.get("longest_edge") or 28 * 28 * 16384,
    )
    if max_pixels is None:
        return config
    return replace(config, max_pixels=max_pixels, min_pixels=min(config.min_pixels, max_pixels))


FAMILY = Family(QwenVLHermes, "Qwen2_5_VLForConditionalGeneration", pixel_config, prepare)
load_model = released_loader(default_sample_fps=1)

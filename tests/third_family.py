"""A third family, as anyone would add it: this file and one entry in the registry of families.

Qwen2-VL as its own template writes a stream: every pair of frames is a video of one step between
`<|vision_start|>` and `<|vision_end|>`. Its positions are like neither of ours: integers on three
axes, and a step advances them by its longer side, not by its tokens.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor

from hermes import FamilyConstants
from hermes.positions import Placement, dense_ranks
from inference import AbstractHermes
from inference.checkpoints.family import Family
from inference.vision.frames import PixelConfig, patchify, pixels, smart_size
from inference.vision.visual_chunk import VisualChunk


class SteppedPositions:
    """Text counts on all three axes alike; a step is start token, grid, end token."""

    num_axes = 3
    dtype = torch.int64

    def text(self, num_tokens: int, device: torch.device | None = None) -> Placement:
        """Consecutive integers."""
        return Placement(torch.arange(num_tokens, device=device).expand(3, -1), num_tokens)

    def steps(self, num_steps: int, height: int, width: int) -> Placement:
        """Grids of `height` x `width` tokens, each with one text token on either side."""
        side = max(height, width)
        grid = torch.ones(3, height, width, dtype=self.dtype)  # behind the start token
        grid[1] += torch.arange(height)[:, None]
        grid[2] += torch.arange(width)
        end = torch.full((3, 1), 1 + side)
        step = torch.cat((torch.zeros_like(end), grid.flatten(1), end), dim=1)
        starts = (side + 2) * torch.arange(num_steps)
        return Placement((starts[:, None] + step[:, None]).flatten(1), num_steps * (side + 2))

    def renumber(self, positions: Tensor, num_prefix: int) -> Tensor:
        """One number line for all axes: values that no axis uses any more are closed up."""
        compact, visual = positions.clone(), positions[:, num_prefix:]
        compact[:, num_prefix:] = num_prefix + dense_ranks(visual.flatten()).view_as(visual)
        return compact


class Qwen2VLHermes(AbstractHermes):
    """A stream over `Qwen2VLForConditionalGeneration`."""

    family = "qwen2_vl"
    constants: ClassVar[FamilyConstants] = {"released": {"smoothing": (0.0, 0.2, 0.4)}}
    default_sample_fps = 2.0
    init_prompt = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"

    def position_rule(self) -> SteppedPositions:
        """Nothing to set: time is counted in steps, not in seconds."""
        return SteppedPositions()

    def tokens_per_step(self) -> None:
        """Depends on the frame size."""

    def grid(self, frames: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """(f, H, W, 3) uint8 frames -> rows of pixels and their (time, height, width)."""
        config = self.processor.pixels
        size = smart_size(frames.shape[1], frames.shape[2], config)
        return patchify(pixels(frames, size, config, self.device), config)

    @torch.no_grad()
    def see(self, frames: Tensor) -> VisualChunk:
        """Features of each pair of frames between those of the two text tokens."""
        rows, (times, *patches) = self.grid(frames)
        grid_thw = torch.tensor([[times, *patches]], device=self.device)
        merged = self.model.model.visual(rows.to(self.dtype), grid_thw=grid_thw).pooler_output
        start, end = (
            self.embed(self.processor.encode(text)).expand(times, 1, -1)
            for text in ("<|vision_start|>", "<|vision_end|>")
        )
        features = torch.cat(
            (start, merged.to(self.device).view(times, -1, start.shape[-1]), end), 1
        )
        height, width = (count // self.processor.pixels.merge_size for count in patches)

        def place(num_steps: int) -> Placement:
            return self.rule.steps(num_steps, height, width)

        temporal = self.processor.pixels.temporal_patch_size
        tokens = features.shape[1]
        return VisualChunk(
            features.flatten(0, 1), place(times), place, temporal, tokens, (1, tokens)
        )


def pixel_config(files: dict[str, Any], model_config: Any, max_pixels: int | None) -> PixelConfig:
    """The processor files are not asked: the random checkpoint has none."""
    vision = model_config.vision_config
    return PixelConfig(
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        max_pixels=max_pixels or 28 * 28 * 16384,
    )


FAMILY = Family(Qwen2VLHermes, "Qwen2VLForConditionalGeneration", pixel_config)
"""For the one line: ``FAMILIES["qwen2_vl"] = "third_family"``."""


def random_model(text: dict[str, Any], vocabulary: dict[str, int]) -> torch.nn.Module:
    """A tiny model, in the manner of `scripts.tiny_checkpoints`."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2VLConfig(
        text_config={**text, "rope_parameters": rope},
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "hidden_size": text["hidden_size"],
        },
        image_token_id=vocabulary["<image>"],
        video_token_id=vocabulary["<video>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    return transformers.Qwen2VLForConditionalGeneration(config)

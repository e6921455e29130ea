"""LLaVA-OneVision: one grid of tokens per frame, no newline token, positions on one axis."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from hermes import FamilyConstants
from hermes.positions import Placement
from inference.abstract_hermes import AbstractHermes
from inference.checkpoints.family import Family
from inference.reindex_1d import Positions1D
from inference.released_loader import released_loader
from inference.vision.frames import PixelConfig, pixels
from inference.vision.visual_chunk import VisualChunk


class LlavaOneVisionHermes(AbstractHermes):
    """A stream over `LlavaOnevisionForConditionalGeneration` (196 tokens per frame at 384)."""

    family = "llava"
    constants: ClassVar[FamilyConstants] = {
        "released": {"working_recency_weight": (1.0, 0.1), "working_decay": (20.0, 0.5)}
    }
    default_sample_fps = 0.5
    frames_per_step = 1
    init_prompt = "<|im_start|>system \nYou are a helpful assistant.<|im_end|><|im_start|>user "

    def position_rule(self) -> Positions1D:
        """Consecutive integers."""
        return Positions1D()

    def tokens_per_step(self) -> int:
        """Patches per side are halved, rounding up: 384 / 14 = 27 -> 14 x 14."""
        vision = self.model.config.vision_config
        side = -(-(vision.image_size // vision.patch_size) // 2)
        return side * side

    @torch.no_grad()
    def get_video_features(self, frames: Tensor) -> Tensor:
        """(f, H, W, 3) uint8 frames -> (f * tokens_per_frame, e), without a newline token."""
        config = self.processor.pixels
        assert config.size is not None
        images = pixels(frames, config.size, config, self.device).to(self.dtype)
        return frame_features(self.model.model, images).flatten(0, 1)

    def see(self, frames: Tensor) -> VisualChunk:
        """Frames one after the other, each a run of tokens."""
        features = self.get_video_features(frames)
        tokens = len(features) // len(frames)

        def place(num_steps: int) -> Placement:
            return self.rule.text(num_steps * tokens, self.device)

        side = math.isqrt(tokens)  # the pooled grid is square
        size = (side, side) if side * side == tokens else (1, tokens)
        return VisualChunk(features, place(len(frames)), place, 1, tokens, size)


def frame_features(model: Any, images: Tensor) -> Tensor:
    """(f, 3, height, width) pixels -> (f, tokens_per_frame, e), through a `LlavaOnevisionModel`.

    From its parts: its own `get_video_features` ends with a newline token in some versions of
    transformers (5.23) and not in others (5.17).
    """
    states = model.vision_tower(images, output_hidden_states=True).hidden_states
    features = model.multi_modal_projector(_selected(states, model.config))
    return model.apply_pooling(features)


def _selected(hidden_states: tuple[Tensor, ...], config: Any) -> Tensor:
    """(f, patches, width) of the layer that the projector reads; several are put side by side."""
    layers = config.vision_feature_layer
    chosen = [hidden_states[n] for n in ([layers] if isinstance(layers, int) else layers)]
    first = 1 if config.vision_feature_select_strategy == "default" else 0  # a class token
    return torch.cat(chosen, -1)[:, first:]


def pixel_config(files: dict[str, Any], model_config: Any, max_pixels: int | None) -> PixelConfig:
    """Pixel numbers of the processor files; a missing file means the tower's size and 0.5 / 0.5.

    `max_pixels` has no meaning here: the tower reads one size.
    """
    side = model_config.vision_config.image_size
    size = files.get("size") or {}
    return PixelConfig(
        mean=tuple(files.get("image_mean") or (0.5, 0.5, 0.5)),
        std=tuple(files.get("image_std") or (0.5, 0.5, 0.5)),
        size=(size.get("height", side), size.get("width", side)),
        resample=files.get("resample", 3),
        rescale_factor=files.get("rescale_factor") or 1 / 255,
    )


FAMILY = Family(LlavaOneVisionHermes, "LlavaOnevisionForConditionalGeneration", pixel_config)
load_model = released_loader(default_sample_fps=0.5)

"""Which family serves which kind of checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from inference import llavaov_hermes, qwen_vision, qwenvl_hermes
from inference.abstract_hermes import AbstractHermes
from inference.families import qwen3vl_hermes
from inference.frames import PixelConfig


@dataclass(frozen=True)
class Family:
    """What is needed to serve a kind of checkpoint."""

    engine: type[AbstractHermes]
    architecture: str
    """Class in transformers."""
    pixel_config: Callable[[dict[str, Any], Any, int | None], PixelConfig]
    prepare: Callable[[nn.Module], None] = lambda model: None


FAMILIES: dict[str, Family] = {
    "llava_onevision": Family(
        llavaov_hermes.LlavaOneVisionHermes,
        "LlavaOnevisionForConditionalGeneration",
        llavaov_hermes.pixel_config,
    ),
    "qwen2_5_vl": Family(
        qwenvl_hermes.QwenVLHermes,
        "Qwen2_5_VLForConditionalGeneration",
        qwenvl_hermes.pixel_config,
        qwen_vision.prepare,
    ),
    "qwen3_vl": Family(
        qwen3vl_hermes.Qwen3VLHermes,
        "Qwen3VLForConditionalGeneration",
        qwen3vl_hermes.pixel_config,
        qwen3vl_hermes.prepare,
    ),
    "qwen3_vl_moe": Family(
        qwen3vl_hermes.Qwen3VLHermes,
        "Qwen3VLMoeForConditionalGeneration",
        qwen3vl_hermes.pixel_config,
        qwen3vl_hermes.prepare,
    ),
}
"""`model_type` of config.json -> family. A new family is one file and one entry here."""

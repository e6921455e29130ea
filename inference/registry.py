"""Model keys of the command line, and which family serves which kind of checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from inference import llavaov_hermes, qwenvl_hermes
from inference.abstract_hermes import AbstractHermes
from inference.frames import PixelConfig


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a short name."""

    path: str
    """Hub-format folder, relative to the working directory."""
    num_devices: int = 1
    """GPUs of 80 GB that one copy needs in half precision."""


@dataclass(frozen=True)
class Family:
    """What is needed to serve a kind of checkpoint."""

    engine: type[AbstractHermes]
    architecture: str
    """Class in transformers."""
    pixel_config: Callable[[dict[str, Any], Any, int | None], PixelConfig]
    prepare: Callable[[nn.Module], None] = lambda model: None


MODELS: dict[str, ModelEntry] = {
    "nano": ModelEntry("models/hermes-nano"),
    "llava_ov_0.5b": ModelEntry("models/llava-onevision-qwen2-0.5b-ov-hf"),
    "llava_ov_7b": ModelEntry("models/llava-onevision-qwen2-7b-ov-hf"),
    "llava_ov_72b": ModelEntry("models/llava-onevision-qwen2-72b-ov-hf", num_devices=4),
    "qwen2.5_vl_3b": ModelEntry("models/Qwen2.5-VL-3B-Instruct"),
    "qwen2.5_vl_7b": ModelEntry("models/Qwen2.5-VL-7B-Instruct"),
    "qwen2.5_vl_32b": ModelEntry("models/Qwen2.5-VL-32B-Instruct"),
}

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
        qwenvl_hermes.prepare,
    ),
}
"""`model_type` of config.json -> family. A new family is one file and one entry here."""

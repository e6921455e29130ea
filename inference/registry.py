"""Model keys of the command line, and which family serves which kind of checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from inference import llavaov_hermes, qwenvl_hermes
from inference.abstract_hermes import AbstractHermes
from inference.frames import PixelConfig

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a short name."""

    path: str
    """Hub-format folder, relative to the working directory or to this repository."""
    hub_id: str | None
    """Where to download it; None for the one that comes with this repository."""
    num_devices: int = 1
    """GPUs of 80 GB that one copy needs in half precision."""

    def folder(self) -> str | None:
        """The folder of the checkpoint if it is there: in the working directory, else beside us."""
        if Path(self.path).is_dir():
            return self.path
        return str(ROOT / self.path) if (ROOT / self.path).is_dir() else None

    def advice(self, folder: str) -> str:
        """How to get the checkpoint into `folder`."""
        if self.hub_id is None:
            return f"it comes with the repository: 'git -C {ROOT} checkout -- {self.path}'"
        return f"download it with 'hf download {self.hub_id} --local-dir {folder}'"


def entry_of(model: str) -> ModelEntry | None:
    """The entry of a key, or of a path that ends like that of an entry; None for other models."""
    by_folder = {Path(entry.path).name: entry for entry in MODELS.values()}
    return MODELS.get(model) or by_folder.get(Path(model).name)


@dataclass(frozen=True)
class Family:
    """What is needed to serve a kind of checkpoint."""

    engine: type[AbstractHermes]
    architecture: str
    """Class in transformers."""
    pixel_config: Callable[[dict[str, Any], Any, int | None], PixelConfig]
    prepare: Callable[[nn.Module], None] = lambda model: None


def _from_hub(hub_id: str, num_devices: int = 1) -> ModelEntry:
    return ModelEntry(f"models/{hub_id.partition('/')[2]}", hub_id, num_devices)


MODELS: dict[str, ModelEntry] = {
    "nano": ModelEntry("models/hermes-nano", hub_id=None),
    "llava_ov_0.5b": _from_hub("llava-hf/llava-onevision-qwen2-0.5b-ov-hf"),
    "llava_ov_7b": _from_hub("llava-hf/llava-onevision-qwen2-7b-ov-hf"),
    "llava_ov_72b": _from_hub("llava-hf/llava-onevision-qwen2-72b-ov-hf", num_devices=4),
    "qwen2.5_vl_3b": _from_hub("Qwen/Qwen2.5-VL-3B-Instruct"),
    "qwen2.5_vl_7b": _from_hub("Qwen/Qwen2.5-VL-7B-Instruct"),
    "qwen2.5_vl_32b": _from_hub("Qwen/Qwen2.5-VL-32B-Instruct"),
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

"""Models that have a short name, and where their checkpoints are; needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
ROOT = PACKAGE.parent


@dataclass(frozen=True)
class ModelEntry:
    """A model that has a short name."""

    path: str
    """Hub-format folder, relative to the working directory or to this repository."""
    hub_id: str | None
    """Where to download it; None for the one that comes with this project."""
    num_devices: int = 1
    """GPUs of 80 GB that one copy needs in half precision."""

    def folder(self) -> str | None:
        """The checkpoint's folder if it is there: in the working directory, else in the
        repository around us, else inside the installed package."""
        places = (Path(self.path), ROOT / self.path, PACKAGE / Path(self.path).name)
        return next((str(place) for place in places if place.is_dir()), None)

    def advice(self, folder: str) -> str:
        """How to get the checkpoint into `folder`."""
        if self.hub_id is None:
            return f"it comes with the project: 'git -C {ROOT} checkout -- {self.path}'"
        return f"download it with 'hf download {self.hub_id} --local-dir {folder}'"


def entry_of(model: str) -> ModelEntry | None:
    """The entry of a key, or of a path that ends like that of an entry; None for other models."""
    by_folder = {Path(entry.path).name: entry for entry in MODELS.values()}
    return MODELS.get(model) or by_folder.get(Path(model).name)


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
    "qwen3_vl_2b": _from_hub("Qwen/Qwen3-VL-2B-Instruct"),
    "qwen3_vl_4b": _from_hub("Qwen/Qwen3-VL-4B-Instruct"),
    "qwen3_vl_8b": _from_hub("Qwen/Qwen3-VL-8B-Instruct"),
    "qwen3_vl_32b": _from_hub("Qwen/Qwen3-VL-32B-Instruct"),
}

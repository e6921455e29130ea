"""What makes two runs the same: settings, weights, annotation file, kind of device."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.saved.weights_digest import weights_digest
from video_qa.settings.model_registry import model_path
from video_qa.settings.run_settings import IN_ORDER, RunSettings

BESIDE = {"decode_workers", "execution"}
"""Settings that decide how fast answers come and not what they are; in half precision `execution`
may turn a near tie, as another GPU may, which is no part of the identity either."""


def run_identity(settings: RunSettings, anno_path: Path, device: str | None) -> dict[str, Any]:
    """A JSON-able description; predictions of runs for which it differs are never merged.

    The kind of device counts because it decides the number format (half or single precision).
    """
    deciding = {name: value for name, value in asdict(settings).items() if name not in BESIDE}
    if settings.turns == IN_ORDER:  # runs of before there was a choice are still the same runs
        del deciding["turns"]
    return deciding | {
        "weights": weights_digest(model_path(settings.model)),
        "annotation_sha256": hashlib.sha256(anno_path.read_bytes()).hexdigest(),
        "device": device_kind(device),
    }


def device_kind(device: str | None) -> str:
    """``cuda`` or ``cpu``, whatever the number of the device."""
    if device is not None:
        return device.partition(":")[0]
    import torch  # slow to import, and the runner always knows its device

    return "cuda" if torch.cuda.is_available() else "cpu"

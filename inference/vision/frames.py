"""Frames to pixels, in torch and on the device, by the numbers of the checkpoint's processor files.

Shapes: f frames, H and W their size in pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.errors import FrameError, ModelLoadError
from inference.vision.resampling import resample

PROCESSOR_FILES = (
    "video_preprocessor_config.json",
    "processor_config.json",
    "preprocessor_config.json",
)
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}
_MAX_ASPECT_RATIO = 200


@dataclass(frozen=True)
class PixelConfig:
    """What a checkpoint's processor files say about pixels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: tuple[int, int] | None = None
    """Fixed (height, width); None means that the size follows the frame."""
    resample: int = 3
    """PIL number of the filter: 2 bilinear, 3 bicubic."""
    rescale_factor: float = 1 / 255
    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 16384

    def __post_init__(self) -> None:
        if self.resample not in _RESAMPLE:
            raise ModelLoadError(
                f"resample {self.resample} of the processor files is not supported; "
                f"known: {sorted(_RESAMPLE)}"
            )
        if not 0 < self.min_pixels <= self.max_pixels:
            raise ModelLoadError(
                f"pixels per frame must satisfy 0 < min <= max, got min_pixels {self.min_pixels}, "
                f"max_pixels {self.max_pixels}"
            )


def read_processor_file(folder: Path) -> dict[str, Any]:
    """The first of `PROCESSOR_FILES` in `folder` as a dict; empty if there is none.

    Raises:
        ModelLoadError: the file is not JSON, or not of the expected form.
    """
    for name in PROCESSOR_FILES:
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise ModelLoadError(f"{path} is not valid JSON ({error}); download it again") from None
        if not isinstance(content, dict):
            raise ModelLoadError(f"{path} must hold a JSON object, got {content!r:.40}")
        nested = content.get("video_processor", content.get("image_processor"))
        if nested or name != "processor_config.json":
            return _checked(nested or content, path)
    return {}


def _checked(content: dict[str, Any], path: Path) -> dict[str, Any]:
    if not isinstance(size := content.get("size") or {}, dict):
        raise ModelLoadError(f"{path}: 'size' must be an object, got {size!r}")
    for key in ("image_mean", "image_std"):
        numbers = content.get(key) or [0.5] * 3
        if not isinstance(numbers, list) or len(numbers) != 3:
            raise ModelLoadError(f"{path}: {key!r} must be a list of 3 numbers, got {numbers!r}")
    return content


def to_frames(frames: Any) -> Tensor:
    """Check frames and bring them to (f, H, W, 3) uint8.

    Args:
        frames: tensor or array, uint8, (f, H, W, 3) or (f, 3, H, W).

    Raises:
        FrameError: other type or shape, or frames without pixels.
    """
    if not isinstance(frames, Tensor):
        frames = torch.from_numpy(np.ascontiguousarray(frames))  # torch takes no flipped views
    tensor: Tensor = frames
    if tensor.dtype != torch.uint8:
        raise FrameError(f"frames must be uint8 in 0..255, got {tensor.dtype}")
    if tensor.ndim == 4 and tensor.shape[-1] == 3 and tensor.numel():
        return tensor
    if tensor.ndim == 4 and tensor.shape[1] == 3 and tensor.numel():
        return tensor.permute(0, 2, 3, 1)
    raise FrameError(
        f"frames must be (frames, height, width, 3) or (frames, 3, height, width), "
        f"got {tuple(tensor.shape)}"
    )


def resize(levels: Tensor, size: tuple[int, int], filter_number: int) -> Tensor:
    """Resize (f, 3, H, W) uint8 with antialiasing to (f, 3, *size) uint8, bit for bit as Pillow.

    Args:
        filter_number: PIL's number of the filter.
    """
    if tuple(levels.shape[2:]) == size:
        return levels
    mode = _RESAMPLE[filter_number]
    if mode == "nearest":
        return torch.nn.functional.interpolate(levels, size, mode=mode)
    return resample(levels, size, mode)


def normalise(frames: Tensor, config: PixelConfig) -> Tensor:
    """(f, 3, H, W) levels 0..255 -> (level * rescale - mean) / std, fp32."""
    mean, std = (_per_channel(numbers, frames.device) for numbers in (config.mean, config.std))
    return (frames * config.rescale_factor - mean) / std


@lru_cache(maxsize=8)  # sent to a device once, not with every chunk
def _per_channel(numbers: tuple[float, float, float], device: torch.device) -> Tensor:
    return torch.tensor(numbers, device=device).view(3, 1, 1)


def pixels(
    frames: Tensor, size: tuple[int, int], config: PixelConfig, device: torch.device
) -> Tensor:
    """(f, H, W, 3) uint8 -> (f, 3, *size) fp32 on `device`; uint8 travels, floats do not.

    To a GPU they travel from page-locked memory: from any other the host waits until they are
    there, behind all that the device has still to do.
    """
    if device.type == "cuda" and not frames.is_cuda:
        frames = frames.pin_memory()
    levels = frames.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return normalise(resize(levels, size, config.resample).float(), config)


def smart_size(height: int, width: int, config: PixelConfig) -> tuple[int, int]:
    """Qwen2-VL's rule: both sides multiples of patch * merge, area within [min, max] pixels.

    Raises:
        FrameError: one side is more than 200 times the other.
    """
    if max(height, width) > _MAX_ASPECT_RATIO * min(height, width):
        raise FrameError(f"frames of {height} x {width} pixels are too elongated (limit 200:1)")
    unit, area = config.patch_size * config.merge_size, height * width
    near = (max(unit, round(height / unit) * unit), max(unit, round(width / unit) * unit))
    if near[0] * near[1] > config.max_pixels:
        shrink = math.sqrt(config.max_pixels / area)
        return _scaled(height, width, shrink, unit, math.floor)
    if near[0] * near[1] < config.min_pixels:
        stretch = math.sqrt(config.min_pixels / area)
        return _scaled(height, width, stretch, unit, math.ceil)
    return near


def _scaled(
    height: int, width: int, scale: float, unit: int, whole: Callable[[float], int]
) -> tuple[int, int]:
    sides = (max(unit, whole(side * scale / unit) * unit) for side in (height, width))
    new_height, new_width = sides
    return new_height, new_width


def patchify(frames: Tensor, config: PixelConfig) -> tuple[Tensor, tuple[int, int, int]]:
    """Cut (f, 3, H, W) pixels into the rows that Qwen2.5-VL's vision tower reads.

    Rows run over time, then blocks of merge x merge patches, then the patches of a block; a row
    holds channel, time, height, width. An odd chunk repeats its last frame.

    Returns:
        (rows, 3 * temporal_patch * patch * patch) and the grid (time, height, width) in patches.
    """
    temporal, patch, merge = config.temporal_patch_size, config.patch_size, config.merge_size
    if missing := -frames.shape[0] % temporal:
        frames = torch.cat((frames, frames[-1:].expand(missing, -1, -1, -1)))
    times, rows, columns = (
        frames.shape[0] // temporal,
        frames.shape[2] // patch,
        frames.shape[3] // patch,
    )
    blocks = frames.view(
        times, temporal, 3, rows // merge, merge, patch, columns // merge, merge, patch
    )
    blocks = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return blocks.reshape(times * rows * columns, -1), (times, rows, columns)

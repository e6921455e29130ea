"""What a caller wants of a video: the checked arguments of `open_video`."""

import math
from dataclasses import dataclass
from pathlib import Path

from video.error import VideoError


@dataclass(frozen=True)
class FrameRequest:
    """Which frames of which file. Raises VideoError when a value makes no sense.

    `sample_fps`: sampled frames per second of video. `clip`: (start, end) in seconds of the video,
    None for all of it. `folder_fps`: frame rate of a folder of images. `stop_index`: nothing is
    decoded beyond this sampled frame (exclusive), None for no limit. `decode_workers`: pieces of a
    video file that are decoded at a time, None for as many as cores can be used, at most 4.
    """

    path: Path
    sample_fps: float
    sampling: str = "timestamps"
    folder_fps: float | None = None
    clip: tuple[float, float] | None = None
    stop_index: int | None = None
    decode_workers: int | None = None

    def __post_init__(self) -> None:
        _check_rate("sample_fps", self.sample_fps, self.path)
        if self.folder_fps is not None:
            _check_rate("folder_fps", self.folder_fps, self.path)
        if self.clip is not None:
            _check_clip(self.clip, self.path)
        if self.stop_index is not None and self.stop_index < 1:
            raise VideoError(f"{self.path}: stop_index must be at least 1, got {self.stop_index}")
        workers = self.decode_workers
        if workers is not None and not (type(workers) is int and workers >= 1):
            raise VideoError(f"{self.path}: decode_workers must be at least 1, got {workers!r}")

    @property
    def start_seconds(self) -> float:
        """Time of sampled frame 0 on the video's time axis."""
        return self.clip[0] if self.clip is not None else 0.0


def _check_rate(name: str, value: float, path: Path) -> None:
    if not (_is_number(value) and value > 0):
        raise VideoError(
            f"{path}: {name} must be a number of frames per second above 0, got {value!r}"
        )


def _check_clip(clip: tuple[float, float], path: Path) -> None:
    if len(clip) != 2 or not all(_is_number(bound) for bound in clip):
        raise VideoError(f"{path}: clip must be (start, end) in seconds, got {clip!r}")
    start, end = clip
    if start < 0 or end <= start:
        raise VideoError(
            f"{path}: clip must start at 0 or later and end after its start, "
            f"got start {start} s, end {end} s"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

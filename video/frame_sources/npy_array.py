"""Frames from a .npy array, one frame per second."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.sampling import planned_indices, timestamp_plan


class NpyArraySource:
    """A uint8 array (frames, height, width, 3), RGB, 1 frame per second, read through a memory map.

    With the released rule int(n * sample_fps) frames are spread evenly over the whole array and
    `clip` is not applied, as the authors did.
    """

    num_corrupt = 0  # damage is always an error here

    def __init__(self, request: FrameRequest) -> None:
        self._array = _map_array(request)
        num_frames = len(self._array)
        self.duration_seconds: float | None = float(num_frames)
        self._indices = INDICES[request.sampling](request, num_frames)

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        for index in self._indices:
            yield np.array(self._array[index])


def _map_array(request: FrameRequest) -> np.ndarray:
    try:
        array = np.load(request.path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # damaged headers raise SyntaxError, OverflowError, TypeError, ...
        raise VideoError(f"{request.path}: not a readable .npy array ({error})") from error
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        raise VideoError(
            f"{request.path}: expected uint8 frames of shape (frames, height, width, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


def _by_timestamps(request: FrameRequest, num_frames: int) -> Iterator[int]:
    plan = timestamp_plan(request, Fraction(1), Fraction(1), 0)
    return planned_indices(plan, num_frames)


def _as_released(request: FrameRequest, num_frames: int) -> Iterator[int]:
    count = max(1, int(num_frames * request.sample_fps))
    spread = np.linspace(0, num_frames - 1, count, dtype=int)
    return iter(spread[: request.stop_index].tolist())


INDICES = {"timestamps": _by_timestamps, "released": _as_released}

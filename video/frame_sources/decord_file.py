"""Frames of a video file through decord, an optional package."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.sampling import SAMPLING_RULES, exact, pick_frames

MICROSECOND = Fraction(1, 10**6)


class DecordSource:
    """What the authors read videos with. Ignores display matrices; otherwise like PyAVSource."""

    num_corrupt = 0  # decord does not tell

    def __init__(self, request: FrameRequest) -> None:
        self._path = request.path
        self._reader = _open_reader(request)
        stamps = self._reader.get_frame_timestamp(range(len(self._reader)))  # (frames, 2) seconds
        microseconds = np.rint((stamps - stamps[0, 0]) * 1e6).astype(np.int64)
        self._starts, self._end = microseconds[:, 0].tolist(), int(microseconds[:, 1].max())
        self.duration_seconds: float | None = self._end / 1e6
        fps = round(exact(self._reader.get_avg_fps()))
        self._plan = SAMPLING_RULES[request.sampling](request, Fraction(fps), MICROSECOND, 0)

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        indices = range(len(self._starts))
        keys = indices if self._plan.counts_frames else self._starts
        end_key = len(indices) if self._plan.counts_frames else self._end
        for index in pick_frames(zip(keys, indices, strict=True), self._plan, lambda: end_key):
            try:
                yield self._reader[index].asnumpy()
            except Exception as error:  # decord raises its own class for everything
                raise VideoError(
                    f"{self._path}: decord cannot decode frame {index} "
                    f"({self._starts[index] / 1e6:.2f} s): {_first_line(error)}"
                ) from error


def _open_reader(request: FrameRequest):
    try:
        import decord
    except ImportError as error:
        raise VideoError(
            f"{request.path}: the video backend 'decord' is not installed; "
            "pip install 'hermes-stream[decord]', or use the backend 'pyav'"
        ) from error
    try:
        return decord.VideoReader(str(request.path))
    except Exception as error:  # decord raises its own class for everything
        raise VideoError(f"{request.path}: decord cannot open it: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__

"""Frames of a video file through PyAV (FFmpeg)."""

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from video_qa.frame_request import FrameRequest
from video_qa.sampling import SAMPLING_RULES, pick_frames
from video_qa.video_error import VideoError


class PyAVSource:
    """mp4, mkv, webm, avi and whatever else FFmpeg opens."""

    def __init__(self, request: FrameRequest) -> None:
        self._path = request.path
        try:
            self._container = av.open(str(request.path))
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError) as error:
            raise VideoError(f"{request.path}: {error}") from error
        self.duration_seconds: float | None = None
        if self._stream.duration:
            self.duration_seconds = float(self._stream.duration * self._stream.time_base)
        self._stream.thread_type = "AUTO"
        self._request = request

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        try:
            fps = Fraction(round(self._stream.average_rate or 1))
            decoded = self._container.decode(self._stream)
            first = next(decoded)
            plan = SAMPLING_RULES[self._request.sampling](
                self._request, fps, self._stream.time_base, first.pts
            )
            self._end = 0

            def keyed():
                yield from ((f.pts, f) for f in [first])
                for f in decoded:
                    self._end = f.pts + f.duration
                    yield f.pts, f

            for frame in pick_frames(keyed(), plan, lambda: self._end):
                yield frame.to_ndarray(format="rgb24")
        except av.FFmpegError as error:
            raise VideoError(f"{self._path}: {error}") from error
        finally:
            self._container.close()

"""Sampled frames of a video, decoded in the background chunk by chunk.

    with open_video("talk.mp4", sample_fps=0.5) as video:
        for chunk in video.take(frames_before(end_seconds=60, sample_fps=0.5)):
            model.encode_video_chunk(chunk.frames, chunk.times_seconds)

Second 0 is the video's first frame; with a clip, sampled frames count from the clip's start.
Frames come out as a player shows them: RGB, turned as the file's display matrix says.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.frame_sources import FrameSource, open_source
from video.prefetch import Prefetcher
from video.sampling import exact

__all__ = ["FrameChunk", "VideoError", "VideoStream", "open_video"]


@dataclass(frozen=True)
class FrameChunk:
    """Consecutive sampled frames.

    `frames`: uint8 (n, height, width, 3), RGB. `times_seconds`: float64 (n,), on the time axis of
    the whole video (a clip starts at its start): the times sampled at, i / sample_fps after the
    start, not the stamps of the frames found there; nominal under the released rule.
    `start_index`: index of the first frame among the sampled ones.
    """

    frames: np.ndarray
    times_seconds: np.ndarray
    start_index: int


class VideoStream:
    """An open video. Made by `open_video`; a context manager, because a thread decodes ahead.

    `num_corrupt_frames`: of the frames decoded for what has been handed out, those that the file's
    damage forced FFmpeg to guess at (H.264 and MPEG-4; other decoders notice less).
    """

    def __init__(self, request: FrameRequest, backend: str, chunk_frames: int) -> None:
        source = open_source(request, backend)
        self.duration_seconds: float | None = source.duration_seconds
        self.next_index = 0
        self.num_corrupt_frames = 0
        self._closed = False
        self._request = request
        self._chunk_frames = chunk_frames
        self._decoder = Prefetcher(_with_damage(source), capacity=chunk_frames)

    def take(self, stop_index: int | None = None) -> Iterator[FrameChunk]:
        """Sampled frames [next_index, stop_index) in chunks; to the end when stop_index is None.

        Ends early when the video ends. Raises VideoError at the place where it is damaged, after
        the frames before it.
        """
        if self._closed:
            raise VideoError(f"{self._request.path}: the video has been closed")
        while (wanted := self._num_wanted(stop_index)) > 0:
            num_frames = self._decoder.wait_for(wanted)
            if num_frames == 0:
                return
            chunk = self._assemble(num_frames)
            self.next_index += num_frames
            self._decoder.release(num_frames)
            yield chunk
            del chunk  # or two chunks would be alive while the next one is waited for

    def is_ready(self, stop_index: int | None = None) -> bool:
        """Whether `take(stop_index)` has another chunk, and does not wait for it."""
        wanted = self._num_wanted(stop_index)
        return wanted > 0 and self._decoder.is_ready(wanted)

    @property
    def exhausted(self) -> bool:
        """Whether all frames have been handed out, as far as is known without waiting.

        Surely True after `take` ended early.
        """
        return self._decoder.exhausted

    def close(self) -> None:
        """Stop decoding, close the file, wait for the thread. May be called more than once."""
        self._closed = True
        self._decoder.close()

    def __enter__(self) -> "VideoStream":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _num_wanted(self, stop_index: int | None) -> int:
        """Frames of the next chunk of `take(stop_index)`; not above 0 if there is none."""
        if stop_index is None:
            return self._chunk_frames
        return min(self._chunk_frames, stop_index - self.next_index)

    def _assemble(self, num_frames: int) -> FrameChunk:
        first, self.num_corrupt_frames = self._decoder.take()
        frames = np.empty((num_frames, *first.shape), np.uint8)
        frames[0] = first
        for row in range(1, num_frames):  # one by one: each frame is freed once it is copied
            frames[row], self.num_corrupt_frames = self._decoder.take()
        return FrameChunk(frames, self._times(num_frames), self.next_index)

    def _times(self, num_frames: int) -> np.ndarray:
        start, rate = exact(self._request.start_seconds), exact(self._request.sample_fps)
        indices = range(self.next_index, self.next_index + num_frames)
        return np.array([float(start + index / rate) for index in indices], np.float64)


def _with_damage(source: FrameSource) -> Iterator[tuple[np.ndarray, int]]:
    """Frames with the number of corrupt ones so far, before the thread decodes further ahead."""
    for frame in source.frames():
        yield frame, source.num_corrupt
        del frame  # or it would live here until the next one is decoded


def open_video(
    path: str | Path,
    sample_fps: float,
    sampling: str = "timestamps",
    folder_fps: float | None = None,
    clip: tuple[float, float] | None = None,
    backend: str = "pyav",
    chunk_frames: int = 16,
    stop_index: int | None = None,
    decode_workers: int | None = None,
) -> VideoStream:
    """Open a video file, a folder of images or a .npy array; use it in a `with` statement.

    `sampling`: "timestamps" (sampled frame i is the frame on screen at i / sample_fps) or
    "released" (the rule of the authors' code). `folder_fps`: frame rate of a folder of images.
    `clip`: (start, end) in seconds. `backend`: what reads video files, "pyav", "decord",
    "torchcodec", "torchcodec-cuda" (NVDEC).
    `stop_index`: nothing is decoded beyond this sampled frame. `decode_workers`: pieces of a video
    file that are decoded at a time, whatever the number the same frames; default: one per core
    that can be used, at most 4. Raises VideoError, here for what can be seen at once, in `take` for
    what is met on the way.
    """
    if chunk_frames < 1:
        raise VideoError(f"{path}: chunk_frames must be at least 1, got {chunk_frames}")
    clip = None if clip is None else tuple(clip)  # type: ignore[assignment]
    request = FrameRequest(
        Path(path), sample_fps, sampling, folder_fps, clip, stop_index, decode_workers
    )
    return VideoStream(request, backend, chunk_frames)

"""Frames of a video file through torchcodec, an optional package; on a GPU through NVDEC.

Written against its documented interface (`VideoDecoder`, stable documentation of 2025). It has not
been run: no test here has had the package, they use a stand-in of the same shape.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice, takewhile
from typing import Any

import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.sampling import SAMPLING_RULES, exact, planned_indices

NANOSECOND = Fraction(1, 10**9)
SLACK = 500
"""Nanoseconds by which a stamp, which is a float, may lie above its time."""
BATCH_FRAMES = 16
"""Frames asked for at once, so that none is decoded twice for two of them."""


class TorchCodecSource:
    """`device`: "cpu", or "cuda", where the GPU decodes and frames come back to host memory.

    Its "exact" seek mode scans all packets first. A GPU converts colours in its own way: its frames
    are near those of the CPU, not equal to them.
    """

    num_corrupt = 0  # torchcodec does not tell

    def __init__(self, request: FrameRequest, device: str = "cpu") -> None:
        self._path = request.path
        self._decoder = _open_decoder(request, device)
        facts = self._decoder.metadata
        self._begin = facts.begin_stream_seconds
        self.duration_seconds: float | None = facts.end_stream_seconds - self._begin
        self._num_frames = facts.num_frames
        fps = round(exact(facts.average_fps))
        self._plan = SAMPLING_RULES[request.sampling](request, Fraction(fps), NANOSECOND, 0)

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        if self._plan.counts_frames:
            wanted, read = (
                planned_indices(self._plan, self._num_frames),
                self._decoder.get_frames_at,
            )
        else:
            wanted, read = self._nanoseconds(), self._frames_at_times
        while places := list(islice(wanted, BATCH_FRAMES)):
            yield from self._read(read, places)

    def _nanoseconds(self) -> Iterator[int]:
        """Sampled times after the first frame, up to the end of the last one."""
        end = round((self.duration_seconds or 0.0) * 10**9) - SLACK
        wanted = takewhile(self._plan.wants, count())
        return takewhile(lambda time: time < end, map(self._plan.deadline, wanted))

    def _frames_at_times(self, nanoseconds: list[int]) -> Any:
        return self._decoder.get_frames_played_at(
            [self._begin + (time + SLACK) / 10**9 for time in nanoseconds]
        )

    def _read(self, read: Any, places: list[int]) -> Iterator[np.ndarray]:
        """The frames of these places; where one cannot be decoded, those before it first."""
        try:
            batch = read(places).data.cpu().numpy()
        except Exception as error:  # torchcodec documents no class of its own
            if len(places) > 1:
                for place in places:
                    yield from self._read(read, [place])
                return
            what = f"frame {places[0]}" if self._plan.counts_frames else f"{places[0] / 1e9:.2f} s"
            raise VideoError(
                f"{self._path}: torchcodec cannot decode {what}: {_first_line(error)}"
            ) from error
        yield from batch


def _open_decoder(request: FrameRequest, device: str) -> Any:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, RuntimeError) as error:  # RuntimeError: it finds no FFmpeg to load
        raise VideoError(
            f"{request.path}: the video backend 'torchcodec' is not installed, or finds no FFmpeg; "
            "pip install 'hermes-stream[torchcodec]', or use the backend 'pyav' "
            f"({_first_line(error)})"
        ) from error
    try:
        return VideoDecoder(
            str(request.path),
            dimension_order="NHWC",
            num_ffmpeg_threads=request.decode_workers or 0,  # 0: FFmpeg decides
            device=device,
            seek_mode="exact",
        )
    except Exception as error:  # torchcodec documents no class of its own
        raise VideoError(
            f"{request.path}: torchcodec cannot open it on {device}: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

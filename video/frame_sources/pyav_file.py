"""Frames of a video file through PyAV (FFmpeg)."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.frame_sources.pyav_decoder import KeyedFrames, StreamDecoder
from video.frame_sources.restart_points import restart_test
from video.frame_sources.stream_facts import opened, probe
from video.orientation import turn_for
from video.sampling import SAMPLING_RULES, pick_frames


class PyAVSource:
    """mp4, mkv, webm, avi and whatever else FFmpeg opens.

    Only sampled frames are converted to RGB (swscale, the frame's own colour matrix and range,
    BT.601 where the file states no matrix). Frames that no sample needs are not decoded where it
    is certain that this changes nothing (`packet_plan`); `num_decoded` counts the others.
    """

    def __init__(self, request: FrameRequest) -> None:
        self._path = request.path
        self._facts = probe(request.path)
        fps = Fraction(round(self._facts.frame_rate))  # the released rule rounds; others ignore it
        self._plan = SAMPLING_RULES[request.sampling](
            request, fps, self._facts.tick_seconds, self._facts.origin
        )
        self._start_seconds = request.start_seconds
        self._turn = turn_for(self._facts.display_matrix)
        self._decoder: StreamDecoder | None = None
        self.duration_seconds = self._facts.stated_seconds

    @property
    def num_decoded(self) -> int:
        """Frames that came out of the decoder so far."""
        return 0 if self._decoder is None else self._decoder.num_decoded

    @property
    def num_corrupt(self) -> int:
        """Of the frames up to the last sampled one: those that FFmpeg marks corrupt."""
        return 0 if self._decoder is None else self._decoder.num_corrupt

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        num_frames = 0
        with ExitStack() as files:
            decoder, keyed_frames = self._start(files)
            for frame in pick_frames(keyed_frames, self._plan, decoder.end_key):
                yield self._to_rgb(frame)
                num_frames += 1
        if self._plan.wants(num_frames):
            self._check_end(decoder, num_frames)

    def _start(self, files: ExitStack) -> tuple[StreamDecoder, KeyedFrames]:
        """A decoder and its frames, beginning at the clip as far as that is certainly the same."""
        container, stream = files.enter_context(opened(self._path))
        is_restart = restart_test(stream.codec_context) if self._may_select() else None
        packets = container.demux(stream)
        if is_restart is not None and self._start_seconds > 0:
            sought = _packets_from(container, stream, self._plan.deadline(0), is_restart)
            if sought is None:  # seeking has moved the file: open it anew
                container, stream = files.enter_context(opened(self._path))
            packets = sought or container.demux(stream)
        stream.thread_type = "AUTO"
        self._decoder = StreamDecoder(self._facts, self._plan, stream.codec_context, packets)
        if is_restart is not None:
            return self._decoder, self._decoder.needed_frames(is_restart)
        return self._decoder, self._decoder.all_frames()

    def _may_select(self) -> bool:
        """Whether packets tell which frames are sampled, so that others need no decoding."""
        return self._facts.one_to_one and not self._plan.counts_frames

    def _to_rgb(self, frame: Any) -> np.ndarray:
        """Like the first frame in size, also where the video changes its resolution."""
        width, height = self._facts.size
        return self._turn(frame.to_ndarray(format="rgb24", width=width, height=height))

    def _check_end(self, decoder: StreamDecoder, num_frames: int) -> None:
        """Raise VideoError when the video should have gone on, or did not reach the clip."""
        if decoder.damage is not None:
            raise VideoError(
                f"{self._path}: damaged after {self._last_seconds(decoder):.2f} s "
                f"({decoder.damage}); the frames up to there were read"
            )
        if num_frames == 0:
            raise VideoError(
                f"{self._path}: no frame at {self._start_seconds:g} s, "
                f"the video ends at {decoder.end_seconds():g} s (clip beyond the end?)"
            )

    def _last_seconds(self, decoder: StreamDecoder) -> float:
        """Time of the last frame that was decoded."""
        if decoder.last_key is None:
            return 0.0
        if self._plan.counts_frames:
            return float(decoder.last_key / self._facts.frame_rate)
        return float((decoder.last_key - self._facts.origin) * self._facts.tick_seconds)


def _packets_from(
    container: Any, stream: Any, stamp: int, is_restart: Callable[[Any], bool]
) -> Iterator[Any] | None:
    """Packets from a restart not later than `stamp` on; None if seeking does not find one."""
    try:
        container.seek(stamp, stream=stream)
        packets = container.demux(stream)
        first = next(packets)
    except (av.FFmpegError, StopIteration):
        return None
    if first.pts is None or first.pts > stamp or not is_restart(first):
        return None
    return chain([first], packets)

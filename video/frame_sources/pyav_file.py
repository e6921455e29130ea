"""Frames of a video file through PyAV (FFmpeg)."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.frame_sources.pyav_decoder import StreamDecoder
from video.frame_sources.pyav_pieces import PieceDecoder, Uncertain
from video.frame_sources.restart_points import restart_test
from video.frame_sources.stream_facts import opened, probe
from video.orientation import turn_for
from video.sampling import SAMPLING_RULES, SamplePlan, pick_frames

logger = logging.getLogger(__name__)

RestartTest = Callable[[Any], bool] | None
MANY_FRAMES = 8
"""Fewer sampled frames are not worth several decoders."""
MAX_DEFAULT_WORKERS = 4


def default_workers() -> int:
    """One thread per core that this process may use, at most four: there the frames come faster
    than a model reads them, and every one of them holds frames."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(len(usable(0)) if usable else os.cpu_count() or 1, MAX_DEFAULT_WORKERS)


class PyAVSource:
    """mp4, mkv, webm, avi and whatever else FFmpeg opens.

    Only sampled frames are converted to RGB (swscale, the frame's own colour matrix and range,
    BT.601 where the file states no matrix). Frames that no sample needs are not decoded where it
    is certain that this changes nothing (`packet_plan`); `num_decoded` counts the others. With
    several decode workers pieces of the video are decoded at once (`pyav_pieces`), which changes
    no frame either.
    """

    def __init__(self, request: FrameRequest) -> None:
        self._path = request.path
        self._facts = probe(request.path)
        fps = Fraction(round(self._facts.frame_rate))  # the released rule rounds; others ignore it
        self._plan = SAMPLING_RULES[request.sampling](
            request, fps, self._facts.tick_seconds, self._facts.origin
        )
        self._start_seconds = request.start_seconds
        self._workers = request.decode_workers or default_workers()
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
        if self._workers > 1 and self._may_select() and self._plan.wants(MANY_FRAMES):
            try:
                for frame in self._in_pieces():
                    yield frame
                    num_frames += 1
                return
            except Uncertain as doubt:
                logger.debug("%s: one by one from frame %d (%s)", self._path, num_frames, doubt)
        yield from self._one_by_one(num_frames)

    def _in_pieces(self) -> Iterator[np.ndarray]:
        """Several pieces of the video at a time. Raises Uncertain in the place of a frame."""
        with ExitStack() as files:
            planner, is_restart = self._start(files, self._plan)
            if is_restart is None:
                raise Uncertain("no certain restarts")
            pieces = PieceDecoder(
                self._path, self._facts, self._plan, self._workers, self._to_rgb
            ).keyed_frames(planner, is_restart)
            files.enter_context(closing(pieces))
            num_frames = 0
            for frame in pick_frames(pieces, self._plan, planner.end_key):
                if frame is None:
                    raise Uncertain("stamps that contradict the plan")
                yield frame
                num_frames += 1
        if self._plan.wants(num_frames):
            self._check_end(planner, num_frames)

    def _one_by_one(self, num_before: int) -> Iterator[np.ndarray]:
        """Without the first so many, which have been delivered."""
        plan, num_frames = self._plan.after(num_before), 0
        with ExitStack() as files:
            decoder, is_restart = self._start(files, plan)
            keyed_frames = (
                decoder.all_frames() if is_restart is None else decoder.needed_frames(is_restart)
            )
            for frame in pick_frames(keyed_frames, plan, decoder.end_key):
                yield self._to_rgb(frame)
                num_frames += 1
        if plan.wants(num_frames):
            self._check_end(decoder, num_before + num_frames)

    def _start(self, files: ExitStack, plan: SamplePlan) -> tuple[StreamDecoder, RestartTest]:
        """A decoder that begins at the plan's first frame as far as that is certainly the same,
        and the test that says where it may restart; None if all has to be decoded."""
        container, stream = files.enter_context(opened(self._path))
        is_restart = restart_test(stream.codec_context) if self._may_select() else None
        packets = container.demux(stream)
        if is_restart is not None and plan.first > self._facts.origin:
            sought = _packets_from(container, stream, plan.deadline(0), is_restart)
            if sought is None:  # seeking has moved the file: open it anew
                container, stream = files.enter_context(opened(self._path))
            packets = sought or container.demux(stream)
        stream.thread_type = "AUTO"
        self._decoder = StreamDecoder(self._facts, plan, stream.codec_context, packets)
        return self._decoder, is_restart

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

"""Which frame of a video is sampled when: exact index and time arithmetic, nothing else.

Every frame of a source has an integer *key* that never decreases in display order. Sampled frame
i is the last frame whose key is not above `plan.deadline(i)`. Two rules build plans:

- ``timestamps``: keys are presentation stamps; sampled frame i is on screen at i / sample_fps.
- ``released``: keys are frame numbers; every int(fps / sample_fps)-th frame, as the authors did.

Seconds and rates arrive as floats, so 0.3 * 10 is 3.0000000000000004 - 1e-16 or the like. Each is
read as the simplest fraction nearby (denominator at most 10**6, so a change below 1e-6 seconds and
none at all for anything written with up to six decimals); all later steps are exact.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from video.frame_request import FrameRequest

Frame = TypeVar("Frame")

MAX_DENOMINATOR = 10**6


def exact(value: float | Fraction) -> Fraction:
    """The simplest fraction near `value` (seconds or frames per second)."""
    simple = Fraction(value).limit_denominator(MAX_DENOMINATOR)
    return simple or Fraction(value)  # rates below 1e-6 must not become 0


def frames_before(end_seconds: float, sample_fps: float) -> int:
    """Number of sampled frames that a question at `end_seconds` has seen, at least one.

    max(1, ceil(end_seconds * sample_fps)), without float noise: 0.3 s at 10 fps are 3 frames.
    """
    return max(1, math.ceil(exact(end_seconds) * exact(sample_fps)))


@dataclass(frozen=True)
class SamplePlan:
    """Sampled frame i is the last frame with key <= deadline(i).

    `first` and `step` are in key units; `count` is the number of sampled frames that are wanted
    (None: until the video ends). `counts_frames` says what keys are: frame numbers or stamps.
    """

    first: Fraction
    step: Fraction
    count: int | None
    counts_frames: bool

    def deadline(self, index: int) -> int:
        """Largest key that sampled frame `index` may come from."""
        return math.floor(self.first + index * self.step)

    def wants(self, index: int) -> bool:
        """Whether sampled frame `index` is before the clip's end and before stop_index."""
        return self.count is None or index < self.count

    def first_from(self, key: int) -> int:
        """The first sampled frame that may come from `key` or later."""
        return max(0, math.ceil((key - self.first) / self.step))

    def after(self, num_frames: int) -> "SamplePlan":
        """The same sampled frames without the first so many."""
        count = None if self.count is None else max(0, self.count - num_frames)
        return replace(self, first=self.first + num_frames * self.step, count=count)


def timestamp_plan(
    request: FrameRequest, fps: Fraction, tick_seconds: Fraction, origin_ticks: int
) -> SamplePlan:
    """Sample i / sample_fps seconds after the clip's start; clips are [start, end).

    `tick_seconds` is the unit of the stamps, `origin_ticks` the stamp of the video's first frame,
    which is second 0 of the annotations. `fps` is not used: frame rates may vary.
    """
    start, end = request.clip or (0.0, None)
    count = None
    if end is not None:
        count = max(1, math.ceil((exact(end) - exact(start)) * exact(request.sample_fps)))
    return SamplePlan(
        first=origin_ticks + exact(start) / tick_seconds,
        step=1 / (exact(request.sample_fps) * tick_seconds),
        count=_smaller(count, request.stop_index),
        counts_frames=False,
    )


def released_plan(
    request: FrameRequest, fps: Fraction, tick_seconds: Fraction, origin_ticks: int
) -> SamplePlan:
    """Every int(fps / sample_fps)-th frame, at least every one; the clip's last frame included.

    The rule of the authors' release, float arithmetic included, except that their step of 0 (more
    samples than frames) stopped with an error. They round the `fps` of video files (not of
    folders), so that 12.5 fps sampled at 0.5 fps gives every 24th frame and drifts.
    """
    step = max(1, int(float(fps) / request.sample_fps))
    start, count = 0, None
    if request.clip is not None:
        start = int(request.clip[0] * float(fps))
        stop = int(request.clip[1] * float(fps)) + 1
        count = max(1, -(-(stop - start) // step))
    return SamplePlan(
        Fraction(start), Fraction(step), _smaller(count, request.stop_index), counts_frames=True
    )


SamplingRule = Callable[[FrameRequest, Fraction, Fraction, int], SamplePlan]
SAMPLING_RULES: dict[str, SamplingRule] = {
    "timestamps": timestamp_plan,
    "released": released_plan,
}


def planned_indices(plan: SamplePlan, num_frames: int) -> Iterator[int]:
    """Frame numbers to read, in order, for a source whose keys are 0 ... num_frames - 1."""
    index = 0
    while plan.wants(index) and plan.deadline(index) < num_frames:
        yield plan.deadline(index)
        index += 1


def pick_frames(
    keyed_frames: Iterable[tuple[int, Frame]], plan: SamplePlan, end_key: Callable[[], int]
) -> Iterator[Frame]:
    """Sampled frames 0, 1, 2, ... out of (key, frame) pairs in display order.

    One frame is held back until the next one shows that nothing later is on screen in time. The
    last frame stays on screen until `end_key()` (exclusive), which is asked when no frame follows.
    The pairs may leave out any frame that no sample needs.
    """
    index, held = 0, None
    for key, frame in keyed_frames:
        while held is not None and plan.wants(index) and plan.deadline(index) < key:
            yield held[1]
            index += 1
        if not plan.wants(index):
            return
        if held is None or key >= held[0]:  # a frame that comes too late is never on screen
            held = (key, frame)
    while held is not None and plan.wants(index) and plan.deadline(index) < end_key():
        yield held[1]
        index += 1


def _smaller(count: int | None, stop_index: int | None) -> int | None:
    """The smaller of two limits, None being no limit."""
    limits = [limit for limit in (count, stop_index) if limit is not None]
    return min(limits, default=None)

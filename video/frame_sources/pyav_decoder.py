"""Decoding one video stream: packets in, frames with keys out, damage noted on the way."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import av

from video.frame_sources.stream_facts import StreamFacts
from video.packet_plan import PacketPlanner, PacketStep
from video.sampling import SamplePlan

KeyedFrames = Iterator[tuple[int, Any]]


# A file that ends this much before the duration it states has lost its end.
MISSING_SECONDS = 1.0


class StreamDecoder:
    """Decodes `packets` (of PyAV, in decoding order) as far as `plan` needs them.

    `damage` says what ended the video too early, None as long as nothing did. What is delivered
    before it is certain: a frame that was shown between others, but lost, is not passed over.
    `num_decoded` counts the frames delivered, sampled or not; `num_corrupt` those of them that
    FFmpeg marks corrupt, because it had to guess at them, and packets it could not decode at all.
    """

    def __init__(
        self, facts: StreamFacts, plan: SamplePlan, context: Any, packets: Iterator[Any]
    ) -> None:
        self.damage: str | None = None
        self.num_decoded = 0
        self.num_corrupt = 0
        self.end_stamp = facts.origin  # where the packets read so far end
        self.last_key: int | None = None  # of the last frame decoded
        self._facts = facts
        self._plan = plan
        self._context = context
        self._packets = self._sound(packets)
        self._decoding_failed = False
        self._lost_from: int | None = None  # lost packets have presentation stamps from here on

    def end_key(self) -> int:
        """Key at which the last decoded frame leaves the screen (exclusive)."""
        after_last = self.num_decoded if self.last_key is None else self.last_key + 1
        if self._plan.counts_frames or self._decoding_failed:
            return after_last
        if self._lost_from is not None:
            return after_last if self._facts.stamps_by_order else self._lost_from
        return max(after_last, self.end_stamp)

    def end_seconds(self) -> float:
        """End of what has been read of the video."""
        return float((self.end_stamp - self._facts.origin) * self._facts.tick_seconds)

    def all_frames(self) -> KeyedFrames:
        """Every frame with its key (number or stamp), in display order."""
        decoding_stamps: deque[int] = deque()
        for packet in chain(self._packets, [None]):
            if packet is not None and packet.dts is not None:
                decoding_stamps.append(packet.dts)
            for frame in self._decode(packet):
                key = frame.pts
                if self._plan.counts_frames:
                    key = self.num_decoded
                elif self._facts.stamps_by_order:
                    key = decoding_stamps.popleft() if decoding_stamps else None
                yield self._count(key, frame), frame

    def needed_frames(self, is_restart: Callable[[Any], bool]) -> KeyedFrames:
        """The frames that may be sampled and those that they refer to, with their stamps."""
        return self.frames_of(self.steps(is_restart))

    def steps(self, is_restart: Callable[[Any], bool]) -> Iterator[PacketStep]:
        """What has to be decoded, from the packets alone; decodes nothing."""
        planner = PacketPlanner(self._plan, is_restart)
        return planner.steps(self._packets, lambda: self.end_stamp)

    def frames_of(self, steps: Iterable[PacketStep]) -> KeyedFrames:
        """The frames of these steps, with their stamps; all that the decoder holds at their end.

        NONREF is left to H.264, where it means that no picture whatever refers to the frame;
        in HEVC pictures of higher sub-layers may.
        """
        skip_unshown = "NONREF" if self._context.name == "h264" else "DEFAULT"
        for step in steps:
            if step.after_gap:
                yield from self._stamped(None)
                self._context.flush_buffers()
            self._context.skip_frame = "DEFAULT" if step.shown else skip_unshown
            yield from self._stamped(step.packet)
        yield from self._stamped(None)

    def _stamped(self, packet: Any) -> KeyedFrames:
        for frame in self._decode(packet):
            yield self._count(frame.pts, frame), frame

    def _count(self, key: int | None, frame: Any) -> int:
        """Note one decoded frame; returns its key, the next expected one if it has none."""
        self.num_decoded += 1
        self.num_corrupt += bool(frame.is_corrupt)
        if key is None:
            before = self.last_key
            key = self._facts.origin if before is None else before + self._facts.frame_ticks
            self.end_stamp = max(self.end_stamp, key + self._facts.frame_ticks)
        self.last_key = key
        return key

    def _sound(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Packets up to the first damage."""
        last_dts = self._facts.origin
        try:
            for packet in packets:
                if packet.is_corrupt:
                    self._lose("a packet is incomplete", packet.dts or last_dts)
                    return
                if packet.size:  # PyAV's last packet is empty; the decoder would take it as the end
                    last_dts = packet.dts or last_dts
                    self._note_end(packet)
                    yield packet
        except av.FFmpegError as error:
            self._lose(f"reading fails: {error.strerror}", last_dts)
        stated, end = self._facts.stated_seconds, self.end_seconds()
        if stated is not None and 0 < end < stated - MISSING_SECONDS:
            self._lose(f"the file states {stated:.2f} s but ends after {end:.2f} s", last_dts)

    def _lose(self, damage: str, stamp: int) -> None:
        self.damage = self.damage or damage
        self._lost_from = stamp if self._lost_from is None else self._lost_from

    def _note_end(self, packet: Any) -> None:
        stamp = packet.dts if self._facts.stamps_by_order else packet.pts
        if stamp is not None and not packet.is_discard:
            end = stamp + (packet.duration or self._facts.frame_ticks)
            self.end_stamp = max(self.end_stamp, end)

    def _decode(self, packet: Any) -> list[Any]:
        """Frames that are ready after `packet`; after None all that remain and are certain."""
        if self._decoding_failed:
            return []
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError as error:
            self.num_corrupt += 1
            if self.last_key is not None:  # before the first frame: wait for a key frame
                self.damage = f"decoding fails: {error.strerror}"
                self._decoding_failed = True
            return []
        return self._certain(frames) if packet is None else frames

    def _certain(self, frames: list[Any]) -> list[Any]:
        """Of the frames left in the decoder: those before which no lost frame was to be shown."""
        if self._lost_from is None:
            return frames
        if self._facts.stamps_by_order:
            return []
        return [frame for frame in frames if frame.pts is not None and frame.pts < self._lost_from]

"""What must be known of a video stream before its frames are read."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from video.error import VideoError

PROBED_PACKETS = 12
DISPLAY_MATRIX = "DISPLAYMATRIX"


@dataclass(frozen=True)
class StreamFacts:
    """Facts about one stream; stamps count `tick_seconds`.

    `origin`: stamp of the first frame, second 0 of the video. `stamps_by_order`: the container has
    no presentation stamps, the k-th frame shown has the k-th decoding stamp. `one_to_one`: packets
    and frames correspond by presentation stamps. `size`: (width, height) before turning.
    `stated_seconds`: duration that the file states, None if it does not.
    """

    tick_seconds: Fraction
    frame_rate: Fraction
    origin: int
    stamps_by_order: bool
    one_to_one: bool
    size: tuple[int, int]
    display_matrix: bytes | None
    stated_seconds: float | None

    @property
    def frame_ticks(self) -> int:
        """Ticks between frames at the average rate, at least one."""
        return max(1, round(1 / (self.frame_rate * self.tick_seconds)))


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The (container, video stream) of a file, closed afterwards. Raises VideoError."""
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes)")
    try:
        # Titles in Latin-1 are common, and of no interest here.
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: {_why_not_opened(path, error)}") from error
    with container:
        yield container, _video_stream(container, path)


def probe(path: Path) -> StreamFacts:
    """Decode the first few packets of a file. Raises VideoError when there is no frame in them."""
    with opened(path) as (container, stream):
        try:
            packets, frames = _first_packets(container, stream)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: reading fails: {error.strerror}") from error
        if not frames:
            raise VideoError(f"{path}: no frame can be decoded, the video is damaged or empty")
        shown = [packet.pts for packet in packets if not packet.is_discard]
        by_order = container.format.name == "avi" or frames[0].pts is None
        origin = (packets[0].dts if by_order else frames[0].pts) or 0
        matrix = frames[0].side_data.get(DISPLAY_MATRIX)
        return StreamFacts(
            tick_seconds=Fraction(stream.time_base),
            frame_rate=Fraction(stream.average_rate or stream.guessed_rate or 25),
            origin=origin,
            stamps_by_order=by_order,
            one_to_one=not by_order and _correspond(shown, frames),
            size=(frames[0].width, frames[0].height),
            display_matrix=None if matrix is None else bytes(matrix),
            stated_seconds=_stated_seconds(container, stream, origin),
        )


def _first_packets(container: Any, stream: Any) -> tuple[list[Any], list[Any]]:
    """Packets until PROBED_PACKETS of them or the first frame, whichever is later; their frames."""
    packets: list[Any] = []
    frames: list[Any] = []
    for packet in container.demux(stream):
        if packet.size == 0 or (len(packets) >= PROBED_PACKETS and frames):
            break
        packets.append(packet)
        frames += _decode_leniently(stream, packet)
    return packets, frames + _decode_leniently(stream, None)


def _decode_leniently(stream: Any, packet: Any) -> list[Any]:
    try:
        return stream.codec_context.decode(packet)
    except av.FFmpegError:  # damage is reported, with its time, when the frames are read
        return []


def _correspond(shown_stamps: list[int | None], frames: list[Any]) -> bool:
    """Whether every packet became one progressive frame with the packet's stamp."""
    stamps = [frame.pts for frame in frames]
    complete = None not in shown_stamps and None not in stamps
    interlaced = any(frame.interlaced_frame for frame in frames)
    return complete and not interlaced and sorted(shown_stamps) == sorted(stamps)  # type: ignore


def _video_stream(container: Any, path: Path) -> Any:
    """The first video stream that is no cover picture and that can be decoded."""
    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & attached]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "none"
        raise VideoError(f"{path}: no video stream in the file (streams found: {kinds})")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: this FFmpeg has no decoder for the video stream")
    return streams[0]


def _stated_seconds(container: Any, stream: Any, origin: int) -> float | None:
    """Duration of the video stream; of the file only if nothing else in it could be longer."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    end = _matroska_end(stream.metadata.get("DURATION"))
    if end is None and len(container.streams) == 1 and container.duration:
        end = container.duration / av.time_base
    if end is None or not container.format.name.startswith("matroska"):
        return end
    return end - float(origin * stream.time_base)  # Matroska counts from stamp 0, not from origin


def _matroska_end(tag: str | None) -> float | None:
    """Seconds of a tag like "01:02:03.456000000"; None when there is no such tag."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d*)?)", tag or "")
    if match is None:
        return None
    hours, minutes, seconds = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _why_not_opened(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        starts_like_mp4 = file.read(12)[4:8] == b"ftyp"
    if starts_like_mp4 and isinstance(error, av.InvalidDataError):
        return "an mp4 without a readable index (moov): cut off, or not finished when it was copied"
    return f"not a video that FFmpeg can open ({error.__class__.__name__})"

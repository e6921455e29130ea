"""Videos for tests: every frame carries its own number, readable after compression.

`write_video` writes numbered frames with PyAV; `frame_number` reads the number back from a decoded
frame. The number is a row of 16 blocks, black or white, most significant bit first, across the
middle of the frame: blocks of 8x8 pixels and more survive any codec at a sensible quality.
"""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

NUM_BITS = 16


def numbered_frame(number: int, width: int = 128, height: int = 64) -> np.ndarray:
    """uint8 (height, width, 3): grey noise of its own, and `number` (below 65536) as blocks."""
    noise = np.random.default_rng(number).integers(96, 160, (height // 8, width // 8, 3))
    frame = np.kron(noise, np.ones((8, 8, 1))).astype(np.uint8)
    bits = [(number >> shift) & 1 for shift in reversed(range(NUM_BITS))]
    row = np.repeat(np.array(bits, np.uint8) * 255, width // NUM_BITS)
    frame[height // 4 : 3 * height // 4, : len(row)] = row[None, :, None]
    return frame


def numbered_frames(count: int, width: int = 128, height: int = 64) -> Iterator[np.ndarray]:
    """`count` numbered frames from 0 on."""
    return (numbered_frame(number, width, height) for number in range(count))


def frame_number(frame: np.ndarray) -> int:
    """The number in a decoded frame (height, width, 3) of `numbered_frame`."""
    height, width = frame.shape[:2]
    block = width // NUM_BITS
    middle = frame[3 * height // 8 : 5 * height // 8, : NUM_BITS * block].mean(axis=(0, 2))
    bits = middle.reshape(NUM_BITS, block)[:, block // 4 : block - block // 4].mean(axis=1) > 127
    return int("".join("1" if bit else "0" for bit in bits), 2)


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: int | Fraction = 10,
    *,
    codec: str = "libx264",
    stamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    gop: int = 12,
    b_frames: int = 2,
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    title: str | None = None,
) -> Path:
    """Encode uint8 RGB frames; `stamps` are presentation stamps in `time_base` (default 1 / fps).

    `gop` is the largest distance of key frames; no scene-cut detection, so the video is the same
    everywhere. Any container that PyAV knows by its suffix.
    """
    with av.open(str(path), "w", options=container_options or {}) as container:
        if title is not None:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=Fraction(fps))
        stream.codec_context.time_base = time_base or 1 / Fraction(fps)
        stream.pix_fmt = pixel_format
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        stream.options = _encoder_options(codec) | (options or {})
        for number, pixels in enumerate(frames):
            if number == 0:
                stream.height, stream.width = pixels.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def damaged_late(path: Path, codec: str) -> Path:
    """A video of 10 s whose packets are overwritten from second 6 to 6.5: guesses, no errors."""
    write_video(path, numbered_frames(100), 10, codec=codec, b_frames=0)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size][60:65]
    data = bytearray(path.read_bytes())
    for position, size in packets:
        data[position + size // 2 : position + size] = bytes([0x55] * (size - size // 2))
    path.write_bytes(data)
    return path


def _encoder_options(codec: str) -> dict[str, str]:
    common = {
        "libx264": {"preset": "veryfast", "crf": "23", "sc_threshold": "0", "threads": "1"},
        "libx265": {"preset": "ultrafast", "x265-params": "log-level=error:pools=1"},
        "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "threads": "1"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    }
    return common.get(codec, {})

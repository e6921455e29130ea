"""H.264 in and out of memory or files, with the one set of settings of the benchmark."""

from collections.abc import Iterable
from typing import IO

import numpy as np

SIZE = 112  # pixels, even because of yuv420p
FPS = 4
# Macroblock-tree rate control gave different bytes from the same frames (seen in 1 of 5 runs).
CODEC_OPTIONS = {"crf": "18", "preset": "veryfast", "x264-params": "threads=1:mbtree=0"}


# BT.601, limited range: rows Y, Cb, Cr. Converted here so that the same seed gives the same
# file whatever conversion library the video package was built with.
_YUV = np.array(
    [[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], np.float32
) / np.float32(255)
_OFFSET = np.array([16, 128, 128], np.float32)


def to_yuv420(frame: np.ndarray) -> np.ndarray:
    """uint8 `(H, W, 3)` RGB to uint8 `(3 * H / 2, W)`: Y, then Cb and Cr of 2 x 2 means."""
    height, width = frame.shape[:2]
    yuv = frame.astype(np.float32) @ _YUV.T + _OFFSET
    chroma = yuv[..., 1:].reshape(height // 2, 2, width // 2, 2, 2).mean((1, 3))
    planes = (yuv[..., 0], chroma[..., 0], chroma[..., 1])
    flat = np.concatenate([np.rint(plane).astype(np.uint8).ravel() for plane in planes])
    return flat.reshape(height * 3 // 2, width)


def encode(frames: Iterable[np.ndarray], file: str | IO[bytes], fps: int, size: int) -> None:
    """Write uint8 `(size, size, 3)` RGB frames as an H.264 mp4, frame i at `i / fps` seconds.

    PyAV is imported here, so that streams can be rendered where it is missing.
    """
    import av

    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=CODEC_OPTIONS)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(to_yuv420(frame), format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())

"""Small pictures of frames, inside the page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from video.reader import open_video
from video_qa.questions.annotations import Video
from video_qa.questions.video_paths import locate_video

QUALITY = 70


def jpeg(frame: np.ndarray, width: int) -> bytes:
    """A frame (H, W, 3) uint8 as a small JPEG of that width."""
    height = max(1, round(frame.shape[0] * width / frame.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(frame).resize((width, height)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def data_uri(picture: bytes) -> str:
    """A JPEG as an address that needs no network."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def frame_at(video: Video, root: Path | None, seconds: float, sample_fps: float) -> np.ndarray:
    """The frame (H, W, 3) uint8 that was sampled at a moment of a video.

    Raises:
        VideoError: the video or that moment of it cannot be read.
    """
    path = locate_video(video.video_path, root)
    clip = (seconds, seconds + 1 / sample_fps)
    with open_video(
        path, sample_fps, folder_fps=video.folder_fps, clip=clip, chunk_frames=1, stop_index=1
    ) as stream:
        return next(stream.take(1)).frames[0]

"""Where frames come from: one class per kind of input, one line per kind here."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from video.error import VideoError
from video.frame_request import FrameRequest
from video.frame_sources.decord_file import DecordSource
from video.frame_sources.image_folder import ImageFolderSource
from video.frame_sources.npy_array import NpyArraySource
from video.frame_sources.torchcodec_file import TorchCodecSource
from video.sampling import SAMPLING_RULES

logger = logging.getLogger(__name__)


class FrameSource(Protocol):
    """An opened input. `duration_seconds` is None where the file does not say."""

    duration_seconds: float | None

    @property
    def num_corrupt(self) -> int:
        """Frames decoded so far that the reader had to guess at, because the file is damaged."""
        ...

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames 0, 1, 2, ..., each uint8 (height, width, 3) RGB; called once.

        Ends with the video, the clip or stop_index; raises VideoError where the file is damaged.
        """
        ...


def _pyav_source(request: FrameRequest) -> FrameSource:
    """Imported on use: images and arrays are read without PyAV."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise VideoError(
            f"{request.path}: video files are read with PyAV, which is not installed; "
            "pip install av, or give a folder of images or a .npy array"
        ) from error
    from video.frame_sources.pyav_file import PyAVSource

    return PyAVSource(request)


VIDEO_BACKENDS: dict[str, Callable[[FrameRequest], FrameSource]] = {
    "pyav": _pyav_source,
    "decord": DecordSource,
    "torchcodec": TorchCodecSource,
    "torchcodec-cuda": partial(TorchCodecSource, device="cuda"),
}
KINDS: dict[str, Callable[[FrameRequest], FrameSource]] = {
    "folder": ImageFolderSource,
    ".npy": NpyArraySource,
}


def open_source(request: FrameRequest, backend: str = "pyav") -> FrameSource:
    """The source for `request.path`; `backend` reads what is neither a folder nor a .npy file."""
    _check_name("sampling", request.sampling, SAMPLING_RULES)
    _check_name("video backend", backend, VIDEO_BACKENDS)
    if not request.path.exists():
        raise VideoError(f"{request.path}: no such video file or folder")
    source_class = KINDS.get(_kind(request.path), VIDEO_BACKENDS[backend])
    source = source_class(request)
    if request.clip is not None and source.duration_seconds is not None:
        _check_clip(request, request.clip, source.duration_seconds)
    return source


def _check_clip(request: FrameRequest, clip: tuple[float, float], duration: float) -> None:
    if clip[0] >= duration:
        raise VideoError(
            f"{request.path}: the clip starts at {clip[0]:g} s, "
            f"but the video ends at {duration:g} s"
        )
    if clip[1] > duration + 1:  # annotators round to whole seconds
        logger.warning(
            "%s: the clip ends at %g s, the video at %g s; reading up to there",
            request.path,
            clip[1],
            duration,
        )


def _kind(path: Path) -> str:
    return "folder" if path.is_dir() else path.suffix.lower()


def _check_name(what: str, name: str, known: dict) -> None:
    if name not in known:
        raise VideoError(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}")

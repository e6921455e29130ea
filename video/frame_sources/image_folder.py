"""Frames from a folder of images, one image per video frame."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from video.error import VideoError
from video.frame_request import FrameRequest
from video.sampling import SAMPLING_RULES, exact, planned_indices

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class ImageFolderSource:
    """Images .jpg, .jpeg, .png in the order of their names, `folder_fps` of them per second."""

    num_corrupt = 0  # damage is always an error here

    def __init__(self, request: FrameRequest) -> None:
        if request.folder_fps is None:
            raise VideoError(
                f"{request.path} is a folder of images: its frame rate is needed "
                "(folder_fps, or 'fps' in the annotation)"
            )
        self._path = request.path
        self._images = sorted(
            entry for entry in request.path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES
        )
        if not self._images:
            raise VideoError(
                f"{request.path}: no image ({', '.join(IMAGE_SUFFIXES)}) in the folder"
            )
        fps = exact(request.folder_fps)
        self.duration_seconds: float | None = float(len(self._images) / fps)
        self._plan = SAMPLING_RULES[request.sampling](request, fps, 1 / fps, 0)

    def frames(self) -> Iterator[np.ndarray]:
        """Sampled frames in order, each uint8 (height, width, 3) RGB."""
        size = None
        for index in planned_indices(self._plan, len(self._images)):
            frame = _read_image(self._images[index])
            size = size or frame.shape
            if frame.shape != size:
                raise VideoError(
                    f"{self._images[index]}: image of {frame.shape[1]}x{frame.shape[0]} pixels, "
                    f"the first one has {size[1]}x{size[0]}; all images must have one size"
                )
            yield frame


def _read_image(path: Path) -> np.ndarray:
    try:
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))
    except Exception as error:  # damaged PNGs raise SyntaxError, struct.error, zlib.error, ...
        raise VideoError(f"{path}: not a readable image ({error})") from error

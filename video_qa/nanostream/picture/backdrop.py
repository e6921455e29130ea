"""Textured, drifting backgrounds with coloured specks that mean nothing."""

from dataclasses import dataclass

import numpy as np

from video_qa.nanostream.degrees import CLEAN, Degree, degree_named
from video_qa.nanostream.picture.paint import local_grid, stamp
from video_qa.nanostream.picture.shapes import RGB
from video_qa.nanostream.vocabulary import COLOURS

NUM_SPECKS = 7
_CLEAN = degree_named(CLEAN)


@dataclass(frozen=True)
class Backdrop:
    """A texture twice the frame's size that drifts, and coloured specks that mean nothing."""

    texture: np.ndarray  # float32 (2 * size, 2 * size, 3), wraps around
    drift: np.ndarray  # pixels per second, (2,)
    specks: np.ndarray  # (NUM_SPECKS, 5): y, x, velocity y, velocity x, radius
    speck_rgb: np.ndarray


def make_backdrop(seed: int, size: int, degree: Degree = _CLEAN) -> Backdrop:
    rng = np.random.default_rng(seed)
    grid = np.arange(2 * size) * (np.pi / size)
    base, swing = rng.uniform(85, 165, 3), rng.uniform(-24, 24, (4, 3)) * degree.texture
    texture = np.empty((2 * size, 2 * size, 3), np.float32)
    texture[:] = base
    for amplitude in swing:
        ky, kx = rng.integers(-9, 10, 2)
        phase = (ky * grid[:, None] + (kx * grid + rng.uniform(0, 6.3))).astype(np.float32)
        texture += np.sin(phase)[..., None] * amplitude.astype(np.float32)
    specks = np.column_stack(
        [
            rng.uniform(0, size, (NUM_SPECKS, 2)),
            rng.uniform(-size / 12, size / 12, (NUM_SPECKS, 2)),
            rng.uniform(0.012, 0.03, NUM_SPECKS) * size,
        ]
    )
    speck_rgb = np.stack([RGB[COLOURS[i]] for i in rng.integers(0, len(COLOURS), NUM_SPECKS)])
    drift = rng.uniform(-size / 14, size / 14, 2) * degree.scroll
    return Backdrop(texture, drift, specks, speck_rgb)


def draw_backdrop(backdrop: Backdrop, seconds: float, size: int) -> np.ndarray:
    """The background at that time: float32 `(size, size, 3)`, a new array."""
    top, left = (backdrop.drift * seconds).astype(int) % (2 * size)
    rows = backdrop.texture.take(np.arange(top, top + size), 0, mode="wrap")
    image = rows.take(np.arange(left, left + size), 1, mode="wrap")
    for (y, x, vy, vx, radius), rgb in zip(backdrop.specks, backdrop.speck_rgb, strict=True):
        at_y, at_x = (y + vy * seconds) % size, (x + vx * seconds) % size
        at, dy, dx = local_grid(at_y, at_x, radius + 2)
        stamp(image, np.hypot(dy, dx) - radius, at, rgb, 0.9)
    return image

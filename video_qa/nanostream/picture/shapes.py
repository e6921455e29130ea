"""What shapes and colours look like: signed distances in units of the radius, and RGB values."""

import numpy as np

from video_qa.nanostream.vocabulary import COLOURS

RGB = dict(
    zip(
        COLOURS,
        np.array(
            [
                (215, 35, 40),
                (245, 140, 20),
                (245, 225, 50),
                (40, 165, 60),
                (35, 75, 215),
                (150, 50, 170),
                (245, 245, 245),
                (20, 20, 20),
            ],
            np.float32,
        ),
        strict=True,
    )
)


def _polygon_distance(x: np.ndarray, y: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance to a polygon, negative inside (even-odd rule)."""
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, 0), strict=True):
        ex, ey = bx - ax, by - ay
        t = np.clip(((x - ax) * ex + (y - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (x - ax - t * ex) ** 2 + (y - ay - t * ey) ** 2)
        crosses = (ay > y) != (by > y)
        if ey != 0:
            inside ^= crosses & (x < ax + (y - ay) * ex / ey)
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def _ring_of_points(radii: tuple[float, ...], start: float = -np.pi / 2) -> np.ndarray:
    angle = start + np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([np.cos(angle) * radii, np.sin(angle) * radii], 1).astype(np.float32)


_STAR = _ring_of_points((1.12, 0.45) * 5)
_TRIANGLE = _ring_of_points((1.15,) * 3) + np.array([0, 0.2], np.float32)
_DIAMOND = np.array([(0, -1.15), (0.75, 0), (0, 1.15), (-0.75, 0)], np.float32)
_ANGLE = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_HEART = np.stack(
    [
        np.sin(_ANGLE) ** 3,
        -(13 * np.cos(_ANGLE) - 5 * np.cos(2 * _ANGLE) - 2 * np.cos(3 * _ANGLE)) / 15 - 0.1,
    ],
    1,
).astype(np.float32)


def _box(x: np.ndarray, y: np.ndarray, half_x: float, half_y: float) -> np.ndarray:
    return np.maximum(np.abs(x) - half_x, np.abs(y) - half_y)


# Signed distance in units of the shape's radius, negative inside.
DISTANCE = {
    "circle": lambda x, y: np.hypot(x, y) - 0.95,
    "square": lambda x, y: _box(x, y, 0.82, 0.82),
    "triangle": lambda x, y: _polygon_distance(x, y, _TRIANGLE),
    "star": lambda x, y: _polygon_distance(x, y, _STAR),
    "cross": lambda x, y: np.minimum(_box(x, y, 1.0, 0.32), _box(x, y, 0.32, 1.0)),
    "ring": lambda x, y: np.abs(np.hypot(x, y) - 0.75) - 0.25,
    "heart": lambda x, y: _polygon_distance(x, y, _HEART),
    "diamond": lambda x, y: _polygon_distance(x, y, _DIAMOND),
}

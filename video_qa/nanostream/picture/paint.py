"""Soft-edged shapes on a float picture."""

from collections.abc import Callable

import numpy as np


def stamp(
    image: np.ndarray,
    distance: np.ndarray,
    at: tuple[int, int],
    rgb: np.ndarray,
    alpha: float | np.ndarray,
) -> None:
    """Blend a colour into `image` where `distance` (pixels) is negative, with a soft edge."""
    top, left = at
    height, width = distance.shape
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + height, image.shape[0]), min(left + width, image.shape[1])
    if y0 >= y1 or x0 >= x1:
        return
    cover = np.clip(0.5 - distance[y0 - top : y1 - top, x0 - left : x1 - left], 0, 1) * alpha
    patch = image[y0:y1, x0:x1]
    patch += cover[..., None] * (rgb - patch)


def local_grid(centre_y: float, centre_x: float, half: float):
    """Top left pixel of a square around a centre, and the offsets of its rows and columns."""
    top, left = int(centre_y - half), int(centre_x - half)
    span = np.arange(int(2 * half) + 1, dtype=np.float32)
    return (top, left), (top + span - centre_y)[:, None], (left + span - centre_x)[None, :]


Form = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""x and y in units of a radius -> signed distance in that unit, negative inside."""


def draw(image: np.ndarray, forms: list[tuple[Form, np.ndarray]], centre, radius, tilt, alpha):
    """Stamp forms on top of each other around a centre, each with its colour, turned by `tilt`."""
    at, dy, dx = local_grid(centre[0], centre[1], 1.3 * radius + 2)
    cos, sin = np.float32(np.cos(tilt) / radius), np.float32(np.sin(tilt) / radius)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    for form, rgb in forms:
        stamp(image, form(x, y) * radius, at, rgb, alpha)

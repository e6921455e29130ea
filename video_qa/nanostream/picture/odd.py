"""Things that nothing is asked about: objects of no known shape, and litter."""

import numpy as np

from video_qa.nanostream.picture.paint import Form, draw, local_grid, stamp
from video_qa.nanostream.picture.shapes import RGB
from video_qa.nanostream.vocabulary import COLOURS

# Colours without a name here, beside those that have one.
STRANGE_RGB = np.array(
    [(120, 120, 120), (130, 80, 40), (245, 150, 190), (70, 215, 225), (120, 130, 60)], np.float32
)
NUM_CRUMBS = (5, 9)  # of litter, inclusive


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


def _bars(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.maximum(np.abs(x) - 0.95, np.abs(y) - 0.85), 0.2 - np.abs(np.abs(y) - 0.3))


def _hourglass(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x) - np.abs(y) * 0.9 - 0.08, np.abs(y) - 0.95)


def _bracket(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    box = np.maximum(np.abs(x) - 0.85, np.abs(y) - 0.85)
    return np.maximum(box, -np.maximum(np.abs(x - 0.45) - 0.85, np.abs(y - 0.4) - 0.85))


ODD_FORMS: dict[str, Form] = {
    "crescent": _crescent,
    "bars": _bars,
    "hourglass": _hourglass,
    "bracket": _bracket,
}


def draw_odd(image: np.ndarray, seed: int, centre: np.ndarray, seconds: float) -> None:
    """One object of no known shape, half of them in a known colour, gliding a little."""
    rng, size = np.random.default_rng(seed), image.shape[0]
    form = ODD_FORMS[str(rng.choice(list(ODD_FORMS)))]
    known = rng.random() < 0.5
    rgb = RGB[str(rng.choice(COLOURS))] if known else STRANGE_RGB[rng.integers(len(STRANGE_RGB))]
    radius, tilt, phase = rng.uniform(0.12, 0.17) * size, rng.uniform(0, 6.3), rng.uniform(0, 6.3)
    at = centre + 0.03 * size * np.sin(phase + seconds * np.array([1.1, 0.8]))
    draw(image, [(form, rgb)], at, radius, tilt, 1.0)


def draw_clutter(image: np.ndarray, seed: int, centre: np.ndarray) -> None:
    """Crumbs of many colours over one place."""
    rng, size = np.random.default_rng(seed), image.shape[0]
    for _ in range(rng.integers(NUM_CRUMBS[0], NUM_CRUMBS[1] + 1)):
        y, x = centre + rng.uniform(-0.2, 0.2, 2) * size
        radius = rng.uniform(0.02, 0.05) * size
        at, dy, dx = local_grid(y, x, radius * 1.5 + 2)
        round_ = rng.random() < 0.5
        distance = np.hypot(dy, dx) if round_ else np.maximum(np.abs(dy), np.abs(dx))
        stamp(image, distance - radius, at, RGB[str(rng.choice(COLOURS))], 0.85)

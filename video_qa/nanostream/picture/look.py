"""How the same coloured shape looks from one scene to the next, and from one second to the next."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from video_qa.nanostream.degrees import Degree
from video_qa.nanostream.picture.paint import Form
from video_qa.nanostream.picture.shapes import DISTANCE, RGB
from video_qa.nanostream.vocabulary import COLOURS

REACH = 0.235  # of the frame: how far from the middle of its place a thing may extend
# What the second colour covers, in units of the radius: never more than 40 % of a shape.
PATTERNS: dict[str, Form | None] = {
    "plain": None,
    "band": lambda x, y: np.abs(x) - 0.17,
    "dot": lambda x, y: np.hypot(x, y) - 0.42,
    "side": lambda x, y: 0.34 - x,
    "cap": lambda x, y: y + 0.35,
}


@dataclass(frozen=True)
class Look:
    """How one shape looks in one scene: radius and wobble (shares of the frame), tint, tilt.

    `wobble_speed` in radians per second. `accents`: names of two second colours, the first that is
    not the thing's own is shown. `spin` (radians) and `swell` (share of the radius) are the small
    changes within a scene, to and fro at `pulse` radians per second.
    """

    radius: float
    phase: np.ndarray
    wobble: float
    tint: np.ndarray
    tilt: float
    pattern: str = "plain"
    accents: tuple[str, str] | None = None
    wobble_speed: tuple[float, float] = (0.9, 0.7)
    spin: float = 0.0
    swell: float = 0.0
    pulse: float = 0.0

    def forms(self, shape: str, colour: str, rgb: np.ndarray) -> list[tuple[Form, np.ndarray]]:
        """The whole in its colour, then what the second colour covers."""
        whole, part = DISTANCE[shape], PATTERNS[self.pattern]
        forms: list[tuple[Form, np.ndarray]] = [(whole, rgb + self.tint)]
        if part and self.accents:
            accent = next(name for name in self.accents if name != colour)
            forms.append((_both(whole, part), RGB[accent] + self.tint))
        return forms

    def centre(self, place_centre: np.ndarray, seconds: float, size: int) -> np.ndarray:
        """Where it is, in pixels, around the middle of its place."""
        speed = np.array(self.wobble_speed)
        return place_centre + self.wobble * size * np.sin(self.phase + seconds * speed)

    def radius_at(self, seconds: float) -> float:
        return self.radius * (1 + self.swell * np.sin(self.pulse * seconds))

    def tilt_at(self, seconds: float) -> float:
        return self.tilt + self.spin * np.sin(self.pulse * seconds + 1.0)


def _both(one: Form, other: Form) -> Form:
    return lambda x, y: np.maximum(one(x, y), other(x, y))


def _plain_look(rng: np.random.Generator) -> Look:
    return Look(
        rng.uniform(0.13, 0.175),
        rng.uniform(0, 2 * np.pi, 2),
        rng.uniform(0.01, 0.045),
        rng.uniform(-14, 14, 3).astype(np.float32),
        rng.uniform(-0.2, 0.2),
    )


def _rich_look(rng: np.random.Generator) -> Look:
    """Small to large, five patterns in eight second colours, lying still or roaming its place."""
    radius = rng.uniform(0.105, 0.18)
    still, room = rng.random() < 0.5, REACH - 1.15 * radius
    accents = rng.choice(COLOURS, 2, replace=False)
    return Look(
        radius,
        rng.uniform(0, 2 * np.pi, 2),
        rng.uniform(0.005, 0.015) if still else max(0.03, room * rng.uniform(0.7, 1.0)),
        rng.uniform(-14, 14, 3).astype(np.float32),
        rng.uniform(-0.3, 0.3),
        str(rng.choice(list(PATTERNS))),
        (str(accents[0]), str(accents[1])),
        (0.9, 0.7) if still else (rng.uniform(1.2, 2.4), rng.uniform(1.2, 2.4)),
        rng.uniform(0, 0.2),
        rng.uniform(0, 0.1),
        rng.uniform(0.2, 0.6),
    )


def look_maker(degree: Degree) -> Callable[[np.random.Generator], Look]:
    """What draws the looks of a degree."""
    return _rich_look if degree.rich_looks else _plain_look

"""Frames of a stream: textured, drifting backgrounds, noise, distractors, and the shapes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from video_qa.nanostream.shapes import DISTANCE, RGB
from video_qa.nanostream.vocabulary import COLOURS, PLACES
from video_qa.nanostream.world import Scene, State, Thing, World

TRANSITION = (0.2, 0.8)  # a change between two seconds happens in this part of the second
NOISE_STD = 6.0
NUM_SPECKS = 7


@dataclass(frozen=True)
class Backdrop:
    """A texture twice the frame's size that drifts, and coloured specks that mean nothing."""

    texture: np.ndarray  # float32 (2 * size, 2 * size, 3), wraps around
    drift: np.ndarray  # pixels per second, (2,)
    specks: np.ndarray  # (NUM_SPECKS, 5): y, x, velocity y, velocity x, radius
    speck_rgb: np.ndarray


def make_backdrop(seed: int, size: int) -> Backdrop:
    rng = np.random.default_rng(seed)
    grid = np.arange(2 * size) * (np.pi / size)
    base, swing = rng.uniform(85, 165, 3), rng.uniform(-24, 24, (4, 3))
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
    return Backdrop(texture, rng.uniform(-size / 14, size / 14, 2), specks, speck_rgb)


def _stamp(image: np.ndarray, distance: np.ndarray, at: tuple[int, int], rgb: np.ndarray, alpha):
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


def _local_grid(centre_y: float, centre_x: float, half: float):
    top, left = int(centre_y - half), int(centre_x - half)
    span = np.arange(int(2 * half) + 1, dtype=np.float32)
    return (top, left), (top + span - centre_y)[:, None], (left + span - centre_x)[None, :]


def _draw_specks(image: np.ndarray, backdrop: Backdrop, seconds: float) -> None:
    size = image.shape[0]
    for (y, x, vy, vx, radius), rgb in zip(backdrop.specks, backdrop.speck_rgb, strict=True):
        at_y, at_x = (y + vy * seconds) % size, (x + vx * seconds) % size
        at, dy, dx = _local_grid(at_y, at_x, radius + 2)
        _stamp(image, np.hypot(dy, dx) - radius, at, rgb, 0.9)


def _centre(place: str, size: int) -> Any:
    row, column = divmod(PLACES.index(place), 2)
    return np.array([(row + 0.5) * size / 2, (column + 0.5) * size / 2])


@dataclass(frozen=True)
class Look:
    """How one shape looks in one scene: radius (share of the frame), wobble, tint."""

    radius: float
    phase: np.ndarray
    wobble: float
    tint: np.ndarray
    tilt: float


def make_look(rng: np.random.Generator) -> Look:
    return Look(
        rng.uniform(0.13, 0.175),
        rng.uniform(0, 2 * np.pi, 2),
        rng.uniform(0.01, 0.045),
        rng.uniform(-14, 14, 3).astype(np.float32),
        rng.uniform(-0.2, 0.2),
    )


def _draw_thing(image, thing: Thing, look: Look, centre: np.ndarray, rgb, alpha: float) -> None:
    size = image.shape[0]
    radius = look.radius * size
    at, dy, dx = _local_grid(centre[0], centre[1], 1.3 * radius + 2)
    cos, sin = np.float32(np.cos(look.tilt) / radius), np.float32(np.sin(look.tilt) / radius)
    x, y = cos * dx + sin * dy, cos * dy - sin * dx
    _stamp(image, DISTANCE[thing.shape](x, y) * radius, at, rgb + look.tint, alpha)


def _draw_state(image, now: State, later: State, part: float, seconds: float, looks) -> None:
    """Draw `now`, a `part` (0 to 1) of the way to `later`: gliding, recolouring, fading."""
    size = image.shape[0]
    goals = {thing.shape: thing for thing in later}
    starts = {thing.shape: thing for thing in now}
    for shape in starts | goals:
        alpha = 1 - part if shape not in goals else part if shape not in starts else 1.0
        old = starts.get(shape) or goals[shape]
        new = goals.get(shape) or old
        look = looks[shape]
        wobble = look.wobble * size * np.sin(look.phase + seconds * np.array([0.9, 0.7]))
        centre = wobble + (1 - part) * _centre(old.place, size) + part * _centre(new.place, size)
        rgb = (1 - part) * RGB[old.colour] + part * RGB[new.colour]
        _draw_thing(image, new, look, centre, rgb, alpha)


def render_frame(
    world: World, scene: Scene, backdrop: Backdrop, looks: dict, seconds: float, size: int, rng
) -> np.ndarray:
    """The frame on screen at `seconds`: uint8 `(size, size, 3)` RGB."""
    second = int(seconds)
    part = np.clip((seconds - second - TRANSITION[0]) / (TRANSITION[1] - TRANSITION[0]), 0, 1)
    now = world.states[second]
    later = world.states[second + 1] if second + 1 < scene.end_second else now
    top, left = (backdrop.drift * seconds).astype(int) % (2 * size)
    rows = backdrop.texture.take(np.arange(top, top + size), 0, mode="wrap")
    image = rows.take(np.arange(left, left + size), 1, mode="wrap")
    _draw_specks(image, backdrop, seconds)
    _draw_state(image, now, later, float(part), seconds, looks)
    noise = rng.standard_normal((size, size, 1), np.float32)
    image += NOISE_STD * noise
    return np.clip(image, 0, 255).astype(np.uint8)


def render(world: World, fps: int = 4, size: int = 112) -> Iterator[np.ndarray]:
    """Yield the frames at `i / fps` seconds, uint8 `(size, size, 3)` RGB.

    At whole seconds no change is under way: who samples at 1 fps sees clean states only.
    """
    rng = np.random.default_rng(world.seed)
    for scene in world.scenes:
        backdrop = make_backdrop(scene.background_seed, size)
        seconds = world.states[scene.start_second : scene.end_second]
        shapes = sorted({thing.shape for state in seconds for thing in state})
        looks = {shape: make_look(rng) for shape in shapes}
        for index in range(scene.start_second * fps, scene.end_second * fps):
            yield render_frame(world, scene, backdrop, looks, index / fps, size, rng)

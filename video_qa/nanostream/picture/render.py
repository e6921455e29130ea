"""Frames of a stream: background, known things, whatever comes between, and the camera."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from video_qa.nanostream.degrees import CLEAN, degree_named
from video_qa.nanostream.marks import CLUTTER, CUTAWAY, FLASH, ODD, Mark
from video_qa.nanostream.picture.backdrop import Backdrop, draw_backdrop, make_backdrop
from video_qa.nanostream.picture.camera import flash, make_camera
from video_qa.nanostream.picture.look import Look, look_maker
from video_qa.nanostream.picture.odd import draw_clutter, draw_odd
from video_qa.nanostream.picture.paint import draw
from video_qa.nanostream.picture.shapes import RGB
from video_qa.nanostream.vocabulary import PLACES
from video_qa.nanostream.world import Scene, State, World

TRANSITION = (0.2, 0.8)  # a change between two seconds happens in this part of the second


def _centre(place: str, size: int) -> Any:
    row, column = divmod(PLACES.index(place), 2)
    return np.array([(row + 0.5) * size / 2, (column + 0.5) * size / 2])


def _draw_state(image, now: State, later: State, part: float, seconds: float, looks) -> None:
    """Draw `now`, a `part` (0 to 1) of the way to `later`: gliding, recolouring, fading."""
    size = image.shape[0]
    goals = {thing.shape: thing for thing in later}
    starts = {thing.shape: thing for thing in now}
    for shape in starts | goals:
        alpha = 1 - part if shape not in goals else part if shape not in starts else 1.0
        old = starts.get(shape) or goals[shape]
        new = goals.get(shape) or old
        look: Look = looks[shape]
        place = (1 - part) * _centre(old.place, size) + part * _centre(new.place, size)
        forms = look.forms(shape, new.colour, (1 - part) * RGB[old.colour] + part * RGB[new.colour])
        centre, radius = look.centre(place, seconds, size), look.radius_at(seconds) * size
        draw(image, forms, centre, radius, look.tilt_at(seconds), alpha)


def _draw_marks(image: np.ndarray, marks: list[Mark], seconds: float) -> None:
    size = image.shape[0]
    for mark in marks:
        if mark.kind == CLUTTER:
            draw_clutter(image, mark.seed, _centre(str(mark.place), size))
        elif mark.kind == ODD:
            draw_odd(image, mark.seed, _centre(str(mark.place), size), seconds)
    for mark in marks:
        if mark.kind == FLASH:
            flash(image, mark.seed)


def render_frame(
    world: World, scene: Scene, backdrop: Backdrop, looks: dict, seconds: float, size: int
) -> np.ndarray:
    """What is in front of the camera at `seconds`: float32 `(size, size, 3)` RGB."""
    second = int(seconds)
    part = np.clip((seconds - second - TRANSITION[0]) / (TRANSITION[1] - TRANSITION[0]), 0, 1)
    now, marks = world.states[second], world.marks_at(second)
    later = world.states[second + 1] if second + 1 < scene.end_second else now
    for mark in marks:
        if mark.kind == CUTAWAY:
            elsewhere = make_backdrop(mark.seed, size, degree_named(world.degree))
            return draw_backdrop(elsewhere, seconds, size)
    image = draw_backdrop(backdrop, seconds, size)
    _draw_state(image, now, later, float(part), seconds, looks)
    _draw_marks(image, marks, seconds)
    return image


def scene_looks(world: World, scene: Scene, rng: np.random.Generator) -> dict[str, Look]:
    """The look of each shape of a scene; of the scenes of a world in their order from one `rng`."""
    states = world.states[scene.start_second : scene.end_second]
    make_look = look_maker(degree_named(world.degree))
    return {shape: make_look(rng) for shape in sorted({t.shape for s in states for t in s})}


def render(world: World, fps: int = 4, size: int = 112) -> Iterator[np.ndarray]:
    """Yield the frames at `i / fps` seconds, uint8 `(size, size, 3)` RGB.

    At whole seconds no change is under way: who samples at 1 fps sees clean states only.
    """
    degree = degree_named(world.degree)
    camera, rng = make_camera(degree, world.seed), np.random.default_rng(world.seed)
    # One generator for looks and noise is how the bytes of clean streams came about.
    noise_rng = rng if world.degree == CLEAN else np.random.default_rng([world.seed, 2])
    for scene in world.scenes:
        backdrop = make_backdrop(scene.background_seed, size, degree)
        looks = scene_looks(world, scene, rng)
        for index in range(scene.start_second * fps, scene.end_second * fps):
            image = render_frame(world, scene, backdrop, looks, index / fps, size)
            yield camera.take(image, index / fps, noise_rng)

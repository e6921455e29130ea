"""Eye charts: coded frames on which everything shows up everywhere, and what is to be seen."""

import io
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from inference.vision.frames import PixelConfig
from inference.vision.frames import pixels as engine_pixels
from nano_training.checkpoint import IMAGE_SIZE
from nano_training.contents import NOTHING, contents_at
from nano_training.processes import context
from video_qa.nanostream.degrees import DEGREES, degree_named
from video_qa.nanostream.marks import CLUTTER, FLASH, ODD, Mark
from video_qa.nanostream.picture.look import PATTERNS
from video_qa.nanostream.picture.render import render, scene_looks
from video_qa.nanostream.picture.video import FPS, SIZE, encode
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES
from video_qa.nanostream.world import Scene, State, Thing, World

CHART_FPS = 2
SCENE_SECONDS = 2  # one state, then another, and the frame halfway between them
SCENES_PER_CHART = 25
ODD_SHARE, CLUTTER_SHARE, FLASH_SHARE = 0.3, 0.3, 0.04  # where the degree has such things
NO_ACCENT = len(COLOURS)
UNTOLD = -100  # there is no thing to tell the look of


class Chart(NamedTuple):
    """`n` frames and, by quadrant, what they show."""

    pixels: torch.Tensor  # fp16 (n, 3, 56, 56)
    contents: torch.Tensor  # long (n, 4), see contents.py
    patterns: torch.Tensor  # long (n, 4): number of the pattern, or UNTOLD
    accents: torch.Tensor  # long (n, 4): number of the second colour, NO_ACCENT, or UNTOLD


def _random_state(rng: random.Random) -> State:
    count = rng.choice((0, 2, 3, 3, 3, 4))
    picks = [rng.sample(words, count) for words in (SHAPES, COLOURS, PLACES)]
    return tuple(Thing(*words) for words in zip(*picks, strict=True))


def _changed(state: State, rng: random.Random) -> State:
    """One thing recoloured, moved to an empty place, or gone."""
    if not state:
        return state
    things, number = list(state), rng.randrange(len(state))
    places = [place for place in PLACES if place not in {thing.place for thing in state}]
    kind = rng.choice(("colour", "place", "gone"))
    if kind == "colour":
        things[number] = replace(things[number], colour=rng.choice(COLOURS))
    elif kind == "place" and places:
        things[number] = replace(things[number], place=rng.choice(places))
    else:
        del things[number]
    return tuple(things)


def _marks(degree: str, rng: random.Random, state: State, later: State, start: int) -> list[Mark]:
    settings, marks = degree_named(degree), []
    used = {thing.place for thing in (*state, *later)}
    for place in PLACES:
        draw, seed = rng.random(), rng.getrandbits(32)
        if not settings.disturbed or place in used or draw > ODD_SHARE + CLUTTER_SHARE:
            continue
        kind = ODD if draw < ODD_SHARE else CLUTTER
        marks.append(Mark(kind, start, start + SCENE_SECONDS, seed, place))
    if settings.flash_share and rng.random() < FLASH_SHARE:
        marks.append(Mark(FLASH, start, start + 1, rng.getrandbits(32)))
    return marks


def make_chart_world(seed: int, degree: str) -> World:
    """A stream that is all change: a new scene every two seconds."""
    rng, states, scenes, marks = random.Random(f"{degree} {seed}"), list[State](), [], list[Mark]()
    for number in range(SCENES_PER_CHART):
        start = number * SCENE_SECONDS
        state = _random_state(rng)
        later = _changed(state, rng)
        marks += _marks(degree, rng, state, later, start)
        states += [state, later]
        scenes.append(Scene(start, start + SCENE_SECONDS, rng.getrandbits(32)))
    return World(seed, tuple(states), tuple(scenes), degree, tuple(marks))


def _looks(world: World, frames: np.ndarray) -> tuple[list[list[int]], list[list[int]]]:
    """Pattern and second colour by frame and quadrant, where a thing is to be seen."""
    rng, patterns, accents = np.random.default_rng(world.seed), [], []
    by_scene = [scene_looks(world, scene, rng) for scene in world.scenes]
    for index, row in enumerate(frames):
        looks = by_scene[index // (SCENE_SECONDS * CHART_FPS)]
        pair = [_look(looks, int(number)) for number in row]
        patterns.append([pattern for pattern, _ in pair])
        accents.append([accent for _, accent in pair])
    return patterns, accents


def _look(looks: dict, content: int) -> tuple[int, int]:
    if content >= NOTHING:
        return UNTOLD, UNTOLD
    look, colour = looks[SHAPES[content // len(COLOURS)]], COLOURS[content % len(COLOURS)]
    pattern = list(PATTERNS).index(look.pattern)
    if not pattern:
        return pattern, NO_ACCENT
    return pattern, COLOURS.index(next(name for name in look.accents if name != colour))


def to_pixels(frames: np.ndarray) -> torch.Tensor:
    """uint8 `(n, H, W, 3)` to the float `(n, 3, 56, 56)` that the tower sees, by the engine."""
    half = (0.5, 0.5, 0.5)
    config = PixelConfig(mean=half, std=half)
    return engine_pixels(
        torch.from_numpy(frames), (IMAGE_SIZE, IMAGE_SIZE), config, torch.device("cpu")
    )


def through_h264(frames) -> np.ndarray:
    import av

    file = io.BytesIO()
    encode(frames, file, FPS, SIZE)
    file.seek(0)
    with av.open(file) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def make_chart(seed: int, degree: str) -> Chart:
    """Coded and decoded frames of one chart."""
    world = make_chart_world(seed, degree)
    frames = through_h264(render(world, CHART_FPS, SIZE))
    shown = np.array([contents_at(world, index) for index in range(len(frames))])
    patterns, accents = _looks(world, shown)
    return Chart(
        to_pixels(frames).half(), torch.tensor(shown), torch.tensor(patterns), torch.tensor(accents)
    )


def make_charts(seed: int, num_charts: int, processes: int) -> dict[str, Chart]:
    """`num_charts` charts of each degree, one after the other, made by several processes."""
    jobs = [(seed * 1_000_003 + n, degree) for degree in DEGREES for n in range(num_charts)]
    with context().Pool(max(1, processes), torch.set_num_threads, (1,)) as pool:
        made = list(tqdm(pool.imap(_make_chart, jobs), "charts", len(jobs), mininterval=10))
    charts: dict[str, list[Chart]] = {degree: [] for degree in DEGREES}
    for (_, degree), chart in zip(jobs, made, strict=True):
        charts[degree].append(chart)
    return {degree: joined(parts) for degree, parts in charts.items()}


def joined(charts: Iterable[Chart]) -> Chart:
    """One after the other."""
    return Chart(*(torch.cat(columns) for columns in zip(*charts, strict=True)))


def _make_chart(job: tuple[int, str]) -> Chart:
    return make_chart(*job)

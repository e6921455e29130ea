"""What happens in a stream, second by second: pure data, a function of the seed alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from video_qa.nanostream.degrees import CLEAN, Degree, degree_named
from video_qa.nanostream.marks import CUTAWAY, FLASH, Mark, make_marks
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES

MAX_COLOURS_PER_SHAPE = 3
SHORTEST_SECONDS = 4  # of a stream, and of a scene outside bursts
BURST_SCENES, BURST_SECONDS = (3, 5), (3, 4)  # inclusive ranges
LULL_SECONDS = (14, 30)  # of the one scene between two bursts
SECONDS_AROUND_EVENT = 3  # an event has at least so many seconds before and after it in its scene
EVENT_KINDS = ("recolour", "move", "join", "leave")


@dataclass(frozen=True)
class Thing:
    """One coloured shape in one quadrant."""

    shape: str
    colour: str
    place: str


State = tuple[Thing, ...]


@dataclass(frozen=True)
class Scene:
    """Seconds `[start_second, end_second)` over one background."""

    start_second: int
    end_second: int
    background_seed: int


@dataclass(frozen=True)
class World:
    """A stream: `states[k]` is what is visible at second k; changes happen between two seconds."""

    seed: int
    states: tuple[State, ...]
    scenes: tuple[Scene, ...]
    degree: str = CLEAN
    marks: tuple[Mark, ...] = ()

    def marks_at(self, second: int) -> list[Mark]:
        return [mark for mark in self.marks if mark.at(second)]

    def unseen(self, second: int) -> bool:
        """Whether the picture of this second shows nothing of its state: nothing is asked there."""
        return any(mark.kind in (FLASH, CUTAWAY) for mark in self.marks_at(second))

    @property
    def num_seconds(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Cast:
    """Who may appear: `palette` of the regular shapes; `rare` things belong to one scene each.

    Shapes in neither never appear, which is what unanswerable questions are about.
    """

    palette: dict[str, tuple[str, ...]]
    rare: dict[str, str]


def make_cast(rng: random.Random, degree: Degree) -> Cast:
    shapes = rng.sample(SHAPES, len(SHAPES))
    num_absent, num_regular = rng.choice((1, 1, 2)), degree.num_regular
    regular, rare = shapes[:num_regular], shapes[num_regular : len(shapes) - num_absent]
    sizes = [1, 2, 3, *(rng.randint(1, MAX_COLOURS_PER_SHAPE) for _ in regular[3:])]
    palette = {
        shape: tuple(rng.sample(COLOURS, size)) for shape, size in zip(regular, sizes, strict=True)
    }
    return Cast(palette, {shape: rng.choice(COLOURS) for shape in rare})


def make_world(seed: int, num_seconds: int, degree: str = CLEAN) -> World:
    """Build the stream of `num_seconds` seconds that belongs to `seed`.

    Raises:
        ValueError: if there is not room for at least one scene, or no such degree.
    """
    if num_seconds < SHORTEST_SECONDS:
        raise ValueError(
            f"a stream of {num_seconds} s is too short: at least {SHORTEST_SECONDS} s needed"
        )
    settings = degree_named(degree)
    rng = random.Random(seed)
    cast = make_cast(rng, settings)
    spans = _scene_spans(rng, num_seconds, settings)
    rare_at = _rare_scenes(rng, cast, len(spans))
    states: list[State] = []
    scenes = []
    before: State = ()
    for number, (start, end) in enumerate(spans):
        before = _first_state(rng, cast, rare_at.get(number), before, number == 0, settings)
        states += _play_scene(rng, cast, before, end - start)
        scenes.append(Scene(start, end, rng.getrandbits(32)))
        before = states[-1]
    marks = make_marks(settings, seed, states, spans)
    return World(seed, tuple(states), tuple(scenes), degree, marks)


def _scene_spans(rng: random.Random, num_seconds: int, degree: Degree) -> list[tuple[int, int]]:
    lengths = _bursts(rng) if degree.bursts else _steady(rng, degree)
    spans, start = [], 0
    while start < num_seconds:
        end = start + next(lengths)
        if num_seconds - end < SHORTEST_SECONDS:
            end = num_seconds
        spans.append((start, end))
        start = end
    return spans


def _steady(rng: random.Random, degree: Degree) -> Iterator[int]:
    while True:
        eventful = rng.random() < degree.eventful_share
        yield rng.randint(*(degree.eventful_seconds if eventful else degree.calm_seconds))


def _bursts(rng: random.Random) -> Iterator[int]:
    while True:
        yield from (rng.randint(*BURST_SECONDS) for _ in range(rng.randint(*BURST_SCENES)))
        yield rng.randint(*LULL_SECONDS)


def _rare_scenes(rng: random.Random, cast: Cast, num_scenes: int) -> dict[int, Thing]:
    """Give every rare thing a scene of its own, most of them in the first two thirds."""
    latest = max(len(cast.rare), num_scenes * 2 // 3)
    numbers = rng.sample(range(latest), len(cast.rare))
    return {
        number: Thing(shape, colour, rng.choice(PLACES))
        for number, (shape, colour) in zip(numbers, cast.rare.items(), strict=True)
    }


def _first_state(
    rng: random.Random,
    cast: Cast,
    rare: Thing | None,
    before: State,
    single: bool,
    degree: Degree,
) -> State:
    """Pick one to three things of different shape, colour and place.

    A lone thing of the scene before does not come back at once: otherwise nobody could tell
    what "the previous scene" showed.
    """
    count = 1 if single else rng.choices((1, 2, 3), degree.counts)[0]
    things = [rare] if rare else []
    barred = {before[0].shape} if len(before) == 1 else set()
    for shape in rng.sample(sorted(set(cast.palette) - barred), len(set(cast.palette) - barred)):
        newcomer = _newcomer(rng, cast, shape, things)
        if len(things) < count and newcomer:
            things.append(newcomer)
    return tuple(things)


def _newcomer(rng: random.Random, cast: Cast, shape: str, things: list[Thing]) -> Thing | None:
    colours = [c for c in cast.palette[shape] if c not in {thing.colour for thing in things}]
    places = [p for p in PLACES if p not in {thing.place for thing in things}]
    if not colours or not places or shape in {thing.shape for thing in things}:
        return None
    return Thing(shape, rng.choice(colours), rng.choice(places))


def _play_scene(rng: random.Random, cast: Cast, first: State, seconds: int) -> list[State]:
    """The states of one scene: constant, or with one event in its middle."""
    states = [first] * seconds
    if seconds < 2 * SECONDS_AROUND_EVENT:
        return states
    for kind in rng.sample(EVENT_KINDS, len(EVENT_KINDS)):
        changed = _EVENTS[kind](rng, cast, first)
        if changed:
            at = rng.randint(SECONDS_AROUND_EVENT, seconds - SECONDS_AROUND_EVENT)
            return states[:at] + [changed] * (seconds - at)
    return states


def _swap(state: State, old: Thing, new: Thing) -> State:
    return tuple(new if thing is old else thing for thing in state)


def _recolour(rng: random.Random, cast: Cast, state: State) -> State | None:
    used = {thing.colour for thing in state}
    options = [
        (thing, colour)
        for thing in state
        for colour in cast.palette.get(thing.shape, ())
        if colour not in used
    ]
    if not options:
        return None
    thing, colour = rng.choice(options)
    return _swap(state, thing, replace(thing, colour=colour))


def _move(rng: random.Random, cast: Cast, state: State) -> State | None:
    free = [place for place in PLACES if place not in {thing.place for thing in state}]
    thing = rng.choice(state)
    return _swap(state, thing, replace(thing, place=rng.choice(free)))


def _join(rng: random.Random, cast: Cast, state: State) -> State | None:
    if len(state) == 3:
        return None
    for shape in rng.sample(sorted(cast.palette), len(cast.palette)):
        newcomer = _newcomer(rng, cast, shape, list(state))
        if newcomer:
            return (*state, newcomer)
    return None


def _leave(rng: random.Random, cast: Cast, state: State) -> State | None:
    if len(state) == 1:
        return None
    gone = rng.choice(state)
    return tuple(thing for thing in state if thing is not gone)


_EVENTS = {"recolour": _recolour, "move": _move, "join": _join, "leave": _leave}

"""Degrees: nothing asked about is hidden for good, and what each of them adds is really there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from video_qa.nanostream.degrees import CLEAN, DEGREES, degree_named
from video_qa.nanostream.marks import CLUTTER, CUTAWAY, FLASH, ODD, UNSEEN_GAP
from video_qa.nanostream.picture.look import PATTERNS
from video_qa.nanostream.picture.render import render, scene_looks
from video_qa.nanostream.picture.shapes import DISTANCE
from video_qa.nanostream.vocabulary import PLACES
from video_qa.nanostream.world import make_world
from video_qa.nanostream.write import Settings, annotate, make_stream

LARGEST_BUDGET_TOKENS = 128
SECONDS_4X, SECONDS_16X = 256, 1024


def _worlds(degree: str, count: int = 20, seconds: int = SECONDS_4X):
    return [make_world(seed, seconds, degree) for seed in range(count)]


def test_an_unknown_degree_is_named() -> None:
    with pytest.raises(ValueError, match="'hazy' is unknown; there are clean, noisy, busy, rich"):
        degree_named("hazy")
    command = [sys.executable, "-m", "video_qa.nanostream", "--out", "x", "--degree", "hazy"]
    assert (
        "invalid choice: 'hazy'" in subprocess.run(command, capture_output=True, text=True).stderr
    )


@pytest.mark.parametrize("degree", DEGREES)
def test_whoever_looks_every_other_second_sees_every_state(degree: str) -> None:
    lost = 0
    for world in _worlds(degree):
        unseen = [second for second in range(world.num_seconds) if world.unseen(second)]
        lost += len(unseen)
        assert all(b - a >= UNSEEN_GAP for a, b in pairwise(unseen))
        start = 0
        for second in range(1, world.num_seconds + 1):
            ends = second == world.num_seconds or world.states[second] != world.states[start]
            if ends or any(scene.start_second == second for scene in world.scenes):
                shown = [s for s in range(start, second) if s not in unseen]
                assert shown[0] == start
                assert {s % 2 for s in shown} == {0, 1} or not set(unseen) & set(
                    range(start, second)
                )
                start = second
    assert (lost > 0) == (degree == "busy")


@pytest.mark.parametrize("degree", DEGREES)
def test_nothing_is_asked_while_nothing_can_be_seen(degree: str) -> None:
    for world in _worlds(degree, 6):
        lines = annotate(world, "x", "x", 20, 2)["nanostream"]["conversations"]
        assert not any(world.unseen(int(line["end_time"])) for line in lines)


def test_marks_stand_where_no_thing_is_and_have_all_kinds() -> None:
    kinds = set()
    for world in _worlds("busy"):
        for mark in world.marks:
            kinds.add(mark.kind)
            span = range(mark.start_second, mark.end_second)
            places = {thing.place for second in span for thing in world.states[second]}
            assert mark.place not in places
            assert mark.kind != ODD or len(span) <= 2
    assert kinds == {FLASH, CUTAWAY, ODD, CLUTTER}
    assert not any(world.marks for name in ("clean", "noisy", "rich") for world in _worlds(name, 3))


def test_busy_streams_have_bursts_and_lulls() -> None:
    spans = [s.end_second - s.start_second for world in _worlds("busy") for s in world.scenes]
    assert sum(span <= 4 for span in spans) > len(spans) / 2 and max(spans) >= 28


def _vocabulary(seconds: int, degree: str, seed: int) -> set[tuple]:
    """The different things-in-places of a stream, with the look they have."""
    world, rng, found = make_world(seed, seconds, degree), np.random.default_rng(seed), set()
    for scene in world.scenes:
        looks = scene_looks(world, scene, rng)
        for state in world.states[scene.start_second : scene.end_second]:
            for thing in state:
                look = looks[thing.shape]
                # Of clean streams the looks differ by less than the noise, and do not count.
                seen = (look.pattern, look.accents, round(look.radius * 40), look.wobble > 0.02)
                found.add((thing, seen if degree == "rich" else None))
    return found


def test_no_budget_in_use_holds_what_a_rich_stream_shows() -> None:
    sizes = [len(_vocabulary(SECONDS_4X, "rich", seed)) for seed in range(20)]
    assert np.mean(sizes) > LARGEST_BUDGET_TOKENS and min(sizes) > 0.9 * LARGEST_BUDGET_TOKENS
    assert len(_vocabulary(SECONDS_16X, "rich", 0)) > 4 * LARGEST_BUDGET_TOKENS
    assert len(_vocabulary(SECONDS_4X, CLEAN, 0)) < LARGEST_BUDGET_TOKENS / 2


def test_the_second_colour_covers_less_than_the_first() -> None:
    grid = np.linspace(-1.4, 1.4, 300, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    for shape, distance in DISTANCE.items():
        whole = distance(x, y) < 0
        for pattern, part in PATTERNS.items():
            covered = (whole & (part(x, y) < 0)).sum() / whole.sum() if part else 0
            assert covered <= 0.4, (shape, pattern)


def _frames(world) -> np.ndarray:
    return np.stack(list(render(world, fps=1))).astype(np.int16)


@pytest.mark.parametrize("degree", DEGREES)
def test_a_stream_is_a_function_of_seed_and_degree(degree: str) -> None:
    one, two = (_frames(make_world(4, 12, degree)) for _ in range(2))
    assert np.array_equal(one, two)
    assert degree == CLEAN or not np.array_equal(one, _frames(make_world(4, 12)))


def test_marks_change_their_place_and_nothing_else() -> None:
    world = make_world(5, 64, "busy")
    frames, undisturbed = _frames(world), _frames(replace(world, marks=()))
    for second in range(world.num_seconds):
        marks, differs = world.marks_at(second), (frames[second] != undisturbed[second]).any(-1)
        if any(mark.kind == FLASH for mark in marks):
            assert frames[second].mean() > 225
        elif any(mark.kind == CUTAWAY for mark in marks):
            assert differs.mean() > 0.9
        else:
            marked = {PLACES.index(str(mark.place)) for mark in marks}
            cells = differs.reshape(2, 56, 2, 56).mean((1, 3)).flatten()
            assert {int(place) for place in np.flatnonzero(cells > 0.02)} == marked
    assert {mark.kind for mark in world.marks} == {FLASH, CUTAWAY, ODD, CLUTTER}


def test_noisy_streams_differ_in_strength() -> None:
    spread = []
    for seed in range(8):
        frame = _frames(make_world(seed, 6, "noisy"))[0]
        spread.append(np.abs(np.diff(frame, axis=1)).mean())
    assert max(spread) > 1.5 * min(spread)
    assert min(spread) > np.abs(np.diff(_frames(make_world(0, 6))[0], axis=1)).mean()


def test_settings_know_degrees(tmp_path) -> None:
    from video_qa.nanostream.write import NanoStreamError, write_split

    with pytest.raises(NanoStreamError, match="degree is one of clean, noisy, busy, rich"):
        Settings(degree="hazy")
    small = {
        "num_streams": 1,
        "min_minutes": 0.1,
        "max_minutes": 0.1,
        "video_format": "npy",
        "fps": 1,
    }
    write_split(tmp_path, Settings(degree="busy", **small))
    with pytest.raises(NanoStreamError, match="degree: 'busy' there, 'rich' now"):
        write_split(tmp_path, Settings(degree="rich", **small))
    assert make_stream(Settings(degree="busy", **small), 0).degree == "busy"

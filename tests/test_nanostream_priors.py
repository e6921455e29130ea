"""What can be answered without any video: not more than by chance, of worlds that are new."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest

from video_qa.nanostream.degrees import CLEAN
from video_qa.nanostream.questions import EDITIONS, NEWEST_EDITION
from video_qa.nanostream.vocabulary import NEVER
from video_qa.nanostream.write import CHOICE, Settings, annotate, make_stream

PER_TASK, MINUTES, NUM_WORLDS = 8, 1.5, 512
PAIR = ("unanswerable", "answerable")
"""One answer to both is right for half of them."""
Line = dict[str, Any]


@cache
def lines(edition: int, num_worlds: int, degree: str) -> list[list[Line]]:
    """Multiple-choice questions of each world."""
    length = {"min_minutes": MINUTES, "max_minutes": MINUTES}
    settings = Settings(num_streams=num_worlds, edition=edition, degree=degree, **length)
    worlds = (make_stream(settings, number) for number in range(num_worlds))
    return [annotate(w, "x", "x", PER_TASK, edition)[CHOICE]["conversations"] for w in worlds]


def halves(worlds: Sequence[list[Line]], tasks: Sequence[str]) -> tuple[list[Line], list[Line]]:
    """The questions of these tasks in the first and in the second half of the worlds."""
    half = len(worlds) // 2
    first, second = (
        [line for world in part for line in world if line["task"] in tasks]
        for part in (worlds[:half], worlds[half:])
    )
    return first, second


def blind_accuracy(worlds: Sequence[list[Line]], task: str) -> tuple[float, float, int]:
    """Right answers and chance in percent, and questions, on the second half of the worlds, of who
    takes the option that was right most often in the first."""
    first, second = halves(worlds, [task])
    counts = Counter(line["answer"] for line in first)
    right = [max(q["choices"], key=counts.__getitem__) == q["answer"] for q in second]
    chance = [1 / len(line["choices"]) for line in second]
    return 100 * sum(right) / len(right), 100 * sum(chance) / len(right), len(right)


def told_apart(worlds: Sequence[list[Line]], seen: Callable[[Line], object]) -> tuple[float, int]:
    """Percent of the pair's questions of the second half, and their number, of which it is guessed
    whether they have an answer, from what was so more often in the first where `seen` was alike."""
    first, second = halves(worlds, PAIR)
    counts: dict[object, Counter[bool]] = defaultdict(Counter)
    for line in first:
        counts[seen(line)][line["answer"] == NEVER] += 1
    guesses = [counts[seen(line)][True] > counts[seen(line)][False] for line in second]
    right = [guess == (q["answer"] == NEVER) for guess, q in zip(guesses, second, strict=True)]
    return 100 * sum(right) / len(right), len(right)


@pytest.mark.parametrize("degree", [CLEAN, "busy", "rich"])  # noisy: the questions of clean
@pytest.mark.parametrize("edition", [edition for edition in EDITIONS if edition > 1])
def test_the_most_frequent_answer_is_right_by_chance_only(edition: int, degree: str) -> None:
    worlds = lines(edition, NUM_WORLDS, degree)
    for task in set(EDITIONS[edition]) - set(PAIR):
        found, chance, count = blind_accuracy(worlds, task)
        assert count >= 800 and found <= chance + 5, (task, found, chance, count)


@pytest.mark.parametrize(
    "seen",
    [
        lambda line: line["question"],
        lambda line: line["end_time"] // 4,
        lambda line: frozenset(line["choices"]),
    ],
    ids=["words", "time", "options"],
)
def test_nothing_tells_unanswerable_questions_from_their_look_alikes(seen: Callable) -> None:
    found, count = told_apart(lines(NEWEST_EDITION, NUM_WORLDS, CLEAN), seen)
    assert count >= 1600 and found <= 54, found


@pytest.mark.parametrize("task", ["now_count", "far_colour", "count_colours"])
def test_edition_1_had_priors(task: str) -> None:
    """Which shows that the test above can fail."""
    found, chance, _ = blind_accuracy(lines(1, 256, CLEAN), task)
    assert found > chance + 5


def test_the_first_edition_is_what_it_was() -> None:
    """The questions of a world as figures up to 2026-11-25 were measured on."""
    found = [
        (line["end_time"], line["task"], line["question"], line["answer"], *line["choices"])
        for world in lines(1, 2, CLEAN)
        for line in world
    ]
    assert len(found) == 238 and random.Random(str(found)).getrandbits(32) == 1667673164

"""What can be answered without any video: not more than by chance, of worlds that are new."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import pytest

from video_qa.nanostream.questions import EDITIONS
from video_qa.nanostream.write import CHOICE, Settings, annotate, make_stream

PER_TASK = 4
PAIR = ("unanswerable", "answerable")
"""One answer to both is right for half of them."""
Line = dict[str, Any]


@cache
def lines(edition: int, num_worlds: int) -> list[list[Line]]:
    """Multiple-choice questions of each world."""
    settings = Settings(num_streams=num_worlds, edition=edition)
    worlds = (make_stream(settings, number) for number in range(num_worlds))
    return [annotate(w, "x", "x", PER_TASK, edition)[CHOICE]["conversations"] for w in worlds]


def blind_accuracy(
    worlds: Sequence[list[Line]], tasks: Sequence[str], seen: Callable[[Line], object]
) -> tuple[float, float, int]:
    """Right answers and chance in percent, and questions, on the second half of the worlds; of the
    offered options that one is taken which was right most often on the first half where `seen` gave
    the same."""

    def asked(part: Iterable[list[Line]]) -> list[Line]:
        return [line for world in part for line in world if line["task"] in tasks]

    half = len(worlds) // 2
    counts: dict[object, Counter[str]] = defaultdict(Counter)
    for line in asked(worlds[:half]):
        counts[seen(line)][line["answer"]] += 1
    rest = asked(worlds[half:])
    right = [max(q["choices"], key=counts[seen(q)].__getitem__) == q["answer"] for q in rest]
    chance = [1 / len(line["choices"]) for line in rest]
    return 100 * sum(right) / len(rest), 100 * sum(chance) / len(rest), len(rest)


@pytest.mark.parametrize("edition", [edition for edition in EDITIONS if edition > 1])
def test_the_most_frequent_answer_is_right_by_chance_only(edition: int) -> None:
    worlds = lines(edition, 960)
    for task in set(EDITIONS[edition]) - set(PAIR):
        found, chance, count = blind_accuracy(worlds, [task], lambda line: "")
        assert count >= 800 and found <= chance + 5, (task, found, chance, count)


@pytest.mark.parametrize(
    "seen",
    [
        lambda line: "",
        lambda line: line["question"],
        lambda line: line["end_time"] // 4,
        lambda line: len(line["choices"]),
    ],
    ids=["nothing", "words", "time", "number of options"],
)
def test_nothing_tells_unanswerable_questions_from_their_look_alikes(seen: Callable) -> None:
    found, _, count = blind_accuracy(lines(2, 960), PAIR, seen)
    assert count >= 1600 and 45 <= found <= 55, found


@pytest.mark.parametrize("task", ["now_count", "far_colour", "count_colours"])
def test_edition_1_had_priors(task: str) -> None:
    """Which shows that the test above can fail."""
    found, chance, _ = blind_accuracy(lines(1, 240), [task], lambda line: "")
    assert found > chance + 5


def test_the_first_edition_is_what_it_was() -> None:
    """The questions of a world as figures up to 2026-11-25 were measured on."""
    found = [
        (line["end_time"], line["task"], line["question"], line["answer"], *line["choices"])
        for world in lines(1, 2)
        for line in world
    ]
    assert len(found) == 107 and random.Random(str(found)).getrandbits(32) == 279151764

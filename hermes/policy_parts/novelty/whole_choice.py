"""Which frames stay whole: the newest at a steady pace, then those after which the picture changed.

All on the host, from what the ledger and one comparison of the frames in memory say. Times are in
seconds, so that a rate of sampling changes how many frames there are, not what is recent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

_EARLY = 0.25
"""Part of the time between two frames by which one may come early and still keep the pace."""
_BOUNDARY = 0.5
"""Part of the largest change that makes a change the beginning of a scene."""


class Sight(NamedTuple):
    """A frame that is whole in every layer."""

    number: int
    seconds: float
    on_pace: bool
    """Whether it came late enough after the one before it that was on pace."""
    beside: float = -1.0
    """Largest mean cosine with a neighbouring frame, -1 before there was one."""


def with_new(
    sights: Sequence[Sight], new: Sequence[tuple[int, float]], pace_seconds: float
) -> list[Sight]:
    """Together with frames of these numbers and times; a clock that was set back starts anew."""
    found = list(sights)
    paced = next((sight.seconds for sight in reversed(sights) if sight.on_pace), -math.inf)
    for number, seconds in new:
        if found and seconds < found[-1].seconds:
            paced = -math.inf
        early = _EARLY * (seconds - found[-1].seconds) if found else 0
        on_pace = seconds >= paced + pace_seconds - early
        paced = seconds if on_pace else paced
        found.append(Sight(number, seconds, on_pace))
    return found


def neighbours(sights: Sequence[Sight], neighbour_seconds: float) -> tuple[int, float]:
    """How many frames on, at the pace of these, a frame's neighbour is: at least 1, and so few that
    each of two frames and more has one among these. And how much it tells, in (0, 1]: the less the
    further beyond `neighbour_seconds` it is. A pause among them is not their pace."""
    step = median([late.seconds - early.seconds for early, late in pairwise(sights)] or [0.0])
    if step <= 0:
        return 1, 1.0
    apart = max(1, min(round(neighbour_seconds / step), len(sights) // 2))
    return apart, min(1.0, neighbour_seconds / (apart * step))


def noted_beside(
    sights: Sequence[Sight], similarity: Sequence[Sequence[float]], run: int, apart: int
) -> list[Sight]:
    """With what the last `run` of them, which came one after the other, say of their neighbours."""
    found = list(sights)
    for late in range(len(found) - run + apart, len(found)):
        for place in (late - apart, late):
            alike = max(found[place].beside, similarity[late - apart][late])
            found[place] = found[place]._replace(beside=alike)
    return found


def steady(sights: Sequence[Sight], count: int) -> list[int]:
    """Places of the newest frame and of the newest before it that are on pace; `count` in all,
    ascending."""
    before = [place for place, sight in enumerate(sights[:-1]) if sight.on_pace]
    return [*before[max(0, len(before) - count + 1) :], len(sights) - 1]


def choose_whole(
    sights: Sequence[Sight],
    similarity: Sequence[Sequence[float]],
    stays: Sequence[int],
    num_changes: int,
    fading_scenes: float,
    unconfirmed_weight: float,
) -> list[int]:
    """Places of the frames that stay whole, ascending: those in `stays`, the newest among them,
    and `num_changes` others after which the picture changed: again and again the one goes whose
    change counts least.

    What a frame changed counts less by how much less than usual it resembles its neighbours, times
    `unconfirmed_weight`: a flash differs from what follows, but also from what went before, while
    noise makes all frames differ. And it counts 1 / e per `fading_scenes` that began since
    (`faded`).
    """
    usual = median(sight.beside for sight in sights)
    kept, fixed = list(range(len(sights))), frozenset(stays)

    def changed(here: int, after: int) -> float:
        unconfirmed = max(0.0, usual - sights[here].beside)
        return max(0.0, 1 - similarity[here][after] - unconfirmed_weight * unconfirmed)

    while len(kept) > num_changes + len(stays):
        counts = faded([changed(*pair) for pair in pairwise(kept)], fading_scenes)
        del kept[
            min((i for i in range(len(counts)) if kept[i] not in fixed), key=counts.__getitem__)
        ]
    return kept


def faded(changes: Sequence[float], fading_scenes: float) -> list[float]:
    """What changes in time order count, each by the scenes that began after it.

    A scene begins with a change of at least `_BOUNDARY` of the largest of these changes: so a lull
    ages nothing, and what counts as a cut is told from the stream, not from a model's scale.
    """
    scenes, counts, least = 0, [], _BOUNDARY * max(changes)
    for change in reversed(changes):
        counts.append(change * math.exp(-scenes / fading_scenes))
        scenes += change >= least
    return counts[::-1]


def runs(stays: Sequence[bool]) -> list[tuple[int, int]]:
    """Places `[start, end)` of those in a row that do not stay."""
    edges = [place for place, (a, b) in enumerate(pairwise([True, *stays, True])) if a != b]
    return list(zip(edges[::2], edges[1::2], strict=True))

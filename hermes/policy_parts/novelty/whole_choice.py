"""Which frames stay whole: the newest at a steady pace, then those after which the picture changed.

All on the host, from what the ledger and one comparison of the frames in memory say. Times are in
seconds, so that a rate of sampling changes how many frames there are, not what is recent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from hermes.policy_parts.novelty.keyframes import choose_keyframes

_EARLY = 0.25
"""Part of the time between two frames by which one may come early and still keep the pace."""


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
    """Together with frames of these numbers and times."""
    found = list(sights)
    paced = max((sight.seconds for sight in sights if sight.on_pace), default=-math.inf)
    for number, seconds in new:
        early = _EARLY * (seconds - found[-1].seconds) if found else 0
        on_pace = seconds >= paced + pace_seconds - early
        paced = seconds if on_pace else paced
        found.append(Sight(number, seconds, on_pace))
    return found


def frames_apart(sights: Sequence[Sight], neighbour_seconds: float) -> int:
    """How many frames on, at the pace of these, a frame's neighbour is; at least 1."""
    step = (sights[-1].seconds - sights[0].seconds) / max(1, len(sights) - 1)
    return max(1, round(neighbour_seconds / step)) if step > 0 else 1


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


def steady(sights: Sequence[Sight], count: int, tail: int) -> list[int]:
    """Places of the last `tail` frames and of the newest before them that are on pace; `count` in
    all, ascending."""
    before = [place for place in range(len(sights) - tail) if sights[place].on_pace]
    return [*before[max(0, len(before) - count + tail) :], *range(len(sights) - tail, len(sights))]


def choose_whole(
    sights: Sequence[Sight],
    similarity: Sequence[Sequence[float]],
    stays: Sequence[int],
    num_changes: int,
    fading_seconds: float,
    unconfirmed_weight: float,
) -> list[int]:
    """Places of the frames that stay whole, ascending: those in `stays`, the newest among them,
    and `num_changes` others after which the picture changed.

    What a frame changed counts less by how little it resembles its neighbours, times
    `unconfirmed_weight`: a flash differs from what follows, but also from what went before.
    """
    others = choose_keyframes(
        range(len(sights)),
        similarity,
        num_changes + len(stays) - 1,
        fading_seconds,
        times=[sight.seconds for sight in sights],
        penalties=[unconfirmed_weight * (1 - sight.beside) for sight in sights],
        fixed=frozenset(stays),
    )
    return [*others, len(sights) - 1]

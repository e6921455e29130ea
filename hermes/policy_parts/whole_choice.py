"""Which frames stay whole: the newest at a steady pace, then those after which the picture changed.

All on the host, from what the ledger and one comparison of the frames in memory say. Times are in
seconds, so that a rate of sampling changes how many frames there are, not what is recent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hermes.policy_parts.novelty import choose_keyframes

_EARLY = 0.25
"""Part of the time between two frames by which one may come early and still keep the pace."""


class Sight(NamedTuple):
    """A frame that is whole in every layer."""

    number: int
    seconds: float
    beside: float = -1.0
    """Largest mean cosine with a neighbouring frame, -1 before there was one."""


def frame_seconds(sights: Sequence[Sight]) -> float:
    """From one of these frames to the next, on average; 0 for one frame."""
    return (sights[-1].seconds - sights[0].seconds) / max(1, len(sights) - 1)


def frames_apart(sights: Sequence[Sight], neighbour_seconds: float) -> int:
    """How many frames on, at the pace of these, a frame's neighbour is; at least 1."""
    pace = frame_seconds(sights)
    return max(1, round(neighbour_seconds / pace)) if pace > 0 else 1


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


def at_a_pace(sights: Sequence[Sight], count: int, tail: int, seconds: float) -> list[int]:
    """Places of the last `tail` frames and, going back, of others so many seconds apart; `count`
    in all, ascending."""
    early = _EARLY * frame_seconds(sights[-tail - 1 :])
    places = list(range(max(0, len(sights) - tail), len(sights)))
    for place in reversed(range(places[0])):
        if len(places) >= count:
            break
        if sights[place].seconds <= sights[places[0]].seconds - seconds + early:
            places.insert(0, place)
    return places


def choose_whole(
    sights: Sequence[Sight],
    similarity: Sequence[Sequence[float]],
    steady: Sequence[int],
    num_changes: int,
    fading_seconds: float,
    unconfirmed_weight: float,
) -> list[int]:
    """Places of the frames that stay whole, ascending: the `steady` ones, which hold the newest, and
    `num_changes` others after which the picture changed.

    What a frame changed counts less by how little it resembles its neighbours, times
    `unconfirmed_weight`: a flash differs from what follows, but also from what went before.
    """
    others = choose_keyframes(
        range(len(sights)),
        similarity,
        num_changes + len(steady) - 1,
        fading_seconds,
        times=[sight.seconds for sight in sights],
        penalties=[unconfirmed_weight * (1 - sight.beside) for sight in sights],
        fixed=frozenset(steady),
    )
    return [*others, len(sights) - 1]

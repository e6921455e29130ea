"""What comes and goes in a stream without being asked about: flashes, cutaways, odd things, litter.

Drawn from a generator of its own, so that the things and scenes of a seed do not depend on it.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from video_qa.nanostream.degrees import Degree
from video_qa.nanostream.vocabulary import PLACES

FLASH, CUTAWAY, ODD, CLUTTER = "flash", "cutaway", "odd", "clutter"
ODD_SECONDS = (1, 2)
UNSEEN_GAP = 4  # seconds between two that nothing can be seen in, at least


@dataclass(frozen=True)
class Mark:
    """Something in seconds `[start_second, end_second)`; `place` where it is not everywhere."""

    kind: str
    start_second: int
    end_second: int
    seed: int
    place: str | None = None

    def at(self, second: int) -> bool:
        return self.start_second <= second < self.end_second


def make_marks(
    degree: Degree, seed: int, states: Sequence, spans: Sequence[tuple[int, int]]
) -> tuple[Mark, ...]:
    """All marks of a stream, in order of time.

    Args:
        states: What is visible, by second.
        spans: `[start, end)` of each scene in seconds.
    """
    if not degree.disturbed:
        return ()
    rng = random.Random(f"marks {seed}")
    marks = [*_unseen(degree, rng, states, spans)]
    for span in spans:
        marks += _things(degree, rng, states, span)
    return tuple(sorted(marks, key=lambda mark: (mark.start_second, mark.kind)))


def _unseen(degree: Degree, rng: random.Random, states: Sequence, spans) -> Iterator[Mark]:
    """Seconds that are lost; each state is still seen by who looks every other second."""
    last = -UNSEEN_GAP
    for start, end in spans:
        for second in range(start + 1, end):
            draw, mark_seed = rng.random(), rng.getrandbits(32)
            if second - last < UNSEEN_GAP or not _spare(states, start, end, second):
                continue
            if draw < degree.flash_share + degree.cutaway_share:
                kind = FLASH if draw < degree.flash_share else CUTAWAY
                yield Mark(kind, second, second + 1, mark_seed)
                last = second


def _spare(states: Sequence, start: int, end: int, second: int) -> bool:
    """Whether the state was there the second before and is there at another even and odd second."""
    same = [s for s in range(start, end) if s != second and states[s] == states[second]]
    return second - 1 in same and {s % 2 for s in same} == {0, 1}


def _things(degree: Degree, rng: random.Random, states: Sequence, span) -> Iterator[Mark]:
    start, end = span
    used = {thing.place for second in range(start, end) for thing in states[second]}
    empty = [place for place in PLACES if place not in used]
    rng.shuffle(empty)
    if empty and rng.random() < degree.odd_share:
        first = rng.randrange(start, end)
        stop = min(end, first + rng.randint(*ODD_SECONDS))
        yield Mark(ODD, first, stop, rng.getrandbits(32), empty.pop())
    for place in empty:
        if rng.random() < degree.clutter_share:
            yield Mark(CLUTTER, start, end, rng.getrandbits(32), place)

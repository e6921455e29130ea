"""A question before its options are drawn, and the words that may be offered."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from video_qa.nanostream.facts import Facts

NUM_OPTIONS = 4
FAR_SECONDS = 10  # "long ago" begins here


@dataclass(frozen=True)
class Draft:
    """A question, its answer, and the words that could be offered as wrong options."""

    question: str
    answer: str
    wrong: tuple[str, ...]
    always_offered: tuple[str, ...] = ()


# None: the question is not asked at this second.
Task = Callable[[Facts, random.Random], Draft | None]


def others(words: tuple[str, ...], answer: str, hidden: set[str] | None = None) -> tuple[str, ...]:
    return tuple(word for word in words if word != answer and word not in (hidden or set()))


def visible_words(facts: Facts) -> set[str]:
    return {word for thing in facts.visible for word in (thing.shape, thing.colour)}


def options_of(draft: Draft, rng: random.Random) -> list[str]:
    """At most four options in random order: the answer and wrong ones."""
    room = NUM_OPTIONS - 1 - len(draft.always_offered)
    wrong = rng.sample(draft.wrong, min(room, len(draft.wrong)))
    options = [draft.answer, *draft.always_offered, *wrong]
    return rng.sample(options, len(options))

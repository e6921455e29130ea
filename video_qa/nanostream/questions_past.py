"""Questions about what was seen long ago, how often, in which order, or never."""

import random
from dataclasses import replace

from video_qa.nanostream.draft import FAR_SECONDS, Draft, others, visible_words
from video_qa.nanostream.facts import Facts
from video_qa.nanostream.vocabulary import COLOURS, COUNTS, NEVER, SHAPES, YES_NO


def far_first_shape(facts: Facts, rng: random.Random) -> Draft | None:
    return _first(facts, "shape", SHAPES)


def far_first_colour(facts: Facts, rng: random.Random) -> Draft | None:
    return _first(facts, "colour", COLOURS)


def _first(facts: Facts, kind: str, words: tuple[str, ...]) -> Draft | None:
    answer, visible = getattr(facts.first, kind), visible_words(facts)
    if facts.second < FAR_SECONDS or answer in visible:
        return None
    return Draft(f"Which {kind} appeared first?", answer, others(words, answer, visible))


def far_colour(facts: Facts, rng: random.Random) -> Draft | None:
    known = [
        shape
        for shape, colours in facts.colours.items()
        if len(colours) == 1
        and facts.seconds_since_shape(shape) >= FAR_SECONDS
        and colours[0] not in visible_words(facts)
    ]
    if not known:
        return None
    shape = rng.choice(known)
    return _colour_of(facts, shape, facts.colours[shape][0])


def far_colour_of_four(facts: Facts, rng: random.Random) -> Draft | None:
    """Without "never", which would be ruled out by the task alone."""
    draft = far_colour(facts, rng)
    return draft and replace(draft, always_offered=())


def unanswerable(facts: Facts, rng: random.Random) -> Draft | None:
    unseen = [shape for shape in SHAPES if shape not in facts.colours]
    if not unseen or facts.second < FAR_SECONDS:
        return None
    return _colour_of(facts, rng.choice(unseen), NEVER)


def unanswerable_beside(facts: Facts, rng: random.Random) -> Draft | None:
    """Only when the same could be asked with an answer, so that the time of asking says nothing."""
    return far_colour(facts, rng) and unanswerable(facts, rng)


def _colour_of(facts: Facts, shape: str, answer: str) -> Draft:
    wrong = others(COLOURS, answer, visible_words(facts))
    always = () if answer == NEVER else (NEVER,)
    return Draft(f"What colour was the {shape}?", answer, wrong, always)


def far_ever(facts: Facts, rng: random.Random) -> Draft | None:
    """Yes and no equally often; a "no" is mostly a shape that was there in another colour."""
    old = [p for p, seen in facts.last_seen.items() if facts.second - seen >= FAR_SECONDS]
    old = [pair for pair in old if not facts.shape_visible(pair[0])]
    if not old:
        return None
    shape, colour = rng.choice(old)
    answer = rng.choice(YES_NO)
    if answer == "no":
        shape = shape if rng.random() < 0.7 else rng.choice(SHAPES)
        unseen = [c for c in COLOURS if (shape, c) not in facts.last_seen]
        colour = rng.choice(unseen)
    return Draft(f"Was there a {colour} {shape}?", answer, others(YES_NO, answer))


def count_colours(facts: Facts, rng: random.Random) -> Draft | None:
    """Where three of the counts are right for some shape; three colours mostly are for none."""
    return _count_colours(facts, rng, len(COUNTS) - 1)


def count_colours_evenly(facts: Facts, rng: random.Random) -> Draft | None:
    """Where each count is right for some shape, and all are asked for as often."""
    return _count_colours(facts, rng, len(COUNTS))


def _count_colours(facts: Facts, rng: random.Random, num_counts: int) -> Draft | None:
    by_count: dict[int, list[str]] = {}
    for shape in SHAPES:
        if not facts.shape_visible(shape):
            by_count.setdefault(len(facts.colours.get(shape, ())), []).append(shape)
    if facts.second < FAR_SECONDS or len(by_count) < num_counts:
        return None
    count = rng.choice(sorted(by_count))
    question = f"In how many colours did the {rng.choice(by_count[count])} appear?"
    return Draft(question, str(count), others(COUNTS, str(count)))


def order_first(facts: Facts, rng: random.Random) -> Draft | None:
    hidden = [shape for shape in facts.first_seen if not facts.shape_visible(shape)]
    pairs = [
        (a, b) for a in hidden for b in hidden if facts.first_seen[a] + 3 < facts.first_seen[b]
    ]
    if not pairs:
        return None
    early, late = rng.choice(pairs)
    one, two = rng.sample((early, late), 2)
    return Draft(f"Which appeared first, the {one} or the {two}?", early, (late,))

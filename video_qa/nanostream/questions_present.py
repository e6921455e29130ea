"""Questions about what is visible now, and about what was there just before."""

import random

from video_qa.nanostream.draft import Draft, others, visible_words
from video_qa.nanostream.facts import Facts
from video_qa.nanostream.vocabulary import CHANGES, COLOURS, COUNTS, PLACES, SHAPES
from video_qa.nanostream.world import Thing


def now_colour(facts: Facts, rng: random.Random) -> Draft | None:
    thing = rng.choice(facts.visible)
    return Draft(f"What colour is the {thing.shape}?", thing.colour, others(COLOURS, thing.colour))


def now_shape(facts: Facts, rng: random.Random) -> Draft | None:
    thing = rng.choice(facts.visible)
    return Draft(f"Which shape is {thing.colour}?", thing.shape, others(SHAPES, thing.shape))


def now_place(facts: Facts, rng: random.Random) -> Draft | None:
    thing = rng.choice(facts.visible)
    return Draft(f"Where is the {thing.shape}?", thing.place, others(PLACES, thing.place))


def now_count(facts: Facts, rng: random.Random) -> Draft | None:
    count = str(len(facts.visible))
    return Draft("How many objects are visible?", count, others(COUNTS[1:], count))


# Share of the seconds that may be asked about, by the answer: one thing is visible for about 48 %
# of a stream of a minute, two for 31 %, three for 21 %.
COUNT_SHARES = {"1": 0.43, "2": 0.67}


def now_count_evenly(facts: Facts, rng: random.Random) -> Draft | None:
    """All three answers about equally often."""
    draft = now_count(facts, rng)
    return draft if draft and rng.random() < COUNT_SHARES.get(draft.answer, 1.0) else None


def _previous(facts: Facts) -> Thing | None:
    """The thing of the previous scene, if it was alone and unchanging and nothing left since."""
    alone = len(facts.previous_scene) == 1 and len(facts.previous_scene[0]) == 1
    change = facts.change()
    nothing_left = change is None or {t.shape for t in change[0]} <= {t.shape for t in change[1]}
    return facts.previous_scene[0][0] if alone and nothing_left else None


def recent_shape(facts: Facts, rng: random.Random) -> Draft | None:
    thing, visible = _previous(facts), visible_words(facts)
    if thing is None or thing.shape in visible:
        return None
    wrong = others(SHAPES, thing.shape, visible)
    return Draft("Which shape was in the previous scene?", thing.shape, wrong)


def recent_colour(facts: Facts, rng: random.Random) -> Draft | None:
    thing, visible = _previous(facts), visible_words(facts)
    change = facts.change()
    recoloured = change and {t.colour for t in change[0]} - {t.colour for t in change[1]}
    if thing is None or thing.colour in visible or recoloured:
        return None
    wrong = others(COLOURS, thing.colour, visible)
    return Draft("Which colour was in the previous scene?", thing.colour, wrong)


def _changed(facts: Facts) -> tuple[Thing, Thing] | None:
    """The thing that changed last, before and after, if colour or place changed."""
    change = facts.change()
    if change is None or len(change[0]) != len(change[1]):
        return None
    return next((old, new) for old, new in zip(*change, strict=True) if old != new)


def recent_former_colour(facts: Facts, rng: random.Random) -> Draft | None:
    pair = _changed(facts)
    if pair is None or pair[0].colour == pair[1].colour:
        return None
    wrong = others(COLOURS, pair[0].colour, visible_words(facts))
    question = f"What colour was the {pair[0].shape} before it changed?"
    return Draft(question, pair[0].colour, wrong)


def recent_former_place(facts: Facts, rng: random.Random) -> Draft | None:
    pair = _changed(facts)
    if pair is None or pair[0].place == pair[1].place:
        return None
    wrong = others(PLACES, pair[0].place)
    return Draft(f"Where was the {pair[0].shape} before it moved?", pair[0].place, wrong)


# Share of the seconds that may be asked about, by the number of things visible and the answer:
# without it the number alone would tell the answer (of two things mostly one has just come).
# Least over most frequent answer in streams of 64, 256 and 1,024 s, averaged.
CHANGE_SHARES = {(1, "colour"): 0.66, (1, "place"): 0.31, (2, "number"): 0.19}
CHANGE_SHARES |= {(2, "place"): 0.85, (3, "colour"): 0.89, (3, "place"): 0.80}


def recent_change(facts: Facts, rng: random.Random) -> Draft | None:
    """All three answers about equally often, however many things are visible."""
    if facts.change() is None:
        return None
    pair = _changed(facts)
    answer = "number" if pair is None else "place" if pair[0].colour == pair[1].colour else "colour"
    if rng.random() >= CHANGE_SHARES.get((len(facts.visible), answer), 1.0):
        return None
    return Draft("What changed last?", answer, others(CHANGES, answer))

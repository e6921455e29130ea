"""Questions about what is visible now, and about what was there just before."""

import random

from video_qa.nanostream.draft import Draft, others, visible_words
from video_qa.nanostream.facts import Facts
from video_qa.nanostream.shares import CHANGE_SHARES, COUNT_SHARES
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


def now_count_evenly(facts: Facts, rng: random.Random) -> Draft | None:
    """All three answers about equally often."""
    draft, shares = now_count(facts, rng), COUNT_SHARES[facts.degree]
    return draft if draft and rng.random() < shares.get(draft.answer, 1.0) else None


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


def what_changed(facts: Facts) -> tuple[int, str] | None:
    """Number of things visible, which alone would tell (of two mostly one has just come); what."""
    if facts.change() is None:
        return None
    pair = _changed(facts)
    answer = "number" if pair is None else "place" if pair[0].colour == pair[1].colour else "colour"
    return len(facts.visible), answer


def recent_change(facts: Facts, rng: random.Random) -> Draft | None:
    """All three answers about equally often, however many things are visible."""
    found = what_changed(facts)
    if found is None or rng.random() >= CHANGE_SHARES[facts.degree].get(found, 1.0):
        return None
    return Draft("What changed last?", found[1], others(CHANGES, found[1]))

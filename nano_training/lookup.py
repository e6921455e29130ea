"""Which coloured shapes have to be found in a stream before a question can be answered."""

from collections.abc import Iterable

from nano_training.contents import NOTHING, content_number
from video_qa.nanostream.facts import Facts
from video_qa.nanostream.world import State

Pairs = Iterable[tuple[str, str]]  # (shape, colour)


def pairs_of(state: State) -> list[tuple[str, str]]:
    return [(thing.shape, thing.colour) for thing in state]


def indicator(pairs: Pairs) -> list[int]:
    """64 zeros and ones, by the numbers of `eyes.contents`."""
    numbers = {content_number(*pair) for pair in pairs}
    return [int(i in numbers) for i in range(NOTHING)]


def looked_up(task: str, facts: Facts, question: str) -> Pairs | None:
    """What has to be found in the stream before this question can be answered."""
    if task in ("recent_shape", "recent_colour"):
        return pairs_of(facts.previous_scene[0])
    if task.startswith("recent"):
        change = facts.change()
        return None if change is None else pairs_of(change[0])
    if task in ("count_colours", "far_colour", "far_ever", "unanswerable"):
        return [pair for pair in facts.last_seen if f" {pair[0]}" in question]
    return None

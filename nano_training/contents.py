"""What the quadrants of a frame hold, as numbers: the symbolic form of what the eyes see."""

from video_qa.nanostream.marks import CLUTTER, CUTAWAY, FLASH, ODD
from video_qa.nanostream.vocabulary import COLOURS, PLACES, SHAPES
from video_qa.nanostream.world import State, World

NUM_PLACES = len(PLACES)
NOTHING = len(SHAPES) * len(COLOURS)  # an empty quadrant; below it: a thing
ODD_THING, LITTER, WHITE, BETWEEN = range(NOTHING + 1, NOTHING + 5)
"""An object of no known shape, litter, burnt out, and in the middle of a change."""
NUM_CONTENTS = NOTHING + 5
_MARKED = {ODD: ODD_THING, CLUTTER: LITTER}


def content_number(shape: str, colour: str) -> int:
    """Below `NOTHING`: shape number * 8 + colour number."""
    return SHAPES.index(shape) * len(COLOURS) + COLOURS.index(colour)


def contents(state: State) -> list[int]:
    """What each quadrant holds: a `content_number` or `NOTHING`."""
    numbers = [NOTHING] * NUM_PLACES
    for thing in state:
        numbers[PLACES.index(thing.place)] = content_number(thing.shape, thing.colour)
    return numbers


def contents_at(world: World, half_second: int) -> list[int]:
    """What each quadrant holds at `half_second / 2` seconds, whatever comes between included."""
    second, later = half_second // 2, min((half_second + 1) // 2, world.num_seconds - 1)
    if any(scene.start_second == later for scene in world.scenes):
        later = second
    marks = world.marks_at(second)
    kinds = {mark.kind for mark in marks}
    if kinds & {FLASH, CUTAWAY}:
        return [WHITE if FLASH in kinds else NOTHING] * NUM_PLACES
    now, then = contents(world.states[second]), contents(world.states[later])
    numbers = [one if one == other else BETWEEN for one, other in zip(now, then, strict=True)]
    for mark in marks:
        numbers[PLACES.index(str(mark.place))] = _MARKED[mark.kind]
    return numbers

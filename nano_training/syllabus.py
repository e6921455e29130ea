"""Which task is asked how often, by the progress of the training."""

import random
from dataclasses import dataclass

from video_qa.nanostream.questions import TASKS

TASK_NAMES = list(TASKS)

# Easily learned tasks are asked less often; what is rarely askable more often when it is.
TASK_WEIGHTS = {"now_colour": 0.6, "now_shape": 0.7, "now_place": 1.0, "now_count": 0.8}
TASK_WEIGHTS |= {"recent_shape": 5, "recent_colour": 5, "recent_former_colour": 3}
TASK_WEIGHTS |= {"recent_former_place": 2, "recent_change": 6, "count_colours": 3.5}
TASK_WEIGHTS |= {"order_first": 1.5, "far_ever": 1.5, "unanswerable": 0.6}
# Later: what needs several moments at once is learned last.
LATE_WEIGHTS = {"now_colour": 0.7, "now_shape": 0.7, "now_place": 0.7, "now_count": 0.4}
LATE_WEIGHTS |= {"recent_shape": 6, "recent_colour": 6, "recent_former_colour": 4}
LATE_WEIGHTS |= {"recent_former_place": 3, "recent_change": 10, "count_colours": 6}
LATE_WEIGHTS |= {"far_first_shape": 0.5, "far_first_colour": 0.8, "unanswerable": 0.6}
# At the end: what was there before, which can be asked about at few moments.
LAST_WEIGHTS = LATE_WEIGHTS | {"recent_shape": 40, "recent_colour": 40, "recent_former_colour": 12}


@dataclass(frozen=True)
class Syllabus:
    """What is asked: relative weights of the tasks (1 if not named), and how often with options."""

    weights: dict[str, float]
    choice_share: float

    def draw(self, rng: random.Random) -> str:
        return rng.choices(TASK_NAMES, [self.weights.get(name, 1.0) for name in TASK_NAMES])[0]


# From which progress on. Letters are learned later than words; at the end words lag behind where
# a question is rare, because nothing narrows them down.
SYLLABI = {
    0.0: Syllabus(TASK_WEIGHTS, 0.55),
    0.7: Syllabus(LATE_WEIGHTS, 0.55),
    0.8: Syllabus(LAST_WEIGHTS, 0.4),
}


def syllabus_at(progress: float) -> Syllabus:
    return SYLLABI[max(start for start in SYLLABI if start <= progress)]

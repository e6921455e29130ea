"""All tasks by group, balanced by construction.

Where a question is about the past, neither the answer nor a wrong option is on the screen: the
last frame gives nothing away. The streams of both editions are the same; of a split that does not
name its edition it is the first.
"""

from video_qa.nanostream import questions_past as past
from video_qa.nanostream import questions_present as present
from video_qa.nanostream.draft import Draft, Task, options_of

__all__ = ["EDITIONS", "FIRST_EDITION", "GROUPS", "NEWEST_EDITION", "TASKS", "Draft", "options_of"]

GROUPS: dict[str, dict[str, Task]] = {
    "now": {
        "now_colour": present.now_colour,
        "now_shape": present.now_shape,
        "now_place": present.now_place,
        "now_count": present.now_count,
    },
    "recent": {
        "recent_shape": present.recent_shape,
        "recent_colour": present.recent_colour,
        "recent_former_colour": present.recent_former_colour,
        "recent_former_place": present.recent_former_place,
        "recent_change": present.recent_change,
    },
    "far": {
        "far_first_shape": past.far_first_shape,
        "far_first_colour": past.far_first_colour,
        "far_colour": past.far_colour,
        "far_ever": past.far_ever,
    },
    "count": {"count_colours": past.count_colours},
    "order": {"order_first": past.order_first},
    "unanswerable": {"unanswerable": past.unanswerable},
}
TASKS: dict[str, Task] = {name: task for group in GROUPS.values() for name, task in group.items()}
"""Edition 1: what hermes-nano was trained on, and all figures up to 2026-11-25 were measured on."""
EDITIONS: dict[int, dict[str, Task]] = {
    1: TASKS,
    # No task's most frequent answer is far from chance, and unanswerable questions stand beside
    # others of the same words and options.
    2: TASKS
    | {
        "now_count": present.now_count_evenly,
        "far_colour": past.far_colour_of_four,
        "count_colours": past.count_colours_evenly,
        "unanswerable": past.unanswerable_beside,
        "answerable": past.far_colour,
    },
}
"""Task name -> question, by edition."""
FIRST_EDITION, NEWEST_EDITION = min(EDITIONS), max(EDITIONS)

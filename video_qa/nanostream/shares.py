"""Shares of the seconds that may be asked about, so that no answer is more frequent than another.

    python -m video_qa.nanostream.shares    # measures them anew, for every degree

How often one, two or three things are visible, and what changes how often, follows from the world
of a degree. A question whose answer would be the frequent one is therefore asked only at a share of
the seconds: least over most frequent, in streams of 64, 256 and 1,024 seconds, averaged. Those of
`clean` were measured on other streams and stay as they are, so that its questions do too.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable

from video_qa.nanostream.degrees import DEGREES

COUNT_SHARES: dict[str, dict[str, float]] = {
    "clean": {"1": 0.43, "2": 0.67},
    "noisy": {"1": 0.43, "2": 0.67},
    "busy": {"1": 0.48, "2": 0.77},
    "rich": {"1": 0.98, "2": 0.9, "3": 0.85},
}
"""Degree -> number of things visible -> share."""
_CLEAN_CHANGES = {(1, "colour"): 0.66, (1, "place"): 0.31, (2, "number"): 0.19}
_CLEAN_CHANGES |= {(2, "place"): 0.85, (3, "colour"): 0.89, (3, "place"): 0.80}
_BUSY_CHANGES = {(1, "colour"): 0.7, (1, "place"): 0.31, (2, "number"): 0.19, (2, "place"): 0.79}
_BUSY_CHANGES |= {(3, "colour"): 0.91, (3, "number"): 0.93, (3, "place"): 0.81}
_RICH_CHANGES = {(1, "number"): 0.87, (1, "place"): 0.5, (2, "number"): 0.24, (2, "place"): 0.81}
_RICH_CHANGES |= {(3, "colour"): 0.64, (3, "place"): 0.56}
CHANGE_SHARES: dict[str, dict[tuple[int, str], float]] = {
    "clean": _CLEAN_CHANGES,
    "noisy": _CLEAN_CHANGES,
    "busy": _BUSY_CHANGES,
    "rich": _RICH_CHANGES,
}
"""Degree -> (number of things visible, what changed) -> share."""
LENGTHS_SECONDS, TOTAL_SECONDS = (64, 256, 1024), 65_536


def measure(degree: str, answer_of: Callable) -> dict:
    """Share by answer, or by (group, answer), averaged over the lengths; 1 is left out.

    `answer_of` takes what a watcher knows and gives (group, answer) or None.
    """
    means: defaultdict[tuple, float] = defaultdict(float)
    for seconds in LENGTHS_SECONDS:
        found = _frequencies(degree, seconds, answer_of)
        for (group, answer), count in found.items():
            least = min(n for (other, _), n in found.items() if other == group)
            means[group, answer] += least / count / len(LENGTHS_SECONDS)
    return {key: round(share, 2) for key, share in sorted(means.items()) if share < 0.995}


def _frequencies(degree: str, seconds: int, answer_of: Callable) -> Counter:
    from video_qa.nanostream.facts import follow
    from video_qa.nanostream.world import make_world

    rng, found = random.Random(seconds), Counter[tuple]()
    for _ in range(TOTAL_SECONDS // seconds):
        world = make_world(rng.getrandbits(48), seconds, degree)
        found.update(
            answer
            for facts in follow(world)
            if not world.unseen(facts.second) and (answer := answer_of(facts))
        )
    return found


def main() -> None:
    """Print what `COUNT_SHARES` and `CHANGE_SHARES` should be."""
    from video_qa.nanostream.questions_present import what_changed

    for degree in DEGREES:
        counts = measure(degree, lambda facts: ("", str(len(facts.visible))))
        print(f'"{degree}":', {answer: share for (_, answer), share in counts.items()})
        print(f'"{degree}":', measure(degree, what_changed))


if __name__ == "__main__":
    main()

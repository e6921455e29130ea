"""Measures what `video_qa/nanostream/shares.py` holds: how often each answer could be asked for.

python scripts/nanostream_shares.py
"""

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from video_qa.nanostream.degrees import DEGREES
from video_qa.nanostream.facts import follow
from video_qa.nanostream.questions_present import what_changed
from video_qa.nanostream.world import make_world

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
    for degree in DEGREES:
        counts = measure(degree, lambda facts: ("", str(len(facts.visible))))
        print(f'"{degree}":', {answer: share for (_, answer), share in counts.items()})
        print(f'"{degree}":', measure(degree, what_changed))


if __name__ == "__main__":
    main()

"""m frames evenly spread over everything seen so far, read afresh for each question.

The usual offline sampling, made causal: section 4.7 of the project's survey, VSAS-Bench's uniform
baseline. An endless stream is thinned while watching, so about twice the shown frames are kept.
Deviation: positions are gapless, as if the frames were neighbours in a short video.
"""

from __future__ import annotations

from hermes.policies.uniform import spread
from hermes.policy_parts.reprefill_base import ReprefillPolicy

SLACK = 2
"""Frames retained per frame shown; thinning straight to m leaves gaps that differ by half."""


def thin(numbers: list[int], limit: int) -> list[int]:
    """Indices of at most `limit` evenly spread frames."""
    chosen = set(spread(numbers, [1] * len(numbers), limit))
    return [index for index, number in enumerate(numbers) if number in chosen]


def evenly(numbers: list[int], count: int) -> list[int]:
    """Indices of the `count` frames nearest to equal distances from first to last, ascending.

    Examples:
        >>> evenly([0, 1, 2, 5, 7, 8], 3)
        [0, 3, 5]
    """
    total = len(numbers)
    if count >= total:
        return list(range(total))
    step = (numbers[-1] - numbers[0]) / (count - 1) if count > 1 else 0
    picked: list[int] = []
    for turn in range(count):
        target = numbers[0] + step * turn if count > 1 else numbers[-1]
        free = range(picked[-1] + 1 if picked else 0, total - (count - turn) + 1)
        picked.append(min(free, key=lambda index: abs(numbers[index] - target)))
    return picked


class UniformFrames(ReprefillPolicy):
    """Sees the whole past thinly."""

    def retain(self, numbers: list[int], count: int) -> list[int]:
        """Twice as many as are shown."""
        return thin(numbers, SLACK * count)

    def pick(self, numbers: list[int], count: int) -> list[int]:
        """Nearest to equal distances, the first and the last frame included."""
        return evenly(numbers, count)

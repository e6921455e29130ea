"""Two runs on the same questions: how often only one of them was right, and by how much.

McNemar's test asks whether the discordant pairs (only one run right) split evenly. Exact two-sided
p-value: with n discordant pairs of which k fall on the rarer side,

    p = min(1, 2 * sum_{i <= k} C(n, i) / 2 ** n)

(Fagerland, Lydersen, Laake 2013, "The McNemar test for binary matched-pairs data", eq. 2). It takes
questions as independent; the interval of the difference does not: it is clustered by video
(`eval.intervals`), the values being differences d in [-1, 1], mapped to (d + 1) / 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import pandas as pd

from eval.intervals import Estimate, stratified_mean


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of one run minus that of another, over the questions both answered."""

    mean: float
    low: float | None
    high: float | None
    num_pairs: int
    num_clusters: int
    only_first_right: int
    only_second_right: int

    @property
    def mcnemar_p(self) -> float:
        """Exact, two-sided."""
        return mcnemar_p(self.only_first_right, self.only_second_right)

    def as_percent(self) -> dict[str, Any]:
        """JSON-able summary, in percentage points."""
        interval = None
        if self.low is not None and self.high is not None:
            interval = [100 * self.low, 100 * self.high]
        return {
            "n": self.num_pairs,
            "num_videos": self.num_clusters,
            "difference_percent": 100 * self.mean,
            "interval95_percent": interval,
            "only_policy_right": self.only_first_right,
            "only_baseline_right": self.only_second_right,
            "mcnemar_p": self.mcnemar_p,
        }


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of so many discordant pairs; 1 if there are none.

    Raises:
        ValueError: a count is negative.
    """
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts must not be negative, got {only_first} and {only_second}")
    num_discordant = only_first + only_second
    tail = sum(comb(num_discordant, i) for i in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**num_discordant)


def paired_difference(
    first: pd.Series,
    second: pd.Series,
    clusters: pd.Series,
    strata: pd.Series,
    stratum_weights: Mapping[str, float],
) -> PairedDifference:
    """Compare two runs question by question.

    Args:
        first, second: 0 or 1 per question, on the same index.
        clusters: the video of each question.
        strata, stratum_weights: as in `eval.intervals.stratified_mean`.

    Raises:
        ValueError: no questions, another index, or strata and weights that do not fit.
    """
    if not first.index.equals(second.index):
        raise ValueError("the two runs are not on the same questions")
    halves = (first - second + 1) / 2
    estimate: Estimate = stratified_mean(halves, clusters, strata, stratum_weights)
    return PairedDifference(
        2 * estimate.mean - 1,
        None if estimate.low is None else 2 * estimate.low - 1,
        None if estimate.high is None else 2 * estimate.high - 1,
        len(first),
        estimate.num_clusters,
        int(((first == 1) & (second == 0)).sum()),
        int(((first == 0) & (second == 1)).sum()),
    )

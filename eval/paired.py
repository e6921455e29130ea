"""Two runs on the same questions: by how much one is better, and whether that can be chance.

The unit is the video. With w_i, u_g, V, e and t as in `eval.intervals`, of the differences d_i in
[-1, 1] (fractions where a fact was asked several times):

    interval          d -+ t(0.975; G - 1) * sqrt(max(V, V1))
    if independent    V1 = ((s + 1 / N) - d ** 2) / (N + 2),   s = sum_i w_i * |d_i|,
                      N = 1 / sum_i w_i ** 2

V1 is the variance of independent questions with half a discordant pair added on either side
(Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions"), so
that two runs that never differ get a short interval instead of none.

    p-value           share of all 2 ** k ways to flip the signs of the k sums u_g = sum_{i in g}
                      w_i * d_i that are not zero for which |sum_g u_g| is at least the observed one

(sign-flip test; Fisher's randomisation of the labels within a video). It is exact up to 20 videos
and drawn above, and cannot be smaller than 2 ** (1 - k): few videos allow no small p-value,
however many questions they have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from eval.intervals import row_weights_of, t_quantile, variance_of

MOST_EXACT_VIDEOS = 20
NUM_DRAWS = 50_000
_SEED = 2024


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
    sign_flip_p: float
    """Two-sided."""
    standard_error: float | None = None
    """sqrt(max(V, V1)) of the module text; None for one video."""

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
            "sign_flip_p": self.sign_flip_p,
        }


def sign_flip_p(sums: np.ndarray) -> float:
    """Two-sided p-value of the module text for the differences of G videos; 1 if all are zero."""
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return 1.0
    rounding = 1e-9 * np.abs(sums).sum()  # the same sum in another order is as large
    observed = abs(sums.sum()) - rounding
    if len(sums) <= MOST_EXACT_VIDEOS:
        return float((np.abs(_all_flips(sums)) >= observed).mean())
    drawn = np.abs(_random_signs(len(sums)) @ sums) >= observed
    return float((1 + drawn.sum()) / (1 + NUM_DRAWS))


def _all_flips(sums: np.ndarray) -> np.ndarray:
    """(2 ** (k - 1),) sums; the first sign stays, because the test is two-sided."""
    found = sums[:1]
    for value in sums[1:]:
        found = np.concatenate((found + value, found - value))
    return found


@lru_cache(maxsize=4)
def _random_signs(count: int) -> np.ndarray:
    """(NUM_DRAWS, count) of +-1, the same ones every time."""
    draws = np.random.default_rng(_SEED).integers(0, 2, (NUM_DRAWS, count), dtype=np.int8)
    return (2 * draws - 1).astype(np.float32)


def paired_difference(
    first: pd.Series,
    second: pd.Series,
    clusters: pd.Series,
    strata: pd.Series,
    stratum_weights: Mapping[str, float],
) -> PairedDifference:
    """Compare two runs question by question.

    Args:
        first, second: in [0, 1] per question, on the same index.
        clusters: the video of each question.
        strata, stratum_weights: as in `eval.intervals.stratified_mean`.

    Raises:
        ValueError: no questions, another index, or strata and weights that do not fit.
    """
    if not first.index.equals(second.index):
        raise ValueError("the two runs are not on the same questions")
    differences = first - second
    weights = row_weights_of(strata, stratum_weights)
    mean = float((weights * differences).sum())
    sums = (weights * differences).groupby(clusters).sum().to_numpy()
    error = _standard_error(mean, differences, weights, strata, clusters)
    half_width = None if error is None else t_quantile(len(sums) - 1) * error
    return PairedDifference(
        mean,
        None if half_width is None else max(-1.0, mean - half_width),
        None if half_width is None else min(1.0, mean + half_width),
        len(first),
        len(sums),
        int((differences > 0).sum()),
        int((differences < 0).sum()),
        sign_flip_p(sums),
        error,
    )


def _standard_error(
    mean: float,
    differences: pd.Series,
    weights: pd.Series,
    strata: pd.Series,
    clusters: pd.Series,
) -> float | None:
    """None for one video."""
    deviations = weights * (differences - differences.groupby(strata).transform("mean"))
    sums = deviations.groupby(clusters).sum().to_numpy()
    if len(sums) < 2:
        return None
    number, discordant = (
        1 / float(np.square(weights).sum()),
        float((weights * differences.abs()).sum()),
    )
    independent = (discordant + 1 / number - mean**2) / (number + 2)
    return sqrt(max(variance_of(sums)[1], independent))

"""95 % intervals for accuracies whose questions share videos.

Questions about one video are not independent, so the unit of variance is the video (cluster).
With y_i in [0, 1], row weights w_i that sum to one and strata s (tasks, say):

    estimate  p   = sum_i w_i * y_i,          w_i = W_s(i) / n_s(i)
    cluster sum   u_g = sum_{i in g} w_i * (y_i - mean_s(i))
    variance      V   = G / (G - 1) * sum_g u_g ** 2

V is the linearised cluster-robust ("CR1") variance of survey statistics; see Miller, "Adding Error
Bars to Evals" (arXiv 2411.00640, section 2.2), for its use on question groups. One stratum of
weight 1 gives the plain mean, equal weights give the mean of task means.

Near 0 and 1 only few videos differ from the rest, V is made of their u_g alone, and
p -+ t * sqrt(V) covers as little as 79 %. Therefore (Korn and Graubard 1998, "Confidence intervals
for proportions with small expected number of positive counts estimated from survey data", with a
shrunken V):

    videos that V rests on   e  = min(G - 1, (sum_g u_g ** 2) ** 2 / sum_g u_g ** 4)
    one answer per video     V0 = q * (1 - q) / G,     q = (p * G + 1/2) / (G + 1)
    shrunken                 V' = (e * V + K * V0) / (e + K),     K = 1/4
    effective questions      n' = p * (1 - p) / V' * (z / t(G - 1)) ** 2, at most 1 / sum_i w_i ** 2

and the interval is Clopper and Pearson's for p * n' successes in n' trials; where p is 0 or 1, in G
trials. `tests/test_eval_coverage.py` simulates what it covers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

from eval.beta import beta_quantile

LEVEL = 0.95
_Z = 1.959963984540054
"""Standard normal quantile of 0.975."""
_SHRINKAGE = 0.25
"""K: smaller falls below 95 % of coverage near 1, larger only widens (docs/log.md)."""


@dataclass(frozen=True)
class Estimate:
    """A mean of values in [0, 1] with its interval; `low` and `high` are None for one cluster."""

    mean: float
    low: float | None
    high: float | None
    num_rows: int
    num_clusters: int

    @property
    def num_right(self) -> int:
        """Rows with value one, where every value is zero or one."""
        return round(self.mean * self.num_rows)

    def as_text(self) -> str:
        """`63.10% (n=300), 95% interval 58.02 .. 68.18 over 100 videos`"""
        head = f"{100 * self.mean:.2f}% (n={self.num_rows})"
        if self.low is None or self.high is None:
            return f"{head}, no interval (one video)"
        bounds = f"{100 * self.low:.2f} .. {100 * self.high:.2f}"
        return f"{head}, 95% interval {bounds} over {self.num_clusters} videos"

    def as_percent(self) -> dict[str, Any]:
        """JSON-able summary in percent."""
        bounds = None if self.low is None or self.high is None else [self.low, self.high]
        return {
            "n": self.num_rows,
            "num_videos": self.num_clusters,
            "accuracy_percent": 100 * self.mean,
            "interval95_percent": None if bounds is None else [100 * bound for bound in bounds],
        }


def clustered_mean(values: pd.Series, clusters: pd.Series) -> Estimate:
    """Mean of `values` with the interval of the module text, one stratum."""
    return stratified_mean(values, clusters, pd.Series("", index=values.index), {"": 1.0})


def stratified_mean(
    values: pd.Series, clusters: pd.Series, strata: pd.Series, stratum_weights: Mapping[str, float]
) -> Estimate:
    """Weighted mean of stratum means, with the interval of the module text.

    Args:
        values: float in [0, 1], one per row.
        clusters: the video of each row.
        strata: the stratum of each row; every stratum of `stratum_weights` has at least one row.
        stratum_weights: weight per stratum, summing to one.

    Raises:
        ValueError: no rows, or the strata and weights do not fit.
    """
    row_weights = row_weights_of(strata, stratum_weights)
    by_stratum = values.groupby(strata)
    stratum_means = by_stratum.mean()
    mean = sum(weight * float(stratum_means[name]) for name, weight in stratum_weights.items())
    deviations = row_weights * (values - by_stratum.transform("mean"))
    cluster_sums = deviations.groupby(clusters).sum().to_numpy()
    low, high = interval(mean, cluster_sums, 1 / float(np.square(row_weights).sum()))
    return Estimate(mean, low, high, len(values), len(cluster_sums))


def row_weights_of(strata: pd.Series, stratum_weights: Mapping[str, float]) -> pd.Series:
    """w_i of the module text.

    Raises:
        ValueError: no rows, or the strata and weights do not fit.
    """
    if strata.empty or set(strata) != set(stratum_weights):
        raise ValueError(f"strata {sorted(set(strata))} do not match {sorted(stratum_weights)}")
    return strata.map(dict(stratum_weights)) / strata.groupby(strata).transform("size")


def interval(
    mean: float, cluster_sums: np.ndarray, num_questions: float
) -> tuple[float | None, float | None]:
    """(low, high) of the module text; None for a single cluster.

    Args:
        cluster_sums: (G,) u_g.
        num_questions: 1 / sum_i w_i ** 2, the number of rows where all weigh the same.
    """
    if len(cluster_sums) < 2:
        return None, None
    mean = min(1.0, max(0.0, mean))
    return clopper_pearson(mean, effective_questions(mean, cluster_sums, num_questions))


def clopper_pearson(mean: float, num_trials: float) -> tuple[float, float]:
    """(low, high) of a share `mean` of independent trials, whose number need not be whole."""
    right, wrong = mean * num_trials, (1 - mean) * num_trials
    low = beta_quantile((1 - LEVEL) / 2, right, wrong + 1)
    return min(mean, low), max(mean, beta_quantile((1 + LEVEL) / 2, right + 1, wrong))


def effective_questions(mean: float, cluster_sums: np.ndarray, num_questions: float) -> float:
    """n' of the module text; arguments as in `interval`."""
    num_clusters = len(cluster_sums)
    spread = mean * (1 - mean)
    if spread < 1e-12:
        return float(num_clusters)
    centre = (mean * num_clusters + 0.5) / (num_clusters + 1)
    rests_on, variance = variance_of(cluster_sums)
    one_answer = centre * (1 - centre) / num_clusters
    shrunken = (rests_on * variance + _SHRINKAGE * one_answer) / (rests_on + _SHRINKAGE)
    return min(num_questions, spread / shrunken * (_Z / t_quantile(num_clusters - 1)) ** 2)


def variance_of(cluster_sums: np.ndarray) -> tuple[float, float]:
    """e and V of the module text; (0, 0) if all sums are zero."""
    num_clusters, squares = len(cluster_sums), cluster_sums**2
    total, fourth = float(squares.sum()), float(squares @ squares)
    if fourth == 0:
        return 0.0, 0.0
    return min(num_clusters - 1.0, total**2 / fourth), num_clusters / (num_clusters - 1) * total


@lru_cache
def t_quantile(degrees: int, level: float = LEVEL) -> float:
    """t with P(|T| <= t) = `level` for Student's t, without scipy.

    With T = sqrt(degrees) * tan(angle), the density of the angle is cos(angle) ** (degrees - 1).
    """
    # Beyond 10 / sqrt(degrees) the density is below 1e-20: spend the grid where the mass is.
    angles = np.linspace(0.0, min(np.pi / 2, 10.0 / sqrt(degrees)), 100_001)
    density = np.cos(angles) ** (degrees - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return sqrt(degrees) * float(np.tan(np.interp(level, mass / mass[-1], angles)))

"""95 % intervals for accuracies whose questions share videos.

Questions about one video are not independent, so the unit of variance is the video (cluster).
With y_i in [0, 1], row weights w_i that sum to one and strata s (tasks, say):

    estimate  p   = sum_i w_i * y_i,          w_i = W_s(i) / n_s(i)
    cluster sum   u_g = sum_{i in g} w_i * (y_i - mean_s(i))
    variance      V   = G / (G - 1) * sum_g u_g ** 2
    interval          p -+ t(0.975; G - 1) * sqrt(V), cut to [0, 1]

This is the linearised cluster-robust ("CR1") variance of survey statistics; see Miller, "Adding
Error Bars to Evals" (arXiv 2411.00640, section 2.2), for its use on question groups. One stratum
of weight 1 gives the plain mean, equal weights give the mean of task means. Where all u_g are
zero (all right, all wrong) V says nothing, and the Wilson interval with G trials is given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd

LEVEL = 0.95


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
    if values.empty or set(strata) != set(stratum_weights):
        raise ValueError(f"strata {sorted(set(strata))} do not match {sorted(stratum_weights)}")
    by_stratum = values.groupby(strata)
    stratum_means = by_stratum.mean()
    row_weights = strata.map(dict(stratum_weights)) / by_stratum.transform("size")
    mean = sum(weight * float(stratum_means[name]) for name, weight in stratum_weights.items())
    deviations = row_weights * (values - by_stratum.transform("mean"))
    cluster_sums = deviations.groupby(clusters).sum().to_numpy()
    low, high = _interval(mean, cluster_sums)
    return Estimate(mean, low, high, len(values), len(cluster_sums))


def _interval(mean: float, cluster_sums: np.ndarray) -> tuple[float | None, float | None]:
    num_clusters = len(cluster_sums)
    if num_clusters < 2:
        return None, None
    standard_error = sqrt(num_clusters / (num_clusters - 1) * float(cluster_sums @ cluster_sums))
    if standard_error < 1e-9:
        return wilson(mean, num_clusters)
    half_width = t_quantile(num_clusters - 1) * standard_error
    return max(0.0, mean - half_width), min(1.0, mean + half_width)


def wilson(mean: float, num_trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share `mean` of independent trials: (low, high)."""
    z = 1.959963984540054  # standard normal quantile of 0.975
    scale = 1 + z * z / num_trials
    center = (mean + z * z / (2 * num_trials)) / scale
    spread = mean * (1 - mean) / num_trials + z * z / (4 * num_trials**2)
    half_width = z / scale * sqrt(max(0.0, spread))
    return min(mean, max(0.0, center - half_width)), max(mean, min(1.0, center + half_width))


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

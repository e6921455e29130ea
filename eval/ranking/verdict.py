"""What a comparison of many memories says: a line per memory and group, a line per other memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from eval.intervals import Estimate
from eval.ranking.best import beaten_p
from eval.ranking.lower_bounds import simultaneous_quantile
from eval.ranking.scores import GroupScores

ALPHA = 0.05


def standings(scores: GroupScores, floors: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """A line per memory: its accuracy, whether it is the best one, and whether it may be.

    `beaten_p` is that of `eval.ranking.best`; `may_be_best`: it is above 5 %.

    Args:
        floors: memories that are shown and not ranked.
    """
    ranked = [name for name in scores.names if name not in floors]
    columns = [scores.names.index(name) for name in ranked]
    sums = scores.sums()[:, columns]
    chances = dict(zip(ranked, beaten_p(sums).tolist(), strict=True))
    best = ranked[int(sums.sum(axis=0).argmax())]
    for name in scores.names:
        chance = chances.get(name)
        yield {
            "policy": name,
            **_figures(scores.estimate(name)),
            "is_best": name == best,
            "beaten_p": chance,
            "may_be_best": chance is not None and chance > ALPHA,
        }


def leads(scores: GroupScores, name: str, others: Sequence[str]) -> list[dict[str, Any]]:
    """A line per other memory: by how much `name` is ahead, in points, the bound of
    `eval.ranking.lower_bounds` (None for one video), and the p-value of `eval.paired`."""
    own, deviations = scores.names.index(name), scores.deviations()
    columns = [scores.names.index(other) for other in others]
    quantile = simultaneous_quantile(deviations[:, [own]] - deviations[:, columns])
    found = []
    for other in others:
        pair = scores.difference(name, other)
        error = pair.standard_error
        bound = None if error is None else max(-1.0, pair.mean - quantile * error)
        found.append(
            {
                "policy": name,
                "other": other,
                "num_videos": pair.num_clusters,
                "difference_points": 100 * pair.mean,
                "lower_bound_points": None if bound is None else 100 * bound,
                "sign_flip_p": pair.sign_flip_p,
            }
        )
    return found


def lead_on_best(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the lines of `leads` that to the best of the others, with the smallest of all bounds,
    which is one for it whichever that is."""
    best = min(lines, key=lambda line: line["difference_points"])
    bounds = [line["lower_bound_points"] for line in lines]
    return best | {"lower_bound_points": None if None in bounds else float(np.min(bounds))}


def _figures(estimate: Estimate) -> dict[str, Any]:
    bounds = (estimate.low, estimate.high)
    low, high = (None if bound is None else 100 * bound for bound in bounds)
    return {
        "accuracy_percent": 100 * estimate.mean,
        "low_percent": low,
        "high_percent": high,
        "num_questions": estimate.num_rows,
        "num_videos": estimate.num_clusters,
    }

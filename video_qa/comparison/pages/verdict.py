"""What a comparison says, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from video_qa.comparison.pages.intervals import FEW_VIDEOS

ALL = "all questions"


def verdict(numbers: Mapping[str, Any]) -> str:
    """The best run over all questions, and what the difference from its baseline is worth."""
    runs = [run for run in numbers["runs"] if ALL in run["groups"]]
    if not runs:
        return "No question was answered, so nothing can be said about these memories."
    best = max(_accuracy(run) for run in runs)
    first, *others = [run for run in runs if _accuracy(run) == best]
    head = f"{_name(first)} answers {best:.1f} % of all questions right"
    if len(runs) == 1:
        return f"{head}; there is nothing to compare it with."
    if others:
        return f"{head}, and so does {' and '.join(map(_name, others))}: no memory is ahead."
    return f"{head}, the most of {len(runs)} runs{_against_baseline(numbers, first)}."


def _against_baseline(numbers: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    pairs = [
        pair
        for pair in numbers["paired"]
        if (pair["policy"], pair["kv_size"], pair["group"]) == (run["policy"], run["kv_size"], ALL)
    ]
    if not pairs:
        return ""
    pair, points = pairs[0], pairs[0]["difference_percent"]
    side = "above" if points >= 0 else "below"
    return f", {abs(points):.1f} points {side} {pair['baseline']} at the same budget{_worth(pair)}"


def _worth(pair: Mapping[str, Any]) -> str:
    if pair["interval95_percent"] is None:
        return " (one video: no interval)"
    low, high = pair["interval95_percent"]
    shown = f" (95 % interval {low:.1f} to {high:.1f}"
    if pair["num_videos"] < FEW_VIDEOS:
        return f"{shown}, from only {pair['num_videos']} videos)"
    return f"{shown}, which {'includes 0: may be chance' if low <= 0 <= high else 'excludes 0'})"


def _accuracy(run: Mapping[str, Any]) -> float:
    return run["groups"][ALL]["accuracy_percent"]


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['policy']} at {run['kv_size']} tokens per layer"

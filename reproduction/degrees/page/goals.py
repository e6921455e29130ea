"""What a memory of our own is to reach, and how far it got: a line per goal, the worst case named.

A goal for "every" case is an intersection: each case is tested at its own level, and no correction
for the number of cases is due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from eval.multiple_choice.task_groups import ALL
from eval.multiple_choice.tasks import NEVER_BALANCED
from eval.ranking.verdict import lead_on_best
from reproduction.degrees.costs.measured import Costs, Measured
from reproduction.degrees.page.costs_table import milliseconds
from reproduction.degrees.page.tables import rows_of
from reproduction.degrees.plan import BASE_FPS

CASE = ["degree", "length", "sample_fps", "kv_size"]
MARGIN_POINTS = 3.0
FAR_LEAD_POINTS = 10.0
RECENT_MARGIN_POINTS = 2.0
RECENT_BUDGETS = (64, 128)


class Goal(NamedTuple):
    """A goal, whether it is reached, and the case that decides."""

    text: str
    is_reached: bool
    worst: str


def leads_on_best(differences: pd.DataFrame, group: str = ALL) -> pd.DataFrame:
    """A row per case: the best of the others, by how much ours is ahead of it, and the lower bound
    of that, simultaneous over the others."""
    rows = differences[differences["group"] == group]
    found = [
        dict(zip(CASE, case if isinstance(case, tuple) else (case,), strict=True))
        | lead_on_best(rows_of(own))
        for case, own in rows.groupby(CASE, sort=False)
    ]
    return pd.DataFrame(found)


def goals(differences: pd.DataFrame, ours: str, measured: Measured | None) -> Iterator[Goal]:
    """Those that can be checked with what has been run."""
    if differences.empty:
        return
    best = leads_on_best(differences)
    low = best["lower_bound_points"].astype(float).fillna(-100.0)
    text = f"all questions: lower bound of {ours} minus the best other above -{MARGIN_POINTS:g}"
    yield _every(text, best.assign(value=low), -MARGIN_POINTS, strict=True)
    yield _ahead_of_each(differences)
    yield from _far(differences)
    recent = _pairs(differences, "recent past", "recent")
    recent = recent[recent["kv_size"].isin(RECENT_BUDGETS)]
    text = f"recent past: within {RECENT_MARGIN_POINTS:g} points of recent at 64 and 128 tokens"
    if not recent.empty:
        yield _every(text, recent, -RECENT_MARGIN_POINTS)
    for group in ("counting", NEVER_BALANCED):
        pairs = _pairs(differences, group, "hermes")
        if not pairs.empty:
            text = f"{group}: never more than {MARGIN_POINTS:g} points below hermes"
            yield _every(text, pairs, -MARGIN_POINTS)
    if measured is not None:
        yield from _compression(measured, ours)


def _pairs(differences: pd.DataFrame, group: str, other: str) -> pd.DataFrame:
    own = differences[(differences["group"] == group) & (differences["other"] == other)]
    return own.assign(value=own["difference_points"])


def _every(text: str, rows: pd.DataFrame, least: float, strict: bool = False) -> Goal:
    """Whether all rows have a `value` of at least (if strict: above) that."""
    worst = rows.iloc[int(rows["value"].argmin())]
    held = rows["value"] > least if strict else rows["value"] >= least
    shown = f"{worst['value']:+.1f}" + (f" against {worst['other']}" if "other" in rows else "")
    return Goal(
        text, bool(held.all()), f"{held.sum()} of {len(rows)} cases; worst {shown}{_at(worst)}"
    )


def _ahead_of_each(differences: pd.DataFrame) -> Goal:
    rows = differences[differences["group"] == ALL]
    shares = (rows["difference_points"] > 0).groupby(rows["other"]).mean()
    worst = shares.idxmin()
    shown = f"least often of {worst}: in {100 * shares.min():.0f} % of cases"
    return Goal(
        "all questions: ahead of each other memory in most", bool((shares > 0.5).all()), shown
    )


def _far(differences: pd.DataFrame) -> Iterator[Goal]:
    for other in ("hermes", "uniform"):
        rows = _pairs(differences, "far past", other)
        rows = rows[rows["sample_fps"] == BASE_FPS]
        if rows.empty:
            continue
        pooled = rows.groupby(["length", "kv_size"])["value"].mean().reset_index()
        text = (
            f"far past: {FAR_LEAD_POINTS:g} points above {other}, mean over the degrees at "
            f"{BASE_FPS:g} fps"
        )
        yield _every(text, pooled, FAR_LEAD_POINTS)


def _compression(measured: Measured, ours: str) -> Iterator[Goal]:
    both = [
        (own, other)
        for (name, size), own in measured.costs.items()
        if name == ours and (other := measured.costs.get(("hermes", size))) is not None
    ]
    if both:
        by, seconds = _deciding(measured)
        own, other = max(both, key=lambda two: seconds(two[0]) - seconds(two[1]))
        times = [milliseconds(seconds(c), c.compression_by_round_seconds) for c in (own, other)]
        yield Goal(
            f"compression ({by}) costs no more than that of hermes",
            seconds(own) <= seconds(other),
            f"{times[0]} against {times[1]} at {own.kv_size} tokens",
        )


def _deciding(measured: Measured) -> tuple[str, Callable[[Costs], float]]:
    """Which seconds of compression can be compared, and their name."""
    if measured.is_quiet:
        return "median", lambda costs: costs.compression_p50_seconds
    by = "fastest round, since other work had the core meanwhile"
    return by, lambda costs: min(costs.compression_by_round_seconds)


def _at(row: pd.Series) -> str:
    parts = [str(row[name]) for name in ("degree", "length") if name in row]
    parts += [f"{row['sample_fps']:g} fps"] if "sample_fps" in row else []
    return f" ({', '.join([*parts, str(row['kv_size']) + ' tokens'])})"

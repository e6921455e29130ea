"""Who is best and who may be; how far one memory is ahead of the best other, and its goals."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eval.ranking.verdict import ALPHA
from reproduction.degrees.costs.measured import Measured
from reproduction.degrees.page.accuracy import SHORT
from reproduction.degrees.page.goals import goals, leads_on_best
from reproduction.degrees.page.tables import markdown, rows_of, shown, signed
from reproduction.degrees.page.texts import TEXT
from reproduction.degrees.results import main_budget

MOST_NAMES = 8
"""Of memories that cannot be told apart; the others are counted."""
FEWEST_VIDEOS = next(count for count in range(1, 20) if 0.5**count < ALPHA)
"""With fewer no p-value is below 5 %."""


def verdict(accuracies: pd.DataFrame) -> Iterator[str]:
    """The section: a table per length and budget, the main one first."""
    own = accuracies[accuracies["part"] == "memories"]
    yield TEXT["verdict"].format(percent=100 * ALPHA)
    cases = dict.fromkeys(zip(own["length"], own["kv_size"], strict=True))
    main = (own["length"].iloc[0], main_budget(own))
    for length, kv_size in sorted(cases, key=lambda case: case != main):
        rows = own[(own["length"] == length) & (own["kv_size"] == kv_size)]
        yield f"**{length} the trained length, {kv_size} tokens per layer**\n"
        header = ("degree", "questions about", "best", "not told apart from it", "told apart")
        groups = rows.groupby(["degree", "group"], sort=False)
        yield markdown(header, [_best_of(part) for _, part in groups], left=4)


def _best_of(rows: pd.DataFrame) -> list[str]:
    degree, group = (str(rows[name].iloc[0]) for name in ("degree", "group"))
    ranked = rows[rows["beaten_p"].notna()].sort_values("accuracy_percent", ascending=False)
    best = ranked[ranked["is_best"]].iloc[0]
    others = ranked[ranked["may_be_best"] & ~ranked["is_best"]]["policy"].tolist()
    more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
    names = ", ".join(others[:MOST_NAMES]) + more
    if best["num_videos"] < FEWEST_VIDEOS:
        names = f"{best['num_videos']} videos cannot tell any apart"
    count = len(ranked) - 1 - len(others)
    equals = int((best["accuracy_percent"] - ranked["accuracy_percent"] < 1e-6).sum()) - 1
    name = best["policy"] + (f" (and {equals} with the same)" if equals else "")
    return [
        degree,
        SHORT.get(group, group),
        f"{name} {shown(best)}",
        names or "none",
        f"{count}",
    ]


def lead(differences: pd.DataFrame, measured: Measured | None, ours: str) -> Iterator[str]:
    """The section: a row per case, a row per goal; nothing without differences."""
    if differences.empty:
        return
    yield TEXT["lead"].format(ours=ours)
    rows = [
        [
            f"{row['degree']}, {row['length']}, {row['sample_fps']:g} fps, {row['kv_size']}",
            row["other"],
            signed(row["difference_points"]),
            signed(row["lower_bound_points"]),
        ]
        for row in rows_of(leads_on_best(differences))
    ]
    header = ("degree, length, rate, tokens", "best other", "ours ahead by", "lower bound")
    yield markdown(header, rows)
    yield markdown(
        ("goal", "reached", "decided by"),
        [
            [goal.text, "yes" if goal.is_reached else "**no**", goal.worst]
            for goal in goals(differences, ours, measured)
        ],
        left=3,
    )

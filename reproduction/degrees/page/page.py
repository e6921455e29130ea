"""The page of the comparison, every figure on it from the results."""

from __future__ import annotations

import pandas as pd

from reproduction.degrees.costs.measured import Measured
from reproduction.degrees.page.accuracy import by_degree, other_rates, settings
from reproduction.degrees.page.costs_table import costs
from reproduction.degrees.page.dialogue import Numbers, dialogue
from reproduction.degrees.page.goals import goals
from reproduction.degrees.page.tables import rows_of
from reproduction.degrees.page.texts import TEXT
from reproduction.degrees.page.verdict import lead, verdict
from reproduction.degrees.results import Results, main_budget


def page(
    results: Results,
    measured: Measured | None,
    robustness: Numbers | None,
    ours: str,
    command: str,
) -> str:
    """Markdown; sections without results are left out, or say how to get them."""
    accuracies = results.accuracies
    parts = [
        TEXT["head"].format(command=command, streams=_streams(accuracies)),
        *verdict(accuracies),
        *lead(results.differences, measured, ours),
        *costs(measured, main_budget(accuracies)),
        *dialogue(robustness, accuracies),
        *by_degree(accuracies),
        *other_rates(accuracies),
        *settings(accuracies),
        TEXT["limits"],
    ]
    return "\n".join(parts)


def verdict_lines(results: Results, measured: Measured | None, ours: str) -> list[str]:
    """For the terminal: what `ours` is to reach, and how far it got."""
    return [
        f"{'reached    ' if goal.is_reached else 'NOT reached'}  {goal.text}: {goal.worst}"
        for goal in goals(results.differences, ours, measured)
    ]


def _streams(accuracies: pd.DataFrame) -> str:
    own = accuracies[accuracies["part"] == "memories"]
    found: dict[str, dict[str, int]] = {}
    for row in rows_of(own):
        counts = found.setdefault(row["length"], {})
        counts[row["degree"]] = max(row["num_videos"], counts.get(row["degree"], 0))
    return "; ".join(
        f"{length}: {', '.join(f'{count} {degree}' for degree, count in counts.items())}"
        for length, counts in found.items()
    )

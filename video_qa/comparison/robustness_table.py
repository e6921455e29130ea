"""What other questions do to the answers of each memory, as a table and as a column of others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from video_qa.comparison.pages.tables import Table

JSON_FILE, MARKDOWN_FILE = "robustness.json", "robustness.md"
HEADER = (
    *("policy", "budget", "in order", "shuffled", "alone"),
    *("changed by shuffling", "points", "changed by being alone", "points"),
)
NOTE = """\
Accuracy over all questions in %, then shares of answers in % that differ from those in order, and
by how many points accuracy does; 95 % intervals over videos. Shuffled: other questions were asked
at the times of the others. Alone: nothing else was asked, and no chunk ended before its time.
"""
Numbers = Mapping[str, Any]


def write_robustness(folder: Path) -> str:
    """Write the table beside robustness.json; returns it for a terminal. Raises OSError."""
    table = robustness_table(json.loads((folder / JSON_FILE).read_text(encoding="utf-8")))
    write_text(folder / MARKDOWN_FILE, f"{table.markdown()}\n{NOTE}")
    return table.text()


def robustness_table(numbers: Numbers) -> Table:
    """A row per policy and budget."""
    return Table(HEADER, [_row(run, by_turns) for run, by_turns in by_run(numbers).items()])


def changed_column(numbers: Numbers, turns: str = "shuffled") -> dict[tuple[str, int], str]:
    """(policy, kv_size) -> share of answers that change, for a column of another table."""
    return {run: _changed(by_turns.get(turns)) for run, by_turns in by_run(numbers).items()}


def by_run(numbers: Numbers) -> dict[tuple[str, int], dict[str, Any]]:
    """(policy, kv_size) -> way of asking -> its row of robustness.json."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in numbers["rows"]:
        found.setdefault((row["policy"], row["kv_size"]), {})[row["turns"]] = row
    return found


def _row(run: tuple[str, int], by_turns: Mapping[str, Any]) -> list[str]:
    shuffled, alone = by_turns.get("shuffled"), by_turns.get("alone")
    accuracies = [_accuracy(row) for row in (by_turns.get("in_order"), shuffled, alone)]
    others = [text for row in (shuffled, alone) for text in (_changed(row), _points(row))]
    return [run[0], str(run[1]), *accuracies, *others]


def _accuracy(row: Numbers | None) -> str:
    found = row and row["accuracy"]
    return f"{found['accuracy_percent']:.1f}{_bounds(found, '.0f')}" if found else "–"


def _changed(row: Numbers | None) -> str:
    found = row and row["changed"]
    return f"{found['share_percent']:.1f}{_bounds(found, '.1f')}" if found else "–"


def _points(row: Numbers | None) -> str:
    found = row and row["difference"]
    if not found:
        return "–"
    return f"{found['difference_percent']:+.1f}{_bounds(found, '+.1f')}"


def _bounds(found: Numbers, form: str) -> str:
    bounds = found["interval95_percent"]
    return f" ({bounds[0]:{form}} to {bounds[1]:{form}})" if bounds else ""

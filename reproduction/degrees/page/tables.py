"""Markdown tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Row by row."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


class Rows(NamedTuple):
    """Rows by name, accuracies by column; `strong` are the (row, column) to stress."""

    header: list[str]
    cells: list[list[str]]

    @classmethod
    def of(cls, table: pd.DataFrame, row: str, column: str) -> Rows:
        """A row per value of `row`, in order of appearance, best mean first."""
        columns = list(dict.fromkeys(table[column]))
        found = {(one[row], one[column]): one for one in rows_of(table)}
        means = table.groupby(row, sort=False)["accuracy_percent"].mean()
        names = list(means.sort_values(ascending=False, kind="stable").index)
        cells = [[name, *(_cell(found.get((name, one))) for one in columns)] for name in names]
        return cls([row, *columns], cells)

    def markdown(self) -> str:
        """The table."""
        return markdown(self.header, self.cells)


def _cell(found: Any) -> str:
    if found is None:
        return "–"
    return f"**{shown(found)}**" if found["may_be_best"] else shown(found)


def shown(row: Any) -> str:
    """`93.8 (91–96)`"""
    bounds = (row["low_percent"], row["high_percent"])
    interval = "" if any(map(pd.isna, bounds)) else " ({:.0f}–{:.0f})".format(*bounds)
    return f"{row['accuracy_percent']:.1f}{interval}"


def signed(points: Any) -> str:
    """`+1.2`, or a dash for nothing."""
    return "–" if pd.isna(points) else f"{points:+.1f}"


def bytes_of(count: int) -> str:
    """In MiB, where there are any."""
    return "0" if not count else f"{count / 2**20:.1f} MiB"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """The first `left` columns to the left, the others to the right."""
    marks = ["---"] * left + ["--:"] * (len(header) - left)
    return "".join(f"| {' | '.join(line)} |\n" for line in (header, marks, *rows))

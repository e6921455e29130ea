"""A table of printed numbers with our own beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.columns import metric_of
from reproduction.measured import Measured, measured, read_metrics
from reproduction.published import PublishedRow, PublishedTable
from reproduction.runs import Run, run_of

NOT_OURS, NOT_RUN, OUTSIDE = "not run here", "not run yet", "outside the interval"
AGREES, ALONE = "", "nothing printed"


@dataclass(frozen=True)
class Cell:
    """One number of a row."""

    row: PublishedRow
    column: str
    paper: float | None
    ours: Measured | None
    run: Run | None

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        if self.ours is None or self.paper is None:
            return None
        return self.ours.value - self.paper

    @property
    def mark(self) -> str:
        """What there is to say about it."""
        if self.run is None:
            return NOT_OURS
        if self.ours is None:
            return NOT_RUN
        if self.paper is None:
            return ALONE
        return OUTSIDE if self.ours.excludes(self.paper) else AGREES

    def as_record(self) -> dict[str, Any]:
        """JSON-able, and a line of the CSV."""
        ours = self.ours or Measured(float("nan"))
        known = self.ours is not None
        return {
            "model": self.row.model,
            "method": self.row.method,
            "kv_size": self.row.kv_size,
            "policy": self.row.policy,
            "column": self.column,
            "paper": self.paper,
            "ours": ours.value if known else None,
            "difference": self.difference,
            "interval95_low": ours.low,
            "interval95_high": ours.high,
            "n": ours.n,
            "mark": self.mark,
            "source": self.row.source,
            "confidence": self.row.confidence,
        }


def side_by_side(
    table: PublishedTable, rows: Sequence[PublishedRow], shared: Sequence[str]
) -> list[Cell]:
    """Every number of `rows`, ours read from the folders of the runs behind them."""
    metrics: dict[Path, Mapping[str, Any]] = {}
    cells = []
    for row in rows:
        for column, paper in zip(table.columns, row.values, strict=True):
            metric = metric_of(table.name, column)
            run = run_of(row, metric.dataset) if metric else None
            ours = None
            if metric and run:
                folder = run.folder(shared)
                if folder not in metrics:
                    metrics[folder] = read_metrics(folder)
                ours = measured(metrics[folder], metric)
            if run or paper is not None:
                cells.append(Cell(row, column, paper, ours, run))
    return cells

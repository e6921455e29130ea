"""What finished comparisons say, as rows that pandas reads: accuracies, and differences of one
memory to every other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from eval.comparison import read_table
from eval.multiple_choice.task_groups import ALL, benchmark_of, task_groups
from eval.ranking.scores import GroupScores, group_scores, side_by_side
from eval.ranking.verdict import leads, standings
from eval.results_table import cluster_column
from eval.whole_file import write_text
from reproduction.degrees.plan import RATES_BUDGET, Comparison
from video_qa.comparison.arguments import FLOORS

RANKED = ("memories", "rates")
"""Parts whose memories are told apart; the others are settings of some of them."""
WHERE = ("part", "degree", "length", "sample_fps", "kv_size", "group")


@dataclass(frozen=True)
class Results:
    """Tidy tables, a row per memory (or pair), group, budget, rate, length and degree.

    Attributes:
        accuracies: `WHERE`, policy, and what `eval.ranking.verdict.standings` says.
        differences: `WHERE`, policy, other, and what `eval.ranking.verdict.leads` says.
    """

    accuracies: pd.DataFrame
    differences: pd.DataFrame

    def write_csv(self, folder: Path) -> None:
        """Two files, in percent and points to four places."""
        for name, table in self._named():
            write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.4f"))

    def write_json(self, folder: Path) -> None:
        """The same, a list of rows each."""
        for name, table in self._named():
            write_text(folder / f"{name}.json", table.to_json(orient="records", indent=1) + "\n")

    def _named(self) -> list[tuple[str, pd.DataFrame]]:
        return [("accuracies", self.accuracies), ("differences", self.differences)]


def collect(
    comparisons: Iterable[Comparison], root: Path, ours: str, kin: Sequence[str] = ()
) -> Results:
    """Evaluate every comparison whose table lies there.

    Args:
        ours: the memory that is compared with every other one.
        kin: memories that are not among the others, beside the floors and settings of `ours`.
    """
    accuracies: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for comparison in comparisons:
        path = comparison.folder(root) / "comparison.csv"
        if not path.exists():
            continue
        for where, scores in _groups(comparison, path):
            accuracies += [where | line for line in standings(scores, FLOORS)]
            others = _others(scores.names, ours, kin)
            if comparison.part in RANKED and ours in scores.names and others:
                differences += [where | line for line in leads(scores, ours, others)]
    return Results(pd.DataFrame(accuracies), pd.DataFrame(differences))


def main_budget(accuracies: pd.DataFrame) -> int:
    """The budget that is shown in full: that of the other rates, else the largest one."""
    sizes = set(accuracies[accuracies["part"] == "memories"]["kv_size"])
    return RATES_BUDGET if RATES_BUDGET in sizes else max(sizes)


def _others(names: Sequence[str], ours: str, kin: Sequence[str]) -> list[str]:
    left_out = {ours, *kin, *FLOORS}
    return [name for name in names if name not in left_out and not name.startswith(f"{ours}:")]


def _groups(comparison: Comparison, path: Path) -> Iterator[tuple[dict[str, Any], GroupScores]]:
    table = read_table(path)
    clusters, tasks = cluster_column(table), table["task"]
    groups = task_groups(benchmark_of("nanostream", list(tasks)), tasks)
    for kv_size in sorted(set(table["kv_size"]), reverse=True):
        wide = side_by_side(table, kv_size, clusters)
        names = list(dict.fromkeys(table["policy"]))
        for name, group in groups.items():
            scores = group_scores(wide, names, group, clusters)
            if scores is not None:
                yield _where(comparison, int(kv_size), name), scores


def _where(comparison: Comparison, kv_size: int, group: str) -> dict[str, Any]:
    world = comparison.world
    values = (comparison.part, world.degree, world.length.name, comparison.sample_fps, kv_size)
    return dict(zip(WHERE, (*values, group), strict=True))


__all__ = ["ALL", "RANKED", "WHERE", "Results", "collect", "main_budget"]

"""Groups of tasks in which runs are compared, as weights of tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eval.intervals import Estimate, stratified_mean
from eval.multiple_choice.tasks import BENCHMARKS, NANOSTREAM, OVO, Benchmark, find_benchmark
from eval.paired import PairedDifference, paired_difference

ALL = "all questions"
NO_TASK = "(no task)"
PERCEPTION_AND_MEMORY = {
    NANOSTREAM.title: ("perception now", "far past"),
    OVO.title: ("Real-Time Visual Perception", "Backward Tracing"),
}
"""Benchmark -> the group that asks what is seen now, and the one that asks what was seen."""


@dataclass(frozen=True)
class Group:
    """Tasks that count the same each; where they are pooled, every question counts the same."""

    tasks: tuple[str, ...]
    is_pooled: bool = False
    is_balanced: bool = False
    """There is no mean without every task."""


Groups = Mapping[str, Group]


def benchmark_of(dataset: str | None, tasks: Sequence[str]) -> Benchmark:
    """The benchmark of a dataset key, else the one its task names tell."""
    return BENCHMARKS.get(dataset or "") or find_benchmark(dataset, tasks, False)


def task_groups(benchmark: Benchmark, tasks: pd.Series) -> Groups:
    """The benchmark's categories that have questions, else its tasks; then all questions, without
    those that `Benchmark.balanced` puts beside their look-alikes."""
    present = [name for name in benchmark.ordered(list(tasks)) if name]
    found = benchmark.asked_categories(present) or {name: (name,) for name in present}
    everything = tuple(name for name in present if benchmark.counts_in_all(name))
    groups = {
        name: Group(own, is_balanced=name in benchmark.balanced) for name, own in found.items()
    }
    return groups | {ALL: Group(everything, is_pooled=True)}


def group_mean(rows: pd.DataFrame, group: Group, clusters: str) -> Estimate | None:
    """Accuracy of the group's rows (columns `right`, `task`); None if it has none."""
    chosen, strata, weights = strata_of(once_per_fact(rows, clusters), group)
    if chosen.empty:
        return None
    return stratified_mean(chosen["right"], chosen[clusters], strata, weights)


def group_difference(pairs: pd.DataFrame, group: Group, clusters: str) -> PairedDifference | None:
    """Difference over the group's pairs (`right`, `right_baseline`); None if it has none."""
    chosen, strata, weights = strata_of(once_per_fact(pairs, clusters), group)
    if chosen.empty:
        return None
    return paired_difference(
        chosen["right"], chosen["right_baseline"], chosen[clusters], strata, weights
    )


def once_per_fact(
    rows: pd.DataFrame, clusters: str, right: Sequence[str] = ("right", "right_baseline")
) -> pd.DataFrame:
    """One row per question that is put to a video, however often: its share of right answers, in
    those of the columns `right` that there are.

    The same words with the same right answer ask for the same fact; asking again later says
    something of the memory, but must not make the fact count more than others.
    """
    names = [name for name in (clusters, "task", "question", "answer") if name in rows]
    if "question" not in names or not rows.duplicated(names).any():
        return rows
    shares = [name for name in right if name in rows]
    return rows.groupby(names, sort=False, as_index=False)[shares].mean()


def strata_of(rows: pd.DataFrame, group: Group) -> tuple[pd.DataFrame, pd.Series, dict[str, float]]:
    """The group's rows, the stratum of each, and the strata's weights; no rows where the group has
    no mean."""
    chosen = rows[rows["task"].isin(group.tasks)]
    if group.is_pooled:
        return chosen, pd.Series("", index=chosen.index), {"": 1.0}
    present = chosen["task"].unique()
    if group.is_balanced and len(present) < len(group.tasks):
        chosen = chosen.iloc[:0]
    return chosen, chosen["task"], {str(task): 1 / len(present) for task in present}

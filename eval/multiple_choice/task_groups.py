"""Groups of tasks in which runs are compared, as weights of tasks."""

from collections.abc import Mapping, Sequence

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
Groups = Mapping[str, tuple[str, ...]]
"""Group -> its tasks, each of the same weight; no tasks: every question counts alike."""


def benchmark_of(dataset: str | None, tasks: Sequence[str]) -> Benchmark:
    """The benchmark of a dataset key, else the one its task names tell."""
    return BENCHMARKS.get(dataset or "") or find_benchmark(dataset, tasks, False)


def task_groups(benchmark: Benchmark, tasks: pd.Series) -> Groups:
    """The benchmark's categories that have questions, else its tasks; then all questions."""
    present = [name for name in benchmark.ordered(list(tasks)) if name]
    groups = {
        name: tuple(task for task in own if task in present)
        for name, own in benchmark.categories.items()
    }
    if not any(groups.values()):
        groups = {name: (name,) for name in present}
    return {name: own for name, own in groups.items() if own} | {ALL: ()}


def group_mean(rows: pd.DataFrame, group: tuple[str, ...], clusters: str) -> Estimate | None:
    """Accuracy of the group's rows (columns `right`, `task`); None if it has none."""
    chosen, strata, weights = _strata(once_per_fact(rows, clusters), group)
    if chosen.empty:
        return None
    return stratified_mean(chosen["right"], chosen[clusters], strata, weights)


def group_difference(
    pairs: pd.DataFrame, group: tuple[str, ...], clusters: str
) -> PairedDifference | None:
    """Difference over the group's pairs (`right`, `right_baseline`); None if it has none."""
    chosen, strata, weights = _strata(once_per_fact(pairs, clusters), group)
    if chosen.empty:
        return None
    return paired_difference(
        chosen["right"], chosen["right_baseline"], chosen[clusters], strata, weights
    )


def once_per_fact(rows: pd.DataFrame, clusters: str) -> pd.DataFrame:
    """One row per question that is put to a video, however often: its share of right answers.

    The same words with the same right answer ask for the same fact; asking again later says
    something of the memory, but must not make the fact count more than others.
    """
    names = [name for name in (clusters, "task", "question", "answer") if name in rows]
    if "question" not in names or not rows.duplicated(names).any():
        return rows
    shares = [name for name in ("right", "right_baseline") if name in rows]
    return rows.groupby(names, sort=False, as_index=False)[shares].mean()


def _strata(
    rows: pd.DataFrame, group: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.Series, dict[str, float]]:
    if not group:
        return rows, pd.Series("", index=rows.index), {"": 1.0}
    chosen = rows[rows["task"].isin(group)]
    present = chosen["task"].unique()
    return chosen, chosen["task"], {str(task): 1 / len(present) for task in present}

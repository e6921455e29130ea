"""The `general` and `words` subcommands: accuracy over all questions, per task and category."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eval.intervals import Estimate, clustered_mean, stratified_mean
from eval.multiple_choice.reports import Report, block, count_line
from eval.multiple_choice.scored import Scored
from eval.multiple_choice.tasks import OVO, Benchmark, dataset_beside, find_benchmark

NO_TASK = "(no task)"
ALL_BUT_BALANCED = "all_but_balanced"


def evaluate_general(path: Path, debug: bool = False) -> Report:
    """Evaluate the multiple-choice results at `path`.

    Args:
        path: results CSV; config.json beside it names the dataset, else task names tell it.
        debug: also print the rows whose prediction could not be parsed.

    Raises:
        ResultsError: the CSV cannot be evaluated.
    """
    return _evaluate(Scored.read(path), "general", "eval_results.txt", debug)


def evaluate_words(path: Path, debug: bool = False) -> Report:
    """Evaluate open answers of one word at `path`: right if they are the reference's words.

    Raises:
        ResultsError: the CSV cannot be evaluated.
    """
    return _evaluate(Scored.read_words(path), "words", "eval_results_words.txt", debug)


def _evaluate(scored: Scored, section: str, file_name: str, debug: bool) -> Report:
    path, tasks = scored.path, scored.labels("task")
    benchmark = find_benchmark(
        dataset_beside(path), list(tasks), bool(scored.labels("duration_category").any())
    )
    if tasks.any():
        tasks = tasks.where(tasks != "", NO_TASK)
    task_means = _task_means(scored, tasks, benchmark)
    categories = _category_means(scored, tasks, benchmark)
    averages = _ovo_averages(scored, tasks) if benchmark is OVO else {}
    averages |= _without_balanced(scored, tasks, benchmark)
    abilities = _ability_means(scored)
    lines = _lines(scored, benchmark, task_means, categories, averages | abilities)
    text = "\n".join([*block(f"EVALUATION RESULTS ({benchmark.title})"), *lines]) + "\n"
    metrics = {
        "benchmark": benchmark.title,
        "dataset": dataset_beside(path),
        **scored.metrics(),
        "tasks": _percents(task_means),
        "categories": _percents(categories),
        **({"abilities": _percents(abilities)} if abilities else {}),
        **_percents(averages),
    }
    shown = (*lines, *(scored.debug_lines() if debug else ()))
    return Report(section, shown, {file_name: text}, metrics)


def _lines(
    scored: Scored,
    benchmark: Benchmark,
    task_means: Mapping[str, Estimate],
    categories: Mapping[str, Estimate],
    averages: Mapping[str, Estimate],
) -> list[str]:
    """The lines of the release, then those it lacks."""
    num_unparsed, num_rows = len(scored.unparsed), len(scored.rows)
    return [
        f"#Samples: {num_rows}",
        f"Average qa_acc: {scored.rows['qa_acc'].mean():.2f}",
        f"save_dir: {scored.path.parent}",
        *_block(
            f"TASK-SPECIFIC ACCURACY ({benchmark.title})",
            [count_line(benchmark.label(name), mean) for name, mean in task_means.items()],
        ),
        *_block("MAJOR CATEGORY ACCURACY", _category_lines(benchmark, categories, task_means)),
        f"%Errors: {100 * num_unparsed / num_rows:.2f}",
        *block("WITH INTERVALS"),
        *(f"{name}: {estimate.as_text()}" for name, estimate in averages.items()),
        *scored.closing_lines(),
    ]


def _category_lines(
    benchmark: Benchmark, categories: Mapping[str, Estimate], asked: Collection[str]
) -> list[str]:
    """Each category, and all its tasks, whether they have questions or not; of a balanced one the
    two that it was made of."""
    pairs = {
        name: own
        for name, own in benchmark.asked_categories(asked).items()
        if name in benchmark.balanced
    }
    included = {**benchmark.categories, **pairs}
    return [
        line
        for name, mean in categories.items()
        for line in (
            count_line(name, mean),
            f"  - Includes: {', '.join(included[name])}",
        )
    ]


def _block(title: str, lines: list[str]) -> list[str]:
    return block(title, lines) if lines else []


def _task_means(scored: Scored, tasks: pd.Series, benchmark: Benchmark) -> dict[str, Estimate]:
    names = [name for name in benchmark.ordered(list(tasks)) if name]
    return {name: scored.estimate(tasks == name) for name in names}


def _ability_means(scored: Scored) -> dict[str, Estimate]:
    """StreamingBench: by the kind of memory that a question needs; nothing where it is not said."""
    abilities = scored.labels("required_ability")
    return {name: scored.estimate(abilities == name) for name in sorted(set(abilities) - {""})}


def _category_means(scored: Scored, tasks: pd.Series, benchmark: Benchmark) -> dict[str, Estimate]:
    """The unweighted mean of the task means for every category that has questions."""
    found = benchmark.asked_categories(set(tasks))
    return {
        name: _weighted_mean(scored, tasks, dict.fromkeys(own, 1 / len(own)))
        for name, own in found.items()
    }


def _without_balanced(
    scored: Scored, tasks: pd.Series, benchmark: Benchmark
) -> dict[str, Estimate]:
    """All questions that count as such, where the benchmark has others."""
    counted = tasks.map(benchmark.counts_in_all).astype(bool)
    if not benchmark.balanced or not counted.any():
        return {}
    return {ALL_BUT_BALANCED: scored.estimate(counted)}


def _ovo_averages(scored: Scored, tasks: pd.Series) -> dict[str, Estimate]:
    """Both OVO-Bench averages: the paper's mean of the two track means, and by question.

    Nothing when a track has no questions, because the mean would be that of another benchmark.
    """
    tracks = [
        [task for task in track if (tasks == task).any()] for track in OVO.categories.values()
    ]
    if not all(tracks):
        return {}
    weights = {task: 1 / len(track) / len(tracks) for track in tracks for task in track}
    chosen = scored.rows[tasks.isin(OVO.tasks)]
    return {
        "ovo_average_of_tracks": _weighted_mean(scored, tasks, weights),
        "ovo_average_by_question": clustered_mean(
            chosen["qa_acc"] / 100, chosen[scored.clustered_by]
        ),
    }


def _weighted_mean(scored: Scored, tasks: pd.Series, weights: Mapping[str, float]) -> Estimate:
    chosen = tasks.isin(list(weights))
    rows = scored.rows[chosen]
    return stratified_mean(rows["qa_acc"] / 100, rows[scored.clustered_by], tasks[chosen], weights)


def _percents(means: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.as_percent() for name, estimate in means.items()}

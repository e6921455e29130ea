"""The `videomme` subcommand: accuracy per video duration."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from eval.intervals import Estimate
from eval.multiple_choice.reports import Report, block, duration_line
from eval.multiple_choice.scored import Scored

DURATIONS = ("short", "medium", "long")


def evaluate_videomme(path: Path, debug: bool = False) -> Report:
    """Evaluate the VideoMME results at `path`, which need a `duration_category` column.

    The report has a file of its own, so that it does not replace the one of `general`.

    Raises:
        ResultsError: the CSV cannot be evaluated.
    """
    scored = Scored.read(path, "duration_category")
    durations = scored.labels("duration_category").str.lower()
    means = {name: scored.estimate(durations == name) for name in _ordered(durations)}
    lines = _lines(scored, means)
    metrics = {
        **scored.metrics(),
        "durations": {name: estimate.as_percent() for name, estimate in means.items()},
    }
    shown = (*lines, *(scored.debug_lines() if debug else ()))
    return Report(
        "videomme", shown, {"eval_results_videomme.txt": "\n".join(lines) + "\n"}, metrics
    )


def _lines(scored: Scored, means: Mapping[str, Estimate]) -> list[str]:
    overall = scored.estimate()
    return [
        *block("VIDEOMME ACCURACY BY DURATION", _table_lines(means)),
        f"Total Questions: {overall.num_rows}",
        f"Total Correct: {overall.num_right}",
        f"Overall Accuracy: {100 * overall.mean:.2f}%",
        *(duration_line(name, estimate) for name, estimate in means.items()),
        *block("WITH INTERVALS"),
        *(f"{name}: {estimate.as_text()}" for name, estimate in means.items()),
        *scored.closing_lines(),
    ]


def _table_lines(means: Mapping[str, Estimate]) -> list[str]:
    header = (
        f"{'Duration':<10} {'Total Questions':>15} {'Average Accuracy':>16} {'Total Correct':>13}"
    )
    return [header] + [
        f"{name:<10} {value.num_rows:>15} {100 * value.mean:>16.2f} {value.num_right:>13}"
        for name, value in means.items()
    ]


def _ordered(durations: pd.Series) -> list[str]:
    known = [name for name in DURATIONS if (durations == name).any()]
    return known + sorted(set(durations) - set(known))

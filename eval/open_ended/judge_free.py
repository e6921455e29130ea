"""Open answers without a judge: the same words, and yes or no where that is what was asked.

About half of the RVS questions are answered by yes or no. There the first word decides, which
needs no judge and does not drift with one. Models tend to say yes: accuracy on either answer is
reported apart, and their mean.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from eval.intervals import Estimate, stratified_mean
from eval.multiple_choice.reports import Report, block
from eval.multiple_choice.scored import Scored

SECTION, FILE = "judge_free", "eval_results_judge_free.txt"
_VERDICT = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def verdict_of(text: str) -> str:
    """`yes` or `no` if that is the first word, else an empty text."""
    match = _VERDICT.match(text)
    return match[1].lower() if match else ""


def evaluate_judge_free(path: Path, debug: bool = False) -> Report:
    """Evaluate open answers at `path`.

    Raises:
        ResultsError: the CSV cannot be evaluated.
    """
    exact = Scored.read_words(path)
    estimates = {"exact": exact.estimate(), **_yes_or_no(exact)}
    undecided = _num_undecided(exact.rows)
    lines = [
        *block("WITHOUT A JUDGE"),
        *(f"{name}: {estimate.as_text()}" for name, estimate in estimates.items()),
        f"yes/no questions answered by neither word: {undecided}",
        *exact.closing_lines(),
    ]
    metrics = {
        **exact.metrics(),
        **{name: estimate.as_percent() for name, estimate in estimates.items()},
        "num_neither_yes_nor_no": undecided,
    }
    shown = (*lines, *(exact.debug_lines() if debug else ()))
    return Report(SECTION, shown, {FILE: "\n".join(lines) + "\n"}, metrics)


def _yes_or_no(scored: Scored) -> Mapping[str, Estimate]:
    """Accuracy where the reference begins with yes or no; empty if it never does."""
    asked = scored.rows["answer"].map(verdict_of)
    rows = scored.rows[asked != ""]
    if rows.empty:
        return {}
    right = (rows["pred_answer"].map(verdict_of) == asked[rows.index]).astype(float)
    videos, strata = rows[scored.clustered_by], asked[rows.index]
    found = {"yes_no": stratified_mean(right, videos, pd.Series("", rows.index), {"": 1.0})}
    present = [name for name in ("yes", "no") if (strata == name).any()]
    for name in present:
        own = strata == name
        found[f"answer_{name}"] = stratified_mean(right[own], videos[own], strata[own], {name: 1.0})
    weights = dict.fromkeys(present, 1 / len(present))
    return found | {"yes_no_balanced": stratified_mean(right, videos, strata, weights)}


def _num_undecided(rows: pd.DataFrame) -> int:
    asked = rows["answer"].map(verdict_of) != ""
    return int((asked & (rows["pred_answer"].map(verdict_of) == "")).sum())

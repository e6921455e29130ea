"""The `egoschema` subcommand: the submission file, because the answers are not public."""

from pathlib import Path

import pandas as pd

from eval.multiple_choice.reports import Report
from eval.results_table import ResultsError, read_results, usable_rows

OPTIONS = "ABCDE"


def evaluate_egoschema(path: Path, debug: bool = False) -> Report:
    """Turn the results at `path` into submission.csv with columns `q_uid,answer` (0 ... 4).

    As released, a prediction that is none of A ... E is submitted as A and named on the terminal;
    so are rows that carry an error, because a submission needs every question.

    Args:
        path: results CSV.
        debug: accepted so that all subcommands are called alike; there is nothing to add.

    Raises:
        ResultsError: the CSV cannot be evaluated, or every row carries an error.
    """
    table = read_results(path, ("video_id", "pred_choice"))
    usable = usable_rows(table)
    choices = table["pred_choice"].str.strip().where(usable, "")
    if not usable.any():
        raise ResultsError(f"{path}: every one of its {len(table)} rows carries an error")
    valid = choices.isin(list(OPTIONS))
    numbers = choices.where(valid, OPTIONS[0]).map(OPTIONS.index)
    submission = pd.DataFrame({"q_uid": table["video_id"], "answer": numbers})
    lines = [f"Invalid pred_choice: {choice}" for choice in table["pred_choice"][~valid]]
    metrics = {
        "results_file": path.name,
        "n": len(table),
        "num_invalid": int((~valid).sum()),
        "num_error_rows": int((~usable).sum()),
    }
    if not usable.all():
        lines.append(f"!!! {metrics['num_error_rows']} rows carry an error and are submitted as A")
    files = {"submission.csv": submission.to_csv(index=False, lineterminator="\n")}
    return Report("egoschema", tuple(lines), files, metrics)

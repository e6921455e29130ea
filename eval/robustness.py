"""What other questions do to an answer: share of answers that change, and what it costs.

    python eval/robustness.py --folder FOLDER

Reads in_order.csv, shuffled.csv and alone.csv (one row per run and question; the same questions
asked after all the others, after others in their places, after none) and writes robustness.json.
Runs no model; `video_qa/robustness.py` calls it. Intervals are those of `eval.intervals` and
`eval.paired`, clustered by video; accuracies are over "all questions", in which a fact that is
asked several times counts once.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

if __name__ == "__main__":  # run as a script, sys.path starts with eval/ instead of its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.comparison import KEY, read_table
from eval.files import write_json
from eval.intervals import clustered_mean
from eval.multiple_choice.task_groups import (
    ALL,
    Group,
    benchmark_of,
    group_difference,
    group_mean,
    task_groups,
)
from eval.results_table import ResultsError, cluster_column

IN_ORDER, OTHERS = "in_order", ("shuffled", "alone")
Tables = Mapping[tuple[str, int], pd.DataFrame]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 0, or 2 when the tables cannot be evaluated."""
    parser = argparse.ArgumentParser(description="Evaluate what other questions do to answers.")
    parser.add_argument("--folder", type=Path, required=True, help="folder of in_order.csv")
    parser.add_argument("--dataset", help="data set key, which says how tasks are grouped")
    arguments = parser.parse_args(argv)
    try:
        numbers = robustness(arguments.folder, arguments.dataset)
        write_json(arguments.folder / "robustness.json", numbers)
    except (ResultsError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Robustness saved to: {arguments.folder / 'robustness.json'}")
    return 0


def robustness(folder: Path, dataset: str | None = None) -> dict[str, Any]:
    """Everything that robustness.json says: `rows`, one per run and way of asking.

    A row has the accuracy; where questions were not asked in order also `changed`, the share of
    answers that are not those of the run in order, and `difference`, its accuracy minus that one's.

    Raises:
        ResultsError: a table is missing or cannot be evaluated.
    """
    usual = read_table(folder / f"{IN_ORDER}.csv")
    clusters = cluster_column(usual)
    everything = task_groups(benchmark_of(dataset, list(usual["task"])), usual["task"])[ALL]
    tables = {IN_ORDER: _by_run(usual)}
    tables |= {turns: _by_run(read_table(folder / f"{turns}.csv")) for turns in OTHERS}
    return {
        "dataset": dataset,
        "clustered_by": clusters,
        "rows": [
            row
            for run in tables[IN_ORDER]
            for row in _rows(run, {turns: by[run] for turns, by in tables.items() if run in by},
                             everything, clusters)
        ],
    }  # fmt: skip


def _by_run(table: pd.DataFrame) -> Tables:
    groups = table.groupby(["policy", "kv_size"], sort=False)
    return {_run(name): rows for name, rows in groups}


def _run(name: Any) -> tuple[str, int]:
    return str(name[0]), int(name[1])


def _rows(
    run: tuple[str, int], by_turns: Mapping[str, pd.DataFrame], everything: Group, clusters: str
) -> Iterator[dict[str, Any]]:
    for turns, rows in by_turns.items():
        scored = rows[rows["right"].notna()]
        mean = group_mean(scored, everything, clusters)
        entry = {"policy": run[0], "kv_size": run[1], "turns": turns}
        entry |= {"num_errors": len(rows) - len(scored)}
        entry |= {"accuracy": mean and mean.as_percent()}
        if turns != IN_ORDER:
            entry |= _against(scored, by_turns[IN_ORDER], everything, clusters)
        yield entry


def _against(
    rows: pd.DataFrame, usual: pd.DataFrame, everything: Group, clusters: str
) -> dict[str, Any]:
    """Both numbers are over the questions that both runs answered."""
    other = usual.assign(usual_answer=_answers(usual), right_baseline=usual["right"])
    other = other[[*KEY, "usual_answer", "right_baseline"]]
    both = rows.merge(other, on=KEY, how="inner", validate="one_to_one")
    both = both[both["right_baseline"].notna()]
    if both.empty:
        return {"changed": None, "difference": None}
    is_other = (_answers(both) != both["usual_answer"]).astype(float)
    changed = clustered_mean(is_other, both[clusters]).as_percent()
    changed["share_percent"] = changed.pop("accuracy_percent")
    difference = group_difference(both, everything, clusters)
    return {"changed": changed, "difference": difference and difference.as_percent()}


def _answers(table: pd.DataFrame) -> pd.Series:
    """The letter, or where there is none the text."""
    letters = table.get("pred_choice", pd.Series("", index=table.index))
    return letters.where(letters != "", table["pred_answer"].str.strip())


if __name__ == "__main__":
    sys.exit(main())

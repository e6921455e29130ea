"""Numbers of a comparison: accuracy per group, paired differences, budgets, costs.

    python eval/comparison.py --folder FOLDER

Reads comparison.csv (one row per run and question) and runs.json (protocol and engines) from the
folder and writes comparison.json there. Runs no model; `video_qa/compare.py` calls it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

if __name__ == "__main__":  # run as a script, sys.path starts with eval/ instead of its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from eval.files import write_json
from eval.multiple_choice.task_groups import (
    ALL,
    NO_TASK,
    PERCEPTION_AND_MEMORY,
    Groups,
    benchmark_of,
    group_difference,
    group_mean,
    task_groups,
)
from eval.multiple_choice.words import same_words
from eval.results_table import (
    ResultsError,
    answered_rows,
    cluster_column,
    read_results,
    usable_rows,
)
from eval.run_costs import run_costs

BASELINES = ("recent", "last_frames")
"""What every policy is compared with at its own budget."""
NEEDED_COLUMNS = (
    *("policy", "kv_size", "video_index", "question_index", "video_id", "task"),
    *("answer", "pred_answer", "qa_acc"),
)
KEY = ["video_index", "question_index"]
Run = tuple[str, int]


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 0, or 2 when the table cannot be evaluated."""
    parser = argparse.ArgumentParser(description="Evaluate a comparison of memory policies.")
    parser.add_argument("--folder", type=Path, required=True, help="folder of comparison.csv")
    folder = parser.parse_args(argv).folder
    try:
        facts = json.loads((folder / "runs.json").read_text(encoding="utf-8"))
        write_json(folder / "comparison.json", compare(folder / "comparison.csv", facts))
    except (ResultsError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"Comparison saved to: {folder / 'comparison.json'}")
    return 0


def compare(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that comparison.json says.

    Rows with an error are left out of accuracies and pairs, and counted.

    Raises:
        ResultsError: the table cannot be evaluated.
    """
    table = read_table(path)
    clusters = cluster_column(table)
    benchmark = benchmark_of(facts.get("dataset"), list(table["task"]))
    groups = task_groups(benchmark, table["task"])
    tables = {_run(name): rows for name, rows in table.groupby(["policy", "kv_size"], sort=False)}
    runs = [_describe(rows, run, groups, clusters, facts) for run, rows in tables.items()]
    return {
        **{name: facts.get(name) for name in ("dataset", "protocol", "versions", "num_chunks")},
        "benchmark": benchmark.title,
        "clustered_by": clusters,
        "groups": {name: list(group.tasks) for name, group in groups.items()},
        "balanced": [name for name, group in groups.items() if group.is_balanced],
        "not_in_all": sorted(set(table["task"]) - set(groups[ALL].tasks)),
        "runs": runs,
        "refused": facts.get("refused", []),
        "paired": list(_pairs(tables, groups, clusters)),
        "accuracy_against_budget": _by_budget(runs, groups),
        "disagreements": list(_disagreements(tables)),
        "perception_and_memory": _perception_and_memory(runs, benchmark.title),
    }


def read_table(path: Path) -> pd.DataFrame:
    """comparison.csv with `right` (0 or 1; NaN for an error) and numbers as numbers.

    Raises:
        ResultsError: no such file, or a column is missing.
    """
    table = read_results(path, NEEDED_COLUMNS)
    accuracy = pd.to_numeric(table["qa_acc"], errors="coerce")
    right = (accuracy / 100).where(accuracy.notna(), same_words(table).astype(float))
    return table.assign(
        kv_size=pd.to_numeric(table["kv_size"]),
        right=right.where(answered_rows(table), 0.0).where(usable_rows(table)),
        task=table["task"].str.strip().replace("", NO_TASK),
    )


def _run(name: Any) -> Run:
    return str(name[0]), int(name[1])


def _describe(
    rows: pd.DataFrame, run: Run, groups: Groups, clusters: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    scored = rows[rows["right"].notna()]
    found = {name: group_mean(scored, group, clusters) for name, group in groups.items()}
    stored = _stored(facts, run)
    return {
        "policy": run[0],
        "kv_size": run[1],
        "folder": stored.get("folder"),
        "policy_options": stored.get("policy_options"),
        "num_questions": len(rows),
        "num_errors": len(rows) - len(scored),
        "first_error": next(iter(rows[rows["right"].isna()].get("error", [])), None),
        "groups": {name: mean.as_percent() for name, mean in found.items() if mean},
        "cost": run_costs(scored, stored.get("engine") or {}),
    }


def _stored(facts: Mapping[str, Any], run: Run) -> Mapping[str, Any]:
    for entry in facts.get("runs", []):
        if (entry["policy"], entry["kv_size"]) == run:
            return entry
    return {}


def _pairs(
    tables: Mapping[Run, pd.DataFrame], groups: Groups, clusters: str
) -> Iterator[dict[str, Any]]:
    for name in BASELINES:
        for policy, kv_size in tables:
            baseline = _baseline(tables, name, kv_size)
            if baseline is None or baseline == (policy, kv_size):
                continue
            pairs = _joined(tables[policy, kv_size], tables[baseline])
            for name_of_group, group in groups.items():
                difference = group_difference(pairs, group, clusters)
                if difference is not None:
                    yield {
                        "baseline": baseline[0],
                        "policy": policy,
                        "kv_size": kv_size,
                        "group": name_of_group,
                        **difference.as_percent(),
                    }


def _baseline(tables: Mapping[Run, pd.DataFrame], name: str, kv_size: int) -> Run | None:
    """The run of that policy at that budget, with its default options if there is one."""
    runs = [run for run in tables if run[0].split(":")[0] == name and run[1] == kv_size]
    return min(runs, key=lambda run: len(run[0]), default=None)


def _joined(rows: pd.DataFrame, baseline: pd.DataFrame) -> pd.DataFrame:
    """The questions that both answered."""
    other = baseline[[*KEY, "right"]].rename(columns={"right": "right_baseline"})
    both = rows.merge(other, on=KEY, how="inner", validate="one_to_one")
    return both[both["right"].notna() & both["right_baseline"].notna()]


def _disagreements(tables: Mapping[Run, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Questions that some run answered rightly and another wrongly.

    `verdicts` has a character per run, in the order of the runs: 1 right, 0 wrong, x no answer.
    """
    tasks = pd.concat([rows.set_index(KEY)["task"] for rows in tables.values()])
    verdicts = pd.concat([rows.set_index(KEY)["right"] for rows in tables.values()], axis=1)
    for key, own in verdicts[verdicts.nunique(axis=1) > 1].iterrows():
        marks = ["x" if pd.isna(right) else f"{right:.0f}" for right in own]
        names: Any = key
        yield {
            "video_index": int(names[0]),
            "question_index": int(names[1]),
            "task": str(tasks[~tasks.index.duplicated()][key]),
            "verdicts": "".join(marks),
        }


def _by_budget(runs: Sequence[Mapping[str, Any]], groups: Groups) -> dict[str, Any]:
    """Group -> policy -> its accuracies in the order of budgets."""
    ordered = sorted(runs, key=lambda run: run["kv_size"])
    return {
        group: {
            policy: [
                {"kv_size": run["kv_size"], **run["groups"][group]}
                for run in ordered
                if run["policy"] == policy and group in run["groups"]
            ]
            for policy in dict.fromkeys(run["policy"] for run in runs)
        }
        for group in groups
    }


def _perception_and_memory(runs: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any] | None:
    """One point per run; None for a benchmark that does not ask about both."""
    if title not in PERCEPTION_AND_MEMORY:
        return None
    perception, memory = PERCEPTION_AND_MEMORY[title]
    points = [
        {
            "policy": run["policy"],
            "kv_size": run["kv_size"],
            "perception_percent": run["groups"][perception]["accuracy_percent"],
            "memory_percent": run["groups"][memory]["accuracy_percent"],
        }
        for run in runs
        if perception in run["groups"] and memory in run["groups"]
    ]
    return {"perception": perception, "memory": memory, "points": points}


__all__ = ["ALL", "compare", "main", "read_table"]


if __name__ == "__main__":
    sys.exit(main())

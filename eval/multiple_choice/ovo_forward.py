"""The `ovo_forward` subcommand: OVO-Bench's forward track, and the average of all three tracks.

Everything is said twice, by both rules of `eval.multiple_choice.ovo_rules`. A track is the mean of
its tasks; "Overall Avg." is the mean of the three tracks. The other two are read from the run of
`ovobench` with the same settings, where it lies beside this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from eval.files import read_json_object
from eval.intervals import Estimate, clustered_mean, stratified_mean
from eval.multiple_choice.ovo_rules import RULES, official_letter_right
from eval.multiple_choice.reports import Report, block, count_line
from eval.multiple_choice.scored import Scored
from eval.multiple_choice.tasks import OVO, OVO_FORWARD
from eval.results_table import ResultsError, cluster_column, read_results, usable_rows

COLUMNS = ("video_id", "answer", "pred_answer", "task")
OTHER_TRACKS = "ovobench"
OVERALL = "Overall Avg."


@dataclass(frozen=True)
class Tracks:
    """Rows of the tracks: columns `task`, `cluster` and, per rule, right or wrong as 1.0 or 0.0."""

    rows: pd.DataFrame

    def mean(self, rule: str, weights: Mapping[str, float]) -> Estimate:
        chosen = self.rows[self.rows["task"].isin(list(weights))]
        return stratified_mean(chosen[rule], chosen["cluster"], chosen["task"], weights)

    def task(self, rule: str, task: str) -> Estimate:
        chosen = self.rows[self.rows["task"] == task]
        return clustered_mean(chosen[rule], chosen["cluster"])

    def present(self, tasks: tuple[str, ...]) -> list[str]:
        return [task for task in tasks if (self.rows["task"] == task).any()]


def evaluate_ovo_forward(path: Path, debug: bool = False) -> Report:
    """Evaluate the forward results at `path`, and all three tracks where the others are found.

    Args:
        path: results CSV of `ovobench_forward`.
        debug: accepted so that all subcommands are called alike; there is nothing to add.

    Raises:
        ResultsError: the CSV cannot be evaluated, or holds other tasks.
    """
    forward, num_left_out = _forward_rows(path)
    others, word = _other_tracks(path)
    tracks = Tracks(forward if others is None else pd.concat([forward, others], ignore_index=True))
    found = {rule: _numbers(tracks, rule) for rule in RULES}
    lines = [f"#Samples: {len(forward)}", f"save_dir: {path.parent}", *_lines(found), word]
    if num_left_out:
        lines.append(
            f"!!! {num_left_out} rows carry an error and are LEFT OUT of all numbers above; "
            "rerun the inference to answer them"
        )
    metrics = {
        "results_file": path.name,
        "n": len(forward),
        "num_error_rows": num_left_out,
        "other_tracks": word,
        **{rule: {name: e.as_percent() for name, e in own.items()} for rule, own in found.items()},
    }
    return Report(
        "ovo_forward",
        tuple(lines),
        {"eval_results_ovo_forward.txt": "\n".join(lines) + "\n"},
        metrics,
    )


def _forward_rows(path: Path) -> tuple[pd.DataFrame, int]:
    table = read_results(path, COLUMNS)
    rows = table[usable_rows(table)]
    strange = sorted(set(rows["task"]) - set(OVO_FORWARD.tasks))
    if rows.empty or strange:
        raise ResultsError(
            f"{path}: expected answers of ovobench_forward with tasks "
            f"{', '.join(OVO_FORWARD.tasks)}; found {', '.join(strange) or 'errors only'}"
        )
    scored = {
        rule: [
            float(is_right(task, reply.strip(), answer))
            for task, reply, answer in zip(
                rows["task"], rows["pred_answer"], rows["answer"], strict=True
            )
        ]
        for rule, is_right in RULES.items()
    }
    kept = pd.DataFrame(
        {"task": rows["task"], "cluster": rows[cluster_column(table)], **scored}
    ).reset_index(drop=True)
    return kept, len(table) - len(rows)


def _other_tracks(path: Path) -> tuple[pd.DataFrame | None, str]:
    """Rows of the other two tracks, if a run of them lies beside this one; and a word on it."""
    folder = path.parent.parent.parent / OTHER_TRACKS / path.parent.name
    if not (folder / "results.csv").is_file():
        return None, f"no {OVERALL}: the other two tracks are not at {folder}"
    unlike = _different_settings(path.parent, folder)
    if unlike:
        return None, f"no {OVERALL}: {folder} was run with another {', '.join(unlike)}"
    scored = Scored.read(folder / "results.csv", "task", "correct_choice")
    rows = scored.rows
    official = [
        float(official_letter_right(reply, letter))
        for letter, reply in zip(rows["correct_choice"], rows["pred_answer"], strict=True)
    ]
    kept = {
        "task": rows["task"],
        "cluster": rows[scored.clustered_by],
        "official": official,
        "strict": rows["qa_acc"] / 100,
    }
    return pd.DataFrame(kept), f"the other two tracks: {folder}, {len(rows)} questions"


def _different_settings(folder: Path, other: Path) -> list[str]:
    """The settings in which two runs differ, their annotation apart."""
    first, second = (
        (read_json_object(place / "config.json") or {}).get("settings") or {}
        for place in (folder, other)
    )
    names = sorted({*first, *second} - {"annotation_sha256"})
    return [name for name in names if first.get(name) != second.get(name)]


def _numbers(tracks: Tracks, rule: str) -> dict[str, Estimate]:
    """Tasks of the forward track, tracks, and, where all three are there, their mean."""
    categories = {**OVO.categories, **OVO_FORWARD.categories}
    present = {name: tracks.present(tasks) for name, tasks in categories.items()}
    found = {task: tracks.task(rule, task) for task in tracks.present(OVO_FORWARD.tasks)}
    for name, tasks in present.items():
        if tasks:
            found[name] = tracks.mean(rule, dict.fromkeys(tasks, 1 / len(tasks)))
    if all(present.values()):
        shares = {
            task: 1 / len(tasks) / len(present) for tasks in present.values() for task in tasks
        }
        found[OVERALL] = tracks.mean(rule, shares)
    return found


def _lines(found: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    lines: list[str] = []
    for rule, numbers in found.items():
        lines += block(f"OVO-BENCH, {rule.upper()} RULE")
        lines += [count_line(OVO_FORWARD.label(name), number) for name, number in numbers.items()]
    lines += block("WITH INTERVALS")
    for rule, numbers in found.items():
        lines += [f"{name} ({rule}): {number.as_text()}" for name, number in numbers.items()]
    return lines

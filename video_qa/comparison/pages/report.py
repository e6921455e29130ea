"""`report.html`: one self-contained page; the verdict first, then figures, numbers below."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from video_qa.comparison.finished import FinishedRun
from video_qa.comparison.pages import figures, tables
from video_qa.comparison.pages.disagreements import describe_disagreements
from video_qa.comparison.pages.intervals import weak_note
from video_qa.comparison.pages.retention_figure import retention_panels, scale_figure
from video_qa.comparison.pages.templates import render
from video_qa.comparison.pages.verdict import ALL, verdict
from video_qa.lanes.retention_file import read_retention
from video_qa.questions.annotations import Video

FILE_NAME = "report.html"
BASELINES = ("recent", "last_frames")


def write_report(
    folder: Path,
    runs: Sequence[FinishedRun],
    videos: Sequence[Video],
    video_root: Path | None = None,
) -> Path:
    """Draw comparison.json of `folder` and what lies in the runs' folders; returns the page.

    The tables are also written as Markdown.

    Args:
        runs: those of which comparison.json was made, in the same order.
        videos, video_root: what was asked about them and where they lie.

    Raises:
        OSError: comparison.json cannot be read or the page cannot be written.
    """
    numbers = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    tables.write_markdown(folder, numbers)
    page = render(
        "report.html",
        **_head(numbers),
        **_figures(numbers),
        disagreements=describe_disagreements(numbers, runs, videos, video_root),
        maps=list(_maps(runs)),
        scale=scale_figure(),
        costs=tables.cost_table(numbers),
        accuracies=list(tables.accuracy_tables(numbers)),
        protocol=tables.protocol_table(numbers),
        versions=tables.version_table(numbers),
    )
    path = folder / FILE_NAME
    write_text(path, page)
    return path


def _head(numbers: Mapping[str, Any]) -> dict[str, Any]:
    protocol, runs = numbers["protocol"], numbers["runs"]
    everything = [run["groups"].get(ALL, {}) for run in runs]
    sizes = sorted({run["kv_size"] for run in runs})
    facts = [
        f"model {protocol['model']}",
        f"{max(run['num_questions'] for run in runs)} questions about "
        f"{max(found.get('num_videos', 0) for found in everything)} videos",
        f"{protocol['sample_fps']:g} fps",
        f"budgets of {', '.join(map(str, sizes))} visual tokens per layer",
    ]
    return {
        "title": f"Memories compared on {numbers['benchmark']}",
        "verdict": verdict(numbers),
        "facts": facts,
        "warnings": list(_warnings(numbers)),
        "few_note": weak_note(numbers),
        "balance_note": tables.balance_note(numbers),
    }


def _warnings(numbers: Mapping[str, Any]) -> Iterator[str]:
    for run in numbers["runs"]:
        if run["num_errors"]:
            yield (
                f"{run['policy']} at {run['kv_size']}: {run['num_errors']} of "
                f"{run['num_questions']} questions have an error and are left out of its numbers: "
                f"{run['first_error']}"
            )
    for run in numbers["refused"]:
        yield f"{run['policy']} at {run['kv_size']}: not run: {run['error']}"
    several = [name for name, values in numbers["versions"].items() if len(values) > 1]
    if several:
        yield f"Runs were made with different versions of: {', '.join(several)}."


def _figures(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "budget_legend": figures.legend(numbers, "accuracy against budget"),
        "trade_legend": figures.legend(numbers, "perception against memory"),
        "accuracy": figures.accuracy_panels(numbers),
        "budgets": figures.budget_panels(numbers),
        "trade": figures.trade_figure(numbers),
        "paired": [
            {"baseline": baseline, "panels": figures.paired_panels(numbers, baseline)}
            for baseline in BASELINES
        ],
    }


def _maps(runs: Sequence[FinishedRun]) -> Iterator[dict[str, Any]]:
    """The retention maps of the runs, per budget."""
    by_size: dict[int, dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        if content := read_retention(run.folder, run.run_id):
            by_size.setdefault(run.kv_size, {})[f"{run.policy} {run.kv_size}"] = content
    for kv_size, maps in sorted(by_size.items()):
        yield {
            "kv_size": kv_size,
            "video_id": next(iter(maps.values()))["video_id"],
            "panels": [
                panel
                for label, content in maps.items()
                for panel in retention_panels(content, label)
            ],
        }

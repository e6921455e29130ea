"""`report.html`: one self-contained page; figures first, numbers below, no network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from video_qa.comparison.figures import (
    accuracy_figure,
    budget_figure,
    paired_figure,
    trade_figure,
)
from video_qa.comparison.finished import FinishedRun
from video_qa.comparison.page import figure_block, page, table
from video_qa.comparison.report_tables import (
    accuracy_tables,
    cost_table,
    protocol_table,
    write_markdown,
)
from video_qa.comparison.retention_figure import retention_figure
from video_qa.lanes.retention_file import read_retention
from video_qa.results.atomic_file import write_text_atomically

FILE_NAME = "report.html"
BASELINES = ("recent", "last_frames")


def write_report(folder: Path, runs: Sequence[FinishedRun]) -> Path:
    """Draw comparison.json of `folder` and the retention maps of the runs; returns the page.

    The tables are also written as Markdown.

    Raises:
        OSError: comparison.json cannot be read or the page cannot be written.
    """
    numbers = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    body = "\n".join([*_head(numbers), *_figures(numbers), *_maps(runs), *_details(numbers)])
    write_markdown(folder, numbers)
    path = folder / FILE_NAME
    write_text_atomically(path, page(_title(numbers), body))
    return path


def _title(numbers: Mapping[str, Any]) -> str:
    return f"Memories compared on {numbers['benchmark']}"


def _head(numbers: Mapping[str, Any]) -> Iterator[str]:
    protocol, runs = numbers["protocol"], numbers["runs"]
    everything = [run["groups"].get("all questions", {}) for run in runs]
    sizes = sorted({run["kv_size"] for run in runs})
    yield f"<h1>{html.escape(_title(numbers))}</h1>"
    facts = [
        f"model <b>{html.escape(str(protocol['model']))}</b>",
        f"{max(run['num_questions'] for run in runs)} questions about "
        f"{max(found.get('num_videos', 0) for found in everything)} videos",
        f"{protocol['sample_fps']:g} frames per second",
        f"budgets of {', '.join(map(str, sizes))} visual tokens per layer",
    ]
    yield f"<p class=facts>{' · '.join(facts)}</p>"
    failed = [run for run in runs if run["num_errors"]]
    for run in failed:
        yield _warning(
            run,
            f"{run['num_errors']} of {run['num_questions']} questions have an error and are "
            f"left out of its numbers: {run['first_error']}",
        )
    for run in numbers["refused"]:
        yield _warning(run, f"not run: {run['error']}")
    several = [name for name, values in numbers["versions"].items() if len(values) > 1]
    if several:
        names = html.escape(", ".join(several))
        yield f"<p class=warning>Runs were made with different versions of: {names}.</p>"


def _warning(run: Mapping[str, Any], text: str) -> str:
    name = html.escape(f"{run['policy']} at {run['kv_size']}")
    return f"<p class=warning><b>{name}</b>: {html.escape(text)}</p>"


def _figures(numbers: Mapping[str, Any]) -> Iterator[str]:
    yield figure_block(
        "Accuracy per task group",
        accuracy_figure(numbers),
        "Marks: accuracy; bars: 95 % interval, clustered by video; figure at the right: accuracy "
        "in %. A group counts its tasks alike.",
    )
    yield figure_block(
        "Accuracy against budget",
        budget_figure(numbers),
        "The same accuracies over the visual tokens kept per layer. Bold: the first policy named.",
    )
    yield figure_block(
        "Perception against memory",
        trade_figure(numbers)
        or "<p>This benchmark does not ask both about what is seen and about what was seen.</p>",
        "Policies that pay for memory with perception lie at the upper left, windows at the lower "
        "right.",
    )
    for baseline in BASELINES:
        yield figure_block(
            f"Difference from {baseline}, question by question",
            paired_figure(numbers, baseline)
            or f"<p>The policy {baseline} is not part of this comparison.</p>",
            f"Accuracy minus that of {baseline} at the same budget on the same questions, with its "
            "95 % interval clustered by video. At the right: questions only the policy got right : "
            f"questions only {baseline} got right, and McNemar's exact two-sided p-value, which "
            "takes questions as independent.",
        )


def _maps(runs: Sequence[FinishedRun]) -> Iterator[str]:
    """One figure per budget, the first one open."""
    yield "<h2>What each memory still holds</h2>"
    by_size: dict[int, dict[str, Mapping[str, Any]]] = {}
    for run in runs:
        content = read_retention(run.folder, run.run_id)
        if content:
            name = f"{run.policy} {run.kv_size}"
            by_size.setdefault(run.kv_size, {})[name] = content
    if not by_size:
        yield "<p>No retention was recorded for these runs.</p>"
    for number, (kv_size, maps) in enumerate(sorted(by_size.items())):
        video = next(iter(maps.values()))["video_id"]
        drawn = retention_figure(maps, f"Retention maps at {kv_size} tokens per layer")
        caption = (
            f"Video {video}, at most {kv_size} visual tokens per layer. Left: each layer when the "
            "stream has ended. Right: mean of the layers while it is watched, from the first "
            "moments (bottom) to the last (top). Dark: forgotten, yellow: every token of the frame."
        )
        opened = " open" if number == 0 else ""
        yield (
            f"<details{opened}><summary>budget {kv_size}</summary>"
            f"{figure_block('', drawn, caption)}</details>"
        )


def _details(numbers: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Costs</h2>"
    yield cost_table(numbers).html()
    yield "<h2>Accuracy in numbers</h2>"
    yield from (accuracies.html() for accuracies in accuracy_tables(numbers))
    yield "<h2>Protocol</h2>"
    yield protocol_table(numbers).html()
    yield table(("version of", "value"), _versions(numbers))


def _versions(numbers: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, ", ".join(map(str, seen))) for name, seen in numbers["versions"].items()]

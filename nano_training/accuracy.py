"""The card's accuracies, in every degree inside the trained length, from runs of the runner.

    python -m nano_training.accuracy    # streams, runs (both continue), then the card

Percent with 95 % intervals over videos, as the evaluator gives them; a group is the mean of its
tasks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nano_training.checkpoint import MAX_POSITIONS, TRAINED_FRAMES
from nano_training.wordings import CARD
from video_qa.nanostream.degrees import DEGREES

TITLE = "## Accuracy"
DATASETS = {"nanostream": ("general", "with options"), "nanostream_words": ("words", "in words")}
"""Dataset -> section of metrics.json, name."""
GOALS = {"perception now": 95, "recent past": 90, "far past": 90}
RICH_GOALS = GOALS | {"recent past": 85, "far past": 85}
INTRODUCTION = """\
Percent, with 95 % intervals over videos; a group is the mean of its tasks. Through the runner on
mp4 files, CPU, fp32: {num_streams} test streams of {seconds} seconds of each degree, one frame per
second, all of it kept (`--policy none`). One training seed.
Written by `python -m nano_training.accuracy --limit {num_streams}`.
"""
DATA, RESULTS = Path("data/nano_inside"), Path("results/nano_inside")


def commands(degree: str, num_streams: int, limit: int, model: str) -> Iterator[list[str]]:
    """What writes the streams of a degree and has the miniature watch all of the first of them."""
    minutes = f"{TRAINED_FRAMES / 60:.4f}"
    write = f"-m video_qa.nanostream --out {DATA / degree} --degree {degree} --split test"
    write += f" --num_streams {num_streams} --min_minutes {minutes} --max_minutes {minutes}"
    yield f"{write} --questions_per_task 4".split()
    for dataset in DATASETS:
        run = f"video_qa/run_infer.py --model {model} --dataset {dataset} --policy none"
        run += f" --kv_size {MAX_POSITIONS} --anno_path {DATA / degree / dataset}_test.json"
        run += f" --sample_fps 1 --device cpu --limit {limit} --save_dir {folder(degree, dataset)}"
        yield run.split()


def folder(degree: str, dataset: str) -> Path:
    return RESULTS / degree / dataset


def metrics(degree: str, dataset: str) -> dict[str, Any]:
    """The evaluator's numbers of one run."""
    text = (folder(degree, dataset) / "metrics.json").read_text(encoding="utf-8")
    return json.loads(text)[DATASETS[dataset][0]]


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    bounds = found["interval95_percent"]
    between = f" ({bounds[0]:.0f}-{bounds[1]:.0f})" if bounds else ""
    return f"{found['accuracy_percent']:.1f}{between}"


def _table(kind: str, names: list[str], numbers: dict, goals: bool) -> Iterator[str]:
    """One row per group or task; degrees side by side, options / words."""
    heads = [f"{degree}, {name}" for degree in DEGREES for _, name in DATASETS.values()]
    yield f"| {'group' if goals else 'task'} | {' | '.join(heads)} |{' goal |' if goals else ''}"
    yield "|---" * (1 + len(heads) + goals) + "|"
    for name in names:
        cells = [
            numbers[degree, dataset][kind].get(name) for degree in DEGREES for dataset in DATASETS
        ]
        row = f"| {name} | {' | '.join(_cell(cell) for cell in cells)} |"
        goal = f"{GOALS[name]} (rich {RICH_GOALS[name]})" if name in GOALS else ""
        yield f"{row} {goal} |" if goals else row


def missed(numbers: dict) -> list[str]:
    """The goals that were not reached."""
    return [
        f"{group}, {degree}, {DATASETS[dataset][1]}: {found:.1f}, goal {goal}"
        for degree in DEGREES
        for dataset in DATASETS
        for group, goal in (RICH_GOALS if degree == "rich" else GOALS).items()
        if (found := numbers[degree, dataset]["categories"][group]["accuracy_percent"]) < goal
    ]


def section(num_streams: int) -> str:
    """The section in Markdown, from the runs that lie in `RESULTS`."""
    numbers = {(d, dataset): metrics(d, dataset) for d in DEGREES for dataset in DATASETS}
    one = numbers[next(iter(DEGREES)), "nanostream"]
    short = missed(numbers)
    told = "**Every goal is reached.**" if not short else "**Goals that were missed:**"
    return "\n".join(
        (
            TITLE,
            "",
            *INTRODUCTION.format(num_streams=num_streams, seconds=TRAINED_FRAMES).splitlines(),
            "",
            *_table("categories", list(one["categories"]), numbers, goals=True),
            "",
            told,
            "",
            *(f"* {line}" for line in short),
            *([""] if short else []),
            "By task:",
            "",
            *_table("tasks", list(one["tasks"]), numbers, goals=False),
            "",
        )
    )


def replace_section(card: str, text: str) -> str:
    """The card with this section instead of the one it has."""
    head, rest = card.split(f"{TITLE}\n", 1)
    return f"{head}{text}\n## {rest.split(chr(10) + '## ', 1)[1]}"


def main(argv: list[str] | None = None) -> int:
    """Write streams, watch them, rewrite the card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num_streams", type=int, default=60, help="of each degree (default: 60)")
    parser.add_argument("--limit", type=int, help="watch only the first of them")
    parser.add_argument("--model", default="nano", help="name or folder (default: nano)")
    parser.add_argument("--no_card", action="store_true", help="print the section instead")
    options = parser.parse_args(argv)
    count = options.limit or options.num_streams
    for degree in DEGREES:
        for command in commands(degree, options.num_streams, count, options.model):
            if code := subprocess.run([sys.executable, *command], check=False).returncode:
                print(f"error: {' '.join(command)} ended with {code}", file=sys.stderr)
                return code
    text = section(count)
    if options.no_card:
        print(text)
    else:
        CARD.write_text(replace_section(CARD.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

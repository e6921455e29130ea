"""What dialogue does to each memory: answers that other questions change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from reproduction.degrees.page.tables import markdown
from reproduction.degrees.page.texts import TEXT
from reproduction.degrees.results import main_budget
from video_qa.comparison.arguments import FLOORS
from video_qa.comparison.robustness_table import JSON_FILE, Numbers, changed_column

DATASET = "nanostream"
HEADER = ("memory", "budget", "changed by others in their places", "changed by being alone")


def read_robustness(path: Path) -> Numbers:
    """What `video_qa/robustness.py` wrote.

    Raises:
        ValueError: the file is another one, lacks what the page shows, or is of another data set.
        OSError: it cannot be read.
    """
    try:
        numbers: Numbers = json.loads(path.read_text(encoding="utf-8"))
        if not changed_column(numbers) or not changed_column(numbers, "alone"):
            raise ValueError("it has no rows")
        _size(numbers)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no {JSON_FILE} of video_qa/robustness.py ({error}); give the file that it "
            "writes into results/MODEL/DATASET/robustness-fpsN"
        ) from error
    if numbers.get("dataset") != DATASET:
        raise ValueError(f"{path} is of {numbers.get('dataset')}; the page is about {DATASET}")
    return numbers


def dialogue(numbers: Numbers | None, accuracies: pd.DataFrame) -> Iterator[str]:
    """The section; without numbers it says how to get them."""
    if numbers is None:
        own = accuracies[accuracies["part"] == "memories"]["policy"]
        names = ",".join(name for name in dict.fromkeys(own) if name not in FLOORS)
        yield TEXT["no_dialogue"].format(policies=names, kv_size=main_budget(accuracies))
        return
    yield TEXT["dialogue"].format(size=_size(numbers), streams=_streams(numbers))
    shuffled, alone = (changed_column(numbers, turns) for turns in ("shuffled", "alone"))
    rows = [[run[0], str(run[1]), shuffled[run], alone[run]] for run in shuffled]
    yield markdown(HEADER, rows)


def _streams(numbers: Numbers) -> str:
    """Which they are; `video_qa/robustness.py` does not say so."""
    named = numbers.get("anno_path")
    return f"`{named}`" if named else TEXT["dialogue_streams"]


def _size(numbers: Numbers) -> str:
    found = [row["changed"] for row in numbers["rows"] if row.get("changed")]
    if not found:
        return "no question answered twice"
    videos, questions = (max(one[name] for one in found) for name in ("num_videos", "n"))
    return f"{videos} streams, {questions} questions"

"""The text of the multiple-choice reports, in the lines that the release prints."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eval.intervals import Estimate

RULE = "=" * 60


@dataclass(frozen=True)
class Report:
    """What a subcommand found: lines for the terminal, files to write, a section of metrics.json.

    `files` maps file names (beside the results) to their full text.
    """

    section: str
    lines: tuple[str, ...]
    files: Mapping[str, str]
    metrics: Mapping[str, Any]


def block(title: str, lines: Iterable[str] = ()) -> list[str]:
    """`lines` under `title` between two rules."""
    return [RULE, title, RULE, *lines]


def count_line(name: str, estimate: Estimate) -> str:
    """`OCR: 71.33% (n=149)`"""
    return f"{name}: {100 * estimate.mean:.2f}% (n={estimate.num_rows})"


def duration_line(name: str, estimate: Estimate) -> str:
    """`Short   :  215/ 900 correct, Accuracy: 23.89%`"""
    return (
        f"{name.capitalize():<8}: {estimate.num_right:>4}/{estimate.num_rows:>4} correct, "
        f"Accuracy: {100 * estimate.mean:.2f}%"
    )

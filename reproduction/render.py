"""A table side by side as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.whole_file import write_text
from reproduction.published import PublishedTable
from reproduction.side_by_side import NOT_OURS, OUTSIDE, Cell

HEAD = ("row", "column", "paper", "ours", "difference", "95 % interval", "n", "")


def write_table(
    folder: Path, table: PublishedTable, cells: Sequence[Cell], command: str, notes: Sequence[str]
) -> list[Path]:
    """Write `{name}.md`, `.csv` and `.json` into `folder`; returns their paths.

    Raises:
        OSError: the disk refuses.
    """
    texts = {
        "md": markdown(table, cells, command, notes),
        "csv": comma_separated(cells),
        "json": as_json(table, cells, command, notes),
    }
    paths = [folder / f"{table.name}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def markdown(
    table: PublishedTable, cells: Sequence[Cell], command: str, notes: Sequence[str]
) -> str:
    """Ready to be put into a document."""
    printed = "stored" if table.name == "nano" else "paper"
    head = [name if name != "paper" else printed for name in HEAD]
    lines = [f"# {table.title}", "", f"{table.place}; {table.unit}. Made by", "", f"    {command}"]
    lines += ["", "| " + " | ".join(head) + " |", "|---|---|--:|--:|--:|---|--:|---|"]
    lines += ["| " + " | ".join(_line(cell)) + " |" for cell in cells]
    return "\n".join([*lines, "", *(f"* {note}" for note in [*summary(cells), *notes]), ""])


def summary(cells: Sequence[Cell]) -> list[str]:
    """What the table comes to, in sentences."""
    ours = [cell for cell in cells if cell.ours is not None]
    outside = [cell for cell in ours if cell.mark == OUTSIDE]
    to_run = [cell for cell in cells if cell.mark != NOT_OURS]
    lines = [f"{len(ours)} of {len(to_run)} numbers have been run."]
    if ours:
        lines += [f"{len(outside)} of them have an interval that the printed number is outside of."]
    return lines


def comma_separated(cells: Sequence[Cell]) -> str:
    """One line per number."""
    text = io.StringIO()
    records = [cell.as_record() for cell in cells]
    writer = csv.DictWriter(text, records[0].keys() if records else HEAD, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def as_json(
    table: PublishedTable, cells: Sequence[Cell], command: str, notes: Sequence[str]
) -> str:
    """Everything, for programs."""
    content: dict[str, Any] = {
        "table": table.name,
        "title": table.title,
        "place": table.place,
        "unit": table.unit,
        "command": command,
        "notes": [*summary(cells), *notes],
        "about": dict(table.about),
        "cells": [cell.as_record() for cell in cells],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _line(cell: Cell) -> list[str]:
    ours = cell.ours
    interval = "" if ours is None or ours.low is None else f"{ours.low:.2f} to {ours.high:.2f}"
    return [
        cell.row.label,
        cell.column,
        "" if cell.paper is None else f"{cell.paper:g}",
        "" if ours is None else f"{ours.value:.2f}",
        "" if cell.difference is None else f"{round(cell.difference, 2) + 0.0:+.2f}",  # no -0.00
        interval,
        "" if ours is None or ours.n is None else f"{ours.n:,}",
        cell.mark,
    ]

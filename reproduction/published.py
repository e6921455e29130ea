"""Numbers that others printed, or that an earlier run of ours stored, read from one data file each.

`published.json` holds the paper's tables, one row per line, each with its source and how far it can
be trusted; `nano.json` and `memories.json` hold tables of our own in the same form. A grid stands
for a row per policy and budget, of which nothing is printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PUBLISHED, NANO = FOLDER / "published.json", FOLDER / "nano.json"
MEMORIES = FOLDER / "memories.json"


class TableError(ValueError):
    """There is no such table, model or row; the message says what there is."""


@dataclass(frozen=True)
class PublishedRow:
    """One printed row."""

    method: str
    values: tuple[float | None, ...]
    """One per column of its table; None where nothing is printed."""
    source: str
    """A key of the file's `sources`."""
    confidence: str
    """A key of the file's `confidence`."""
    model: str | None = None
    """Key of `inference.MODELS`; None for models that this project does not run."""
    kv_size: int | None = None
    policy: str | None = None
    """How the command line names the row's setting; None for methods that are not ours to run."""
    chunk_frames: int = 16
    num_frames: int | None = None
    """Length of the stream, in the efficiency table."""

    def __post_init__(self) -> None:
        if self.policy is None and self.method == "HERMES" and self.model and self.kv_size:
            object.__setattr__(self, "policy", "hermes")

    @property
    def label(self) -> str:
        """Model, method and budget as one text."""
        parts = [self.model, self.method, self.kv_size and f"{self.kv_size:,} tokens"]
        if self.num_frames:
            parts += [f"{self.num_frames} frames in chunks of {self.chunk_frames}"]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class PublishedTable:
    """One table or figure."""

    name: str
    title: str
    place: str
    """Where the paper prints it."""
    unit: str
    columns: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    about: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the file says of its sources, its confidence marks, how it was measured."""

    def of_model(self, model: str | None) -> tuple[PublishedRow, ...]:
        """All rows; those of one model and those of no model of ours.

        Raises:
            TableError: the table has no row of that model.
        """
        known = sorted({row.model for row in self.rows if row.model})
        if model is not None and model not in known:
            raise TableError(
                f"table {self.name} has no row of model '{model}'; it has {', '.join(known)}"
            )
        return tuple(row for row in self.rows if model is None or row.model in (None, model))


@cache
def tables() -> dict[str, PublishedTable]:
    """All tables by name."""
    return {
        table.name: table for path in (PUBLISHED, NANO, MEMORIES) for table in read_tables(path)
    }


def read_tables(path: Path) -> list[PublishedTable]:
    """The tables of a data file.

    Raises:
        TableError: a row has more or fewer values than its table has columns, or names a source or
            a confidence that the file does not explain.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    about = {name: value for name, value in content.items() if name != "tables"}
    found = []
    for name, entry in content["tables"].items():
        stated = [*entry["rows"], *_from_grids(entry)]
        rows = tuple(_row(row, name, len(entry["columns"]), about) for row in stated)
        heads = {key: entry[key] for key in ("title", "place", "unit")}
        columns = tuple(entry["columns"])
        found.append(PublishedTable(name, **heads, columns=columns, rows=rows, about=about))
    return found


def find_table(name: str) -> PublishedTable:
    """A table by name. Raises TableError with the known names."""
    if name not in tables():
        raise TableError(f"the paper has no table '{name}'; known: {', '.join(tables())}")
    return tables()[name]


def _from_grids(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    nothing = [None] * len(entry["columns"])
    for grid in entry.get("grids", []):
        shared = {name: grid[name] for name in ("model", "source", "confidence")}
        for policy, kv_size in product(grid["policies"], grid["kv_sizes"]):
            own = {"method": policy, "policy": policy, "kv_size": kv_size, "values": nothing}
            yield shared | own


def _row(entry: dict[str, Any], table: str, num_columns: int, about: dict[str, Any]) -> Any:
    row = PublishedRow(**{**entry, "values": tuple(entry["values"])})
    if len(row.values) != num_columns:
        raise TableError(f"{table}, {row.label}: {len(row.values)} values, {num_columns} columns")
    if row.source not in about["sources"] or row.confidence not in about["confidence"]:
        raise TableError(f"{table}, {row.label}: source or confidence is not explained")
    return row

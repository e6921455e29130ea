"""Finding and reading what a data set's authors distribute: JSON, JSON lines, CSV, parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from video_qa.json_input.json_text import read_json
from video_qa.preparation.data_set import PreparationError

SHOWN_FILES = 8
PARQUET_NEEDS = (
    "parquet files are read with pyarrow, which is not installed: pip install pyarrow "
    "(or 'pip install hermes-stream[data]')"
)


def find_file(source: Path, patterns: Iterable[str]) -> Path:
    """The first file at or below ``source`` that fits the earliest pattern it has files for.

    Raises:
        PreparationError: there is none; the message says what there is instead.
    """
    wanted = tuple(patterns)
    for pattern in wanted:
        found = find_files(source, pattern)
        if found:
            return found[0]
    raise PreparationError(
        f"no {' or '.join(wanted)} at or below {source}; it holds {_shown(source)}. Is this the "
        "folder of the official files, and is the download complete?"
    )


def find_files(source: Path, pattern: str) -> list[Path]:
    """The files at or below ``source`` whose name fits, by name, hub caches left out."""
    found = (path for path in source.rglob(pattern) if path.is_file())
    return sorted(path for path in found if ".cache" not in path.relative_to(source).parts)


def read_records(path: Path) -> list[Any]:
    """The records of a table: a JSON list, JSON lines, CSV or parquet, by the file's ending.

    Raises:
        PreparationError: the file cannot be read; the message names it.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise PreparationError(f"{path}: expected a file ending in {', '.join(READERS)}")
    try:
        records = reader(path)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, PreparationError):
            raise
        raise PreparationError(
            f"{path} cannot be read ({error}); an interrupted download? Get it again"
        ) from error
    if not isinstance(records, list) or not records:
        raise PreparationError(f"{path}: expected a list of records, got {type(records).__name__}")
    return records


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object. Raises PreparationError."""
    try:
        value = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PreparationError(f"{path} cannot be read ({error})") from error
    if not isinstance(value, dict):
        raise PreparationError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _json(path: Path) -> Any:
    return read_json(path.read_text(encoding="utf-8"))


def _json_lines(path: Path) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    return [read_json(line) for line in text.splitlines() if line.strip()]


def _csv(path: Path) -> list[Any]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def _parquet(path: Path) -> list[Any]:
    import pandas as pd

    try:
        text = pd.read_parquet(path).to_json(orient="records")
    except ImportError as error:
        raise PreparationError(f"{path}: {PARQUET_NEEDS}") from error
    return json.loads(text)


READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _shown(source: Path) -> str:
    names = sorted(path.name for path in source.iterdir() if path.name != ".cache")
    more = f" and {len(names) - SHOWN_FILES} more" if len(names) > SHOWN_FILES else ""
    return f"{', '.join(names[:SHOWN_FILES])}{more}" if names else "nothing"

"""Reading JSON text whose numbers and nesting may be absurd, with errors that say where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_NESTING = 100
"""Levels of lists and objects; annotations have 4. Python's own limit differs by version."""
MAX_DIGITS = 300
"""Beyond about 308 digits an integer is no float, beyond 4,300 Python refuses to read it."""
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)


@dataclass(frozen=True)
class LongNumber:
    """Stands for an integer of more than `MAX_DIGITS` digits, where a number is not expected."""

    num_digits: int

    def __str__(self) -> str:
        return f"of {self.num_digits} digits"


class NestingError(ValueError):
    """JSON that is nested too deeply; the message names entry and field."""


def bounded_integer(text: str) -> int | LongNumber:
    """For `read_json`: an integer of more than `MAX_DIGITS` digits becomes a `LongNumber`."""
    num_digits = len(text.lstrip("-"))
    return int(text) if num_digits <= MAX_DIGITS else LongNumber(num_digits)


def read_json(text: str, parse_int: Callable[[str], Any] = bounded_integer) -> Any:
    """The value of a JSON text.

    Raises:
        NestingError: more than `MAX_NESTING` levels.
        ValueError: not JSON, or `parse_int` refuses an integer.
    """
    _check_nesting(text)
    return json.loads(text, parse_int=parse_int)


def json_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file that one can do without; None where there is none."""
    try:
        value = read_json(path.read_text(encoding="utf-8"), parse_int=int)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _check_nesting(text: str) -> None:
    level = entry = 0
    last, field = "", "none"
    for match in TOKEN.finditer(text):
        token = match[0]
        if token in "[{":
            level += 1
        elif token in "]}":
            level -= 1
        elif token == "," and level == 1:
            entry += 1
        elif token == ":" and level == 2:
            field = last
        last = token.strip('"')
        if level > MAX_NESTING:
            raise NestingError(
                f"entry {entry}, field '{field}': nested more than {MAX_NESTING} levels deep"
            )

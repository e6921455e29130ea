"""Reading JSON text whose numbers and nesting may be absurd, with errors that say where."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
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


def read_json(text: str) -> Any:
    """The value of a JSON text; integers of more than `MAX_DIGITS` digits become `LongNumber`.

    Raises:
        NestingError: more than `MAX_NESTING` levels.
        ValueError: not JSON.
    """
    _check_nesting(text)
    return json.loads(text, parse_int=_integer)


def _integer(text: str) -> int | LongNumber:
    num_digits = len(text.lstrip("-"))
    return int(text) if num_digits <= MAX_DIGITS else LongNumber(num_digits)


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

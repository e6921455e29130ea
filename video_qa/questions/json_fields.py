"""Typed access to the fields of one JSON object; complaints say where the object stands."""

from __future__ import annotations

import json
import math
from typing import Any


class AnnotationError(ValueError):
    """An annotation file cannot be used; the message names file, entry and field."""


class JsonFields:
    """Checked reading of one object's fields. ``where`` (file and entry) opens every message."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise AnnotationError(f"{where}: expected a JSON object, got {shown(value)}")
        self._value, self.where = value, where

    def failure(self, key: str, problem: str) -> AnnotationError:
        return AnnotationError(f"{self.where}, field '{key}': {problem}")

    def has(self, key: str) -> bool:
        return self._value.get(key) is not None

    def required(self, key: str) -> Any:
        if key not in self._value:
            present = _printable(", ".join(sorted(self._value))) or "none"
            raise self.failure(key, f"missing (fields present: {present})")
        return self._value[key]

    def text(self, key: str) -> str:
        value = self.required(key)
        if not isinstance(value, str) or not value.strip():
            raise self.failure(key, f"expected text, got {shown(value)}")
        self.check_text(key, value)
        return value

    def check_text(self, key: str, value: str) -> None:
        """Refuse a text that no file can hold, before an answer to it is lost."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.failure(
                key,
                f"character {error.start} is half of a surrogate pair, which is no character: "
                f"{shown(value)}",
            ) from None

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if self.has(key) else None

    def number_or_none(self, key: str) -> float | None:
        return self.as_number(key, self._value[key]) if self.has(key) else None

    def items(self, key: str) -> list[Any]:
        value = self.required(key)
        if not isinstance(value, list) or not value:
            raise self.failure(key, f"expected a list with at least one item, got {shown(value)}")
        return value

    def as_number(self, key: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise self.failure(key, f"expected a finite number, got {shown(value)}")
        return float(value)


def shown(value: Any) -> str:
    """A value as it may stand in a message: its type and at most 80 characters of it."""
    text = _printable(json.dumps(value, ensure_ascii=False, default=str))
    return f"{type(value).__name__} {text if len(text) <= 80 else text[:77] + '...'}"


def _printable(text: str) -> str:
    """Halves of surrogate pairs, which no terminal can show, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()

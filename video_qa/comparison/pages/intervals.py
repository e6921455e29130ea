"""What is said of intervals that come from few videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

FEW_VIDEOS = 10
MARK = "†"
NOTE = f"{MARK} interval from fewer than {FEW_VIDEOS} videos, which may be far too narrow"


def is_weak(found: Mapping[str, Any]) -> bool:
    """Whether an estimate of comparison.json has an interval that rests on few videos."""
    return found["interval95_percent"] is not None and found["num_videos"] < FEW_VIDEOS


def weak_note(numbers: Mapping[str, Any]) -> str:
    """The note that explains the mark; empty where nothing bears it."""
    return NOTE if any(is_weak(found) for found in _estimates(numbers)) else ""


def _estimates(numbers: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for run in numbers["runs"]:
        yield from run["groups"].values()
    yield from numbers["paired"]

"""What our own runs say, read from their folders."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.columns import Metric

PROTOCOL = "protocol"


@dataclass(frozen=True)
class Measured:
    """A number of a run; `low` and `high` are the 95 % interval, where the number has one."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None

    def excludes(self, value: float) -> bool:
        """Whether a printed number (two decimals) lies outside the interval."""
        if self.low is None or self.high is None:
            return False
        return not self.low - 0.005 <= value <= self.high + 0.005


def read_metrics(folder: Path) -> Mapping[str, Any]:
    """The metrics.json of a run; empty where there is none yet.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and run the same again") from None


def measured(metrics: Mapping[str, Any], metric: Metric) -> Measured | None:
    """The number of a metrics.json that a column shows; None if it is not there."""
    section = found = metrics.get(metric.section)
    for key in metric.path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, int | float):
        assert isinstance(section, Mapping)
        return Measured(float(found), n=section.get("num_judged", section.get("n")))
    if not isinstance(found, Mapping) or "accuracy_percent" not in found:
        return None
    low, high = found.get("interval95_percent") or (None, None)
    return Measured(found["accuracy_percent"], low, high, found.get("num_judged", found["n"]))

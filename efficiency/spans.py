"""Seconds and operators of named parts of a step, and quantiles over steps."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from efficiency.operators import Operators
from inference.answers.timing import Stopwatch


class Spans:
    """What the parts of one step took; parts of the same name add up.

    Reading a clock waits for the device, so whole steps are measured with `enabled=False`.
    """

    def __init__(
        self, device: torch.device, operators: Operators | None = None, *, enabled: bool = True
    ) -> None:
        """With `operators` their number is noted as well."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.counts: dict[str, int] = defaultdict(int)
        self._device, self._operators, self._enabled = device, operators, enabled

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Around a part."""
        if not self._enabled:
            yield
            return
        before = self._operators.count if self._operators else 0
        watch = Stopwatch(self._device)
        yield
        self.seconds[name] += watch.seconds()
        if self._operators:
            self.counts[name] += self._operators.count - before

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, every call of it a part."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return measured


def quantiles(samples: list[float]) -> dict[str, float] | None:
    """Median, 95th percentile (nearest rank) and number of samples; None without samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    rank = -(-95 * len(ordered) // 100) - 1
    return {"p50": statistics.median(ordered), "p95": ordered[rank], "samples": len(ordered)}

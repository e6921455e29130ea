"""The two ceilings of a device, measured: arithmetic of a matrix product, and memory bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from inference.answers.timing import Stopwatch


@dataclass(frozen=True)
class Work:
    """What a step cannot do without."""

    flops: float
    """Multiplications and additions."""
    num_bytes: float
    """Weights and memory that have to be read or written once."""


@dataclass(frozen=True)
class Ceilings:
    """Best of several runs on this device, in this dtype."""

    flops_per_second: float
    bytes_per_second: float

    def bound_seconds(self, work: Work) -> tuple[float, str]:
        """The least time that the work takes here, and which ceiling it lies under."""
        arithmetic = work.flops / self.flops_per_second
        traffic = work.num_bytes / self.bytes_per_second
        return max((arithmetic, "arithmetic"), (traffic, "bandwidth"))


def measure_ceilings(
    device: torch.device,
    dtype: torch.dtype,
    *,
    side: int = 2048,
    num_bytes: int = 2**28,
    repeats: int = 7,
) -> Ceilings:
    """Time (side, side) matrix products and copies of `num_bytes`, which read and write as much."""
    left = torch.randn(side, side, device=device).to(dtype)
    source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
    target, product = torch.empty_like(source), torch.empty_like(left)
    arithmetic = _best(device, repeats, lambda: torch.mm(left, left, out=product))
    copying = _best(device, repeats, lambda: target.copy_(source))
    return Ceilings(2 * side**3 / arithmetic, 2 * num_bytes / copying)


def _best(device: torch.device, repeats: int, run: object) -> float:
    assert callable(run)
    run()
    seconds = []
    for _ in range(repeats):
        watch = Stopwatch(device)
        run()
        seconds.append(watch.seconds())
    return min(seconds)

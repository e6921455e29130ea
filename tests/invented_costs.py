"""Costs that nobody measured."""

from __future__ import annotations

from collections.abc import Iterable

from reproduction.degrees.costs.measured import Costs, Measured, Run

COSTS = Costs(
    *("hermes", 64, 0.004, 0.02, 0.005, 0.009, 0.003, 64.0, 7 << 20, 0, 8, False),
    first_token_by_round_seconds=(0.005, 0.0045, 0.008),
    compression_by_round_seconds=(0.003, 0.0025, 0.0035),
)


def session(costs: Iterable[Costs] = (COSTS,), refused: tuple[Run, ...] = ()) -> Measured:
    """One that had half of a core."""
    by_run = {(one.policy, one.kv_size): one for one in costs}
    when = "2026-11-26T05:00:00+00:00"
    return Measured("a machine", when, 3, 0.5, 256, 40, 0.001, refused, by_run)

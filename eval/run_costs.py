"""What a run cost: percentiles of times, largest sizes in bytes."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

TIMES = {
    "ttft_seconds": "first_token_seconds",
    "ttft_cached_seconds": "first_token_cached_seconds",
    "ttft_uncached_seconds": "first_token_uncached_seconds",
    "compression_seconds": "compression_seconds",
}
"""Name in comparison.json -> column of comparison.csv."""
PERCENTILES = (50, 95)


def run_costs(rows: pd.DataFrame, engine: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able costs of one run.

    `peak_memory_bytes` is the largest state of the stream on the device plus, where the device
    keeps a record (CUDA), the most that a step needed on top; the weights are not part of it.

    Args:
        rows: answered questions.
        engine: what the engine said of itself; stands in where rows carry no bytes.
    """
    costs: dict[str, Any] = {
        name: percentiles(_numbers(rows, column)) for name, column in TIMES.items()
    }
    memory_bytes = _largest(rows, "memory_bytes", engine.get("memory_bytes"))
    working_bytes = _largest(rows, "peak_bytes", None)
    return costs | {
        "memory_bytes": memory_bytes,
        "host_bytes": _largest(rows, "host_bytes", engine.get("host_bytes")),
        "working_bytes": working_bytes,
        "peak_memory_bytes": None if memory_bytes is None else memory_bytes + (working_bytes or 0),
        "tokens_per_frame": engine.get("tokens_per_frame"),
        "horizon_seconds": engine.get("horizon_seconds"),
        "works_at_question_time": engine.get("works_at_question_time"),
    }


def percentiles(values: pd.Series) -> dict[str, float] | None:
    """`p50` and `p95`, linear between neighbours; None without values."""
    if values.empty:
        return None
    return {f"p{share}": float(values.quantile(share / 100)) for share in PERCENTILES}


def _largest(rows: pd.DataFrame, column: str, otherwise: int | None) -> int | None:
    values = _numbers(rows, column)
    return otherwise if values.empty else int(values.max())


def _numbers(rows: pd.DataFrame, column: str) -> pd.Series:
    if column not in rows.columns:
        return pd.Series(dtype=float)
    return pd.to_numeric(rows[column], errors="coerce").dropna()

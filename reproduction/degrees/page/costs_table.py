"""What each memory costs, all measured in one session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reproduction.degrees.costs.measured import Costs, Measured
from reproduction.degrees.page.tables import bytes_of, markdown
from reproduction.degrees.page.texts import TEXT

HEADER = (
    *("memory", "budget", "tokens kept", "device", "host", "first token p50", "p95"),
    *("ingest per frame", "layers per frame", "compression p50", "works when asked"),
)


def costs(measured: Measured | None, kv_size: int) -> Iterator[str]:
    """The section, at one budget; nothing where nothing was measured."""
    if measured is None:
        return
    yield TEXT["costs"].format(
        machine=measured.machine,
        measured_at=measured.measured_at,
        rounds=measured.num_rounds,
        cpu_percent=100 * measured.cpu_share,
        frames=measured.num_frames,
        questions=measured.num_questions,
        vision=1000 * measured.vision_seconds_per_frame,
    )
    if not measured.is_quiet:
        yield TEXT["costs_beside_work"].format(percent=100 * (1 - measured.cpu_share))
    rows = [_row(one) for one in measured.costs.values() if one.kv_size == kv_size]
    yield markdown(HEADER, rows)


def milliseconds(seconds: float, by_round: Sequence[float]) -> str:
    """`8.3 (8.1–9.0) ms`: the median, the fastest and the slowest round."""
    low, high = (1000 * bound for bound in (min(by_round), max(by_round)))
    return f"{1000 * seconds:.1f} ({low:.1f}–{high:.1f}) ms"


def _row(one: Costs) -> list[str]:
    return [
        one.policy,
        f"{one.kv_size}",
        f"{one.tokens_per_layer:.0f}",
        bytes_of(one.memory_bytes),
        bytes_of(one.host_bytes),
        milliseconds(one.first_token_p50_seconds, one.first_token_by_round_seconds),
        f"{1000 * one.first_token_p95_seconds:.1f} ms",
        f"{1000 * one.ingest_seconds_per_frame:.1f} ms",
        f"{one.layers_per_frame}",
        milliseconds(one.compression_p50_seconds, one.compression_by_round_seconds),
        "yes" if one.works_at_question_time else "no",
    ]

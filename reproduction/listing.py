"""What there is to reproduce, and what it would take."""

from __future__ import annotations

from collections.abc import Sequence

from reproduction import estimates
from reproduction.columns import NOT_FROM_A_RUN, SERVER_ONLY
from reproduction.published import PublishedRow, PublishedTable, tables
from reproduction.runs import Run, runs_of

WITHOUT_NUMBERS = {
    "attention study": "figure: `video_qa/inspect_memory.py VIDEO` shows what each layer looks at",
    "overview": "figure: the method; docs/concepts.md has our drawing",
}
"""Figures that show no numbers to compare with."""
WEIGHTS = "weights in models/ and annotations in data/ are needed, see the README in each"


def listing() -> str:
    """Every table and figure, a line each."""
    lines = []
    for table in tables().values():
        runs = [] if table.name in NOT_FROM_A_RUN else runs_of(table, table.rows)
        models = sorted({row.model for row in table.rows if row.model and row.policy})
        needs = f"{len(runs)} runs" if runs else "no benchmark runs"
        lines += [f"{table.name:20}{table.title} ({table.place}): {needs}; {', '.join(models)}"]
    lines += [f"{name:20}{text}" for name, text in WITHOUT_NUMBERS.items()]
    return "\n".join([*lines, "", f"nano runs anywhere; else {WEIGHTS}"])


def dry_run(
    table: PublishedTable,
    rows: Sequence[PublishedRow],
    runs: Sequence[Run],
    shared: Sequence[str],
    gpu: str,
    max_pixels: int | None,
) -> str:
    """The runs, and what they may cost."""
    if table.name in NOT_FROM_A_RUN:
        own = [row for row in rows if row.policy and row.num_frames]
        return "\n".join([f"measure {row.label}" for row in own] or ["nothing to be run: quoted"])
    lines, hours, unknown = [], 0.0, 0
    for run in runs:
        found = estimates.estimate(run, gpu, max_pixels)
        lines += [run.command(shared), f"    {_settings(run)}", f"    {_cost(found, gpu)}"]
        if run.dataset == "egoschema":
            lines += [f"    {SERVER_ONLY}"]
        hours += (found.hours if found else None) or 0.0
        unknown += found is None or found.hours is None
    total = f"{len(runs)} runs, about {hours:.1f} hours of one {gpu} or more"
    total += f" (without {unknown} run(s) of unknown length)" if unknown else ""
    formula = (estimates.__doc__ or "").strip()
    return "\n".join([*lines, "", total, "", f"How this is estimated: {formula}"])


def _settings(run: Run) -> str:
    return (
        f"{run.sample_fps:g} frames per second, {run.kv_size:,} tokens per layer, profile "
        f"{run.profile}, {run.reindex} re-indexing, chunks of {run.chunk_frames} frames"
    )


def _cost(found: estimates.Estimate | None, gpu: str) -> str:
    if found is None:
        return "estimate: none for this model; hermes-nano needs no GPU"
    time = "? hours" if found.hours is None else f"{found.hours:.2f} hours"
    return f"estimate: {time} on one {gpu}, {found.gigabytes:.1f} GB"

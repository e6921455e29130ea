"""The tables of a comparison, for the page, the terminal, and papers and notes (Markdown)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from eval.whole_file import write_text
from video_qa.comparison.pages.intervals import MARK, is_weak, weak_note
from video_qa.comparison.pages.verdict import ALL

MARKDOWN_FILE = "comparison.md"

COST_HEADER = (
    *("policy", "budget", "horizon", "tokens per frame", "first token p50", "first token p95"),
    *("with vision encoding p50", "compression p50", "compression p95"),
    *("memory", "peak memory", "host memory", "works at question time"),
)


class Table(NamedTuple):
    """Texts, and (row, column) of the cells to stress."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    best: frozenset[tuple[int, int]] = frozenset()

    def text(self) -> str:
        """For a terminal: columns aligned, the best of a column with a star."""
        lines = [
            [f"{'*' if (y, x) in self.best else ''}{cell}" for x, cell in enumerate(row)]
            for y, row in enumerate(self.rows)
        ]
        lines = [list(self.header), *lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "".join(_aligned(line, widths) for line in lines)

    def markdown(self) -> str:
        """Numbers to the right, the best of a column in bold."""
        lines = [self.header, ["---", *("--:" for _ in self.header[1:])]]
        lines += [
            [f"**{cell}**" if (y, x) in self.best else cell for x, cell in enumerate(row)]
            for y, row in enumerate(self.rows)
        ]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_markdown(folder: Path, numbers: Mapping[str, Any]) -> Path:
    """Write the tables of accuracies and costs; returns the file. Raises OSError."""
    tables = [*accuracy_tables(numbers), cost_table(numbers)]
    parts = [*(table.markdown() for table in tables), *_note(numbers)]
    write_text(folder / MARKDOWN_FILE, "\n".join(parts))
    return folder / MARKDOWN_FILE


def terminal_tables(numbers: Mapping[str, Any]) -> str:
    """The accuracies as text."""
    return "\n".join([*(table.text() for table in accuracy_tables(numbers)), *_note(numbers)])


def balance_note(numbers: Mapping[str, Any]) -> str:
    """What a balanced group is the mean of, and what is not among all questions; empty if every
    group is plain."""
    parts = [
        f"{name}: mean of {' and '.join(numbers['groups'][name])}, which look the same; one answer "
        "to all of them gives 50 %"
        for name in numbers.get("balanced", [])
    ]
    if left_out := numbers.get("not_in_all"):
        parts.append(f"{ALL}: without {', '.join(left_out)}")
    return ". ".join(parts)


def _note(numbers: Mapping[str, Any]) -> list[str]:
    return [f"{note}\n" for note in (balance_note(numbers), weak_note(numbers)) if note]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    others = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
    return "  ".join([line[0].ljust(widths[0]), *others]).rstrip() + "\n"


def cost_table(numbers: Mapping[str, Any]) -> Table:
    """Times, sizes, horizon: a row per run."""
    return Table(COST_HEADER, [_cost_row(run) for run in numbers["runs"]])


def accuracy_tables(numbers: Mapping[str, Any]) -> Iterator[Table]:
    """One table per budget, policies over groups, the best of each column stressed."""
    groups = list(numbers["groups"])
    for kv_size in sorted({run["kv_size"] for run in numbers["runs"]}):
        runs = [run for run in numbers["runs"] if run["kv_size"] == kv_size]
        rows = [[run["policy"], *(_accuracy(run, group) for group in groups)] for run in runs]
        header = [f"{kv_size} tokens: accuracy in %, 95 % interval", *groups]
        yield Table(header, rows, frozenset(_best(runs, groups)))


def protocol_table(numbers: Mapping[str, Any]) -> Table:
    """What all runs had in common."""
    facts = dict(numbers["protocol"])
    facts["worker processes of the last run"] = numbers["num_chunks"]
    facts["videos told apart by"] = numbers["clustered_by"]
    rows = [(name, "default" if value is None else str(value)) for name, value in facts.items()]
    return Table(("setting", "value"), rows)


def version_table(numbers: Mapping[str, Any]) -> Table:
    """Versions and commits the runs were made with."""
    rows = [(name, ", ".join(map(str, seen))) for name, seen in numbers["versions"].items()]
    return Table(("version of", "value"), rows)


def _best(runs: list[Any], groups: list[str]) -> Iterator[tuple[int, int]]:
    for column, group in enumerate(groups, start=1):
        means = [run["groups"].get(group, {}).get("accuracy_percent", -1) for run in runs]
        yield from ((row, column) for row, mean in enumerate(means) if mean == max(means))


def _accuracy(run: Mapping[str, Any], group: str) -> str:
    found = run["groups"].get(group)
    if found is None:
        return "–"
    bounds = found["interval95_percent"]
    shown = f" ({bounds[0]:.0f}–{bounds[1]:.0f})" if bounds else ""
    mark = MARK if is_weak(found) else ""
    return f"{found['accuracy_percent']:.1f}{shown}{mark}"


def _cost_row(run: Mapping[str, Any]) -> list[str]:
    cost = run["cost"]
    per_frame = cost["tokens_per_frame"]
    horizon = cost["horizon_seconds"]
    at_question = {None: "–", True: "yes", False: "no"}[cost["works_at_question_time"]]
    return [
        run["policy"],
        str(run["kv_size"]),
        "–" if horizon is None else f"{horizon:,.0f} s",
        "–" if per_frame is None else f"{per_frame:g}",
        _milliseconds(cost["ttft_cached_seconds"] or cost["ttft_seconds"], "p50"),
        _milliseconds(cost["ttft_cached_seconds"] or cost["ttft_seconds"], "p95"),
        _milliseconds(cost["ttft_uncached_seconds"], "p50"),
        _milliseconds(cost["compression_seconds"], "p50"),
        _milliseconds(cost["compression_seconds"], "p95"),
        *(_bytes(cost[name]) for name in ("memory_bytes", "peak_memory_bytes", "host_bytes")),
        at_question,
    ]


def _milliseconds(percentiles: Mapping[str, float] | None, name: str) -> str:
    return "–" if percentiles is None else f"{1000 * percentiles[name]:,.1f} ms"


def _bytes(count: int | None) -> str:
    if count is None:
        return "–"
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"

"""Command line of `scripts/reproduce.py`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from reproduction import efficiency, memories, nano
from reproduction.columns import NOT_FROM_A_RUN
from reproduction.estimates import GPUS
from reproduction.listing import dry_run, listing
from reproduction.published import PublishedRow, PublishedTable, TableError, find_table
from reproduction.render import summary, write_table
from reproduction.runs import Run, runs_of
from reproduction.side_by_side import Cell, side_by_side
from video_qa.run_infer import main as run_infer
from video_qa.runner.termination import exit_code
from video_qa.settings.pixel_presets import pixels

PASSED_ON = (
    *("num_chunks", "devices", "video_root", "results_root", "limit"),
    *("judge_model", "base_url", "dtype", "profile"),
    *("launcher", "ray_address", "cpus_per_worker"),
    *("slurm_partition", "slurm_minutes", "slurm_flag"),
)
TABLE_HELP = "one of --list; nano runs anywhere; memories: all, on streaming benchmarks"
GPU_HELP = "of the estimate, and of how many memories watch at a time (default: %(default)s)"
EPILOG = "What is passed on to video_qa/run_infer.py is explained by its --help."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: all run, 1: something was not run, 2: no such table or model."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if arguments.list:
        print(listing())
        return 0
    if arguments.table is None:
        parser.error("give --table NAME, or --list to see which there are")
    return exit_code(lambda: _reproduce(arguments))


def _reproduce(arguments: argparse.Namespace) -> int:
    table = find_table(arguments.table)
    rows = _chosen(table, arguments)
    shared = _shared(arguments)
    runs = [] if table.name in NOT_FROM_A_RUN else runs_of(table, rows)
    if arguments.dry_run and table.name == memories.NAME:
        pace = arguments.seconds_per_frame
        print(memories.dry_run(runs, shared, arguments.gpu, arguments.max_pixels, pace))
        return 0
    if arguments.dry_run:
        print(dry_run(table, rows, runs, shared, arguments.gpu, arguments.max_pixels))
        return 0
    code, notes = 0, list[str]()
    if not arguments.only_report:
        code, notes = _run(table, rows, runs, shared, arguments)
    command = f"python scripts/reproduce.py --table {table.name}"
    cells = _cells(table, rows, shared, arguments)
    if arguments.store:
        nano.store(cells, command)
    for path in write_table(arguments.out, table, cells, command, notes):
        print(path)
    print("\n".join(summary(cells)))
    return code


def _run(
    table: PublishedTable,
    rows: Sequence[PublishedRow],
    runs: Sequence[Run],
    shared: Sequence[str],
    arguments: argparse.Namespace,
) -> tuple[int, list[str]]:
    """Run what is missing; exit code, and a sentence per run that could not be finished."""
    if table.name in NOT_FROM_A_RUN:
        own = [row for row in rows if row.policy and row.num_frames]
        out = _costs(arguments)
        code = exit_code(lambda: efficiency.measure(own, out, arguments.devices))
        return code, ["latencies cannot be compared across GPUs"] if own else []
    if table.name == "nano":
        nano.write_streams()
        exit_code(lambda: nano.watch_side_by_side(runs, shared))
    if table.name == memories.NAME:
        on = arguments.gpu, arguments.max_pixels
        exit_code(lambda: memories.watch_side_by_side(runs, shared, *on))
    failed = [run for run in runs if not _finished(run, shared)]
    notes = [f"not finished: `{run.command(shared)}`" for run in failed]
    return (1 if failed else 0), notes


def _finished(run: Run, shared: Sequence[str]) -> bool:
    """Whether the runner answers and evaluates everything that is still missing."""
    print(f"\n> {run.command(shared)}", flush=True)
    return _code(lambda: run_infer(run.argv(shared))) == 0


def _code(act: Callable[[], int]) -> int:
    try:
        return act()
    except SystemExit as error:  # argparse's
        return int(error.code or 0)


def _cells(
    table: PublishedTable,
    rows: Sequence[PublishedRow],
    shared: Sequence[str],
    arguments: argparse.Namespace,
) -> list[Cell]:
    if table.name in NOT_FROM_A_RUN:
        return efficiency.cells(table, rows, _costs(arguments))
    return side_by_side(table, rows, shared)


def _costs(arguments: argparse.Namespace) -> Path:
    return arguments.out / "efficiency.jsonl"


def _chosen(table: PublishedTable, arguments: argparse.Namespace) -> list[PublishedRow]:
    rows = list(table.of_model(arguments.model))
    if arguments.rows is None:
        return rows
    chosen = [row for row in rows if arguments.rows.lower() in row.label.lower()]
    if not chosen:
        labels = "; ".join(row.label for row in rows)
        raise TableError(f"no row of {table.name} has '{arguments.rows}' in it; it has: {labels}")
    return chosen


def _shared(arguments: argparse.Namespace) -> list[str]:
    given = {name: getattr(arguments, name) for name in (*PASSED_ON, "max_pixels")}
    shared = [f"--{name}={value}" for name, value in given.items() if value is not None]
    own = nano.arguments() if arguments.table == "nano" else []
    return [*own, *shared, *(["--skip_judge"] if arguments.skip_judge else [])]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reproduce.py",
        description="Make a table of the paper again: print the runs behind it, run what is "
        "missing, and put our numbers beside the printed ones. A run that was stopped goes on.",
        epilog=EPILOG,
    )
    add = parser.add_argument
    add("--list", action="store_true", help="every table and figure, and what it needs")
    add("--table", metavar="NAME", help=TABLE_HELP)
    add("--model", help="only the rows of this model key")
    add("--rows", metavar="TEXT", help="only rows with this text in their label")
    add("--dry_run", action="store_true", help="print the runs and what they may cost; run nothing")
    add("--only_report", action="store_true", help="write the table from what has been run")
    add("--gpu", choices=tuple(GPUS), default="h200", help=GPU_HELP)
    add("--seconds_per_frame", type=float, help="memories: measured; for the estimate")
    add("--out", type=Path, default=Path("results/tables"), help="default: %(default)s")
    add("--store", action="store_true", help="nano: make what was measured the stored numbers")
    add("--skip_judge", action="store_true", help="passed on: open answers are not judged now")
    add("--max_pixels", type=pixels, help="passed on, and part of the estimate")
    for name in PASSED_ON:
        add(f"--{name}", help="passed on")
    return parser


if __name__ == "__main__":
    sys.exit(main())

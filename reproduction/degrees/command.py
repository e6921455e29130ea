r"""Every memory on every degree of NanoStream, from the streams to the page.

    python scripts/compare_degrees.py --dry_run
    python scripts/compare_degrees.py --docs docs
    python scripts/compare_degrees.py --degrees busy --streams_4x 10 --streams_16x 0

Writes the streams, measures what each memory costs, lets all memories watch side by side, and
writes comparison.md with tables and figures. Each run is a results folder as
`video_qa/run_infer.py` writes it. A killed run goes on where it was; more streams, memories,
budgets or rates are added to what is there. Exit code 0: everything was answered; 1: some of it
failed; 2: the command cannot be carried out; 130: stopped.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eval.whole_file import write_text
from reproduction.degrees import figures
from reproduction.degrees.arguments import parser, plan_of
from reproduction.degrees.costs import COSTS_FILE, Measured, measure
from reproduction.degrees.estimate import estimate_lines
from reproduction.degrees.page import page, verdict_lines
from reproduction.degrees.plan import RATES_BUDGET, Comparison, Plan
from reproduction.degrees.results import collect
from reproduction.degrees.run import STOPPED, run_all
from reproduction.degrees.streams import annotations_of, write_streams
from video_qa.comparison.arguments import FLOORS
from video_qa.runner.termination import exit_code

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "comparison" / COSTS_FILE
"""What the estimate goes by until something has been measured here."""
PAGE_FILE = "comparison.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = parser(__doc__ or "").parse_args(argv)
    given = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return exit_code(lambda: _compare(arguments, given))


def _compare(arguments: argparse.Namespace, given: Sequence[str]) -> int:
    plan = plan_of(arguments)
    comparisons = list(plan.comparisons())
    if arguments.dry_run:
        measured = _measured(arguments.out) or Measured.read(COMMITTED)
        print("\n".join(estimate_lines(comparisons, measured, arguments.jobs)))
        return 0
    code = 0
    if not arguments.only_report:
        write_streams(plan.worlds(), arguments.data, arguments.jobs)
        if arguments.only_streams:
            return 0
        _measure(plan, comparisons, arguments)
        code = run_all(comparisons, arguments.data, arguments.out, arguments.jobs)
        if code == STOPPED:
            return code
    return max(code, _report(comparisons, arguments, _command(given)))


def _measure(plan: Plan, comparisons: Sequence[Comparison], arguments: argparse.Namespace) -> None:
    """Measure the costs at one budget that are not known yet, and store them."""
    known = _measured(arguments.out)
    costs = dict(known.costs) if known else {}
    size = RATES_BUDGET if RATES_BUDGET in plan.budgets else max(plan.budgets)
    runs = [(name, size) for name in (*plan.policies, *FLOORS)]
    missing = [run for run in runs if run not in costs]
    if missing and comparisons:
        print(f"costs of {len(missing)} runs, one after the other", flush=True)
        new = measure(missing, annotations_of(comparisons[0].world, arguments.data))
        replace(new, costs=costs | dict(new.costs)).write(arguments.out)


def _measured(folder: Path) -> Measured | None:
    path = folder / COSTS_FILE
    return Measured.read(path) if path.exists() else None


def _report(comparisons: Sequence[Comparison], arguments: argparse.Namespace, command: str) -> int:
    results = collect(comparisons, arguments.out, arguments.ours, arguments.kin)
    if results.accuracies.empty:
        print("error: no comparison is finished; nothing to report", file=sys.stderr)
        return 2
    if "memories" not in set(results.accuracies["part"]):
        print("Finished; no page without --parts memories, whose finished runs it only reads")
        return 0
    measured, ours = _measured(arguments.out), arguments.ours
    texts = {
        PAGE_FILE: page(results, measured, ours, command),
        "comparison/all_questions.svg": figures.all_questions(results.accuracies, ours),
        "comparison/far_against_recent.svg": figures.far_against_recent(results.accuracies, ours),
    }
    for folder in (arguments.out, *([arguments.docs] if arguments.docs else [])):
        (folder / "comparison").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
        results.write_csv(folder / "comparison")
        if measured is not None:
            measured.write(folder / "comparison")
    results.write_json(arguments.out / "comparison")
    print("\n".join(verdict_lines(results, measured, ours)))
    print(f"Page: {arguments.out / PAGE_FILE}")
    return 0


def _command(given: Sequence[str]) -> str:
    """How the page was made, as one line; what to report only is no part of it."""
    kept = [one for one in given if one != "--only_report"]
    return shlex.join(["python", "scripts/compare_degrees.py", *kept])

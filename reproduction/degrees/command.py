r"""Every memory on every degree of NanoStream, from the streams to the page.

    python scripts/compare_degrees.py --dry_run
    python scripts/compare_degrees.py --docs docs
    python scripts/compare_degrees.py --degrees busy --streams_4x 10 --streams_16x 0
    python scripts/compare_degrees.py --measure_costs --only_report --docs docs

Writes the streams, measures what each memory costs, lets all memories watch side by side, and
writes comparison.md with tables and figures. Each run is a results folder as
`video_qa/run_infer.py` writes it. A killed run goes on where it was; more streams, memories,
budgets or rates are added to what is there. Costs are measured in one session: where those of one
memory are missing, those of all that are known are measured again. Exit code 0: all that was asked
for is done; 1: some of it failed; 2: the command cannot be carried out; 130: stopped.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from reproduction.degrees.arguments import parser, plan_of
from reproduction.degrees.costs.measured import COSTS_FILE, CostsError, Measured, Run
from reproduction.degrees.costs.session import measure
from reproduction.degrees.estimate import estimate_lines
from reproduction.degrees.owed import owed_by_all
from reproduction.degrees.page.dialogue import read_robustness
from reproduction.degrees.plan import RATES_BUDGET, Comparison, Plan
from reproduction.degrees.report import Report
from reproduction.degrees.results import collect
from reproduction.degrees.run import STOPPED, run_all
from reproduction.degrees.streams import annotations_of, write_streams
from video_qa.comparison.arguments import FLOORS
from video_qa.runner.termination import exit_code

logger = logging.getLogger(__name__)

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "comparison"
"""Whose costs the estimate goes by until something has been measured here."""
NO_PART = ("--only_report", "--measure_costs")
"""What says nothing about how a page was made."""


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = parser(__doc__ or "").parse_args(argv)
    given = sys.argv[1:] if argv is None else list(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    return exit_code(lambda: _compare(arguments, given))


def _compare(arguments: argparse.Namespace, given: Sequence[str]) -> int:
    plan = plan_of(arguments)
    comparisons = list(plan.comparisons())
    robustness = read_robustness(arguments.robustness) if arguments.robustness else None
    if arguments.dry_run:
        return _dry_run(comparisons, arguments)
    if not arguments.only_report:
        write_streams(plan.worlds(), arguments.data, arguments.jobs)
        if arguments.only_streams:
            return 0
    measures = bool(comparisons) and (arguments.measure_costs or not arguments.only_report)
    if measures:
        measure_costs(_runs(plan), annotations_of(comparisons[0].world, arguments.data), arguments)
    code = 0
    if not arguments.only_report:
        code = run_all(comparisons, arguments.data, arguments.out, arguments.jobs)
        if code == STOPPED:
            return code
    results = collect(comparisons, arguments.out, arguments.ours, arguments.kin)
    if measures and arguments.only_report and results.accuracies.empty:
        print("Costs are measured; no comparison is finished, so there is nothing to report yet")
        return 0
    report = Report(results, measured_in(arguments.out), robustness, arguments.ours)
    return max(code, report.write(arguments.out, arguments.docs, _command(given)))


def _dry_run(comparisons: Sequence[Comparison], arguments: argparse.Namespace) -> int:
    measured = measured_in(arguments.out) or measured_in(COMMITTED)
    if measured is None:
        raise CostsError(
            "no costs are known to estimate by; without --dry_run, write the streams: "
            "--only_streams, then measure: --only_report --measure_costs"
        )
    owed = owed_by_all(comparisons, arguments.data, arguments.out)
    print("\n".join(estimate_lines(owed, measured, arguments.jobs)))
    return 0


def measure_costs(runs: Sequence[Run], anno_path: Path, arguments: argparse.Namespace) -> None:
    """Measure all runs in one session, unless one before has them all, and store it.

    What an earlier session knew is measured again too: a file is one session, and loses nothing.

    Raises:
        CostsError: the streams are not there.
    """
    known = measured_in(arguments.out)
    if known is None or arguments.measure_costs or not known.covers(runs):
        before = (*known.costs, *known.refused) if known else ()
        together = list(dict.fromkeys((*runs, *before)))
        print(f"What {len(together)} memories cost, measured in turns", flush=True)
        found = measure(together, anno_path)
        found.write(arguments.out)
        if not found.is_quiet:
            logger.warning(
                "other work had the core for %.0f %% of the session: compare the fastest rounds, "
                "or measure again on an idle machine: --measure_costs",
                100 * (1 - found.cpu_share),
            )


def measured_in(folder: Path) -> Measured | None:
    """The session whose file lies there; None, with a warning, where it is of another shape."""
    path = folder / COSTS_FILE
    try:
        return Measured.read(path) if path.exists() else None
    except CostsError as error:
        logger.warning("%s", error)
        return None


def _runs(plan: Plan) -> list[Run]:
    """All memories and floors, at the budget that is shown in full."""
    size = RATES_BUDGET if RATES_BUDGET in plan.budgets else max(plan.budgets)
    return [(name, size) for name in dict.fromkeys((*plan.policies, *FLOORS))]


def _command(given: Sequence[str]) -> str:
    """How the page was made, as one line."""
    kept = [one for one in given if one not in NO_PART]
    return shlex.join(["python", "scripts/compare_degrees.py", *kept])

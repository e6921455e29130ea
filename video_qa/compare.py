r"""Compare memory policies: same model, same questions, same budget, one report.

    python video_qa/compare.py --model nano --dataset nanostream --sample_fps 1 \
        --policies two_speed,hermes,recent,last_frames --kv_sizes 64,128,256

Every video is decoded and vision-encoded once; all memories watch it side by side. Each run lies in
the folder that video_qa/run_infer.py uses for the same settings, so that finished runs are reused
and the same command continues a comparison that was stopped. The folder of the comparison gets
comparison.csv (one row per run and question), comparison.json (numbers with intervals),
comparison.md (tables to paste) and report.html (self-contained). Exit code 0: everything was
answered; 1: some of it failed or a policy cannot serve the model; 2: the command cannot be carried
out; 130: stopped.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from video_qa.comparison.arguments import FLOORS, parser
from video_qa.comparison.finished import (
    ComparisonError,
    FinishedRun,
    check_same_protocol,
    read_run,
)
from video_qa.comparison.pages.report import write_report
from video_qa.comparison.pages.tables import terminal_tables
from video_qa.comparison.pages.verdict import verdict
from video_qa.comparison.plans import Plans, check_scored, plan_runs
from video_qa.comparison.table import describe_runs, write_comparison_csv, write_json
from video_qa.lanes.execute import Outcome, execute
from video_qa.lanes.plan import ComparedRun
from video_qa.launchers.choice import job_script, open_launcher
from video_qa.launchers.local import LocalLauncher
from video_qa.questions.annotations import Video
from video_qa.results.outcome_lines import corruption_lines, failure_lines
from video_qa.results.run_folder import RunFolder, open_run_folder
from video_qa.runner.benchmark_run import RunPlan
from video_qa.runner.run_arguments import dataset_folder
from video_qa.runner.shards import question_keys
from video_qa.runner.termination import exit_code

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, prog: str = "compare.py") -> int:
    """Run what is missing, evaluate, write the report; returns the exit code."""
    arguments = parser(__doc__ or "", prog).parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    return exit_code(lambda: _compare(arguments))


def _compare(arguments: argparse.Namespace) -> int:
    nothing_runs = nullcontext(LocalLauncher()) if arguments.only_report else None
    with nothing_runs or open_launcher(arguments, _folder(arguments)) as launcher:
        check_scored(arguments.dataset)
        policies = (*arguments.policies, *(FLOORS if arguments.floors else ()))
        plans = plan_runs(arguments, launcher, policies)
        if arguments.dry_run:
            plan = next(iter(plans.values()))
            print(job_script(launcher, min(plan.num_chunks, len(plan.videos))))
            return 0
        return _compare_in_folder(arguments, plans)


def _compare_in_folder(arguments: argparse.Namespace, plans: Plans) -> int:
    plan = next(iter(plans.values()))
    with open_run_folder(_folder(arguments)) as out:
        if arguments.only_report:
            refused, code = {}, 0
        else:
            outcome = execute(plans, out, arguments.overwrite)
            refused = {_name(run): reason for run, reason in outcome.refused.items()}
            code = complain(outcome, plan.videos)
            if outcome.missing:
                return code
        own = [run.folder for run in plans if _name(run) not in refused]
        keys = question_keys(plan.videos)
        runs = [read_run(folder, keys) for folder in [*own, *arguments.runs]]
        return max(code, _publish(runs, refused, plan, out, arguments))


def _publish(
    runs: Sequence[FinishedRun],
    refused: Mapping[tuple[str, int], str],
    plan: RunPlan,
    out: RunFolder,
    arguments: argparse.Namespace,
) -> int:
    """Write table, numbers and report; print the accuracies."""
    if not runs:
        raise ComparisonError("none of the policies can serve this model; nothing to compare")
    _check_distinct(runs)
    check_same_protocol(runs)
    write_comparison_csv(out.path / "comparison.csv", runs, plan.videos)
    num_chunks = None if arguments.only_report else plan.num_chunks
    write_json(out.path / "runs.json", describe_runs(runs, refused, num_chunks))
    if arguments.no_report:
        return 0
    if importlib.import_module("eval.comparison").main(["--folder", str(out.path)]):
        return 1
    report = write_report(out.path, runs, plan.videos, plan.video_root)
    numbers = json.loads((out.path / "comparison.json").read_text(encoding="utf-8"))
    print(f"\n{terminal_tables(numbers)}\n{verdict(numbers)}\nReport: {report}")
    return 0


def complain(outcome: Outcome, videos: Sequence[Video]) -> int:
    """Print what went wrong; the exit code."""
    lines = list(outcome.complaints)
    lines += [f"{run.label}: {reason}" for run, reason in outcome.refused.items()]
    for run, found in outcome.predictions.items():
        num_errors = sum(prediction.error is not None for prediction in found.values())
        if num_errors:
            causes = failure_lines(found.values(), videos)
            lines.append(
                "\n".join([f"{run.label}: {num_errors} questions have an error:", *causes])
            )
    for run, count in outcome.missing.items():
        lines.append(f"{run.label}: {count} questions were not reached")
    for line in lines:
        print(f"FAILED: {line}", file=sys.stderr)
    for line in corruption_lines(
        p for found in outcome.predictions.values() for p in found.values()
    ):
        logger.warning(line)
    if outcome.missing:
        print("no report yet; the same command answers the rest", file=sys.stderr)
    return 1 if lines else 0


def _folder(arguments: argparse.Namespace) -> Path:
    return arguments.out or dataset_folder(arguments) / f"comparison-fps{arguments.sample_fps:g}"


def _name(run: ComparedRun) -> tuple[str, int]:
    return run.settings.policy, run.settings.kv_size


def _check_distinct(runs: Sequence[FinishedRun]) -> None:
    seen: dict[tuple[str, int], FinishedRun] = {}
    for run in runs:
        twin = seen.setdefault((run.policy, run.kv_size), run)
        if twin is not run:
            raise ComparisonError(
                f"{twin.folder} and {run.folder} are both {run.policy} at kv_size {run.kv_size}; "
                "leave one out"
            )


if __name__ == "__main__":
    sys.exit(main())

r"""What other questions do to the answers of a memory: asked in order, shuffled, alone.

    python video_qa/robustness.py --model nano --dataset nanostream --sample_fps 1 \
        --policies two_speed,hermes,recent,rekv --kv_sizes 64

Each policy answers every question three times at its own time: after all questions before it, as
in any benchmark run; after others in their places (their texts permuted between their times); and
in a stream that was asked nothing else. Policies that are steered by the dialogue are run without
it (NAME:use_history=false) as well. All of it watches side by side, every video being decoded once.
The runs in order are those of video_qa/compare.py and video_qa/run_infer.py, which are reused; the
others lie beside them, and the same command continues what was stopped. The folder of this program
gets robustness.json, robustness.md and a CSV per way of asking. Exit code 0: everything was
answered; 1: some of it failed or a policy cannot serve the model; 2: the command cannot be carried
out; 130: stopped.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):  # run as a script: import from the repository root, not from here
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from hermes.policy_text import read_policy
from video_qa.compare import complain
from video_qa.comparison.arguments import shared_parser
from video_qa.comparison.finished import ComparisonError, check_same_protocol, read_run
from video_qa.comparison.plans import Plans, check_scored, plan_runs
from video_qa.comparison.robustness_table import write_robustness
from video_qa.comparison.table import write_comparison_csv
from video_qa.lanes.execute import execute
from video_qa.launchers.choice import job_script, open_launcher
from video_qa.launchers.local import LocalLauncher
from video_qa.results.run_folder import RunFolder, open_run_folder
from video_qa.runner.run_arguments import dataset_folder
from video_qa.runner.shards import question_keys
from video_qa.runner.termination import exit_code
from video_qa.settings.policy_spec import named_fields
from video_qa.settings.run_settings import TURNS, RunSettings


def main(argv: Sequence[str] | None = None, prog: str = "robustness.py") -> int:
    """Run what is missing, evaluate, write the table; returns the exit code."""
    arguments = shared_parser(__doc__ or "", prog).parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    return exit_code(lambda: _measure(arguments))


def with_and_without_history(policies: Sequence[str]) -> list[str]:
    """Each policy once, and where the dialogue steers it the same without it."""
    steered = {policy for policy in policies if is_steered(policy)}
    pairs = [(policy, f"{policy}:use_history=false") for policy in policies]
    both = [name for pair in pairs for name in pair[: 1 + (pair[0] in steered)]]
    return list(dict.fromkeys(both))


def is_steered(policy: str) -> bool:
    """Whether what was asked and answered is part of what this policy, as it is written on the
    command line, asks the memory before it evicts. Raises ValueError for an unknown policy."""
    from hermes import configure, make_policy
    from inference.answers.prompts import Turn, guidance_texts

    settings = RunSettings("nano", kv_size=64, sample_fps=1, streaming=True, policy=policy)
    config = configure(**named_fields(settings))
    num_layers = 20  # so many that every band has some
    made = make_policy(config, num_layers)
    usual, spoken = guidance_texts(), guidance_texts(Turn("?", "!"))
    wanted = {made.guidance(layer) for layer in range(num_layers)} - {None}
    says_more = any(usual[name] != spoken[name] for name in wanted if name is not None)
    return says_more and config.use_history and "use_history" not in read_policy(policy)[1]


def _measure(arguments: argparse.Namespace) -> int:
    check_scored(arguments.dataset)
    policies = with_and_without_history(arguments.policies)
    folder = arguments.out or _usual_folder(arguments)
    nothing_runs = nullcontext(LocalLauncher()) if arguments.only_report else None
    with nothing_runs or open_launcher(arguments, folder) as launcher:
        plans = plan_runs(arguments, launcher, policies, TURNS)
        if arguments.dry_run:
            plan = next(iter(plans.values()))
            print(job_script(launcher, min(plan.num_chunks, len(plan.videos))))
            return 0
        with open_run_folder(folder) as out:
            return _measure_in_folder(plans, out, arguments)


def _measure_in_folder(plans: Plans, out: RunFolder, arguments: argparse.Namespace) -> int:
    code, refused = 0, set()
    if not arguments.only_report:
        outcome = execute(plans, out, arguments.overwrite)
        code = complain(outcome, next(iter(plans.values())).videos)
        if outcome.missing:
            return code
        refused = {replace(run.settings, turns=TURNS[0]) for run in outcome.refused}
    kept = {
        run: p for run, p in plans.items() if replace(run.settings, turns=TURNS[0]) not in refused
    }
    if not kept:
        raise ComparisonError("none of the policies can serve this model; nothing to measure")
    _write_tables(kept, out.path)
    found = ["--folder", str(out.path), "--dataset", arguments.dataset]
    if importlib.import_module("eval.robustness").main(found):
        return 1
    print(f"\n{write_robustness(out.path)}")
    return code


def _write_tables(plans: Plans, folder: Path) -> None:
    videos = next(iter(plans.values())).videos
    keys = question_keys(videos)
    for turns in TURNS:
        runs = [read_run(run.folder, keys) for run in plans if run.settings.turns == turns]
        check_same_protocol(runs)
        write_comparison_csv(folder / f"{turns}.csv", runs, videos)


def _usual_folder(arguments: argparse.Namespace) -> Path:
    return Path(dataset_folder(arguments) / f"robustness-fps{arguments.sample_fps:g}")


if __name__ == "__main__":
    sys.exit(main())

"""The runs that a comparison consists of."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from video_qa.comparison.finished import ComparisonError
from video_qa.lanes.execute import compared_run
from video_qa.lanes.plan import ComparedRun
from video_qa.launchers.launcher import Launcher
from video_qa.questions.benchmarks import DATASETS
from video_qa.runner.benchmark_run import RunPlan
from video_qa.runner.run_arguments import dataset_folder, plan_run, results_path
from video_qa.settings.model_checks import check_model
from video_qa.settings.model_registry import check_names
from video_qa.settings.run_settings import IN_ORDER

Plans = Mapping[ComparedRun, RunPlan]
SCORERS = {"general", "words"}
"""Evaluators whose verdict on a row needs nothing but the row."""


def plan_runs(
    arguments: argparse.Namespace,
    launcher: Launcher,
    policies: Iterable[str],
    turns: Sequence[str] = (IN_ORDER,),
) -> Plans:
    """One run per policy, budget and way of asking, everything about them checked.

    Raises:
        ValueError: as `plan_run`, or a policy that does not exist.
    """
    policies = dict.fromkeys(policies)
    arguments.policy, arguments.kv_size = next(iter(policies)), arguments.kv_sizes[0]
    plan = plan_run(arguments, launcher)
    parent = dataset_folder(arguments)
    found: dict[ComparedRun, RunPlan] = {}
    for policy in policies:
        for kv_size in dict.fromkeys(arguments.kv_sizes):
            settings = replace(plan.settings, policy=policy, kv_size=kv_size)
            check_names(settings)
            check_model(settings)
            named = (arguments.sample_fps, kv_size, policy, arguments.profile)
            for way in turns:
                own = replace(plan, settings=replace(settings, turns=way))
                found[compared_run(own, results_path(parent, *named, way))] = own
    return found


def check_scored(dataset: str) -> None:
    """Raises ComparisonError where a row's verdict needs more than the row."""
    served = [name for name, entry in DATASETS.items() if SCORERS & set(entry.evaluators)]
    if dataset not in served and DATASETS[dataset].kind is not None:
        raise ComparisonError(
            f"answers of {dataset} need a judge or a server and cannot be compared here; "
            f"expected one of {', '.join(served)}"
        )

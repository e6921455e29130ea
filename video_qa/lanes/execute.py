"""Carry out a comparison: workers watch what is still owed, then every run's folder is merged."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from video_qa.lanes.lane_watcher import ComparisonRecipe
from video_qa.lanes.plan import ComparedRun, WatchPlan, deal_out, retention_video
from video_qa.launchers.launcher import Unit, Work
from video_qa.results.prediction import Key, Prediction
from video_qa.results.results_csv import write_results_csv
from video_qa.results.run_folder import RunFolder, open_run_folder
from video_qa.runner.benchmark_run import (
    RunPlan,
    describe_run,
    empty_folder,
    open_folder,
    threads_per_worker,
)
from video_qa.runner.shards import question_keys, shard_stem
from video_qa.runner.worker_pool import WorkerTask
from video_qa.settings.run_identity import run_identity
from video_qa.settings.run_settings import fingerprint

logger = logging.getLogger(__name__)

WORKER_SCRIPT = Path(__file__).with_name("worker.py")
PLAN_FILE = "plan.json"
OUTPUTS = ("comparison.csv", "comparison.json", "comparison.md", "report.html")


@dataclass(frozen=True)
class Outcome:
    """How it ended: predictions per run, runs that cannot be, and what went wrong."""

    predictions: Mapping[ComparedRun, Mapping[Key, Prediction]]
    refused: Mapping[ComparedRun, str]
    missing: Mapping[ComparedRun, int]
    """Questions that were not reached."""
    complaints: Sequence[str]


def compared_run(plan: RunPlan, path: Path) -> ComparedRun:
    """The run that `plan` describes, in the folder `path`."""
    identity = run_identity(plan.settings, plan.anno_path, plan.devices[0].name)
    return ComparedRun(plan.settings, path, fingerprint(identity))


def execute(plans: Mapping[ComparedRun, RunPlan], out: RunFolder, overwrite: bool) -> Outcome:
    """Answer what any run still owes, then merge and write each run's results.csv.

    Raises:
        RunFolderError: a folder holds another run, or another process writes to it.
    """
    runs, plan = list(plans), next(iter(plans.values()))
    with ExitStack() as stack:
        folders = {run: stack.enter_context(open_run_folder(run.folder)) for run in runs}
        for run, folder in folders.items():
            _open(run, plans[run], folder, overwrite)
        complaints: list[str] = []
        watch = _watch_plan(runs, plan, out.path)
        if watch.shards:
            for name in OUTPUTS:
                (out.path / name).unlink(missing_ok=True)
            for run, folder in folders.items():
                describe_run(plans[run], folder, _identity(plans[run]), run.run_id)
            complaints = _watch(watch, plan, out, folders)
        refused = _take_refusals(runs, out.path)
        merged = {run: folders[run].merge_shards(run.run_id) for run in runs if run not in refused}
        missing = {run: _finish(plans[run], folders[run], merged[run]) for run in merged}
    return Outcome(
        {run: _selected(plan, merged[run]) for run in merged},
        refused,
        {run: count for run, count in missing.items() if count},
        complaints,
    )


def _identity(plan: RunPlan) -> dict[str, object]:
    return run_identity(plan.settings, plan.anno_path, plan.devices[0].name)


def _watch_plan(runs: Sequence[ComparedRun], plan: RunPlan, out: Path) -> WatchPlan:
    """What is owed, dealt out; or what was dealt out to workers that are at it still."""
    if plan.launcher.is_at_work():
        return WatchPlan.read(out / PLAN_FILE)
    _remove_progress(out)
    recorded = retention_video(plan.videos, plan.settings.sample_fps)
    shards = deal_out(runs, plan.videos, recorded, plan.num_chunks)
    return WatchPlan(tuple(runs), plan.anno_path, plan.kind, plan.video_root, recorded, shards)


def _open(run: ComparedRun, plan: RunPlan, folder: RunFolder, overwrite: bool) -> None:
    empty_folder(plan, folder, overwrite)
    if overwrite:
        (folder.path / "retention.json").unlink(missing_ok=True)
    open_folder(plan, folder, _identity(plan), run.run_id)
    if not plan.launcher.is_at_work():
        folder.merge_shards(run.run_id)
        folder.take_engine_description()  # of a comparison that was killed


def _watch(
    watch: WatchPlan, plan: RunPlan, out: RunFolder, folders: Mapping[ComparedRun, RunFolder]
) -> list[str]:
    path = out.path / PLAN_FILE
    watch.write(path)
    out.logs.mkdir(exist_ok=True)
    try:
        return plan.launcher.run(_work(watch, plan, path, out.lock_descriptor))
    finally:
        if not plan.launcher.is_at_work():
            _remove_progress(out.path)
            for run, folder in folders.items():
                folder.merge_shards(run.run_id)
                folder.take_engine_description()


def _work(watch: WatchPlan, plan: RunPlan, path: Path, lock_descriptor: int) -> Work:
    answered = {run.run_id: run.answered() for run in watch.runs}
    wanted = set(question_keys(plan.videos))
    owed = {
        run.run_id: {video.index for video in run.owed(plan.videos, watch.retention_index)}
        for run in watch.runs
    }
    owing = [(video, tuple(r for r in owed if video.index in owed[r])) for video in plan.videos]
    return Work(
        folder=path.parent,
        tasks=[_task(watch, plan, path, worker) for worker in range(len(watch.shards))],
        recipe=ComparisonRecipe(
            watch.runs, plan.devices[0].name, plan.video_root, watch.retention_index
        ),
        units=[Unit(video, run_ids) for video, run_ids in owing if run_ids],
        runs={run.run_id: run.folder for run in watch.runs},
        answered=answered,
        num_questions=len(wanted) * len(watch.runs),
        num_answered=sum(len(wanted & keys.keys()) for keys in answered.values()),
        lock_descriptor=lock_descriptor,
    )


def _remove_progress(out: Path) -> None:
    """What the workers of this comparison read and wrote beside it, or those of one killed."""
    for path in (out / PLAN_FILE, *out.glob("*_*.progress")):
        path.unlink(missing_ok=True)


def _task(watch: WatchPlan, plan: RunPlan, path: Path, worker: int) -> WorkerTask:
    device = plan.devices[worker % len(plan.devices)]
    stem = shard_stem(len(watch.shards), worker)
    command = [sys.executable, str(WORKER_SCRIPT), f"--plan={path}", f"--chunk_idx={worker}"]
    command.append(f"--device={device.name}")
    return WorkerTask(
        name=stem,
        command=command,
        environment=device.environment() | threads_per_worker(len(watch.shards)),
        predictions_path=path.with_name(f"{stem}.progress"),
        log_path=path.parent / "logs" / f"{stem}.log",
    )


def _take_refusals(runs: Sequence[ComparedRun], out: Path) -> dict[ComparedRun, str]:
    """What the workers wrote about policies that cannot serve the model; removed."""
    reasons: dict[str, str] = {}
    for path in sorted(out.glob("*_*.refused.json")):
        reasons |= json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
    return {run: reasons[run.run_id] for run in runs if run.run_id in reasons}


def _selected(plan: RunPlan, found: Mapping[Key, Prediction]) -> dict[Key, Prediction]:
    return {key: found[key] for key in question_keys(plan.videos) if key in found}


def _finish(plan: RunPlan, folder: RunFolder, found: Mapping[Key, Prediction]) -> int:
    """Write results.csv if every question has a row; returns how many have none."""
    selected = _selected(plan, found)
    missing = len(question_keys(plan.videos)) - len(selected)
    if not missing:
        write_results_csv(folder.results, plan.videos, selected, plan.kind)
    return missing

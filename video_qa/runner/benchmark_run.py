"""One benchmark run: deal out the videos, let workers answer, merge what they wrote."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from video_qa.launchers.launcher import Launcher, Unit, Work
from video_qa.launchers.local import LocalLauncher
from video_qa.launchers.on_slurm.job_marker import check_no_job
from video_qa.launchers.recipe import RunRecipe
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import answer_texts, read_predictions
from video_qa.results.results_csv import write_results_csv
from video_qa.results.run_folder import RunFolder
from video_qa.runner.devices import WorkerDevice
from video_qa.runner.environment import describe_environment
from video_qa.runner.shards import question_keys, shard, shard_stem, unfinished
from video_qa.runner.worker_pool import WorkerTask
from video_qa.settings.run_identity import run_identity
from video_qa.settings.run_settings import RunSettings, fingerprint

logger = logging.getLogger(__name__)

WORKER_SCRIPT = Path(__file__).resolve().parents[1] / "hermes_vqa.py"


@dataclass(frozen=True)
class RunPlan:
    """What is to be run: settings, videos, and how the work is dealt out."""

    settings: RunSettings
    dataset: str
    kind: str | None
    anno_path: Path
    videos: Sequence[Video]
    devices: Sequence[WorkerDevice]
    num_chunks: int
    launcher: Launcher = field(default_factory=LocalLauncher)
    video_root: Path | None = None
    limit: int | None = None
    debug: bool = False


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: its predictions, questions without any, complaints about workers."""

    predictions: Mapping[Key, Prediction]
    missing: Sequence[Key]
    complaints: Sequence[str]

    @property
    def failed(self) -> list[Prediction]:
        return [p for _, p in sorted(self.predictions.items()) if p.error is not None]


def run_inference(plan: RunPlan, folder: RunFolder) -> RunOutcome:
    """Answer what is still unanswered, then merge.

    ``results.csv`` is written only when every question has a row (an answer or an error), so that
    a table that exists is complete. ``predictions.jsonl`` always holds everything answered so far.
    """
    identity = run_identity(plan.settings, plan.anno_path, plan.devices[0].name)
    run_id = fingerprint(identity)
    open_folder(plan, folder, identity, run_id)
    if plan.launcher.is_at_work():  # on what it was handed then, which decides the shares
        answered = answer_texts(read_predictions([folder.predictions], run_id))
    else:
        answered = answer_texts(folder.merge_shards(run_id))
        folder.take_engine_description()  # of a run that was killed
    pending = unfinished(plan.videos, answered)
    num_workers = min(plan.num_chunks, len(pending))
    shards = [shard(pending, num_workers, i, plan.debug) for i in range(num_workers)]
    wanted = _wanted(plan, shards, answered)
    complaints: list[str] = []
    if shards:
        folder.clear_reports()
        describe_run(plan, folder, identity, run_id)
        work = _work(plan, folder, run_id, shards, answered, wanted)
        try:
            complaints = plan.launcher.run(work)
        finally:
            if not plan.launcher.is_at_work():
                predictions = folder.merge_shards(run_id)
        folder.take_engine_description()
    else:
        predictions = folder.merge_shards(run_id)
    missing = [key for key in wanted if key not in predictions]
    if not missing:
        selected = {key: predictions[key] for key in wanted}
        write_results_csv(folder.results, plan.videos, selected, plan.kind)
    return RunOutcome({k: predictions[k] for k in wanted if k in predictions}, missing, complaints)


def _wanted(
    plan: RunPlan, shards: Sequence[Sequence[Video]], answered: Mapping[Key, str]
) -> list[Key]:
    """The questions that results.csv will hold: all, or in a trial run those there is time for."""
    if not plan.debug:
        return question_keys(plan.videos)
    tried = {video.index for videos in shards for video in videos}
    keys = question_keys(plan.videos)
    return [key for key in keys if key[0] in tried or key in answered]


def _work(
    plan: RunPlan,
    folder: RunFolder,
    run_id: str,
    shards: Sequence[Sequence[Video]],
    answered: Mapping[Key, str],
    wanted: Sequence[Key],
) -> Work:
    in_order = sorted((video for part in shards for video in part), key=lambda video: video.index)
    return Work(
        folder=folder.path,
        tasks=[_task(plan, folder, len(shards), i) for i in range(len(shards))],
        recipe=RunRecipe(plan.settings, run_id, plan.devices[0].name, plan.video_root),
        units=[Unit(video, (run_id,)) for video in in_order],
        runs={run_id: folder.path},
        answered={run_id: answered},
        num_questions=len(wanted),
        num_answered=sum(key in answered for key in wanted),
        lock_descriptor=folder.lock_descriptor,
    )


def _task(plan: RunPlan, folder: RunFolder, num_workers: int, index: int) -> WorkerTask:
    device = plan.devices[index % len(plan.devices)]
    stem = shard_stem(num_workers, index)
    command = [sys.executable, str(WORKER_SCRIPT), f"--config={folder.config}"]
    command += [f"--num_chunks={num_workers}", f"--chunk_idx={index}"]
    command.append(f"--device={device.name}")
    folder.logs.mkdir(exist_ok=True)
    return WorkerTask(
        name=stem,
        command=command,
        environment=device.environment() | threads_per_worker(num_workers),
        predictions_path=folder.path / f"{stem}.jsonl",
        log_path=folder.logs / f"{stem}.log",
    )


def threads_per_worker(num_workers: int) -> dict[str, str]:
    """Environment under which so many workers share the cores."""
    # By default every worker would use all cores, and several would fight for them.
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num_workers))}


def empty_folder(plan: RunPlan, folder: RunFolder, overwrite: bool) -> None:
    """Throw away what an earlier run wrote, if that is wanted; nobody may be writing there.

    Raises:
        LauncherError: an array job is, and it is not the one that is followed.
    """
    if not plan.launcher.is_at_work():
        check_no_job(folder.path)
    if overwrite:
        folder.clear()


def open_folder(
    plan: RunPlan, folder: RunFolder, identity: Mapping[str, object], run_id: str
) -> None:
    """Check that the folder is this run's, and say so in it before anything else lies there.

    Raises:
        RunFolderError: it holds another run.
    """
    folder.check_belongs_to(identity)
    if not folder.config.exists():
        describe_run(plan, folder, identity, run_id)


def describe_run(
    plan: RunPlan, folder: RunFolder, identity: Mapping[str, object], run_id: str
) -> None:
    """Write config.json and environment.json; what is known of the engine stays."""
    earlier = folder.read_config() if folder.config.exists() else {}
    folder.write_json(
        folder.config,
        {
            "run_id": run_id,
            "dataset": plan.dataset,
            "model": plan.settings.model,
            "settings": identity,
            "decode_workers": plan.settings.decode_workers,
            "execution": plan.settings.execution,
            "anno_path": str(plan.anno_path),
            "video_root": None if plan.video_root is None else str(plan.video_root),
            "num_chunks": plan.num_chunks,
            "launcher": plan.launcher.name,
            "limit": plan.limit,
            "debug": plan.debug,
            "engine": earlier.get("engine"),
        },
    )
    devices = [device.cuda_visible_devices or device.name for device in plan.devices]
    folder.write_json(folder.environment, describe_environment(devices))

"""One benchmark run: deal out the videos, let workers answer, merge what they wrote."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key, Prediction
from video_qa.results.predictions import answer_texts
from video_qa.results.results_csv import write_results_csv
from video_qa.results.run_folder import RunFolder
from video_qa.runner.devices import WorkerDevice
from video_qa.runner.environment import describe_environment
from video_qa.runner.shards import question_keys, shard, shard_stem, unfinished
from video_qa.runner.worker_pool import WorkerTask, run_workers
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
        tasks = [_task(plan, folder, num_workers, i) for i in range(num_workers)]
        num_answered = sum(key in answered for key in wanted)
        try:
            complaints = run_workers(tasks, len(wanted), num_answered, folder.lock_descriptor)
        finally:
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


def _task(plan: RunPlan, folder: RunFolder, num_workers: int, index: int) -> WorkerTask:
    device = plan.devices[index % len(plan.devices)]
    stem = shard_stem(num_workers, index)
    command = [sys.executable, str(WORKER_SCRIPT), f"--config={folder.config}"]
    command += [f"--num_chunks={num_workers}", f"--chunk_idx={index}"]
    command += [f"--device={device.name}", f"--runner_pid={os.getpid()}"]
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
            "anno_path": str(plan.anno_path),
            "video_root": None if plan.video_root is None else str(plan.video_root),
            "num_chunks": plan.num_chunks,
            "limit": plan.limit,
            "debug": plan.debug,
            "engine": earlier.get("engine"),
        },
    )
    devices = [device.cuda_visible_devices or device.name for device in plan.devices]
    folder.write_json(folder.environment, describe_environment(devices))

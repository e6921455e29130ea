"""A Slurm array job: one task per share of the videos, each with worker files of its own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import submitit
from tqdm import tqdm

from video_qa.launchers.launcher import LauncherError, Work
from video_qa.launchers.on_slurm.array_task import ArrayTask
from video_qa.launchers.on_slurm.job_marker import JobMarker, read_marker, remove_markers
from video_qa.launchers.on_slurm.job_script import (
    SlurmOptions,
    array_script,
    make_executor,
)
from video_qa.launchers.on_slurm.submitted import Ending, polls_of
from video_qa.runner.devices import CPU, DeviceError, WorkerDevice
from video_qa.runner.worker_pool import Worker, WorkerTask, follow, log_size, question_bar

POLL_SECONDS = 1.0
"""Of files only; submitit asks Slurm itself every few minutes."""


class SlurmLauncher:
    """The results folder has to lie on a file system that the nodes share."""

    name = "slurm"
    is_elsewhere = True

    def __init__(self, options: SlurmOptions, home: Path) -> None:
        """Raises LauncherError: --attach, but nothing to attach to."""
        # Where accounting is off it would say so again and again.
        logging.getLogger("submitit").setLevel(logging.ERROR)
        self._options, self._home = options, home.absolute()
        self._submitit_folder = self._home / "logs" / "slurm"
        self._num_gpus = 0
        self._marker = read_marker(home) if options.attach else None
        if options.attach and self._marker is None:
            raise LauncherError(
                f"no job was submitted for {home}, or its answers are collected already; leave "
                "--attach out"
            )

    def devices(self, requested: str | None, gpus_per_worker: int) -> Sequence[WorkerDevice]:
        if requested not in (None, "cpu", "cuda"):
            raise DeviceError(
                f"--devices {requested}: with --launcher slurm it is cpu or cuda (default); Slurm "
                "deals out the GPUs"
            )
        if requested == "cpu":
            return [CPU]
        self._num_gpus = gpus_per_worker
        return [WorkerDevice("cuda", "")]

    def num_workers(self, requested: int | None) -> int:
        return (requested or 1) if self._marker is None else len(self._marker.job_ids)

    def is_at_work(self) -> bool:
        return self._marker is not None

    def script(self, num_tasks: int) -> str:
        """What sbatch gets."""
        return array_script(self._submitit_folder, num_tasks, self._parameters())

    def run(self, work: Work) -> list[str]:
        folders = list(dict.fromkeys([work.folder, *work.runs.values()]))
        marker = self._marker
        sizes = [0 if marker else log_size(task) for task in work.tasks]
        marker, polls = (marker, polls_of(marker)) if marker else self._submit(work, folders)
        self._marker = marker
        workers = [
            Worker(task, poll, size)
            for task, poll, size in zip(work.tasks, polls, sizes, strict=True)
        ]
        try:
            with question_bar(work.num_questions, work.num_answered) as bar:
                complaints = follow(workers, bar, POLL_SECONDS)
        except KeyboardInterrupt:
            tqdm.write(
                f"job {marker.main_id} goes on without this command; --attach comes back to it, "
                f"scancel {marker.main_id} stops it"
            )
            raise
        self._marker = None
        remove_markers(folders)
        return complaints

    def _parameters(self) -> dict[str, Any]:
        return self._options.parameters(f"hermes-{self._home.name}", self._num_gpus)

    def _submit(
        self, work: Work, folders: Sequence[Path]
    ) -> tuple[JobMarker, list[Callable[[], Ending]]]:
        """Hand in the job; the folders say so before any of its tasks can start.

        Raises:
            LauncherError: there is no Slurm, or it refuses the job.
        """
        kind = self._options.executor
        for path in self._submitit_folder.glob("*.pkl"):  # of jobs that are collected
            path.unlink()
        executor = make_executor(kind, self._submitit_folder, self._parameters())
        JobMarker(str(self._submitit_folder), kind, ()).write(folders)
        try:
            with executor.batch():  # of which submitit makes one array
                jobs = [executor.submit(self._array_task(task)) for task in work.tasks]
        except (submitit.core.utils.FailedJobError, OSError) as error:
            remove_markers(folders)
            raise LauncherError(f"Slurm did not take the job: {str(error).strip()}") from error
        ids = tuple(job.job_id for job in jobs)
        marker = JobMarker(str(self._submitit_folder), kind, ids)
        marker.write(folders)
        tqdm.write(f"submitted: job {marker.main_id}, {len(ids)} task(s)")
        return marker, polls_of(marker, jobs)

    def _array_task(self, task: WorkerTask) -> ArrayTask:
        threads = {"OMP_NUM_THREADS": str(self._options.cpus_per_worker)}
        return ArrayTask(
            tuple(task.command),
            {} if "OMP_NUM_THREADS" in os.environ else threads,
            Path.cwd(),
            task.log_path.absolute(),
        )

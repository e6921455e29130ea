"""How the tasks of a submitted job are: asked of submitit's files, and of Slurm now and then."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import submitit

from video_qa.launchers.on_slurm.job_marker import JobMarker

Ending = int | str | None
"""A worker's exit code, or a word for how its task ended without one; None while it goes on."""
FINAL = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "REVOKED",
    "TIMEOUT",
}
"""States of Slurm after which a task that was not requeued does nothing more."""


def polls_of(marker: JobMarker, jobs: Sequence[Any] = ()) -> list[Callable[[], Ending]]:
    """A function per task that tells how it ended.

    Args:
        jobs: as submitit returned them, if this process submitted the job.
    """
    made = jobs or [_job(marker, job_id) for job_id in marker.job_ids]
    return [_remembered(job, STATES[marker.executor]) for job in made]


def _job(marker: JobMarker, job_id: str) -> Any:
    made = submitit.LocalJob if marker.executor == "local" else submitit.SlurmJob
    return made(folder=Path(marker.submitit_folder), job_id=job_id)


def _remembered(job: Any, state: Callable[[Any], str | None]) -> Callable[[], Ending]:
    found: list[int | str] = []

    def poll() -> Ending:
        if not found and (ending := _ending(job, state)) is not None:
            found.append(ending)
        return found[0] if found else None

    return poll


def _ending(job: Any, state: Callable[[Any], str | None]) -> Ending:
    is_debug = isinstance(job, submitit.DebugJob)
    if not is_debug and not job.paths.result_pickle.exists():
        return state(job)
    try:
        return int(job.result())
    except Exception as error:  # the task raised: requeued too often, a file it cannot write
        lines = [line for line in str(error).splitlines() if line.strip("- ")]
        return f"FAILED ({lines[-1] if lines else error!r})"


def _slurm_state(job: Any) -> str | None:
    words = job.state.split()  # such as "CANCELLED by 1000"
    return " ".join(words) if words and words[0] in FINAL else None


def _local_state(job: Any) -> str | None:
    """A trial's tasks are processes of this machine, and their ids are the jobs'."""
    if job._process is not None:
        job._process.poll()
    try:
        os.kill(int(job.job_id), 0)
    except ProcessLookupError:
        return None if job.paths.result_pickle.exists() else "KILLED"
    return None


STATES: dict[str, Callable[[Any], str | None]] = {
    "slurm": _slurm_state,
    "local": _local_state,
    "debug": lambda job: "LOST",
}

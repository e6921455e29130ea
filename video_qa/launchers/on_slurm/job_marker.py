"""`slurm.json`: which array job was submitted for a folder, as long as it is not collected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.whole_file import write_text
from video_qa.json_input.json_text import json_object
from video_qa.launchers.launcher import LauncherError

FILE_NAME = "slurm.json"


@dataclass(frozen=True)
class JobMarker:
    """A submitted job: submitit's folder and executor, and one job id per task.

    No ids: it was just being submitted, and the command that did so died.
    """

    submitit_folder: str
    executor: str
    job_ids: tuple[str, ...]

    @property
    def main_id(self) -> str:
        """What scancel wants to know."""
        return self.job_ids[0].partition("_")[0] if self.job_ids else "UNKNOWN (see squeue)"

    def write(self, folders: Iterable[Path]) -> None:
        """Mark folders as being written to by the job's tasks."""
        for folder in folders:
            write_text(folder / FILE_NAME, json.dumps(asdict(self), indent=2) + "\n")


def read_marker(folder: Path) -> JobMarker | None:
    """The job of a folder; None if there is none."""
    content = json_object(folder / FILE_NAME)
    if content is None:
        return None
    return JobMarker(content["submitit_folder"], content["executor"], tuple(content["job_ids"]))


def remove_markers(folders: Iterable[Path]) -> None:
    """The job is over and what it wrote can be merged."""
    for folder in folders:
        (folder / FILE_NAME).unlink(missing_ok=True)


def check_no_job(folder: Path) -> None:
    """Refuse a folder that tasks of a job may be writing to.

    Raises:
        LauncherError: names the job.
    """
    if (marker := read_marker(folder)) is not None:
        raise LauncherError(
            f"job {marker.main_id} was submitted for {folder} and may be writing there: follow it "
            "and collect its answers by the same command with --launcher slurm --attach (to stop "
            f"it first: scancel {marker.main_id})"
        )

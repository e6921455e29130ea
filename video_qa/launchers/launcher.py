"""What every launcher does: run these videos somewhere, store the answers, say what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from video_qa.launchers.recipe import Recipe
from video_qa.questions.annotations import Video
from video_qa.results.prediction import Key
from video_qa.runner.devices import WorkerDevice
from video_qa.runner.worker_pool import WorkerTask


class LauncherError(ValueError):
    """The work cannot be started, or not there; the message says what to do."""


@dataclass(frozen=True)
class Unit:
    """What is handed out at once: a video, and the runs that owe something about it."""

    video: Video
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Work:
    """Videos to be watched, told in two ways: every launcher takes the one that suits it.

    Attributes:
        folder: of the run or the comparison, for logs.
        tasks: the videos dealt out beforehand, one command each, for launchers whose workers are
            processes that write files of their own.
        recipe: opens what watches, in a worker that is handed one video after another.
        units: the videos for such workers, in the order in which they are handed out.
        runs: run id -> folder that the answers belong into.
        answered: run id -> answers stored already.
        num_questions, num_answered: for the progress bar; of all runs together.
        lock_descriptor: workers on this machine inherit the lock of the folder.
    """

    folder: Path
    tasks: Sequence[WorkerTask]
    recipe: Recipe
    units: Sequence[Unit]
    runs: Mapping[str, Path]
    answered: Mapping[str, Mapping[Key, str]]
    num_questions: int
    num_answered: int
    lock_descriptor: int


class Launcher(Protocol):
    """One of `local`, `ray`, `slurm`; made by `video_qa.launchers.choice.open_launcher`."""

    name: str
    is_elsewhere: bool
    """Videos and devices are those of other machines, so they cannot be looked for here."""

    def devices(self, requested: str | None, gpus_per_worker: int) -> Sequence[WorkerDevice]:
        """What workers compute on; the first one's name is part of the run's identity.

        Raises:
            LauncherError, DeviceError: there is no such device.
        """

    def num_workers(self, requested: int | None) -> int:
        """How many workers there will be at most.

        Raises:
            LauncherError: more were requested than there is room for.
        """

    def is_at_work(self) -> bool:
        """Whether workers of an earlier call are writing still; their files are to be left."""

    def run(self, work: Work) -> list[str]:
        """Do the work to its end; returns a complaint for each worker or video that failed.

        Answers lie in the runs' folders, as worker files that `RunFolder.merge_shards` merges.
        """

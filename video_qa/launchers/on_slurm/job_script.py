"""What the array job asks Slurm for, as submitit writes it into the script."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from video_qa.launchers.launcher import LauncherError

try:
    import submitit
    from submitit.slurm.slurm import _make_sbatch_string
except ImportError as error:
    raise LauncherError(
        f"--launcher slurm needs submitit ({error}): pip install '.[slurm]'"
    ) from error

DEFAULT_MINUTES = 60
MOST_REQUEUES = 1000
"""After a time limit; submitit wants a number. Preemption does not count."""
SIGNAL_SECONDS = 90
"""Before the time limit a task is told, so that it is requeued."""


@dataclass(frozen=True)
class SlurmOptions:
    """Options of `--launcher slurm`."""

    partition: str | None = None
    minutes: int = DEFAULT_MINUTES
    flags: Sequence[str] = ()
    cpus_per_worker: int = 1
    executor: str = "slurm"
    attach: bool = False

    @classmethod
    def among(cls, arguments: argparse.Namespace) -> SlurmOptions:
        """Those on the command line. Raises LauncherError."""
        flags = tuple(arguments.slurm_flag or ())
        if wrong := [flag for flag in flags if not flag.partition("=")[0].strip("-")]:
            raise LauncherError(f"--slurm_flag '{wrong[0]}': expected NAME=VALUE, or NAME alone")
        minutes = DEFAULT_MINUTES if arguments.slurm_minutes is None else arguments.slurm_minutes
        if minutes * 60 <= 2 * SIGNAL_SECONDS:
            raise LauncherError(f"--slurm_minutes must be more than {SIGNAL_SECONDS // 30}")
        return cls(
            arguments.slurm_partition,
            minutes,
            flags,
            arguments.cpus_per_worker or 1,
            arguments.slurm_executor or "slurm",
            bool(arguments.attach),
        )

    def parameters(self, name: str, num_gpus: int) -> dict[str, Any]:
        """Keyword arguments of submitit's Slurm executor."""
        more: dict[str, str | bool] = {"requeue": True}
        for flag in self.flags:
            key, sign, value = flag.lstrip("-").partition("=")
            more[key] = value if sign else True
        found: dict[str, Any] = {
            "job_name": name,
            "time": self.minutes,
            "cpus_per_task": self.cpus_per_worker,
            "signal_delay_s": SIGNAL_SECONDS,
            "stderr_to_stdout": True,
            "additional_parameters": more,
        }
        found |= {"partition": self.partition} if self.partition else {}
        return found | ({"gpus_per_node": num_gpus} if num_gpus else {})


def array_script(folder: Path, num_tasks: int, parameters: dict[str, Any]) -> str:
    """The script that `submit` hands to sbatch."""
    python, where = shlex.quote(sys.executable), shlex.quote(str(folder))
    command = f"{python} -u -m submitit.core._submit {where}"
    count = num_tasks if num_tasks > 1 else None
    return str(_make_sbatch_string(command=command, folder=folder, map_count=count, **parameters))


def make_executor(kind: str, folder: Path, parameters: dict[str, Any]) -> Any:
    """A submitit executor. Raises LauncherError where Slurm is not there."""
    if kind == "debug":
        return submitit.DebugExecutor(folder)
    if kind == "local":
        executor = submitit.LocalExecutor(folder, max_num_timeout=MOST_REQUEUES)
        executor.update_parameters(timeout_min=parameters["time"])
        return executor
    try:
        slurm = submitit.SlurmExecutor(folder, max_num_timeout=MOST_REQUEUES)
    except RuntimeError as error:
        raise LauncherError(
            f"no Slurm on this machine ({error}); submit from a login node, or look at the script "
            "with --dry_run"
        ) from None
    slurm.update_parameters(**parameters)
    return slurm

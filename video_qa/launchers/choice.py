"""`--launcher` and what belongs to it: arguments, and the launcher they choose."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from video_qa.launchers.launcher import Launcher, LauncherError
from video_qa.launchers.local import LocalLauncher

ONLY_WITH = {
    "ray_address": ("ray",),
    "cpus_per_worker": ("ray", "slurm"),
    "slurm_partition": ("slurm",),
    "slurm_minutes": ("slurm",),
    "slurm_flag": ("slurm",),
    "slurm_executor": ("slurm",),
    "attach": ("slurm",),
    "dry_run": ("slurm",),
}
"""Argument -> launchers that know it."""


def add_launcher_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that runs workers."""
    add = parser.add_argument_group("where workers run (docs/cluster.md)").add_argument
    add(
        "--launcher",
        choices=tuple(LAUNCHERS),
        default="local",
        help="processes of this machine, actors of a Ray cluster, or a Slurm array job "
        "(default: %(default)s)",
    )
    ray_help = "Ray cluster: auto (this machine's; default), local (one of its own) or HOST:PORT"
    add("--ray_address", metavar="ADDRESS", help=ray_help)
    add("--cpus_per_worker", type=int, help="CPUs that a worker elsewhere gets (default: 1)")
    add("--slurm_partition", metavar="NAME", help="partition of the array job")
    add("--slurm_minutes", type=int, help="time limit of a task; then it is requeued (default: 60)")
    add(
        "--slurm_flag",
        metavar="NAME=VALUE",
        action="append",
        help="any other option of sbatch, e.g. account=lab; may be repeated",
    )
    add(
        "--slurm_executor",
        choices=("slurm", "local", "debug"),
        help="submitit's executor: slurm (default), or without Slurm and for trials local, debug",
    )
    attach_help = "follow the array job that was submitted for this folder, and finish the run"
    add("--attach", action="store_true", default=None, help=attach_help)
    script_help = "print the array job's script and submit nothing"
    add("--dry_run", action="store_true", default=None, help=script_help)


@contextmanager
def open_launcher(arguments: argparse.Namespace, home: Path) -> Iterator[Launcher]:
    """The launcher that the arguments choose, for as long as it is used.

    Args:
        home: folder of the run or the comparison.

    Raises:
        LauncherError: an option of another launcher, a missing extra, no cluster.
    """
    name = arguments.launcher
    given = [option for option in ONLY_WITH if getattr(arguments, option) is not None]
    if wrong := [option for option in given if name not in ONLY_WITH[option]]:
        known = " or ".join(ONLY_WITH[wrong[0]])
        raise LauncherError(f"--{wrong[0]} belongs to --launcher {known}, not to {name}")
    if arguments.cpus_per_worker is not None and arguments.cpus_per_worker < 1:
        raise LauncherError(
            f"--cpus_per_worker must be at least 1, got {arguments.cpus_per_worker}"
        )
    if arguments.attach and arguments.overwrite:
        raise LauncherError(
            "--attach collects what a job wrote, --overwrite throws it away: choose"
        )
    with LAUNCHERS[name](arguments, home) as launcher:
        yield launcher


def job_script(launcher: Launcher, num_tasks: int) -> str:
    """What --dry_run prints; `open_launcher` lets it through with --launcher slurm only."""
    from video_qa.launchers.on_slurm.slurm_launcher import SlurmLauncher

    assert isinstance(launcher, SlurmLauncher)
    return launcher.script(num_tasks)


def _local(arguments: argparse.Namespace, home: Path) -> AbstractContextManager[Launcher]:
    return nullcontext(LocalLauncher())


def _ray(arguments: argparse.Namespace, home: Path) -> AbstractContextManager[Launcher]:
    from video_qa.launchers.on_ray.ray_launcher import open_ray  # needs the extra

    return open_ray(arguments.ray_address or "auto", arguments.cpus_per_worker or 1)


def _slurm(arguments: argparse.Namespace, home: Path) -> AbstractContextManager[Launcher]:
    from video_qa.launchers.on_slurm.job_script import SlurmOptions
    from video_qa.launchers.on_slurm.slurm_launcher import SlurmLauncher  # needs the extra

    return nullcontext(SlurmLauncher(SlurmOptions.among(arguments), home))


Opened = Callable[[argparse.Namespace, Path], AbstractContextManager[Launcher]]
LAUNCHERS: dict[str, Opened] = {"local": _local, "ray": _ray, "slurm": _slurm}

"""One task of the array: a worker's command, run again from where it was when it is requeued."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGNALS = (signal.SIGUSR2, signal.SIGTERM, signal.SIGCONT)
"""With which Slurm announces that it will stop a task."""


@dataclass(frozen=True)
class ArrayTask:
    """Runs a command to its end; returns its exit code.

    The worker's own file says what is done, so a task that is requeued is the same task.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    log_path: Path

    def __call__(self) -> int:
        with self.log_path.open("ab") as log:
            return subprocess.run(
                [*self.command, f"--runner_pid={os.getpid()}"],
                cwd=self.directory,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_ignore_announcements,
                check=False,
            ).returncode

    def checkpoint(self) -> Any:
        """What submitit submits again after a time limit or a preemption."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


def _ignore_announcements() -> None:
    """Slurm signals every process of a task; the worker goes on until its parent has requeued.

    Were it to die of the signal, its parent would take that for the end of the task.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

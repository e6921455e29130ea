"""Workers end with the runner that started them, however it ended."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with(runner_pid: int) -> None:
    """Arrange that this process is killed when its parent ``runner_pid`` dies (Linux).

    A runner killed by SIGKILL cannot stop its workers; left alone they would write on while a
    second run starts in the same folder. Predictions are on the disk after each question, so a
    kill loses nothing that was answered.

    Raises:
        SystemExit: the runner is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner_pid:
        raise SystemExit("the runner that started this worker is gone")

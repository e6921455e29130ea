"""How a command that can be continued ends: exit codes, and SIGTERM treated as Ctrl-C."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eval.whole_file import REMEDY

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM raises KeyboardInterrupt: workers are stopped, answers are kept."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def exit_code(command: Callable[[], int]) -> int:
    """What `command` returns; 2 with a message if it cannot be carried out, 130 if stopped."""
    try:
        with termination_as_interrupt():
            return command()
    except (ValueError, OSError) as error:
        remedy = f"; {REMEDY}" if getattr(error, "errno", None) in DISK_FULL else ""
        print(f"error: {error}{remedy}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130

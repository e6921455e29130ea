"""Worker processes: start them, show their progress, see how they end, stop them."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from video_qa.runner.shards import SOME_QUESTIONS_FAILED

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
STOP_SECONDS = 10.0
FILE_INTERVAL_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerTask:
    """What one worker is to do: command, additions to the environment, and its two files."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    predictions_path: Path
    log_path: Path


class Worker:
    """A started worker. ``new_lines`` counts predictions written since the last call.

    Args:
        poll: its exit code (a signal's number with a minus), or how it ended in words; None while
            it runs.
        log_start_bytes: where its own part of the log begins.
    """

    def __init__(
        self, task: WorkerTask, poll: Callable[[], int | str | None], log_start_bytes: int = 0
    ) -> None:
        self.task, self.poll = task, poll
        self._offset_bytes = 0
        self._log_start_bytes = log_start_bytes

    def new_lines(self) -> int:
        try:
            with self.task.predictions_path.open("rb") as file:
                file.seek(self._offset_bytes)
                content = file.read()
        except FileNotFoundError:
            return 0
        self._offset_bytes += len(content)
        return content.count(b"\n")

    def complaint(self) -> str | None:
        """How the worker failed; None while it runs and when it did its work."""
        code = self.poll()
        if code is None or code in (0, SOME_QUESTIONS_FAILED):
            return None
        if isinstance(code, str):
            ended = f"ended as {code}"
        else:
            ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"worker {self.task.name} {ended}: {self._last_words()}"

    def _last_words(self) -> str:
        """The worker's own error message if there is one, else the last line of its log."""
        if not self.task.log_path.exists():
            return "it wrote nothing"
        content = self.task.log_path.read_bytes()[self._log_start_bytes :]
        lines = content.decode(errors="replace").strip().splitlines()
        errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        return " ".join(lines[errors[-1] if errors else -1 :]) or "it wrote nothing"


def run_workers(
    tasks: Sequence[WorkerTask], num_questions: int, num_answered: int, lock_descriptor: int
) -> list[str]:
    """Run all workers to their end, one progress bar over questions for all of them.

    Returns one complaint for each worker that failed. However this function is left, no worker
    outlives it.
    """
    with (
        question_bar(num_questions, num_answered) as bar,
        _started(tasks, lock_descriptor) as workers,
    ):
        return follow(workers, bar, POLL_SECONDS)


def question_bar(num_questions: int, num_answered: int) -> tqdm[Any]:
    """The progress bar over questions, whoever answers them."""
    return tqdm(
        total=num_questions,
        initial=num_answered,
        unit="question",
        desc="Questions",
        # In a file, one line now and then is enough.
        mininterval=0.1 if sys.stderr.isatty() else FILE_INTERVAL_SECONDS,
    )


def follow(workers: Sequence[Worker], bar: tqdm[Any], poll_seconds: float) -> list[str]:
    """Show progress until all workers have ended; one complaint for each that failed."""
    running = list(workers)
    while running:
        time.sleep(poll_seconds)
        ended = [worker for worker in running if worker.poll() is not None]
        bar.update(sum(worker.new_lines() for worker in running))
        if sys.stderr.isatty():
            bar.refresh()  # the clock runs on between answers
        for worker in ended:
            running.remove(worker)
            if (complaint := worker.complaint()) is not None:
                tqdm.write(f"{complaint} (log: {worker.task.log_path})")
    return [complaint for worker in workers if (complaint := worker.complaint()) is not None]


def log_size(task: WorkerTask) -> int:
    """Bytes that earlier runs left in the worker's log."""
    return task.log_path.stat().st_size if task.log_path.exists() else 0


@contextmanager
def _started(tasks: Sequence[WorkerTask], lock_descriptor: int) -> Iterator[list[Worker]]:
    processes: list[subprocess.Popen[bytes]] = []
    workers: list[Worker] = []
    try:
        for task in tasks:
            log_start_bytes = log_size(task)
            processes.append(_start(task, lock_descriptor))
            workers.append(Worker(task, processes[-1].poll, log_start_bytes))
        yield workers
    finally:
        _stop([process for process in processes if process.poll() is None])


def _start(task: WorkerTask, lock_descriptor: int) -> subprocess.Popen[bytes]:
    command = [*task.command, f"--runner_pid={os.getpid()}"]
    tqdm.write(f"exec: {shlex.join(command)}")
    with task.log_path.open("ab") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, **task.environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=(lock_descriptor,),
            start_new_session=True,  # Ctrl-C reaches the runner alone, which then stops them all
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

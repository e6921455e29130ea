"""A run that dies, or finds the disk full, at any file operation, and what it leaves in the end."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from runner_helpers import choice, fake_arguments, rows, table, videos_with

from video_qa import hermes_vqa
from video_qa.launchers import local
from video_qa.results.run_folder import MARKER
from video_qa.run_infer import main
from video_qa.runner import benchmark_run

TALK = [choice(f"q{i}", 5.0 * (i + 1), task="Counting") for i in range(2)]
WATCHED_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.truncate"}
DIED = 9
STRIDE = int(os.environ.get("HERMES_KILL_STRIDE", "7"))
"""Every how many-th operation is tried; 1 takes a minute."""


def workers_inside(tasks: list[benchmark_run.WorkerTask], *_: object) -> list[str]:
    """All in one process, so that a death at one operation ends them all, as a power cut does."""
    for task in tasks:
        task.log_path.touch()
        hermes_vqa.main([part for part in task.command[2:] if "runner_pid" not in part])
    return []


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    monkeypatch.setattr(local, "run_workers", workers_inside)
    monkeypatch.setattr(benchmark_run, "describe_environment", lambda devices: {"devices": devices})
    anno_path = videos_with(tmp_path, [TALK, TALK], num_frames=12)
    return [*fake_arguments(tmp_path, anno_path), "--dataset=streamingbench", "--num_chunks=2"]


def die_at(folder: Path, operation: int) -> None:
    """End this process just before its `operation`-th change of a file below `folder`."""

    def act(event: str, path: str, count: int) -> None:
        if count == operation:
            os._exit(DIED)

    watch_changes(folder, act)


def fill_disk_at(folder: Path, operation: int) -> None:
    """From the `operation`-th change below `folder` on, files can be removed but not made."""

    def act(event: str, path: str, count: int) -> None:
        if count >= operation and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    watch_changes(folder, act)


def watch_changes(folder: Path, act: Callable[[str, str, int], None]) -> None:
    """Call `act(event, path, number of changes so far)` before every change below `folder`."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if event not in WATCHED_EVENTS and not writes:
            return
        if str(arguments[0]).startswith(str(folder)):
            count += 1
            act(event, str(arguments[0]), count)

    sys.addaudithook(watch)


def run(command: list[str], out: Path, prepare: Callable[[], None] = lambda: None) -> int | None:
    """Exit code of the command in a process of its own, which `prepare` makes fail."""

    def target() -> None:
        prepare()
        os._exit(main([*command, f"--save_dir={out}"]))

    process = get_context("fork").Process(target=target)
    process.start()
    process.join(60)
    return process.exitcode


def files(folder: Path) -> set[str]:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith("logs/")}


def answers(folder: Path) -> list[str]:
    return [row["prediction"] for row in rows(folder / "predictions.jsonl")]


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
@pytest.mark.parametrize("more", [[], ["--overwrite"]])
def test_a_run_completed_after_any_death_leaves_what_an_undisturbed_one_leaves(
    tmp_path: Path, command: list[str], more: list[str]
) -> None:
    whole = tmp_path / "whole"
    assert run(command, whole) == 0
    assert {MARKER, "results.csv", "metrics.json"} <= files(whole)
    operation, died = 1 - STRIDE, True
    while died:
        operation += STRIDE
        out = tmp_path / f"out{operation}"
        if more:  # over the results of an earlier run
            shutil.copytree(whole, out)
        died = run([*command, *more], out, partial(die_at, out, operation)) == DIED
        assert run(command, out) == 0, operation
        assert files(out) == files(whole), operation
        assert table(out / "results.csv").equals(table(whole / "results.csv"))
        assert answers(out) == answers(whole), operation
        assert json.loads((out / "config.json").read_text())["engine"] is not None, operation
    assert operation > 30  # the last one was not reached


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_disk_that_is_full_at_any_time_is_named_with_a_remedy_and_costs_nothing(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    assert run(command, whole) == 0
    operation, code = 1 - STRIDE, None
    while code != 0:
        operation += STRIDE
        out = tmp_path / f"out{operation}"
        capfd.readouterr()
        code = run(command, out, partial(fill_disk_at, out, operation))
        said = capfd.readouterr().err
        if code != 0:
            assert code in (1, 2) and "Traceback" not in said, operation
            assert str(out) in said and "No space left" in said, operation
            assert "make room" in said or "choose another" in said, operation
        assert run(command, out) == 0, operation
        assert files(out) == files(whole) and answers(out) == answers(whole), operation
    assert operation > 30  # the last one was not reached


def test_what_a_process_killed_while_writing_left_is_removed(
    tmp_path: Path, command: list[str]
) -> None:
    out = tmp_path / "out"
    assert main([*command, f"--save_dir={out}"]) == 0
    before = files(out)
    (out / "tmp/verdicts").mkdir(parents=True)
    own = "0123456789abcdef" * 2
    for name in (f".config.json.{own}.tmp", f"tmp/verdicts/.k.json.{own}.tmp"):
        (out / name).touch()
    (out / "mine.tmp").touch()
    assert main([*command, f"--save_dir={out}"]) == 0
    assert files(out) == before | {"mine.tmp"}

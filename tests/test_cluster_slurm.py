"""Array jobs: submitit's own executors, and the real script under programs that stand for Slurm."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_helpers import choice, fake_arguments, rows, run_worker, videos_with

from video_qa.launchers.on_slurm.array_task import ArrayTask
from video_qa.run_infer import main

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[1]
SBATCH = """#!/bin/bash
cp "$1" {folder}/submitted.sh
[ -z "$REFUSE" ] || { echo "sbatch: error: invalid partition" >&2; exit 1; }
job=$(cat {folder}/job.txt 2> /dev/null || echo 77)
echo "Submitted batch job $job"
if grep -q "^#SBATCH --array=" "$1"; then
    for i in 0 1; do
        [ -e {folder}/skip$i ] && continue
        SLURM_JOB_ID=$((80 + i)) SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$i \\
            setsid bash "$1" > /dev/null 2>&1 &
    done
else
    SLURM_JOB_ID=$job setsid bash "$1" > /dev/null 2>&1 &
fi
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do [[ "$1" == --output ]] && shift; shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
cat {folder}/states.txt 2> /dev/null
"""


@pytest.fixture(autouse=True)
def fake_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    yield
    (tmp_path / "go").touch()  # a job outlives a test that fails


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs named as Slurm's that run the tasks of an array on this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (programs / name).write_text(text.replace("{folder}", str(tmp_path)))
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return tmp_path


def talk(mark: str = "", at: int = 1) -> list[dict[str, Any]]:
    return [choice(f"q{i} {mark * (i == at)}".strip(), 5.0 * (i + 1)) for i in range(3)]


def command(tmp_path: Path, anno_path: Path, *more: str) -> list[str]:
    shared = [*fake_arguments(tmp_path, anno_path), f"--save_dir={tmp_path / 'out'}"]
    return [*shared, "--dataset=streamingbench", "--launcher=slurm", "--num_chunks=2", *more]


def check_rows(tmp_path: Path, anno_path: Path) -> None:
    alone = tmp_path / "alone"
    assert run_worker(tmp_path, anno_path, alone, "--streaming") == 0
    assert rows(tmp_path / "out/predictions.jsonl") == rows(alone / "1_0.jsonl")
    assert (tmp_path / "out/results.csv").read_bytes() == (alone / "1_0.csv").read_bytes()
    assert not list((tmp_path / "out").glob("[0-9]*"))
    assert not (tmp_path / "out/slurm.json").exists()


def asked(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "asked.txt").read_text().splitlines())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def test_a_requeued_task_continues_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [talk("[requeue]"), talk(), talk()])
    assert main(command(tmp_path, anno_path, "--slurm_executor=local")) == 0
    counts = asked(tmp_path)
    assert counts["q1 [requeue]"] == 2 and counts.total() == 3 * 3 + 1
    said = capfd.readouterr()
    assert "9 questions answered" in said.out and "9/9" in said.err
    check_rows(tmp_path, anno_path)


def test_a_worker_does_not_die_of_what_tells_its_task_to_requeue(tmp_path: Path) -> None:
    """Slurm signals all processes of a task, and a dead worker would look like a failed one."""
    raised = "import signal; [signal.raise_signal(n) for n in (signal.SIGUSR2, signal.SIGTERM)]"
    command = (sys.executable, "-c", f"{raised}; print('alive')")
    task = ArrayTask(command, {}, tmp_path, tmp_path / "log.txt")
    assert task() == 0
    assert (tmp_path / "log.txt").read_text() == "alive\n"


def test_the_runner_may_be_left_and_come_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [talk("[hold]"), talk(), talk()])
    arguments = command(tmp_path, anno_path, "--slurm_executor=local")
    script = [sys.executable, str(ROOT / "video_qa/run_infer.py"), *arguments]
    with (tmp_path / "said.txt").open("w") as file:  # a pipe would stay open as long as the job
        runner = subprocess.Popen(script, cwd=tmp_path, stdout=file, stderr=file)
    try:
        for written in ("hold.done", "out/slurm.json", "out/2_1.jsonl"):
            wait_for(tmp_path / written)
        runner.send_signal(signal.SIGINT)
        assert runner.wait(30) == 130
    finally:
        runner.kill()
    said = (tmp_path / "said.txt").read_text()
    job = json.loads((tmp_path / "out/slurm.json").read_text())["job_ids"][0]
    assert f"job {job} goes on without this command; --attach comes back to it" in said
    local = [part for part in arguments if "slurm" not in part]
    for other in (arguments, [*arguments, "--overwrite"], local, [*local, "--overwrite"]):
        assert main(other) == 2
        assert f"job {job} was submitted for {tmp_path / 'out'}" in capfd.readouterr().err
    assert (tmp_path / "out/2_1.jsonl").exists(), "the files of the tasks are left alone"

    (tmp_path / "go").touch()
    assert main([*arguments, "--attach"]) == 0
    assert asked(tmp_path).total() == 9
    check_rows(tmp_path, anno_path)
    assert main([*arguments, "--attach"]) == 2
    assert "no job was submitted for" in capfd.readouterr().err


def test_a_worker_that_fails_is_quoted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    anno_path = videos_with(tmp_path, [talk("[die]"), talk()])
    assert main(command(tmp_path, anno_path, "--slurm_executor=debug")) == 1
    said = capfd.readouterr().err
    assert "FAILED: worker 2_0 was killed by signal 9" in said
    assert "2 questions were not reached" in said
    assert len(rows(tmp_path / "out/predictions.jsonl")) == 4


def test_tasks_of_an_array_write_files_of_their_own(
    slurm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(slurm, [talk("[hold]"), talk("[hold]"), talk()])
    arguments = command(slurm, anno_path, "--slurm_partition=a100", "--slurm_flag=account=my lab")
    assert main([*arguments, "--dry_run"]) == 0
    script = capfd.readouterr().out
    assert not (slurm / "out").exists(), "a dry run leaves nothing"
    (slurm / "job.sh").write_text(script)
    subprocess.run(["bash", "-n", str(slurm / "job.sh")], check=True)
    for option in ("array=0-1%2", "partition=a100", "time=60", "requeue", "account='my lab'"):
        assert re.search(rf"^#SBATCH --{re.escape(option)}$", script, re.M), option
    assert "gpus" not in script

    (slurm / "go").touch()
    assert main(arguments) == 0
    assert (slurm / "submitted.sh").read_text().strip() == script.strip()
    assert asked(slurm).total() == 9
    check_rows(slurm, anno_path)


def test_a_task_that_ends_without_a_word_is_reported_and_continued(
    slurm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(slurm, [talk("[kill]"), talk()])
    (slurm / "skip1").touch()
    (slurm / "states.txt").write_text("77_0|RUNNING|n1\n77_1|CANCELLED by 0|n1\n")
    assert main(command(slurm, anno_path)) == 1
    said = capfd.readouterr().err
    assert "FAILED: worker 2_0 was killed by signal 9" in said
    assert "FAILED: worker 2_1 ended as CANCELLED by 0: it wrote nothing" in said
    assert len(rows(slurm / "out/predictions.jsonl")) == 1
    (slurm / "skip1").unlink()
    (slurm / "job.txt").write_text("91")
    assert main(command(slurm, anno_path)) == 0
    assert asked(slurm).total() == 6 + 1
    check_rows(slurm, anno_path)


def test_a_job_that_slurm_refuses_leaves_no_trace(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(slurm, [talk(), talk()])
    monkeypatch.setenv("REFUSE", "1")
    assert main(command(slurm, anno_path)) == 2
    assert "Slurm did not take the job: " in (said := capfd.readouterr().err)
    assert "invalid partition" in said
    assert not (slurm / "out/slurm.json").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], "no Slurm on this machine"),
        (["--slurm_minutes=3"], "--slurm_minutes must be more than 3"),
        (["--slurm_flag==x"], "--slurm_flag '=x': expected NAME=VALUE"),
        (["--attach"], "no job was submitted for"),
        (["--attach", "--overwrite"], "--attach collects what a job wrote"),
        (["--device=0,1"], "with --launcher slurm it is cpu or cuda"),
        (["--ray_address=auto"], "--ray_address belongs to --launcher ray, not to slurm"),
        (["--launcher=local", "--dry_run"], "--dry_run belongs to --launcher slurm, not to local"),
    ],
)
def test_bad_options_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    more: list[str],
    expected: str,
) -> None:
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    anno_path = videos_with(tmp_path, [talk()])
    assert main(command(tmp_path, anno_path, *more)) == 2
    assert expected in capfd.readouterr().err
    assert not (tmp_path / "asked.txt").exists()


def test_gpus_are_asked_for_unless_the_device_is_the_cpu(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [talk(), talk()])
    on_gpu = [part for part in command(tmp_path, anno_path, "--dry_run") if "device" not in part]
    assert main(on_gpu) == 0
    assert "#SBATCH --gpus-per-node=1\n" in capfd.readouterr().out

r"""`--launcher slurm` on a real Slurm: one node, this machine, nothing installed.

    python scripts/slurm_check.py

Downloads Debian's packages of Slurm (apt-get download), unpacks them into a temporary folder, runs
slurmctld and slurmd there (as root, without authentication, so on a machine of one's own), submits
an array job with the fake engine of the tests, kills the runner, has a task requeued in the middle
of a question, comes back with --attach and compares the rows with those of one process. Exit code
0: they are the same, and no question was asked twice but the one in flight.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins libmunge2 libhwloc15 liblua5.1-0"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
CONFIGURATION = """
ClusterName=check
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
PluginDir={unpacked}/{libraries}/slurm-wlm
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SchedulerType=sched/builtin
SelectType=select/cons_res
SelectTypeParameters=CR_Core
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort=16817
SlurmdPort=16818
NodeName={host} CPUs={num_cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def unpack(folder: Path) -> Path:
    """Debian's packages, unpacked below `folder`."""
    unpacked = folder / "unpacked"
    subprocess.run(["apt-get", "download", "-q", *PACKAGES.split()], cwd=folder, check=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
    return unpacked


@contextlib.contextmanager
def daemons(folder: Path, unpacked: Path) -> Iterator[None]:
    """Inside, Slurm runs and its commands are on PATH."""
    host = socket.gethostname().partition(".")[0]
    names = {"host": host, "unpacked": unpacked, "libraries": LIBRARIES, "folder": folder}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**names, num_cpus=os.cpu_count()))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    libraries = unpacked / LIBRARIES
    os.environ |= {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'slurm-wlm'}",
        "PATH": f"{unpacked / 'usr/bin'}:{os.environ['PATH']}",
    }
    programs = unpacked / "usr/sbin"
    commands = [[f"{programs}/slurmctld-wlm", "-D"]]
    commands.append(
        [f"{programs}/slurmd-wlm", "-D", "-N", host, "-d", f"{programs}/slurmstepd-wlm"]
    )
    log = (folder / "daemons.log").open("w")
    running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    try:
        wait_until("the node is there", lambda: "idle" in asked("sinfo", "-h"))
        yield
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def asked(*command: str) -> str:
    """What a command prints; nothing if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def wait_until(what: str, is_true: Callable[[], bool], patience_seconds: float = 60) -> None:
    """Look again and again. Raises TimeoutError."""
    deadline = time.monotonic() + patience_seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_seconds:.0f} s: {what}")
        time.sleep(0.3)


def check(folder: Path) -> None:
    """Run, kill, requeue, attach, compare. Raises AssertionError."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from runner_helpers import choice, fake_arguments, rows, run_worker, videos_with

    os.environ["HERMES_FAKE_FOLDER"] = str(folder)
    talks = [[choice(f"q{i} of {v}", 5.0 * (i + 1)) for i in range(3)] for v in range(4)]
    talks[0][1]["question"] += " [hold]"
    anno_path = videos_with(folder, talks)
    command = [sys.executable, str(ROOT / "video_qa/run_infer.py"), "--num_chunks=2"]
    command += [*fake_arguments(folder, anno_path), f"--save_dir={folder / 'out'}"]
    command += ["--dataset=streamingbench", "--launcher=slurm"]
    runner = subprocess.Popen(command)
    wait_until("a task is in a question", (folder / "hold.done").exists)
    runner.kill()
    runner.wait()
    print("runner killed; a task is told that it will be stopped")
    task = asked("squeue", "-h", "-o", "%i").split()[0]
    subprocess.run(["scancel", "--signal", "USR2", task], check=True)
    wait_until("the task is requeued", lambda: "PENDING" in asked("squeue", "-h", "-o", "%T"))
    # Slurm lets a requeued task wait for two minutes.
    subprocess.run(["scontrol", "update", f"JobId={task}", "StartTime=now"], check=True)
    subprocess.run([*command, "--attach"], check=True)
    assert run_worker(folder, anno_path, folder / "alone", "--streaming") == 0
    assert rows(folder / "out/predictions.jsonl") == rows(folder / "alone/1_0.jsonl")
    questions = (folder / "asked.txt").read_text().splitlines()[: -3 * len(talks)]
    twice = sorted(q for q in set(questions) if questions.count(q) > 1)
    assert twice == ["q1 of 0 [hold]"] and len(questions) == 3 * len(talks) + 1, questions
    print(f"ok: {3 * len(talks)} rows as from one process; asked twice: {twice[0]}")


def main() -> int:
    """Everything in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with daemons(folder, unpack(folder)):
            print(asked("sinfo", "--version").strip(), asked("sinfo"), sep="\n")
            check(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs on a real Ray cluster of several raylets on this machine, with the fake engine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_helpers import choice, fake_arguments, rows, run_worker, videos_with

from video_qa.run_infer import main

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[1]
ENGINE = "--engine=tests.fake_engine:load_beside"
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
"""So that a node that is gone is noticed within two seconds."""
NUM_NODES = 3


class LocalCluster:
    """A head without CPUs for the runner, and nodes of one CPU each."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder, self.num_started = folder, 0
        head = {"num_cpus": 0, "_system_config": QUICK}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(NUM_NODES):
            self.add()

    @property
    def address(self) -> str:
        return f"--ray_address={self.cluster.address}"

    def add(self, **environment: str) -> Any:
        """A node; `$NODE_VIDEOS` is a folder of its own."""
        videos = self.folder / f"node{self.num_started}"
        videos.mkdir()
        self.num_started += 1
        node = self.cluster.add_node(env_vars={"NODE_VIDEOS": str(videos)} | environment)
        node.videos = videos
        return node

    def restore(self) -> None:
        """As many nodes as at the start, whatever a test did to them."""
        for node in list(self.cluster.worker_nodes):
            if node.dead_processes():
                self.cluster.remove_node(node, allow_graceful=False)
        while len(self.cluster.worker_nodes) < NUM_NODES:
            self.add()


@pytest.fixture(scope="module")
def module_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    started = LocalCluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.cluster.shutdown()


@pytest.fixture
def cluster(module_cluster: LocalCluster) -> LocalCluster:
    module_cluster.restore()
    return module_cluster


@pytest.fixture(autouse=True)
def fake_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def talk(mark: str = "", at: int = 1) -> list[dict[str, Any]]:
    return [choice(f"q{i} {mark * (i == at)}".strip(), 5.0 * (i + 1)) for i in range(3)]


def command(tmp_path: Path, anno_path: Path, *more: str) -> list[str]:
    shared = [*fake_arguments(tmp_path, anno_path), ENGINE, f"--save_dir={tmp_path / 'out'}"]
    return [*shared, "--dataset=streamingbench", "--launcher=ray", *more]


def check_rows(tmp_path: Path, anno_path: Path) -> None:
    """What lies in the folder is what one process would have made of it."""
    alone = tmp_path / "alone"
    assert run_worker(tmp_path, anno_path, alone, ENGINE, "--streaming") == 0
    assert rows(tmp_path / "out/predictions.jsonl") == rows(alone / "1_0.jsonl")
    assert (tmp_path / "out/results.csv").read_bytes() == (alone / "1_0.csv").read_bytes()
    assert not list((tmp_path / "out").glob("[0-9]*"))


def asked(tmp_path: Path) -> Counter[str]:
    return Counter((tmp_path / "asked.txt").read_text().splitlines())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def test_killed_workers_and_a_killed_node_cost_the_question_in_flight(
    tmp_path: Path, cluster: LocalCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    marks = ["", "[kill]", "", "[raylet]", "", ""]
    anno_path = videos_with(tmp_path, [talk(mark) for mark in marks])
    assert main(command(tmp_path, anno_path, cluster.address)) == 0
    counts = asked(tmp_path)
    assert counts["q1 [kill]"] == counts["q1 [raylet]"] == 2
    assert counts.total() == 3 * len(marks) + 2
    check_rows(tmp_path, anno_path)
    said = capfd.readouterr()
    assert (
        said.err.count("its video is handed out again")
        + said.out.count("its video is handed out again")
        == 2
    )
    assert "18 questions answered" in said.out and "18/18" in said.err


def test_a_killed_runner_is_continued(tmp_path: Path, cluster: LocalCluster) -> None:
    anno_path = videos_with(tmp_path, [talk(), talk("[wait]"), talk()])
    arguments = command(tmp_path, anno_path, cluster.address, "--num_chunks=1")
    script = [sys.executable, str(ROOT / "video_qa/run_infer.py"), *arguments]
    runner = subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        wait_for(tmp_path / "wait.done")
    finally:
        runner.kill()
        runner.communicate()
    assert len(rows(tmp_path / "out/1_0.jsonl")) == 4
    assert main(arguments) == 0
    counts = asked(tmp_path)
    assert counts["q1 [wait]"] == 2 and counts.total() == 3 * 3 + 1
    check_rows(tmp_path, anno_path)


def test_a_stopped_runner_says_how_to_go_on(tmp_path: Path, cluster: LocalCluster) -> None:
    """By SIGTERM, for which Ray has a handler of its own that just exits."""
    anno_path = videos_with(tmp_path, [talk("[wait]", at=1)])
    arguments = command(tmp_path, anno_path, cluster.address)
    script = [sys.executable, str(ROOT / "video_qa/run_infer.py"), *arguments]
    runner = subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        wait_for(tmp_path / "wait.done")
        runner.send_signal(signal.SIGTERM)
        said = runner.communicate(timeout=30)[1].decode()
    finally:
        runner.kill()
    assert runner.returncode == 130 and "the same command continues" in said
    assert [row["question"] for row in rows(tmp_path / "out/predictions.jsonl")] == ["q0"]


def test_a_video_that_kills_every_worker_is_given_up(
    tmp_path: Path,
    cluster: LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("video_qa.launchers.desk.MAX_DEATHS", 2)
    anno_path = videos_with(tmp_path, [talk("[die]"), talk(), talk()])
    assert main(command(tmp_path, anno_path, cluster.address, "--num_chunks=1")) == 1
    assert asked(tmp_path)["q1 [die]"] == 2
    said = capfd.readouterr().err
    assert "FAILED: video 0 was given up: its workers died" in said
    assert "FAILED: 2 questions were not reached" in said
    assert len(rows(tmp_path / "out/predictions.jsonl")) == 7


def test_a_worker_that_cannot_load_is_quoted(
    tmp_path: Path, cluster: LocalCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [talk()])
    arguments = command(tmp_path, anno_path, cluster.address, "--engine=tests.fake_engine:no")
    assert main(arguments) == 1
    said = capfd.readouterr().err
    assert re.search(
        r"worker 0 on node \S+/\w{8} ended: error: --engine tests.fake_engine:no", said
    )
    assert "FAILED: no worker is left for 1 video(s)" in said
    assert "3 questions were not reached" in said


def test_a_video_that_one_node_lacks_names_the_node(tmp_path: Path, cluster: LocalCluster) -> None:
    anno_path = videos_with(tmp_path, [talk("[nap]", at=0) for _ in range(6)])
    has, *lack = cluster.cluster.worker_nodes
    for path in (tmp_path / "data/videos").iterdir():
        path.rename(has.videos / path.name)
    assert main(command(tmp_path, anno_path, cluster.address, "--video_root=$NODE_VIDEOS")) == 1
    errors = [row["error"] for row in rows(tmp_path / "out/predictions.jsonl") if row["error"]]
    named = {re.search(r"\(node \S+/(\w{8})\)$", error)[1] for error in errors}  # type: ignore[index]
    assert named and named <= {node.node_id[:8] for node in lack}
    assert all("set --video_root" in error and "$" not in error for error in errors)


def test_a_node_with_another_version_is_named_and_refused(
    tmp_path: Path, cluster: LocalCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "packages/torch-9.9.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9\n")
    first = [str(other.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    node = cluster.add(PYTHONPATH=os.pathsep.join(first))
    anno_path = videos_with(tmp_path, [talk()])
    try:
        assert main(command(tmp_path, anno_path, cluster.address)) == 2
    finally:
        cluster.cluster.remove_node(node)
    said = capfd.readouterr().err
    assert re.search(rf"node \S+/{node.node_id[:8]}: torch: 9\.9\.9 there, \d", said)
    assert said.count(" there, ") == 1 and "install the same everywhere" in said
    assert not (tmp_path / "asked.txt").exists()


def test_a_full_disk_stops_the_runner_and_loses_nothing(
    tmp_path: Path,
    cluster: LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    anno_path = videos_with(tmp_path, [talk(), talk()])
    arguments = command(tmp_path, anno_path, cluster.address, "--num_chunks=1")
    real, num_stored = os.fsync, 0

    def refuse(descriptor: int) -> None:
        nonlocal num_stored
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/1_0.jsonl"):
            num_stored += 1
            if num_stored == 3:
                raise OSError(28, os.strerror(28))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    assert main(arguments) == 2
    said = capfd.readouterr().err
    assert "1_0.jsonl" in said and "No space left" in said and "make room" in said
    assert len(rows(tmp_path / "out/predictions.jsonl")) == 3  # the last line was written, too
    assert main(arguments) == 0
    assert asked(tmp_path).total() == 6
    check_rows(tmp_path, anno_path)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            ["--num_chunks=4"],
            "4 worker(s) of 1 CPU(s) were asked for, but the",
        ),
        (["--cpus_per_worker=2"], "has room for 0 ("),
        (["--device=cuda"], "1 worker(s) of 1 GPU(s) and 1 CPU(s)"),
        (["--device=0,1"], "with --launcher ray it is cpu or cuda"),
        (["--cpus_per_worker=0"], "--cpus_per_worker must be at least 1"),
        (["--attach"], "--attach belongs to --launcher slurm, not to ray"),
    ],
)
def test_what_the_cluster_has_no_room_for_is_refused(
    tmp_path: Path,
    cluster: LocalCluster,
    capfd: pytest.CaptureFixture[str],
    more: list[str],
    expected: str,
) -> None:
    anno_path = videos_with(tmp_path, [talk()])
    assert main(command(tmp_path, anno_path, cluster.address, *more)) == 2
    assert expected in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_there_is_a_worker_per_gpu_on_each_node_that_has_enough(cluster: LocalCluster) -> None:
    from video_qa.launchers.launcher import LauncherError
    from video_qa.launchers.on_ray.ray_launcher import open_ray

    nodes = [cluster.cluster.add_node(num_cpus=4, num_gpus=number) for number in (3, 1)]
    try:
        with open_ray(cluster.cluster.address, 1) as launcher:
            assert launcher.devices("cpu", 1)[0].name == "cpu"
            assert launcher.num_workers(None) == NUM_NODES + 4 + 4
            assert launcher.devices(None, 1)[0].name == "cuda"
            assert launcher.num_workers(None) == 3 + 1 and launcher.num_workers(2) == 2
            launcher.devices("cuda", 2)  # which a model may need
            assert launcher.num_workers(None) == 1
            with pytest.raises(
                LauncherError, match=r"2 worker\(s\) of 2 GPU.*room for 1 .*: 3 GPUs"
            ):
                launcher.num_workers(2)
    finally:
        for node in nodes:
            cluster.cluster.remove_node(node)


def test_an_address_without_a_cluster_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from video_qa.launchers.on_ray import cluster as connection

    anno_path = videos_with(tmp_path, [talk()])
    assert connection.CONNECT_SECONDS + connection.TRIAL_SECONDS < 15
    monkeypatch.setattr(connection, "TRIAL_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for address, expected in [
            (f"127.0.0.1:{port}", "no connection within 2 s"),
            ("127.0.0.1:1", "refused"),
            ("nowhere", "expected auto, local or HOST:PORT"),
        ]:
            assert main(command(tmp_path, anno_path, f"--ray_address={address}")) == 2
            said = capfd.readouterr().err
            assert expected in said and f"--ray_address {address}" in said.replace("'", "")
    assert not (tmp_path / "out").exists()

"""What launchers share, without a cluster: handing out, storing, a comparison elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_helpers import choice, rows, videos_with
from tiny import open_stream

from video_qa import compare, run_infer
from video_qa.lanes import lane_watcher, worker
from video_qa.launchers import local
from video_qa.launchers.answer_store import AnswerStore
from video_qa.launchers.desk import MAX_DEATHS, Desk
from video_qa.launchers.launcher import Unit, Work
from video_qa.launchers.node_facts import node_facts, unequal_facts
from video_qa.launchers.recipe import Answered, expanded
from video_qa.launchers.video_worker import VideoWorker, Watched
from video_qa.questions.annotations import Question, Video
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import read_predictions

ROOT = Path(__file__).resolve().parents[1]


def unit(index: int) -> Unit:
    return Unit(Video(index, index, f"{index}.mp4", (Question("q", "a"),)), ("r",))


@given(st.data(), st.integers(0, 6))
def test_every_video_is_done_or_given_up(data: st.DataObject, num_videos: int) -> None:
    desk, out, done, deaths = Desk([unit(i) for i in range(num_videos)]), [], [], [0] * num_videos
    while desk.is_open:
        if desk.num_waiting and (not out or data.draw(st.booleans())):
            taken = desk.take()
            assert taken is not None and taken not in out + done
            out.append(taken)
            continue
        returned = out.pop(data.draw(st.integers(0, len(out) - 1)))
        if data.draw(st.booleans()):
            desk.done(returned)
            done.append(returned)
            continue
        has_answered, index = data.draw(st.booleans()), returned.video.index
        deaths[index] = 1 if has_answered else deaths[index] + 1
        assert desk.lost(returned, has_answered) == (deaths[index] < MAX_DEATHS)
    assert sorted(u.video.index for u in done + desk.given_up) == list(range(num_videos))
    assert desk.take() is None


def work(folder: Path, units: list[Unit], answered: dict[tuple[int, int], str]) -> Work:
    return Work(folder, [], None, units, {"r": folder}, {"r": answered}, 1, 0, -1)  # type: ignore[arg-type]


def test_each_question_is_stored_once_however_often_it_comes(tmp_path: Path) -> None:
    def reply(question: int, text: str = "", error: str | None = None) -> Answered:
        found = Prediction("r", 0, 0, question, "q", None, prediction=text, error=error)
        return Answered("r", found)

    with AnswerStore(work(tmp_path, [], {(0, 0): "kept"})) as store:
        assert store.take(reply(0, "again")) == 0
        assert store.take(reply(1, error="broke")) == 1
        assert store.take(reply(1, error="broke again")) == 0
        assert store.take(reply(1, "answered")) == 0
        assert store.take(reply(1, "late")) == 0
        assert store.take(reply(2, "new")) == 1
        assert store.stored(unit(0)) == {"r": {0: "kept", 1: "answered", 2: "new"}}
        assert store.stored(unit(1)) == {"r": {}}
    lines = rows(tmp_path / "1_0.jsonl")
    assert [line["question_index"] for line in lines] == [1, 1, 2]
    found = read_predictions([tmp_path / "1_0.jsonl"], "r")
    assert {key: p.prediction for key, p in found.items()} == {(0, 1): "answered", (0, 2): "new"}


def test_what_differs_on_another_machine_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    here = node_facts(str(tmp_path))
    assert unequal_facts(here, here) == [] and "+" not in here["torch"]
    (tmp_path / "config.json").write_text("{ }")
    (line,) = unequal_facts(here, node_facts(str(tmp_path)))
    assert line.startswith("the weights: ") and here["the weights"] in line
    (line,) = unequal_facts(here, node_facts("/nowhere"))
    assert line.startswith("the weights: missing there")


def test_a_folder_is_looked_up_where_the_worker_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", "/fast")
    assert expanded(Path("$SCRATCH/videos")) == Path("/fast/videos")
    assert expanded(None) is None


def run_elsewhere(work: Work) -> list[str]:
    """As on a cluster: a worker that is handed videos, and a runner that writes."""
    with AnswerStore(work) as store:
        hired = VideoWorker(work.recipe, "n1", Path.cwd())
        ready = hired.load()
        store.describe(ready.descriptions)
        store.refuse(ready.refused)
        for handed in work.units:
            reply = hired.watch(handed, store.stored(handed))
            while not isinstance(reply, Watched):
                store.take(reply)
                reply = hired.go_on()
            store.describe(reply.descriptions)
    return []


def test_a_comparison_elsewhere_is_that_of_processes_here(
    tmp_path: Path,
    load: Callable[[str], Any],
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def here(tasks: list[Any], *_: object) -> list[str]:
        (task,) = tasks
        assert worker.main(task.command[2:]) == 0
        written = [path.read_bytes() for path in sorted(tmp_path.rglob("1_0.jsonl"))]
        assert len(written) == 2 and all(written)
        assert worker.main(task.command[2:]) == 0  # as a task that was requeued
        assert written == [path.read_bytes() for path in sorted(tmp_path.rglob("1_0.jsonl"))]
        return []

    def engine(settings: object, device: object) -> Any:
        return open_stream(load("llava"), policy="recent", kv_size=16)

    monkeypatch.setattr(worker, "load_engine", engine)
    monkeypatch.setattr(lane_watcher, "load_engine", engine)
    monkeypatch.setattr(local, "run_workers", here)
    talk = [choice(f"q{i}", 6.0 * (i + 1)) for i in range(2)]
    anno_path = videos_with(tmp_path, [talk, talk], num_frames=14)
    command = [f"--model={checkpoint('llava')}", "--dataset=nanostream", "--device=cpu"]
    command += [f"--anno_path={anno_path}", "--kv_sizes=16", "--max_new_tokens=2"]
    command.append("--policies=recent,hermes")
    folders = {}
    for name in ("here", "elsewhere"):
        if name == "elsewhere":
            monkeypatch.setattr(local.LocalLauncher, "run", lambda self, work: run_elsewhere(work))
        assert compare.main([*command, f"--results_root={tmp_path / name}"]) == 0
        folders[name] = sorted((tmp_path / name).rglob("predictions.jsonl"))
    assert len(folders["here"]) == len(folders["elsewhere"]) == 2
    for one, other in zip(folders["here"], folders["elsewhere"], strict=True):
        alike = [[without_costs(row) for row in rows(path)] for path in (one, other)]
        assert len(alike[0]) == 4 and alike[0] == alike[1]
        for left in ("retention.json", "results.csv"):
            assert one.with_name(left).read_bytes() == other.with_name(left).read_bytes()
        assert not list(other.parent.glob("1_0*"))


def without_costs(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in row if not name.endswith(("seconds", "bytes"))}


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str, module: str
) -> None:
    """Whether it is installed here or not."""
    for loaded in [file for file in sys.modules if file.startswith("video_qa.launchers.on_")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    annotations = ROOT / "data/nanostream_demo/nanostream_test.json"
    command = ["--model=nano", "--dataset=nanostream", "--kv_size=64", "--sample_fps=1"]
    assert run_infer.main([*command, f"--anno_path={annotations}", f"--launcher={name}"]) == 2
    assert f"pip install '.[{name}]'" in capsys.readouterr().err

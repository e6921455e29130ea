"""The command line of the comparison, with the worker inside this process or really killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from runner_helpers import choice, lanes_inside, rows, videos_with
from tiny import open_stream

from hermes import MemoryConfig, MemoryLayout
from hermes.policies import POLICIES
from hermes.policies.hermes import Hermes
from hermes.policy_text import read_policy
from inference import AbstractHermes
from video_qa.compare import main
from video_qa.results.run_folder import MARKER
from video_qa.run_infer import main as run_infer

ROOT = Path(__file__).parents[1]
TALK = [
    choice(f"q{i}", 6.0 * (i + 1), task=task)
    for i, task in enumerate(("now_colour", "recent_shape", "far_colour"))
]
NAMES = ("recent", "hermes", "last_frames:num_frames=2")


@pytest.fixture
def anno_path(tmp_path: Path) -> Path:
    return videos_with(tmp_path, [TALK, TALK, TALK], num_frames=20)


@pytest.fixture
def inside(load: Callable[[str], AbstractHermes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in this process, on weights that are loaded already."""
    lanes_inside(monkeypatch, open_stream(load("llava"), policy="recent", kv_size=16))


@pytest.fixture
def command(tmp_path: Path, anno_path: Path, checkpoint: Callable[[str], Path]) -> list[str]:
    shared = [f"--model={checkpoint('llava')}", "--dataset=nanostream", "--device=cpu"]
    shared += [f"--anno_path={anno_path}", "--kv_sizes=16,24", "--max_new_tokens=2"]
    return [*shared, f"--results_root={tmp_path / 'results'}", f"--policies={','.join(NAMES)}"]


def changed(command: list[str], **options: str) -> list[str]:
    kept = [part for part in command if part[2:].split("=")[0] not in options]
    return [*kept, *(f"--{name}={value}" for name, value in options.items())]


def answers(root: Path) -> pd.DataFrame:
    table = pd.read_csv(next(root.rglob("comparison.csv")), keep_default_na=False)
    return table[[c for c in table.columns if not c.endswith(("seconds", "bytes"))]]


@pytest.mark.slow
@pytest.mark.usefixtures("inside")
def test_half_finished_folders_are_continued(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    whole = answers(tmp_path / "results")
    assert len(whole) == 3 * 2 * 9
    out = next((tmp_path / "results").rglob("comparison.csv")).parent
    numbers = json.loads((out / "comparison.json").read_text())
    assert {run["policy"] for run in numbers["runs"]} == set(NAMES)
    assert all(run["cost"]["tokens_per_frame"] == 4 for run in numbers["runs"])
    text = (out / "report.html").read_text()
    assert all(name in text for name in NAMES) and text.count("data:image/jpeg") <= 9
    said = capfd.readouterr().out.splitlines()
    for run in numbers["runs"]:
        first = said.index(next(line for line in said if line.startswith(f"{run['kv_size']} tok")))
        row = next(line for line in said[first:] if line.startswith(f"{run['policy']} "))
        assert f"{run['groups']['all questions']['accuracy_percent']:.1f} (" in row.split("  ")[-1]
    assert said[-1] == f"Report: {out / 'report.html'}"
    left = {path.name for path in out.iterdir()} - {"logs", ".lock", MARKER}
    outputs = {f"comparison.{kind}" for kind in ("csv", "json", "md")}
    assert left == outputs | {"runs.json", "report.html"}

    for number, folder in enumerate(sorted(out.parent.glob("fps*"))):
        path = folder / "predictions.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[: 2 + number]))
        (folder / "1_0.jsonl").write_text("".join(lines[5:6]) + lines[6][:20])
        (folder / "results.csv").unlink()
        (folder / "retention.json").unlink(missing_ok=number % 2 == 0)
    strays = ("plan.json", "2_1.progress", f".runs.json.{'0' * 32}.tmp")
    for name in strays:  # of a comparison that was killed, like the engine's description below
        (out / name).touch()
    (folder / "1_0.engine.json").write_text('{"profile": "stray"}')
    assert main(command) == 0
    assert {path.name for path in out.iterdir()} - {"logs", ".lock", MARKER} == left
    assert not list(folder.glob("*.engine.json"))
    pd.testing.assert_frame_equal(answers(tmp_path / "results"), whole)
    before = (out / "comparison.json").read_bytes()
    assert main([*command, "--only_report"]) == 0
    assert json.loads((out / "comparison.json").read_bytes())["runs"] == json.loads(before)["runs"]


@pytest.mark.usefixtures("inside")
def test_a_policy_that_cannot_serve_the_model_says_so_and_the_rest_goes_on(
    tmp_path: Path,
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Picky(Hermes):
        def __init__(self, config: MemoryConfig, layout: MemoryLayout) -> None:
            raise ValueError(f"policy 'hermes' cannot serve {layout.num_layers} layers")

    monkeypatch.setitem(POLICIES, "hermes", Picky)
    assert main(changed(command, kv_sizes="16")) == 1
    assert "policy 'hermes' cannot serve 10 layers" in capfd.readouterr().err
    out = next((tmp_path / "results").rglob("comparison.csv")).parent
    numbers = json.loads((out / "comparison.json").read_text())
    assert {run["policy"] for run in numbers["runs"]} == set(NAMES) - {"hermes"}
    assert "cannot serve" in numbers["refused"][0]["error"]
    assert "cannot serve 10 layers" in (out / "report.html").read_text()


@pytest.mark.usefixtures("inside")
def test_a_budget_below_one_frame_gives_error_rows_and_a_report(
    tmp_path: Path,
    command: list[str],
    checkpoint: Callable[[str], Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Where the model does not tell the tokens of a frame beforehand."""
    qwen = changed(command, model=str(checkpoint("qwen")))
    assert main(changed(qwen, kv_sizes="3,16", policies="recent")) == 1
    said = capfd.readouterr().err
    assert "recent at kv_size 3: 9 questions have an error:\n  9 questions of 3 video(s)" in said
    assert "0.npy: one frame needs 4" in said
    out = next((tmp_path / "results").rglob("comparison.csv")).parent
    found = json.loads((out / "comparison.json").read_text())["runs"]
    assert [run["num_errors"] for run in found] == [9, 0]


@pytest.mark.usefixtures("inside")
def test_the_floors_are_rows_of_the_same_table(tmp_path: Path, command: list[str]) -> None:
    assert main([*changed(command, kv_sizes="16", policies="recent"), "--floors"]) == 0
    table = next((tmp_path / "results").rglob("comparison.csv"))
    found = pd.read_csv(table).groupby("policy").size().to_dict()
    assert found == {"recent": 9, "blank_frames": 9, "last_frames:num_frames=1": 9}
    assert "blank_frames" in (table.parent / "comparison.md").read_text()


@pytest.mark.usefixtures("inside")
def test_answers_to_other_questions_are_never_put_beside(
    tmp_path: Path, command: list[str], anno_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As when a stream is asked the questions of another edition."""
    one = changed(command, kv_sizes="16", policies="recent")
    assert main(one) == 0
    made = next((tmp_path / "results").rglob("predictions.jsonl")).parent
    other = anno_path.with_name("other.json")
    other.write_text(anno_path.read_text().replace("q1", "q7"))
    again = changed(one, anno_path=str(other))
    assert main(again) == 2
    assert "annotation_sha256" in capfd.readouterr().err
    fresh = changed(again, results_root=str(tmp_path / "fresh"), policies="hermes")
    assert main([*fresh, f"--runs={made}"]) == 2
    said = capfd.readouterr().err
    assert "different protocols" in said and "annotation_sha256" in said
    assert not list((tmp_path / "fresh").rglob("comparison.csv"))


def test_a_budget_known_to_be_below_one_frame_is_refused_at_once(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(changed(command, kv_sizes="16,3")) == 2
    assert "--kv_size 3 holds no frame" in capfd.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("inside")
def test_runs_of_another_protocol_are_not_put_beside(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    one = changed(command, kv_sizes="16", policies="recent")
    assert main(one) == 0
    other = changed(one, results_root=str(tmp_path / "other"), policies="hermes")
    assert main(changed(other, max_new_tokens="1")) == 0
    foreign = next((tmp_path / "other").rglob("predictions.jsonl")).parent
    assert main([*one, f"--runs={foreign}"]) == 2
    said = capfd.readouterr().err
    assert "different protocols" in said and "max_new_tokens: 2 in" in said
    assert main([*changed(one, max_new_tokens="1")]) == 2
    assert "max_new_tokens: 2 there, 1 now" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"policies": "recent,nope"},
            "unknown policy 'nope': expected one of blank_frames, confirmed_novelty, dscache",
        ),
        ({"policies": "rekv:nope=1"}, "unknown option nope of policy 'rekv'; known: "),
        ({"policies": "two_speed:recent_share=7"}, "recent_share must be a number in [0, 1]"),
        ({"policies": "recent:x"}, "expected NAME:OPTION=VALUE"),
        ({"kv_sizes": "0"}, "--kv_size must be at least 1"),
        ({"dataset": "rvs_ego"}, "need a judge or a server"),
        ({"out": "/dev/null/x"}, "cannot write to the results folder"),
        ({"anno_path": "/nowhere.json"}, "no annotation file at /nowhere.json"),
    ],
)
def test_a_bad_command_is_refused_before_anything_starts(
    tmp_path: Path,
    command: list[str],
    capfd: pytest.CaptureFixture[str],
    options: dict[str, str],
    expected: str,
) -> None:
    assert main(changed(command, **options)) == 2
    assert expected in capfd.readouterr().err
    assert not list(tmp_path.rglob("config.json"))


def test_policies_are_read_with_their_options() -> None:
    assert read_policy("a:b=0.5:c=true:d=null:e=oldest") == (
        "a",
        {"b": 0.5, "c": True, "d": None, "e": "oldest"},
    )
    for wrong in ("a:", "a:b", "a:b=", "a:=1", "a:b=1:b=2"):
        with pytest.raises(ValueError, match="OPTION=VALUE"):
            read_policy(wrong)


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_reuses_the_runners_folder(
    tmp_path: Path, command: list[str]
) -> None:
    arguments = changed(command, kv_sizes="16", policies="recent,hermes", max_new_tokens="16")
    script = [sys.executable, str(ROOT / "video_qa/compare.py"), *arguments]
    process = subprocess.Popen(script, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        _wait_for(lambda: _stored(tmp_path / "results") > 0, process)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    finally:
        process.kill()
    assert main(arguments) == 0
    alone = tmp_path / "alone"
    single = [a for a in arguments if not a.startswith(("--policies", "--kv_sizes"))]
    single = changed(single, results_root=str(alone))
    assert run_infer([*single, "--kv_size=16", "--policy=recent"]) == 0
    separate = _answers_in(next(alone.rglob("predictions.jsonl")))
    compared = next((tmp_path / "results").rglob("*-recent/predictions.jsonl"))
    assert _answers_in(compared) == separate


def _wait_for(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not reached():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)


def _stored(root: Path) -> int:
    return sum(path.read_text().count("\n") for path in root.rglob("*.jsonl"))


def _answers_in(path: Path) -> list[tuple[object, ...]]:
    names = ("run_id", "video_index", "question_index", "prediction", "num_frames", "error")
    return [tuple(row[name] for name in names) for row in rows(path)]

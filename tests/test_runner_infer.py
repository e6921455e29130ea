"""The whole runner with real worker processes and the fake engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runner_helpers import (
    choice,
    fake_arguments,
    rows,
    table,
    videos_with,
    workers_inside,
    write_annotations,
)
from videos import damaged_late

from video_qa.questions.benchmarks import DATASETS
from video_qa.run_infer import main
from video_qa.settings.model_checks import check_model
from video_qa.settings.run_settings import RunSettings

ROOT = Path(__file__).parents[1]
REAL = "--engine=inference:load_model"
TALK = [choice(f"q{i}", 5.0 * (i + 1), task="Counting") for i in range(4)]


@pytest.fixture(autouse=True)
def fake_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))


def marked(mark: str) -> list[dict[str, object]]:
    return [TALK[0], TALK[1] | {"question": f"q1 [{mark}]"}, *TALK[2:]]


def arguments(tmp_path: Path, anno_path: Path, *more: str) -> list[str]:
    shared = [*fake_arguments(tmp_path, anno_path), f"--results_root={tmp_path / 'results'}"]
    return [*shared, "--dataset=streamingbench", *more]


def without_timing(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows(path)]


def test_a_killed_worker_is_reported_and_a_rerun_equals_a_run_without_kill(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [TALK, marked("kill"), TALK])
    out = tmp_path / "results/fake-model/streamingbench/fps1.0-kv64"
    assert main(arguments(tmp_path, anno_path, "--num_chunks=2")) == 1
    said = capfd.readouterr().err
    assert "worker 2_1 was killed by signal 9" in said and "3 questions were not reached" in said
    assert not (out / "results.csv").exists()
    kept = rows(out / "predictions.jsonl")
    assert len(kept) == 9  # the other worker's two videos, and the question before the kill

    assert main(arguments(tmp_path, anno_path, "--num_chunks=2")) == 0
    everything = rows(out / "predictions.jsonl")
    assert [row for row in everything if row in kept] == kept
    assert main([*arguments(tmp_path, anno_path), f"--save_dir={tmp_path / 'once'}"]) == 0
    assert everything == rows(tmp_path / "once/predictions.jsonl")
    assert (out / "results.csv").read_bytes() == (tmp_path / "once/results.csv").read_bytes()
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert len(asked) == 9 + 1 + 3 + 12
    assert (out / "metrics.json").exists()

    config = json.loads((out / "config.json").read_text())
    assert config["dataset"] == "streamingbench" and config["engine"]["profile"] == "fake"
    assert config["settings"]["kv_size"] == 64 and config["settings"]["device"] == "cpu"
    environment = json.loads((out / "environment.json").read_text())
    assert environment["packages"]["torch"] and environment["devices"] == ["cpu"]
    assert not list(out.glob("[0-9]*"))


def test_failed_videos_make_the_exit_code_and_stand_in_the_table(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [TALK, TALK])
    (tmp_path / "data/videos/1.npy").unlink()
    out = tmp_path / "out"
    command = [*arguments(tmp_path, anno_path, "--num_chunks=5"), f"--save_dir={out}"]
    assert main(command) == 1
    said = capfd.readouterr()
    assert "4 questions of 1 video(s) have an error" in said.err and "1.npy" in said.err
    written = table(out / "results.csv")
    assert list(written.columns)[-2:] == ["task", "error"] and len(written) == 8
    assert written.error.tolist()[:4] == [""] * 4 and all(written.error[4:])
    assert "#Samples" in said.out  # evaluated all the same

    anno_path = videos_with(tmp_path, [TALK, TALK])  # the video is back
    assert main(command) == 0
    assert "error" not in table(out / "results.csv").columns
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert len(asked) == 8

    assert main([*command, "--policy=recent"]) == 2
    assert "policy: 'hermes' there, 'recent' now" in capfd.readouterr().err
    assert len(table(out / "results.csv")) == 8
    assert main([*command, "--only_eval"]) == 0
    assert main([*command, "--limit=1", "--overwrite"]) == 0
    assert len(table(out / "results.csv")) == 4 and len(rows(out / "predictions.jsonl")) == 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_runner_leaves_no_worker_and_loses_no_answer(
    tmp_path: Path, how: signal.Signals
) -> None:
    anno_path = videos_with(tmp_path, [marked("wait")])
    out = tmp_path / "out"
    command = [*arguments(tmp_path, anno_path), f"--save_dir={out}"]
    script = [sys.executable, str(ROOT / "video_qa/run_infer.py"), *command]
    runner = subprocess.Popen(script, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _wait_for(tmp_path / "wait.done")
        runner.send_signal(how)
        runner.communicate(timeout=30)
    finally:
        runner.kill()
    assert runner.returncode == (-9 if how == signal.SIGKILL else 130)
    kept = rows(out / ("1_0.jsonl" if how == signal.SIGKILL else "predictions.jsonl"))
    assert [row["question"] for row in kept] == ["q0"]
    assert main(command) == 0  # would find the folder locked if the worker lived on
    assert len(table(out / "results.csv")) == 4


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def test_a_worker_that_cannot_start_is_quoted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [TALK])
    command = [*arguments(tmp_path, anno_path), "--engine=tests.fake_engine:nothing"]
    assert main(command) == 1
    said = capfd.readouterr().err
    assert "worker 1_0 ended with exit code 2: error: --engine tests.fake_engine:nothing" in said
    assert "4 questions were not reached" in said


def test_open_ended_answers_may_be_judged_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [[{"question": "why?", "answer": "so", "end_time": 9}]])
    command = arguments(tmp_path, anno_path, f"--save_dir={tmp_path / 'out'}", "--skip_judge")
    assert main([*command, "--dataset=rvs_ego"]) == 0
    assert "eval/eval_open_ended.py --pred_path" in capfd.readouterr().out
    columns = ["video_id", "question", "answer", "pred_answer"]
    assert list(table(tmp_path / "out/results.csv").columns) == columns


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--only_eval"], "no results to evaluate at"),
        (
            [REAL, "--policy=nope"],
            "unknown policy 'nope': expected one of blank_frames, confirmed_novelty, dscache",
        ),
        ([REAL, "--profile=nope"], "unknown profile 'nope': expected one of released"),
        (["--model=nope"], "unknown model 'nope': expected one of"),
        (["--kv_size=0"], "--kv_size must be at least 1, got 0"),
        (["--kv_size=-1"], "--kv_size must be at least 1, got -1"),
        (["--num_chunks=0"], "--num_chunks must be at least 1"),
        (["--limit=0"], "--limit must be at least 1"),
        (["--device=tpu"], "unknown device 'tpu': expected 'cpu'"),
        (["--video_root=/nowhere"], "--video_root /nowhere is not a folder"),
        (["--anno_path=/nowhere.json"], "no annotation file at /nowhere.json"),
        (["--save_dir=/dev/null/x"], "cannot write to the results folder /dev/null/x"),
    ],
)
def test_a_bad_command_is_refused_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: list[str], expected: str
) -> None:
    anno_path = videos_with(tmp_path, [TALK])
    assert main(arguments(tmp_path, anno_path, *more)) == 2
    assert expected in capfd.readouterr().err
    assert not (tmp_path / "asked.txt").exists()


def test_kv_size_is_needed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    anno_path = videos_with(tmp_path, [TALK])
    command = [a for a in arguments(tmp_path, anno_path) if not a.startswith("--kv_size")]
    for more in ([], [f"--save_dir={tmp_path / 'out'}"]):
        assert main([*command, *more]) == 2
        assert "--kv_size is missing" in capfd.readouterr().err


@pytest.mark.parametrize("more", [[], ["--dataset=nope"]])
def test_an_unknown_dataset_lists_the_known(
    capfd: pytest.CaptureFixture[str], more: list[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(more)
    assert stop.value.code == 2
    said = capfd.readouterr().err
    for name in DATASETS:
        assert name in said


def test_bad_annotations_stop_the_run_with_entry_and_field(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = {"video_id": 1, "video_path": "x.mp4", "conversations": [choice("a") | {"answer": "?"}]}
    anno_path = write_annotations(tmp_path / "a.json", [entry])
    assert main(arguments(tmp_path, anno_path)) == 2
    said = capfd.readouterr().err
    assert "entry 0 (video_id 1), conversations[0], field 'answer': '?' is not among" in said


def test_the_papers_example_passes_arguments_on(tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "scripts/run_infer.sh"), "--anno_path=/nowhere.json"]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command += [f"--results_root={tmp_path}", "--device=cpu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Execute streamingbench evaluation" in done.stdout
    assert "no annotation file at /nowhere.json" in done.stderr


@pytest.mark.parametrize("policy", ["recent", "last_frames"])
def test_a_budget_below_one_frame_is_refused_before_the_run(
    tmp_path: Path,
    checkpoint: Callable[[str], Path],
    capfd: pytest.CaptureFixture[str],
    policy: str,
) -> None:
    anno_path = videos_with(tmp_path, [TALK[:1]])
    command = [*arguments(tmp_path, anno_path, REAL), f"--model={checkpoint('llava')}"]
    command += ["--kv_size=3", f"--policy={policy}", f"--save_dir={tmp_path / 'out'}"]
    assert main(command) == 2
    assert "--kv_size 3 holds no frame" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("policy", ["none", "last_frames:num_frames=1"])
def test_policies_whose_budget_need_not_hold_a_frame(
    checkpoint: Callable[[str], Path], policy: str
) -> None:
    model = str(checkpoint("llava"))
    check_model(RunSettings(model, kv_size=3, sample_fps=1, streaming=True, policy=policy))


def test_a_budget_below_the_first_frames_of_a_video_is_reported_with_advice(
    tmp_path: Path,
    checkpoint: Callable[[str], Path],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers_inside(monkeypatch)
    anno_path = videos_with(tmp_path, [TALK, TALK])
    command = [*arguments(tmp_path, anno_path, REAL), f"--model={checkpoint('qwen')}"]
    assert main([*command, "--kv_size=1", f"--save_dir={tmp_path / 'out'}"]) == 1
    lines = [line for line in capfd.readouterr().err.split("\n") if line.startswith("  ")]
    assert len(lines) == 1 and "8 questions of 2 video(s)" in lines[0]
    assert "raise --kv_size to at least" in lines[0]


def test_missing_weights_are_noticed_before_workers_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.checkpoints.models.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    command = arguments(tmp_path, videos_with(tmp_path, [TALK]), REAL)
    for model in ("qwen2.5_vl_7b", "models/Qwen2.5-VL-7B-Instruct"):
        assert main([*command, f"--model={model}", f"--save_dir={tmp_path / 'out'}"]) == 2
        assert "hf download Qwen/Qwen2.5-VL-7B-Instruct" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_damaged_frames_stand_in_the_predictions_and_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = damaged_late(tmp_path / "v.mp4", "libx264")
    entry = {"video_id": "v7", "video_path": str(path)}
    entry["conversations"] = [choice("early", 3), choice("late", 9)]
    anno_path = write_annotations(tmp_path / "a.json", [entry])
    assert main([*arguments(tmp_path, anno_path), f"--save_dir={tmp_path / 'out'}"]) == 0
    early, late = rows(tmp_path / "out/predictions.jsonl")
    assert early["num_corrupt_frames"] == 0 < late["num_corrupt_frames"]
    assert "1 video(s) are damaged" in caplog.text
    assert f"video v7: {late['num_corrupt_frames']} frames" in caplog.text


def test_one_line_per_cause_of_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    anno_path = videos_with(tmp_path, [TALK] * 8 + [marked("raise")])
    for number in range(8):
        (tmp_path / f"data/videos/{number}.npy").unlink()
    assert main([*arguments(tmp_path, anno_path), f"--save_dir={tmp_path / 'out'}"]) == 1
    said = capfd.readouterr().err
    assert "35 questions of 9 video(s) have an error" in said
    first, second = [line for line in said.split("\n") if line.startswith("  ")]
    assert first.startswith("  32 questions of 8 video(s), first video 0, question 0: ")
    assert "0.npy" in first and "--video_root" in first
    assert second.startswith("  3 questions of 1 video(s), first video 8, question 1: ")
    assert len([row for row in rows(tmp_path / "out/predictions.jsonl") if row["error"]]) == 35

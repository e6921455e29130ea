"""scripts/gpu_check.sh as it will run on the GPU machine: no PyAV, no openai; here on the CPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scripts import gpu_check
from scripts.pytest_part import left_out_files, run_tests

ROOT = Path(__file__).resolve().parent.parent
BLOCKED = ("av", "openai", "pydantic", "decord", "scipy")
HIDE = f"import sys\nsys.modules.update(dict.fromkeys({BLOCKED}))\n"
OURS = ["tests/test_hermes_config.py", "tests/test_video_errors.py", "tests/test_runner_judge.py"]


@pytest.fixture
def bare(tmp_path, monkeypatch) -> Path:
    """Programs started by the test do not find the blocked modules."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/gpu_check.sh", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_it_runs_without_video_and_judge_libraries(bare, tmp_path):
    out = tmp_path / "gpu_check.json"
    options = ["--device", "cpu", "--parts", "imports", "float16", "--out", str(out)]
    done = check(*options, "--tests", *OURS)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    assert report["passed"] and report["parts"]["imports"]["exit_code"] == 0
    assert report["left_out"] == {OURS[1]: "needs av, which is not installed"}
    assert not any(report["versions"][name] for name in BLOCKED) and report["versions"]["torch"]
    tested = report["parts"]["float16"]
    assert tested["passed"] > 10 and not tested["failed"]
    skips = [count for reason, count in tested["skipped"].items() if "pydantic" in reason]
    assert len(skips) == 1
    assert f"Left out, not passed:\n  {OURS[1]}" in done.stdout
    assert re.search(rf"skipped {skips[0]}: .*could not import 'pydantic'", done.stdout)


PARTS = {
    "assert 1 == 2": (1, 0, ["test_part::test_it"]),
    "__import__('pytest').skip('no reason')": (0, 0, []),
    "assert __import__('os').environ['HERMES_TEST_DTYPE'] == 'float16'": (0, 1, []),
}


@pytest.mark.parametrize(("body", "seen"), PARTS.items())
def test_counts_of_a_part(tmp_path, body, seen):
    path = tmp_path / "test_part.py"
    path.write_text(f"def test_it():\n    {body}\n")
    result = run_tests([str(path)], {}, 60, {"HERMES_TEST_DTYPE": "float16"})
    names = [name.split(".")[-1] for name in result["failed"]]
    assert (result["exit_code"], result["passed"], names) == seen
    assert bool(result["skipped"]) == ("skip" in body)


def test_the_reason_of_a_skipped_file_is_told(tmp_path):
    path = tmp_path / "test_part.py"
    path.write_text("import pytest\npytest.importorskip('nonexistent_module')\n")
    (reason,) = run_tests([str(path)], {}, 60, {})["skipped"]
    assert "could not import 'nonexistent_module'" in reason


OUTCOMES = [
    ({"exit_code": 1, "seconds": 1.0, "passed": 3}, 1),
    ({"exit_code": 0, "seconds": 1.0, "passed": 0}, 1),
    ({"exit_code": None, "seconds": 1.0, "passed": 3}, 1),
    ({"exit_code": 0, "seconds": 1.0, "passed": 3}, 0),
]


@pytest.mark.parametrize(("outcome", "code"), OUTCOMES)
def test_a_part_that_fails_or_passes_nothing_or_hangs_fails_the_check(
    tmp_path, monkeypatch, outcome, code
):
    monkeypatch.setattr(gpu_check, "left_out_files", lambda files, optional: {})
    monkeypatch.setattr(gpu_check, "run_tests", lambda *arguments: outcome)
    out = tmp_path / "out.json"
    assert gpu_check.main(["--device", "cpu", "--parts", "nano", "--out", str(out)]) == code
    assert json.loads(out.read_text())["passed"] == (code == 0)


def test_parts_at_once_share_the_cores_and_keep_their_output_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, "MOST_WORKERS", 16)
    seen, all_there = [], threading.Barrier(3, timeout=30)  # breaks unless all three run at once

    def run(files, left_out, seconds, environment, workers, log):
        all_there.wait()
        seen.append((environment["HERMES_TEST_DTYPE"], workers, log.name))
        return {"exit_code": 0, "seconds": 1.0, "passed": 3}

    monkeypatch.setattr(gpu_check, "left_out_files", lambda files, optional: {})
    monkeypatch.setattr(gpu_check, "run_tests", run)
    out, names = tmp_path / "out.json", sorted(gpu_check.PRECISIONS)
    command = ["--device", "cpu", "--parts", *names, "--together", "--out", str(out)]
    assert gpu_check.main(command) == 0
    assert sorted(seen) == [(name, 5, f"out-{name}.log") for name in names]
    report = json.loads(out.read_text())
    assert sorted(report["parts"]) == names and report["passed"]


def test_what_cannot_run_at_once_is_refused(capsys):
    with pytest.raises(SystemExit):
        gpu_check.main(["--together"])
    assert "--together: give --parts" in capsys.readouterr().err


def test_output_goes_where_it_should(tmp_path):
    path, log = tmp_path / "test_part.py", tmp_path / "part.log"
    path.write_text("def test_it():\n    assert 0, 'said why'\n")
    assert run_tests([str(path)], {}, 60, {}, 1, log)["exit_code"] == 1
    assert "said why" in log.read_text()


def test_without_pydantic_the_demo_is_left_out_not_passed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu_check, "find_spec", lambda name: None if name == "pydantic" else 1)
    monkeypatch.setattr(gpu_check, "left_out_files", lambda files, optional: {})
    monkeypatch.setattr(gpu_check, "run_tests", lambda *arguments: OUTCOMES[-1][0])
    out = tmp_path / "out.json"
    command = ["--device", "cpu", "--parts", "nano", "demo", "--out", str(out)]
    assert gpu_check.main(command) == 0
    report = json.loads(out.read_text())
    assert list(report["parts"]) == ["nano"] and list(report["left_out"]) == ["scripts/demo.py"]
    assert "needs pydantic" in capsys.readouterr().out


WATCH = """
from pathlib import Path
from tests.fake_engine import FakeModel
from video_qa.hermes_vqa import HermesVQA
from video_qa.nanostream.write import Settings, write_split
from video_qa.questions.annotations import Question, Video
from video_qa.settings.run_settings import RunSettings

split = Settings(num_streams=1, min_minutes=0.1, max_minutes=0.1, fps=1, video_format="npy")
write_split(Path("."), split)
(path,) = Path(".").rglob("*.npy")
video = Video(0, 0, str(path), (Question("q?", "a", ("a", "b"), 3.0),))
loop = HermesVQA(FakeModel(64), RunSettings("m", 64, 1.0, True), "run")
(found,) = loop.analyze_a_video(video)
assert found.error is None and found.num_frames == 3, found
"""


def test_nanostream_and_the_question_loop_do_without_them_too(bare, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{bare}{os.pathsep}{ROOT}")
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    command = [sys.executable, "-c", WATCH]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_file_broken_for_another_reason_is_not_left_out(tmp_path):
    (tmp_path / "test_broken.py").write_text("import nonexistent_module\n")
    (tmp_path / "test_bare.py").write_text("import av_missing\nimport av\n")
    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    assert left_out_files(files, ["av"]) == {}


def test_only_what_is_missing_is_installed_from_the_wheels(tmp_path, monkeypatch):
    for name in ("torch-2.99.0-cp311", "some_decord-1.0-py3", "openai-9.9-py3", "PyTest-99.0-py3"):
        (tmp_path / f"{name}-none-any.whl").touch()
    missing, calls = {"openai", "decord", "torchvision"}, []
    monkeypatch.setattr(gpu_check, "find_spec", lambda module: module not in missing or None)
    done = subprocess.CompletedProcess([], 0)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command) or done)
    assert gpu_check._install(tmp_path) == 0
    (command,) = calls
    assert command[2:] == ["pip", "install", "--no-index", "--find-links", str(tmp_path), "openai"]


def test_a_missing_gpu_is_no_pass(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu_check.main(["--out", str(tmp_path / "out.json")]) == 2
    assert "torch sees no CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_half_precision_runs_what_it_changes():
    found = [
        name
        for name in gpu_check.CONTRACT_TESTS
        if re.search(r"\b(base_any|DTYPE)\b", (ROOT / name).read_text())
    ]
    assert sorted(found) == sorted(gpu_check.HALF_TESTS)


def test_every_file_of_the_parts_exists():
    named = gpu_check.STREAM_TESTS + gpu_check.CONTRACT_TESTS + gpu_check.NANO_TESTS
    assert not [name for name in named if not (ROOT / name).is_file()]

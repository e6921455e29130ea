"""Questions of one's own, of either kind, and the forward track, through the whole runner."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from runner_helpers import choice, fake_arguments, table, videos_with

from video_qa.run_infer import main

pytest.importorskip("av")
ROOT = Path(__file__).parents[1]
DATA_README = (ROOT / "data/README.md").read_text()
OPEN = {"question": "why?", "answer": "so", "end_time": 9}


@pytest.fixture(autouse=True)
def fake_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))


def run(tmp_path: Path, conversations: list, *more: str, dataset: str = "custom") -> int:
    anno_path = videos_with(tmp_path, conversations).rename(tmp_path / "mine.json")
    arguments = [*fake_arguments(tmp_path, anno_path), f"--results_root={tmp_path / 'results'}"]
    return main([*arguments, f"--dataset={dataset}", *more])


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_questions_of_both_kinds(tmp_path):
    talk = [choice("which?", 5.0), OPEN, choice("and now?", 12.0)]
    assert run(tmp_path, [talk, [OPEN]]) == 0
    folder = tmp_path / "results/fake-model/mine/fps1.0-kv64"
    rows = table(folder / "results.csv")
    assert [bool(text) for text in rows["choices"]] == [True, False, True, False]
    assert [bool(letter) for letter in rows["pred_choice"]] == [True, False, True, False]
    assert rows["answer"].tolist()[1] == "so"
    assert metrics(folder)["general"]["n"] == 2 and metrics(folder)["words"]["n"] == 2
    assert metrics(folder)["general"]["benchmark"] == "General"
    assert [metrics(folder)[name]["num_error_rows"] for name in ("general", "words")] == [0, 0]
    assert run(tmp_path, [talk, [OPEN]], "--only_eval") == 0
    config = json.loads((folder / "config.json").read_text())
    assert config["dataset"] == "custom" and config["settings"]["streaming"] is True


@pytest.mark.parametrize(
    ("questions", "sections", "streaming"),
    [
        ([choice("which?")], {"general"}, False),
        ([{"question": "why?", "answer": "so"}], {"words"}, False),
        ([choice("which?"), choice("now?", 3.0)], {"general"}, True),
    ],
)
def test_one_kind_alone(tmp_path, questions, sections, streaming):
    out = tmp_path / "out"
    assert run(tmp_path, [questions], f"--save_dir={out}") == 0
    assert set(metrics(out)) == {"protocol", *sections}
    config = json.loads((out / "config.json").read_text())
    assert config["settings"]["streaming"] is streaming
    assert ("choices" in table(out / "results.csv").columns) is ("general" in sections)


def test_only_open_rows_of_a_mixed_table_with_a_limit(tmp_path):
    out = tmp_path / "out"
    assert run(tmp_path, [[OPEN], [choice("which?", 5.0)]], "--limit=1", f"--save_dir={out}") == 0
    assert set(metrics(out)) == {"protocol", "words"}


def test_a_missing_annotation_is_asked_for(tmp_path, capsys):
    (tmp_path / "fake-model").mkdir()
    command = [f"--model={tmp_path / 'fake-model'}", "--kv_size=64", "--dataset=custom"]
    assert main(command) == 2
    assert "--anno_path is missing" in capsys.readouterr().err


def test_the_forward_track_runs_and_is_scored(tmp_path):
    tests = [
        {"question": "How many times?", "answer": str(i), "end_time": 5 * i, "task": "REC"}
        for i in (1, 2)
    ]
    assert run(tmp_path, [tests], dataset="ovobench_forward") == 0
    folder = tmp_path / "results/fake-model/ovobench_forward/fps1.0-kv64"
    found = metrics(folder)["ovo_forward"]
    assert found["n"] == 2 and set(found["official"]) == {"REC", "Forward Active Responding"}
    assert (folder / "eval_results_ovo_forward.txt").is_file()


def documented_commands() -> list[str]:
    section = DATA_README.partition("## A data set of your own")[2]
    return re.findall(r"^ {4}(python .*)$", section, re.M)


@pytest.mark.slow
def test_the_documented_example_runs_as_typed(tmp_path):
    """On hermes-nano, in a folder that holds no more than a checkout does."""
    for name in ("eval", "hermes", "inference", "models", "video", "video_qa"):
        (tmp_path / name).symlink_to(ROOT / name)
    (example,) = re.findall(r"```json\n(.*?)```", DATA_README, re.S)
    (tmp_path / "my.json").write_text(example)
    commands = documented_commands()
    assert len(commands) == 2
    for command in commands:
        words = [sys.executable, *shlex.split(command)[1:]]
        if "--model" in words:
            words += ["--device", "cpu"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = metrics(tmp_path / "results/nano/my/fps1.0-kv64")
    assert found["general"]["n"] == 1 and found["words"]["n"] == 1

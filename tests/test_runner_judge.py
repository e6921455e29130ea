"""From the runner to the judge and back: an open-ended benchmark in one command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from judge_server import NO, YES, JudgeServer
from runner_helpers import fake_arguments, table, videos_with

from video_qa.run_infer import main

TALK = [{"question": f"why {i}?", "answer": "so", "end_time": 9 + i} for i in range(3)]


@pytest.fixture
def judge(tmp_path, monkeypatch):
    pytest.importorskip("openai")
    server = JudgeServer()
    monkeypatch.setenv("OPENAI_API_KEY", "a-key")
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    yield server
    server.close()


def command(folder: Path, judge: JudgeServer) -> list[str]:
    arguments = fake_arguments(folder, videos_with(folder, [TALK]))
    return [
        *arguments,
        "--dataset=rvs_ego",
        f"--save_dir={folder / 'out'}",
        f"--base_url={judge.url}",
    ]


def test_answers_are_judged_where_the_release_put_them(tmp_path, judge):
    judge.behaviour = lambda prediction, number: YES
    assert main(command(tmp_path, judge)) == 0
    verdicts = json.loads((tmp_path / "out/results.json").read_text())
    assert verdicts["accuracy"] == 1.0
    predictions = list(table(tmp_path / "out/results.csv")["pred_answer"])
    assert set(judge.tries) == set(predictions)
    assert len(judge.bodies) == len(TALK)


def test_a_judge_that_refuses_costs_the_exit_code_and_no_answer(tmp_path, judge):
    judge.behaviour = lambda prediction, number: 401
    assert main(command(tmp_path, judge)) == 1
    assert len(table(tmp_path / "out/results.csv")) == len(TALK)
    judge.behaviour = lambda prediction, number: NO
    assert main([*command(tmp_path, judge), "--only_eval"]) == 0
    assert json.loads((tmp_path / "out/results.json").read_text())["accuracy"] == 0.0


def test_an_address_with_a_password_is_refused_before_it_is_written_down(tmp_path, judge, capsys):
    url = judge.url.replace("//", "//me:hunter2@")
    assert main([*command(tmp_path, judge), f"--base_url={url}"]) == 2
    said = capsys.readouterr()
    assert "OPENAI_API_KEY" in said.err and "hunter2" not in said.out + said.err
    assert not (tmp_path / "out").exists()

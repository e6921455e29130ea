"""The question loop on real (tiny, random) engines: a replayed video leaves the same memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runner_helpers import choice, rows, videos_with, write_array
from tiny import contents, open_stream

from inference import AbstractHermes
from video_qa.hermes_vqa import HermesVQA
from video_qa.hermes_vqa import main as worker_main
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.runner.shards import SOME_QUESTIONS_FAILED
from video_qa.settings.run_settings import RunSettings

SETTINGS = RunSettings("tiny", kv_size=24, sample_fps=1, streaming=True, max_new_tokens=4)


def questions() -> list[dict[str, object]]:
    asked = [choice(text, end) for text, end in zip("abcd", (4, 19, 11, 33), strict=True)]
    return [*asked, {"question": "e", "answer": "?", "end_time": 40}]


@pytest.fixture
def video(tmp_path: Path) -> Video:
    return load_annotations(videos_with(tmp_path, [questions()]))[0]


def answers(
    engine: AbstractHermes, video: Video, answered: dict[int, str]
) -> list[dict[str, object]]:
    vqa = HermesVQA(engine, SETTINGS, "run")
    return [vars(replace(p, timing={})) for p in vqa.analyze_a_video(video, answered)]


@pytest.mark.parametrize("num_answered", [1, 3, 5])
def test_a_replay_answers_and_remembers_as_if_never_stopped(
    base: AbstractHermes, video: Video, num_answered: int
) -> None:
    engine = open_stream(base)
    whole = answers(engine, video, {})
    assert all(row["error"] is None for row in whole)
    remembered, history = contents(engine), list(engine.conv_history)
    stored = {i: str(whole[i]["prediction"]) for i in range(num_answered)}
    replayed = open_stream(base)
    assert answers(replayed, video, stored) == whole[num_answered:]
    assert replayed.conv_history == history
    for name, tensor in contents(replayed).items():
        torch.testing.assert_close(tensor, remembered[name], rtol=0, atol=0, equal_nan=True)


def test_the_memory_would_differ_without_the_stored_turns(
    base: AbstractHermes, video: Video, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_stream(base)
    whole = answers(engine, video, {})
    remembered = contents(engine)
    forgetful = open_stream(base)
    monkeypatch.setattr(forgetful, "add_history", lambda *turn: None)
    answers(forgetful, video, {i: str(row["prediction"]) for i, row in enumerate(whole)})
    assert not torch.equal(contents(forgetful)["keys"], remembered["keys"])


def test_a_worker_runs_a_checkpoint_from_a_folder(
    checkpoint: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anno_path = videos_with(tmp_path, [questions()])
    folder = checkpoint("llava")  # type: ignore[operator]
    command = [f"--model={folder}", f"--anno_path={anno_path}", f"--save_dir={tmp_path / 'out'}"]
    command += ["--device=cpu", "--debug=false", "--streaming=true", "--max_new_tokens=2"]
    assert worker_main([*command, "--kv_size=24"]) == 0
    written = rows(tmp_path / "out/1_0.jsonl")
    assert len(written) == 5 and all(row["prefill_seconds"] > 0 for row in written)
    assert (tmp_path / "out/1_0.engine.json").exists()

    write_array(tmp_path / "data/videos/0.npy", 40)
    other = [*command, f"--save_dir={tmp_path / 'small'}", "--kv_size=3"]
    code = worker_main(other)
    said = capsys.readouterr().err
    if code == SOME_QUESTIONS_FAILED:
        said = str(rows(tmp_path / "small/1_0.jsonl")[0]["error"])
    assert code != 0 and "one frame needs 4 visual tokens but kv_size is 3" in said
    assert worker_main([*command, "--kv_size=24", "--policy=nope"]) == 2
    assert "hermes" in capsys.readouterr().err

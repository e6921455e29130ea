"""One worker with the fake engine: what it stores, how it goes on after a stop, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from runner_helpers import (
    choice,
    rows,
    run_worker,
    table,
    videos_with,
    write_annotations,
    write_array,
)

from video_qa import base
from video_qa.hermes_vqa import HermesVQA, main
from video_qa.questions.annotation_file import load_annotations
from video_qa.runner import worker
from video_qa.runner.shards import SOME_QUESTIONS_FAILED
from video_qa.settings.model_registry import load_engine
from video_qa.settings.run_identity import run_identity
from video_qa.settings.run_settings import RunSettings

RELEASED_COLUMNS = [
    "video_id",
    "question",
    "choices",
    "answer",
    "correct_choice",
    "pred_answer",
    "pred_choice",
    "qa_acc",
]


@pytest.fixture(autouse=True)
def fake_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    return tmp_path


def asked(folder: Path) -> list[str]:
    return (folder / "asked.txt").read_text().splitlines()


def test_one_row_per_question_with_what_the_release_wrote_and_more(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("now?", 5), choice("and now?", 21.5)]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == 0
    first, second = rows(tmp_path / "out/1_0.jsonl")
    assert (first["num_frames"], second["num_frames"]) == (5, 22)
    assert second["end_time"] == 21.5 and second["question_index"] == 1
    assert first["prefill_seconds"] == 0.25 and first["num_new_tokens"] == 3
    assert first["letter"] == first["prediction"][0]
    assert first["correct"] == (first["letter"] == "B")
    written = table(tmp_path / "out/1_0.csv")
    assert list(written.columns) == RELEASED_COLUMNS
    assert written.qa_acc.tolist() == [100.0 * row["correct"] for row in (first, second)]
    assert written.choices[0] == "['red', 'green', 'blue', 'grey']"


def test_how_videos_are_decoded_reaches_the_worker_and_is_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same frames, so the same run: an interrupted one may go on with another number."""
    anno_path = videos_with(tmp_path, [[choice("now?", 5)]])
    settings = RunSettings("nano", 8, 1.0, True, decode_workers=3)
    identity = run_identity(settings, anno_path, "cpu")
    assert identity == run_identity(replace(settings, decode_workers=None), anno_path, "cpu")
    stored = {"anno_path": str(anno_path), "dataset": None, "debug": False, "limit": None}
    config = {"settings": identity, "decode_workers": 3, "video_root": None, **stored}
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments = worker._arguments(["--config", str(tmp_path / "config.json")])
    read = RunSettings.among(vars(arguments))
    assert read == settings
    asked_for = {}
    monkeypatch.setattr(base, "open_video", lambda *_, **options: asked_for.update(options))
    video = load_annotations(anno_path)[0]
    HermesVQA(None, read, "id").load_video(video)
    assert asked_for["decode_workers"] == 3


@pytest.mark.parametrize("execution", [None, "plain"])
def test_how_layers_are_computed_reaches_the_model_and_is_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: str | None
) -> None:
    """Same answers; a config.json of before says nothing of it."""
    anno_path = videos_with(tmp_path, [[choice("now?", 5)]])
    settings = RunSettings("nano", 8, 1.0, True, execution=execution or "auto")
    identity = run_identity(settings, anno_path, "cpu")
    assert identity == run_identity(replace(settings, execution="fused"), anno_path, "cpu")
    stored = {"anno_path": str(anno_path), "dataset": None, "debug": False, "limit": None}
    stored |= {} if execution is None else {"execution": execution}
    (tmp_path / "config.json").write_text(
        json.dumps({"settings": identity, "video_root": None, **stored})
    )
    arguments = worker._arguments(["--config", str(tmp_path / "config.json")])
    assert RunSettings.among(vars(arguments)) == settings
    assert load_engine(settings, "cpu").execution == (execution or "fused")


def test_csv_is_quoted_as_released(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[{"question": 'a "b"', "answer": "c", "task": "T"}]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == 0
    text = (tmp_path / "out/1_0.csv").read_text()
    stored = rows(tmp_path / "out/1_0.jsonl")[0]
    answer = stored["prediction"]
    assert "\n" in answer and answer[0] == answer[-1] == " ", "spaces stay, as released"
    assert stored["prediction_stripped"] == answer[1:-1]
    head, row = text.splitlines()
    assert head == '"video_id","question","answer","pred_answer","task"'
    assert row == '0,"a ""b""","c","' + answer.replace("\n", "") + '","T"'


def test_stopped_anywhere_and_continued_equals_never_stopped(tmp_path: Path) -> None:
    times = (3, 20, 11, 36, 36)  # not sorted: a question about the past watches nothing
    plain = [choice(f"q{i}", t) for i, t in enumerate(times)]
    other = [{"question": "open?", "answer": "x", "end_time": 30}, choice("last")]
    for stopped_at in range(len(times)):
        folder = tmp_path / str(stopped_at)
        folder.mkdir()
        (tmp_path / "stop.done").unlink(missing_ok=True)
        (tmp_path / "asked.txt").unlink(missing_ok=True)
        out = folder / "out"
        renamed = [
            question | {"question": question["question"] + " [stop]" * (i == stopped_at)}
            for i, question in enumerate(plain)
        ]
        anno_path = videos_with(folder, [renamed, other])
        with pytest.raises(KeyboardInterrupt):
            run_worker(tmp_path, anno_path, out)
        assert len(rows(out / "1_0.jsonl")) == stopped_at
        assert run_worker(tmp_path, anno_path, out) == 0
        continued = rows(out / "1_0.jsonl")
        uninterrupted = folder / "again"
        assert run_worker(tmp_path, anno_path, uninterrupted) == 0
        assert continued == rows(uninterrupted / "1_0.jsonl")
        # each question once in the two parts, the stopped one twice; then all again
        assert len(asked(tmp_path)) == 2 * (len(plain) + len(other)) + 1


def test_answers_depend_on_the_history_that_a_replay_restores(tmp_path: Path) -> None:
    """The oracle above would be blind if the fake engine ignored its history."""
    early = videos_with(tmp_path, [[choice("one", 3), choice("same", 30)]])
    run_worker(tmp_path, early, tmp_path / "a")
    other = videos_with(tmp_path, [[choice("two", 3), choice("same", 30)]])
    run_worker(tmp_path, other, tmp_path / "b")
    last = [rows(tmp_path / name / "1_0.jsonl")[1]["prediction"] for name in "ab"]
    assert last[0] != last[1]


def test_a_half_written_line_is_dropped_and_its_question_asked_again(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 3), choice("b", 30)]])
    out = tmp_path / "out"
    assert run_worker(tmp_path, anno_path, out) == 0
    complete = (out / "1_0.jsonl").read_bytes()
    (out / "1_0.jsonl").write_bytes(complete[:-20])
    assert run_worker(tmp_path, anno_path, out) == 0
    assert (out / "1_0.jsonl").read_bytes() == complete
    assert asked(tmp_path) == ["a", "b", "b"]


def test_a_finished_shard_is_not_run_again(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 3)]])
    for _ in range(2):
        assert run_worker(tmp_path, anno_path, tmp_path / "out") == 0
    assert asked(tmp_path) == ["a"]


def test_lines_of_other_settings_are_not_taken_for_answers(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 3)]])
    run_worker(tmp_path, anno_path, tmp_path / "out")
    run_worker(tmp_path, anno_path, tmp_path / "out", "--policy=recent")
    assert asked(tmp_path) == ["a", "a"]


def test_more_shards_than_videos_leave_a_table_without_rows(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 3)]])
    shards = ("--num_chunks=3", "--chunk_idx=2")
    assert run_worker(tmp_path, anno_path, tmp_path / "out", *shards) == 0
    assert list(table(tmp_path / "out/3_2.csv").columns) == RELEASED_COLUMNS
    assert table(tmp_path / "out/3_2.csv").empty


def test_debug_answers_the_first_video_of_the_shard_only(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a", 3)], [choice("b", 3)]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out", "--debug") == 0
    assert asked(tmp_path) == ["a"]


def test_a_missing_video_costs_its_own_rows(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a"), choice("b")], [choice("c")]])
    (tmp_path / "data/videos/0.npy").unlink()
    code = run_worker(tmp_path, anno_path, tmp_path / "out")
    assert code == SOME_QUESTIONS_FAILED
    written = table(tmp_path / "out/1_0.csv")
    assert list(written.columns) == [*RELEASED_COLUMNS, "error"]
    assert all("0.npy" in error and "--video_root" in error for error in written.error[:2])
    assert written.qa_acc.tolist()[:2] == [0.0, 0.0]
    assert written.error[2] == "" and written.pred_choice[2] in "ABCD"


def test_a_failing_engine_costs_the_rest_of_that_video(tmp_path: Path) -> None:
    talk = [choice("a", 3), choice("b [raise]", 9), choice("c", 12)]
    anno_path = videos_with(tmp_path, [talk, [choice("d")]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == SOME_QUESTIONS_FAILED
    errors = [row["error"] for row in rows(tmp_path / "out/1_0.jsonl")]
    broke = f"{tmp_path / 'data/videos/0.npy'}: RuntimeError: the engine broke"
    assert errors == [None, broke, broke, None]


@pytest.mark.parametrize("end_time", [-1, -0.001])
def test_a_question_before_the_first_frame_gets_an_error_row(
    tmp_path: Path, end_time: float
) -> None:
    anno_path = videos_with(tmp_path, [[choice("early", end_time), choice("fine", 0)]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == SOME_QUESTIONS_FAILED
    early, fine = rows(tmp_path / "out/1_0.jsonl")
    assert "before the first frame" in early["error"] and "0.npy: " in early["error"]
    assert fine["error"] is None and fine["num_frames"] == 1


def test_a_question_before_its_clip_gets_an_error_row(tmp_path: Path) -> None:
    path = write_array(tmp_path / "v.npy", 40)
    entry = {"video_id": "v", "video_path": str(path), "clip": [10, 30]}
    entry["conversations"] = [choice("early", 9), choice("fine", 15), choice("late", 39)]
    anno_path = write_annotations(tmp_path / "a.json", [entry])
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == SOME_QUESTIONS_FAILED
    early, fine, late = rows(tmp_path / "out/1_0.jsonl")
    assert "before the first frame (10 s)" in early["error"]
    assert fine["error"] is None and fine["num_frames"] == 5
    assert "after the end" in late["error"]


def test_a_question_after_the_end_is_an_error_unless_answers_are_wanted(tmp_path: Path) -> None:
    questions = [choice("late", 1000), choice("rounded", 41), choice("fine", 7)]
    anno_path = videos_with(tmp_path, [questions])
    assert run_worker(tmp_path, anno_path, tmp_path / "strict") == SOME_QUESTIONS_FAILED
    late, rounded, fine = rows(tmp_path / "strict/1_0.jsonl")
    assert "after the end of the video (40.0 s)" in late["error"]
    assert rounded["error"] is None and fine["error"] is None
    assert run_worker(tmp_path, anno_path, tmp_path / "lax", "--late_questions=answer") == 0
    assert rows(tmp_path / "lax/1_0.jsonl")[0]["num_frames"] == 40


def test_the_engines_own_message_reaches_the_rows(tmp_path: Path) -> None:
    anno_path = videos_with(tmp_path, [[choice("a")]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out", "--kv_size=3") != 0
    error = rows(tmp_path / "out/1_0.jsonl")[0]["error"]
    assert error.startswith(f"{tmp_path / 'data/videos/0.npy'}: one frame needs 4 visual tokens")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--kv_size=0", "--kv_size must be at least 1, got 0"),
        ("--kv_size=-5", "--kv_size must be at least 1, got -5"),
        ("--model=nope", "unknown model 'nope': expected one of"),
        ("--engine=tests.fake_engine:nope", "expected MODULE:FUNCTION"),
        ("--sample_fps=0", "--sample_fps must be"),
        ("--sample_fps=nan", "--sample_fps must be"),
        ("--chunk_idx=1", "chunk_idx must be in [0, 1), got 1"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argument: str, expected: str
) -> None:
    anno_path = videos_with(tmp_path, [[choice("a")]])
    assert run_worker(tmp_path, anno_path, tmp_path / "out", argument) == 2
    assert expected in capsys.readouterr().err


def test_a_command_without_folder_or_annotations_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--save_dir=x"])
    assert "--save_dir and --anno_path are needed, or --config" in capsys.readouterr().err


def test_a_damaged_config_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text('{"settings": []}')
    assert main([f"--config={tmp_path / 'config.json'}"]) == 2
    assert "config.json, field 'settings': expected a JSON object" in capsys.readouterr().err

"""Predictions on disk, the run's folder, the shards: what survives, what is refused."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_helpers import choice, rows, run_worker, videos_with

from eval import whole_file
from eval.whole_file import write_text
from video.error import VideoError
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Video
from video_qa.questions.video_paths import locate_video
from video_qa.results import run_folder
from video_qa.results.prediction import Prediction
from video_qa.results.predictions import PredictionLog, PredictionsError, read_predictions
from video_qa.results.run_folder import MARKER, REPORTS, RunFolderError, open_run_folder
from video_qa.results.stored import prediction_of
from video_qa.runner.run_arguments import results_path
from video_qa.runner.shards import shard, unfinished
from video_qa.settings.run_settings import RunSettings

FOREIGN = (*REPORTS, "results.csv", "predictions.jsonl", "config.json", "8_0.csv")


def prediction(video: int = 0, question: int = 0, text: str = "A", **more: object) -> Prediction:
    fields = {"run_id": "r", "video_id": video, "question": "q", "end_time": 1.0} | more
    return Prediction(video_index=video, question_index=question, prediction=text, **fields)  # type: ignore[arg-type]


@given(st.text(), st.floats(allow_nan=False), st.none() | st.text())
def test_a_line_gives_back_what_was_written(text: str, seconds: float, error: str | None) -> None:
    original = prediction(text=text, error=error, timing={"prefill_seconds": seconds})
    line = original.to_json()
    assert "\n" not in line and prediction_of(line) == original


def test_an_answer_stands_against_a_later_error_but_not_the_other_way(tmp_path: Path) -> None:
    path = tmp_path / "1_0.jsonl"
    with PredictionLog(path) as log:
        log.append(prediction(error="no"))
        log.append(prediction(text="B"))
        log.append(prediction(text="", error="again"))
    assert read_predictions([path], "r")[0, 0].prediction == "B"


def test_a_full_disk_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1_0.jsonl"
    with PredictionLog(path) as log:
        log.append(prediction(question=0))

        def refuse(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(PredictionsError, match=r"No space left.*are kept.*again"):
            log.append(prediction(question=1))
    assert (0, 0) in read_predictions([path], "r")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device")
def test_a_worker_on_a_full_disk_says_so_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    anno_path = videos_with(tmp_path, [[choice("a")], [choice("b")]])
    (tmp_path / "out").mkdir()
    real_open = Path.open

    def open_full(path: Path, *arguments: object, **options: object) -> object:
        full = path.name == "1_0.jsonl" and "a" in str(arguments[:1])
        return real_open(Path("/dev/full") if full else path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", open_full)
    (tmp_path / "out/1_0.jsonl").touch()
    monkeypatch.setattr(PredictionLog, "_drop_half_written_line", lambda log: None)
    assert run_worker(tmp_path, anno_path, tmp_path / "out") == 2
    assert "No space left" in capsys.readouterr().err


def test_an_atomic_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    write_text(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=r"cannot write .*results.csv: No space.*; make room"):
        write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def without(name: str) -> str:
    fields = json.loads(prediction().to_json())
    del fields[name]
    return json.dumps(fields)


def changed(**fields: object) -> str:
    return json.dumps(json.loads(prediction().to_json()) | fields)


DEEP = "[" * 200_000 + "]" * 200_000


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{]", "Expecting property name"),
        ("[]", "expected a JSON object, got list"),
        (without("question_index"), "field 'question_index': missing .fields present: .*run_id"),
        (without("error"), "field 'error': missing"),
        (changed(video_index="1"), "field 'video_index': expected an integer, got str"),
        (changed(video_id=None), "field 'video_id': expected an integer or text, got NoneType"),
        (changed(correct="no"), "field 'correct': expected true or false, got str"),
        (changed(prediction=None), "field 'prediction': expected text, got NoneType"),
        (changed(end_time=True), "field 'end_time': expected a finite number, got bool"),
        (changed(seconds=0).replace(": 0}", f": {'9' * 5000}}}"), "4300"),
        (changed(seconds=0).replace(": 0}", f": {DEEP}}}"), "nested more than 100 levels"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "1_0.jsonl"
    path.write_text(f"{prediction().to_json()}\n{line}\n{prediction(1).to_json()}\n")
    with pytest.raises(PredictionsError, match=f"line 2 is damaged .*{named}.*--overwrite"):
        read_predictions([path], "r")


def test_lines_of_earlier_versions_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(without("num_corrupt_frames") + "\n")
    assert read_predictions([tmp_path / "old.jsonl"], "r") == {(0, 0): prediction()}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "Expecting property name"),
        ("[]", "expected a JSON object, got list"),
        ("{}", "field 'settings': missing"),
        ('{"settings": 3}', "field 'settings': expected a JSON object, got int 3"),
        ('{"settings": {}, "engine": "x"}', "field 'engine': expected a JSON object, got str"),
        (DEEP, "nested more than 100 levels"),
    ],
)
def test_a_damaged_config_is_named(tmp_path: Path, content: str, named: str) -> None:
    with open_run_folder(tmp_path) as folder:
        folder.config.write_text(content)
        with pytest.raises(RunFolderError, match=rf"config.json: .*{named}.*--overwrite"):
            folder.check_belongs_to({})


def test_shards_of_another_run_are_set_aside_not_merged(tmp_path: Path) -> None:
    with PredictionLog(tmp_path / "2_0.jsonl") as log:
        log.append(prediction(0))
    with PredictionLog(tmp_path / "2_1.jsonl") as log:
        log.append(prediction(1, run_id="stale"))
    with open_run_folder(tmp_path) as folder:
        assert list(folder.merge_shards("r")) == [(0, 0)]
    assert [row["video_index"] for row in rows(tmp_path / "predictions.jsonl")] == [0]
    assert (tmp_path / "2_1.jsonl.stale").exists() and not (tmp_path / "2_0.jsonl").exists()


def test_a_folder_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as folder:
        folder.write_json(folder.config, {"settings": {"sample_fps": 0.5, "policy": "hermes"}})
        folder.check_belongs_to({"sample_fps": 0.5, "policy": "hermes"})
        with pytest.raises(RunFolderError, match=r"sample_fps: 0.5 there, 1.0 now\n.*--overwrite"):
            folder.check_belongs_to({"sample_fps": 1.0, "policy": "hermes"})


def test_results_of_another_program_are_not_touched(tmp_path: Path) -> None:
    for name in FOREIGN:
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("made elsewhere")
        with pytest.raises(RunFolderError, match=rf"holds {name} but no .*--overwrite or not"):
            open_run_folder(folder).__enter__()
        assert [path.name for path in folder.iterdir()] == [name]


def test_results_whose_settings_are_lost_are_not_continued(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as folder:
        folder.results.touch()
        with pytest.raises(RunFolderError, match=r"no config\.json.*--overwrite"):
            folder.check_belongs_to({})
        folder.clear()
    assert {path.name for path in tmp_path.iterdir()} == {".lock", MARKER}


def test_overwriting_keeps_what_no_run_wrote(tmp_path: Path) -> None:
    with open_run_folder(tmp_path) as folder:
        for name in ("metrics_mine.json", "notes.txt", "eval_results_old.txt", "1_0.md"):
            (tmp_path / name).touch()
        kept = set(tmp_path.iterdir())
        for name in (*REPORTS, "results.csv", "predictions.jsonl", "2_0.csv", "config.json"):
            (tmp_path / name).touch()
        folder.clear()
    assert set(tmp_path.iterdir()) == kept


def test_a_folder_from_before_there_were_markers_is_ours(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"run_id": "r", "settings": {}}')
    (tmp_path / "results.csv").touch()
    with open_run_folder(tmp_path) as folder:
        assert folder.marker.exists()


def test_a_draft_is_never_written_through_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Known:
        hex = "0" * 32

    (tmp_path / "victim").write_text("old")
    monkeypatch.setattr(whole_file, "uuid4", Known)
    (tmp_path / f".x.{Known.hex}.tmp").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="File exists"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "victim").read_text() == "old" and not (tmp_path / "x").exists()


def test_a_second_run_in_the_same_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, "LOCK_PATIENCE_SECONDS", 0.0)
    second = open_run_folder(tmp_path)
    with open_run_folder(tmp_path), pytest.raises(RunFolderError, match="another run is writing"):
        second.__enter__()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"cannot write to the results folder .*file"):
        open_run_folder(tmp_path / "file" / "results").__enter__()


@given(st.integers(0, 30), st.integers(1, 40))
def test_shards_cover_every_video_once_and_are_balanced(num_videos: int, num_chunks: int) -> None:
    videos = [Video(i, i, "v", ()) for i in range(num_videos)]
    shards = [shard(videos, num_chunks, i) for i in range(num_chunks)]
    assert sorted(video.index for dealt in shards for video in dealt) == list(range(num_videos))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_video_with_one_open_question_is_unfinished(tmp_path: Path) -> None:
    path = videos_with(tmp_path, [[choice("a"), choice("b")], [choice("c")]])
    videos = load_annotations(path)
    assert [v.index for v in unfinished(videos, {(0, 1), (1, 0)})] == [0]


@pytest.mark.parametrize(
    ("fps", "suffix", "folder"),
    [
        (0.5, ("hermes", "released"), "fps0.5-kv6000"),
        (1, ("hermes", "released"), "fps1-kv6000"),
        (1.0, ("hermes", "released"), "fps1.0-kv6000"),
        (1.0, ("recent", "paper"), "fps1.0-kv6000-recent-paper"),
    ],
)
def test_names_of_results_folders(
    tmp_path: Path, fps: float, suffix: tuple[str, str], folder: str
) -> None:
    assert results_path(tmp_path, fps, 6000, *suffix).name == folder


def test_the_other_spelling_of_a_whole_rate_is_found(tmp_path: Path) -> None:
    (tmp_path / "fps1-kv6000").mkdir()
    assert results_path(tmp_path, 1.0, 6000, "hermes", "released").name == "fps1-kv6000"


def test_settings_survive_the_way_to_a_worker() -> None:
    settings = RunSettings("m", 64, 0.5, True, policy="recent", max_pixels=9, sampling="released")
    stored = json.loads(json.dumps(asdict(settings) | {"device": "cpu"}))
    assert RunSettings.among(stored) == settings


def test_the_longest_end_of_a_path_wins(tmp_path: Path) -> None:
    for part in ("x.mp4", "videos/x.mp4", "mvbench/videos/x.mp4"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
        assert locate_video("/data/mvbench/videos/x.mp4", tmp_path) == tmp_path / part


def test_a_path_that_exists_is_taken_unless_a_root_is_given(tmp_path: Path) -> None:
    there = tmp_path / "a" / "x.mp4"
    there.parent.mkdir()
    there.touch()
    assert locate_video(str(there)) == there
    with pytest.raises(VideoError, match="--video_root"):
        locate_video("/nowhere/y.mp4", tmp_path)


def test_no_end_of_a_path_leaves_the_root(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "root").mkdir()
    with pytest.raises(VideoError):
        locate_video("/data/../secret.mp4", tmp_path / "root")


def test_without_a_root_paths_are_looked_for_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data/mvbench").mkdir(parents=True)
    (tmp_path / "data/mvbench/x.npy").touch()
    monkeypatch.chdir(tmp_path)
    assert locate_video("/data/mvbench/x.npy") == tmp_path / "data/mvbench/x.npy"

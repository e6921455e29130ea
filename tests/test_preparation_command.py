"""The whole command on tiny official files: exit codes, and what it names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("pydantic")
from videos import numbered_frames, write_video

from video_qa.preparation.check import check_videos
from video_qa.preparation.command import main
from video_qa.preparation.compare import differences
from video_qa.preparation.data_set import Counts
from video_qa.preparation.datasets import DATA_SETS, streamingbench
from video_qa.questions.annotation_file import load_annotations
from video_qa.questions.annotations import Question, Video
from video_qa.questions.benchmarks import DATASETS

ROOT = Path(__file__).parents[1]
DEFAULT_FOLDER = ROOT / "../shared/annotations"
PUBLISHED = Path(os.environ.get("HERMES_ANNOTATIONS", DEFAULT_FOLDER))
NAME = "streamingbench/streamingbench_realtime.json"


def question(text: str, second: int) -> dict[str, Any]:
    return {
        "task_type": "Counting",
        "question": text,
        "time_stamp": f"00:00:{second:02}",
        "answer": "B",
        "options": ["A. One.", "B. Two."],
        "required_ability": "working memory",
    }


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    """Two seconds."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    return write_video(path, numbered_frames(20), fps=10).read_bytes()


@pytest.fixture
def official(tmp_path: Path, video: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """StreamingBench as it comes, with two videos in two archives, and counts to match."""
    folder = tmp_path / "official"
    folder.mkdir()
    for number in (1, 2):
        name = f"Real-Time Visual Understanding_{number}-{number}.zip"
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"Real-Time/sample_{number}/video.mp4", video)
    records = [
        {
            "video_path": f"./videos/sample_{number}_real.mp4",
            "questions": [question("first?", 1), question("second?", 2)],
        }
        for number in (1, 2)
    ]
    (folder / "questions_real_stream.json").write_text(json.dumps(records))
    known = Counts(2, 4)
    monkeypatch.setitem(streamingbench.KNOWN, "questions_real_stream.json", known)
    monkeypatch.setitem(DATA_SETS["streamingbench"].annotations, NAME, known)  # type: ignore[arg-type]
    return folder


def records_of(official: Path) -> Any:
    return json.loads((official / "questions_real_stream.json").read_text())


def rewrite(official: Path, records: Any) -> None:
    (official / "questions_real_stream.json").write_text(json.dumps(records))


def prepare(tmp_path: Path, *more: str, dataset: str = "streamingbench") -> int:
    return main([dataset, f"--data_root={tmp_path / 'data'}", *more])


def test_from_archives_to_a_file_that_the_runner_reads(tmp_path, official, capsys):
    assert prepare(tmp_path, f"--source={official}") == 0
    said = capsys.readouterr().out
    assert "2 archive(s): 2 videos unpacked" in said and "2 entries / 4 questions, as known" in said
    assert "0 missing videos" in said and said.endswith("complete\n")
    path = tmp_path / "data" / NAME
    videos = load_annotations(path, DATASETS["streamingbench"].kind)
    assert all(Path(v.video_path).is_file() for v in videos)
    assert "2 videos looked at" in (path.parent / "preparation.txt").read_text()
    assert prepare(tmp_path, f"--source={official}") == 0
    assert "0 videos unpacked" in capsys.readouterr().out
    assert prepare(tmp_path, "--check") == 0


def test_videos_that_lie_elsewhere_are_used_where_they_are(tmp_path, official, video):
    for number in (1, 2):
        path = tmp_path / f"elsewhere/sample_{number}_real.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(video)
    assert prepare(tmp_path, f"--source={official}", f"--videos={tmp_path / 'elsewhere'}") == 0
    (first, _) = load_annotations(tmp_path / "data" / NAME)
    assert first.video_path == str(tmp_path / "elsewhere/sample_1_real.mp4")
    assert not (tmp_path / "data/streamingbench/videos").exists()
    path.unlink()
    assert prepare(tmp_path, f"--source={official}", f"--videos={tmp_path / 'elsewhere'}") == 1
    assert not path.exists(), "nothing is unpacked into a folder of the user's"


def test_a_partial_download_names_the_missing_videos(tmp_path, official, capsys):
    (official / "Real-Time Visual Understanding_2-2.zip").unlink()
    assert prepare(tmp_path, f"--source={official}") == 1
    said = capsys.readouterr().out
    assert "1 missing videos" in said and "sample_2_real.mp4" in said and "NOT complete" in said
    assert len(load_annotations(tmp_path / "data" / NAME)) == 2, "its questions stay"
    assert prepare(tmp_path, "--check") == 1
    assert "sample_2_real.mp4" in capsys.readouterr().out


def test_videos_that_do_not_open_and_questions_after_the_end(tmp_path, official, capsys):
    records = records_of(official)
    records[1]["questions"].append(question("late?", 50))
    rewrite(official, records)
    assert prepare(tmp_path, f"--source={official}") == 1
    assert "2 entries / 5 questions instead of the known 2 entries / 4" in capsys.readouterr().out
    (tmp_path / "data/streamingbench/videos/sample_1_real.mp4").write_bytes(b"no video")
    assert prepare(tmp_path, "--check") == 1
    said = capsys.readouterr().out
    assert "1 videos that do not open" in said and "sample_1_real.mp4" in said
    assert "1 questions after the end" in said and "asked at 50 s, ends at 2.0 s" in said


def test_malformed_records_stop_everything_unless_they_are_to_be_left_out(
    tmp_path, official, capsys
):
    records = records_of(official)
    records[0]["questions"][1]["answer"] = "E"
    records[1]["questions"][0]["question"] = " "
    rewrite(official, records)
    assert prepare(tmp_path, f"--source={official}") == 2
    said = capsys.readouterr().err
    assert "2 malformed record(s), nothing was written" in said and "--skip_malformed" in said
    assert "answer 'E' is no letter of its 2 options" in said and "record 1" in said
    assert not (tmp_path / "data").exists()
    assert prepare(tmp_path, f"--source={official}", "--skip_malformed") == 1
    said = capsys.readouterr().out
    assert said.count("LEFT OUT") == 2 and "instead of the known 2 entries / 4" in said


def test_a_stranger_in_the_annotation_is_refused(tmp_path, official, capsys):
    records = records_of(official)
    records[0]["video_path"] = "../../outside.mp4"
    rewrite(official, records)
    assert prepare(tmp_path, f"--source={official}") == 2
    assert "points outside the videos' folder" in capsys.readouterr().err
    assert prepare(tmp_path, "--source", str(official), "--skip_malformed") == 1
    path = tmp_path / "data" / NAME
    path.write_text(path.read_text().replace("sample_2_real", "../../outside"))
    (tmp_path / "data/outside.mp4").write_bytes(b"x")
    assert prepare(tmp_path, "--check") == 1
    assert "refused, the path leads out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source={empty}",), "no questions_real_stream.json or .* it holds nothing. Is this"),
        (("--source={none}",), "is not a folder"),
        (("--source={official}", "--videos={none}"), "--videos .* is not a folder"),
        (("--check",), "no .*streamingbench_realtime.json; give --source"),
        (("--compare={none}",), "no annotation file at"),
    ],
)
def test_what_cannot_be_carried_out(tmp_path, official, capsys, arguments, said):
    (tmp_path / "empty").mkdir()
    places = {"empty": tmp_path / "empty", "none": tmp_path / "none", "official": official}
    assert prepare(tmp_path, *(text.format(**places) for text in arguments)) == 2
    assert re.search(said, capsys.readouterr().err)


def test_a_truncated_archive_says_to_get_it_again(tmp_path, official, capsys):
    path = official / "Real-Time Visual Understanding_2-2.zip"
    path.write_bytes(path.read_bytes()[:-30])
    assert prepare(tmp_path, f"--source={official}") == 2
    assert "not completely downloaded" in capsys.readouterr().err
    assert (tmp_path / "data/streamingbench/videos/sample_1_real.mp4").is_file(), "kept"


def test_a_truncated_annotation_says_to_get_it_again(tmp_path, official, capsys):
    path = official / "questions_real_stream.json"
    path.write_text(path.read_text()[:-5])
    assert prepare(tmp_path, f"--source={official}") == 2
    assert "an interrupted download? Get it again" in capsys.readouterr().err


def test_unknown_data_sets_and_missing_source_say_what_there_is(tmp_path, capsys):
    for arguments, said in ((["imagenet"], "streamingbench"), (["trace"], "omlab/trace-bench")):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2 and said in capsys.readouterr().err


def test_it_runs_as_a_script(tmp_path, official):
    script = ROOT / "scripts/prepare_data.py"
    command = [sys.executable, str(script), "streamingbench", f"--source={official}"]
    done = subprocess.run(
        [*command, "--data_root=d"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, "two videos are not the 498 of the data set"
    assert "!!! d/streamingbench/streamingbench_realtime.json: 2 entries" in done.stdout


def test_what_differs_from_another_annotation(tmp_path, official, capsys):
    assert prepare(tmp_path, f"--source={official}") == 0
    path, other = tmp_path / "data" / NAME, tmp_path / "other.json"
    other.write_text(path.read_text())
    assert prepare(tmp_path, f"--compare={other}") == 0
    assert "no difference" in capsys.readouterr().out
    entries = json.loads(path.read_text())
    entries[0]["conversations"][1]["end_time"] = 2.5
    entries[1]["conversations"][0]["choices"][0] = "One. "
    del entries[1]["conversations"][1]
    other.write_text(json.dumps(entries))
    assert prepare(tmp_path, f"--compare={other}") == 1
    said = capsys.readouterr().out
    assert "3 difference(s)" in said
    assert "sample_1_real.mp4: 'second?': end_time_seconds 2.0 here, 2.5 there" in said
    assert "('One.', 'Two.') here, ('One. ', 'Two.') there (spaces only)" in said
    assert "sample_2_real.mp4: only here: 'second?' at 2 s" in said


def _other_answer(entry: dict[str, Any]) -> dict[str, str]:
    asked = entry["conversations"][0]
    return {"answer": next(text for text in asked["choices"] if text != asked["answer"])}


def _new_question() -> dict[str, Any]:
    return {"question": "new?", "choices": ["x", "y"], "answer": "x"}


CHANGES = {
    "answer": ("answer ", lambda e: e["conversations"][0].update(_other_answer(e))),
    "gone": ("only here", lambda e: e["conversations"].pop()),
    "came": ("only there: 'new?'", lambda e: e["conversations"].append(_new_question())),
    "moved": ("only here: video", lambda e: e.update(video_path="/data/x/videos/new.mp4")),
    "clip": ("clip_seconds, there only: ", lambda e: e.update(clip=[0, 1.5])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_real_entries_compared(tmp_path, change):
    """Real entries of the authors' file: no difference from themselves, and every change seen."""
    published = PUBLISHED / DATASETS["videomme"].annotation_file  # type: ignore[operator]
    if not published.exists():
        pytest.skip(f"no published annotations at {published}; set HERMES_ANNOTATIONS")
    entries = json.loads(published.read_text())[:40]
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    ours.write_text(json.dumps(entries))
    assert differences(load_annotations(ours), load_annotations(ours)) == []
    said, make = CHANGES[change]
    make(entries[7])
    theirs.write_text(json.dumps(entries))
    found = differences(load_annotations(ours), load_annotations(theirs))
    assert any(said in line for line in found)
    assert all(Path(e["video_path"]).name not in line for e in entries[:7] for line in found)


def test_answers_that_are_not_public_leave_the_submission(tmp_path, capsys):
    options = {f"option {i}": f"does {i}" for i in range(5)}
    (tmp_path / "ego").mkdir()
    record = [{"q_uid": "u", "question": "why?", **options}]
    (tmp_path / "ego/questions.json").write_text(json.dumps(record))
    assert prepare(tmp_path, f"--source={tmp_path / 'ego'}", dataset="egoschema") == 1
    said = capsys.readouterr().out
    assert "0 of 1 answers are public" in said and "!!! no " in said and "egoschema_subset" in said
    assert (
        load_annotations(tmp_path / "data/egoschema/egoschema.json")[0].questions[0].answer is None
    )


def test_missing_videos_of_a_deleted_archive_say_whom_to_ask():
    asked = (Question("q", "a"),)
    names = ("nturgbd_convert/S010.mp4", "ssv2_video/1.webm")
    videos = [Video(i, i, f"data/mvbench/videos/{name}", asked) for i, name in enumerate(names)]
    found = check_videos(videos, None, DATA_SETS["mvbench"].advice)
    assert "deleted upstream" in found.missing[0] and "rose1.ntu.edu.sg" in found.missing[0]
    assert found.missing[1] == videos[1].video_path


def test_arrays_and_folders_are_opened_too(tmp_path, capsys):
    """Movies are arrays of frames, episodes folders of images with bounds."""
    folder = tmp_path / "rvs/movie"
    folder.mkdir(parents=True)
    asked = {"question": "why?", "answer": "so", "end_time": 4}
    record = {"video_id": "tt1", "video_path": "x/tt1.npy", "conversations": [asked]}
    (folder / "movienet_oe.json").write_text(json.dumps([record]))
    videos = tmp_path / "movies"
    videos.mkdir()
    np.save(videos / "tt1.npy", np.zeros((5, 8, 8, 3), np.uint8))
    arguments = (f"--source={tmp_path / 'rvs'}", f"--videos={videos}")
    assert prepare(tmp_path, *arguments, dataset="rvs_movie") == 1  # one movie of 22
    said = capsys.readouterr().out
    assert "1 entries / 1 questions instead of the known 22" in said
    assert "0 videos that do not open" in said and "0 questions after the end" in said

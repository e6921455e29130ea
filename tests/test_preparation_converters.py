"""Converters on small files in the official formats, one per data set and format."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic")
from video_qa.preparation.data_set import Annotation, Findings, PreparationError
from video_qa.preparation.datasets import DATA_SETS
from video_qa.preparation.datasets.mvbench import FOLDERS
from video_qa.preparation.datasets.ovo_forward import OUR_WORDING
from video_qa.preparation.official_values import (
    below,
    chosen,
    listed,
    numbered,
    stamp_seconds,
    without_letters,
)
from video_qa.questions.benchmarks import DATASETS


def convert(
    key: str, source: Path, videos: Path = Path("/none")
) -> tuple[list[Annotation], Findings]:
    findings = Findings()
    return list(DATA_SETS[key].convert(source, videos, findings)), findings


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def asked(question: str, stamp: str, **more: Any) -> dict[str, Any]:
    return {
        "task_type": "Counting",
        "question": question,
        "time_stamp": stamp,
        "answer": "B",
        "options": ["A. One.", "B. Two.", "C. Five.", "D. Six."],
        "required_ability": "working memory",
        **more,
    }


def test_every_data_set_of_the_runner_can_be_prepared():
    prepared = {f"data/{name}" for data_set in DATA_SETS.values() for name in data_set.annotations}
    others = ("nanostream", "nanostream_words", "custom")
    assert prepared == {DATASETS[key].annotation_file for key in DATASETS if key not in others}


def test_streamingbench_by_video_and_time(tmp_path):
    late, early = asked("late?", "00:01:30"), asked("early?", "0:00:03", answer="A")
    record = {"video_path": "./videos/sample_7_real.mp4", "questions": [late, early]}
    write(tmp_path / "questions_real_stream.json", [record])
    (annotation,), findings = convert("streamingbench", tmp_path)
    (entry,) = annotation.entries
    assert (entry["video_id"], entry["video_path"]) == (1, "sample_7_real.mp4")
    first, second = entry["conversations"]
    assert (first["question"], first["answer"], first["end_time"]) == ("early?", "One.", 3.0)
    assert (second["choices"], second["end_time"]) == (["One.", "Two.", "Five.", "Six."], 90.0)
    assert second["task"] == "Counting" and not findings.malformed
    assert annotation.known is not None and annotation.known.questions == 2495


def test_streamingbench_with_one_object_per_moment(tmp_path):
    path = "./videos/sample_332_real.mp4"
    records = [{"video_path": path, "questions": [asked(f"q{i}", f"00:00:0{i}")]} for i in (5, 2)]
    write(tmp_path / "questions_real.json", records)
    (annotation,), _ = convert("streamingbench", tmp_path)
    (entry,) = annotation.entries
    assert [q["question"] for q in entry["conversations"]] == ["q2", "q5"]
    assert annotation.known is not None and annotation.known.questions == 2500


def test_the_malformed_stamps_of_streamingbench_are_corrected_aloud(tmp_path):
    bad = {"sample_132_real.mp4": "00:12450", "sample_242_real.mp4": "00:24"}
    records = [
        {"video_path": f"./videos/{name}", "questions": [asked("q", stamp)]}
        for name, stamp in bad.items()
    ]
    records.append(
        {"video_path": "./videos/sample_1_real.mp4", "questions": [asked("q", "00:12450")]}
    )
    write(tmp_path / "questions_real_stream.json", records)
    (annotation,), findings = convert("streamingbench", tmp_path)
    assert [e["conversations"][0]["end_time"] for e in annotation.entries] == [765.0, 24.0]
    for name, stamp in bad.items():
        assert any(name in note and stamp in note for note in findings.notes)
    assert len(findings.malformed) == 1 and "sample_1_real.mp4" in findings.malformed[0]


def test_streamingbench_as_the_hubs_csv(tmp_path):
    with (tmp_path / "Real_Time_Visual_Understanding.csv").open("w", newline="") as file:
        names = ("question_id", "task_type", "question", "time_stamp", "answer", "options")
        rows = csv.DictWriter(file, (*names, "frames_required", "temporal_clue_type"))
        rows.writeheader()
        rows.writerow(
            {
                "question_id": "Real-Time Visual Understanding_sample_9_2",
                "task_type": "Counting",
                "question": "how many?",
                "time_stamp": "08:01",
                "answer": "B",
                "options": "['A. One.', \"B. It's two.\"]",
                "frames_required": "single",
                "temporal_clue_type": "Prior",
            }
        )
    (annotation,), findings = convert("streamingbench", tmp_path)
    (entry,) = annotation.entries
    assert entry["video_path"] == "sample_9_real.mp4"
    assert entry["conversations"][0]["answer"] == "It's two."
    assert entry["conversations"][0]["end_time"] == 481.0
    assert any("08:01 has no hours" in note for note in findings.notes)


OVO = [
    {
        "id": 0,
        "task": "EPM",
        "video": "Ego4D/clips/e.mp4",
        "realtime": 215,
        "question": "Who?",
        "answer": "a person",
        "options": ["x", "y", "z"],
        "gt": 2,
    },
    {
        "id": 1558,
        "task": "REC",
        "video": "perception_test/p.mp4",
        "activity": "breaking something",
        "start_times": [6],
        "end_times": [17],
        "test_info": [{"realtime": 17, "count": 1}, {"realtime": 32.5, "count": 12}],
    },
    {
        "id": 1516,
        "task": "SSR",
        "video": "COIN/c.mp4",
        "test_info": [
            {"realtime": 27, "step": "pull {up} hair", "type": 1},
            {"realtime": 26, "step": "put on", "type": 0},
        ],
    },
    {
        "id": 1468,
        "task": "CRR",
        "video": "MovieNet/m.mp4",
        "question": "What does she do?",
        "answer": "She walks.",
        "test_info": [{"realtime": 297, "type": 0}],
    },
]


def test_ovobench_takes_the_numbered_option(tmp_path):
    write(tmp_path / "ovo_bench_new.json", OVO)
    (annotation, _), findings = convert("ovobench", tmp_path)
    (entry,) = annotation.entries
    assert entry == {
        "video_id": 0,
        "video_path": "Ego4D/clips/e.mp4",
        "task": "EPM",
        "conversations": [
            {"question": "Who?", "answer": "z", "choices": ["x", "y", "z"], "end_time": 215}
        ],
    }
    assert any("differs in 1 records" in note for note in findings.notes)


def test_the_forward_track_asks_in_order_of_time(tmp_path):
    write(tmp_path / "ovo_bench_new.json", OVO)
    (_, annotation), findings = convert("ovobench", tmp_path)
    counting, steps, clue = annotation.entries
    assert [e["task"] for e in annotation.entries] == ["REC", "SSR", "CRR"]
    assert [q["answer"] for q in counting["conversations"]] == ["1", "12"]
    assert "How many times did they breaking something?" in counting["conversations"][0]["question"]
    assert [(q["end_time"], q["test_index"]) for q in steps["conversations"]] == [(26, 1), (27, 0)]
    assert [q["answer"] for q in steps["conversations"]] == ["No", "Yes"]
    assert "pull {up} hair" in steps["conversations"][1]["question"]
    assert "What does she do?" in clue["conversations"][0]["question"]
    assert annotation.counts.questions == 5
    assert any("own words" in note for note in findings.notes)


def test_the_official_templates_are_read_and_not_run(tmp_path):
    write(tmp_path / "ovo_bench_new.json", OVO)
    program = "import nonexistent\nBACKWARD_TASKS = ['EPM']\n" + "".join(
        f'{task}_PROMPT_TEMPLATE = """\nofficial {task}: {{}}\nanswer so\n"""\n'
        for task in OUR_WORDING
    )
    write(tmp_path / "constant.py", program)
    (_, annotation), findings = convert("ovobench", tmp_path)
    assert annotation.entries[2]["conversations"][0]["question"] == (
        "official CRR: What does she do?\nanswer so"
    )
    assert any("official templates" in note for note in findings.notes)
    write(tmp_path / "constant.py", "REC_PROMPT_TEMPLATE = 'only this {}'")
    (_, annotation), findings = convert("ovobench", tmp_path)
    assert any("own words" in note for note in findings.notes)


def changed(index: int, **changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (OVO[index] | changes).items() if v != "REMOVE"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (changed(0, gt=3), "answer 3 is no number of its 3 options"),
        (changed(0, gt="2"), "field 'gt': expected an integer"),
        (changed(0, video="../../etc/x.mp4"), "points outside the videos' folder"),
        (changed(0, video="/etc/x.mp4"), "points outside the videos' folder"),
        (changed(0, realtime=None), "field 'realtime'"),
        (changed(1, activity="REMOVE"), r"test_info\[0\]: a REC test needs 'activity'"),
        (changed(1, test_info=[{"realtime": 1}]), "a REC test needs 'count'"),
        (changed(2, test_info=[{"realtime": 1, "step": "s", "type": 2}]), "must be 0 or 1, got 2"),
        (changed(3, test_info=[{"type": 1}]), "'realtime': missing"),
        ("text", "record 4: expected a JSON object"),
    ],
)
def test_malformed_records_are_named_and_the_others_stay(tmp_path, record, said):
    write(tmp_path / "ovo_bench_new.json", [*OVO, record])
    annotations, findings = convert("ovobench", tmp_path)
    (line,) = findings.malformed
    assert "ovo_bench_new.json, record 4" in line
    assert re.search(said, line)
    assert sum(a.counts.entries for a in annotations) == 4


@pytest.mark.parametrize("key", ["rvs_ego", "rvs_movie"])
def test_rvs_keeps_what_it_is_given(tmp_path, key):
    name, suffix = (
        Path(next(iter(DATA_SETS[key].annotations))).name,
        {"rvs_ego": "mp4"}.get(key, "npy"),
    )
    question = {"question": "why?", "answer": "so", "start_time": 0, "end_time": 300}
    record = {"video_id": "v", "video_path": f"data/rvs/x/videos/v.{suffix}", "duration": 3600.0}
    write(tmp_path / "deep" / name, [record | {"conversations": [question]}])
    (annotation,), _ = convert(key, tmp_path)
    assert annotation.entries == [
        record | {"video_path": f"v.{suffix}", "conversations": [question]}
    ]


def test_the_original_of_rvs_is_refused_with_a_word(tmp_path):
    write(tmp_path / "vstream-realtime" / "rvs_ego.json", [{}])
    with pytest.raises(PreparationError, match=r"rvs_ego\.json, the original VStream-QA.*Becomeb"):
        convert("rvs_ego", tmp_path)


def videomme_row(number: int, **changes: Any) -> dict[str, Any]:
    options = [f"{letter}. option {letter.lower()}" for letter in "ABCD"]
    row = {"video_id": "001", "duration": "short", "domain": "d", "sub_category": "s", "url": "u"}
    row |= {
        "videoID": "fFjv93ACGo8",
        "question_id": f"001-{number}",
        "task_type": "Counting Problem",
    }
    return row | {"question": f"q{number}", "options": options, "answer": "C"} | changes


VIDEOMME = [videomme_row(1), videomme_row(2, answer="A"), videomme_row(1, videoID="other")]


def videomme_as_lines(folder: Path) -> None:
    write(folder / "test-00000-of-00001.jsonl", "\n".join(json.dumps(row) for row in VIDEOMME))


def videomme_as_csv(folder: Path) -> None:
    import pandas as pd

    pd.DataFrame(VIDEOMME).to_csv(folder / "test-00000-of-00001.csv", index=False)


def videomme_as_parquet(folder: Path) -> None:
    import pandas as pd

    pytest.importorskip("pyarrow")
    pd.DataFrame(VIDEOMME).to_parquet(folder / "test-00000-of-00001.parquet")


@pytest.mark.parametrize("write_it", [videomme_as_lines, videomme_as_csv, videomme_as_parquet])
def test_videomme_from_every_kind_of_table(tmp_path, write_it):
    write_it(tmp_path)
    (annotation,), findings = convert("videomme", tmp_path)
    assert not findings.malformed
    first, other = annotation.entries
    assert (first["video_id"], first["video_path"]) == ("fFjv93ACGo8", "fFjv93ACGo8.mp4")
    assert first["duration_category"] == "short" and other["video_id"] == "other"
    assert first["conversations"] == [
        {
            "question": f"q{number}",
            "choices": ["option a", "option b", "option c", "option d"],
            "answer": answer,
            "question_type": "Counting Problem",
        }
        for number, answer in ((1, "option c"), (2, "option a"))
    ]


def test_a_parquet_file_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    import pandas as pd

    def refuse(path: Path) -> None:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", refuse)
    (tmp_path / "test-0.parquet").write_bytes(b"PAR1")
    with pytest.raises(PreparationError, match=r"test-0\.parquet: .*pip install pyarrow"):
        convert("videomme", tmp_path)


@pytest.fixture
def mvbench(tmp_path: Path) -> Path:
    """One question per task, bounds and frames where the official files have them."""
    for task in FOLDERS:
        record = {"video": "x.mp4", "question": f"{task}?", "candidates": ["a", "b"], "answer": "b"}
        if task == "action_sequence":
            record |= {"question_id": "Interaction_T1_13", "start": 11.1, "end": 19.6}
        if task == "episodic_reasoning":
            record |= {"video": "castle_clip", "start": 0.0, "end": 38.32, "fps": 3}
            record |= {"subtitle": "s", "show_name": "Castle"}
        if task == "fine_grained_pose":
            record["video"] = "S010_rgb.avi"
        write(tmp_path / "official/json" / f"{task}.json", [record])
    return tmp_path / "official"


def test_mvbench_in_the_order_of_its_tasks(mvbench, tmp_path):
    (annotation,), _ = convert("mvbench", mvbench)
    entries = {e["conversations"][0]["task"]: e for e in annotation.entries}
    assert list(entries) == sorted(FOLDERS) and [e["video_id"] for e in annotation.entries] == [
        *range(20)
    ]
    assert entries["action_antonym"]["video_path"] == "ssv2_video/x.mp4"
    assert entries["action_sequence"]["clip"] == [11.1, 19.6]
    episode = entries["episodic_reasoning"]
    assert episode["video_path"] == "tvqa/frames_fps3_hq/castle_clip"
    assert (episode["fps"], episode["clip"], episode["show_name"]) == (3, [0.0, 38.32], "Castle")


def test_mvbench_takes_the_name_under_which_a_video_is_there(mvbench, tmp_path):
    videos = tmp_path / "videos"
    for name in ("nturgbd/S010_rgb.mp4", "star/Charades_v1_480/x_11.1_19.6.mp4"):
        write(videos / name, "")
    write(videos / "star/Charades_v1_480/x.mp4", "")
    (annotation,), _ = convert("mvbench", mvbench, videos)
    entries = {e["conversations"][0]["task"]: e for e in annotation.entries}
    assert entries["fine_grained_pose"]["video_path"] == "nturgbd/S010_rgb.mp4"
    cut = entries["action_sequence"]
    assert cut["video_path"] == "star/Charades_v1_480/x_11.1_19.6.mp4" and "clip" not in cut


def test_a_missing_task_of_mvbench_is_named(mvbench):
    (mvbench / "json/moving_count.json").unlink()
    with pytest.raises(PreparationError, match=r"no moving_count\.json"):
        convert("mvbench", mvbench)


def test_egoschema_with_public_and_withheld_answers(tmp_path):
    options = {f"option {i}": f"does {i}" for i in range(5)}
    records = [
        {"q_uid": uid, "google_drive_id": "g", "question": "why?", **options} for uid in "uv"
    ]
    write(tmp_path / "questions.json", records)
    write(tmp_path / "subset_answers.json", {"v": 3})
    (everything, subset), _ = convert("egoschema", tmp_path)
    assert [e["conversations"][0]["answer"] for e in everything.entries] == [None, "does 3"]
    assert [e["video_path"] for e in subset.entries] == ["v.mp4"]
    del records[0]["option 4"]
    write(tmp_path / "questions.json", records)
    _, findings = convert("egoschema", tmp_path)
    assert findings.malformed == [
        "questions.json, record 0 (u): expected texts 'option 0' to 'option 4'"
    ]


def test_egoschema_as_the_hubs_table(tmp_path):
    option = [f"{letter}. does {letter}" for letter in "ABCDE"]
    rows = [
        {"video_idx": uid, "question": "why?", "option": option, "answer": answer}
        for uid, answer in (("u", None), ("v", "4"), ("w", 0))
    ]
    write(tmp_path / "test-0.jsonl", "\n".join(map(json.dumps, rows)))
    (everything, _), _ = convert("egoschema", tmp_path)
    answers = [e["conversations"][0]["answer"] for e in everything.entries]
    assert answers == [None, "does E", "does A"]


def test_trace_points_at_the_videos_of_the_other_two(tmp_path):
    records = [
        {
            "answer": "B",
            "options": ["A. gum", "B. candy"],
            "question": "what?",
            "question_time_s": 48.0,
            "record_id": f"r{i}",
            "task": "qa",
            "task_type": "EPM",
            "video_path": path,
            "metadata": {"dataset": "ovo_bench"},
        }
        for i, path in enumerate(("src_videos/Ego4D/clips/e.mp4", "videos/sample_4_real.mp4"))
    ]
    write(tmp_path / "data/releases/v1.1.0/qa.jsonl", "\n".join(map(json.dumps, records)))
    (annotation,), _ = convert("trace", tmp_path)
    assert [e["video_path"] for e in annotation.entries] == [
        "ovobench/videos/Ego4D/clips/e.mp4",
        "streamingbench/videos/sample_4_real.mp4",
    ]
    first = annotation.entries[0]["conversations"][0]
    assert (first["answer"], first["end_time"]) == ("candy", 48.0)
    write(tmp_path / "theirs/src_videos/Ego4D/clips/e.mp4", "")
    (annotation,), _ = convert("trace", tmp_path, tmp_path / "theirs")
    assert annotation.entries[0]["video_path"] == "src_videos/Ego4D/clips/e.mp4"


PLACES = {
    (
        "streamingbench",
        "Real-Time Visual Understanding_1-50/sample_1/video.mp4",
    ): "sample_1_real.mp4",
    ("streamingbench", "x/Real-Time/sample_1/video.mp4"): "sample_1_real.mp4",
    ("streamingbench", "x/__MACOSX/sample_1/video.mp4"): None,
    ("streamingbench", "x/sample_1/notes.txt"): None,
    ("ovobench", "src_videos.tar/src_videos/Ego4D/clips/e.mp4"): "Ego4D/clips/e.mp4",
    ("ovobench", "src_videos.tar/./src_videos/COIN/c.mp4"): "COIN/c.mp4",
    ("ovobench", "src_videos.tar/src_videos/COIN"): None,
    ("videomme", "videos_chunked_01/data/fFjv93ACGo8.mp4"): "fFjv93ACGo8.mp4",
    ("videomme", "videos_chunked_01/data/fFjv93ACGo8.MP4"): "fFjv93ACGo8.mp4",
    ("mvbench", "perception/perception/videos/v.mp4"): "perception/videos/v.mp4",
    ("mvbench", "tvqa/tvqa/frames_fps3_hq/c/1.jpg"): "tvqa/frames_fps3_hq/c/1.jpg",
    ("mvbench", "ssv2_video/ssv2_video/1.webm"): "ssv2_video/1.webm",
    ("mvbench", "clevrer/video_validation/1.mp4"): "clevrer/video_validation/1.mp4",
    ("mvbench", "mine/nturgbd/S010_rgb.avi"): "nturgbd/S010_rgb.avi",
    ("mvbench", "other/readme.txt"): None,
    ("egoschema", "videos/videos/u.mp4"): "u.mp4",
    ("rvs_movie", "movie/videos/tt1.npy"): "tt1.npy",
    (
        "trace",
        "z/Anomaly Context Understanding_1-25/sample_3/video.mp4",
    ): "streamingbench/videos/sample_3_Anomaly_Context_Understanding.mp4",
    (
        "trace",
        "Real-Time Visual Understanding_1-50/sample_3/video.mp4",
    ): "streamingbench/videos/sample_3_real.mp4",
}


@pytest.mark.parametrize("case", PLACES)
def test_where_members_of_archives_go(case):
    key, member = case
    assert DATA_SETS[key].place(member) == PLACES[case]


def test_letters_before_options():
    assert without_letters(["A. x", "B. y"], "w") == ["x", "y"]
    assert without_letters(["(A) x", "(B) y"], "w") == ["x", "y"]
    assert without_letters(["A. Lincoln", "G. Grant"], "w") == ["A. Lincoln", "G. Grant"]
    with pytest.raises(ValueError, match="some options carry their letter"):
        without_letters(["A. x", "B. y", "z"], "w")


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [("00:00:06", 6), ("0:01:30", 90), ("00:00:8", 8), ("08:01", 481), ("1:00:00", 3600)],
)
def test_stamps(stamp, seconds):
    assert stamp_seconds(stamp, "w") == seconds


@pytest.mark.parametrize("stamp", ["00:12450", "", "12", "00:61:00", "00:00:61", "a:b:c", "-1:00"])
def test_what_is_no_stamp(stamp):
    with pytest.raises(ValueError, match="is not HH:MM:SS"):
        stamp_seconds(stamp, "w")


def test_what_is_no_answer():
    for letter in ("", "C", "a", "AB"):
        with pytest.raises(ValueError, match="is no letter of its 2 options"):
            chosen(letter, ["x", "y"], "w")
    for number in (-1, 2):
        with pytest.raises(ValueError, match="is no number of its 2 options"):
            numbered(number, ["x", "y"], "w")
    with pytest.raises(ValueError, match="expected a list of texts"):
        listed("['a' 'b'", "w")


@pytest.mark.parametrize("path", ["../x.mp4", "a/../../x.mp4", "/x.mp4", "\\x.mp4", "C:/x.mp4", ""])
def test_paths_that_leave_the_folder(path):
    with pytest.raises(ValueError, match="points outside"):
        below(path, "w")

"""eval_multiple_choice.py on small tables whose results were worked out by hand."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.eval_multiple_choice import main
from eval.intervals import interval
from eval.multiple_choice.tasks import GENERAL, OVO, STREAMING, VIDEOMME_TASKS, find_benchmark

REPOSITORY = Path(__file__).resolve().parents[1]
RULE = "=" * 60

# (video_id, task, right?): OCR 1/2, ACR 1/1, EPM 2/3, HLD 0/2.
OVO_ROWS = [
    ("v1", "OCR", True),
    ("v1", "OCR", False),
    ("v2", "ACR", True),
    ("v2", "EPM", False),
    ("v3", "EPM", True),
    ("v3", "EPM", True),
    ("v3", "HLD", False),
    ("v4", "HLD", False),
]


def write_csv(path: Path, rows: Sequence[tuple[str, str, bool]], **columns: Any) -> Path:
    """A results CSV in the released form: columns, order and quoting."""
    table = pd.DataFrame(
        {
            "video_id": [video for video, _, _ in rows],
            "question": "q",
            "choices": "['yes', 'no']",
            "answer": "yes",
            "correct_choice": "A",
            "pred_answer": ["A) yes" if right else "B) no" for _, _, right in rows],
            "pred_choice": ["A" if right else "B" for _, _, right in rows],
            "qa_acc": [100.0 if right else 0.0 for _, _, right in rows],
        }
    )
    if any(task for _, task, _ in rows):
        table["task"] = [task for _, task, _ in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.assign(**columns).to_csv(path, index=False, quoting=csv.QUOTE_NONNUMERIC)
    return path


def metrics(folder: Path, section: str) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())[section]


def percents(mean: float, cluster_sums: Sequence[float], num_questions: float) -> Any:
    """The interval that `eval.intervals` gives, whose own tests say why."""
    bounds = interval(mean, np.array(cluster_sums), num_questions)
    return pytest.approx([100 * bound for bound in bounds if bound is not None])


def test_ovo_report_is_the_released_text(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS)
    assert main(["general", "--results_path", str(path)]) == 0
    released = [
        "#Samples: 8",
        "Average qa_acc: 50.00",
        f"save_dir: {tmp_path}",
        *[RULE, "TASK-SPECIFIC ACCURACY (OVOBench)", RULE],
        "ACR (Action Recognition): 100.00% (n=1)",
        "OCR: 50.00% (n=2)",
        "EPM (Episodic Memory): 66.67% (n=3)",
        "HLD (Hallucination Detection): 0.00% (n=2)",
        *[RULE, "MAJOR CATEGORY ACCURACY", RULE],
        "Real-Time Visual Perception: 75.00% (n=3)",
        "  - Includes: ACR, ATR, OJR, STU, OCR, FPD",
        "Backward Tracing: 33.33% (n=5)",
        "  - Includes: EPM, HLD, ASI",
        "%Errors: 0.00",
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(released)] == released
    assert f"Evaluation report saved to: {tmp_path / 'eval_results.txt'}" in printed
    saved = (tmp_path / "eval_results.txt").read_text().splitlines()
    assert saved[:3] == [RULE, "EVALUATION RESULTS (OVOBench)", RULE]
    assert saved[3 : 3 + len(released)] == released


def test_ovo_metrics_by_hand(tmp_path: Path) -> None:
    main(["general", "--results_path", str(write_csv(tmp_path / "results.csv", OVO_ROWS))])
    found = metrics(tmp_path, "general")
    assert (found["n"], found["num_videos"], found["benchmark"]) == (8, 4, "OVOBench")
    assert found["accuracy_percent"] == 50
    # Cluster sums of (y - 1/2) / 8: 0, 0, 1/16, -1/16.
    assert found["interval95_percent"] == percents(0.5, [0, 0, 1 / 16, -1 / 16], 8)
    assert found["ovo_average_by_question"]["accuracy_percent"] == 50
    tracks = found["ovo_average_of_tracks"]
    assert tracks["accuracy_percent"] == pytest.approx((75 + 100 / 3) / 2)
    # Weights 1/4 per task: v1 0, v2 -1/18, v3 1/18, v4 0.
    number = 1 / (1 / 4**2 + 4 / 8**2 + 3 / 12**2)
    assert tracks["interval95_percent"] == percents(13 / 24, [0, -1 / 18, 1 / 18, 0], number)
    assert found["tasks"]["EPM"]["accuracy_percent"] == pytest.approx(200 / 3)
    assert found["tasks"]["ACR"]["interval95_percent"] is None
    assert found["categories"]["Backward Tracing"]["accuracy_percent"] == pytest.approx(100 / 3)


def test_no_ovo_average_when_a_track_is_missing(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS[:3])
    main(["general", "--results_path", str(path)])
    assert "ovo_average_of_tracks" not in metrics(tmp_path, "general")


def test_streamingbench_has_its_own_task_order(tmp_path: Path) -> None:
    names = ["Prospective Reasoning", "Clips Summarize", "Text-Rich Understanding", "Zebra"]
    path = write_csv(tmp_path / "1_0.csv", [(name, name, True) for name in names])
    assert main(["general", "--results_path", str(path)]) == 0
    lines = (tmp_path / "eval_results.txt").read_text().splitlines()
    assert "EVALUATION RESULTS (StreamingBench)" in lines
    shown = [line.split(":")[0] for line in lines if line.endswith("(n=1)")]
    assert shown == ["Text-Rich Understanding", "Clips Summarize", "Prospective Reasoning", "Zebra"]


def videomme_csv(folder: Path) -> Path:
    rows = [(f"v{i // 3}", task, i % 3 == 0) for i, task in enumerate(sorted(VIDEOMME_TASKS))]
    durations = ["short"] * 3 + ["medium"] * 3 + ["long"] * 6
    return write_csv(folder / "results.csv", rows, duration_category=durations)


def test_videomme_is_not_streamingbench_and_reports_do_not_collide(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = videomme_csv(tmp_path)
    assert main(["general", "--results_path", str(path)]) == 0
    general = (tmp_path / "eval_results.txt").read_text()
    assert "EVALUATION RESULTS (General)" in general
    shown = [line.split(":")[0] for line in general.splitlines() if line.endswith("(n=1)")]
    assert shown == sorted(VIDEOMME_TASKS)
    assert main(["videomme", "--results_path", str(path)]) == 0
    assert (tmp_path / "eval_results.txt").read_text() == general
    own = (tmp_path / "eval_results_videomme.txt").read_text().splitlines()
    assert "Short   :    1/   3 correct, Accuracy: 33.33%" in own
    assert "Long    :    2/   6 correct, Accuracy: 33.33%" in own
    assert own.index("Short   :    1/   3 correct, Accuracy: 33.33%") < own.index(
        "Medium  :    1/   3 correct, Accuracy: 33.33%"
    )
    assert metrics(tmp_path, "general")["n"] == metrics(tmp_path, "videomme")["n"] == 12
    assert metrics(tmp_path, "videomme")["durations"]["long"]["n"] == 6


@pytest.mark.parametrize(
    ("dataset", "names", "has_durations", "expected"),
    [
        ("streamingbench", ["EPM"], False, STREAMING),
        ("videomme", ["Action Recognition"], False, GENERAL),
        ("mvbench", [""], False, GENERAL),
        ("my_dataset", ["EPM", "HLD", "x"], False, OVO),
        (None, ["Action Recognition", "Object Recognition"], False, STREAMING),
        (None, ["Action Recognition", "Object Recognition"], True, GENERAL),
        (None, ["Action Recognition", "OCR Problems"], False, GENERAL),
        (None, ["Action Recognition", "Object Recognition", "OCR Problems"], False, GENERAL),
        (None, ["Action Recognition", "Object Recognition", "Counting"], False, STREAMING),
        (None, ["Counting", "a", "b"], False, GENERAL),
        (None, ["", ""], False, GENERAL),
    ],
)
def test_find_benchmark(
    dataset: str | None, names: list[str], has_durations: bool, expected: object
) -> None:
    assert find_benchmark(dataset, names, has_durations) is expected


def test_config_beside_the_csv_outranks_the_names(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "results.csv", [("v", "Action Recognition", True)])
    (tmp_path / "config.json").write_text('{"dataset": "videomme"}')
    main(["general", "--results_path", str(path)])
    assert metrics(tmp_path, "general")["benchmark"] == "General"
    assert metrics(tmp_path, "general")["dataset"] == "videomme"


def test_errors_and_unparsed_are_counted_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [("v1", "", True), ("v1", "", False), ("v2", "", False), ("v3", "", False)]
    path = write_csv(tmp_path / "results.csv", rows, error=["", "", "", "cannot open v3.mp4"])
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[2, ["pred_answer", "pred_choice"]] = ["i can't tell", "i"]
    table.loc[3, ["pred_answer", "pred_choice", "qa_acc"]] = ""
    table.to_csv(path, index=False)
    assert main(["general", "--results_path", str(path), "--debug"]) == 0
    out = capsys.readouterr().out
    assert "#Samples: 3" in out
    assert "Average qa_acc: 33.33" in out
    assert "%Errors: 33.33" in out
    assert "!!! 1 of 4 rows" in out
    assert "i can't tell" in out  # --debug
    found = metrics(tmp_path, "general")
    assert (found["n"], found["num_unparsed"], found["num_error_rows"]) == (3, 1, 1)
    assert found["accuracy_counting_errors_as_wrong_percent"] == 25
    assert "i can't tell" not in (tmp_path / "eval_results.txt").read_text()


def test_an_empty_prediction_is_never_right(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "results.csv", [("v1", "", True)] * 4)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, "pred_answer"], table.loc[1, "pred_answer"] = "", " "
    table.to_csv(path, index=False)
    assert main(["general", "--results_path", str(path)]) == 0
    found = metrics(tmp_path, "general")
    assert (found["accuracy_percent"], found["num_unparsed"]) == (50, 2)


def test_video_path_is_the_cluster_where_it_is_given(tmp_path: Path) -> None:
    rows = [(str(i), "", i % 2 == 0) for i in range(6)]
    path = write_csv(tmp_path / "results.csv", rows, video_path=["a", "a", "b", "b", "c", "c"])
    main(["general", "--results_path", str(path)])
    found = metrics(tmp_path, "general")
    assert (found["num_videos"], found["clustered_by"]) == (3, "video_path")


def test_egoschema_submission(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_csv(tmp_path / "results.csv", [(name, "", True) for name in "uvwxyz"])
    table = pd.read_csv(path, dtype=str)
    table["pred_choice"] = ["A", "E", "C", "F", "b", ""]
    table.to_csv(path, index=False)
    assert main(["egoschema", "--results_path", str(path)]) == 0
    assert (
        tmp_path / "submission.csv"
    ).read_text() == "q_uid,answer\nu,0\nv,4\nw,2\nx,0\ny,0\nz,0\n"
    out = capsys.readouterr().out
    assert "Invalid pred_choice: F" in out
    assert "Invalid pred_choice: b" in out
    assert metrics(tmp_path, "egoschema")["num_invalid"] == 3


def test_metrics_of_others_survive_and_damage_is_kept_aside(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS)
    (tmp_path / "metrics.json").write_text('{"timing": {"seconds": 1}}')
    main(["general", "--results_path", str(path)])
    assert metrics(tmp_path, "timing") == {"seconds": 1}
    for damaged in ('{"timing": ', "[1]", "[" * 100_000):
        (tmp_path / "metrics.json").write_text(damaged)
        assert main(["general", "--results_path", str(path)]) == 0
        assert (tmp_path / "metrics.json.unreadable").read_text() == damaged
        assert metrics(tmp_path, "general")["n"] == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "the file is empty"),
        (b'"video_id","pred_answer","pred_choice","qa_acc"\n', "header but no rows"),
        (b"video_id,question\n1,q\n", "missing column(s) pred_answer, pred_choice, qa_acc"),
        (b"video_id,pred_answer,pred_choice,qa_acc\n1,A,A,oops\n", "none of its 1 rows is usable"),
        (b"video_id,pred_answer,pred_choice,qa_acc\n1,A,A,250\n", "expected percent"),
        (b"video_id,pred_answer,pred_choice,qa_acc,error\n1,,,0,lost\n", "none of its 1 rows"),
        (b"video_id,pred_answer,pred_choice,qa_acc\n1,B,B,0,100\n2,B,B,0,100\n", "more cells than"),
        (b"video_id,pred_answer,pred_choice,qa_acc\n1,B,B,0,1,100\n", "more cells than"),
        (b"\x89PNG\xff\xfe\n\xff,\xff\n", "not a readable UTF-8 CSV"),
        (b'video_id,pred_answer,pred_choice,qa_acc\n1,"A', "not a readable UTF-8 CSV"),
    ],
)
def test_bad_files_are_named_with_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture, content: bytes | None, message: str
) -> None:
    path = tmp_path / "results.csv"
    if content is not None:
        path.write_bytes(content)
    assert main(["general", "--results_path", str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert message in error
    assert not (tmp_path / "metrics.json").exists()


def test_videomme_needs_its_column(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS)
    assert main(["videomme", "--results_path", str(path)]) == 2
    assert "missing column(s) duration_category" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_printed_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS)
    (tmp_path / "eval_results.txt").mkdir()  # works for root too, unlike a read-only folder
    assert main(["general", "--results_path", str(path)]) == 2
    captured = capsys.readouterr()
    assert "Average qa_acc: 50.00" in captured.out
    assert "cannot write" in captured.err
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("asked", "existing"), [("fps1-kv100", "fps1.0-kv100"), ("fps2.0-kv6", "fps2-kv6")]
)
def test_both_spellings_of_a_whole_frame_rate(tmp_path: Path, asked: str, existing: str) -> None:
    write_csv(tmp_path / existing / "results.csv", OVO_ROWS)
    assert main(["general", "--results_path", str(tmp_path / asked / "results.csv")]) == 0
    assert (tmp_path / existing / "eval_results.txt").exists()


def test_no_subcommand_prints_help(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "egoschema" in capsys.readouterr().err


def test_runs_as_a_script_from_the_repository_root(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "results.csv", OVO_ROWS)
    command = [
        sys.executable,
        "eval/eval_multiple_choice.py",
        "general",
        "--results_path",
        str(path),
    ]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Real-Time Visual Perception: 75.00% (n=3)" in done.stdout


@settings(deadline=None)  # it waits for the disk
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.booleans()), min_size=1, max_size=30)
)
def test_accuracy_is_the_share_of_right_rows(rows: list[tuple[str, bool]]) -> None:
    with TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "r.csv", [(video, "", right) for video, right in rows])
        assert main(["general", "--results_path", str(path)]) == 0
        found = metrics(Path(folder), "general")
    assert found["accuracy_percent"] == pytest.approx(100 * sum(r for _, r in rows) / len(rows))
    assert found["num_videos"] == len({video for video, _ in rows})

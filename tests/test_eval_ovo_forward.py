"""OVO-Bench's forward track: both rules, worked out by hand, and the average of three tracks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eval.eval_multiple_choice import main
from eval.multiple_choice.ovo_rules import official_right, strict_right

REPLIES = [
    # task, reply, answer, official, strict
    ("REC", "12", "12", True, True),
    ("REC", "12 times.", "12", True, True),
    ("REC", "1 or 2", "12", True, False),
    ("REC", "They did it 3 times", "2", False, False),
    ("REC", "two", "2", False, False),
    ("REC", "2 or 3", "2", False, False),
    ("REC", "012", "12", False, True),
    ("REC", "", "0", False, False),
    ("SSR", "Yes", "Yes", True, True),
    ("SSR", "Y", "Yes", True, True),
    ("SSR", "N", "No", True, True),
    ("SSR", "Yes.", "No", False, False),
    ("SSR", "yes", "Yes", False, True),
    ("CRR", "No, not yet", "No", True, True),
    ("CRR", "Nothing is known", "No", True, False),
    ("CRR", "Yes. Or No?", "No", True, False),
    ("CRR", "I say No", "No", True, False),
    ("CRR", "It is yes", "No", False, False),
    ("CRR", "", "No", False, False),
]


@pytest.mark.parametrize(("task", "reply", "answer", "official", "strict"), REPLIES)
def test_both_rules(task, reply, answer, official, strict):
    assert official_right(task, reply, answer) is official
    assert strict_right(task, reply, answer) is strict


def forward(folder: Path, rows: list[tuple[str, str, str, str]], **columns: Any) -> Path:
    """Results of the forward track: (video, task, reply, answer)."""
    names = ("video_id", "task", "pred_answer", "answer")
    table = pd.DataFrame(rows, columns=names).assign(question="q", **columns)
    return write(folder, "ovobench_forward", table)


def others(folder: Path, rows: list[tuple[str, str, str, str]]) -> Path:
    """Results of the other tracks: (video, task, reply, right letter)."""
    names = ("video_id", "task", "pred_answer", "correct_choice")
    table = pd.DataFrame(rows, columns=names).assign(question="q", choices="['x']", answer="x")
    table["pred_choice"] = table["pred_answer"].str[:1]
    table["qa_acc"] = 100.0 * (table["pred_choice"] == table["correct_choice"])
    return write(folder, "ovobench", table)


def write(folder: Path, dataset: str, table: pd.DataFrame, **settings: Any) -> Path:
    path = folder / dataset / "fps1.0-kv64" / "results.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    described = {"kv_size": 64, "annotation_sha256": dataset} | settings
    config = {"dataset": dataset, "settings": described}
    (path.parent / "config.json").write_text(json.dumps(config))
    return path


FORWARD = [
    ("v1", "REC", "3", "3"),
    ("v1", "REC", "1 or 2", "12"),
    ("v2", "SSR", "yes", "Yes"),
    ("v2", "CRR", "No", "No"),
    ("v3", "CRR", "Yes", "No"),
]
OTHERS = [
    ("v4", "OCR", "A) B.", "B"),  # by the official rule the letter anywhere is right
    ("v4", "ACR", "C", "C"),
    ("v5", "EPM", "D", "A"),
]


def evaluated(path: Path) -> dict[str, Any]:
    assert main(["ovo_forward", "--results_path", str(path)]) == 0
    return json.loads((path.parent / "metrics.json").read_text())["ovo_forward"]


def percents(found: dict[str, Any], rule: str) -> dict[str, float]:
    return {name: round(e["accuracy_percent"], 2) for name, e in found[rule].items()}


def test_three_tracks_by_hand(tmp_path, capsys):
    others(tmp_path, OTHERS)
    found = evaluated(forward(tmp_path, FORWARD))
    official, strict = percents(found, "official"), percents(found, "strict")
    assert official == {
        "REC": 100.0,
        "SSR": 0.0,
        "CRR": 50.0,
        "Real-Time Visual Perception": 100.0,
        "Backward Tracing": 0.0,
        "Forward Active Responding": 50.0,
        "Overall Avg.": 50.0,
    }
    assert (strict["REC"], strict["SSR"], strict["CRR"]) == (50.0, 100.0, 50.0)
    assert strict["Forward Active Responding"] == 66.67
    assert strict["Real-Time Visual Perception"] == 50.0
    assert strict["Overall Avg."] == round((66.67 + 50 + 0) / 3, 2)
    assert found["official"]["Overall Avg."]["num_videos"] == 5
    lines = capsys.readouterr().out.splitlines()
    assert "REC (Repetition Event Count): 100.00% (n=2)" in lines
    assert "Overall Avg.: 50.00% (n=8)" in lines
    saved = tmp_path / "ovobench_forward/fps1.0-kv64/eval_results_ovo_forward.txt"
    assert "OVO-BENCH, STRICT RULE" in saved.read_text()


def test_no_average_without_the_other_tracks(tmp_path):
    found = evaluated(forward(tmp_path, FORWARD))
    assert "Overall Avg." not in found["official"]
    assert found["other_tracks"].startswith("no Overall Avg.: the other two tracks are not at")


def test_no_average_over_different_settings(tmp_path):
    path = others(tmp_path, OTHERS)
    config = json.loads((path.parent / "config.json").read_text())
    config["settings"]["kv_size"] = 128
    (path.parent / "config.json").write_text(json.dumps(config))
    found = evaluated(forward(tmp_path, FORWARD))
    assert "Overall Avg." not in found["strict"]
    assert "was run with another kv_size" in found["other_tracks"]


def test_error_rows_are_left_out_aloud(tmp_path, capsys):
    found = evaluated(forward(tmp_path, FORWARD, error=["", "broken", "", "", ""]))
    assert (found["n"], found["num_error_rows"]) == (4, 1)
    assert "!!! 1 rows carry an error and are LEFT OUT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("v", "EPM", "A", "A")], "found EPM"),
        ([], "header but no rows"),
    ],
)
def test_other_tables_are_refused(tmp_path, capsys, rows, said):
    path = forward(tmp_path, rows)
    assert main(["ovo_forward", "--results_path", str(path)]) == 2
    assert said in capsys.readouterr().err

"""Open answers of one word: right means the same words, whatever their case and full stop."""

import json

import pytest

from eval.eval_multiple_choice import main
from eval.multiple_choice.words import normalised

ROWS = [
    # video, answer, prediction, task, right
    ("a", "red", "Red.", "now_colour", True),
    ("a", "top-left", " top-left", "now_place", True),
    ("a", "red", "red circle", "far_colour", False),
    ("b", "3", "2", "count_colours", False),
    ("b", "no", "", "far_ever", False),
    ("b", "", "", "far_ever", False),  # no words are not the same words
    ("b", "...", "", "far_ever", False),
    ("b", "...", "-", "far_ever", False),
]


def write_csv(folder):
    lines = ['"video_id","question","answer","pred_answer","task"']
    lines += [f'"{v}","q","{answer}","{said}","{task}"' for v, answer, said, task, _ in ROWS]
    path = folder / "results.csv"
    path.write_text("\n".join(lines) + "\n")
    (folder / "config.json").write_text('{"dataset": "nanostream_words"}')
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [(" Top-left. ", "top-left"), ("RED", "red"), ("a  b\n", "a b"), ("...", ""), ("", "")],
)
def test_normalised(text, expected):
    assert normalised(text) == expected


def test_words_are_scored_per_task_and_category(tmp_path, capsys):
    path = write_csv(tmp_path)
    assert main(["words", "--results_path", str(path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["words"]
    assert metrics["n"] == 8
    assert metrics["accuracy_percent"] == pytest.approx(25.0)
    assert metrics["num_unparsed"] == 3
    assert metrics["tasks"]["far_colour"]["accuracy_percent"] == 0.0
    # unweighted mean of the two task means: now_colour 100, now_place 100
    assert metrics["categories"]["perception now"]["accuracy_percent"] == 100.0
    # far_colour 0, far_ever 0
    assert metrics["categories"]["far past"]["accuracy_percent"] == 0.0
    assert "NanoStream" in (tmp_path / "eval_results_words.txt").read_text()
    assert "counting" in capsys.readouterr().out


def test_a_table_without_answers_is_refused(tmp_path, capsys):
    path = tmp_path / "results.csv"
    path.write_text('"video_id","pred_answer"\n"a","red"\n')
    assert main(["words", "--results_path", str(path)]) == 2
    assert "missing column(s) answer" in capsys.readouterr().err


def test_unanswerable_questions_count_beside_their_look_alikes_only(tmp_path, capsys):
    """Edition 2 has a task of its own for them; far_colour, of other options, is none then."""
    rows = [("never", "unanswerable")] * 3 + [("red", "answerable"), ("red", "far_colour")]
    lines = [f'"{i % 2}","q","{answer}","never","{task}"' for i, (answer, task) in enumerate(rows)]
    path = tmp_path / "results.csv"
    path.write_text("\n".join(['"video_id","question","answer","pred_answer","task"', *lines]))
    (tmp_path / "config.json").write_text('{"dataset": "nanostream_words"}')
    assert main(["words", "--results_path", str(path)]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())["words"]
    assert metrics["accuracy_percent"] == pytest.approx(60)  # as the release: every row
    balanced = metrics["categories"]["unanswerable (balanced)"]
    assert balanced["accuracy_percent"] == 50 and balanced["n"] == 4
    assert metrics["all_but_balanced"]["accuracy_percent"] == 0
    assert metrics["all_but_balanced"]["n"] == 1
    assert "  - Includes: unanswerable, answerable\n" in capsys.readouterr().out

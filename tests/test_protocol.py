"""What numbers were made under stands beside them; no judge; abilities; pixel caps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from runner_helpers import choice, fake_arguments, videos_with, write_annotations
from tiny import open_stream

from eval.eval_multiple_choice import main as evaluate
from eval.open_ended.judge_free import verdict_of
from eval.protocol import _ENGINE, _SETTINGS, protocol_beside
from inference import AbstractHermes
from video_qa.hermes_vqa import HermesVQA
from video_qa.questions.annotation_file import AnnotationError, load_annotations
from video_qa.run_infer import main as run_infer
from video_qa.runner.run_arguments import parser
from video_qa.settings.pixel_presets import PRESETS, pixels
from video_qa.settings.run_settings import RunSettings


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of an open-ended benchmark by the fake engine, not judged."""
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    replies = [("Yes, it is.", "yes"), ("It is open.", "no"), ("A cup.", " a cup")]
    asked = [
        {"question": f"q{i}", "answer": answer, "end_time": 9 + i}
        for i, (answer, _) in enumerate(replies)
    ]
    given = fake_arguments(tmp_path, videos_with(tmp_path, [asked]))
    out = tmp_path / "out"
    assert run_infer([*given, "--dataset=rvs_ego", f"--save_dir={out}", "--skip_judge"]) == 0
    return out


def test_a_run_stores_its_protocol_beside_its_numbers(ran):
    protocol = _metrics(ran)["protocol"]
    assert (protocol["dataset"], protocol["kv_size"], protocol["profile"]) == (
        "rvs_ego",
        64,
        "released",
    )
    assert protocol["versions"]["torch"] and protocol["sample_fps"] == 1.0
    assert protocol["prompts_hash"] is None, "the fake engine does not say"


def test_every_name_of_the_protocol_is_one_that_runs_and_engines_know(base):
    assert set(_SETTINGS) - {"weights"} <= set(vars(RunSettings("m", 1, 1, True)))
    assert set(_ENGINE) <= set(open_stream(base).describe())


def test_results_of_others_have_no_protocol(tmp_path):
    assert protocol_beside(tmp_path / "results.csv") == {}


def test_every_prediction_stores_tokens_per_frame_and_horizon(base: AbstractHermes, tmp_path):
    (video,) = load_annotations(videos_with(tmp_path, [[choice("q", 4.0)]], num_frames=8))
    settings = RunSettings("tiny", kv_size=24, sample_fps=1, streaming=True, max_new_tokens=2)
    (prediction,) = HermesVQA(open_stream(base), settings, "run").analyze_a_video(video)
    stored = json.loads(prediction.to_json())
    per_frame = {"llava": 4, "qwen": 2}[base.family]  # frames of 8 pixels become 56
    assert stored["tokens_per_frame"] == per_frame
    assert stored["horizon_seconds"] == 24 / per_frame


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes.", "yes"),
        (" no, he does not", "no"),
        ('"YES"', "yes"),
        ("Not really", ""),
        ("Nobody", ""),
        ("The answer is yes", ""),
        ("", ""),
    ],
)
def test_the_first_word_is_the_verdict(text, verdict):
    assert verdict_of(text) == verdict


ROWS = [
    ("a", "Yes, it is open.", "yes"),
    ("a", "yes", "No."),
    ("b", "No", "Yes, it is."),
    ("b", "no", "Perhaps"),
    ("b", "No.", "no, never"),
    ("c", "A red cup.", " a red  cup"),
    ("c", "two", "three"),
]


def test_answers_without_a_judge(tmp_path, capsys):
    path = tmp_path / "results.csv"
    with path.open("w") as file:
        writer = csv.writer(file)
        writer.writerow(("video_id", "question", "answer", "pred_answer"))
        writer.writerows((video, "?", answer, said) for video, answer, said in ROWS)
    assert evaluate(["judge_free", "--results_path", str(path)]) == 0
    found = _metrics(tmp_path)["judge_free"]
    shown = {
        name: (found[name]["accuracy_percent"], found[name]["n"])
        for name in found
        if isinstance(found[name], dict)
    }
    assert shown["exact"] == (pytest.approx(100 / 7), 7)
    assert shown["yes_no"] == (pytest.approx(40), 5)
    assert shown["answer_yes"] == (pytest.approx(50), 2)
    assert shown["answer_no"] == (pytest.approx(100 / 3), 3)
    assert shown["yes_no_balanced"][0] == pytest.approx((50 + 100 / 3) / 2)
    assert found["num_neither_yes_nor_no"] == 1
    assert "yes_no: 40.00%" in capsys.readouterr().out
    assert (tmp_path / "eval_results_judge_free.txt").is_file()


def test_without_yes_and_no_only_exact_answers_are_counted(tmp_path):
    rows = pd.DataFrame({"video_id": [1], "question": "q", "answer": "so", "pred_answer": "so"})
    rows.to_csv(tmp_path / "results.csv")
    assert evaluate(["judge_free", "--results_path", str(tmp_path / "results.csv")]) == 0
    found = _metrics(tmp_path)["judge_free"]
    assert found["exact"]["accuracy_percent"] == 100 and "yes_no" not in found


def test_a_run_is_evaluated_without_a_judge_too(ran):
    assert _metrics(ran)["judge_free"]["n"] == 3


def test_streamingbench_is_reported_by_ability(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HERMES_FAKE_FOLDER", str(tmp_path))
    abilities = ("working memory", "episodic memory", "", "working memory")
    asked = [
        choice(f"q{i}", 6.0 + i, task="Counting", required_ability=ability)
        for i, ability in enumerate(abilities)
    ]
    given = fake_arguments(tmp_path, videos_with(tmp_path, [asked]))
    out = tmp_path / "out"
    assert run_infer([*given, "--dataset=streamingbench", f"--save_dir={out}"]) == 0
    table = pd.read_csv(out / "results.csv", keep_default_na=False)
    assert tuple(table["required_ability"]) == abilities
    found = _metrics(out)["general"]["abilities"]
    for ability in ("working memory", "episodic memory"):
        right = table[table.required_ability == ability].qa_acc
        assert found[ability]["accuracy_percent"] == right.mean()
        assert found[ability]["n"] == len(right)
        assert f"{ability}: " in capsys.readouterr().out or ability != "working memory"
    assert set(found) == {"working memory", "episodic memory"}


def test_an_ability_that_is_no_text_is_refused(tmp_path):
    entry = {"video_id": 1, "video_path": "x", "conversations": [choice("q", required_ability=3)]}
    path = write_annotations(tmp_path / "a.json", [entry])
    with pytest.raises(AnnotationError, match="required_ability"):
        load_annotations(path)


def test_pixel_caps_have_names(capsys):
    given = ["--dataset=streamingbench", "--kv_size=4000"]
    caps = {
        name: parser("", "").parse_args([*given, f"--max_pixels={name}"]).max_pixels
        for name in PRESETS
    }
    assert caps == PRESETS and caps["fluxmem"] == 512 * 28 * 28 and caps["released"] is None
    assert pixels("200704") == 200704
    for wrong in ("0", "-1", "paper", "1e5"):
        with pytest.raises(SystemExit):
            parser("", "").parse_args([*given, f"--max_pixels={wrong}"])
        assert "simplestream_latency" in capsys.readouterr().err

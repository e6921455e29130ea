"""Robustness as a program and as numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from runner_helpers import choice, lanes_inside, videos_with
from tiny import open_stream

from eval.robustness import robustness
from inference import AbstractHermes
from video_qa.comparison.robustness_table import by_run, changed_column
from video_qa.hermes_vqa import main as worker_main
from video_qa.robustness import main, with_and_without_history


def _table(path: Path, letters: dict[str, str]) -> None:
    """One row per policy and letter; "A" is right. Two questions a video."""
    rows = [
        {
            "policy": policy,
            "kv_size": 8,
            "video_index": index // 2,
            "question_index": index % 2,
            "video_id": f"v{index // 2}",
            "task": "now_colour",
            "question": f"question {index}?",
            "answer": "red",
            "pred_answer": f"{letter}) text",
            "pred_choice": letter,
            "qa_acc": 100.0 * (letter == "A"),
            "error": "lost" if letter == "x" else "",
        }
        for policy, own in letters.items()
        for index, letter in enumerate(own)
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def test_shares_and_differences_are_those_counted_by_hand(tmp_path: Path) -> None:
    _table(tmp_path / "in_order.csv", {"hermes": "AABAxB", "recent": "AAAABB"})
    _table(tmp_path / "shuffled.csv", {"hermes": "ACCBAB", "recent": "AAAABB"})
    _table(tmp_path / "alone.csv", {"hermes": "AABAxA", "recent": "AAAAAA"})
    found = by_run(robustness(tmp_path, "nanostream"))
    hermes, recent = found["hermes", 8], found["recent", 8]
    assert hermes["in_order"]["num_errors"] == 1 and "changed" not in hermes["in_order"]
    assert hermes["in_order"]["accuracy"]["accuracy_percent"] == pytest.approx(60)
    shuffled = hermes["shuffled"]
    assert shuffled["changed"]["share_percent"] == pytest.approx(60)  # of the five both answered
    assert shuffled["changed"]["n"] == 5 and shuffled["changed"]["num_videos"] == 3
    assert shuffled["difference"]["difference_percent"] == pytest.approx(-40)
    low, high = shuffled["changed"]["interval95_percent"]
    assert 0 <= low < 60 < high <= 100
    assert hermes["alone"]["changed"]["share_percent"] == pytest.approx(20)
    assert recent["shuffled"]["changed"]["share_percent"] == 0
    assert recent["alone"]["difference"]["difference_percent"] == pytest.approx(100 / 3)
    assert changed_column({"rows": [shuffled]})["hermes", 8].startswith("60.0 (")


def test_only_who_is_steered_is_run_without_the_dialogue() -> None:
    given = ["two_speed", "hermes", "hermes:use_history=false", "stream_mem", "hermes"]
    apart = "hermes:use_history=false"
    assert with_and_without_history(given) == ["two_speed", "hermes", apart, "stream_mem"]
    assert with_and_without_history(["two_speed:attention_weight=0.5"])[1:] == [
        "two_speed:attention_weight=0.5:use_history=false"
    ]


@pytest.fixture
def command(
    tmp_path: Path,
    load: Callable[[str], AbstractHermes],
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """A program whose workers run in this process, on weights that are loaded already."""
    lanes_inside(monkeypatch, open_stream(load("llava"), policy="recent", kv_size=16))
    asked = [choice(f"what of {i}", 5.0 * (i + 1), task="now_colour") for i in range(4)]
    anno_path = videos_with(tmp_path, [asked, asked[:3]], num_frames=20)
    shared = [f"--model={checkpoint('llava')}", "--dataset=nanostream", "--device=cpu"]
    shared += [f"--anno_path={anno_path}", "--kv_sizes=16", "--max_new_tokens=3"]
    return [*shared, f"--results_root={tmp_path / 'results'}", "--policies=hermes,recent"]


def test_from_the_command_to_the_table(
    tmp_path: Path, command: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """A run in order is an ordinary one; done again, nothing is asked anew."""
    assert main(command) == 0
    said = capfd.readouterr().out
    assert "hermes:use_history=false" in said and "changed by shuffling" in said
    (folder,) = (tmp_path / "results").rglob("robustness-fps1")
    runs = {path.name for path in folder.parent.iterdir()}
    assert {"fps1-kv16", "fps1-kv16-shuffled", "fps1-kv16-recent-alone"} <= runs and len(runs) == 10
    found = by_run(json.loads((folder / "robustness.json").read_text()))
    assert len(found) == 3 and all(len(rows) == 3 for rows in found.values())
    recent, apart = found["recent", 16], found["hermes:use_history=false", 16]
    assert recent["shuffled"]["changed"]["share_percent"] == 0
    assert apart["shuffled"]["changed"]["share_percent"] == 0
    assert "| hermes | 16 |" in (folder / "robustness.md").read_text()
    stored = list(folder.parent.rglob("predictions.jsonl"))
    assert len(stored) == 9
    lines = {path: path.read_text() for path in stored}
    config = folder.with_name("fps1-kv16-alone") / "config.json"
    assert worker_main([f"--config={config}", "--device=cpu"]) == 2  # it would ask in order
    assert "robustness.py continues it" in capfd.readouterr().err
    assert main(command) == 0 and main([*command, "--only_report"]) == 0
    assert {path: path.read_text() for path in stored} == lines

"""What the report says: the verdict, disagreements with their moments, weak intervals, axes."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared_runs import END, finished_comparison, videos
from matplotlib.figure import Figure
from PIL import Image
from videos import frame_number, numbered_frames, write_video

from video_qa.comparison.finished import FinishedRun, read_run
from video_qa.comparison.pages import disagreements, figures, svg
from video_qa.comparison.pages.disagreements import describe_disagreements
from video_qa.comparison.pages.intervals import NOTE
from video_qa.comparison.pages.report import write_report
from video_qa.comparison.pages.rows import NAME_CHARACTERS, wrapped
from video_qa.comparison.pages.tables import terminal_tables
from video_qa.comparison.pages.verdict import verdict
from video_qa.runner.shards import question_keys

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ("two_speed", "recent", "<hermes>")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    finished_comparison(folder, POLICIES, (16, 32))
    (folder / "videos").mkdir()
    for index in range(11):  # the twelfth is missing
        write_video(folder / f"videos/{index}.mp4", numbered_frames(12), fps=1)
    return folder


@pytest.fixture(scope="module")
def runs(root: Path) -> list[FinishedRun]:
    keys = question_keys(videos(12))
    return [read_run(root / f"{i}-{size}", keys) for i in range(3) for size in (16, 32)]


@pytest.fixture(scope="module")
def numbers(root: Path) -> dict[str, Any]:
    return json.loads((root / "comparison.json").read_text())


def test_the_verdict_comes_first(root: Path, runs: list[FinishedRun], numbers: dict) -> None:
    text = write_report(root, runs, videos(12), root).read_text()
    body = text[text.index("<body>") :]
    said = re.search(r'<p class="verdict">(.*?)</p>', body)
    assert said and said.start() < min(body.index(tag) for tag in ("<h2", "<svg", "<table"))
    right = {
        f"{run.policy} at {run.kv_size}": np.mean(
            [p.correct for p in run.predictions.values() if p.question != "unanswerable?"]
        )
        for run in runs
    }
    best = max(right, key=right.__getitem__)
    expected = f"{best} tokens per layer answers {100 * right[best]:.1f} % of all questions right"
    assert said[1].startswith(expected) and said[1].count(". ") == 0 and said[1].endswith(".")
    assert "mean of unanswerable and far_colour" in body
    assert "all questions: without unanswerable" in body


def run_of(policy: str, percent: float | None, num_videos: int = 12) -> dict[str, Any]:
    found = {"accuracy_percent": percent, "interval95_percent": [0, 100], "num_videos": num_videos}
    groups = {} if percent is None else {"all questions": found}
    return {"policy": policy, "kv_size": 8, "groups": groups}


def pair_of(policy: str, baseline: str, points: float, *interval: float, num_videos: int = 12):
    return {
        "policy": policy,
        "baseline": baseline,
        "kv_size": 8,
        "group": "all questions",
        "difference_percent": points,
        "interval95_percent": list(interval) or None,
        "num_videos": num_videos,
    }


@pytest.mark.parametrize(
    ("runs", "paired", "expected"),
    [
        ([run_of("a", None)], [], "No question was answered"),
        ([run_of("a", 50)], [], "a at 8 tokens per layer .* nothing to compare it with"),
        ([run_of("a", 50), run_of("b", 50)], [], "so does b at 8 .* no memory is ahead"),
        ([run_of("a", 60), run_of("b", 50)], [], "the most of 2 runs.$"),
        (
            [run_of("a", 60), run_of("recent", 50)],
            [pair_of("b", "recent", 1, 0, 2), pair_of("a", "recent", 10, 2, 18)],
            r"10.0 points above recent at the same budget \(95 % interval 2.0 to 18.0, .*excludes",
        ),
        (
            [run_of("a", 60), run_of("recent", 50)],
            [pair_of("a", "recent", 10, -2, 22)],
            "includes 0: may be chance",
        ),
        (
            [run_of("a", 60), run_of("recent", 50)],
            [pair_of("a", "recent", 10, 2, 18, num_videos=9)],
            "from only 9 videos",
        ),
        ([run_of("a", 60), run_of("b", 5)], [pair_of("a", "b", 55)], "one video: no interval"),
    ],
)
def test_verdicts(runs: list, paired: list, expected: str) -> None:
    said = verdict({"runs": runs, "paired": paired})
    assert re.search(expected, said), said


def test_disagreements_are_those_of_the_runs(runs: list[FinishedRun], numbers: dict) -> None:
    expected = {}
    for key in runs[0].predictions:
        correct = [run.predictions[key].correct for run in runs]
        if len(set(correct)) > 1:
            expected[key] = "".join(str(int(right)) for right in correct)
    found = {(e["video_index"], e["question_index"]): e for e in numbers["disagreements"]}
    assert {key: entry["verdicts"] for key, entry in found.items()} == expected and expected
    tasks = [question.task for question in videos(1)[0].questions]
    assert all(entry["task"] == tasks[key[1]] for key, entry in found.items())


def pictures(text: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(part)))) for part in found]


def test_a_disagreement_shows_question_options_answers_and_moment(
    root: Path, runs: list[FinishedRun], numbers: dict
) -> None:
    found = describe_disagreements(numbers, runs, videos(12), root)
    asked = [question for task in found["tasks"] for question in task["questions"]]
    assert found["num_shown"] == len(asked) == min(48, len(numbers["disagreements"]))
    first = asked[0]
    assert first["options"] == ["A) a", "B) b"] and first["answer"] == "A) a"
    assert {reply["text"]: reply["right"] for reply in first["replies"]} == {
        "A) a": True,
        "B) b": False,
    }
    names = sorted(name for reply in first["replies"] for name in reply["runs"])
    assert names == sorted(f"{run.policy} {run.kv_size}" for run in runs)
    text = write_report(root, runs, videos(12), root).read_text()
    shown = pictures(text)
    missing = [question for question in asked if question["picture"] is None]
    assert len(shown) == len(asked) - len(missing) and missing
    assert {frame_number(picture) for picture in shown} == {int(END) - 1}  # the last one it saw
    assert {question["video_id"] for question in missing} == {"v11"}
    assert "no picture: no video videos/11.mp4" in text
    assert len(text) < 3e6


def test_few_questions_are_shown_of_many(
    root: Path, runs: list[FinishedRun], numbers: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disagreements, "MAX_QUESTIONS", 7)
    found = describe_disagreements(numbers, runs, videos(12), root)
    assert found["num_shown"] == 7 and found["num_questions"] == len(numbers["disagreements"])
    assert len(found["tasks"]) == 5  # every task has its turn
    text = write_report(root, runs, videos(12), root).read_text()
    assert "shown are 7 (at most 7)" in text and len(pictures(text)) <= 7
    unevenness = {
        (e["video_index"], e["question_index"]): abs(2 * e["verdicts"].count("1") - len(runs))
        for e in numbers["disagreements"]
        if e["task"] == "count_colours"
    }
    (task,) = [task for task in found["tasks"] if task["name"] == "count_colours"]
    chosen = [question["video_id"] for question in task["questions"]]
    best = sorted(unevenness.items(), key=lambda item: item[1])[: len(chosen)]
    assert chosen == [f"v{key[0]}" for key, _ in best]


@pytest.mark.parametrize(("num_videos", "marked"), [(9, True), (10, False)])
def test_intervals_from_few_videos_are_marked(
    tmp_path: Path, num_videos: int, marked: bool
) -> None:
    runs = finished_comparison(tmp_path, POLICIES, (16,), num_videos)
    text = write_report(tmp_path, runs, videos(num_videos)).read_text()
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert all(pair["num_videos"] == num_videos for pair in found["paired"])
    assert bool(re.search("stroke-dasharray", text)) == marked and (NOTE in text) == marked
    cells = re.findall(r"\d\.\d \(\d+–\d+\)(†?)", text)
    assert len(cells) == len(POLICIES) * len(found["groups"])
    for said in (terminal_tables(found), (tmp_path / "comparison.md").read_text()):
        assert said.count("†") == (len(cells) + 1 if marked else 0)
    assert set(cells) == {"†" if marked else ""}


def test_percent_axes_end_at_100(numbers: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(figures, "to_svg", lambda figure, _: drawn.append(figure) or "")

    def axes_of(_: object) -> list:
        found = [figure.axes for figure in drawn]
        drawn.clear()
        assert found and all(len(axes) == 1 for axes in found)  # one figure per panel
        return [axes[0] for axes in found]

    groups = len(numbers["groups"])
    accuracy = axes_of(figures.accuracy_panels(numbers))
    assert len(accuracy) == groups and {axes.get_xlim() for axes in accuracy} == {(0, 100)}
    budgets = axes_of(figures.budget_panels(numbers))
    assert len(budgets) == groups and {axes.get_ylim() for axes in budgets} == {(0, 100)}
    paired = axes_of(figures.paired_panels(numbers, "recent"))
    assert len(paired) == groups and {axes.get_xlim() for axes in paired} == {(-100, 100)}
    (trade,) = axes_of(figures.trade_figure(numbers))
    for low, high in (trade.get_xlim(), trade.get_ylim()):
        assert low < high == 100
    shown = [line.get_xydata() for line in trade.lines]
    assert len(shown) == len(POLICIES) and all(
        trade.get_xlim()[0] <= x <= 100 and trade.get_ylim()[0] <= y <= 100
        for line in shown
        for x, y in line
    )


@pytest.mark.parametrize(
    "policy",
    [
        "hermes",
        "two_speed:attention_weight=1:keyframe_share=0:recent_share=0.5:floor_share=0.5",
        "x" * 100,
    ],
)
def test_long_policies_are_cut_into_lines(policy: str) -> None:
    lines = wrapped(policy)
    assert "".join(lines).replace(" ", "") == policy
    assert all(len(line) <= NAME_CHARACTERS + 2 for line in lines)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_lines_stand_out_on_either_paper() -> None:
    for light, dark in svg.COLOURS:
        assert contrast(light, svg.PAPER) >= 3 and contrast(dark, svg.DARK_PAPER) >= 3, light


def test_texts_of_others_are_not_markup(tmp_path: Path) -> None:
    asked = videos(4)
    finished = finished_comparison(tmp_path, ("recent", "two_speed"), (16,), 4)
    evil = "</b><script>alert(1)</script>"
    for video in asked:
        for question in video.questions:
            object.__setattr__(question, "question", evil)
    text = write_report(tmp_path, finished, asked).read_text()
    assert "<script" not in text and "&lt;script&gt;alert(1)" in text


def test_the_built_package_holds_the_templates(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "video_qa").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copied = source / path.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_bytes(path.read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    build += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = ROOT / "video_qa/comparison/pages/templates"
    templates = {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    assert templates and templates <= names

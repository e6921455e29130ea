"""Paired statistics against brute force and known tables; comparison.json from a known table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.comparison import compare
from eval.intervals import clustered_mean
from eval.multiple_choice.task_groups import Group, group_difference, group_mean
from eval.paired import paired_difference, sign_flip_p
from eval.results_table import ResultsError
from eval.run_costs import percentiles


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8))
def test_sign_flips_by_brute_force(sums: list[int]) -> None:
    totals = [
        abs(sum(sign * value for sign, value in zip(signs, sums, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    expected = sum(total >= abs(sum(sums)) for total in totals) / len(totals)
    assert sign_flip_p(np.array(sums) / 7) == pytest.approx(expected)


@pytest.mark.parametrize("num_videos", [1, 2, 5, 10, 20, 40])
def test_few_videos_allow_no_small_p(num_videos: int) -> None:
    """However many questions each has."""
    clusters = [video for video in range(num_videos) for _ in range(50)]
    found = difference([1] * len(clusters), [0] * len(clusters), clusters)
    assert found.sign_flip_p >= 2 ** (1 - num_videos)
    least = 2 ** (1 - num_videos) if num_videos <= 20 else 1 / 50_001
    assert found.sign_flip_p == pytest.approx(least)


def test_questions_of_a_video_are_no_independent_witnesses() -> None:
    """Of runs without a difference not more than 5 % are called different."""
    generator = np.random.default_rng(7)
    found = []
    for _ in range(400):
        luck = generator.choice([0.2, 0.8], size=(2, 12))  # a video goes well or badly as a whole
        answers = (generator.random((2, 12, 10)) < luck[..., None]).astype(int)
        clusters = np.repeat(np.arange(12), 10).tolist()
        found.append(difference(*answers.reshape(2, -1).tolist(), clusters))
    assert np.mean([one.sign_flip_p <= 0.05 for one in found]) < 0.08
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.92


def test_two_runs_without_a_difference() -> None:
    """A short interval around 0, not none at all and not one that says nothing."""
    answers, clusters = [1, 1, 0, 1, 0] * 12, [i // 10 for i in range(60)]
    found = difference(answers, answers, clusters)
    assert (found.mean, found.sign_flip_p) == (0, 1)
    assert found.low == -found.high and 0.01 < found.high < 0.05


def test_a_fact_asked_often_counts_once() -> None:
    rows = pd.DataFrame(
        [("v", "t", "old?", "a", 1.0, 0.0)] * 3
        + [("v", "t", "new?", "a", 0.0, 0.0), ("w", "t", "old?", "a", 0.0, 1.0)],
        columns=["video", "task", "question", "answer", "right", "right_baseline"],
    )
    assert group_mean(rows, Group(("t",), is_pooled=True), "video").mean == pytest.approx(1 / 3)
    found = group_difference(rows, Group(("t",)), "video")
    assert (found.mean, found.num_pairs) == (0, 3)


def difference(first: list[int], second: list[int], clusters: list[int]) -> object:
    rows = (pd.Series(first), pd.Series(second), pd.Series(clusters))
    return paired_difference(*rows, pd.Series("", index=rows[0].index), {"": 1.0})


def test_a_known_table_of_pairs() -> None:
    found = difference([1, 1, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0], [0, 0, 1, 1, 2, 2])
    assert found.mean == pytest.approx(2 / 6)
    assert (found.only_first_right, found.only_second_right, found.num_pairs) == (3, 1, 6)
    # By hand: d = 0 1 1 0 -1 1 with mean 1/3; sums of (d - 1/3) / 6 per video: 1/18, 1/18, -1/9.
    clustered = 3 / 2 * (2 / 18**2 + 1 / 81)
    independent = (4 / 6 + 1 / 6 - 1 / 9) / 8
    assert independent > clustered
    half = 4.302653 * math.sqrt(independent)  # t quantile, 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((1 / 3 - half, 1), abs=1e-5)
    assert found.sign_flip_p == 4 / 8  # of 0.33, 0, 0.. : sums per video 1/6, 1/6, 0


def test_videos_that_disagree_widen_the_interval() -> None:
    """Ten questions a video: all better in the first half of the videos, all worse in the other."""
    signs = [1] * 30 + [0] * 30
    found = difference(signs, [1 - sign for sign in signs], [i // 10 for i in range(60)])
    assert found.high == pytest.approx(min(1, 2.570582 * math.sqrt(6 / 5 * 6 / 36)), abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=2))
def test_swapping_the_runs_mirrors_everything(rows: list[tuple[bool, bool, int]]) -> None:
    first, second, clusters = (
        [int(value) for value in column] for column in zip(*rows, strict=True)
    )
    one, other = difference(first, second, clusters), difference(second, first, clusters)
    assert one.mean == pytest.approx(-other.mean) and one.sign_flip_p == other.sign_flip_p
    mean = clustered_mean(pd.Series(first) * 1.0, pd.Series(clusters)).mean
    other_mean = clustered_mean(pd.Series(second) * 1.0, pd.Series(clusters)).mean
    assert one.mean == pytest.approx(mean - other_mean)
    if one.low is not None:
        assert one.low == pytest.approx(-other.high) and one.low <= one.mean <= one.high


def rows_of(policy: str, right: str, kv_size: int = 8) -> list[dict[str, object]]:
    """A row per character: 1 right, 0 wrong, x error; two questions per video."""
    return [
        {
            "policy": policy,
            "kv_size": kv_size,
            "video_index": i // 2,
            "question_index": i % 2,
            "video_id": i // 2,
            "task": ("now_colour", "far_colour")[i % 2],
            "answer": "a",
            "pred_answer": "" if mark == "x" else "A) a",
            "qa_acc": {"1": 100, "0": 0, "x": 0}[mark],
            "error": "no video" if mark == "x" else "",
            "first_token_seconds": i,
        }
        for i, mark in enumerate(right)
    ]


def compared(tmp_path: Path, *runs: list[dict[str, object]]) -> dict[str, object]:
    path = tmp_path / "comparison.csv"
    pd.DataFrame([row for run in runs for row in run]).to_csv(path, index=False)
    return compare(path, {"dataset": "nanostream"})


def test_a_known_comparison(tmp_path: Path) -> None:
    runs = rows_of("best", "11111101"), rows_of("recent", "1110100x"), rows_of("best", "1" * 8, 16)
    found = compared(tmp_path, *runs)
    best, recent, _ = found["runs"]
    assert best["groups"]["perception now"]["accuracy_percent"] == 75
    assert best["groups"]["far past"]["accuracy_percent"] == 100
    assert best["groups"]["all questions"]["num_videos"] == 4
    assert (recent["num_errors"], recent["first_error"]) == (1, "no video")
    assert recent["groups"]["all questions"]["n"] == 7
    assert best["cost"]["ttft_seconds"]["p50"] == 3.5
    pairs = {(p["policy"], p["kv_size"], p["group"]): p for p in found["paired"]}
    assert {key[:2] for key in pairs} == {("best", 8)}  # none at 16, none with itself
    far = pairs["best", 8, "far past"]
    assert (far["n"], far["only_policy_right"], far["only_baseline_right"]) == (3, 2, 0)
    assert far["difference_percent"] == pytest.approx(200 / 3) and far["sign_flip_p"] == 0.5
    lines = found["accuracy_against_budget"]["far past"]
    assert [point["kv_size"] for point in lines["best"]] == [8, 16]
    trade = found["perception_and_memory"]
    assert (trade["perception"], trade["memory"]) == ("perception now", "far past")
    assert [p["memory_percent"] for p in trade["points"]] == [100, pytest.approx(100 / 3), 100]


def test_words_are_compared_as_text(tmp_path: Path) -> None:
    rows = rows_of("recent", "1010")
    words = ("A.", "b", " a ", "")
    for row, word in zip(rows, words, strict=True):
        row |= {"qa_acc": "", "pred_answer": word}
    assert compared(tmp_path, rows)["runs"][0]["groups"]["all questions"]["accuracy_percent"] == 50


@pytest.mark.parametrize(("answer", "accuracy"), [("a", 100), ("...", "")])
def test_an_empty_prediction_is_never_right(tmp_path: Path, answer: str, accuracy: object) -> None:
    rows = rows_of("recent", "11")
    rows[1] |= {"answer": answer, "pred_answer": "", "qa_acc": accuracy}
    assert compared(tmp_path, rows)["runs"][0]["groups"]["all questions"]["accuracy_percent"] == 50


def test_a_table_without_a_needed_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "comparison.csv"
    path.write_text("policy,kv_size\nrecent,8\n")
    with pytest.raises(ResultsError, match="missing column"):
        compare(path, {})


def test_percentiles() -> None:
    assert percentiles(pd.Series(range(101))) == {"p50": 50, "p95": 95}
    assert percentiles(pd.Series(dtype=float)) is None


def never_rows(num_videos: int, is_right: Callable[[str, int], bool]) -> list[dict[str, object]]:
    """A question of each of three tasks about each video."""
    tasks = ("now_colour", "far_colour", "unanswerable")
    return [
        {**row, "task": task, "question_index": i, "qa_acc": 100 * is_right(task, row["video_id"])}
        for row in rows_of("recent", "10" * num_videos)[::2]
        for i, task in enumerate(tasks)
    ]


def test_forgetting_everything_is_no_skill(tmp_path: Path) -> None:
    """Who always answers "never" has half of the balanced group, and gains nothing in "all"."""
    found = compared(tmp_path, never_rows(12, lambda task, _: task == "unanswerable"))
    groups = found["runs"][0]["groups"]
    balanced = groups["unanswerable (balanced)"]
    assert balanced["accuracy_percent"] == 50 and balanced["n"] == 24
    assert groups["all questions"]["accuracy_percent"] == 0
    assert groups["all questions"]["n"] == 24  # far_colour belongs to the far past as well
    assert found["not_in_all"] == ["unanswerable"]
    assert found["groups"]["unanswerable (balanced)"] == ["unanswerable", "far_colour"]


def test_the_balanced_figure_has_the_interval_of_a_mean_of_two_tasks(tmp_path: Path) -> None:
    """Against the same per-video sums without strata: each video has one question of each."""
    right = {"far_colour": 0b011011011011, "unanswerable": 0b110111101101, "now_colour": 0}
    rows = never_rows(12, lambda task, video: bool(right[task] >> video & 1))
    found = compared(tmp_path, rows)["runs"][0]["groups"]["unanswerable (balanced)"]
    alike = [row for row in rows if row["task"] != "now_colour"]
    values = pd.Series([row["qa_acc"] / 100 for row in alike])
    plain = clustered_mean(values, pd.Series([row["video_id"] for row in alike]))
    assert found["accuracy_percent"] == pytest.approx(100 * plain.mean)
    low, high = found["interval95_percent"]
    assert low < found["accuracy_percent"] < high
    # The tasks' own means differ, so the strata take a little of the variance away, not more.
    assert high - low == pytest.approx(100 * (plain.high - plain.low), rel=0.1)


def test_both_tasks_of_the_balanced_figure_weigh_the_same(tmp_path: Path) -> None:
    rows = never_rows(6, lambda task, _: task == "unanswerable")
    few = [row for row in rows if row["task"] != "far_colour" or row["video_id"] < 2]
    groups = compared(tmp_path, few)["runs"][0]["groups"]
    assert groups["unanswerable (balanced)"]["accuracy_percent"] == 50


def test_without_its_look_alike_there_is_no_balanced_figure(tmp_path: Path) -> None:
    rows = never_rows(4, lambda *_: True)
    for row in rows:
        row["error"] = "no video" if row["task"] == "far_colour" else ""
    assert "unanswerable (balanced)" not in compared(tmp_path, rows)["runs"][0]["groups"]
    alone = [row for row in rows if row["task"] != "far_colour"]
    assert "unanswerable (balanced)" not in compared(tmp_path, alone)["groups"]

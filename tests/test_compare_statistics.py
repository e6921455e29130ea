"""Paired statistics against brute force and known tables; comparison.json from a known table."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.comparison import compare
from eval.intervals import clustered_mean
from eval.paired import mcnemar_p, paired_difference
from eval.results_table import ResultsError
from eval.run_costs import percentiles


@pytest.mark.parametrize("num_discordant", range(11))
def test_mcnemar_counts_coin_flips_at_least_as_uneven(num_discordant: int) -> None:
    """Every sequence of fair coin flips, listed."""
    flips = [sum(coins) for coins in itertools.product((0, 1), repeat=num_discordant)]
    for first in range(num_discordant + 1):
        uneven = abs(2 * first - num_discordant)
        as_uneven = sum(abs(2 * heads - num_discordant) >= uneven for heads in flips)
        assert math.isclose(mcnemar_p(first, num_discordant - first), as_uneven / len(flips))


def test_mcnemar_known_values() -> None:
    assert mcnemar_p(0, 5) == pytest.approx(0.0625)  # R: binom.test(0, 5)
    assert mcnemar_p(10, 2) == pytest.approx(0.03857422)  # R: binom.test(10, 12)
    assert mcnemar_p(5, 5) == 1 and mcnemar_p(0, 0) == 1
    normal = math.erfc(99 / math.sqrt(2 * 1100))  # with continuity correction
    assert mcnemar_p(600, 500) == pytest.approx(normal, rel=0.01)
    with pytest.raises(ValueError, match="must not be negative"):
        mcnemar_p(-1, 3)


def difference(first: list[int], second: list[int], clusters: list[int]) -> object:
    rows = (pd.Series(first), pd.Series(second), pd.Series(clusters))
    return paired_difference(*rows, pd.Series("", index=rows[0].index), {"": 1.0})


def test_a_known_table_of_pairs() -> None:
    found = difference([1, 1, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0], [0, 0, 1, 1, 2, 2])
    assert found.mean == pytest.approx(2 / 6)
    assert (found.only_first_right, found.only_second_right, found.num_pairs) == (3, 1, 6)
    # By hand: d = 0 1 1 0 -1 1 with mean 1/3; sums of (d - 1/3) / 6 per video: 1/18, 1/18, -1/9.
    variance = 3 / 2 * (2 / 18**2 + 1 / 81)
    half = 4.302653 * math.sqrt(variance)  # t quantile, 2 degrees of freedom
    assert found.high == pytest.approx(min(1, 1 / 3 + half), abs=1e-5)
    assert found.low == pytest.approx(1 / 3 - half, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=2))
def test_swapping_the_runs_mirrors_everything(rows: list[tuple[bool, bool, int]]) -> None:
    first, second, clusters = (
        [int(value) for value in column] for column in zip(*rows, strict=True)
    )
    one, other = difference(first, second, clusters), difference(second, first, clusters)
    assert one.mean == pytest.approx(-other.mean) and one.mcnemar_p == other.mcnemar_p
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
    assert far["difference_percent"] == pytest.approx(200 / 3) and far["mcnemar_p"] == 0.5
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

"""Clustered intervals against hand arithmetic, t tables, and their own promise of coverage."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.intervals import (
    clopper_pearson,
    clustered_mean,
    interval,
    stratified_mean,
    t_quantile,
    variance_of,
)


def series(*values: float | str) -> pd.Series:
    return pd.Series(list(values))


# Two-sided 95 % points as printed in statistics textbooks.
@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (10, 2.228), (30, 2.042), (120, 1.980), (5000, 1.960)],
)
def test_t_quantile_agrees_with_the_printed_table(degrees: int, expected: float) -> None:
    assert t_quantile(degrees) == pytest.approx(expected, abs=6e-4)


def test_variance_by_hand() -> None:
    # Videos a: 1, 0   b: 1, 1, 0   c: 0.  p = 3/6; cluster sums of (y - p)/6: 0, 1/12, -1/12.
    rests_on, variance = variance_of(np.array([0, 1 / 12, -1 / 12]))
    assert rests_on == pytest.approx(2)  # two videos differ from the mean, equally
    assert variance == pytest.approx(3 / 2 * 2 / 144)
    shrunken = (2 * variance + 0.25 * 0.5 * 0.5 / 3) / 2.25
    trials = 0.25 / shrunken * (1.959964 / 4.302653) ** 2
    estimate = clustered_mean(series(1, 0, 1, 1, 0, 0), series("a", "a", "b", "b", "b", "c"))
    assert estimate.mean == 0.5
    assert (estimate.num_rows, estimate.num_clusters) == (6, 3)
    assert (estimate.low, estimate.high) == pytest.approx(clopper_pearson(0.5, trials), abs=1e-6)


def test_independent_questions_are_about_the_textbook_interval() -> None:
    estimate = clustered_mean(series(*[1.0] * 300 + [0.0] * 700), pd.Series(range(1000)))
    assert (estimate.low, estimate.high) == pytest.approx((0.2717, 0.3295), abs=2e-3)  # exact


def test_repeating_every_question_in_its_video_does_not_narrow_the_interval() -> None:
    values, clusters = series(1, 0, 1, 1, 0, 1), series("a", "b", "c", "d", "e", "f")
    once = clustered_mean(values, clusters)
    tenfold = clustered_mean(
        pd.concat([values] * 10, ignore_index=True), pd.concat([clusters] * 10, ignore_index=True)
    )
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_stratified_mean_by_hand() -> None:
    # x: 0.6, 0.4 (mean 0.5)   y: 0.8, 0.8, 0.5 (mean 0.7); plain mean 0.62, mean of means 0.6.
    values, strata = series(0.6, 0.4, 0.8, 0.8, 0.5), series("x", "x", "y", "y", "y")
    estimate = stratified_mean(
        values, series("a", "b", "a", "b", "c"), strata, {"x": 0.5, "y": 0.5}
    )
    # Row weights are 1/4 in x and 1/6 in y.
    squares = (0.1 / 4 + 0.1 / 6) ** 2 + (-0.1 / 4 + 0.1 / 6) ** 2 + (-0.2 / 6) ** 2
    assert estimate.mean == pytest.approx(0.6)
    sums = np.array([0.1 / 4 + 0.1 / 6, -0.1 / 4 + 0.1 / 6, -0.2 / 6])
    assert sums @ sums == pytest.approx(squares)
    number = 1 / (2 / 4**2 + 3 / 6**2)
    assert (estimate.low, estimate.high) == pytest.approx(interval(0.6, sums, number))


def test_one_video_has_no_interval() -> None:
    estimate = clustered_mean(series(1, 0, 1), series("a", "a", "a"))
    assert (estimate.low, estimate.high) == (None, None)
    assert estimate.as_percent()["interval95_percent"] is None


def test_all_right_is_not_certainty() -> None:
    # Clopper and Pearson at 10 of 10, one per video: 0.025 ** (1 / 10).
    estimate = clustered_mean(series(*[1.0] * 30), pd.Series(range(30)) // 3)
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.025**0.1, abs=1e-9)


def test_strata_without_a_weight_are_refused() -> None:
    with pytest.raises(ValueError, match="do not match"):
        stratified_mean(series(1, 0), series("a", "b"), series("x", "y"), {"x": 1.0})


def test_coverage_on_correlated_questions() -> None:
    # Each video is easy or hard as a whole, the case where unclustered intervals are far too short.
    generator = np.random.default_rng(0)
    clusters = pd.Series(np.repeat(np.arange(40), 5))
    hits = 0
    for _ in range(200):
        difficulty = np.repeat(generator.choice([0.2, 0.9], size=40), 5)
        estimate = clustered_mean(pd.Series((generator.random(200) < difficulty) * 1.0), clusters)
        hits += bool(estimate.low <= 0.55 <= estimate.high)  # type: ignore[operator]
    assert 180 <= hits <= 199  # 95 % of 200 is 190, three standard deviations are 9.2


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40))
def test_bounds_enclose_the_mean(rows: list[tuple[bool, int]]) -> None:
    values = pd.Series([float(right) for right, _ in rows])
    estimate = clustered_mean(values, pd.Series([video for _, video in rows]))
    assert estimate.mean == pytest.approx(sum(right for right, _ in rows) / len(rows))
    if estimate.low is not None and estimate.high is not None:
        assert 0 <= estimate.low <= estimate.mean + 1e-12
        assert estimate.mean - 1e-12 <= estimate.high <= 1

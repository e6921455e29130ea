"""Our statistics against scipy's, where scipy has the same."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.intervals import clustered_mean, t_quantile, wilson
from eval.paired import mcnemar_p

stats = pytest.importorskip("scipy.stats")
COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("degrees", [1, 2, 5, 30, 400, 5000])
def test_quantiles_of_student(degrees: int, level: float) -> None:
    expected = stats.t.ppf((1 + level) / 2, degrees)
    assert t_quantile(degrees, level) == pytest.approx(expected, rel=1e-6)


@given(COUNTS)
def test_exact_test_of_discordant_pairs(counts: tuple[int, int]) -> None:
    rarer, num_discordant = counts
    expected = stats.binomtest(rarer, num_discordant).pvalue
    assert mcnemar_p(rarer, num_discordant - rarer) == pytest.approx(expected, rel=1e-9)


@given(COUNTS)
def test_wilson_interval(counts: tuple[int, int]) -> None:
    right, num_trials = counts
    expected = stats.binomtest(right, num_trials).proportion_ci(method="wilson")
    found = wilson(right / num_trials, num_trials)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.floats(0.3, 0.7), min_size=2, max_size=50).filter(lambda v: max(v) > min(v) + 0.01)
)
def test_one_question_per_video_is_the_interval_of_the_t_test(values: list[float]) -> None:
    expected = stats.ttest_1samp(values, 0.5).confidence_interval(0.95)
    found = clustered_mean(pd.Series(values), pd.Series(range(len(values))))
    bounds = max(0.0, expected.low), min(1.0, expected.high)
    assert (found.low, found.high) == pytest.approx(bounds, abs=1e-6)

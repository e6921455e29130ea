"""Our statistics against scipy's, where scipy has the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eval.beta import beta_quantile, beta_share
from eval.intervals import clopper_pearson, t_quantile
from eval.paired import MOST_EXACT_VIDEOS, NUM_DRAWS, sign_flip_p

stats = pytest.importorskip("scipy.stats")
COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("degrees", [1, 2, 5, 30, 400, 5000])
def test_quantiles_of_student(degrees: int, level: float) -> None:
    expected = stats.t.ppf((1 + level) / 2, degrees)
    assert t_quantile(degrees, level) == pytest.approx(expected, rel=1e-6)


@given(st.floats(1e-3, 400), st.floats(1e-3, 400), st.floats(1e-3, 0.999))
@example(0.001, 0.001, 0.515625)
def test_quantiles_of_beta(a: float, b: float, share: float) -> None:
    """To the last places of a float: near 1 neighbours can lie 1e-6 apart in share."""
    assert beta_share(share, a, b) == pytest.approx(stats.beta.cdf(share, a, b), abs=1e-9)
    found = beta_quantile(share, a, b)
    places = 4 * np.spacing(found)
    low, high = (stats.beta.cdf(found + sign * places, a, b) for sign in (-1, 1))
    assert low - 1e-6 <= share <= high + 1e-6 or found == pytest.approx(0, abs=1e-15)


@given(COUNTS)
def test_interval_of_independent_trials(counts: tuple[int, int]) -> None:
    right, num_trials = counts
    expected = stats.binomtest(right, num_trials).proportion_ci(method="exact")
    found = clopper_pearson(right / num_trials, num_trials)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.lists(st.integers(-6, 6), min_size=2, max_size=9))
def test_sign_flips(sums: list[int]) -> None:
    values = np.array(sums, dtype=float)
    expected = stats.permutation_test(
        (values,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(values / 60) == pytest.approx(min(1, expected), abs=1e-9)


def test_drawn_flips_agree_with_the_exact_ones() -> None:
    values = np.random.default_rng(3).normal(0.3, 1, size=MOST_EXACT_VIDEOS)
    exact, drawn = sign_flip_p(values), sign_flip_p(np.append(values, 1e-9))
    assert drawn == pytest.approx(exact, abs=4 * (exact / NUM_DRAWS) ** 0.5)

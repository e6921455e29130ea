"""What the intervals promise, simulated: correlated questions, few videos, near the ceiling.

Shapes: r repetitions, g videos.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from eval.intervals import clopper_pearson, effective_questions, interval, variance_of

stats = pytest.importorskip("scipy.stats")
NUM_REPETITIONS = 1500
NUM_VIDEOS = (6, 12, 40, 100)
SHAPES = [(1, 0.0), (10, 0.0), (4, 0.2), (10, 0.1), (10, 0.5), (30, 0.7)]
"""Questions per video, and how much those of a video correlate."""


def draw(accuracy: float, num_videos: int, shape: tuple[int, float], seed: int) -> np.ndarray:
    """(r, g) accuracies of videos; beta-binomial."""
    (num_questions, correlation), generator = shape, np.random.default_rng(seed)
    size = (NUM_REPETITIONS, num_videos)
    chances = np.full(size, accuracy)
    if correlation:
        total = 1 / correlation - 1
        chances = generator.beta(accuracy * total, (1 - accuracy) * total, size)
    return generator.binomial(num_questions, chances) / num_questions


def bounds(videos: np.ndarray, num_questions: int) -> tuple[np.ndarray, np.ndarray]:
    """(r,) lower and upper ones; the quantiles are scipy's, which is faster."""
    count = videos.shape[1]
    means = videos.mean(axis=1)
    sums = (videos - means[:, None]) / count
    trials = np.array(
        [
            effective_questions(mean, row, count * num_questions)
            for mean, row in zip(means.tolist(), sums, strict=True)
        ]
    )
    right, wrong = means * trials, (1 - means) * trials
    low = np.where(right > 0, stats.beta.ppf(0.025, np.maximum(right, 1e-9), wrong + 1), 0)
    high = np.where(wrong > 1e-9, stats.beta.ppf(0.975, right + 1, np.maximum(wrong, 1e-9)), 1)
    ours = interval(means[0], sums[0], count * num_questions)
    assert ours == pytest.approx((low[0], high[0]), abs=1e-9)
    return low, high


@pytest.mark.parametrize("accuracy", [0.5, 0.7, 0.9, 0.95, 0.98, 0.99])
def test_nineteen_of_twenty_intervals_hold_the_truth(accuracy: float) -> None:
    for seed, (num_videos, shape) in enumerate(product(NUM_VIDEOS, SHAPES)):
        low, high = bounds(draw(accuracy, num_videos, shape, seed), shape[0])
        covered = np.mean((low <= accuracy) & (accuracy <= high))
        assert covered >= 0.93, (num_videos, shape)


def test_they_are_not_much_wider_than_the_bootstrap() -> None:
    """On average over accuracies up to 0.9, and 20 repetitions of each."""
    ratios = []
    for seed, (accuracy, count, shape) in enumerate(product((0.5, 0.7, 0.9), NUM_VIDEOS, SHAPES)):
        videos = draw(accuracy, count, shape, seed)[:20]
        low, high = bounds(videos, shape[0])
        widths = [bootstrap_width(row, seed) for row in videos]
        ratios.append(np.nanmean(high - low) / np.nanmean(widths))
    assert np.nanmean(ratios) < 1.3


def bootstrap_width(videos: np.ndarray, seed: int) -> float:
    """Of the bootstrap-t interval over videos, cut to [0, 1]; NaN where they are all equal."""
    error = np.sqrt(np.var(videos, ddof=1) / len(videos))
    if error == 0:
        return np.nan
    generator = np.random.default_rng(seed)
    drawn = videos[generator.integers(0, len(videos), (400, len(videos)))]
    errors = np.sqrt(drawn.var(axis=1, ddof=1) / len(videos))
    found = (drawn.mean(axis=1) - videos.mean())[errors > 0] / errors[errors > 0]
    late, early = np.quantile(found, (0.025, 0.975))
    return min(1, videos.mean() - late * error) - max(0, videos.mean() - early * error)


def test_a_variance_of_one_video_rests_on_one() -> None:
    assert variance_of(np.array([0.0, 0.0, 0.0, 0.0])) == (0, 0)
    assert variance_of(np.array([0.3, -0.1, -0.1, -0.1]))[0] < 2
    assert clopper_pearson(0.5, 4.5)[0] == pytest.approx(1 - clopper_pearson(0.5, 4.5)[1])

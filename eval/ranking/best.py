"""Which of many memories may be the best, with a correction for how many there are.

u_gk is what video g adds to the accuracy of memory k (`eval.intervals`: w_i * y_i summed over its
questions). Memory i is not the best if some memory beats it. Of the differences d_gj = u_gj - u_gi
to every other memory j

    statistic   r_j = sum_g d_gj / sqrt(sum_g d_gj ** 2)

and the p-value of "the best one, b, only seems to beat i" is the share of the ways to flip the
signs of whole videos, of all j alike, for which max_j r_j is at least the observed r_b (sign-flip
test with the max-statistic, Westfall and Young 1993). Because the maximum runs over all memories, b
may be picked by looking, and the true best is called beaten in at most 5 % of comparisons. All
2 ** G flips are counted up to 12 videos, drawn above; p cannot be smaller than 2 ** -G.
"""

from functools import lru_cache

import numpy as np

MOST_EXACT_VIDEOS = 12
NUM_DRAWS = 20_000
_SEED = 2026


def beaten_p(sums: np.ndarray) -> np.ndarray:
    """(K,) p-values of the module text; 1 for the best itself, and for what equals it.

    Args:
        sums: (G, K) u_gk.
    """
    signs = _signs(len(sums))
    flipped = signs @ sums
    best = int(sums.sum(axis=0).argmax())
    return np.array([_p(sums, flipped, i, best) for i in range(sums.shape[1])])


def _p(sums: np.ndarray, flipped: np.ndarray, i: int, best: int) -> float:
    differences = sums - sums[:, i : i + 1]
    scales = np.sqrt((differences**2).sum(axis=0))
    differing = scales > 1e-12
    if not differing[best]:
        return 1.0
    observed = differences[:, best].sum() / scales[best] - 1e-9  # the same sum in another order
    statistics = (flipped[:, differing] - flipped[:, i : i + 1]) / scales[differing]
    as_large = statistics.max(axis=1) >= observed
    if len(sums) <= MOST_EXACT_VIDEOS:
        return float(as_large.mean())
    return float((1 + as_large.sum()) / (1 + len(as_large)))


@lru_cache(maxsize=4)
def _signs(num_videos: int) -> np.ndarray:
    """(flips, num_videos) of +-1, the same ones every time."""
    if num_videos <= MOST_EXACT_VIDEOS:
        bits = np.arange(2**num_videos)[:, None] >> np.arange(num_videos) & 1
        return 1.0 - 2.0 * bits
    generator = np.random.default_rng(_SEED)
    return 2.0 * generator.integers(0, 2, (NUM_DRAWS, num_videos)) - 1.0

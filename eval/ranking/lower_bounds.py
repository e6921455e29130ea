"""How far one memory is ahead of each of many others, all bounds holding at once.

With d_gk what video g adds to the difference to memory k, D_k the difference and s_k its standard
error (`eval.paired`),

    lower bound of D_k = D_k - c * s_k,     c = 95 % quantile of max_k t_k

where t_k are Student's statistics of G normal draws with the covariance of the d_gk over videos
(parametric bootstrap; their standard errors are drawn with them, without which c is too small for
few videos: docs/log.md). c is Student's quantile for one other memory, larger the more others there
are and the less they agree. The smallest of the bounds is one for the difference to the best of the
others, whichever that is.
"""

from math import sqrt

import numpy as np

from eval.intervals import t_quantile

LEVEL = 0.95
NUM_DRAWS = 4_000
_AT_A_TIME = 500
_SEED = 2027


def simultaneous_quantile(deviations: np.ndarray, level: float = LEVEL) -> float:
    """c of the module text, one-sided; infinite for fewer than two videos.

    Args:
        deviations: (G, K) centred d_gk; memories that never differ (all zero) play no part.
    """
    num_videos = len(deviations)
    if num_videos < 2:
        return float("inf")
    scales = np.sqrt((deviations**2).sum(axis=0))
    own = deviations[:, scales > 1e-12] / scales[scales > 1e-12]
    single = t_quantile(num_videos - 1, 2 * level - 1)
    if not own.size:
        return single
    generator = np.random.default_rng(_SEED)
    parts = [_largest(own, generator) for _ in range(-(-NUM_DRAWS // _AT_A_TIME))]
    return max(single, float(np.quantile(np.concatenate(parts), level)))


def _largest(own: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(draws,) max_k t_k."""
    num_videos = len(own)
    drawn = generator.standard_normal((_AT_A_TIME, num_videos, num_videos)) @ own
    errors = drawn.std(axis=1, ddof=1) / sqrt(num_videos)
    return (drawn.mean(axis=1) / errors).max(axis=1)

"""How far one memory is ahead of each of many others, all bounds holding at once.

With d_gk what video g adds to the difference to memory k, centred, D_k the difference, s_k its
standard error (`eval.paired`) and n_g independent standard normals,

    z_k = sum_g n_g * d_gk / sqrt(sum_g d_gk ** 2),     t_k = z_k / sqrt(chi2(G - 1) / (G - 1))
    lower bound of D_k = D_k - c * s_k,                 c = 95 % quantile of max_k t_k

(multiplier bootstrap, Chernozhukov, Chetverikov and Kato 2013, with the t of few videos): Student's
for one other memory, larger the more others there are and the less they agree. The smallest of the
bounds is one for the difference to the best of the others.
"""

import numpy as np

from eval.intervals import t_quantile

LEVEL = 0.95
NUM_DRAWS = 20_000
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
    drawn = (generator.standard_normal((NUM_DRAWS, num_videos)) @ own).max(axis=1)
    spread = np.sqrt(generator.chisquare(num_videos - 1, NUM_DRAWS) / (num_videos - 1))
    return max(single, float(np.quantile(drawn / spread, level)))

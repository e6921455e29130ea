"""Quantiles of the beta distribution, without scipy (which is the oracle of its tests)."""

from math import exp, lgamma, log

_SMALLEST = 1e-300
_STEPS = 60
"""Bisections: the result is exact to 2 ** -60."""


def beta_quantile(share: float, a: float, b: float) -> float:
    """x with P(X <= x) = `share` for a Beta(a, b) variable; 0 where a is 0, 1 where b is 0."""
    if a <= 0:
        return 0.0
    if b <= 0:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_share(middle, a, b) < share else (low, middle)
    return (low + high) / 2


def beta_share(x: float, a: float, b: float) -> float:
    """P(X <= x) for a Beta(a, b) variable: the regularised incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    scale = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log(1 - x))
    if x < (a + 1) / (a + b + 2):
        return scale * _fraction(x, a, b) / a
    return 1 - scale * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Continued fraction (DLMF 8.17.22) by Lentz's method; converges quickly below the mean."""
    upper, lower = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    result = lower
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = result
        for term in (even, odd):
            lower = 1 / _nonzero(1 + term * lower)
            upper = _nonzero(1 + term / upper)
            result *= upper * lower
        if abs(result - before) < 1e-15 * abs(result):
            break
    return result


def _nonzero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST

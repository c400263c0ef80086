"""The regularised incomplete gamma functions, in NumPy: how many steps they take depends on the elements.

The series of DLMF 8.11.4 below x = a + 1, the continued fraction of DLMF 8.9.2 (modified Lentz) beyond, each until the
last element has settled; x^a e^-x / gamma(a) from log1p and Stirling's correction where a is large.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.maths.arrays import on_arrays
from tdsl.compiler.maths.gamma import STIRLING, lgamma

Array = np.ndarray[Any, Any]
_lgamma = on_arrays(lgamma)
_STEPS = 20_000
_LAST = 2.0**-54


def _factor(a: Array, x: Array) -> Array:
    """x^a e^-x / gamma(a + 1)."""
    plain = np.exp(a * np.log(x) - x - _lgamma(a + 1))
    big = np.maximum(a, 10.0)
    away = (x - big) / big
    correction = np.polyval(STIRLING, 1 / (big * big)) / big
    logarithm = np.where(np.abs(away) < 0.5, np.log1p(away) - away, np.log(x / big) - away)
    return np.where(a < 10, plain, np.exp(big * logarithm - correction) / np.sqrt(2 * np.pi * big))


def _series(a: Array, x: Array) -> Array:
    """gamma(a + 1) x^-a e^x P(a, x)."""
    term, total = np.ones_like(x), np.ones_like(x)
    for n in range(1, _STEPS):
        term = term * (x / (a + n))
        total = total + term
        if not bool((term > total * _LAST).any()):
            break
    return total


def _fraction(a: Array, x: Array) -> Array:
    """gamma(a) x^-a e^x Q(a, x)."""
    tiny = 1e-290
    b = x + 1 - a
    c, d = np.full_like(x, 1 / tiny), 1 / b
    h = d
    for n in range(1, _STEPS):
        numerator = -n * (n - a)
        b = b + 2
        d = numerator * d + b
        c = b + numerator / c
        d = 1 / np.where(np.abs(d) < tiny, tiny, d)
        c = np.where(np.abs(c) < tiny, tiny, c)
        step = c * d
        h = h * step
        if not bool((np.abs(step - 1) > 16 * _LAST).any()):
            break
    return h


def _both(a: Any, x: Any) -> tuple[Array, Array]:
    """P and Q."""
    kind = np.result_type(a, x)
    a, x = (np.array(v, np.float64) for v in np.broadcast_arrays(a, x))
    with np.errstate(all="ignore"):
        ordinary = (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
        low = ordinary & (x < a + 1)
        high = ordinary & ~low
        p, q = np.empty(a.shape), np.empty(a.shape)
        p[low] = _factor(a[low], x[low]) * _series(a[low], x[low])
        q[low] = 1 - p[low]
        q[high] = _factor(a[high], x[high]) * a[high] * _fraction(a[high], x[high])
        p[high] = 1 - q[high]
        for place, value in _edges(a, x):
            p[place], q[place] = value, 1 - value
    return p.astype(kind), q.astype(kind)


def _edges(a: Array, x: Array) -> list[tuple[Array, float]]:
    """Where P has a limit, and the limit; NaN outside the quadrant and where both are 0 or infinite."""
    none = (a < 0) | (x < 0) | np.isnan(a) | np.isnan(x)
    none |= (a == 0) & (x == 0) | np.isinf(a) & np.isinf(x)
    return [
        ((x == 0) | np.isinf(a), 0.0),
        ((a == 0) & (x > 0) | np.isinf(x) & np.isfinite(a), 1.0),
        (none, np.nan),
    ]


def lower_gamma(a: Any, x: Any) -> Array:
    """P(a, x), the integral of t^(a-1) e^-t from 0 to x over gamma(a)."""
    return _both(a, x)[0]


def upper_gamma(a: Any, x: Any) -> Array:
    """Q(a, x) = 1 - P(a, x)."""
    return _both(a, x)[1]

"""Orthogonal polynomials of a degree that differs from element to element, in NumPy.

Three-term recurrences (DLMF 18.9); Chebyshev's of higher degree inside (-1, 1) from their definition by angles (18.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Step = Callable[[int, Array, Array, Array], Array]  # k, x, p_k, p_(k-1) -> p_(k+1)


def _chebyshev(k: int, x: Array, here: Array, before: Array) -> Array:
    return 2 * x * here - before


# p_1, then the step
_RECURRENCES: dict[str, tuple[Callable[[Array], Array], Step]] = {
    "chebyshev_t": (lambda x: x, _chebyshev),
    "chebyshev_u": (lambda x: 2 * x, _chebyshev),
    "chebyshev_v": (lambda x: 2 * x - 1, _chebyshev),
    "chebyshev_w": (lambda x: 2 * x + 1, _chebyshev),
    "hermite_h": (lambda x: 2 * x, lambda k, x, here, before: 2 * (x * here - k * before)),
    "hermite_he": (lambda x: x, lambda k, x, here, before: x * here - k * before),
    "laguerre_l": (lambda x: 1 - x, lambda k, x, here, before: ((2 * k + 1 - x) * here - k * before) / (k + 1)),
    "legendre_p": (lambda x: x, lambda k, x, here, before: ((2 * k + 1) * x * here - k * before) / (k + 1)),
}
_ANGLES: dict[str, Callable[[Array, Array], Array]] = {
    "chebyshev_t": lambda n, t: np.cos(n * t),
    "chebyshev_u": lambda n, t: np.sin((n + 1) * t) / np.sin(t),
    "chebyshev_v": lambda n, t: np.cos((n + 0.5) * t) / np.cos(t / 2),
    "chebyshev_w": lambda n, t: np.sin((n + 0.5) * t) / np.sin(t / 2),
}
_BY_ANGLE = 8  # from this degree on
POLYNOMIALS = (*_RECURRENCES, *(f"shifted_{name}" for name in _ANGLES))


def polynomial(x: Any, n: Any, kind: str) -> Array:
    """The polynomial of degree n (its fraction dropped) at x; 0 for a degree below 0."""
    dtype = np.result_type(x)
    x, n = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(n, np.float64))
    if kind.startswith("shifted_"):
        x, kind = 2 * x - 1, kind.removeprefix("shifted_")
    degree = np.trunc(np.where(np.isnan(n), -1, n))
    with np.errstate(all="ignore"):
        by_angle = (np.abs(x) < 1) & (degree >= _BY_ANGLE) if kind in _ANGLES else np.zeros(x.shape, bool)
        result = np.where(degree == 0, 1.0, 0.0)
        result[by_angle] = _ANGLES[kind](degree[by_angle], np.arccos(x[by_angle])) if by_angle.any() else 0.0
        _recur(kind, x, np.where(by_angle, -1, degree), result)
    return result.astype(dtype)


def _recur(kind: str, x: Array, degree: Array, result: Array) -> None:
    """Fill in the result where the degree is 1 or more, one degree after the other."""
    first, step = _RECURRENCES[kind]
    before, here = np.ones_like(x), first(x)
    last = int(np.max(degree, initial=0))
    for k in range(1, last + 1):
        np.copyto(result, here, where=degree == k)
        before, here = here, step(k, x, here, before)

"""Bessel functions of order 0 and 1, the modified ones, plain and scaled, and Airy's Ai.

Near 0 polynomials beside the logarithmic parts of the second kinds (DLMF 10.8, 10.31); beyond 8 modulus and phase in
1 / x^2 (DLMF 10.17), or exp(-+x) / sqrt(x) times a polynomial in 1 / x (DLMF 10.40), of Ai the same in zeta (9.7).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan, pi, sqrt

from tdsl.compiler.maths import tables
from tdsl.compiler.maths.circular import cos, sin
from tdsl.compiler.maths.errors import over
from tdsl.compiler.maths.exponential import exp, log_of_positive
from tdsl.compiler.maths.gamma import piecewise
from tdsl.compiler.maths.hyperbolic import by_double
from tdsl.compiler.maths.lane import Lane, poly

_SQUARES = ((25.0, 0.0, 25.0), (64.0, 25.0, 64.0))  # of x in [0, 5) and [5, 8)
_LARGEST = 1e300


def _log_half(a: Lane) -> Lane:
    """log(a / 2) for a >= 0, which subnormals stand for 0 in."""
    return log_of_positive((a * 0.5).at_least(5e-324).at_most(_LARGEST))


# ---- modified, first kind


def _scaled_i(a: Lane, order: int) -> Lane:
    """exp(-a) I(a), a >= 0."""
    near, far = ((tables.I0_NEAR, tables.I0_FAR), (tables.I1_NEAR, tables.I1_FAR))[order]
    big = a.at_least(8.0)
    y = poly(over(1.0 / big, 0, 0.125), far) / big.unary("math.sqrt")
    small = poly(over(a.at_most(8.0), 0, 8), near)
    return a.test("olt", 8.0).choose(small * a if order else small, y)


def _grown(a: Lane, scaled: Lane) -> Lane:
    """scaled * exp(a), where exp(a) alone may be too large."""
    half = exp(a * 0.5)
    return a.test("oeq", inf).choose(a, scaled * half * half)


@by_double
def i0(x: Lane) -> Lane:
    a = abs(x)
    return _grown(a, _scaled_i(a, 0))


@by_double
def i0e(x: Lane) -> Lane:
    return _scaled_i(abs(x), 0)


@by_double
def i1(x: Lane) -> Lane:
    a = abs(x)
    return _grown(a, _scaled_i(a, 1)).copysign(x)


@by_double
def i1e(x: Lane) -> Lane:
    return _scaled_i(abs(x), 1).copysign(x)


# ---- modified, second kind


def _k_near(a: Lane, order: int) -> Lane:
    s = a.at_most(2.0)
    first = _grown(s, _scaled_i(s, order))
    if order == 0:
        return poly(over(s * s, 0, 4), tables.K0_NEAR) - _log_half(s) * first
    return _log_half(s) * first + poly(over(s * s, 0, 4), tables.K1_NEAR) / s


def _k_far(a: Lane, order: int) -> Lane:
    """exp(a) K(a), a >= 2."""
    middle, far = ((tables.K0_MIDDLE, tables.K0_FAR), (tables.K1_MIDDLE, tables.K1_FAR))[order]
    big = a.at_least(2.0)
    u = 1.0 / big
    return piecewise(u, ((0.125, 0, 0.125), (0.5, 0.125, 0.5)), (far, middle)) / big.unary("math.sqrt")


def _k(x: Lane, order: int, scaled: bool) -> Lane:
    """Infinite at 0, NaN below."""
    near, far = _k_near(x, order), _k_far(x, order)
    if scaled:
        near = near * exp(x.at_most(2.0))
    else:
        half = exp(x * -0.5)
        far = far * half * half
    y = x.test("ole", 2.0).choose(near, far)
    y = x.test("oeq", 0.0).choose(inf, x.test("oeq", inf).choose(0.0, y))
    return x.test("oge", 0.0).choose(y, nan)


@by_double
def k0(x: Lane) -> Lane:
    return _k(x, 0, False)


@by_double
def k1(x: Lane) -> Lane:
    return _k(x, 1, False)


@by_double
def k0e(x: Lane) -> Lane:
    return _k(x, 0, True)


@by_double
def k1e(x: Lane) -> Lane:
    return _k(x, 1, True)


# ---- first and second kind


def _squared(a: Lane, rows: Sequence[Sequence[float]]) -> Lane:
    s = a.at_most(8.0)
    return piecewise(s * s, _SQUARES, rows)


def _wave(a: Lane, order: int, second: bool) -> Lane:
    """J or Y from modulus and phase, a >= 8: sqrt(2 / (pi a)) (P cos c - Q sin c), or P sin c + Q cos c."""
    big = a.at_least(8.0).at_most(_LARGEST)
    p_row, q_row = ((tables.J0_P, tables.J0_Q), (tables.J1_P, tables.J1_Q))[order]
    u = 1.0 / big
    t = over(u * u, 0, 1 / 64)
    p, q = poly(t, p_row), poly(t, q_row) * u
    s, c = sin(big), cos(big)
    # the sine and cosine of a - pi/4 or a - 3 pi/4, times sqrt 2
    sine, cosine = (s - c, s + c) if order == 0 else (-(s + c), s - c)
    y = p * sine + q * cosine if second else p * cosine - q * sine
    y = y * (1 / sqrt(pi)) / big.unary("math.sqrt")
    return a.test("oeq", inf).choose(0.0, y)


def _j_near(a: Lane, order: int) -> Lane:
    if order == 0:
        return _squared(a, (tables.J0_NEAR, tables.J0_MIDDLE))
    return _squared(a, (tables.J1_NEAR, tables.J1_MIDDLE)) * a


@by_double
def j0(x: Lane) -> Lane:
    a = abs(x)
    y = a.test("olt", 8.0).choose(_j_near(a, 0), _wave(a, 0, False))
    return a.test("oeq", 0.0).choose(1.0, y)


@by_double
def j1(x: Lane) -> Lane:
    a = abs(x)
    y = a.test("olt", 8.0).choose(_j_near(a, 1), _wave(a, 1, False))
    return x.negative().choose(-y, y)


def _second_kind(x: Lane, near: Lane, order: int) -> Lane:
    y = x.test("olt", 8.0).choose(near, _wave(x, order, True))
    y = x.test("oeq", 0.0).choose(-inf, y)
    return x.test("oge", 0.0).choose(y, nan)


@by_double
def y0(x: Lane) -> Lane:
    logarithm = _log_half(x.at_most(8.0)) * (2 / pi) * _j_near(x, 0)
    return _second_kind(x, logarithm + _squared(x, (tables.Y0_NEAR, tables.Y0_MIDDLE)), 0)


@by_double
def y1(x: Lane) -> Lane:
    logarithm = (_log_half(x.at_most(8.0)) * _j_near(x, 1) - 1.0 / x) * (2 / pi)
    return _second_kind(x, logarithm + _squared(x, (tables.Y1_NEAR, tables.Y1_MIDDLE)) * x, 1)


@by_double
def airy_ai(x: Lane) -> Lane:
    a = abs(x).at_most(1e200)
    root = a.unary("math.sqrt")
    zeta = a * root * (2 / 3)
    u = 1.0 / zeta.at_least(1.0)
    fourth = root.unary("math.sqrt") * sqrt(pi)
    # below -6 a wave
    t = over(u, 0, 0.13)
    s, c = sin(zeta), cos(zeta)
    p, q = poly(t, tables.AIRY_P), poly(t, tables.AIRY_Q) * u
    wave = (p * (s + c) - q * (c - s)) * sqrt(0.5) / fourth
    # above 2 a decay
    half = exp(zeta * -0.5)
    rows = (tables.AIRY_FAR, tables.AIRY_MIDDLE)
    decay = piecewise(u, ((0.1, 0, 0.1), (0.55, 0.1, 0.55)), rows) * half * half / (fourth * 2.0)
    y = piecewise(x, ((-2.0, -6, -2), (2.0, -2, 2)), (tables.AIRY_LOW, tables.AIRY_NEAR))
    y = x.test("ogt", 2.0).choose(decay, y)
    y = x.test("olt", -6.0).choose(wave, y)
    y = abs(x).test("oeq", inf).choose(0.0, y)
    return x.test("uno", x).choose(x, y)


@by_double
def spherical_j0(x: Lane) -> Lane:
    """sin(x) / x."""
    a = abs(x)
    z = a * a
    series = poly(z, [1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0])
    y = a.test("olt", 0.1).choose(series, sin(a) / a)
    return a.test("oeq", inf).choose(0.0, y)

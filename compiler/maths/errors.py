"""Error functions and normal distributions: erfc, erfcx, erfinv, ndtri, log_ndtr.

erfc is scaled by (1 + 2 x) exp(x^2), after Shepherd and Laframboise (Mathematics of Computation 36, 1981), erfinv is
a polynomial in the logarithm of 1 - x^2, after Giles (GPU Computing Gems, 2011); the polynomials are in tables.py.
"""

from __future__ import annotations

from math import inf, log, nan, sqrt

from tdsl.compiler.maths.exponential import exp_of_sum, log1p, log_of_positive
from tdsl.compiler.maths.hyperbolic import by_double
from tdsl.compiler.maths.lane import Lane, poly, two_product
from tdsl.compiler.maths.tables import ERF, ERFCX, ERFINV_FAR, ERFINV_MIDDLE, ERFINV_NEAR

SQRT_HALF = sqrt(0.5)


def over(x: Lane, lo: float, hi: float) -> Lane:
    """t in [-1, 1] for x in [lo, hi]."""
    return x * (2 / (hi - lo)) - (hi + lo) / (hi - lo)


def erfcx_of_positive(a: Lane) -> Lane:
    s = a.at_most(1e30)
    return poly((s - 3.75) / (s + 3.75), ERFCX) / (a * 2.0 + 1.0)


def minus_square(a: Lane) -> Lane:
    """exp(-a^2), the rounding of the square taken back."""
    s = a.at_most(27.5)
    square, error = two_product(s, s)
    return exp_of_sum(-square, -error)


@by_double
def erfc(x: Lane) -> Lane:
    a = abs(x)
    y = minus_square(a) * erfcx_of_positive(a)
    y = x.test("olt", 0.0).choose(2.0 - y, y)
    return a.test("olt", 0.5).choose(1.0 - x * poly(over(x * x, 0, 1), ERF), y)


@by_double
def erfcx(x: Lane) -> Lane:
    """exp(x^2) erfc(x)."""
    y = erfcx_of_positive(abs(x))
    s = x.at_least(-27.0).at_most(0.0)
    square, error = two_product(s, s)
    below = exp_of_sum(square, error) * 2.0 - y
    below = x.test("olt", -26.7).choose(inf, below)
    y = x.test("oeq", 0.0).choose(1.0, y)
    return x.test("olt", 0.0).choose(below, y)


def _inverse(x: Lane, rest: Lane) -> Lane:
    """erfinv(x), `rest` = 1 - x^2 > 0."""
    w = -log_of_positive(rest)
    s = w.at_least(0.0).unary("math.sqrt")
    near = poly(over(w, 0, 6.25), ERFINV_NEAR)
    middle = poly(over(s, 2.5, 7), ERFINV_MIDDLE)
    far = poly(over(s, 7, 28), ERFINV_FAR)
    return x * s.test("olt", 2.5).choose(near, s.test("olt", 7.0).choose(middle, far))


@by_double
def erfinv(x: Lane) -> Lane:
    a = abs(x)
    rest = (1.0 - a) * (a + 1.0)
    y = _inverse(x, rest.test("ogt", 0.0).choose(rest, 1.0))
    y = a.test("oeq", 1.0).choose(inf, y).copysign(x)
    return a.test("ole", 1.0).choose(y, nan)


@by_double
def ndtri(p: Lane) -> Lane:
    """The x that a standard normal number is below with probability p."""
    ordinary = p.test("ogt", 0.0) & p.test("olt", 1.0)
    q = ordinary.choose(p, 0.5)
    y = _inverse(q * 2.0 - 1.0, q * (1.0 - q) * 4.0) * sqrt(2.0)
    y = p.test("oeq", 0.0).choose(-inf, y)
    y = p.test("oeq", 1.0).choose(inf, y)
    return (p.test("oge", 0.0) & p.test("ole", 1.0)).choose(y, nan)


@by_double
def log_ndtr(x: Lane) -> Lane:
    """log of the probability that a standard normal number is below x."""
    a = abs(x) * SQRT_HALF
    scaled = erfcx_of_positive(a)
    low = log_of_positive(scaled.test("ogt", 0.0).choose(scaled, 1.0)) - log(2.0) - x * x * 0.5
    low = x.test("oeq", -inf).choose(-inf, low)
    square, error = two_product(x.at_least(-1.0).at_most(39.0), x.at_least(-1.0).at_most(39.0))
    tail = exp_of_sum(square * -0.5, error * -0.5) * scaled * 0.5
    high = x.test("ogt", 0.0).choose(log1p(-tail), log1p(tail - 1.0))
    y = x.test("olt", -1.0).choose(low, high)
    return x.test("uno", x).choose(x, y)

"""Hyperbolic functions, the inverse ones of circles and hyperbolas, powers and logarithms of base 2 and 10.

Formulas are Kahan's ("Branch cuts for complex elementary functions", 1987) and fdlibm's; f32 goes by way of f64.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, nan

from tdsl.compiler.loops import F32, F64
from tdsl.compiler.maths.circular import atan2
from tdsl.compiler.maths.exponential import exp, expm1, log1p, log_, log_of_positive, split
from tdsl.compiler.maths.lane import Lane

_LOG10_2 = (3.01029995663611771306e-01, 3.69423907715893078616e-13)  # the first has zeros at its end
_LARGE = 2.0**28


def by_double(function: Callable[..., Lane]) -> Callable[..., Lane]:
    """The function of f64 for f32 too: computed in f64, rounded once."""

    def either(*args: Lane) -> Lane:
        if args[0].element is F64:
            return function(*args)
        return function(*(x.to("extf", F64) for x in args)).to("truncf", F32)

    either.__name__, either.__doc__ = function.__name__, function.__doc__
    return either


@by_double
def sinh(x: Lane) -> Lane:
    """(t + t / (t + 1)) / 2 with t = expm1 |x|, which keeps small arguments exact."""
    a = abs(x)
    t = expm1(a.at_most(30.0))
    small = (t + t / (t + 1.0)) * 0.5
    half = exp(a * 0.5)
    return a.test("ogt", 30.0).choose(half * 0.5 * half, small).copysign(x)


@by_double
def cosh(x: Lane) -> Lane:
    half = exp(abs(x) * 0.5)
    e = half * half
    return abs(x).test("ogt", 30.0).choose(half * 0.5 * half, (e + 1.0 / e) * 0.5)


@by_double
def asinh(x: Lane) -> Lane:
    a = abs(x)
    s = a.at_most(_LARGE)
    near = log1p(s + s * s / ((s * s + 1.0).unary("math.sqrt") + 1.0))
    return a.test("ogt", _LARGE).choose(_log_of_large(a), near).copysign(x)


@by_double
def acosh(x: Lane) -> Lane:
    t = x.at_most(_LARGE) - 1.0
    near = log1p(t + (t * 2.0 + t * t).unary("math.sqrt"))
    y = x.test("ogt", _LARGE).choose(_log_of_large(x), near)
    return x.test("oge", 1.0).choose(y, nan)


def _log_of_large(a: Lane) -> Lane:
    """log 2 a."""
    finite = a.test("olt", inf)
    return finite.choose(log_of_positive(finite.choose(a.at_least(1.0), 1.0)) + log(2.0), a)


@by_double
def atanh(x: Lane) -> Lane:
    a = abs(x)
    y = log1p(a * 2.0 / (1.0 - a)) * 0.5
    y = a.test("oeq", 1.0).choose(inf, y)
    return a.test("ole", 1.0).choose(y, nan).copysign(x)


@by_double
def asin(x: Lane) -> Lane:
    return atan2(x, _other_side(x))


@by_double
def acos(x: Lane) -> Lane:
    """The angle of half the size, which keeps arguments near 1 exact."""
    inside = abs(x).test("ole", 1.0)
    s = inside.choose(x, 0.0)
    angle = atan2((1.0 - s).unary("math.sqrt"), (s + 1.0).unary("math.sqrt")) * 2.0
    return inside.choose(angle, nan)


def atan(x: Lane) -> Lane:
    return atan2(x, x.const(1.0))


def _other_side(x: Lane) -> Lane:
    return ((1.0 - x) * (x + 1.0)).unary("math.sqrt")


def _logarithm(x: Lane, of_powers: Callable[[Lane, Lane], Lane]) -> Lane:
    """of_powers(e, m) of x = 2^e m, around it the special values of logarithms."""
    ordinary = x.test("ogt", 0.0) & x.test("olt", inf)
    m, e = split(ordinary.choose(x, 1.0))
    y = of_powers(e.to("sitofp", F64), m)
    y = x.test("oeq", inf).choose(x, y)
    y = x.test("oeq", 0.0).choose(-inf, y)
    return x.test("oge", 0.0).choose(y, nan)


@by_double
def log2(x: Lane) -> Lane:
    """Powers of two are exact."""
    return _logarithm(x, lambda e, m: e + log_of_positive(m) * (1 / log(2.0)))


@by_double
def log10(x: Lane) -> Lane:
    def of_powers(e: Lane, m: Lane) -> Lane:
        """m in [1, 2), the exponent below it: powers of ten come out exact (fdlibm)."""
        below = m.test("olt", 1.0)
        e, m = below.choose(e - 1.0, e), below.choose(m * 2.0, m)
        minus = e.test("olt", 0.0)
        e, m = minus.choose(e + 1.0, e), minus.choose(m * 0.5, m)
        rest = e * _LOG10_2[1] + log_of_positive(m) * 4.34294481903251816668e-01
        return rest + e * _LOG10_2[0]

    return _logarithm(x, of_powers)


@by_double
def logit(x: Lane) -> Lane:
    """log(x / (1 - x)), by log1p where the fraction is near 1."""
    inside = x.test("ogt", 0.0) & x.test("olt", 1.0)
    s = inside.choose(x, 0.5)
    near = abs(s - 0.5).test("olt", 0.25)
    middle = log1p((near.choose(s, 0.5) * 2.0 - 1.0) / (1.0 - near.choose(s, 0.5)))
    y = near.choose(middle, log_of_positive(s / (1.0 - s)))
    y = x.test("oeq", 0.0).choose(-inf, x.test("oeq", 1.0).choose(inf, y))
    return (x.test("oge", 0.0) & x.test("ole", 1.0)).choose(y, nan)


@by_double
def entr(x: Lane) -> Lane:
    """-x log x, 0 at 0, -inf below."""
    y = -x * log_(x)
    y = x.test("oeq", 0.0).choose(0.0, y)
    return x.test("olt", 0.0).choose(-inf, y)


@by_double
def hypot(x: Lane, y: Lane) -> Lane:
    """sqrt(x^2 + y^2), both scaled by a power of two where squares would leave the range."""
    a, c = abs(x), abs(y)
    big = a.test("ogt", c).choose(a, c)
    large, small = big.test("ogt", 2.0**500), big.test("olt", 2.0**-400)
    scale = large.choose(2.0**-600, small.choose(2.0**600, 1.0, like=x))
    back = large.choose(2.0**600, small.choose(2.0**-600, 1.0, like=x))
    p, q = a * scale, c * scale
    result = (p * p + q * q).unary("math.sqrt") * back
    result = x.test("uno", y).choose(nan, result)
    return (a.test("oeq", inf) | c.test("oeq", inf)).choose(inf, result)

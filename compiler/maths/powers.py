"""Powers: of floats by exp(y log x), with log x in twice the precision for f64; of ints by squaring."""

from __future__ import annotations

from math import inf, nan

from tdsl.compiler.loops import F32, F64
from tdsl.compiler.maths.exponential import EXP_RANGE, exp_of_sum, log_of_positive, split
from tdsl.compiler.maths.lane import Double, Lane, add, multiply, poly, two_product, two_sum

_LARGEST_EXPONENT = 1e25  # beyond it every power of x != 1 overflows or vanishes


def _log(x: Lane) -> Double:
    """log x to about 100 bits, 0 < x < inf, f64: 2 atanh((m - 1) / (m + 1)) + e ln 2."""
    m, e = split(x)
    top, bottom = m - 1.0, two_sum(m, m.const(1.0))
    q = top / bottom[0]
    p, error = two_product(q, bottom[0])
    f = two_sum(q, ((top - p) - error - q * bottom[1]) / bottom[0])
    f2 = multiply(f, f)
    tail = poly(f2[0], [1 / 23, 1 / 21, 1 / 19, 1 / 17, 1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7])
    third = (x.const(1 / 3), x.const(1.850371707708594e-17))
    fifth = (x.const(1 / 5), x.const(-1.1102230246251565e-17))
    inner = add(third, multiply(f2, add(fifth, two_sum(f2[0] * tail, x.const(0.0)))))
    series = add(f, multiply(f, multiply(f2, inner)))
    k = e.to("sitofp", F64)
    scaled = two_product(k, x.const(0.6931471805599453))
    return add((scaled[0], scaled[1] + k * 2.3190468138462996e-17), (series[0] * 2.0, series[1] * 2.0))


def powf(x: Lane, y: Lane) -> Lane:
    if x.element is F64:
        return _pow(x, y, single=False)
    return _pow(x.to("extf", F64), y.to("extf", F64), single=True).to("truncf", F32)


def _pow(x: Lane, y: Lane, single: bool) -> Lane:
    """C99's table of special values, around |x| ** y of ordinary ones."""
    a = abs(x)
    ordinary = a.test("ogt", 0.0) & a.test("olt", inf)
    r = _magnitude(ordinary.choose(a, 1.0), y.at_least(-_LARGEST_EXPONENT).at_most(_LARGEST_EXPONENT), single)
    positive = y.test("ogt", 0.0)
    r = a.test("oeq", 0.0).choose(positive.choose(0.0, inf, like=y), r)
    r = a.test("oeq", inf).choose(positive.choose(inf, 0.0, like=y), r)
    whole, half = y.unary("math.floor"), y * 0.5
    odd = whole.test("oeq", y) & half.unary("math.floor").test("one", half)
    r = (odd & x.negative()).choose(-r, r)
    r = (x.test("olt", 0.0) & ordinary & whole.test("one", y)).choose(nan, r)
    r = abs(y).test("oeq", inf).choose(_to_infinity(a, y), r)
    r = x.test("uno", y).choose(nan, r)
    return (x.test("oeq", 1.0) | y.test("oeq", 0.0)).choose(1.0, r)


def _magnitude(a: Lane, y: Lane, single: bool) -> Lane:
    low, high = EXP_RANGE[F64]
    if single:
        return exp_of_sum((y * log_of_positive(a)).at_least(low).at_most(high), y.const(0.0))
    product = multiply(_log(a), (y, y.const(0.0)))
    bounded = product[0].at_least(low).at_most(high)
    return exp_of_sum(bounded, product[0].test("oeq", bounded).choose(product[1], 0.0))


def _to_infinity(a: Lane, y: Lane) -> Lane:
    """a ** (+-inf) for a >= 0."""
    grows = a.test("ogt", 1.0) ^ y.test("olt", 0.0)
    return a.test("oeq", 1.0).choose(1.0, grows.choose(inf, 0.0, like=y))


def ipowi(x: Lane, n: Lane) -> Lane:
    """x ** n of ints by squaring, wrapping; a negative n gives 1 / x ** -n truncated, and 0 for 0."""
    result, base, left = x.const(1), x, n.test("slt", 0).choose(0, n)
    for _ in range(x.element.bits):
        result = (left & 1).test("ne", 0).choose(result * base, result)
        base = base * base
        left = left >> 1
    even = (n & 1).test("eq", 0)
    inverse = x.test("eq", -1).choose(even.choose(1, -1, like=x), 0)
    inverse = x.test("eq", 1).choose(1, inverse)
    return n.test("slt", 0).choose(inverse, result)

"""log gamma, digamma and Hurwitz's zeta.

Near the roots of log gamma and digamma these factors are taken out of the polynomials of tables.py; beyond 8 stand
Stirling's series, below 0 Euler's reflection (DLMF 5.5, 5.11); zeta is Euler and Maclaurin's sum (DLMF 25.11).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, nan, pi

from tdsl.compiler.loops import SSA
from tdsl.compiler.maths import tables
from tdsl.compiler.maths.circular import cos, sin, some
from tdsl.compiler.maths.exponential import log_of_positive
from tdsl.compiler.maths.hyperbolic import by_double
from tdsl.compiler.maths.lane import Lane, poly
from tdsl.compiler.maths.powers import powf

# B_2k / (2k (2k - 1)) and B_2k / 2k, highest first
STIRLING = [-174611 / 125400, 43867 / 244188, -3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260,
             -1 / 360, 1 / 12]  # fmt: skip
_DIGAMMA = [-174611 / 6600, 43867 / 14364, -3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120,
            1 / 12]  # fmt: skip
_ROOT = (1.4616321449683622, 9.549995429965697e-17)
_SEGMENTS = ((1.0, 0.5, 1.0), (2.0, 1.0, 2.0), (3.0, 2.0, 3.0), (5.0, 3.0, 5.0), (8.0, 5.0, 8.0))  # below, lo, hi
_LGAMMA = (tables.LGAMMA_HALF, tables.LGAMMA_ONE, tables.LGAMMA_TWO, tables.LGAMMA_THREE, tables.LGAMMA_FIVE)


def piecewise(x: Lane, segments: Sequence[tuple[float, float, float]], rows: Sequence[Sequence[float]]) -> Lane:
    """The polynomial of the first segment (below, lo, hi) that x is below, each over t in [lo, hi]: one Horner rule
    whose coefficients every lane chooses."""
    tests = [x.test("olt", below) for below, _, _ in segments[:-1]]

    def pick(values: Sequence[float]) -> Lane:
        chosen = x.const(values[-1])
        for test, value in zip(reversed(tests), reversed(values[:-1]), strict=True):
            chosen = test.choose(value, chosen)
        return chosen

    t = x * pick([2 / (hi - lo) for _, lo, hi in segments]) - pick([(hi + lo) / (hi - lo) for _, lo, hi in segments])
    length = max(map(len, rows))
    columns = list(zip(*([0.0] * (length - len(row)) + list(row) for row in rows), strict=True))
    result = pick(columns[0])
    for column in columns[1:]:
        result = result.fma(t, pick(column))
    return result


def sine_of_turns(x: Lane) -> tuple[Lane, Lane]:
    """|sin pi x| and |tan pi x| with tan's sign, the whole turns taken off first."""
    r = x - x.unary("math.roundeven")
    s, c = sin(r * pi), cos(r * pi)
    return abs(s), s / c


@by_double
def lgamma(x: Lane) -> Lane:
    """log |gamma(x)|."""
    minus = x.test("olt", 0.0)
    a = abs(x)
    y = _lgamma_of_positive(a)
    sine, _ = sine_of_turns(x)
    mirrored = log_of_positive(minus.choose(pi / (a * sine), 1.0).at_most(1e300)) - y
    mirrored = x.test("oeq", x.unary("math.floor")).choose(inf, mirrored)
    y = minus.choose(mirrored, y)
    y = (a.test("oeq", inf) | a.test("oeq", 0.0)).choose(inf, y)
    return x.test("uno", x).choose(x, y)


def _lgamma_of_positive(a: Lane) -> Lane:
    small = a.test("olt", 0.5)
    s = small.choose(a + 1.0, a)
    p = piecewise(s, _SEGMENTS, _LGAMMA)
    p = s.test("olt", 3.0).choose((s - 1.0) * (s - 2.0) * p, p)
    p = small.choose(p - log_of_positive(small.choose(a, 1.0).at_least(5e-324)), p)
    big = a.at_least(8.0)
    inverse = 1.0 / big
    logarithm = log_of_positive(big.test("olt", inf).choose(big, 8.0))
    series = inverse * poly(inverse * inverse, STIRLING)
    return a.test("olt", 8.0).choose(p, (big - 0.5) * (logarithm - 1.0) + (0.5 * log(2 * pi) - 0.5) + series)


@by_double
def digamma(x: Lane) -> Lane:
    """The derivative of log gamma; at 0 infinite, NaN at negative integers."""
    minus = x.test("olt", 0.0)
    a = abs(x)
    small = a.test("olt", 1.0)
    s = small.choose(a + 1.0, a)
    p = piecewise(s, _DIGAMMA_SEGMENTS, _DIGAMMAS)
    p = s.test("olt", 2.0).choose(p * ((s - _ROOT[0]) - _ROOT[1]), p)
    p = small.choose(p - 1.0 / a, p)
    big = a.at_least(8.0)
    inverse = 1.0 / big
    square = inverse * inverse
    logarithm = big.test("olt", inf).choose(log_of_positive(big.at_most(1e300)), big)
    y = a.test("olt", 8.0).choose(p, logarithm - inverse * 0.5 - square * poly(square, _DIGAMMA))
    _, tangent = sine_of_turns(x)
    mirrored = y + 1.0 / a - pi / tangent
    mirrored = x.test("oeq", x.unary("math.floor")).choose(nan, mirrored)
    y = minus.choose(mirrored, y)
    y = a.test("oeq", 0.0).choose(x.const(inf).copysign(-x), y)
    return x.test("uno", x).choose(x, y)


_DIGAMMA_SEGMENTS = ((2.0, 1.0, 2.0), (4.0, 2.0, 4.0), (8.0, 4.0, 8.0))
_DIGAMMAS = (tables.DIGAMMA_ONE, tables.DIGAMMA_TWO, tables.DIGAMMA_FOUR)

_TERMS = 10  # of the sum before Maclaurin's correction
# B_2k / (2k)!
_BERNOULLI = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
              -3617 / 10670622842880000, 43867 / 5109094217170944000, -174611 / 802857662698291200000]  # fmt: skip


def _zeta_of_positive(s: Lane, q: Lane) -> Lane:
    """The sum over k >= 0 of (q + k)^-s, s > 1, q > 0."""
    b = q.b

    def step(_: SSA, carried: list[SSA]) -> list[SSA]:
        total, at = map(q.with_, carried)
        return [(total + powf(at, -s)).ssa, (at + 1.0).ssa]

    sums = b.for_(b.constant(0), b.constant(_TERMS), b.constant(1), [q.const(0.0).ssa, q.ssa], step)
    total, w = map(q.with_, sums)
    last = powf(w, -s)
    result = total + w * last / (s - 1.0) + last * 0.5
    factor, power = s, last / w
    for k, number in enumerate(_BERNOULLI):
        result = result + factor * power * number
        factor = factor * (s + (2.0 * k + 1.0)) * (s + (2.0 * k + 2.0))
        power = power / (w * w)
    return result


@by_double
def zeta(s: Lane, q: Lane) -> Lane:
    """Hurwitz's zeta. Infinite at its poles; below 0, for whole s alone, the sum of as many powers of either sign,
    each of which is a difference of two zetas above 0: three rounds where some lane needs them, else one."""
    whole, minus = q.unary("math.floor"), q.test("olt", 0.0)
    half = s * 0.5
    parity = half.unary("math.floor").test("oeq", half).choose(1.0, -1.0, like=s)
    points = [minus.choose(q - whole, q), q.unary("math.ceil") - q, 1.0 - q]
    signs = [q.const(1.0), minus.choose(parity, 0.0), minus.choose(-parity, 0.0)]

    def step(_: SSA, carried: list[SSA]) -> list[SSA]:
        total, p, p2, p3, g, g2, g3 = map(q.with_, carried)
        moved = g.test("oeq", 0.0).choose(total, total + g * _zeta_of_positive(s, p))
        return [x.ssa for x in (moved, p2, p3, p, g2, g3, g)]

    b = q.b
    rounds = b.select(some(minus), b.constant(3), b.constant(1))
    start = [x.ssa for x in (q.const(0.0), *points, *signs)]
    y = q.with_(b.for_(b.constant(0), rounds, b.constant(1), start, step)[0])
    y = (q.test("ole", 0.0) & whole.test("oeq", q)).choose(inf, y)
    y = (minus & s.unary("math.floor").test("one", s) & whole.test("one", q)).choose(nan, y)
    y = s.test("oeq", 1.0).choose(inf, s.test("oge", 1.0).choose(y, nan))
    y = (q.test("oeq", inf) & s.test("ogt", 1.0)).choose(0.0, y)
    return s.test("uno", q).choose(nan, y)

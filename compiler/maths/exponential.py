"""exp, log and what is made of them: expm1, log1p, sigmoid, tanh, erf, rsqrt.

Reductions are Cody and Waite's (Software Manual for the Elementary Functions, 1980); coefficients are Cephes' (f32)
and fdlibm's (f64) published ones, Taylor's for exp in f64, and for erf Chebyshev fits of our own in f64.
"""

from __future__ import annotations

from math import inf, log, nan

from tdsl.compiler.loops import F32, F64, Scalar
from tdsl.compiler.maths.lane import Lane, poly

# Adding 1.5 * 2^mantissa rounds to an integer that then stands in the low bits.
_MAGIC = {F32: 12582912.0, F64: 6755399441055744.0}
_MAGIC_BITS = {F32: 0x4B400000, F64: 0x4338000000000000}
MANTISSA = {F32: 23, F64: 52}
_BIAS = {F32: 127, F64: 1023}
_LN2 = {F32: (0.693359375, -2.12194440054691e-4), F64: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}


def nearest(x: Lane) -> tuple[Lane, Lane]:
    """The nearest integer, as a float and in integer lanes; |x| < 2^21 (f32) or 2^50 (f64)."""
    t = x + _MAGIC[x.element]
    return t - _MAGIC[x.element], t.bits() - _MAGIC_BITS[x.element]


def _power_of_two(n: Lane, t: Scalar) -> Lane:
    return ((n + _BIAS[t]) << MANTISSA[t]).floats()


def _scale(y: Lane, n: Lane) -> Lane:
    """y * 2^n in two steps, so that subnormal results and n one beyond the range come out right."""
    half = n.arithmetic_shift(1)
    return y * _power_of_two(half, y.element) * _power_of_two(n - half, y.element)


_LN2_REST = {F32: -1.904654299957768e-09, F64: 2.3190468138462996e-17}  # log 2 less the nearest number to it
EXP_RANGE = {F32: (-104.0, 89.0), F64: (-746.0, 710.0)}
_EXP_POLY = {
    F32: [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5],
    F64: [1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720,
          1 / 120, 1 / 24, 1 / 6, 0.5],
}  # fmt: skip


def _reduce_exp(x: Lane) -> tuple[Lane, Lane]:
    """n and r with x = n ln 2 + r, |r| <= ln 2 / 2."""
    whole, n = nearest(x * (1 / log(2)))
    hi, lo = _LN2[x.element]
    return n, whole.fma(-lo, whole.fma(-hi, x))


def _exp_of_remainder(r: Lane, n: Lane) -> Lane:
    return _scale((r * r).fma(poly(r, _EXP_POLY[r.element]), r) + 1.0, n)


def exp(x: Lane) -> Lane:
    low, high = EXP_RANGE[x.element]
    n, r = _reduce_exp(x.at_least(low).at_most(high))
    return _exp_of_remainder(r, n)


def exp_of_sum(x: Lane, small: Lane) -> Lane:
    """exp(x + small) for a `small` far below the last place of x; x within EXP_RANGE."""
    n, r = _reduce_exp(x)
    return _exp_of_remainder(r + small, n)


def exp2(x: Lane) -> Lane:
    """2^n exp(r log 2) with x = n + r, which is exact."""
    low, high = (-151.0, 129.0) if x.element is F32 else (-1076.0, 1025.0)
    bounded = x.at_least(low).at_most(high)
    whole, n = nearest(bounded)
    r = bounded - whole
    return _exp_of_remainder(r.fma(log(2.0), r * _LN2_REST[x.element]), n)


def expm1(x: Lane) -> Lane:
    """2^n expm1(r) + (2^n - 1), as 2^n (expm1(r) + (1 - 2^-n))."""
    t = x.element
    n, r = _reduce_exp(x.at_least(-40.0).at_most(EXP_RANGE[t][1]))
    p = (r * r).fma(poly(r, _EXP_POLY[t]), r)
    counts = n.test("slt", 1000 if t is F64 else 120)  # else 2^-n is below the last place of 1
    inverse = counts.choose(_power_of_two(n.const(0) - counts.choose(n, 0), t), 0.0)
    y = n.test("eq", 0).choose(p, _scale(p + (1.0 - inverse), n))
    return x.test("oeq", 0.0).choose(x, y)


def sigmoid(x: Lane) -> Lane:
    """1 / (1 + e^-x), or e^x / (1 + e^x) for x < 0: the exponential never overflows."""
    e = exp(-abs(x))
    return x.test("oge", 0.0).choose(1.0, e) / (e + 1.0)


def tanh(x: Lane) -> Lane:
    """From expm1(2 |x|), which keeps small arguments exact."""
    t = expm1(abs(x).at_most(22.0) * 2.0)
    return (t / (t + 2.0)).copysign(x)


_LOG32 = [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
          2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]  # fmt: skip
_LOG64 = [1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
          2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01]  # fmt: skip
_TINY = {F32: 1.1754943508222875e-38, F64: 2.2250738585072014e-308}
_SQRT_HALF = {F32: 0x3F3504F3, F64: 0x3FE6A09E667F3BCD}


def split(x: Lane) -> tuple[Lane, Lane]:
    """x = 2^e m with m in [sqrt(1/2), sqrt(2)), for x > 0: m and e, e in integer lanes."""
    t = x.element
    tiny = x.test("olt", _TINY[t])
    shift = MANTISSA[t] + 2
    x = tiny.choose(x * 2.0**shift, x)
    i = x.bits()
    e = (i - _SQRT_HALF[t]).arithmetic_shift(MANTISSA[t])
    m = (i - (e << MANTISSA[t])).floats()
    return m, e - tiny.choose(e.const(shift), e.const(0))


def log_of_positive(x: Lane) -> Lane:
    """For 0 < x < inf."""
    t = x.element
    m, e = split(x)
    k = e.to("sitofp", t)
    f = m - 1.0
    if t is F32:
        z = f * f
        y = k.fma(_LN2[F32][1], f * z * poly(f, _LOG32))
        return k.fma(_LN2[F32][0], f + z.fma(-0.5, y))
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    r = z * poly(z, _LOG64)
    tail = half - (s * (half + r) + k * _LN2[F64][1])
    return k * _LN2[F64][0] - (tail - f)


def log_(x: Lane) -> Lane:
    y = log_of_positive(x)
    y = x.test("oeq", inf).choose(x, y)
    y = x.test("oeq", 0.0).choose(-inf, y)
    return x.test("oge", 0.0).choose(y, nan)


def log1p(x: Lane) -> Lane:
    """log(u) x / (u - 1) with u = 1 + x: the rounding of u cancels (Kahan)."""
    u = x + 1.0
    y = log_(u) * (x / (u - 1.0))
    y = u.test("oeq", 1.0).choose(x, y)
    return x.test("oeq", inf).choose(x, y)


def rsqrt(x: Lane) -> Lane:
    return 1.0 / x.unary("math.sqrt")


_ERF32_FAR = [-1.72853470e-5, 3.83197126e-4, -3.88396438e-3, 2.42546219e-2, -1.06777877e-1, -6.34846687e-1,
              -1.28717512e-1]  # fmt: skip
_ERF32_NEAR = [-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1]
_ERF64_NEAR = [5.957176147748911e-11, -1.1372848856791674e-09, 1.4659775274047436e-08, -1.6350312701054695e-07,
               1.6461000484121368e-06, -1.4925595266831182e-05, 0.0001205533111164271, -0.000854832698083379,
               0.0052239776248180145, -0.026866170645076792, 0.11283791670954879, -0.3761263890318375,
               1.1283791670955126]  # fmt: skip
# erfc(x) exp(x^2) in t = (x - 4) / (x + 4), for x in [1, 6]
_ERFC64 = [-3.34800794082414e-07, -3.313897577397077e-07, 3.0602771204137067e-06, -1.846185025115218e-06,
           -2.255006850460675e-05, 7.897827600582235e-05, -2.1763386047854614e-05, -0.0007991267781170492,
           0.004060263710291142, -0.012843946024701213, 0.03129905651679633, -0.06310781563994847,
           0.10896317739892414, -0.16425781669730705, 0.21871967891826483, -0.25906804876017164,
           0.13699945762506138]  # fmt: skip


def erf(x: Lane) -> Lane:
    """An odd polynomial near 0; 1 - exp(...) beyond."""
    return _erf32(x) if x.element is F32 else _erf64(x)


def _erf32(x: Lane) -> Lane:
    a, s = abs(x), x * x
    far = a.const(_ERF32_FAR[0]).fma(a, _ERF32_FAR[1]).fma(s, a.fma(_ERF32_FAR[2], _ERF32_FAR[3]))
    for c in _ERF32_FAR[4:]:
        far = far.fma(a, c)
    big = 1.0 - exp(far.fma(a, -a))
    big = a.test("ogt", 4.0).choose(1.0, big).copysign(x)
    return a.test("ogt", 0.927734375).choose(big, poly(s, _ERF32_NEAR).fma(x, x))


def _erf64(x: Lane) -> Lane:
    a = abs(x)
    near = poly(x * x, _ERF64_NEAR) * x
    c = a.at_most(6.0).at_least(1.0)
    big = (1.0 - exp(-(c * c)) * poly((c - 4.0) / (c + 4.0), _ERFC64)).copysign(x)
    return a.test("ogt", 1.0).choose(big, near)

"""Elementary functions as arithmetic on loops IR, for f32 and f64, scalars and vectors alike.

Reductions are Cody and Waite's (Software Manual for the Elementary Functions, 1980); polynomial coefficients are
fdlibm's and Cephes' published ones, and Chebyshev fits of our own for erf. Special values are C99's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import inf, log, nan

from tdsl.compiler.loops import F32, F64, I32, I64, SSA, Scalar, Vector
from tdsl.compiler.loops_builder import Builder


class Lane:
    """An SSA value with operators; all lanes of a vector at once. Python numbers are constants of its type."""

    __slots__ = ("b", "ssa")

    def __init__(self, b: Builder, ssa: SSA) -> None:
        self.b, self.ssa = b, ssa

    @property
    def element(self) -> Scalar:
        t = self.ssa.type
        assert isinstance(t, Scalar | Vector)
        return t.element if isinstance(t, Vector) else t

    def const(self, value: float | int) -> Lane:
        t = self.ssa.type
        assert isinstance(t, Scalar | Vector)
        return Lane(self.b, self.b.constant(float(value) if self.element.is_float else int(value), t))

    def _lane(self, other: Lane | float | int) -> Lane:
        return other if isinstance(other, Lane) else self.const(other)

    def _binary(self, name: str, other: Lane | float | int) -> Lane:
        suffix = "f" if self.element.is_float else "i"
        return Lane(self.b, self.b.binary(f"arith.{name}{suffix}", self.ssa, self._lane(other).ssa))

    def __add__(self, other: Lane | float | int) -> Lane:
        return self._binary("add", other)

    def __sub__(self, other: Lane | float | int) -> Lane:
        return self._binary("sub", other)

    def __rsub__(self, other: float | int) -> Lane:
        return self.const(other)._binary("sub", self)

    def __mul__(self, other: Lane | float | int) -> Lane:
        return self._binary("mul", other)

    def __truediv__(self, other: Lane | float | int) -> Lane:
        return self._binary("div", other)

    def __rtruediv__(self, other: float | int) -> Lane:
        return self.const(other)._binary("div", self)

    def fma(self, a: Lane | float, b: Lane | float) -> Lane:
        """self * a + b, rounded once."""
        return Lane(self.b, self.b.fma(self.ssa, self._lane(a).ssa, self._lane(b).ssa))

    def __neg__(self) -> Lane:
        return Lane(self.b, self.b.unary("arith.negf", self.ssa))

    def __abs__(self) -> Lane:
        return Lane(self.b, self.b.unary("math.absf", self.ssa))

    def unary(self, name: str) -> Lane:
        return Lane(self.b, self.b.unary(name, self.ssa))

    def copysign(self, sign: Lane) -> Lane:
        return Lane(self.b, self.b.binary("math.copysign", self.ssa, sign.ssa))

    def least(self, other: float) -> Lane:
        """At least `other`; NaN stays NaN."""
        return Lane(self.b, self.b.binary("arith.maximumf", self.ssa, self.const(other).ssa))

    def most(self, other: float) -> Lane:
        """At most `other`; NaN stays NaN."""
        return Lane(self.b, self.b.binary("arith.minimumf", self.ssa, self.const(other).ssa))

    def test(self, predicate: str, other: Lane | float | int) -> Lane:
        name = "arith.cmpf" if self.element.is_float else "arith.cmpi"
        return Lane(self.b, self.b.compare(name, predicate, self.ssa, self._lane(other).ssa))

    def choose(self, a: Lane | float | int, b: Lane | float | int, like: Lane | None = None) -> Lane:
        """Where self (a condition) is true a, else b."""
        model = like or (a if isinstance(a, Lane) else b)
        assert isinstance(model, Lane)
        return Lane(self.b, self.b.select(self.ssa, model._lane(a).ssa, model._lane(b).ssa))

    def both(self, other: Lane) -> Lane:
        return Lane(self.b, self.b.binary("arith.andi", self.ssa, other.ssa))

    def either(self, other: Lane) -> Lane:
        return Lane(self.b, self.b.binary("arith.ori", self.ssa, other.ssa))

    def bits(self) -> Lane:
        return Lane(self.b, self.b.convert("arith.bitcast", self.ssa, I32 if self.element is F32 else I64))

    def floats(self) -> Lane:
        return Lane(self.b, self.b.convert("arith.bitcast", self.ssa, F32 if self.element is I32 else F64))

    def shift(self, name: str, by: int) -> Lane:
        return Lane(self.b, self.b.binary(f"arith.{name}", self.ssa, self.const(by).ssa))

    def to(self, name: str, type_: Scalar) -> Lane:
        return Lane(self.b, self.b.convert(f"arith.{name}", self.ssa, type_))


def poly(x: Lane, coefficients: Sequence[float]) -> Lane:
    """Horner's rule, highest power first."""
    result = x.const(coefficients[0])
    for c in coefficients[1:]:
        result = result.fma(x, c)
    return result


def _f32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


# Adding 1.5 * 2^mantissa rounds to an integer that then stands in the low bits.
_MAGIC = {F32: 12582912.0, F64: 6755399441055744.0}
_MAGIC_BITS = {F32: 0x4B400000, F64: 0x4338000000000000}
_MANTISSA = {F32: 23, F64: 52}
_BIAS = {F32: 127, F64: 1023}
_LN2 = {F32: (0.693359375, -2.12194440054691e-4), F64: (6.93147180369123816490e-01, 1.90821492927058770002e-10)}


def _nearest(x: Lane) -> tuple[Lane, Lane]:
    """The nearest integer, as a float and in integer lanes; |x| < 2^21 (f32) or 2^50 (f64)."""
    t = x + _MAGIC[x.element]
    return t - _MAGIC[x.element], t.bits() - _MAGIC_BITS[x.element]


def _power_of_two(n: Lane, t: Scalar) -> Lane:
    return (n + _BIAS[t]).shift("shli", _MANTISSA[t]).floats()


def _scale(y: Lane, n: Lane) -> Lane:
    """y * 2^n in two steps, so that subnormal results and n one beyond the range come out right."""
    half = n.shift("shrsi", 1)
    return y * _power_of_two(half, y.element) * _power_of_two(n - half, y.element)


_EXP_RANGE = {F32: (-104.0, 89.0), F64: (-746.0, 710.0)}
_EXP_POLY = {
    F32: [1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5],
    F64: [1 / 6227020800, 1 / 479001600, 1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720,
          1 / 120, 1 / 24, 1 / 6, 0.5],
}  # fmt: skip


def _reduce_exp(x: Lane) -> tuple[Lane, Lane]:
    """n and r with x = n ln 2 + r, |r| <= ln 2 / 2."""
    t = x.element
    whole, n = _nearest(x * (1 / log(2)))
    hi, lo = _LN2[t]
    return n, whole.fma(-lo, whole.fma(-hi, x))


def exp(x: Lane) -> Lane:
    low, high = _EXP_RANGE[x.element]
    n, r = _reduce_exp(x.least(low).most(high))
    return _scale((r * r).fma(poly(r, _EXP_POLY[x.element]), r) + 1.0, n)


def expm1(x: Lane) -> Lane:
    """2^n expm1(r) + (2^n - 1)."""
    t = x.element
    high = _EXP_RANGE[t][1]
    n, r = _reduce_exp(x.least(-40.0).most(high))
    p = (r * r).fma(poly(r, _EXP_POLY[t]), r)
    small = n.test("slt", 1000 if t is F64 else 120)
    inverse = small.choose(_power_of_two(n.const(0) - small.choose(n, 0), t), 0.0)
    y = _scale(p + (1.0 - inverse), n)
    y = n.test("eq", 0).choose(p, y)
    return x.test("oeq", 0.0).choose(x, y)


def sigmoid(x: Lane) -> Lane:
    e = exp(-abs(x))
    r = 1.0 / (e + 1.0)
    return x.test("oge", 0.0).choose(r, x.test("olt", 0.0).choose(e * r, x))


def tanh(x: Lane) -> Lane:
    """From expm1(2 |x|), which keeps small arguments exact."""
    t = expm1(abs(x).most(22.0) * 2.0)
    return (t / (t + 2.0)).copysign(x)


_LOG32 = [7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
          2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1]  # fmt: skip
_LOG64 = [1.479819860511658591e-01, 1.531383769920937332e-01, 1.818357216161805012e-01, 2.222219843214978396e-01,
          2.857142874366239149e-01, 3.999999999940941908e-01, 6.666666666666735130e-01]  # fmt: skip
_TINY = {F32: 1.1754943508222875e-38, F64: 2.2250738585072014e-308}
_SQRT_HALF = {F32: 0x3F3504F3, F64: 0x3FE6A09E667F3BCD}


def _split(x: Lane) -> tuple[Lane, Lane]:
    """x = 2^e m with m in [sqrt(1/2), sqrt(2)), for x > 0: m and e, e in integer lanes."""
    t = x.element
    tiny = x.test("olt", _TINY[t])
    shift = _MANTISSA[t] + 2
    x = tiny.choose(x * 2.0**shift, x)
    i = x.bits()
    e = (i - _SQRT_HALF[t]).shift("shrsi", _MANTISSA[t])
    m = (i - e.shift("shli", _MANTISSA[t])).floats()
    return m, e - tiny.choose(e.const(shift), e.const(0))


def _log_specials(x: Lane, y: Lane) -> Lane:
    y = x.test("oeq", inf).choose(x, y)
    y = x.test("oeq", 0.0).choose(-inf, y)
    return x.test("oge", 0.0).choose(y, nan)


def log_(x: Lane) -> Lane:
    t = x.element
    m, e = _split(x)
    k = e.to("sitofp", t)
    f = m - 1.0
    if t is F32:
        z = f * f
        y = k.fma(_LN2[F32][1], f * z * poly(f, _LOG32))
        return _log_specials(x, k.fma(_LN2[F32][0], f + z.fma(-0.5, y)))
    s = f / (f + 2.0)
    z = s * s
    half = f * f * 0.5
    r = z * poly(z, _LOG64)
    tail = half - (s * (half + r) + k * _LN2[F64][1])
    return _log_specials(x, k * _LN2[F64][0] - (tail - f))


def log1p(x: Lane) -> Lane:
    """log(u) x / (u - 1) with u = 1 + x: the rounding of u cancels (Kahan)."""
    u = x + 1.0
    y = log_(u) * (x / (u - 1.0))
    y = u.test("oeq", 1.0).choose(x, y)
    return x.test("oeq", inf).choose(x, y)


def rsqrt(x: Lane) -> Lane:
    return 1.0 / x.unary("math.sqrt")


# ------------------------------------------------------------------------------------- circular functions

_SIN = [1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
        -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01]  # fmt: skip
_COS = [-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
        2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02]  # fmt: skip
_PIO2 = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624871116645580e-21, 8.47842766036889956997e-32)
_TWO_PI_WORDS = (
    0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561,
    0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484, 0xE99C7026,
    0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F, 0xEF2F118B, 0x5A0A6D1F,
    0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1,
    0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20, 0x9AF4361D,
)  # fmt: skip  # 2/pi in 32-bit words after the point, one zero word before it


def _reduce_medium(x: Lane) -> tuple[Lane, Lane, Lane]:
    """x = n pi/2 + r + low, for |x| < 2^28, in f64: n in integer lanes."""
    whole, n = _nearest(x * (2 / 3.141592653589793))
    a = whole.fma(-_PIO2[0], x)  # exact: the constant has 33 bits
    b = whole * _PIO2[1]
    r = a - b
    low = (a - r) - b
    c = whole * _PIO2[2]
    s = r - c
    low = low + ((r - s) - c) - whole * _PIO2[3]
    top = s + low
    return n, top, (s - top) + low


def _reduce_huge(x: Lane) -> tuple[Lane, Lane, Lane]:
    """Payne and Hanek: x = m 2^e, and only the bits of 2/pi that matter are multiplied, in 64-bit integers."""
    bits = abs(x).bits()
    exponent = bits.shift("shrui", 52) - 1075  # x = mantissa * 2^exponent
    mantissa = bits - bits.shift("shrui", 52).shift("shli", 52) + (1 << 52)
    mask = bits.const(0xFFFFFFFF)

    def and_(a: Lane) -> Lane:
        return a.both(mask)

    position = exponent + 30  # of the bit of weight 2^(1 - exponent): bits before it give multiples of 4
    start = position.test("slt", 0).choose(position.const(0), position)
    word, offset = start.shift("shrui", 5), start.both(start.const(31))
    words = [bits.const(0) for _ in range(6)]
    for k in range(len(_TWO_PI_WORDS) - 6):
        here = word.test("eq", k)
        words = [here.choose(bits.const(_TWO_PI_WORDS[k + j]), w) for j, w in enumerate(words)]
    aligned = []
    for high, low in zip(words, words[1:], strict=False):
        pair = high.shift("shli", 32).either(low)
        moved = Lane(pair.b, pair.b.binary("arith.shrui", pair.ssa, (offset.const(32) - offset).ssa))
        aligned.append(and_(moved))
    m_low, m_high = and_(mantissa), mantissa.shift("shrui", 32)
    # product of the 53-bit mantissa and 160 bits of 2/pi, in 32-bit digits, least first
    digits = [bits.const(0) for _ in range(7)]
    for k, digit in enumerate(reversed(aligned)):
        carry = bits.const(0)
        for j, part in enumerate((m_low, m_high)):
            total = digit * part + digits[k + j] + carry
            digits[k + j] = and_(total)
            carry = total.shift("shrui", 32)
        digits[k + 2] = digits[k + 2] + carry
    return _fraction(x, digits)


def _fraction(x: Lane, digits: list[Lane]) -> tuple[Lane, Lane, Lane]:
    """Quadrant and remainder from the fixed-point quotient whose binary point is known."""
    # Modulo 2^160 with 158 fraction bits: the two bits above the point are the quadrant.
    top = digits[4].shift("shli", 32).either(digits[3])
    rest = digits[2].shift("shli", 32).either(digits[1])
    quadrant = top.shift("shrui", 62)
    high = top.shift("shli", 2).either(rest.shift("shrui", 62))
    low = rest.shift("shli", 2)
    negative = high.test("slt", 0)
    n = quadrant + negative.choose(quadrant.const(1), quadrant.const(0))
    r_high = high.to("sitofp", F64)
    back = high - r_high.to("fptosi", I64)
    r_low = back.to("sitofp", F64) + low.shift("shrui", 11).to("sitofp", F64) * 2.0**-53
    scale = 2.0**-64
    a, b = r_high * scale, r_low * scale
    half_pi, half_pi_low = 1.5707963267948966, 6.123233995736766e-17
    r = a * half_pi
    low_part = a.fma(half_pi, -r) + a * half_pi_low + b * half_pi
    sign = x.test("olt", 0.0)
    n = sign.choose(n.const(0) - n, n)
    return n, sign.choose(-r, r), sign.choose(-low_part, low_part)


def _sin_cos(r: Lane, low: Lane) -> tuple[Lane, Lane]:
    z = r * r
    v = z * r
    p = poly(z, _SIN[:-1])
    sine = r - ((z * (low * 0.5 - v * p) - low) - v * _SIN[-1])
    half = z * 0.5
    w = 1.0 - half
    cosine = w + (((1.0 - w) - half) + (z * z * poly(z, _COS) - r * low))
    return sine, cosine


def _widened(function: Callable[[Lane], Lane]) -> Callable[[Lane], Lane]:
    """f32 by way of f64: right to half a unit in the last place and a little."""

    def wrapped(x: Lane) -> Lane:
        if x.element is F64:
            return function(x)
        return function(x.to("extf", F64)).to("truncf", F32)

    return wrapped


def _quadrants(x: Lane) -> tuple[Lane, Lane, Lane]:
    """n, sin r and cos r of x's remainder by pi/2, in f64. Large arguments take the long way, where any lane is one."""
    limit = 2.0**27
    large = abs(x).test("oge", limit)
    b = x.b

    def medium() -> list[SSA]:
        return [part.ssa for part in _reduce_medium(large.choose(0.0, x))]

    def huge() -> list[SSA]:
        near, far = _reduce_medium(large.choose(0.0, x)), _reduce_huge(large.choose(x, limit))
        return [large.choose(f, m).ssa for f, m in zip(far, near, strict=True)]

    any_large = large.ssa
    if isinstance(large.ssa.type, Vector):
        from_vector = b.op("vector.reduction", (large.ssa,), (large.ssa.type.element,), kind="or")
        any_large = from_vector.result
    n, r, low = (Lane(b, ssa) for ssa in b.if_(any_large, huge, medium))
    return n, *_sin_cos(r, low)


def _circular(x: Lane, shift: int) -> Lane:
    n, sine, cosine = _quadrants(x)
    n = n + shift
    odd = n.both(n.const(1)).test("ne", 0)
    y = odd.choose(cosine, sine)
    y = n.both(n.const(2)).test("ne", 0).choose(-y, y)
    return abs(x).test("olt", inf).choose(y, nan)


def _sin64(x: Lane) -> Lane:
    return x.test("oeq", 0.0).choose(x, _circular(x, 0))


def _tan64(x: Lane) -> Lane:
    n, sine, cosine = _quadrants(x)
    odd = n.both(n.const(1)).test("ne", 0)
    y = odd.choose(-cosine, sine) / odd.choose(sine, cosine)
    return x.test("oeq", 0.0).choose(x, abs(x).test("olt", inf).choose(y, nan))


sin = _widened(_sin64)
cos = _widened(lambda x: _circular(x, 1))
tan = _widened(_tan64)

# --------------------------------------------------------------------------------------------------- erf

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
    a, s = abs(x), x * x
    if x.element is F32:
        far = a.const(_ERF32_FAR[0])
        far = far.fma(a, _ERF32_FAR[1])
        near_end = (a * _ERF32_FAR[2]) + _ERF32_FAR[3]
        far = far.fma(s, near_end)
        for c in _ERF32_FAR[4:]:
            far = far.fma(a, c)
        far = far.fma(a, -a)
        big = (1.0 - exp(far)).copysign(x)
        big = a.test("ogt", 4.0).choose(x.const(1.0).copysign(x), big)
        return a.test("ogt", 0.927734375).choose(big, poly(s, _ERF32_NEAR).fma(x, x))
    near = poly(s, _ERF64_NEAR) * x
    c = a.most(6.0).least(1.0)
    big = (1.0 - exp(-(c * c)) * poly((c - 4.0) / (c + 4.0), _ERFC64)).copysign(x)
    return a.test("ogt", 1.0).choose(big, near)


# --------------------------------------------------------------------------------------------------- pow


def _two_product(a: Lane, b: Lane) -> tuple[Lane, Lane]:
    p = a * b
    return p, a.fma(b, -p)


def _two_sum(a: Lane, b: Lane) -> tuple[Lane, Lane]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _multiply(a: tuple[Lane, Lane], b: tuple[Lane, Lane]) -> tuple[Lane, Lane]:
    """Double-double product (Dekker 1971)."""
    p, e = _two_product(a[0], b[0])
    return _two_sum(p, e + (a[0] * b[1] + a[1] * b[0]))


def _add(a: tuple[Lane, Lane], b: tuple[Lane, Lane]) -> tuple[Lane, Lane]:
    s, e = _two_sum(a[0], b[0])
    return _two_sum(s, e + (a[1] + b[1]))


def _log_double(x: Lane) -> tuple[Lane, Lane]:
    """log x to about 100 bits, x > 0, f64: 2 atanh((m - 1) / (m + 1)) + e ln 2."""
    m, e = _split(x)
    top, bottom = m - 1.0, _two_sum(m, m.const(1.0))
    q = top / bottom[0]
    p, err = _two_product(q, bottom[0])
    f = _two_sum(q, ((top - p) - err - q * bottom[1]) / bottom[0])
    f2 = _multiply(f, f)
    tail = poly(f2[0], [1 / 23, 1 / 21, 1 / 19, 1 / 17, 1 / 15, 1 / 13, 1 / 11, 1 / 9, 1 / 7])
    third = (x.const(1 / 3), x.const(1.850371707708594e-17))
    fifth = (x.const(1 / 5), x.const(-1.1102230246251565e-17))
    inner = _add(third, _multiply(f2, _add(fifth, _two_sum(f2[0] * tail, x.const(0.0)))))
    series = _add(f, _multiply(f, _multiply(f2, inner)))
    k = e.to("sitofp", F64)
    ln2 = (x.const(0.6931471805599453), x.const(2.3190468138462996e-17))
    scaled = _two_product(k, ln2[0])
    return _add((scaled[0], scaled[1] + k * ln2[1]), (series[0] * 2.0, series[1] * 2.0))


def _pow64(x: Lane, y: Lane) -> Lane:
    a = abs(x)
    safe = a.test("ogt", 0.0).both(a.test("olt", inf)).choose(a, 1.0)
    bounded = y.least(-1e300).most(1e300)
    hi, lo = _multiply(_log_double(safe), (bounded, y.const(0.0)))
    top = hi.least(-746.0).most(710.0)
    r = exp(top)
    r = r.fma(hi.test("oeq", top).choose(lo, 0.0), r)
    zero_or_inf = a.test("oeq", 0.0).either(a.test("oeq", inf))
    grows = a.test("oeq", inf).choose(y.test("ogt", 0.0).choose(inf, 0.0, y), y.test("ogt", 0.0).choose(0.0, inf, y))
    r = zero_or_inf.choose(grows, r)
    whole = y.unary("math.floor").test("oeq", y)
    odd = whole.both((y * 0.5).unary("math.floor").test("one", y * 0.5)).both(abs(y).test("olt", 9007199254740992.0))
    negative = x.bits().test("slt", 0)
    r = odd.both(negative).choose(-r, r)
    invalid = x.test("olt", 0.0).both(a.test("olt", inf)).both(y.unary("math.floor").test("une", y))
    r = invalid.choose(nan, r)
    r = abs(y).test("oeq", inf).choose(_pow_infinite(a, y), r)
    r = x.test("uno", y).choose(nan, r)
    r = x.test("oeq", 1.0).choose(1.0, r)
    return y.test("oeq", 0.0).choose(1.0, r)


def _pow_infinite(a: Lane, y: Lane) -> Lane:
    """|x| ** (+-inf)."""
    grows = a.test("ogt", 1.0).choose(y.test("ogt", 0.0).choose(inf, 0.0, y), y.test("ogt", 0.0).choose(0.0, inf, y))
    return a.test("oeq", 1.0).choose(1.0, grows)


def powf(x: Lane, y: Lane) -> Lane:
    if x.element is F64:
        return _pow64(x, y)
    return _pow64(x.to("extf", F64), y.to("extf", F64)).to("truncf", F32)


# ------------------------------------------------------------------------------------------------- atan2

_ATAN = [1.62858201153657823623e-02, -3.65315727442169155270e-02, 4.97687799461593236017e-02,
         -5.83357013379057348645e-02, 6.66107313738753120669e-02, -7.69187620504482999495e-02,
         9.09088713343650656196e-02, -1.11111104054623557880e-01, 1.42857142725034663711e-01,
         -1.99999999998764832476e-01, 3.33333333333329318027e-01]  # fmt: skip


def _atan2_64(y: Lane, x: Lane) -> Lane:
    a, c = abs(y), abs(x)
    swap = a.test("ogt", c)
    big, small = swap.choose(a, c), swap.choose(c, a)
    same_inf = big.test("oeq", inf).both(small.test("oeq", inf))
    q = same_inf.choose(1.0, small / big.test("oeq", 0.0).choose(1.0, big))
    far = q.test("ogt", 0.41421356237309503)
    t = far.choose((q - 1.0) / (q + 1.0), q)
    z = t * t
    base = far.choose(0.78539816339744828, 0.0, q)
    low = far.choose(3.061616997868383e-17, 0.0, q)
    angle = base - ((t * z * poly(z, _ATAN) - low) - t)
    angle = swap.choose((1.5707963267948966 - angle) + 6.123233995736766e-17, angle)
    negative = x.bits().test("slt", 0)
    angle = negative.choose((3.141592653589793 - angle) + 1.2246467991473532e-16, angle)
    return x.test("uno", y).choose(nan, angle.copysign(y))


def atan2(y: Lane, x: Lane) -> Lane:
    if x.element is F64:
        return _atan2_64(y, x)
    return _atan2_64(y.to("extf", F64), x.to("extf", F64)).to("truncf", F32)


# ----------------------------------------------------------------------------------------------- integers


def ipowi(x: Lane, n: Lane) -> Lane:
    """x ** n of ints by squaring, wrapping; a negative n gives 1 / x ** -n truncated, and 0 for 0."""
    result, base, left = x.const(1), x, n.test("slt", 0).choose(n.const(0), n)
    width = x.element.bits
    rounds = 6 if width > 32 else 5 if width > 16 else width
    for _ in range(max(rounds, 6)):
        odd = left.both(left.const(1)).test("ne", 0)
        result = odd.choose(result * base, result)
        base = base * base
        left = left.shift("shrui", 1)
    minus = x.test("eq", -1)
    even = n.both(n.const(1)).test("eq", 0)
    inverse = x.test("eq", 1).choose(x.const(1), minus.choose(even.choose(x.const(1), x.const(-1)), x.const(0)))
    return n.test("slt", 0).choose(inverse, result)


def philox(seed: Lane, counter: Lane) -> Lane:
    """Philox4x32-10 in 64-bit lanes: see kernel.philox."""
    mask = seed.const(0xFFFFFFFF)
    word, block = counter.both(counter.const(3)), counter.shift("shrui", 2)
    c = [block.both(mask), block.shift("shrui", 32), seed.const(0), seed.const(0)]
    k0, k1 = seed.both(mask), seed.shift("shrui", 32)

    def xor(a: Lane, b: Lane) -> Lane:
        return Lane(a.b, a.b.binary("arith.xori", a.ssa, b.ssa))

    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [xor(xor(p1.shift("shrui", 32), c[1]), k0), p1.both(mask),
             xor(xor(p0.shift("shrui", 32), c[3]), k1), p0.both(mask)]  # fmt: skip
        k0, k1 = (k0 + 0x9E3779B9).both(mask), (k1 + 0xBB67AE85).both(mask)
    low = word.test("eq", 0).choose(c[0], c[1])
    high = word.test("eq", 2).choose(c[2], c[3])
    return word.test("slt", 2).choose(low, high)


def _rule(function: Callable[..., Lane]) -> Callable[..., SSA]:
    return lambda b, *operands: function(*(Lane(b, x) for x in operands)).ssa


EXPANSIONS: dict[str, Callable[..., SSA]] = {
    "math.exp": _rule(exp),
    "math.expm1": _rule(expm1),
    "math.log": _rule(log_),
    "math.log1p": _rule(log1p),
    "math.sin": _rule(sin),
    "math.cos": _rule(cos),
    "math.tan": _rule(tan),
    "math.tanh": _rule(tanh),
    "math.sigmoid": _rule(sigmoid),
    "math.erf": _rule(erf),
    "math.rsqrt": _rule(rsqrt),
    "math.powf": _rule(powf),
    "math.atan2": _rule(atan2),
    "math.ipowi": _rule(ipowi),
    "tdsl.philox": _rule(philox),
}

"""sin, cos, tan and atan2. f32 goes by way of f64, where one short reduction and short polynomials are enough.

The remainder by pi/2 of arguments up to 2^19 is Cody and Waite's, with pi/2 in pieces of 33 bits whose products with
the quotient are exact; larger ones take Payne and Hanek's way (SIGNUM Newsletter, 1983), where any lane is one.
Coefficients are fdlibm's.
"""

from __future__ import annotations

from math import inf, nan, pi

from tdsl.compiler.loops import F32, F64, I64, SSA, Vector
from tdsl.compiler.maths.exponential import nearest
from tdsl.compiler.maths.lane import Lane, poly, two_product

_SIN = [1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
        -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01]  # fmt: skip
_COS = [-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
        2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02]  # fmt: skip
_PIO2 = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624871116645580e-21, 8.47842766036889956997e-32)
_PIO2_REST = 6.07710050650619224932e-11  # pi/2 less its first piece
_LARGE = 2.0**19

# 2/pi in 32-bit words after the point, two zero words before it
_TWO_OVER_PI = (
    0x00000000, 0x00000000, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB,
    0xDEBBC561, 0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484,
    0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF, 0xDE05980F, 0xEF2F118B,
    0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7, 0xEBE5F17B, 0x3D0739F7, 0x8A5292EA,
    0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20, 0x9AF4361D,
)  # fmt: skip
_STEPS = {F64: (32, 16, 8, 4, 2, 1), F32: (4, 2, 1)}  # an f64's last bits begin in word 32, an f32's in word 5

Remainder = tuple[Lane, Lane, Lane]  # n, r, low: x = n pi/2 + r + low, n in integer lanes, modulo 4


def _reduce(x: Lane) -> Remainder:
    whole, n = nearest(x * (2 / pi))
    a = whole.fma(-_PIO2[0], x)
    b = whole * _PIO2[1]
    r = a - b
    low = (a - r) - b
    c = whole * _PIO2[2]
    s = r - c
    low = low + ((r - s) - c) - whole * _PIO2[3]
    top = s + low
    return n, top, (s - top) + low


def _reduce_single(x: Lane) -> Remainder:
    """For an x that was an f32."""
    whole, n = nearest(x * (2 / pi))
    return n, whole.fma(-_PIO2_REST, whole.fma(-_PIO2[0], x)), x.const(0.0)


def _reduce_large(x: Lane) -> Remainder:
    """x = m 2^e, and only the bits of 2/pi that matter are multiplied, in 64-bit integers."""
    bits = abs(x).bits()
    biased = bits >> 52
    mantissa = bits - (biased << 52) + (1 << 52)
    words = _words_from(biased - (1075 - 62), 5, _STEPS[F64])  # the bits before give multiples of 4
    parts = (mantissa & 0xFFFFFFFF, mantissa >> 32)
    # The product of the 53-bit mantissa and 160 bits of 2/pi, in 32-bit digits, least first.
    digits = [bits.const(0) for _ in range(7)]
    for k, word in enumerate(reversed(words)):
        carry = bits.const(0)
        for j, part in enumerate(parts):
            total = word * part + digits[k + j] + carry
            digits[k + j] = total & 0xFFFFFFFF
            carry = total >> 32
        digits[k + 2] = digits[k + 2] + carry
    return _from_digits(x, digits)


def _reduce_large_single(x: Lane) -> Remainder:
    """For an x that was an f32: its 24 bits times 96 bits of 2/pi, modulo 2^96, of which 64 are kept."""
    bits = abs(x).bits()
    mantissa = ((bits >> 29) & 0x7FFFFF) | 0x800000
    first, second, third = _words_from((bits >> 52) - (1046 - 62), 3, _STEPS[F32])
    quotient = ((mantissa * first) << 32) + mantissa * second + ((mantissa * third) >> 32)  # in units of 2^-62
    n = (quotient + (1 << 61)) >> 62
    r = (quotient - (n << 62)).to("sitofp", F64) * (pi / 2 * 2.0**-62)
    minus = x.test("olt", 0.0)
    return minus.choose(n.const(0) - n, n), minus.choose(-r, r), x.const(0.0)


def _words_from(position: Lane, count: int, steps: tuple[int, ...]) -> list[Lane]:
    """The bits of 2/pi from a position on, as 32-bit words."""
    word, offset = position >> 5, position & 31
    table: list[Lane | int] = list(_TWO_OVER_PI)
    for step in steps:
        here = (word & step).test("ne", 0)
        length = step + count
        table += [0] * (length + step - len(table))
        table = [here.choose(table[k + step], table[k], like=word) for k in range(length)]
    words = [w if isinstance(w, Lane) else word.const(w) for w in table]
    keep = offset.const(32) - offset
    return [(((high << 32) | low) >> keep) & 0xFFFFFFFF for high, low in zip(words, words[1:], strict=False)]


def _from_digits(x: Lane, digits: list[Lane]) -> Remainder:
    """Modulo 2^160 with 158 fraction bits: the two bits above the point are the quadrant."""
    top = (digits[4] << 32) | digits[3]
    rest = (digits[2] << 32) | digits[1]
    high, low = (top << 2) | (rest >> 62), rest << 2
    n = (top >> 62) + high.test("slt", 0).choose(1, 0, like=top)  # a fraction from one half on counts down
    r_high = high.to("sitofp", F64)
    back = high - r_high.to("fptosi", I64)
    r_low = back.to("sitofp", F64) + (low >> 11).to("sitofp", F64) * 2.0**-53
    a, b = r_high * 2.0**-64, r_low * 2.0**-64
    r, error = two_product(a, a.const(1.5707963267948966))
    error = error + a * 6.123233995736766e-17 + b * 1.5707963267948966
    minus = x.test("olt", 0.0)
    return minus.choose(n.const(0) - n, n), minus.choose(-r, r), minus.choose(-error, error)


def _sin_cos(r: Lane, low: Lane) -> tuple[Lane, Lane]:
    z = r * r
    v = z * r
    sine = r - ((z * (low * 0.5 - v * poly(z, _SIN[:-1])) - low) - v * _SIN[-1])
    half = z * 0.5
    w = 1.0 - half
    cosine = w + (((1.0 - w) - half) + (z * z * poly(z, _COS) - r * low))
    return sine, cosine


def _sin_cos_single(r: Lane, low: Lane) -> tuple[Lane, Lane]:
    z = r * r
    return (z * r).fma(poly(z, _SIN[2:]), r + low), (z * z).fma(poly(z, _COS[2:]), z.fma(-0.5, 1.0))


def _quadrants(x: Lane, single: bool) -> tuple[Lane, Lane, Lane]:
    """n, sin r and cos r of x's remainder by pi/2, in f64."""
    large = abs(x).test("oge", _LARGE)
    near = (_reduce_single if single else _reduce)(large.choose(0.0, x))

    def beyond() -> list[SSA]:
        far = (_reduce_large_single if single else _reduce_large)(large.choose(x, _LARGE))
        return [large.choose(f, m).ssa for f, m in zip(far, near, strict=True)]

    n, r, low = map(x.with_, x.b.if_(some(large), beyond, lambda: [m.ssa for m in near]))
    return n, *(_sin_cos_single if single else _sin_cos)(r, low)


def some(flags: Lane) -> SSA:
    """Whether any lane's flag is set."""
    t = flags.ssa.type
    if not isinstance(t, Vector):
        return flags.ssa
    return flags.b.op("vector.reduction", (flags.ssa,), (t.element,), kind="or").result


def _sin_or_cos(x: Lane, shift: int) -> Lane:
    """sin(x + shift pi/2)."""
    single = x.element is F32
    n, sine, cosine = _quadrants(x.to("extf", F64) if single else x, single)
    n = n + shift
    y = (n & 1).test("ne", 0).choose(cosine, sine)
    y = (n & 2).test("ne", 0).choose(-y, y)
    y = y.to("truncf", F32) if single else y
    return abs(x).test("olt", inf).choose(y, nan)


def sin(x: Lane) -> Lane:
    return x.test("oeq", 0.0).choose(x, _sin_or_cos(x, 0))


def cos(x: Lane) -> Lane:
    return _sin_or_cos(x, 1)


def tan(x: Lane) -> Lane:
    single = x.element is F32
    n, sine, cosine = _quadrants(x.to("extf", F64) if single else x, single)
    odd = (n & 1).test("ne", 0)
    top, bottom = odd.choose(-cosine, sine), odd.choose(sine, cosine)
    y = top.to("truncf", F32) / bottom.to("truncf", F32) if single else top / bottom
    return x.test("oeq", 0.0).choose(x, abs(x).test("olt", inf).choose(y, nan))


_ATAN = [1.62858201153657823623e-02, -3.65315727442169155270e-02, 4.97687799461593236017e-02,
         -5.83357013379057348645e-02, 6.66107313738753120669e-02, -7.69187620504482999495e-02,
         9.09088713343650656196e-02, -1.11111104054623557880e-01, 1.42857142725034663711e-01,
         -1.99999999998764832476e-01, 3.33333333333329318027e-01]  # fmt: skip
_TAN_PI_8 = 0.41421356237309503


def atan2(y: Lane, x: Lane) -> Lane:
    if x.element is F64:
        return _atan2(y, x)
    return _atan2(y.to("extf", F64), x.to("extf", F64)).to("truncf", F32)


def _atan2(y: Lane, x: Lane) -> Lane:
    """atan of the smaller over the larger side, in [0, 1], brought to the octant."""
    a, c = abs(y), abs(x)
    swap = a.test("ogt", c)
    big, small = swap.choose(a, c), swap.choose(c, a)
    q = small.test("oeq", inf).choose(1.0, small / big.test("oeq", 0.0).choose(1.0, big))  # both infinite: pi/4
    far = q.test("ogt", _TAN_PI_8)
    t = far.choose((q - 1.0) / (q + 1.0), q)
    z = t * t
    base = far.choose(pi / 4, 0.0, like=q)
    low = far.choose(3.061616997868383e-17, 0.0, like=q)
    angle = base - ((t * z * poly(z, _ATAN) - low) - t)
    angle = swap.choose((pi / 2 - angle) + 6.123233995736766e-17, angle)
    angle = x.negative().choose((pi - angle) + 1.2246467991473532e-16, angle)
    return x.test("uno", y).choose(nan, angle.copysign(y))

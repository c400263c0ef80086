"""Functions that work on the bits of numbers."""

from __future__ import annotations

from tdsl.compiler.loops import F32, SSA
from tdsl.compiler.maths.exponential import MANTISSA
from tdsl.compiler.maths.lane import Lane


def nextafter(x: Lane, y: Lane) -> Lane:
    """The next number after x on the way to y: one up or down in the integer its bits are."""
    bits = x.bits()
    least = (y.bits() & bits.const(-1 << (bits.element.bits - 1))) | 1  # the smallest number, with y's sign
    away = x.test("olt", y) ^ x.negative()  # from 0
    step = away.choose(bits + 1, bits - 1)
    moved = x.test("oeq", 0.0).choose(least, step).floats()
    return x.test("oeq", y).choose(y, x.test("uno", y).choose(x + y, moved))


def mantissa(x: Lane) -> Lane:
    """The m of x = m 2^e, |m| in [1/2, 1); 0, infinities and NaN are their own."""
    width = MANTISSA[x.element]
    scaled, _ = _normal(x)
    bits = scaled.bits()
    bias = 126 if x.element is F32 else 1022
    m = ((bits & bits.const(~(_mask(x) << width))) | (bias << width)).floats()
    return _ordinary(x).choose(m, x)


def exponent(x: Lane) -> Lane:
    """The e of x = m 2^e, as a float; of 0, infinities and NaN it is 0."""
    scaled, shift = _normal(x)
    bits = abs(scaled).bits()
    bias = 126 if x.element is F32 else 1022
    e = ((bits >> MANTISSA[x.element]) - bias).to("sitofp", x.element) - shift
    return _ordinary(x).choose(e, 0.0)


def _mask(x: Lane) -> int:
    return 0xFF if x.element is F32 else 0x7FF


def _ordinary(x: Lane) -> Lane:
    return abs(x).test("ogt", 0.0) & abs(x).test("olt", float("inf"))


def _normal(x: Lane) -> tuple[Lane, Lane]:
    """x, subnormals made normal by a power of two, and that power."""
    tiny = abs(x).test("olt", 1.1754943508222875e-38 if x.element is F32 else 2.2250738585072014e-308)
    shift = MANTISSA[x.element] + 2
    return tiny.choose(x * 2.0**shift, x), tiny.choose(float(shift), 0.0, like=x)


def gcd(x: Lane, y: Lane) -> Lane:
    """The greatest common divisor of ints, by Stein's halving (1967): as many rounds as the type has bits, twice."""
    b = x.b
    bits = x.element.bits

    def step(_: SSA, carried: list[SSA]) -> list[SSA]:
        u, v, power = map(x.with_, carried)
        even_u, even_v = (u & 1).test("eq", 0), (v & 1).test("eq", 0)
        over = v.test("ult", u)
        odd_u, odd_v = over.choose((u - v) >> 1, u), over.choose(v, (v - u) >> 1)
        both, done = even_u & even_v, u.test("eq", 0) | v.test("eq", 0)
        next_u = even_u.choose(u >> 1, even_v.choose(u, odd_u))
        next_v = even_v.choose(v >> 1, even_u.choose(v, odd_v))
        next_power = both.choose(power + 1, power)
        return [z.ssa for z in (done.choose(u, next_u), done.choose(v, next_v), done.choose(power, next_power))]

    start = [_magnitude(x).ssa, _magnitude(y).ssa, x.const(0).ssa]
    u, v, power = map(x.with_, b.for_(b.constant(0), b.constant(2 * bits), b.constant(1), start, step))
    return (u | v) << power


def _magnitude(x: Lane) -> Lane:
    return x.test("slt", 0).choose(x.const(0) - x, x)

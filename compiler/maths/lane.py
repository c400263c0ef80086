"""Arithmetic on SSA values with Python's operators, and numbers of twice the precision made of two floats."""

from __future__ import annotations

from collections.abc import Sequence

from tdsl.compiler.loops import F32, F64, I32, I64, SSA, Scalar, Vector
from tdsl.compiler.loops_builder import Builder


class Lane:
    """An SSA value with operators; all lanes of a vector at once. Python numbers are constants of its type.

    `fused` says whether `fma` rounds once on the target; where it does not, error-free products are split by hand.
    """

    __slots__ = ("b", "ssa", "fused")

    def __init__(self, b: Builder, ssa: SSA, fused: bool) -> None:
        self.b, self.ssa, self.fused = b, ssa, fused

    def with_(self, ssa: SSA) -> Lane:
        """Another value in the same place."""
        return Lane(self.b, ssa, self.fused)

    @property
    def element(self) -> Scalar:
        t = self.ssa.type
        assert isinstance(t, Scalar | Vector)
        return t.element if isinstance(t, Vector) else t

    def const(self, value: float | int) -> Lane:
        t = self.ssa.type
        assert isinstance(t, Scalar | Vector)
        return self.with_(self.b.constant(float(value) if self.element.is_float else int(value), t))

    def _lane(self, other: Lane | float | int) -> Lane:
        return other if isinstance(other, Lane) else self.const(other)

    def binary(self, name: str, other: Lane | float | int) -> Lane:
        return self.with_(self.b.binary(name, self.ssa, self._lane(other).ssa))

    def _arithmetic(self, name: str, other: Lane | float | int) -> Lane:
        return self.binary(f"arith.{name}{'f' if self.element.is_float else 'i'}", other)

    def __add__(self, other: Lane | float | int) -> Lane:
        return self._arithmetic("add", other)

    def __sub__(self, other: Lane | float | int) -> Lane:
        return self._arithmetic("sub", other)

    def __rsub__(self, other: float | int) -> Lane:
        return self.const(other)._arithmetic("sub", self)

    def __mul__(self, other: Lane | float | int) -> Lane:
        return self._arithmetic("mul", other)

    def __truediv__(self, other: Lane | float | int) -> Lane:
        return self._arithmetic("div", other)

    def __rtruediv__(self, other: float | int) -> Lane:
        return self.const(other)._arithmetic("div", self)

    def __and__(self, other: Lane | int) -> Lane:
        return self.binary("arith.andi", other)

    def __or__(self, other: Lane | int) -> Lane:
        return self.binary("arith.ori", other)

    def __xor__(self, other: Lane | int) -> Lane:
        return self.binary("arith.xori", other)

    def __lshift__(self, by: Lane | int) -> Lane:
        return self.binary("arith.shli", by)

    def __rshift__(self, by: Lane | int) -> Lane:
        """Logical: zeros come in."""
        return self.binary("arith.shrui", by)

    def arithmetic_shift(self, by: int) -> Lane:
        return self.binary("arith.shrsi", by)

    def fma(self, a: Lane | float, b: Lane | float) -> Lane:
        """self * a + b, rounded once where the target can."""
        return self.with_(self.b.fma(self.ssa, self._lane(a).ssa, self._lane(b).ssa))

    def unary(self, name: str) -> Lane:
        return self.with_(self.b.unary(name, self.ssa))

    def __neg__(self) -> Lane:
        return self.unary("arith.negf")

    def __abs__(self) -> Lane:
        return self.unary("math.absf")

    def copysign(self, sign: Lane) -> Lane:
        return self.binary("math.copysign", sign)

    def at_least(self, bound: float) -> Lane:
        """NaN stays NaN."""
        return self.test("olt", bound).choose(bound, self)

    def at_most(self, bound: float) -> Lane:
        """NaN stays NaN."""
        return self.test("ogt", bound).choose(bound, self)

    def test(self, predicate: str, other: Lane | float | int) -> Lane:
        name = "arith.cmpf" if self.element.is_float else "arith.cmpi"
        return self.with_(self.b.compare(name, predicate, self.ssa, self._lane(other).ssa))

    def choose(self, a: Lane | float | int, b: Lane | float | int, like: Lane | None = None) -> Lane:
        """Where self (a condition) is true a, else b; `like` gives the type when both are numbers."""
        model = like or (a if isinstance(a, Lane) else b)
        assert isinstance(model, Lane)
        return self.with_(self.b.select(self.ssa, model._lane(a).ssa, model._lane(b).ssa))

    def to(self, name: str, type_: Scalar) -> Lane:
        return self.with_(self.b.convert(f"arith.{name}", self.ssa, type_))

    def bits(self) -> Lane:
        return self.to("bitcast", I32 if self.element is F32 else I64)

    def floats(self) -> Lane:
        return self.to("bitcast", F32 if self.element is I32 else F64)

    def negative(self) -> Lane:
        """The sign bit: true of -0.0 and of NaNs that have it."""
        return self.bits().test("slt", 0)


def poly(x: Lane, coefficients: Sequence[float]) -> Lane:
    """Horner's rule, highest power first."""
    result = x.const(coefficients[0])
    for c in coefficients[1:]:
        result = result.fma(x, c)
    return result


# ------------------------------------------------------------------------------------- two floats as one number

Double = tuple[Lane, Lane]  # high and low part, |low| <= ulp(high) / 2
_SPLITTER = {F32: 4097.0, F64: 134217729.0}  # 2^ceil(p / 2) + 1


def two_product(a: Lane, b: Lane) -> Double:
    """a * b exactly, while nothing overflows (Dekker 1971; with fma, Ogita, Rump and Oishi 2005)."""
    p = a * b
    if a.fused:
        return p, a.fma(b, -p)
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: Lane) -> Double:
    c = a * _SPLITTER[a.element]
    high = c - (c - a)
    return high, a - high


def two_sum(a: Lane, b: Lane) -> Double:
    """a + b exactly (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def multiply(a: Double, b: Double) -> Double:
    p, e = two_product(a[0], b[0])
    return two_sum(p, e + (a[0] * b[1] + a[1] * b[0]))


def add(a: Double, b: Double) -> Double:
    s, e = two_sum(a[0], b[0])
    return two_sum(s, e + (a[1] + b[1]))

"""Elementwise functions as scalar loops IR, one rule a function. Ints wrap; integer division never traps."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from tdsl.compiler.dtype import BOOL, DType, bool_, f32, u8
from tdsl.compiler.loops import F32, F64, I1, I8, I16, I32, I64, INDEX, SSA, Scalar
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.halves import Halves
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.source import InternalError

_TYPES = {
    "bool": I1,
    "u8": I8,
    "i8": I8,
    "i16": I16,
    "i32": I32,
    "i64": I64,
    "f32": F32,
    "f64": F64,
    "f16": F32,
    "bf16": F32,
}  # halves are held in registers as the f32 that they are
_MEMORY = {**_TYPES, "bool": I8, "f16": I16, "bf16": I16}
_PREDICATES = {
    "eq": ("oeq", "eq", "eq"), "ne": ("une", "ne", "ne"), "lt": ("olt", "slt", "ult"),
    "le": ("ole", "sle", "ule"), "gt": ("ogt", "sgt", "ugt"), "ge": ("oge", "sge", "uge"),
}  # fmt: skip
_MATH = {
    "floor": "math.floor", "ceil": "math.ceil", "round": "math.roundeven", "trunc": "math.trunc", "exp": "math.exp",
    "expm1": "math.expm1", "log": "math.log", "log1p": "math.log1p", "sqrt": "math.sqrt", "rsqrt": "math.rsqrt",
    "sin": "math.sin", "cos": "math.cos", "tan": "math.tan", "tanh": "math.tanh", "sigmoid": "math.sigmoid",
    "erf": "math.erf",
}  # fmt: skip


_EXACT = frozenset("neg abs sign floor ceil round trunc relu maximum minimum where copysign".split())  # no rounding


def scalar_type(dtype: DType) -> Scalar:
    """The SSA type of an element."""
    return _TYPES[dtype.name]


def memory_type(dtype: DType) -> Scalar:
    """The element type in memory: a bool is a byte."""
    return _MEMORY[dtype.name]


class Scalars:
    """Emits functions of elements. `fail(condition)` is told where an integer is divided by zero."""

    def __init__(self, b: Builder, fail: Callable[[SSA], None]) -> None:
        self.b, self.fail = b, fail
        self.halves = Halves(b)

    def const(self, value: bool | int | float, dtype: DType) -> SSA:
        t = scalar_type(dtype)
        if t.is_float:
            return self.b.constant(float(value), t)
        wrapped = int(value)
        if dtype.category != BOOL:
            wrapped &= (1 << t.bits) - 1
            wrapped -= (wrapped >> (t.bits - 1)) << t.bits
        return self.b.constant(wrapped, t)

    def function(self, fn: str, dtype: DType, args: list[SSA], of: DType) -> SSA:
        """`fn` of elements of dtype `of`; `dtype` is the result's. A half is computed in 32 bits and rounded."""
        result = self._function(fn, dtype, args, of)
        return self.halves.rounded(result, dtype) if dtype.is_half and fn not in _EXACT else result

    def _function(self, fn: str, dtype: DType, args: list[SSA], of: DType) -> SSA:
        b = self.b
        if fn in _PREDICATES:
            floating, signed, unsigned = _PREDICATES[fn]
            if of.is_float:
                return b.compare("arith.cmpf", floating, *args)
            return b.compare("arith.cmpi", signed if of.signed else unsigned, *args)
        if fn in _MATH:
            return b.unary(_MATH[fn], args[0])
        if fn in SPECIAL:
            return b.op(f"tdsl.{fn}", args, (args[0].type,)).result
        if fn in ("add", "sub", "mul"):
            if of is bool_:
                return b.binary({"add": "arith.ori", "sub": "arith.xori", "mul": "arith.andi"}[fn], *args)
            return b.binary(f"arith.{fn}{'f' if of.is_float else 'i'}", *args)
        rule = getattr(self, f"_{fn}", None)
        if rule is None:
            raise InternalError(f"no lowering for the function {fn}")
        result: SSA = rule(of, *args)
        return result

    # ---- rules: (dtype of the operands, operands)

    def _div(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("arith.divf", x, y)

    def _neg(self, of: DType, x: SSA) -> SSA:
        return self.b.unary("arith.negf", x) if of.is_float else self.b.binary("arith.subi", self.const(0, of), x)

    def _abs(self, of: DType, x: SSA) -> SSA:
        if of.is_float:
            return self.b.unary("math.absf", x)
        return self.b.unary("math.absi", x) if of.signed else x

    def _sign(self, of: DType, x: SSA) -> SSA:
        zero, one = self.const(0, of), self.const(1, of)
        above = self.b.select(self.function("gt", bool_, [x, zero], of), one, zero)
        if not of.signed:
            return above
        below = self.function("lt", bool_, [x, zero], of)
        return self.b.select(below, self.const(-1, of), above)

    def _relu(self, of: DType, x: SSA) -> SSA:
        return self._maximum(of, x, self.const(0, of))

    def _maximum(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary(extreme("max", of), x, y)

    def _minimum(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary(extreme("min", of), x, y)

    def _shl(self, of: DType, x: SSA, n: SSA) -> SSA:
        inside, safe = self._distance(of, n)
        return self.b.select(inside, self.b.binary("arith.shli", x, safe), self.const(0, of))

    def _shr(self, of: DType, x: SSA, n: SSA) -> SSA:
        inside, safe = self._distance(of, n)
        shift = "arith.shrsi" if of.signed else "arith.shrui"
        last = self.b.binary(shift, x, self.const(of.bits - 1, of)) if of.signed else self.const(0, of)
        return self.b.select(inside, self.b.binary(shift, x, safe), last)

    def _distance(self, of: DType, n: SSA) -> tuple[SSA, SSA]:
        """Whether a shift is by less than all bits, and the distance, 0 where it is not."""
        inside = self.b.compare("arith.cmpi", "ult", n, self.const(of.bits, of))
        return inside, self.b.select(inside, n, self.const(0, of))

    def _copysign(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("math.copysign", x, y)

    def _isnan(self, of: DType, x: SSA) -> SSA:
        return self.b.compare("arith.cmpf", "uno", x, x)

    def _and(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("arith.andi", x, y)

    def _or(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("arith.ori", x, y)

    def _xor(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("arith.xori", x, y)

    def _not(self, of: DType, x: SSA) -> SSA:
        return self.b.binary("arith.xori", x, self.const(True if of is bool_ else -1, of))

    def _pow(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("math.powf" if of.is_float else "math.ipowi", x, y)

    def _atan2(self, of: DType, x: SSA, y: SSA) -> SSA:
        return self.b.binary("math.atan2", x, y)

    def _philox(self, of: DType, seed: SSA, counter: SSA) -> SSA:
        return self.b.binary("tdsl.philox", seed, counter)

    def _fmod(self, of: DType, x: SSA, y: SSA) -> SSA:
        if of.is_float:
            return self.b.binary("arith.remf", x, y)
        return self._integer_division(of, x, y)[1]

    def _mod(self, of: DType, x: SSA, y: SSA) -> SSA:
        """The remainder with the divisor's sign."""
        b, zero = self.b, self.const(0, of)
        if not of.is_float:
            _, r = self._integer_division(of, x, y)
            return r if not of.signed else b.select(self._wrong_side(of, r, y), b.binary("arith.addi", r, y), r)
        r = b.binary("arith.remf", x, y)
        moved = b.select(self._wrong_side(of, r, y), b.binary("arith.addf", r, y), r)
        exact = b.compare("arith.cmpf", "oeq", r, zero)
        return b.select(exact, b.binary("math.copysign", zero, y), moved)

    def _wrong_side(self, of: DType, r: SSA, y: SSA) -> SSA:
        """The remainder is not 0 and its sign is not the divisor's."""
        zero = self.const(0, of)
        some = self.function("ne", bool_, [r, zero], of)
        below, negative = self.function("lt", bool_, [r, zero], of), self.function("lt", bool_, [y, zero], of)
        return self.b.binary("arith.andi", some, self.b.binary("arith.xori", below, negative))

    def _floordiv(self, of: DType, x: SSA, y: SSA) -> SSA:
        b = self.b
        if not of.is_float:
            q, r = self._integer_division(of, x, y)
            if not of.signed:
                return q
            return b.select(self._wrong_side(of, r, y), b.binary("arith.subi", q, self.const(1, of)), q)
        # as NumPy: (x - mod) / y is a whole number but for rounding
        zero, one = self.const(0, of), self.const(1, of)
        r = b.binary("arith.remf", x, y)
        q = b.binary("arith.divf", b.binary("arith.subf", x, r), y)
        q = b.select(self._wrong_side(of, r, y), b.binary("arith.subf", q, one), q)
        down = b.unary("math.floor", q)
        near = b.compare("arith.cmpf", "ogt", b.binary("arith.subf", q, down), self.const(0.5, of))
        whole = b.select(near, b.binary("arith.addf", down, one), down)
        ratio = b.binary("arith.divf", x, y)
        whole = b.select(b.compare("arith.cmpf", "oeq", q, zero), b.binary("math.copysign", zero, ratio), whole)
        return b.select(b.compare("arith.cmpf", "oeq", y, zero), ratio, whole)

    def _integer_division(self, of: DType, x: SSA, y: SSA) -> tuple[SSA, SSA]:
        """Truncated quotient and remainder. A divisor of 0 is reported and taken as 1; INT_MIN // -1 wraps."""
        b = self.b
        zero, one = self.const(0, of), self.const(1, of)
        by_zero = b.compare("arith.cmpi", "eq", y, zero)
        self.fail(by_zero)
        safe = b.select(by_zero, one, y)
        if not of.signed:
            wide = [b.convert("arith.extui", v, I32) for v in (x, safe)]
            q = b.convert("arith.trunci", b.binary("arith.divsi", *wide), I8)
            return q, b.binary("arith.subi", x, b.binary("arith.muli", q, safe))
        minus = b.compare("arith.cmpi", "eq", safe, self.const(-1, of))
        q = b.binary("arith.divsi", x, b.select(minus, one, safe))
        q = b.select(minus, b.binary("arith.subi", zero, x), q)
        return q, b.binary("arith.subi", x, b.binary("arith.muli", q, safe))

    # ---- casts

    def cast(self, x: SSA, source: DType, to: DType) -> SSA:
        b = self.b
        if source is to:
            return x
        if to is bool_:
            return self.function("ne", bool_, [x, self.const(0, source)], source)
        t = scalar_type(to)
        if to.is_half:
            return self.halves.rounded(self.cast(x, f32 if source.is_half else source, f32), to)
        if source.is_half:
            source = f32
            if to is f32:
                return x
        if source.is_float and to.is_float:
            return b.convert("arith.extf" if to.bits > source.bits else "arith.truncf", x, t)
        unsigned = source is bool_ or not source.signed
        if to.is_float:
            return b.convert("arith.uitofp" if unsigned else "arith.sitofp", x, t)
        if source.is_float:
            return self._float_to_int(x, to, t)
        bits = scalar_type(source).bits
        if bits == t.bits:
            return x
        if bits > t.bits:
            return b.convert("arith.trunci", x, t)
        return b.convert("arith.extui" if unsigned else "arith.extsi", x, t)

    def _float_to_int(self, x: SSA, to: DType, t: Scalar) -> SSA:
        if to.bits >= 32:
            return self.b.convert("arith.fptosi", x, t)
        wide = self.b.convert("arith.fptosi", x, I32)
        low, high = (0, 255) if to is u8 else (-(1 << (to.bits - 1)), (1 << (to.bits - 1)) - 1)
        wide = self.b.binary("arith.maxsi", wide, self.b.constant(low, I32))
        return self.b.convert("arith.trunci", self.b.binary("arith.minsi", wide, self.b.constant(high, I32)), t)

    # ---- memory

    def from_memory(self, x: SSA, dtype: DType) -> SSA:
        if dtype.is_half:
            return self.halves.widened(x, dtype)
        return self.b.compare("arith.cmpi", "ne", x, self.b.constant(0, I8)) if dtype is bool_ else x

    def to_memory(self, x: SSA, dtype: DType) -> SSA:
        if dtype.is_half:
            return self.halves.narrowed(x, dtype)
        return self.b.convert("arith.extui", x, I8) if dtype is bool_ else x

    def to_index(self, x: SSA) -> SSA:
        return self.b.convert("arith.index_cast", x, INDEX) if x.type is I64 else x

    def from_index(self, x: SSA) -> SSA:
        return self.b.convert("arith.index_cast", x, I64)


def extreme(which: str, of: DType) -> str:
    if of.is_float:
        return f"arith.{which}imumf"
    return f"arith.{which}si" if of.signed and of is not bool_ else f"arith.{which}ui"


def identity(op: str, dtype: DType) -> bool | int | float:
    """What a reduction of nothing gives, and starts from."""
    if op in ("sum", "mean", "any"):
        return 0
    if op in ("prod", "all"):
        return 1
    if dtype.is_float:
        return -inf if op in ("max", "argmax", "logsumexp") else inf
    if dtype is bool_:
        return op not in ("max", "argmax")
    low, high = (0, 255) if dtype is u8 else (-(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1)
    return low if op in ("max", "argmax") else high

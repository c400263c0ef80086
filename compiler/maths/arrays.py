"""The functions of this room on NumPy arrays: a builder that computes each op as it is asked for.

One text of a function serves compiled loops and the interpreter alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tdsl.compiler.loops import F32, F64, I1, I8, I16, I32, I64, INDEX, SSA, LType, Scalar, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.maths.lane import Lane
from tdsl.compiler.source import InternalError

Array = np.ndarray[Any, Any]

_DTYPES: dict[Scalar, Any] = {
    F32: np.float32, F64: np.float64, I1: np.bool_, I8: np.int8, I16: np.int16, I32: np.int32, I64: np.int64,
    INDEX: np.int64,
}  # fmt: skip
_TYPES = {np.dtype(d): t for t, d in _DTYPES.items() if t is not INDEX}
_BINARY: dict[str, Callable[..., Any]] = {
    "arith.addf": np.add, "arith.subf": np.subtract, "arith.mulf": np.multiply, "arith.divf": np.divide,
    "arith.addi": np.add, "arith.subi": np.subtract, "arith.muli": np.multiply, "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or, "arith.xori": np.bitwise_xor, "arith.shli": np.left_shift,
    "arith.shrsi": np.right_shift, "arith.maxsi": np.maximum, "arith.minsi": np.minimum, "arith.remf": np.fmod,
    "math.copysign": np.copysign,
}  # fmt: skip
_UNARY: dict[str, Callable[..., Any]] = {
    "arith.negf": np.negative, "math.absf": np.abs, "math.absi": np.abs, "math.sqrt": np.sqrt,
    "math.floor": np.floor, "math.ceil": np.ceil, "math.trunc": np.trunc, "math.roundeven": np.rint,
}  # fmt: skip
_COMPARE: dict[str, Callable[..., Any]] = {
    "oeq": np.equal, "une": np.not_equal, "olt": np.less, "ole": np.less_equal, "ogt": np.greater,
    "oge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "slt": np.less, "sle": np.less_equal,
    "sgt": np.greater, "sge": np.greater_equal,
}  # fmt: skip


class ArraySSA(SSA):
    """A value that is an array already; its type is that of an element."""

    __slots__ = ("array",)

    def __init__(self, array: Any) -> None:
        array = np.asarray(array)
        super().__init__(_TYPES[array.dtype])
        self.array: Array = array


class ArrayBuilder(Builder):
    """Computes instead of appending."""

    def __init__(self) -> None:
        pass

    def op(self, name: str, operands: Sequence[SSA], results: Sequence[LType] = (), *_: Any, **__: Any) -> Any:
        raise InternalError(f"{name} is not computed on arrays")

    def constant(self, value: bool | int | float, type_: Scalar | Vector = INDEX) -> SSA:
        assert isinstance(type_, Scalar)
        return ArraySSA(np.asarray(value).astype(_DTYPES[type_]))

    def binary(self, name: str, a: SSA, b: SSA) -> SSA:
        x, y = _array(a), _array(b)
        if name == "arith.shrui":
            unsigned = np.dtype(f"u{x.dtype.itemsize}")
            return ArraySSA((x.view(unsigned) >> y.view(unsigned)).view(x.dtype))
        return ArraySSA(_BINARY[name](x, y))

    def unary(self, name: str, a: SSA) -> SSA:
        return ArraySSA(_UNARY[name](_array(a)))

    def fma(self, a: SSA, b: SSA, c: SSA) -> SSA:
        return ArraySSA(_array(a) * _array(b) + _array(c))

    def compare(self, name: str, predicate: str, a: SSA, b: SSA) -> SSA:
        x, y = _array(a), _array(b)
        if predicate in ("uno", "ord", "one"):
            unordered = np.isnan(x) | np.isnan(y)
            return ArraySSA({"uno": unordered, "ord": ~unordered, "one": ~unordered & (x != y)}[predicate])
        if predicate[0] == "u" and predicate[1:] in ("lt", "le", "gt", "ge"):
            unsigned = np.dtype(f"u{x.dtype.itemsize}")
            return ArraySSA(_COMPARE[f"s{predicate[1:]}"](x.view(unsigned), y.view(unsigned)))
        return ArraySSA(_COMPARE[predicate](x, y))

    def select(self, condition: SSA, a: SSA, b: SSA) -> SSA:
        return ArraySSA(np.where(_array(condition), _array(a), _array(b)))

    def convert(self, name: str, a: SSA, to: Scalar) -> SSA:
        x = _array(a)
        if name == "arith.bitcast":
            return ArraySSA(x.view(_DTYPES[to]))
        return ArraySSA(x.astype(_DTYPES[to]))

    def for_(
        self,
        lo: SSA,
        hi: SSA,
        step: SSA,
        inits: Sequence[SSA],
        body: Callable[[SSA, list[SSA]], Sequence[SSA] | None],
        **attrs: Any,
    ) -> list[SSA]:
        carried = list(inits)
        for k in range(*(int(_array(x).max()) for x in (lo, hi, step))):
            carried = list(body(ArraySSA(np.int64(k)), carried) or ())
        return carried

    def if_(
        self,
        condition: SSA,
        then: Callable[[], Sequence[SSA] | None],
        otherwise: Callable[[], Sequence[SSA] | None] | None = None,
    ) -> list[SSA]:
        if bool(_array(condition).any()):
            return list(then() or ())
        return list((otherwise() if otherwise is not None else None) or ())


def _array(x: SSA) -> Array:
    assert isinstance(x, ArraySSA)
    return x.array


def on_arrays(function: Callable[..., Lane]) -> Callable[..., Array]:
    """The function of lanes as one of arrays, which broadcast.

    >>> from tdsl.compiler.maths.exponential import exp
    >>> on_arrays(exp)(np.array([0.0, 1.0])).round(3).tolist()
    [1.0, 2.718]
    """
    builder = ArrayBuilder()

    def evaluate(*args: Any) -> Array:
        lanes = [Lane(builder, ArraySSA(x), False) for x in np.broadcast_arrays(*map(np.ascontiguousarray, args))]
        with np.errstate(all="ignore"):
            result = _array(function(*lanes).ssa)
        shape = np.broadcast_shapes(*(np.shape(x) for x in args))
        return np.asarray(result).reshape(shape)

    return evaluate

"""Ops that act on each element alone. The functions themselves stand in kernel.FUNCTIONS.

A derivative rule is written once and serves recorded values and index-notation expressions alike: `b` builds. It
uses elementwise functions and Python numbers only. Ties and edges follow PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import pi, sqrt
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType, bool_, f32, f64, i32, i64, u8
from tdsl.compiler.evaluate import convert
from tdsl.compiler.graph import ZERO, Attrs, Op, Shape, Type, Vjp, define
from tdsl.compiler.kernel import FUNCTIONS, Axis, Binder, Call, Const, Definition, Expr, Kernel, Param, Read
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.ops.special_rules import SPECIAL_RULES, special_inputs
from tdsl.compiler.source import DTypeError, InternalError, ShapeError

AXES = "ijklmnopqrstuvwabcdefgh"


def axis_names(rank: int) -> list[str]:
    return [AXES[k] if k < len(AXES) else f"i{k}" for k in range(rank)]


def broadcast(shapes: Iterable[Shape]) -> Shape:
    """PyTorch's broadcasting, with its words when sizes do not fit.

    >>> broadcast([(3, 1), (4,)])
    (3, 4)
    """
    result: list[Any] = []
    for shape in shapes:
        if len(shape) > len(result):
            result = [1] * (len(shape) - len(result)) + result
        offset = len(result) - len(shape)
        for k, n in enumerate(shape):
            have = result[offset + k]
            if have == n or n == 1:
                continue
            if have != 1:
                raise ShapeError(
                    f"The size of tensor a ({have}) must match the size of tensor b ({n}) "
                    f"at non-singleton dimension {offset + k}"
                )
            result[offset + k] = n
    return tuple(result)


def broadcast_read(name: str, shape: Shape, rank: int, dtype: DType) -> Read:
    """A read of a tensor at the point (i, j, ...), its dimensions of size 1 at 0."""
    names = axis_names(rank)[rank - len(shape) :]
    index = tuple(Const(0, i64) if n == 1 else Axis(a) for n, a in zip(shape, names, strict=True))
    return Read(name, index, dtype)


def pointwise(types: tuple[Type, ...], result: Type, body: Callable[..., Expr]) -> Kernel:
    """y[i, j, ...] := body(a0[...], a1[...], ...)."""
    rank = len(result.shape)
    reads = [broadcast_read(f"a{k}", t.shape, rank, t.dtype) for k, t in enumerate(types)]
    binders = tuple(Binder(a, 0, n) for a, n in zip(axis_names(rank), result.shape, strict=True))
    params = tuple(Param(f"a{k}", t.dtype, t.shape) for k, t in enumerate(types))
    return Kernel("op", params, (Definition("y", binders, body(*reads)),), ("y",))


def _infer(name: str) -> Callable[[tuple[Type, ...], Attrs], Type]:
    record = FUNCTIONS[name]

    def infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
        if len(types) != record.arity:
            raise InternalError(f"{name} takes {record.arity} operands, not {len(types)}")
        operands = types[1:] if name == "where" else types
        if name == "where" and types[0].dtype is not bool_:
            raise DTypeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {types[0]}")
        if len({t.dtype for t in operands}) != 1:
            raise InternalError(f"{name}: operands of {', '.join(map(str, types))}")
        if record.float_only and not operands[0].dtype.is_float:
            raise DTypeError(f"\"{name}\" not implemented for '{operands[0].dtype.torch_name}'")
        dtype = {"same": operands[0].dtype, "bool": bool_, "i64": i64}[record.result]
        return Type(dtype, broadcast(t.shape for t in types))

    return infer


def _cast_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(attrs["dtype"], types[0].shape)


def _kernel(name: str) -> Callable[[tuple[Type, ...], Type, Attrs], Kernel]:
    def kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
        return pointwise(types, result, lambda *reads: Call(name, reads, result.dtype))

    return kernel


# ------------------------------------------------------------------------------------------- derivatives


def _maximum(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    """Half to each at a tie."""
    half = b("mul", g, 0.5)
    dp = b("where", b("gt", p, q), g, b("where", b("eq", p, q), half, 0.0))
    dq = b("where", b("gt", q, p), g, b("where", b("eq", p, q), half, 0.0))
    return dp, dq


def _minimum(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    dq, dp = _maximum(b, g, y, p, q)
    return dp, dq


def _pow(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    """q p^(q-1), 0 where q is 0; p^q log p, 0 where p is 0 and q >= 0."""
    dp = b("where", b("eq", q, 0.0), 0.0, b("mul", g, b("mul", q, b("pow", p, b("sub", q, 1.0)))))
    at_zero = b("and", b("eq", p, 0.0), b("ge", q, 0.0))
    dq = b("where", at_zero, 0.0, b("mul", g, b("mul", y, b("log", p))))
    return dp, dq


def _atan2(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    d = b("add", b("mul", p, p), b("mul", q, q))
    return b("mul", g, b("div", q, d)), b("neg", b("mul", g, b("div", p, d)))


def _tan(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (b("mul", g, b("add", b("mul", y, y), 1.0)),)


RULES: dict[str, Vjp] = {
    "add": lambda b, g, y, p, q: (g, g),
    "sub": lambda b, g, y, p, q: (g, b("neg", g)),
    "mul": lambda b, g, y, p, q: (b("mul", g, q), b("mul", g, p)),
    "div": lambda b, g, y, p, q: (b("div", g, q), b("neg", b("mul", g, b("div", b("div", p, q), q)))),
    "floordiv": ZERO,
    "mod": lambda b, g, y, p, q: (g, b("neg", b("mul", g, b("floor", b("div", p, q))))),
    "fmod": lambda b, g, y, p, q: (g, b("neg", b("mul", g, b("trunc", b("div", p, q))))),
    "pow": _pow,
    "atan2": _atan2,
    "maximum": _maximum,
    "minimum": _minimum,
    "neg": lambda b, g, y, x: (b("neg", g),),
    "abs": lambda b, g, y, x: (b("mul", g, b("sign", x)),),
    "exp": lambda b, g, y, x: (b("mul", g, y),),
    "expm1": lambda b, g, y, x: (b("mul", g, b("add", y, 1.0)),),
    "log": lambda b, g, y, x: (b("div", g, x),),
    "log1p": lambda b, g, y, x: (b("div", g, b("add", x, 1.0)),),
    "sqrt": lambda b, g, y, x: (b("div", g, b("mul", y, 2.0)),),
    "rsqrt": lambda b, g, y, x: (b("mul", b("mul", g, -0.5), b("mul", y, b("mul", y, y))),),
    "sin": lambda b, g, y, x: (b("mul", g, b("cos", x)),),
    "cos": lambda b, g, y, x: (b("neg", b("mul", g, b("sin", x))),),
    "tan": _tan,
    "tanh": lambda b, g, y, x: (b("mul", g, b("sub", 1.0, b("mul", y, y))),),
    "sigmoid": lambda b, g, y, x: (b("mul", g, b("mul", y, b("sub", 1.0, y))),),
    "erf": lambda b, g, y, x: (b("mul", b("mul", g, 2 / sqrt(pi)), b("exp", b("neg", b("mul", x, x)))),),
    "relu": lambda b, g, y, x: (b("where", b("gt", y, 0.0), g, 0.0),),
    "where": lambda b, g, y, c, p, q: (None, b("where", c, g, 0.0), b("where", c, 0.0, g)),
    **SPECIAL_RULES,
}

# --------------------------------------------------------------------------------------------- test inputs

_SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, -1e30])


def _inputs(name: str) -> Iterable[tuple[tuple[Any, ...], dict[str, Any]]]:
    rng = np.random.default_rng(0)
    arity = FUNCTIONS[name].arity
    positive = name in ("log", "sqrt", "rsqrt", "log1p")
    floats = [f32, f64] if FUNCTIONS[name].float_only else [f32, f64, i64, i32, u8]
    if name in ("shl", "shr"):
        floats = [i64, i32, u8]
    if name in ("and", "or", "xor", "not"):
        floats = [bool_, i64, u8]
    if name == "isnan":
        floats = [f32, f64]
    for dtype in floats:
        for shapes in _shapes(arity):
            args = [_array(rng, s, dtype, positive) for s in shapes]
            if name in ("floordiv", "mod", "fmod", "div"):
                args[1] = np.where(args[1] == 0, np.ones((), args[1].dtype), args[1])
            if name == "pow":
                args = [np.abs(args[0]), np.abs(args[1]) % 4 if not dtype.is_float else args[1]]
            if name == "where":
                args[0] = rng.integers(0, 2, shapes[0]).astype(bool)
            yield tuple(a.astype(dtype.numpy) if a.dtype != bool else a for a in args), {}
        if dtype.is_float and arity == 1:
            yield (_SPECIAL.astype(dtype.numpy),), {}


def _shapes(arity: int) -> list[list[tuple[int, ...]]]:
    if arity == 1:
        return [[(3, 5)], [()], [(0, 3)], [(17,)]]
    if arity == 2:
        return [[(3, 5), (3, 5)], [(3, 1), (5,)], [(), (4,)], [(0, 3), (3,)], [(), ()]]
    return [[(3, 5), (3, 5), (3, 5)], [(3, 1), (5,), ()]]


def _array(rng: np.random.Generator, shape: tuple[int, ...], dtype: DType, positive: bool) -> Any:
    if dtype.is_float:
        x = rng.uniform(0.2, 3.0, shape) if positive else rng.uniform(-2.0, 2.0, shape)
        return np.asarray(x).astype(dtype.numpy)
    low = 0 if dtype in (bool_, u8) else -9
    return np.asarray(rng.integers(low, 2 if dtype is bool_ else 10, shape)).astype(dtype.numpy)


def _record(name: str) -> Op:
    function = FUNCTIONS[name]
    return Op(
        name,
        f"{name}: elementwise, {function.arity} operand(s).",
        _infer(name),
        RULES.get(name, ZERO),
        _kernel(name),
        reference=function.evaluate,
        elementwise=name,
        samples=lambda: special_inputs(name) if name in SPECIAL else _inputs(name),
    )


def _cast_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (b("cast", g, dtype=x.dtype) if x.dtype.is_float and y.dtype.is_float else None,)


def _cast_reference(x: Any, dtype: DType) -> Any:
    return convert(x, dtype.numpy)


for _name in FUNCTIONS:
    if _name not in ("cast", "philox"):
        define(_record(_name))
cast = define(
    Op(
        "cast",
        "x with element type `dtype`; float to int saturates, NaN gives 0.",
        _cast_infer,
        _cast_vjp,
        lambda types, result, attrs: pointwise(types, result, lambda x: Call("cast", (x,), result.dtype)),
        reference=_cast_reference,
        elementwise="cast",
        samples=lambda: (
            [((np.array([0.5, -1.7, 300.0, np.nan, 1e20], np.float32),), {"dtype": d}) for d in (i64, i32, u8, f64)]
            + [((np.array([0, 3, -1]),), {"dtype": d}) for d in (f32, bool_, u8)]
        ),
    )
)
define(
    Op(
        "detach",
        "x, with no gradient.",
        lambda types, attrs: types[0],
        ZERO,
        lambda types, result, attrs: pointwise(types, result, lambda x: x),
        reference=lambda x: x,
        view=True,
        samples=lambda: [((np.arange(3.0),), {})],
    )
)
define(
    Op(
        "copy",
        "x, in memory of its own.",
        lambda types, attrs: types[0],
        lambda b, g, y, x: (g,),
        lambda types, result, attrs: pointwise(types, result, lambda x: x),
        reference=lambda x: x,
        samples=lambda: [((np.arange(3.0),), {})],
    )
)

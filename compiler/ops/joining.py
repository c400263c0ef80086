"""What joins, pads and turns around, and what has no operands: constants and counting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Attrs, Op, Size, Sym, Type, define
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    SizeOf,
    call,
    index_const,
    of_size,
)
from tdsl.compiler.ops.elementwise import axis_names
from tdsl.compiler.ops.view import one_read
from tdsl.compiler.source import InternalError, ShapeError

# -------------------------------------------------------------------------------------- pad, flip, concatenate


def _plus(a: Size, b: Size) -> int:
    if isinstance(a, Sym) or isinstance(b, Sym):
        raise InternalError("a sum of run-time sizes has no name")
    return a + b


def _pad_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    sizes = zip(x.shape, attrs["low"], attrs["high"], strict=True)
    return Type(x.dtype, tuple(n if (lo, hi) == (0, 0) else _plus(_plus(n, lo), hi) for n, lo, hi in sizes))


def _pad_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    (x,) = types
    value = Const(attrs["value"], x.dtype)
    return one_read(
        types,
        result,
        lambda axes: [a if lo == 0 else call("sub", a, of_size(lo)) for a, lo in zip(axes, attrs["low"], strict=True)],
        fill=value,
    )


def _pad_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    for d, (lo, n) in enumerate(zip(y.attrs["low"], x.shape, strict=True)):
        if g.shape[d] != n:
            g = b("slice", g, dim=d, start=lo, stop=lo + n, step=1)
    return (g,)


def _flip_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    (x,) = types

    def mirrored(a: Axis, n: Size) -> Expr:
        last: Expr = call("sub", SizeOf(n), index_const(1)) if isinstance(n, Sym) else Const(n - 1, i64)
        return call("sub", last, a)

    return one_read(
        types,
        result,
        lambda axes: [mirrored(a, x.shape[d]) if d in attrs["dims"] else a for d, a in enumerate(axes)],
    )


def _roll_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    """Before a shift the elements that came round, from it on the others: a read for each choice."""
    (x,) = types
    names = axis_names(len(x.shape))

    def read(index: tuple[Expr, ...], left: tuple[tuple[int, Size], ...]) -> Expr:
        if not left:
            return Read("a0", index, x.dtype)
        (d, shift), *rest = left
        n = x.shape[d]
        whole = not isinstance(n, Sym) and not isinstance(shift, Sym)
        round_ = index_const(n - shift) if whole else call("sub", of_size(n), of_size(shift))  # type: ignore[operator]
        before = (*index[:d], call("add", index[d], round_), *index[d + 1 :])
        after = (*index[:d], call("sub", index[d], of_size(shift)), *index[d + 1 :])
        came_round = call("lt", Axis(names[d]), of_size(shift))
        return call("where", came_round, read(before, tuple(rest)), read(after, tuple(rest)))

    binders = tuple(Binder(a, 0, n) for a, n in zip(names, x.shape, strict=True))
    expr = read(tuple(Axis(a) for a in names), tuple(zip(attrs["dims"], attrs["shifts"], strict=True)))
    return Kernel("op", (Param("a0", x.dtype, x.shape),), (Definition("y", binders, expr),), ("y",))


def _roll_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    dims, shifts = y.attrs["dims"], y.attrs["shifts"]
    return (b("roll", g, dims=dims, shifts=tuple(x.shape[d] - s for d, s in zip(dims, shifts, strict=True))),)


def _cat_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    d, first = attrs["dim"], types[0]
    total: Size = 0
    for k, t in enumerate(types):
        if len(t.shape) != len(first.shape):
            raise ShapeError(f"Tensors must have same number of dimensions: got {len(first.shape)} and {len(t.shape)}")
        for q, (m, n) in enumerate(zip(first.shape, t.shape, strict=True)):
            if q != d and m != n:
                raise ShapeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {m} but got size {n} for "
                    f"tensor number {k} in the list."
                )
        total = t.shape[d] if total == 0 and len(types) == 1 else _plus(total, t.shape[d])
    return Type(first.dtype, (*first.shape[:d], total, *first.shape[d + 1 :]))


def _cat_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    """The last operand's read, padded by the one before it, and so on."""
    d = attrs["dim"]
    names = axis_names(len(result.shape))
    axes: list[Expr] = [Axis(a) for a in names]
    starts = [0]
    for t in types[:-1]:
        starts.append(_plus(starts[-1], t.shape[d]))
    expr: Expr | None = None
    for k, (t, start) in enumerate(zip(types, starts, strict=True)):
        index = list(axes)
        index[d] = axes[d] if start == 0 else call("sub", axes[d], index_const(start))
        read = Read(f"a{k}", tuple(index), t.dtype)
        if expr is None:
            expr = read
            continue
        expr = call("where", call("lt", axes[d], index_const(start)), expr, read)
    assert expr is not None
    binders = tuple(Binder(a, 0, n) for a, n in zip(names, result.shape, strict=True))
    params = tuple(Param(f"a{k}", t.dtype, t.shape) for k, t in enumerate(types))
    return Kernel("op", params, (Definition("y", binders, expr),), ("y",))


def _cat_vjp(b: Any, g: Any, y: Any, *xs: Any) -> tuple[Any, ...]:
    d, start = y.attrs["dim"], 0
    parts = []
    for x in xs:
        parts.append(b("slice", g, dim=d, start=start, stop=start + x.shape[d], step=1))
        start += x.shape[d]
    return tuple(parts)


# ------------------------------------------------------------------------------------------------ constants


def _constant_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    return Kernel("op", (), (Definition("y", (), Const(attrs["value"], result.dtype)),), ("y",))


def _iota_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    return Kernel("op", (), (Definition("y", (Binder("i", 0, result.shape[0]),), Axis("i")),), ("y",))


def _range(*shape: int) -> Any:
    return np.arange(float(np.prod(shape))).reshape(shape)


pad = define(
    Op(
        "pad", "`low` and `high` elements of `value` before and after, in each dimension.", _pad_infer, _pad_vjp,
        _pad_kernel,
        reference=lambda x, low, high, value: np.pad(x, list(zip(low, high, strict=True)), constant_values=value),
        sizes=frozenset({"low", "high"}),
        samples=lambda: [((_range(2, 3),), {"low": (1, 0), "high": (0, 2), "value": -1.0})],
    )
)  # fmt: skip
flip = define(
    Op(
        "flip", "Order reversed along `dims`.", lambda types, attrs: types[0],
        lambda b, g, y, x: (b("flip", g, dims=y.attrs["dims"]),), _flip_kernel,
        reference=lambda x, dims: np.flip(x, dims),
        samples=lambda: [((_range(2, 3),), {"dims": (1,)}), ((_range(2, 3),), {"dims": (0, 1)})],
    )
)  # fmt: skip
roll = define(
    Op(
        "roll", "Moved along `dims` by `shifts`, all between 0 and the size; what leaves at the end comes in in front.",
        lambda types, attrs: types[0], _roll_vjp, _roll_kernel,
        reference=lambda x, dims, shifts: np.roll(x, shifts, dims), sizes=frozenset({"shifts"}),
        samples=lambda: [((_range(3, 4),), {"dims": (1,), "shifts": (1,)}),
                         ((_range(3, 4),), {"dims": (0, 1), "shifts": (2, 3)})],
    )
)  # fmt: skip
cat = define(
    Op(
        "cat", "Joined along `dim`.", _cat_infer, _cat_vjp, _cat_kernel,
        reference=lambda *xs, dim: np.concatenate(xs, dim),
        samples=lambda: [((_range(2, 3), -_range(2, 1), _range(2, 2)), {"dim": 1}), ((_range(3),), {"dim": 0})],
        refuses=lambda: [((_range(2, 3), _range(3, 1)), {"dim": 1}, "Sizes of tensors must match except")],
    )
)  # fmt: skip
join = define(
    Op(
        "join", "Many tensors joined along `dim`: a choice of one read in many would cost more than a copy.",
        _cat_infer, _cat_vjp, library=lambda *xs, dim: np.concatenate(xs, dim),
        reference=lambda *xs, dim: np.concatenate(xs, dim),
        samples=lambda: [((_range(2, 3), -_range(2, 1), _range(2, 2)), {"dim": 1}), ((_range(3),), {"dim": 0})],
    )
)  # fmt: skip
constant = define(
    Op(
        "constant", "A number that is part of the program.", lambda types, attrs: Type(attrs["dtype"], ()),
        lambda b, g, y: (), _constant_kernel,
        reference=lambda value, dtype: np.asarray(value, dtype.numpy),
    )
)  # fmt: skip
iota = define(
    Op(
        "iota", "0, 1, 2, ... as i64.", lambda types, attrs: Type(i64, (attrs["length"],)), lambda b, g, y: (),
        _iota_kernel, reference=lambda length: np.arange(length), sizes=frozenset({"length"}),
        samples=lambda: [((), {"length": 5})],
    )
)  # fmt: skip

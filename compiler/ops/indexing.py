"""Reads and accumulations at positions held in integer tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.dtype import f32, i64
from tdsl.compiler.graph import ZERO, Attrs, Op, Shape, Size, Type, define
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Scatter,
    call,
    index_const,
    of_size,
)
from tdsl.compiler.ops.elementwise import axis_names
from tdsl.compiler.source import DTypeError, IndexError, InternalError, RuntimeError, ShapeError


def _params(types: tuple[Type, ...]) -> tuple[Param, ...]:
    return tuple(Param(f"a{k}", t.dtype, t.shape) for k, t in enumerate(types))


def _axes(rank: int) -> list[Expr]:
    return [Axis(a) for a in axis_names(rank)]


def _binders(shape: tuple[Size, ...]) -> tuple[Binder, ...]:
    return tuple(Binder(a, 0, n) for a, n in zip(axis_names(len(shape)), shape, strict=True))


def _copy(x: Type) -> Definition:
    return Definition("y", _binders(x.shape), Read("a0", tuple(_axes(len(x.shape))), x.dtype))


def wrapped(position: Expr, size: Size) -> Expr:
    """A negative position counts from the end."""
    return call("where", call("lt", position, index_const(0)), call("add", position, of_size(size)), position)


# --------------------------------------------------------------------------------------------------- gather


def _gather_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index = types
    if index.dtype is not i64:
        raise DTypeError("gather(): Expected dtype int64 for index")
    if len(x.shape) != len(index.shape):
        raise ShapeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (n, m) in enumerate(zip(x.shape, index.shape, strict=True)):
        if d != attrs["dim"] and isinstance(n, int) and isinstance(m, int) and m > n:
            raise ShapeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(x.shape)} apart from dimension {attrs['dim']}"
            )
    return Type(x.dtype, index.shape)


def _gather_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    axes = _axes(len(result.shape))
    place = list(axes)
    place[attrs["dim"]] = Read("a1", tuple(axes), i64)
    read = Read("a0", tuple(place), result.dtype, checked=True)
    return Kernel("op", _params(types), (Definition("y", _binders(result.shape), read),), ("y",))


def _zeros_like(b: Any, x: Any) -> Any:
    return b("full", b("constant", value=0.0, dtype=x.dtype), shape=x.shape)


def _gather_vjp(b: Any, g: Any, y: Any, x: Any, index: Any) -> tuple[Any, None]:
    return b("scatter_add", _zeros_like(b, x), index, g, dim=y.attrs["dim"]), None


def _scatter_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index, src = types
    if index.dtype is not i64:
        raise DTypeError("scatter(): Expected dtype int64 for index")
    if src.dtype is not x.dtype:
        raise DTypeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if not len(x.shape) == len(index.shape) == len(src.shape):
        raise ShapeError("Index tensor must have the same number of dimensions as self tensor")
    return x


def _scatter_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    x, index, src = types
    axes = _axes(len(index.shape))
    place = list(axes)
    place[attrs["dim"]] = Read("a1", tuple(axes), i64)
    add = Scatter("y", _binders(index.shape), tuple(place), "+=", Read("a2", tuple(axes), src.dtype))
    return Kernel("op", _params(types), (_copy(x), add), ("y",))


def spread(b: Any, g: Any, shape: Shape) -> Any:
    """g with zeros after it: the gradient of what was read in its leading part only."""
    high = tuple(n - m if n != m else 0 for n, m in zip(shape, g.shape, strict=True))
    return b("pad", g, low=(0,) * len(high), high=high, value=0.0) if any(high) else g


def _scatter_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    return g, None, spread(b, b("gather", g, index, dim=y.attrs["dim"]), src.shape)


def _scatter_reference(x: Any, index: Any, src: Any, dim: int) -> Any:
    result = np.array(x)
    places = list(np.indices(index.shape))
    places[dim] = index
    np.add.at(result, tuple(places), src[tuple(slice(0, n) for n in index.shape)])
    return result


# ----------------------------------------------------------------------------------------------------- take


def _take_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index = types
    if index.dtype is not i64:
        raise InternalError("take: positions are i64")
    d = attrs["dim"]
    return Type(x.dtype, (*x.shape[:d], *index.shape, *x.shape[d + 1 :]))


def _taken(types: tuple[Type, ...], axes: list[Expr], d: int, wrap: bool = True) -> tuple[Expr, ...]:
    x, index = types[:2]
    k = len(index.shape)
    position: Expr = Read("a1", tuple(axes[d : d + k]), i64)
    if wrap:
        position = wrapped(position, x.shape[d])
    return (*axes[:d], position, *axes[d + k :])


def _dim(attrs: Attrs) -> dict[str, Any]:
    return {"d": attrs["dim"], "wrap": attrs.get("wrap", True)}


def _take_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    place = _taken(types, _axes(len(result.shape)), **_dim(attrs))
    read = Read("a0", place, result.dtype, checked=True)
    return Kernel("op", _params(types), (Definition("y", _binders(result.shape), read),), ("y",))


def _take_vjp(b: Any, g: Any, y: Any, x: Any, index: Any) -> tuple[Any, None]:
    return b("take_add", _zeros_like(b, x), index, g, **y.attrs), None


def _take_reference(x: Any, index: Any, dim: int, wrap: bool = True) -> Any:
    if x.shape[dim] == 0 and index.size == 0:
        return np.zeros((*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]), x.dtype)
    return np.take(x, np.where(index < 0, index + x.shape[dim], index), axis=dim)


def _take_add_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index, src = types
    want = _take_infer((x, index), attrs)
    if src.shape != want.shape or src.dtype is not x.dtype:
        raise InternalError(f"take_add: {src} does not fit {want}")
    return x


def _take_add_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    x, index, src = types
    axes = _axes(len(src.shape))
    add = Scatter(
        "y", _binders(src.shape), _taken(types, axes, **_dim(attrs)), "+=", Read("a2", tuple(axes), src.dtype)
    )
    return Kernel("op", _params(types), (_copy(x), add), ("y",))


def _take_add_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    return g, None, b("take", g, index, **y.attrs)


def _take_add_reference(x: Any, index: Any, src: Any, dim: int, wrap: bool = True) -> Any:
    result = np.array(x)
    where = np.where(index < 0, index + x.shape[dim], index)
    moved = np.moveaxis(result, dim, 0)
    source = np.moveaxis(src, range(dim, dim + index.ndim), range(index.ndim))
    np.add.at(moved, where, source)
    return result


_X = np.arange(12.0).reshape(3, 4)
_I = np.array([[0, 2], [1, 1], [2, 0]])
define(
    Op(
        "gather", "x at `index` along `dim`, as torch.gather.", _gather_infer, _gather_vjp, _gather_kernel,
        outside=RuntimeError,
        reference=lambda x, index, dim: np.take_along_axis(
            x[tuple(slice(0, n) if d != dim else slice(None) for d, n in enumerate(index.shape))], index, dim
        ),
        samples=lambda: [((_X, _I), {"dim": 1}), ((_X, _I[:2] % 3), {"dim": 0})],
    )
)  # fmt: skip
define(
    Op(
        "scatter_add", "x with src added at `index` along `dim`, in order.", _scatter_infer, _scatter_vjp,
        _scatter_kernel, reference=_scatter_reference, outside=RuntimeError,
        samples=lambda: [((_X, _I, np.ones((3, 2))), {"dim": 1}), ((_X, _I % 3, np.ones((3, 2))), {"dim": 0})],
    )
)  # fmt: skip
define(
    Op(
        "take", "Slices of x at `index` (of any rank) along `dim`; negative positions count from the end, unless "
        "`wrap` is False.", _take_infer, _take_vjp, _take_kernel, reference=_take_reference, outside=IndexError,
        wraps=True,
        samples=lambda: [
            ((_X, np.array([2, 0, -1, 2])), {"dim": 0}), ((_X, _I), {"dim": 1}), ((_X, np.zeros(0, int)), {"dim": 0}),
            ((_X, _I), {"dim": 1, "wrap": False}),
        ],
    )
)  # fmt: skip
define(
    Op(
        "take_add", "x with src added to its slices at `index`, in order.", _take_add_infer, _take_add_vjp,
        _take_add_kernel, reference=_take_add_reference, outside=RuntimeError, wraps=True,
        samples=lambda: [((_X, np.array([2, 0, -1, 2]), np.ones((4, 4))), {"dim": 0})],
    )
)  # fmt: skip

# --------------------------------------------------------------------------------------------------- random


def _random_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    """(philox(seed, offset + flat position) >> 8) * 2^-24."""
    flat: Expr = index_const(0)
    for a, n in zip(_axes(len(result.shape)), result.shape, strict=True):
        flat = a if isinstance(flat, Const) else call("add", call("mul", flat, of_size(n)), a)
    bits = call("philox", Read("a0", (), i64), call("add", Read("a1", (), i64), flat))
    top = Call("cast", (call("floordiv", bits, index_const(256)),), result.dtype)
    expr = call("mul", top, Const(2.0**-24, result.dtype))
    return Kernel("op", _params(types), (Definition("y", _binders(result.shape), expr),), ("y",))


def _random_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(f32, tuple(attrs["shape"]))


define(
    Op(
        "random", "Uniform in [0, 1), f32, by Philox: the numbers depend on seed, offset and position only.",
        _random_infer, ZERO, _random_kernel, sizes=frozenset({"shape"}),
        samples=lambda: [((np.array(7), np.array(12)), {"shape": (3, 5)})],
    )
)  # fmt: skip

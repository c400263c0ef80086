"""Elements read, written and reduced at positions of several dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Attrs, Op, Shape, Type, define
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Scatter,
    index_const,
)
from tdsl.compiler.ops.elementwise import axis_names, broadcast
from tdsl.compiler.ops.indexing import spread, wrapped
from tdsl.compiler.source import IndexError, InternalError, RuntimeError

# ----------------------------------------------------------------------- positions of several dimensions
#
# `dims` are the dimensions of x that the index tensors i0, i1, ... address, one each; their common shape stands at
# dimension `front` of the result, among the dimensions of x that are left. Negative positions count from the end,
# unless the attr `wrap` is False.


def _index_shape(types: tuple[Type, ...]) -> Shape:
    return broadcast([t.shape for t in types])


def _pick_shape(x: Type, indices: tuple[Type, ...], attrs: Attrs) -> Shape:
    if any(t.dtype is not i64 for t in indices) or len(indices) != len(attrs["dims"]):
        raise InternalError(f"pick: positions {indices} of dimensions {attrs['dims']}")
    rest = [n for d, n in enumerate(x.shape) if d not in attrs["dims"]]
    front = attrs["front"]
    return (*rest[:front], *_index_shape(indices), *rest[front:])


def _pick_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(types[0].dtype, _pick_shape(types[0], types[1:], attrs))


def _picked(x: Type, indices: tuple[Type, ...], attrs: Attrs, axes: list[Expr]) -> tuple[Expr, ...]:
    """The position in x of the result's element at `axes`."""
    front, rank = attrs["front"], len(_index_shape(indices))
    rest = iter([*axes[:front], *axes[front + rank :]])
    places: dict[int, Expr] = {}
    for k, (d, t) in enumerate(zip(attrs["dims"], indices, strict=True)):
        own = axes[front + rank - len(t.shape) : front + rank]
        index = tuple(index_const(0) if n == 1 else a for a, n in zip(own, t.shape, strict=True))
        position = Read(f"a{k + 1}", index, i64)
        places[d] = wrapped(position, x.shape[d]) if attrs.get("wrap", True) else position
    return tuple(places[d] if d in places else next(rest) for d in range(len(x.shape)))


def _bound(shape: Shape) -> tuple[tuple[Binder, ...], list[Expr]]:
    names = axis_names(len(shape))
    return tuple(Binder(a, 0, n) for a, n in zip(names, shape, strict=True)), [Axis(a) for a in names]


def _params(types: tuple[Type, ...]) -> tuple[Param, ...]:
    return tuple(Param(f"a{k}", t.dtype, t.shape) for k, t in enumerate(types))


def _pick_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    binders, axes = _bound(result.shape)
    place = _picked(types[0], types[1:], attrs, axes)
    return Kernel(
        "op", _params(types), (Definition("y", binders, Read("a0", place, result.dtype, checked=True)),), ("y",)
    )


def _pick_vjp(b: Any, g: Any, y: Any, x: Any, *indices: Any) -> tuple[Any, ...]:
    zeros = b("full", b("constant", value=0.0, dtype=x.dtype), shape=x.shape)
    return b("pick_add", zeros, *indices, g, **y.attrs), *[None] * len(indices)


def _places(x: Any, indices: Any, dims: tuple[int, ...]) -> tuple[Any, Any]:
    """x with the addressed dimensions first, and the key that reads it there."""
    order = [*dims, *(d for d in range(x.ndim) if d not in dims)]
    return np.transpose(x, order), tuple(np.broadcast_arrays(*indices))


def _pick_reference(x: Any, *indices: Any, dims: tuple[int, ...], front: int, wrap: bool = True) -> Any:
    moved, key = _places(x, indices, dims)
    rank = key[0].ndim
    return np.moveaxis(moved[key], range(rank), range(front, front + rank))


def _place_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, *indices, src = types
    want = _pick_shape(x, tuple(indices), attrs)
    if src.shape != want or src.dtype is not x.dtype:
        raise InternalError(f"{src} does not fit {want} of {x}")
    return x


def scattering(types: tuple[Type, ...], index: tuple[Expr, ...], op: str, over: Shape) -> Kernel:
    """y := a0, then y[index] op= the last param, for every position of `over`."""
    x, src = types[0], types[-1]
    binders, axes = _bound(x.shape)
    copy = Definition("y", binders, Read("a0", tuple(axes), x.dtype))
    binders, axes = _bound(over)
    read = Read(f"a{len(types) - 1}", tuple(axes), src.dtype)
    return Kernel("op", _params(types), (copy, Scatter("y", binders, index, op, read)), ("y",))


def _place_kernel(op: str) -> Any:
    def kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
        shape = types[-1].shape
        index = _picked(types[0], types[1:-1], attrs, _bound(shape)[1])
        return scattering(types, index, op, shape)

    return kernel


def _pick_add_vjp(b: Any, g: Any, y: Any, x: Any, *rest: Any) -> tuple[Any, ...]:
    indices = rest[:-1]
    return g, *[None] * len(indices), b("pick", g, *indices, **y.attrs)


def _pick_put_vjp(b: Any, g: Any, y: Any, x: Any, *rest: Any) -> tuple[Any, ...]:
    indices, src = rest[:-1], rest[-1]
    zeros = b("full", b("constant", value=0.0, dtype=g.dtype), shape=src.shape)
    return b("pick_put", g, *indices, zeros, **y.attrs), *[None] * len(indices), b("pick", g, *indices, **y.attrs)


def _placed(x: Any, *rest: Any, dims: tuple[int, ...], front: int, add: bool, wrap: bool = True) -> Any:
    result = np.array(x)
    moved, key = _places(result, rest[:-1], dims)
    rank = key[0].ndim
    src = np.moveaxis(rest[-1], range(front, front + rank), range(rank))
    if add:
        np.add.at(moved, key, src)
    else:
        moved[key] = src
    return result


_X = np.arange(24.0).reshape(2, 3, 4)
_M, _ROWS = np.arange(1.0, 13.0).reshape(3, 4), {"dims": (0,), "front": 0}
_I, _J = np.array([[1], [0]]), np.array([2, -1, 0])
define(
    Op(
        "pick", "Elements of x at positions of the dimensions `dims`, one index tensor each; negative ones wrap.",
        _pick_infer, _pick_vjp, _pick_kernel, reference=_pick_reference, outside=IndexError, wraps=True,
        samples=lambda: [
            ((_X, _I, _J), {"dims": (0, 1), "front": 0}), ((_X, _J, _I), {"dims": (1, 2), "front": 1}),
            ((_X, _I, _J), {"dims": (0, 2), "front": 0}), ((_X, np.zeros(0, int), _I[0]), {"dims": (0, 2), "front": 0}),
        ],
    )
)  # fmt: skip
define(
    Op(
        "pick_add", "x with src added at the positions that `pick` reads.", _place_infer, _pick_add_vjp,
        _place_kernel("+="), reference=lambda *args, **attrs: _placed(*args, **attrs, add=True), outside=IndexError,
        wraps=True,
        samples=lambda: [((_X, _I, _J % 2, np.ones((2, 3, 4))), {"dims": (0, 1), "front": 0})],
    )
)  # fmt: skip
define(
    Op(
        "pick_put", "x with src written at the positions that `pick` reads, in order: the last write wins.",
        _place_infer, _pick_put_vjp, _place_kernel("="),
        reference=lambda *args, **attrs: _placed(*args, **attrs, add=False), outside=IndexError, wraps=True,
        samples=lambda: [((_X, np.array([2, 0, 1]), _I, -_X[:, :2, :3]), {"dims": (1, 2), "front": 1}),
                         ((_M.astype(np.float32), np.array([2, -1, 0]), -_M.astype(np.float32)), _ROWS)],
    )
)  # fmt: skip

# ------------------------------------------------------------------------------- scatter's other reductions


def _scatter_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index, src = types
    if index.dtype is not i64 or src.dtype is not x.dtype or not len(x.shape) == len(index.shape) == len(src.shape):
        raise InternalError(f"scatter: {src} at {index} of {x}")
    return x


def _scatter_kernel(op: str) -> Any:
    def kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
        shape = types[1].shape
        axes = _bound(shape)[1]
        place = list(axes)
        place[attrs["dim"]] = Read("a1", tuple(axes), i64)
        return scattering(types, tuple(place), op, shape)

    return kernel


def _scatter_reference(ufunc: Any) -> Any:
    def reference(x: Any, index: Any, src: Any, dim: int) -> Any:
        result = np.array(x)
        places = list(np.indices(index.shape))
        places[dim] = index
        part = src[tuple(slice(0, n) for n in index.shape)]
        if ufunc is None:
            result[tuple(places)] = part
        else:
            ufunc.at(result, tuple(places), part)
        return result

    return reference


def _part(b: Any, x: Any, shape: Shape) -> Any:
    """The leading part of x of this shape."""
    for d, (n, m) in enumerate(zip(x.shape, shape, strict=True)):
        if n != m:
            x = b("slice", x, dim=d, start=0, stop=m, step=1)
    return x


def _put_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    zeros = b("full", b("constant", value=0.0, dtype=g.dtype), shape=index.shape)
    read = b("gather", g, index, **y.attrs)
    return b("scatter_put", g, index, zeros, **y.attrs), None, spread(b, read, src.shape)


def _extreme_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    """Equals share the gradient evenly."""
    part = _part(b, src, index.shape)
    own = b("cast", b("eq", x, y), dtype=g.dtype)
    theirs = b("cast", b("eq", part, b("gather", y, index, **y.attrs)), dtype=g.dtype)
    each = b("div", g, b("maximum", b("scatter_add", own, index, theirs, **y.attrs), 1.0))
    read = b("mul", theirs, b("gather", each, index, **y.attrs))
    return b("mul", own, each), None, spread(b, read, src.shape)


def _product_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    """The product of all the other factors of a place, exact where one of them or more are 0."""
    attrs = y.attrs

    def flag(e: Any) -> Any:
        return b("cast", e, dtype=g.dtype)

    part = _part(b, src, index.shape)
    one = b("full", b("constant", value=1.0, dtype=g.dtype), shape=x.shape)
    without_x = b("scatter_mul", one, index, part, **attrs)
    zero = b("eq", part, 0.0)
    none = b("full", b("constant", value=0.0, dtype=g.dtype), shape=x.shape)
    zeros = b("gather", b("scatter_add", none, index, flag(zero), **attrs), index, **attrs)
    only = b("and", zero, b("eq", zeros, 1.0))
    others = b("scatter_mul", x, index, b("where", only, 1.0, part), **attrs)
    divided = b("div", b("gather", b("mul", g, y), index, **attrs), b("where", zero, 1.0, part))
    read = b("where", only, b("gather", b("mul", g, others), index, **attrs), divided)
    return b("mul", g, without_x), None, spread(b, read, src.shape)


_K = np.array([[0, 2], [1, 1], [2, 0]])
for _name, _op, _ufunc, _vjp, _doc in (
    ("scatter_put", "=", None, _put_vjp, "written: the last write to a place wins"),
    ("scatter_mul", "*=", np.multiply, _product_vjp, "multiplied in"),
    ("scatter_max", "max=", np.maximum, _extreme_vjp, "taken where it is larger"),
    ("scatter_min", "min=", np.minimum, _extreme_vjp, "taken where it is smaller"),
):
    define(
        Op(
            _name, f"x with src at `index` along `dim` {_doc}.", _scatter_infer, _vjp, _scatter_kernel(_op),
            reference=_scatter_reference(_ufunc), outside=RuntimeError,
            samples=lambda: [((_M, _K[:, :1] % 2, _M[:, 2:3] * 0.3), {"dim": 1}),
                             ((_M, np.array([[0, 2], [1, 3]]), _M[::-1] * 1.7), {"dim": 1})],
        )
    )  # fmt: skip

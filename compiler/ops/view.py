"""Views: other arrangements of the same elements, parts of them, and a part replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler.affine import simplify
from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Attrs, Op, Shape, Size, Sym, Type, define
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    call,
    index_const,
    of_size,
)
from tdsl.compiler.ops.elementwise import axis_names
from tdsl.compiler.source import InternalError, ShapeError


def one_read(
    types: tuple[Type, ...], result: Type, place: Callable[[list[Axis]], Sequence[Expr]], fill: Expr | None = None
) -> Kernel:
    """y[i, j, ...] := a0[place(i, j, ...)]."""
    (x,) = types[:1]
    names = axis_names(len(result.shape))
    binders = tuple(Binder(a, 0, n) for a, n in zip(names, result.shape, strict=True))
    expr = Read("a0", tuple(place([Axis(a) for a in names])), x.dtype, fill)
    params = tuple(Param(f"a{k}", t.dtype, t.shape) for k, t in enumerate(types))
    return Kernel("op", params, (Definition("y", binders, expr),), ("y",))


# ------------------------------------------------------------------------------------------------ reshape


def count(shape: Shape) -> int | None:
    """Elements, None with run-time sizes."""
    return None if any(isinstance(n, Sym) for n in shape) else prod(shape)  # type: ignore[arg-type]


def _reshape_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    have, want = count(x.shape), count(attrs["shape"])
    if have is not None and want is not None and have != want:
        raise ShapeError(f"shape '{list(attrs['shape'])}' is invalid for input of size {have}")
    return Type(x.dtype, tuple(attrs["shape"]))


def _times(e: Expr, n: Size) -> Expr:
    return e if n == 1 else call("mul", e, of_size(n))


def _flat(index: Sequence[Expr], shape: Shape) -> Expr:
    result: Expr = index_const(0)
    for e, n in zip(index, shape, strict=True):
        result = call("add", _times(result, n), e)
    return result


def _runs(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Dimensions of the two shapes in the smallest groups of equal element count, in order."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a: list[int] = []
        b: list[int] = []
        m = n = 1
        syms_a: list[Sym] = []
        syms_b: list[Sym] = []

        while not (a or b) or m != n or sorted(map(str, syms_a)) != sorted(map(str, syms_b)):
            take_old = i < len(old) and (j >= len(new) or (m, len(syms_a)) <= (n, len(syms_b)))
            if not take_old and j >= len(new):
                break
            size = old[i] if take_old else new[j]
            if isinstance(size, Sym):
                (syms_a if take_old else syms_b).append(size)
            elif take_old:
                m *= size
            else:
                n *= size
            (a if take_old else b).append(i if take_old else j)
            i, j = (i + 1, j) if take_old else (i, j + 1)
            if i == len(old) and j == len(new):
                break
        groups.append((a, b))
    return groups


def _reshape_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    (x,) = types
    ranges: dict[str, tuple[Size, Size]] = {
        a: (0, n) for a, n in zip(axis_names(len(result.shape)), result.shape, strict=True)
    }

    def place(axes: list[Axis]) -> list[Expr]:
        index: list[Expr] = [index_const(0)] * len(x.shape)
        for old, new in _runs(x.shape, result.shape):
            flat = _flat([axes[k] for k in new], tuple(result.shape[k] for k in new))
            inner: Expr = flat
            for k in reversed(old):
                n = x.shape[k]
                first = all(x.shape[q] == 1 for q in old[: old.index(k)])
                if n == 0:  # no element is read, and nothing is divided by the size
                    index[k] = inner
                    continue
                index[k] = index_const(0) if n == 1 else inner if first else call("mod", inner, of_size(n))
                inner = inner if n == 1 else call("floordiv", inner, of_size(n))
        return [simplify(e, ranges) for e in index]

    return one_read(types, result, place)


# -------------------------------------------------------------------------------- permute, expand, slices


def _permute_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    dims = attrs["dims"]
    if sorted(dims) != list(range(len(x.shape))):
        raise ShapeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {len(x.shape)} is not equal to len(dims) = {len(dims)}"
        )
    return Type(x.dtype, tuple(x.shape[d] for d in dims))


def _permute_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    at = {d: k for k, d in enumerate(attrs["dims"])}
    return one_read(types, result, lambda axes: [axes[at[d]] for d in range(len(axes))])


def _permute_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    dims = y.attrs["dims"]
    return (b("permute", g, dims=tuple(dims.index(k) for k in range(len(dims)))),)


def _expand_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    shape = tuple(attrs["shape"])
    if len(shape) < len(x.shape):
        raise ShapeError(
            f"expand({x}, size={list(shape)}): the number of sizes provided ({len(shape)}) must be greater or equal "
            f"to the number of dimensions in the tensor ({len(x.shape)})"
        )
    offset = len(shape) - len(x.shape)
    for k, n in enumerate(x.shape):
        if n not in (1, shape[offset + k]):
            raise ShapeError(
                f"The expanded size of the tensor ({shape[offset + k]}) must match the existing size ({n}) at "
                f"non-singleton dimension {offset + k}.  Target sizes: {list(shape)}.  Tensor sizes: {list(x.shape)}"
            )
    return Type(x.dtype, shape)


def _expand_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    (x,) = types
    offset = len(result.shape) - len(x.shape)
    return one_read(
        types,
        result,
        lambda axes: [
            index_const(0) if n == 1 and result.shape[offset + k] != 1 else axes[offset + k]
            for k, n in enumerate(x.shape)
        ],
    )


def sum_to(b: Any, g: Any, shape: Shape) -> Any:
    """g summed down to `shape`, from which it was broadcast."""
    if g.shape == shape:
        return g
    offset = len(g.shape) - len(shape)
    dims = tuple(range(offset)) + tuple(offset + k for k, n in enumerate(shape) if n == 1 and g.shape[offset + k] != 1)
    if dims:
        g = b("sum", g, dims=dims, keepdim=False)
    return g if g.shape == shape else b("reshape", g, shape=shape)


def _slice_length(start: Size, stop: Size, step: Size) -> int:
    if isinstance(start, Sym) or isinstance(stop, Sym) or isinstance(step, Sym):
        raise InternalError("slice: a run-time bound needs a result size of its own")
    return max(0, -(-(stop - start) // step))


def _slice_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    d = attrs["dim"]
    n = _slice_length(attrs["start"], attrs["stop"], attrs["step"])
    return Type(x.dtype, (*x.shape[:d], n, *x.shape[d + 1 :]))


def _slice_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    def place(axes: list[Axis]) -> list[Expr]:
        index: list[Expr] = list(axes)
        d = attrs["dim"]
        scaled = _times(axes[d], attrs["step"])
        start = attrs["start"]
        index[d] = scaled if start == 0 else call("add", scaled, of_size(start))
        return index

    return one_read(types, result, place)


def _slice_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    zero = b("full", b("constant", value=0.0, dtype=g.dtype), shape=x.shape)
    return (b("slice_update", zero, g, **y.attrs),)


def _slice_reference(x: Any, dim: int, start: int, stop: int, step: int) -> Any:
    return x[(slice(None),) * dim + (slice(start, stop, step),)]


def _update_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, v = types
    want = _slice_infer((x,), attrs)
    if v.shape != want.shape or v.dtype is not x.dtype:
        raise InternalError(f"slice_update: {v} does not fit {want}")
    return x


def _update_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    """y[i] := v[(i - start) // step else x[i]], guarded for steps."""
    x, v = types
    names = axis_names(len(x.shape))
    axes: list[Expr] = [Axis(a) for a in names]
    d, start, step = attrs["dim"], attrs["start"], attrs["step"]
    moved = axes[d] if start == 0 else call("sub", axes[d], of_size(start))
    index = list(axes)
    index[d] = moved if step == 1 else call("floordiv", moved, of_size(step))
    old = Read("a0", tuple(axes), x.dtype)
    expr: Expr = Read("a1", tuple(index), x.dtype, fill=old)
    if step != 1:
        on_step = call("eq", call("mod", moved, of_size(step)), index_const(0))
        expr = call("where", on_step, expr, old)
    binders = tuple(Binder(a, 0, n) for a, n in zip(names, x.shape, strict=True))
    params = (Param("a0", x.dtype, x.shape), Param("a1", v.dtype, v.shape))
    return Kernel("op", params, (Definition("y", binders, expr),), ("y",))


def _update_vjp(b: Any, g: Any, y: Any, x: Any, v: Any) -> tuple[Any, Any]:
    zero = b("full", b("constant", value=0.0, dtype=g.dtype), shape=v.shape)
    return b("slice_update", g, zero, **y.attrs), b("slice", g, **y.attrs)


def _update_reference(x: Any, v: Any, dim: int, start: int, stop: int, step: int) -> Any:
    x = np.array(x)
    x[(slice(None),) * dim + (slice(start, stop, step),)] = v
    return x


# -------------------------------------------------------------------------------------- flat memory


def _strided_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    def place(axes: list[Axis]) -> list[Expr]:
        flat: Expr = of_size(attrs["offset"])
        for a, s in zip(axes, attrs["strides"], strict=True):
            flat = call("add", flat, Const(0, i64) if s == 0 else _times(a, s))
        return [simplify(flat, {})]

    return one_read(types, result, place)


def _strided_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    place = b("constant", value=y.attrs["offset"], dtype=i64)
    for d, s in enumerate(y.attrs["strides"]):
        steps = b("mul", b("iota", length=y.shape[d]), s)
        place = b("add", place, b("reshape", steps, shape=(1,) * d + (y.shape[d],) + (1,) * (len(y.shape) - d - 1)))
    zero = b("full", b("constant", value=0.0, dtype=g.dtype), shape=x.shape)
    flat = (prod(g.shape),)
    place = b("reshape", b("expand", place, shape=y.shape), shape=flat)
    return (b("scatter_add", zero, place, b("reshape", g, shape=flat), dim=0),)


# ------------------------------------------------------------------------------------------------- windows


def _unfold_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    d, size, step = attrs["dim"], attrs["size"], attrs["step"]
    n = x.shape[d]
    if not isinstance(n, int):
        raise InternalError("unfold: a run-time size needs a result size of its own")
    if size > n:
        raise ShapeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    return Type(x.dtype, (*x.shape[:d], (n - size) // step + 1, *x.shape[d + 1 :], size))


def _unfold_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    def place(axes: list[Axis]) -> list[Expr]:
        index: list[Expr] = list(axes[:-1])
        d, step = attrs["dim"], attrs["step"]
        first = index[d] if step == 1 else call("mul", index[d], of_size(step))
        index[d] = call("add", first, axes[-1])
        return index

    return one_read(types, result, place)


def _unfold_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """Each element takes the sum over the windows that hold it."""
    d, step = y.attrs["dim"], y.attrs["step"]
    rank = len(g.shape)
    count, size = g.shape[d], g.shape[-1]

    def steps(n: Any, at: int) -> Any:
        return b("reshape", b("iota", length=n), shape=tuple(n if k == at else 1 for k in range(2)))

    places = b("add", b("mul", steps(count, 0), step), steps(size, 1))
    zeros = b("full", b("constant", value=0.0, dtype=x.dtype), shape=x.shape)
    order = (*range(d + 1), rank - 1, *range(d + 1, rank - 1))
    return (b("take_add", zeros, places, b("permute", g, dims=order), dim=d),)


def _unfold_reference(x: Any, dim: int, size: int, step: int) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, size, dim) if size else x[..., None][..., :0]
    return np.take(windows, range(0, x.shape[dim] - size + 1, step), axis=dim)


def _expand_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (sum_to(b, g, x.shape),)


def _range(*shape: int) -> Any:
    return np.arange(float(np.prod(shape))).reshape(shape)


SIZES = frozenset({"shape"})
SLICE = frozenset({"start", "stop", "step"})
reshape = define(
    Op(
        "reshape", "The same elements in row-major order under another shape.", _reshape_infer,
        lambda b, g, y, x: (b("reshape", g, shape=x.shape),), _reshape_kernel,
        reference=lambda x, shape: np.reshape(x, shape), sizes=SIZES, view=True,
        samples=lambda: [
            ((_range(4, 6),), {"shape": s}) for s in [(24,), (2, 2, 6), (4, 2, 3), (3, 8), (1, 24, 1), (6, 4)]
        ] + [((_range(0, 3),), {"shape": (3, 0)}), ((_range(1),), {"shape": ()})],
        refuses=lambda: [((_range(4, 6),), {"shape": (5, 5)}, "is invalid for input of size 24")],
    )
)  # fmt: skip
permute = define(
    Op(
        "permute", "Axes in the order `dims`.", _permute_infer, _permute_vjp, _permute_kernel,
        reference=lambda x, dims: np.transpose(x, dims), view=True,
        samples=lambda: [((_range(2, 3, 4),), {"dims": (2, 0, 1)}), ((_range(2, 3),), {"dims": (1, 0)})],
    )
)  # fmt: skip
expand = define(
    Op(
        "expand", "Dimensions of size 1 stretched, new ones in front.", _expand_infer, _expand_vjp, _expand_kernel,
        reference=lambda x, shape: np.broadcast_to(x, shape), sizes=SIZES, view=True,
        samples=lambda: [((_range(3, 1),), {"shape": (2, 3, 4)}), ((np.array(2.0),), {"shape": (3,)})],
        refuses=lambda: [((_range(3, 2),), {"shape": (3, 4)}, "must match the existing size (2)")],
    )
)  # fmt: skip
full = define(
    Op(
        "full", "A 0-d value at every element of `shape`.", _expand_infer, _expand_vjp, _expand_kernel,
        reference=lambda x, shape: np.broadcast_to(x, shape), sizes=SIZES, view=True,
        samples=lambda: [((np.array(2.0),), {"shape": (2, 3)}), ((np.array(2.0),), {"shape": (0,)})],
    )
)  # fmt: skip
slice_ = define(
    Op(
        "slice", "Elements start, start + step, ... below stop of dimension `dim`.", _slice_infer, _slice_vjp,
        _slice_kernel, reference=_slice_reference, sizes=SLICE, view=True,
        samples=lambda: [
            ((_range(5, 7),), {"dim": 1, "start": 1, "stop": 6, "step": s}) for s in (1, 2, 3)
        ] + [((_range(5, 7),), {"dim": 0, "start": 2, "stop": 2, "step": 1})],
    )
)  # fmt: skip
slice_update = define(
    Op(
        "slice_update", "x with a slice replaced by v.", _update_infer, _update_vjp, _update_kernel,
        reference=_update_reference, sizes=SLICE,
        samples=lambda: [
            ((_range(5, 7), -_range(5, n)), {"dim": 1, "start": 1, "stop": 6, "step": s})
            for s, n in ((1, 5), (2, 3), (3, 2))
        ],
    )
)  # fmt: skip
as_strided = define(
    Op(
        "as_strided", "Elements offset + i strides[0] + j strides[1] + ... of a flat buffer.",
        lambda types, attrs: Type(types[0].dtype, tuple(attrs["shape"])), _strided_vjp, _strided_kernel,
        reference=lambda x, shape, strides, offset: np.array(
            np.lib.stride_tricks.as_strided(x[offset:], shape, [s * x.itemsize for s in strides])
        ),
        sizes=frozenset({"shape", "strides", "offset"}), view=True,
        samples=lambda: [((_range(12),), {"shape": (3, 2), "strides": (1, 4), "offset": 2})],
    )
)  # fmt: skip
define(
    Op(
        "unfold", "Windows of `size`, each `step` after the last, along `dim`; the place in the window is the last "
        "dimension.", _unfold_infer, _unfold_vjp, _unfold_kernel, reference=_unfold_reference, view=True,
        samples=lambda: [
            ((_range(2, 3, 4),), {"dim": d, "size": n, "step": s}) for d, n, s in ((1, 2, 1), (2, 2, 2), (0, 1, 3))
        ],
    )
)  # fmt: skip

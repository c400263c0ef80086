"""Ops that take axes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType, bool_, f32, f64, i64
from tdsl.compiler.evaluate import REDUCE
from tdsl.compiler.graph import ZERO, Attrs, Op, Shape, Type, Vjp, define
from tdsl.compiler.kernel import Axis, Binder, Const, Definition, Kernel, Param, Read, Reduce, cast
from tdsl.compiler.ops.elementwise import axis_names
from tdsl.compiler.source import DTypeError, IndexError, ShapeError


def reduced_shape(shape: Shape, dims: tuple[int, ...], keepdim: bool) -> Shape:
    if keepdim:
        return tuple(1 if k in dims else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in dims)


_UNEMPTY = ("amax", "amin", "max", "min", "argmax", "argmin")


def _result_dtype(name: str, dtype: DType) -> DType:
    if name in ("any", "all"):
        return bool_
    if name in ("sum", "prod") and not dtype.is_float:
        return i64
    if name in ("argmax", "argmin"):
        return i64
    return dtype


def _infer(name: str) -> Callable[[tuple[Type, ...], Attrs], Type]:
    def infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
        (x,) = types
        if name in ("mean", "logsumexp") and not x.dtype.is_float:
            long = {"i64": "Long", "i32": "Int", "u8": "Byte", "bool": "Bool"}.get(x.dtype.name, x.dtype.name)
            raise DTypeError(
                f"{name}(): could not infer output dtype. Input dtype must be either a floating point or complex "
                f"dtype. Got: {long}",
                hint="convert first: x.float()",
            )
        dims = (attrs["dim"],) if "dim" in attrs else attrs["dims"]
        if name in _UNEMPTY and any(x.shape[d] == 0 for d in dims):
            if name in ("argmax", "argmin"):
                raise IndexError(f"{name}(): Expected reduction dim {dims[0]} to have non-zero size.")
            raise ShapeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
                if len(dims) == len(x.shape)
                else f"{name}(): Expected reduction dim {dims[0]} to have non-zero size."
            )
        return Type(_result_dtype(name, x.dtype), reduced_shape(x.shape, dims, attrs["keepdim"]))

    return infer


def _kernel(name: str, reducer: str) -> Callable[[tuple[Type, ...], Type, Attrs], Kernel]:
    def kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
        (x,) = types
        dims = (attrs["dim"],) if "dim" in attrs else attrs["dims"]
        keep = [k for k in range(len(x.shape)) if k not in dims]
        names = axis_names(len(result.shape) + len(dims))
        outputs, inner = names[: len(result.shape)], names[len(result.shape) :]
        at: dict[int, str] = dict(zip(dims, inner, strict=True))
        at |= {k: outputs[k] for k in keep} if attrs["keepdim"] else dict(zip(keep, outputs, strict=True))
        read = Read("a0", tuple(Axis(at[k]) for k in range(len(x.shape))), x.dtype)
        body = read if name in ("any", "all") else cast(read, result.dtype) if name in ("sum", "prod") else read
        binders = tuple(Binder(at[d], 0, x.shape[d]) for d in dims)
        if name in ("any", "all") and x.dtype is not bool_:
            body = cast(read, bool_)
        expr = Reduce(reducer, binders, body, result.dtype) if dims else cast(body, result.dtype)
        if not dims and name in ("argmax", "argmin"):
            expr = Const(0, i64)
        left = tuple(Binder(a, 0, n) for a, n in zip(outputs, result.shape, strict=True))
        return Kernel("op", (Param("a0", x.dtype, x.shape),), (Definition("y", left, expr),), ("y",))

    return kernel


def _reference(name: str, reducer: str) -> Callable[..., Any]:
    def reference(x: Any, keepdim: bool, dims: tuple[int, ...] = (), dim: int | None = None) -> Any:
        axes = dims if dim is None else (dim,)
        x = np.asarray(x)
        dtype = x.dtype
        if name in ("sum", "prod") and dtype.kind != "f":
            dtype = np.dtype(np.int64)
            x = x.astype(np.int64)
        if name in ("any", "all"):
            x = x != 0
        if not axes:
            return np.zeros(x.shape, np.int64) if name in ("argmax", "argmin") else x
        with np.errstate(all="ignore"):
            result = REDUCE[reducer](x, np.ones(x.shape, bool), axes)
        result = result if keepdim else np.squeeze(result, axes)
        return result if name in ("argmax", "argmin", "any", "all") else result.astype(dtype)

    return reference


# ------------------------------------------------------------------------------------------- derivatives


def spread(b: Any, g: Any, y: Any, x: Any) -> Any:
    """A reduction's gradient, or its result, back over the shape of its argument."""
    if not y.attrs["keepdim"]:
        kept = reduced_shape(x.shape, y.attrs["dims"], True)
        g = b("reshape", g, shape=kept)
    return b("expand", g, shape=x.shape)


def _count(shape: Shape, dims: tuple[int, ...]) -> int | None:
    total = 1
    for d in dims:
        n = shape[d]
        if not isinstance(n, int):
            return None
        total *= n
    return total


def _sum(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (spread(b, g, y, x),)


def _mean(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """g over the number of elements, which is a run-time number so that another size compiles nothing new."""
    n = _count(x.shape, y.attrs["dims"])
    return (spread(b, b("div", g, b.number(float(n or 1), x.dtype)), y, x),)


def _extreme(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """Shared evenly among equals; a NaN equals nothing, so that 0 / 0 makes its gradients NaN."""
    hit = b("cast", b("eq", x, spread(b, y, y, x)), dtype=x.dtype)
    count = b("sum", hit, dims=y.attrs["dims"], keepdim=y.attrs["keepdim"])
    return (b("mul", spread(b, b("div", g, count), y, x), hit),)


def _even(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """Shared evenly among equals; a NaN equals a NaN."""
    best = spread(b, y, y, x)
    hit = b("where", b("isnan", best), b("isnan", x), b("eq", x, best))
    count = b("sum", b("cast", hit, dtype=x.dtype), dims=y.attrs["dims"], keepdim=y.attrs["keepdim"])
    return (b("where", hit, spread(b, b("div", g, count), y, x), 0.0),)


def _logsumexp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    weight = b("exp", b("sub", x, spread(b, y, y, x)))
    return (b("mul", spread(b, g, y, x), weight),)


def _prod(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """g times the product of the others, without dividing by zeros: they are counted.

    The sum of the zeros is 0, but its gradient is not: with it, the second gradient is exact too.
    """
    dims, keep = y.attrs["dims"], y.attrs["keepdim"]
    zero = b("eq", x, 0.0)
    safe = b("where", zero, 1.0, x)
    count = spread(b, b("sum", b("cast", zero, dtype=x.dtype), dims=dims, keepdim=keep), y, x)
    rest = spread(b, b("prod", safe, dims=dims, keepdim=keep), y, x)
    zeros = spread(b, b("sum", b("where", zero, x, 0.0), dims=dims, keepdim=keep), y, x)
    one, none = b("eq", count, 1.0), b("eq", count, 0.0)
    beside = b("where", b("eq", count, 2.0), b("mul", b("sub", zeros, x), rest), 0.0)
    at_zero = b("where", one, rest, beside)
    other = b("div", rest, safe)
    elsewhere = b("where", none, other, b("where", one, b("mul", zeros, other), 0.0))
    return (b("mul", spread(b, g, y, x), b("where", zero, at_zero, elsewhere)),)


_TABLE: tuple[tuple[str, str, Vjp, str], ...] = (
    ("sum", "sum", _sum, "Sum over `dims`; ints give i64."),
    ("prod", "prod", _prod, "Product over `dims`; ints give i64."),
    ("mean", "mean", _mean, "Mean over `dims`; NaN of nothing."),
    ("amax", "max", _extreme, "Largest over `dims`; NaN if there is one; ties share the gradient."),
    ("amin", "min", _extreme, "Smallest over `dims`; NaN if there is one; ties share the gradient."),
    ("max", "max", _even, "amax whose gradient goes to the NaN when it is one."),
    ("min", "min", _even, "amin whose gradient goes to the NaN when it is one."),
    ("any", "any", ZERO, "Whether any element over `dims` is not 0."),
    ("all", "all", ZERO, "Whether no element over `dims` is 0."),
    ("logsumexp", "logsumexp", _logsumexp, "log of the sum of exp over `dims`, without overflow."),
)


def _samples(name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    rng = np.random.default_rng(1)
    result: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    for dtype in (f32, f64) if name in ("mean", "logsumexp") else (f32, f64, i64, bool_):
        for shape, dims in [((3, 5), (1,)), ((3, 5), (0,)), ((4, 3, 5), (0, 2)), ((17,), (0,)), ((), ())]:
            x = np.asarray(rng.integers(-3, 4, shape) if not dtype.is_float else rng.uniform(-2, 2, shape))
            for keepdim in (False, True):
                result.append(((x.astype(dtype.numpy),), {"dims": dims, "keepdim": keepdim}))
    result.append(
        ((np.array([[1.0, np.nan, 3.0], [np.inf, 2.0, -np.inf]], np.float32),), {"dims": (1,), "keepdim": False})
    )
    result.append(((np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 1.0], [2.0, 2.0, 1.0]]),), {"dims": (1,), "keepdim": False}))
    if name not in _UNEMPTY:
        result.append(((np.zeros((0, 3), np.float32),), {"dims": (0,), "keepdim": False}))
    return result


for _name, _reducer, _vjp, _doc in _TABLE:
    define(
        Op(
            _name,
            _doc,
            _infer(_name),
            _vjp,
            _kernel(_name, _reducer),
            reference=_reference(_name, _reducer),
            samples=lambda name=_name: _samples(name),  # type: ignore[misc]
        )
    )


def _arg_samples() -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    return [
        ((np.array([[1.0, 3.0, 3.0], [np.nan, 5.0, np.nan]], np.float32),), {"dim": 1, "keepdim": False}),
        ((np.array([[1, 3, 3], [7, 5, 0]]),), {"dim": 0, "keepdim": True}),
    ]


def _arg_reference(name: str) -> Callable[..., Any]:
    def reference(x: Any, dim: int, keepdim: bool) -> Any:
        return (np.argmax if name == "argmax" else np.argmin)(x, axis=dim, keepdims=keepdim)

    return reference


for _name in ("argmax", "argmin"):
    define(
        Op(
            _name,
            f"The first position of the {'largest' if _name == 'argmax' else 'smallest'} along `dim`; NaN wins.",
            _infer(_name),
            ZERO,
            _kernel(_name, _name),
            reference=_arg_reference(_name),
            samples=_arg_samples,
        )
    )

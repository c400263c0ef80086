"""Ops that carry along a dimension: running sums, products and extremes. NumPy computes them; their gradients are
scans again, so they may be differentiated any number of times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import ZERO, Attrs, Op, Type, define
from tdsl.compiler.source import InternalError

Array = np.ndarray[Any, Any]


def _same(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return types[0]


def _positions(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(i64, types[0].shape)


def _two_alike(types: tuple[Type, ...], attrs: Attrs) -> Type:
    a, b = types
    if a is not b:
        raise InternalError(f"recurrence: {a} and {b}")
    return b


def _wide(x: Array) -> Any:
    """Narrow floats are carried in double precision."""
    return np.float64 if x.dtype.kind == "f" and x.dtype.itemsize < 8 else x.dtype


def _along(x: Array, dim: int, reverse: bool) -> Array:
    return np.flip(x, dim) if reverse else x


def _accumulated(ufunc: Any, x: Array, dim: int) -> Array:
    """In place on a wide copy: NumPy casts the elements of `dtype=` one small buffer after another."""
    wide = x.astype(_wide(x))
    with np.errstate(all="ignore"):
        ufunc.accumulate(wide, dim, out=wide)
    return wide


def cumsum(x: Array, dim: int, reverse: bool) -> Array:
    return _along(_accumulated(np.add, _along(x, dim, reverse), dim), dim, reverse)


def cumprod(x: Array, dim: int) -> Array:
    return _accumulated(np.multiply, x, dim)


def logcumsumexp(x: Array, dim: int) -> Array:
    return _accumulated(np.logaddexp, x, dim)


def recurrence(a: Array, b: Array, dim: int, reverse: bool) -> Array:
    """y[k] = b[k] + a[k] * y[k - 1]."""
    scale = np.moveaxis(_along(a, dim, reverse), dim, 0).astype(_wide(a), order="C")
    total = np.moveaxis(_along(b, dim, reverse), dim, 0).astype(_wide(b), order="C")
    with np.errstate(all="ignore"):
        (_by_slices if total.size >= 256 * len(total) else _by_spans)(scale, total)
    return _along(np.moveaxis(total, 0, dim), dim, reverse)


def _by_slices(scale: Array, total: Array) -> None:
    """Slice after slice, where each is large enough to keep NumPy busy."""
    for k in range(1, len(total)):
        total[k] += scale[k] * total[k - 1]


def _by_spans(scale: Array, total: Array) -> None:
    """In log2(n) steps that each join spans of twice the length."""
    step = 1
    while step < len(total):
        # what reaches k from before its span: the sum up to k - step, times the product of the span
        total[step:] = total[step:] + scale[step:] * total[:-step]
        scale[step:] = scale[step:] * scale[:-step]
        step *= 2


def _last_best(x: Array, dim: int, largest: bool) -> Array:
    """The position of the best so far: the last of equals; a NaN is best, and a later NaN better."""
    best = (np.maximum if largest else np.minimum).accumulate(x, dim)
    hit = x == best
    if x.dtype.kind == "f":
        hit |= np.isnan(x)
    shape = [-1 if k == dim else 1 for k in range(x.ndim)]
    places = hit * np.arange(x.shape[dim], dtype=np.int32 if x.shape[dim] < 1 << 31 else np.int64).reshape(shape)
    np.maximum.accumulate(places, dim, out=places)
    return places


def _cumsum_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (b("cumsum", g, dim=y.attrs["dim"], reverse=not y.attrs["reverse"]),)


def _shifted(b: Any, x: Any, dim: int, earlier: bool) -> Any:
    """x moved by one place along dim, with a 0 where nothing comes in: result[k] = x[k - 1], or x[k + 1]."""
    n = x.shape[dim]
    start, stop = (0, n - 1) if earlier else (1, n)
    part = b("slice", x, dim=dim, start=start, stop=stop, step=1)
    one = tuple(int(k == dim) for k in range(len(x.shape)))
    none = (0,) * len(x.shape)
    return b("pad", part, low=one if earlier else none, high=none if earlier else one, value=0.0)


def _recurrence_vjp(b: Any, g: Any, y: Any, a: Any, c: Any) -> tuple[Any, Any]:
    """The gradient runs the other way: r[k] = g[k] + a[k + 1] * r[k + 1]."""
    dim, reverse = y.attrs["dim"], y.attrs["reverse"]
    if a.shape[dim] == 0:
        return g, g
    back = b("recurrence", _shifted(b, a, dim, reverse), g, dim=dim, reverse=not reverse)
    return b("mul", back, _shifted(b, y, dim, not reverse)), back


def _cumprod_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """The product before k, times r[k] = g[k] + x[k + 1] * r[k + 1]: no division, so zeros do no harm."""
    dim = y.attrs["dim"]
    if x.shape[dim] == 0:
        return (g,)
    after = b("recurrence", _shifted(b, x, dim, False), g, dim=dim, reverse=True)
    one = tuple(int(k == dim) for k in range(len(x.shape)))
    head = b("slice", y, dim=dim, start=0, stop=x.shape[dim] - 1, step=1)
    before = b("pad", head, low=one, high=(0,) * len(x.shape), value=1.0)
    return (b("mul", before, after),)


def _logcumsumexp_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """exp(x[k] - y[k]) * r[k], r[k] = g[k] + exp(y[k] - y[k + 1]) * r[k + 1]: y grows, so no exp is above 1."""
    dim = y.attrs["dim"]
    if x.shape[dim] == 0:
        return (g,)
    nothing = b("eq", y, float("-inf"))
    finite = b("where", nothing, 0.0, y)
    # exp(y[k - 1] - y[k]), 0 where nothing was summed before k
    carried = b(
        "where", _shifted_bool(b, nothing, dim), 0.0, b("exp", b("sub", _shifted(b, finite, dim, True), finite))
    )
    after = b("recurrence", _shifted(b, carried, dim, False), g, dim=dim, reverse=True)
    return (b("mul", b("exp", b("sub", x, finite)), after),)


def _shifted_bool(b: Any, x: Any, dim: int) -> Any:
    n = x.shape[dim]
    head = b("slice", x, dim=dim, start=0, stop=n - 1, step=1)
    one = tuple(int(k == dim) for k in range(len(x.shape)))
    return b("pad", head, low=one, high=(0,) * len(x.shape), value=True)


def _plain_recurrence(a: Array, b: Array, dim: int, reverse: bool) -> Array:
    a, b = (np.moveaxis(_along(x, dim, reverse), dim, 0) for x in (a, b))
    y = np.array(b)
    for k in range(1, len(y)):
        y[k] += a[k] * y[k - 1]
    return _along(np.moveaxis(y, 0, dim), dim, reverse)


_X = np.array([[0.5, -1.0, 2.0, 0.25], [1.5, 0.75, -0.5, 3.0]])


def _samples(*names: str) -> Callable[[], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    def samples() -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        flags: list[dict[str, Any]] = [{"reverse": r} for r in (False, True)] if "reverse" in names else [{}]
        args = (lambda x: (np.cos(x), x)) if "two" in names else lambda x: (x,)
        found = [(args(x), {"dim": d} | f) for x in (_X, _X.astype(np.float32)) for d in (0, 1) for f in flags]
        wide = np.cos(np.arange(1200.0)).reshape(4, 300).astype(np.float32)
        return [*found, (args(wide), {"dim": 0} | flags[-1]), (args(np.zeros((2, 0))), {"dim": 1} | flags[0])]

    return samples


def _reference(ufunc: Any) -> Callable[..., Any]:
    def reference(x: Any, dim: int, reverse: bool = False) -> Any:
        return _along(ufunc.accumulate(_along(x, dim, reverse), dim), dim, reverse)

    return reference


_C = _samples("reverse")
define(Op("cumsum", "Running sums along `dim`, from its end when `reverse`.", _same, _cumsum_vjp,
          library=cumsum, reference=_reference(np.add), samples=_C))  # fmt: skip
define(Op("cumprod", "Running products along `dim`.", _same, _cumprod_vjp,
          library=cumprod, reference=_reference(np.multiply), samples=_samples()))  # fmt: skip
define(Op("logcumsumexp", "log of running sums of exp along `dim`, without overflow.", _same, _logcumsumexp_vjp,
          library=logcumsumexp, reference=_reference(np.logaddexp), samples=_samples()))  # fmt: skip
define(Op("recurrence", "y[k] = b[k] + a[k] * y[k - 1] along `dim`, from its end when `reverse`.", _two_alike,
          _recurrence_vjp, library=recurrence, reference=_plain_recurrence,
          samples=_samples("two", "reverse")))  # fmt: skip
for _name, _largest in (("cummax", True), ("cummin", False)):
    define(
        Op(
            _name,
            f"The position of the {'largest' if _largest else 'smallest'} so far along `dim`: the last of equals.",
            _positions,
            ZERO,
            library=lambda x, dim, largest=_largest: _last_best(x, dim, largest),
            reference=lambda x, dim, largest=_largest: _last_best(x, dim, largest),
            samples=lambda: [
                ((np.array([[1.0, 3.0, 3.0], [np.nan, 2.0, np.nan]]),), {"dim": 1}),
                ((np.array([2, 1, 2]),), {"dim": 0}),
            ],
        )
    )

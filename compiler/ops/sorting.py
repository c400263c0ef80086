"""Ops of order, computed by NumPy: positions, so that what is gathered at them carries the gradient. NaN is the
largest of all."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.dtype import bool_, i64
from tdsl.compiler.graph import ZERO, Attrs, Op, Type, define
from tdsl.compiler.ops.reduce import reduced_shape

Array = np.ndarray[Any, Any]


def _positions(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(i64, types[0].shape)


def _one_position(types: tuple[Type, ...], attrs: Attrs) -> Type:
    return Type(i64, reduced_shape(types[0].shape, (attrs["dim"],), True))


def _some_positions(types: tuple[Type, ...], attrs: Attrs) -> Type:
    shape = types[0].shape
    return Type(i64, (*shape[: attrs["dim"]], attrs["k"], *shape[attrs["dim"] + 1 :]))


def _keys(x: Array, dim: int, descending: bool) -> Array | None:
    """Integers that are ordered as the elements along dim, equals by position: they sort twice as fast."""
    n = x.shape[dim]
    if x.dtype != np.float32 or n < 16 or n >= 1 << 32:
        return None
    plain = np.where(np.isnan(x), np.float32(np.nan), x + np.float32(0.0))  # one NaN, and one zero
    bits = plain.view(np.uint32)
    bits = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    bits = ~bits if descending else bits
    shape = [-1 if k == dim else 1 for k in range(x.ndim)]
    keys: Array = (bits.astype(np.uint64) << np.uint64(32)) | np.arange(n, dtype=np.uint64).reshape(shape)
    return keys


def _narrow(x: Array) -> Array:
    """Integers of a small range in two bytes, which NumPy sorts digit by digit."""
    if x.dtype.kind != "i" or x.itemsize < 4 or x.size < 1024:
        return x
    low, high = int(x.min()), int(x.max())
    return (x - low).astype(np.uint16) if high - low < 1 << 16 else x


def order(x: Array, dim: int, descending: bool) -> Array:
    """Positions in stable order along dim."""
    keys = _keys(x, dim, descending)
    if keys is not None:
        keys.sort(dim)
        return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    x = _narrow(x)
    if not descending:
        return np.argsort(x, dim, kind="stable")
    # a descending order that keeps equals in place is the reversed order of the reversed elements
    backwards = np.argsort(np.flip(x, dim), dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - backwards, dim)


def top(x: Array, k: int, dim: int, largest: bool) -> Array:
    """Positions of the k largest or smallest, in order; of a long dimension only those k are sorted."""
    n = x.shape[dim]
    if n < 64 or k * 4 > n or k == 0:
        return np.take(order(x, dim, largest), np.arange(k), axis=dim)
    part = np.argpartition(x, n - k if largest else k - 1, dim)
    chosen = np.take(part, np.arange(n - k, n) if largest else np.arange(k), axis=dim)
    chosen.sort(dim)
    places = order(np.take_along_axis(x, chosen, dim), dim, largest)
    return np.take_along_axis(chosen, places, dim)


def kth(x: Array, k: int, dim: int) -> Array:
    """The position of the k-th smallest, counted from 1: the first of equals."""
    value = np.take(np.partition(x, k - 1, dim), [k - 1], axis=dim)
    return _first(x, value, dim)


def _first(x: Array, value: Array, dim: int) -> Array:
    hit = x == value
    if x.dtype.kind == "f":
        hit |= np.isnan(x) & np.isnan(value)
    found: Array = hit.argmax(dim, keepdims=True)
    return found


def middle(x: Array, dim: int, ignore_nan: bool) -> Array:
    """The position of the median, the lower of two; the first NaN where there is one, unless they are ignored."""
    n = x.shape[dim]
    if x.dtype.kind != "f":
        return kth(x, (n + 1) // 2, dim)
    missing = np.isnan(x)
    if not ignore_nan:
        plain = kth(x, (n + 1) // 2, dim)
        return np.where(missing.any(dim, keepdims=True), missing.argmax(dim, keepdims=True), plain)
    count = n - missing.sum(dim, keepdims=True)
    value = np.take_along_axis(np.sort(x, dim), np.maximum((count - 1) // 2, 0), dim)
    return _first(x, value, dim)


def median(x: Array, ignore_nan: bool) -> Any:
    """The median of all elements; NaN of none."""
    flat = x.reshape(-1)
    if flat.size == 0:
        return np.array(np.nan).astype(x.dtype)
    return flat[middle(flat, 0, ignore_nan)[0]]


def mode(x: Array, dim: int) -> Array:
    """The last position of the value that occurs most often, the smallest of such values."""
    places = np.moveaxis(order(x, dim, False), dim, -1)
    ordered = np.take_along_axis(np.moveaxis(x, dim, -1), places, -1)
    at = np.arange(ordered.shape[-1])
    starts = np.ones(ordered.shape, bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    length = at - np.maximum.accumulate(np.where(starts, at, 0), -1)
    last = length.argmax(-1, keepdims=True)
    return np.moveaxis(np.take_along_axis(places, last, -1), -1, dim)


def searchsorted(rows: Array, keys: Array, right: bool) -> Array:
    """Where each key would stand in the last dimension of its row, by halving; a NaN key stands at the end."""
    if rows.ndim == 1 and not (rows.dtype.kind == "f" and np.isnan(rows).any()):
        found = np.searchsorted(rows, keys, "right" if right else "left")
        return np.where(np.isnan(keys), rows.size, found) if keys.dtype.kind == "f" else np.asarray(found)
    n = rows.shape[-1]
    low, high = np.zeros(keys.shape, np.int64), np.full(keys.shape, n, np.int64)
    for _ in range(n.bit_length()):
        middles = np.minimum((low + high) // 2, max(n - 1, 0))
        there = rows[middles] if rows.ndim == 1 else np.take_along_axis(rows, middles, -1)
        before = ~((there > keys) if right else (there >= keys)) & (low < high)
        low, high = np.where(before, middles + 1, low), np.where(before, high, np.minimum(middles, high))
    return low


def isin(x: Array, among: Array) -> Array:
    return np.isin(x, among)


def _sort_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    dim = y.attrs["dim"]
    zero = b("full", b("constant", value=0.0, dtype=g.dtype), shape=x.shape)
    return (b("scatter_add", zero, b("argsort", x, dim=dim, descending=False), g, dim=dim),)


def _median_vjp(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """Shared evenly among the elements equal to the median; among the NaN when it is one."""
    whole = b("expand", y, shape=x.shape)
    hit = b("where", b("isnan", whole), b("isnan", x), b("eq", x, whole))
    dims = tuple(range(len(x.shape)))
    count = b("sum", b("cast", hit, dtype=x.dtype), dims=dims, keepdim=False)
    return (b("where", hit, b("expand", b("div", g, count), shape=x.shape), 0.0),)


_X = np.array([[3.0, 1.0, 2.0, 1.0], [0.5, -1.0, 4.0, 2.5]])
_NAN = np.array([[1.0, np.nan, 3.0], [np.nan, 5.0, np.nan]], np.float32)
_INTS = np.array([[3, 1, 3], [2, 2, 0]])
_LONG = np.cos(np.arange(400.0)).reshape(4, 100)


def _cases(*attrs: dict[str, Any]) -> Any:
    return lambda: [((x,), dict(a)) for x in (_X, _NAN, _INTS) for a in attrs]


_SEARCHES: Any = [
    ((np.array([1.0, 2.0, 2.0, 5.0]), np.array([[0.0, 2.0], [np.nan, 7.0]])), {"right": False}),
    ((np.array([1, 2, 2, 5]), np.array([2, 5, 6])), {"right": True}),
    ((np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0]]), np.array([[2.0, 4.0], [0.0, 1.0]])), {"right": True}),
    ((np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 9.0]]), np.array([[2.0, 4.0], [0.0, 1.0]])), {"right": False}),
    ((np.array([[1.0, np.nan], [0.0, 9.0]]), np.array([[2.0], [np.nan]])), {"right": False}),
    ((np.zeros(0), np.array([1.0])), {"right": False}),
]


def _search_reference(rows: Array, keys: Array, right: bool) -> Any:
    after = (rows[..., None, :] > keys[..., None]) if right else (rows[..., None, :] >= keys[..., None])
    return (~after).sum(-1)


define(Op("argsort", "Positions in stable order along `dim`.", _positions, ZERO, library=order, reference=order,
          samples=_cases(*[{"dim": d, "descending": o} for d in (0, 1) for o in (False, True)])))  # fmt: skip
define(Op("sort", "The elements in order along `dim`.", lambda types, attrs: types[0], _sort_vjp,
          library=lambda x, dim: np.sort(x, dim), reference=lambda x, dim: np.sort(x, dim),
          samples=lambda: [((x,), {"dim": d}) for x in (_X + _LONG[:2, :4] / 9, _NAN, _INTS)
                           for d in (0, 1)]))  # fmt: skip
define(Op("topk", "Positions of the k largest or smallest along `dim`, in order.", _some_positions, ZERO, library=top,
          reference=lambda x, k, dim, largest: np.take(order(x, dim, largest), np.arange(k), axis=dim),
          samples=lambda: [*_cases({"k": 2, "dim": 1, "largest": True}, {"k": 1, "dim": 0, "largest": False})(),
                           *[((_LONG,), {"k": 5, "dim": 1, "largest": o}) for o in (False, True)]]))  # fmt: skip
define(Op("kth", "The position of the k-th smallest along `dim`, the first of equals.", _one_position, ZERO,
          library=kth, reference=kth, samples=_cases({"k": 2, "dim": 1}, {"k": 1, "dim": 0})))  # fmt: skip
define(Op("middle", "The position of the median along `dim`.", _one_position, ZERO, library=middle, reference=middle,
          samples=_cases(*[{"dim": 1, "ignore_nan": o} for o in (False, True)])))  # fmt: skip
define(Op("median", "The median of all elements, the lower of two; equals share the gradient.",
          lambda types, attrs: Type(types[0].dtype, ()), _median_vjp, library=median,
          reference=lambda x, ignore_nan: np.sort(x[~np.isnan(x)])[(np.sum(~np.isnan(x)) - 1) // 2]
          if ignore_nan or not np.isnan(x).any() else np.nan,
          samples=lambda: [((x,), {"ignore_nan": o}) for x in (_LONG[:1, :5], _NAN, _INTS)
                           for o in (False, True)]))  # fmt: skip
define(Op("mode", "The last position of the commonest value along `dim`.", _one_position, ZERO, library=mode,
          reference=mode, samples=_cases({"dim": 0}, {"dim": 1})))  # fmt: skip
define(Op("searchsorted", "Where keys would stand in sorted rows.", lambda types, attrs: Type(i64, types[1].shape),
          ZERO, library=searchsorted, reference=_search_reference, samples=lambda: _SEARCHES))  # fmt: skip
define(Op("isin", "Whether each element of x is among the others.", lambda types, attrs: Type(bool_, types[0].shape),
          ZERO, library=isin, reference=lambda x, among: (x[..., None] == among.reshape(-1)).any(-1),
          samples=lambda: [((_INTS, np.array([3, 0])), {}), ((_NAN, _NAN), {})]))  # fmt: skip

"""Order statistics: positions come from NumPy at once, values are gathered, so gradients flow through them."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError
from tdsl.tensor import Tensor, from_array, op, wrap_dim

__all__ = [
    "Array", "argsort", "bincount", "bucketize", "cumprod", "kthvalue", "median", "msort", "searchsorted",
    "sort", "topk", "unique",
]  # fmt: skip

_SORT = namedtuple("sort", ["values", "indices"])  # type: ignore[name-match]
_TOPK = namedtuple("topk", ["values", "indices"])  # type: ignore[name-match]
_MEDIAN = namedtuple("median", ["values", "indices"])  # type: ignore[name-match]
_KTH = namedtuple("kthvalue", ["values", "indices"])  # type: ignore[name-match]
Array = np.ndarray[Any, Any]


def _order(x: Array, d: int, descending: bool) -> Array:
    """Positions in stable order along d; NaN is the largest."""
    if not descending:
        return np.argsort(x, d, kind="stable")
    # a descending order that keeps equals in place is the reversed order of the reversed elements
    backwards = np.argsort(np.flip(x, d), d, kind="stable")
    return np.flip(x.shape[d] - 1 - backwards, d)


def _gathered(input: Tensor, order: Array, d: int) -> tuple[Tensor, Tensor]:
    indices = from_array(np.ascontiguousarray(order).astype(np.int64))
    return op("gather", input, indices, dim=d), indices


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """(values, indices), ascending, equals in place, NaN last (first when descending).

    >>> from tdsl.creation import tensor
    >>> sort(tensor([3.0, 1.0, 2.0])).indices
    tensor([1, 2, 0])
    """
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        return _SORT(input.clone(), from_array(np.zeros((), np.int64)))
    return _SORT(*_gathered(input, _order(input.array(), d, descending), d))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    return sort(input, dim, descending).indices  # type: ignore[no-any-return]


def msort(input: Tensor) -> Tensor:
    return sort(input, 0).values  # type: ignore[no-any-return]


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The k largest (or smallest) along dim, in order; NaN counts as the largest."""
    d = wrap_dim(dim, input.ndim)
    if not 0 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if input.ndim == 0:
        return _TOPK(input.clone(), from_array(np.zeros((), np.int64)))
    order = np.take(_order(input.array(), d, largest), np.arange(k), axis=d)
    return _TOPK(*_gathered(input, order, d))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    d = wrap_dim(dim, input.ndim)
    if not 1 <= k <= (input.shape[d] if input.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    order = np.take(_order(input.array(), d, False), [k - 1], axis=d)
    values, indices = _gathered(input, order, d)
    return _KTH(values, indices) if keepdim else _KTH(values.squeeze(d), indices.squeeze(d))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle of all, the lower of two middles; along dim, (values, indices). A NaN wins."""
    if dim is None:
        flat = input.reshape(-1)
        if flat.shape[0] == 0:
            return from_array(np.array(np.nan, input.dtype.numpy))
        return _middle(flat, 0, False).values
    d = wrap_dim(dim, input.ndim)
    if input.ndim and input.shape[d] == 0:
        raise IndexError(f"median(): Expected reduction dim {d} to have non-zero size.")
    return _middle(input, d, keepdim)


def _middle(x: Tensor, d: int, keepdim: bool) -> Any:
    if x.ndim == 0:
        return _MEDIAN(x.clone(), from_array(np.zeros((), np.int64)))
    array = x.array()
    order = np.take(_order(array, d, False), [(x.shape[d] - 1) // 2], axis=d)
    if x.dtype.is_float:
        missing = np.isnan(array)
        order = np.where(missing.any(d, keepdims=True), missing.argmax(d, keepdims=True), order)
    values, indices = _gathered(x, order, d)
    return _MEDIAN(values, indices) if keepdim else _MEDIAN(values.squeeze(d), indices.squeeze(d))


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order; every NaN is kept."""
    found = np.unique(input.array(), return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    values, inverse, counts = (from_array(np.asarray(x)) for x in found)
    if dim is None:
        inverse = inverse.reshape(tuple(input.shape))
    result = [values] + ([inverse] if return_inverse else []) + ([counts] if return_counts else [])
    return result[0] if len(result) == 1 else tuple(result)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs, or the sum of its weights."""
    array = input.array()
    if input.dtype.is_float or array.ndim != 1 or (array < 0).any():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    return from_array(np.bincount(array, None if weights is None else weights.array(), minlength))


def searchsorted(sorted_sequence: Tensor, values: Any, *, right: bool = False, side: str | None = None) -> Tensor:
    """Where each value would stand in the sorted last dimension."""
    keys = values.array() if isinstance(values, Tensor) else np.asarray(values)
    rows = sorted_sequence.array()
    how = side or ("right" if right else "left")
    if rows.ndim == 1:
        return from_array(np.asarray(np.searchsorted(rows, keys, how)))  # type: ignore[call-overload]
    flat, wanted = rows.reshape(-1, rows.shape[-1]), keys.reshape(-1, keys.shape[-1])
    found = [np.searchsorted(r, k, how) for r, k in zip(flat, wanted, strict=True)]  # type: ignore[call-overload]
    return from_array(np.stack(found).reshape(keys.shape))


def bucketize(input: Any, boundaries: Tensor, *, right: bool = False) -> Tensor:
    return searchsorted(boundaries, input, right=right)


def cumprod(input: Tensor, dim: int) -> Tensor:
    """Running products, as products over a triangle."""
    d = wrap_dim(dim, input.ndim)
    x = input if input.dtype.is_float else input.to(dt.i64)
    if x.ndim == 0:
        return x.clone()  # type: ignore[no-any-return]
    n = x.shape[d]
    place = from_array(np.tri(n, dtype=bool))
    last = x.movedim(d, -1).unsqueeze(-2)
    return last.masked_fill(~place, 1).prod(-1).movedim(-1, d).contiguous()  # type: ignore[no-any-return]

"""Distinct elements under PyTorch's names. How many there are depends on the data, so NumPy finds them at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.ops import sorting
from tdsl.compiler.source import RuntimeError
from tdsl.reductions import one_dim
from tdsl.shapes import movedim
from tdsl.tensor import Tensor, from_array

__all__ = ["unique", "unique_consecutive"]

Array = np.ndarray[Any, Any]


def _rows(input: Tensor, dim: int | None) -> tuple[Array, int | None]:
    """What is compared: the elements one after another, or the slices along dim as rows of a matrix."""
    array = input.array()
    if dim is None:
        return array.reshape(-1), None
    d = one_dim("unique", dim, input.ndim)
    if input.ndim == 0:
        return array.reshape(1), None
    if input.numel() == 0 and (input.shape[d] or sum(n == 0 for n in input.shape) > 1):
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
    return np.moveaxis(array, d, 0).reshape(array.shape[d], input.numel() // max(array.shape[d], 1)), d


def _starts(rows: Array) -> Array:
    """Whether each element or row differs from the one before; a NaN always does."""
    starts = np.ones(len(rows), bool)
    different = rows[1:] != rows[:-1]
    starts[1:] = different if rows.ndim == 1 else different.any(1)
    return starts


def _order(rows: Array) -> Array:
    """Stable order of elements, or of rows by their first difference."""
    if rows.ndim == 1:
        return sorting.order(rows, 0, False)
    return np.lexsort(rows.T[::-1]) if rows.shape[1] else np.arange(len(rows))


def _distinct(input: Tensor, rows: Array, d: int | None, order: Array, inverse: bool, counts: bool) -> Any:
    """The first of each run of equals in that order, and where each element's run stands, and how long it is."""
    starts = _starts(rows[order])
    first = order[starts]
    if d is None:
        results = [from_array(rows[first], input.dtype)]
    else:
        slices = np.moveaxis(input.array(), d, 0)[first]
        results = [movedim(from_array(np.ascontiguousarray(slices), input.dtype), 0, d)]
    if inverse:
        places = np.empty(len(rows), np.int64)
        places[order] = np.cumsum(starts) - 1
        results.append(from_array(places.reshape(tuple(input.shape)) if d is None else places))
    if counts:
        ends = np.append(np.flatnonzero(starts), len(rows))
        results.append(from_array(np.diff(ends).astype(np.int64) if len(rows) else np.zeros(0, np.int64)))
    return results[0] if len(results) == 1 else tuple(results)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements in order, or the distinct slices along `dim`; every NaN is kept.

    With return_inverse, also which of them each element is; with return_counts, also how often each occurs.
    """
    rows, d = _rows(input, dim)
    if d is None and not return_inverse:  # what equals what does not matter, so there is no need of positions
        rows = np.sort(rows)
        return _distinct(input, rows, d, np.arange(len(rows)), return_inverse, return_counts)
    return _distinct(input, rows, d, _order(rows), return_inverse, return_counts)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or the slices along `dim`, without those equal to the one before."""
    rows, d = _rows(input, dim)
    return _distinct(input, rows, d, np.arange(len(rows)), return_inverse, return_counts)

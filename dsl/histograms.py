"""Counts under PyTorch's names: of numbers, and of elements in bins."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any

import numpy as np

from tdsl import creation, shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import NotImplementedError, RuntimeError, TypeError
from tdsl.elementwise import where
from tdsl.reductions import amax, amin
from tdsl.return_types import return_type
from tdsl.tensor import Tensor, from_array, op, type_name

__all__ = ["bincount", "histc", "histogram", "histogramdd"]

_HISTOGRAM, _HISTOGRAMDD = return_type("histogram", "hist bin_edges"), return_type("histogramdd", "hist bin_edges")


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number occurs, or the sum of its weights: at least minlength counts. Run at once."""
    if input.dtype.is_float or input.dtype is dt.bool_:
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{type_name(input.dtype)}'")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    array = input.array()
    if array.ndim != 1 or (array < 0).any():
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return from_array(np.bincount(array, None, minlength).astype(np.int64))
    if weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    kind = np.float32 if weights.dtype is dt.f32 else np.float64
    return from_array(np.bincount(array, weights.array(), minlength).astype(kind))


def _data_range(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest element, known at once."""
    if x.numel() == 0:
        return 0.0, 1.0
    return float(amin(x.detach()).item()), float(amax(x.detach()).item())


def _widened(low: float, high: float, by: float) -> tuple[float, float]:
    return (low - by, high + by) if low == high else (low, high)


def _check_bins(bins: int, d: int = 0) -> None:
    if bins <= 0:
        raise RuntimeError(f"tdsl.histogram(): bins must be > 0, but got {bins} for dimension {d}")


def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of `bins` equal parts of [min, max], or of the elements' range if min == max.

    What is outside, and NaN, is not counted; the largest number belongs to the last bin.
    """
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{type_name(input.dtype)}'")
    _check_bins(bins)
    low, high = float(min), float(max)
    if low == high and input.numel():
        low, high = _data_range(input)
    low, high = _widened(low, high, 1.0)
    if not (isfinite(low) and isfinite(high)):
        raise RuntimeError(f"tdsl.histc: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError("tdsl.histc: max must be larger than min")
    x = input.detach().reshape(-1)
    inside = (x >= low) & (x <= high)
    places = where(inside, (x - low) * bins / (high - low), 0.0).to(dt.i64).clamp(0, bins - 1)
    return _counted(places, inside.to(x.dtype), bins)


def _counted(places: Tensor, amounts: Tensor, bins: int) -> Tensor:
    return op("scatter_add", amounts.new_zeros((bins,)), places, amounts, dim=0)


def _check_edges(x: Tensor, edges: Tensor, d: int) -> Tensor:
    if edges.ndim != 1:
        raise RuntimeError(
            f"tdsl.histogramdd: bins tensor should have one dimension, but got {edges.ndim} dimensions in the bins "
            f"tensor for dimension {d}"
        )
    if edges.dtype is not x.dtype:
        names = {dt.f32: "float", dt.f64: "double", dt.i64: "long int", dt.i32: "int"}
        raise RuntimeError(
            "tdsl.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype "
            f"{names.get(x.dtype, x.dtype.torch_name)} and bins for dimension {d} with dtype "
            f"{names.get(edges.dtype, edges.dtype.torch_name)}"
        )
    if edges.numel() == 0:
        raise RuntimeError(
            f"tdsl.histogramdd: bins tensor should have at least 1 element, but got 0 elements in the bins tensor for "
            f"dimension {d}"
        )
    return edges.detach().clone()  # type: ignore[no-any-return]


def _even_edges(x: Tensor, bins: int, given: tuple[float, float] | None, d: int) -> Tensor:
    """bins + 1 edges over the given range, or over that of the elements."""
    _check_bins(bins, d)
    low, high = _data_range(x) if given is None else given
    if not (isfinite(low) and isfinite(high)):
        raise RuntimeError(f"tdsl.histogramdd: dimension {d}'s range [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(
            f"tdsl.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {d}"
        )
    low, high = _widened(low, high, 0.5)
    return creation.linspace(low, high, bins + 1, dtype=x.dtype)


def _check_histogram(x: Tensor, weight: Tensor | None) -> None:
    """x has a row of coordinates for each point."""
    if not x.dtype.is_float:
        raise NotImplementedError(f"\"histogramdd\" not implemented for '{type_name(x.dtype)}'")
    if weight is None:
        return
    if weight.dtype is not x.dtype:
        raise RuntimeError(
            "tdsl.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same "
            f"dtype, but got input({type_name(x.dtype)}), and weight({type_name(weight.dtype)})"
        )
    if tuple(weight.shape) != tuple(x.shape[:-1]):
        raise RuntimeError(
            "tdsl.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
            f"excluding its innermost dimension, but got input with shape {list(x.shape)} and weight with shape "
            f"{list(weight.shape)}"
        )


def _count_points(points: Tensor, edges: Sequence[Tensor], weight: Tensor | None, density: bool) -> Tensor:
    """How many rows of points fall into each cell between the edges; over their total and the cells' size."""
    inside = creation.ones((points.shape[0],), dtype=dt.bool_)
    place = creation.zeros((points.shape[0],), dtype=dt.i64)
    for d, e in enumerate(edges):
        x, cells = points[:, d].contiguous(), e.numel() - 1
        inside = inside & (x >= e[0]) & (x <= e[-1])
        at = op("searchsorted", e, x, right=True) - 1
        place = place * cells + at.clamp(0, cells - 1)  # the last edge belongs to the last cell
    shape = [e.numel() - 1 for e in edges]
    amount = inside.to(points.dtype) if weight is None else where(inside, weight, 0)
    if prod(shape) == 0:
        return creation.zeros(shape, dtype=points.dtype)
    counts = _counted(where(inside, place, 0), amount, prod(shape)).reshape(shape)
    if not density:
        return counts  # type: ignore[no-any-return]
    counts = counts / counts.sum()
    for d, e in enumerate(edges):
        counts = counts / (e[1:] - e[:-1]).reshape([-1 if k == d else 1 for k in range(len(edges))])
    return counts


def histogram(
    input: Tensor,
    bins: int | Tensor,
    *,
    range: tuple[float, float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """(hist, bin_edges): how many elements, or what weight, in each of `bins` equal parts or between given edges."""
    x = input.detach().reshape(-1, 1)
    _check_histogram(x, None if weight is None else weight.reshape(-1))
    if isinstance(bins, Tensor) and range is not None:
        raise TypeError("histogram() takes a range only with a number of bins, but got edges and range")
    if isinstance(bins, Tensor):
        edges = _check_edges(x, bins, 0)
    else:
        edges = _even_edges(x, bins, None if range is None else (float(range[0]), float(range[1])), 0)
    flat = None if weight is None else weight.detach().reshape(-1)
    return _HISTOGRAM(_count_points(x, [edges], flat, density), edges)


def _bins_of(bins: Any, dims: int) -> list[Any]:
    if isinstance(bins, int):
        return [bins] * dims
    if isinstance(bins, Tensor) or len(bins) != dims:
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    return list(bins)


def histogramdd(
    input: Tensor,
    bins: Any,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Any:
    """(hist, bin_edges): how many points, rows of coordinates in the last dimension, in each cell of a grid.

    `bins` is a number of bins for all or for each dimension, or the edges of each; `range` the least and the largest
    coordinate of each dimension, one after another.
    """
    if input.ndim < 2:
        raise RuntimeError("tdsl.histogramdd: input tensor should have at least 2 dimensions")
    n = input.shape[-1]
    wanted = _bins_of(bins, n)
    if range is not None and len(range) != 2 * n:
        raise RuntimeError(
            f"tdsl.histogramdd: for a {n}-dimensional histogram range should have {2 * n} elements, but got "
            f"{len(range)}"
        )
    _check_histogram(input, weight)
    points = shapes.reshape(input.detach(), (-1, n))
    limits = None if range is None else [float(x) for x in range]
    edges = []
    for d, b in enumerate(wanted):
        if isinstance(b, Tensor):
            edges.append(_check_edges(points, b, d))
            continue
        given = None if limits is None else (limits[2 * d], limits[2 * d + 1])
        edges.append(_even_edges(points[:, d], b, given, d))
    flat = None if weight is None else weight.detach().reshape(-1)
    return _HISTOGRAMDD(_count_points(points, edges, flat, density), tuple(edges))

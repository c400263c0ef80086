"""Pooling in one, two and three dimensions: reductions over windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.compiler import dtype as dt
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.elementwise import where
from tdsl.nn.windows import OUT, TAPS, Ints, per_dimension, window
from tdsl.tensor import Tensor, from_array, index_op, op, type_name

__all__ = [f"{kind}_pool{rank}d" for kind in ("max", "avg", "lp") for rank in (1, 2, 3)]
__all__ += ["max_unpool1d", "max_unpool2d", "max_unpool3d"]
__all__ += [f"max_pool{rank}d_with_indices" for rank in (1, 2, 3)]


def batched(name: str, rank: int, input: Tensor) -> Tensor:
    """(N, C, ...) of (N, C, ...) or (C, ...)."""
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(f"{name}() Expected {rank + 1}D or {rank + 2}D input tensor, but got {list(input.shape)}")
    for k, n in enumerate(input.shape):
        if n == 0 and (k > 0 or input.ndim == rank + 1):
            raise RuntimeError(
                f"{name}(): Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim batch size for "
                f"input, but got: {list(input.shape)}"
            )
    return input if input.ndim == rank + 2 else input.unsqueeze(0)  # type: ignore[no-any-return]


def unbatched(y: Tensor, like: Tensor, rank: int) -> Tensor:
    return y if like.ndim == rank + 2 else y.squeeze(0)  # type: ignore[no-any-return]


def _output(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """How many windows; with ceil_mode one more that begins inside the input or its left padding."""
    span = n + 2 * p - d * (k - 1) - 1
    out = (-(-span // s) if ceil_mode else span // s) + 1
    return out - 1 if ceil_mode and (out - 1) * s >= n + p else out


class _Windows:
    """The geometry of a pooling: sizes, strides, paddings, dilations and output sizes, checked."""

    def __init__(
        self, name: str, rank: int, x: Tensor, size: Ints, stride: Any, padding: Ints, dilation: Ints, ceil_mode: bool
    ) -> None:
        self.k, self.p = per_dimension(size, rank), per_dimension(padding, rank, "padding")
        self.d = per_dimension(dilation, rank, "dilation")
        empty = stride is None or isinstance(stride, Sequence) and not len(stride)
        self.s = self.k if empty else per_dimension(stride, rank, "stride")
        if min(self.k) <= 0:
            raise RuntimeError(f"{name}: kernel size should be greater than zero, but got {list(self.k)}")
        if min(self.s) <= 0:
            raise RuntimeError(
                f"{name}: stride should not be zero"
                if min(self.s) == 0
                else f"stride should be greater than zero, but got {list(self.s)}"
            )
        if min(self.d) <= 0:
            raise RuntimeError(f"dilation should be greater than zero, but got dilation: {list(self.d)}")
        if min(self.p) < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {self.p[0]}")
        for a, b, e in zip(self.p, self.k, self.d, strict=True):
            if 2 * a > e * (b - 1) + 1 if "max" in name else 2 * a > b:
                raise RuntimeError(
                    f"pad should be at most half of effective kernel size, but got pad={a}, kernel_size={b} and "
                    f"dilation={e}"
                )
        spatial = x.shape[2:]
        self.out = tuple(
            _output(spatial[q], self.k[q], self.s[q], self.p[q], self.d[q], ceil_mode) for q in range(rank)
        )
        if min(self.out) <= 0:
            raise RuntimeError(
                f"Given input size: ({'x'.join(map(str, x.shape[1:]))}). Calculated output size: "
                f"({'x'.join(map(str, (x.shape[1], *self.out)))}). Output size is too small"
            )
        reach = [(self.out[q] - 1) * self.s[q] + self.d[q] * (self.k[q] - 1) - self.p[q] for q in range(rank)]
        self.beyond = any(self.p) or any(r >= n for r, n in zip(reach, spatial, strict=True))


@lru_cache(maxsize=1024)
def _kernel(
    dtype: str, x: tuple[int, ...], op_: str, out: tuple[int, ...], k: tuple[int, ...], s: tuple[int, ...],
    p: tuple[int, ...], d: tuple[int, ...], fill: str,
) -> Kernel:  # fmt: skip
    rank = len(out)
    places = ", ".join(window(OUT[q], TAPS[q], s[q], d[q], p[q]) for q in range(rank))
    axes = ", ".join(f"{OUT[q]} in 0:{out[q]}" for q in range(rank))
    taps = ", ".join(f"{TAPS[q]} in 0:{k[q]}" for q in range(rank))
    return intern(parse(
        f"kernel pool(a0: {dtype}[{','.join(map(str, x))}]) -> (y):\n"
        f"  y[n, c, {axes}] := {op_}[{taps}] a0[n, c, {places}{fill}]"
    ))  # fmt: skip


def _least(dtype: dt.DType) -> str:
    if dtype.is_float:
        return "-inf"
    return str(-(1 << (dtype.bits - 1)) if dtype.signed else 0)


def _max_values(x: Tensor, w: _Windows) -> Tensor:
    """The largest of each window: one line of index notation, whose gradient ties share."""
    fill = f" else {_least(x.dtype)}" if w.beyond else ""
    return index_op(_kernel(x.dtype.name, tuple(x.shape), "max", w.out, w.k, w.s, w.p, w.d, fill), [x])


def _positions(x: Tensor, w: _Windows) -> Tensor:
    """For each window and tap, the flat position it reads, -1 beyond the edges: (windows, taps)."""
    rank, spatial = len(w.out), x.shape[2:]
    places: Any = np.zeros((1,) * (2 * rank), np.int64)
    inside: Any = np.ones((1,) * (2 * rank), bool)
    for q in range(rank):
        at = np.arange(w.out[q])[:, None] * w.s[q] - w.p[q] + np.arange(w.k[q])[None, :] * w.d[q]
        shape = [1] * (2 * rank)
        shape[q], shape[rank + q] = w.out[q], w.k[q]
        at = at.reshape(shape)
        inside = inside & (at >= 0) & (at < spatial[q])
        places = places * spatial[q] + at
    flat = np.where(inside, places, -1)
    return from_array(np.ascontiguousarray(flat.reshape(prod(w.out), prod(w.k))))


def max_with_indices(x: Tensor, positions: Tensor, out: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(values, flat positions) of the largest tap of each window, the first of equals; a NaN wins."""
    n, c = x.shape[:2]
    flat = x.reshape(n, c, -1)
    real = positions.reshape(-1) >= 0
    taps = op("take", flat, where(real, positions.reshape(-1), 0), dim=2)
    least = float("-inf") if x.dtype.is_float else int(_least(x.dtype))
    taps = where(real, taps.detach(), least).reshape(n, c, *positions.shape)
    best = taps.argmax(-1)
    table = positions.reshape(-1)
    row = op("iota", length=positions.shape[0]) * positions.shape[1]
    indices = op("take", table, best + row, dim=0)
    indices = where(indices < 0, table.reshape(*positions.shape).amax(-1), indices)
    values = op("gather", flat, indices, dim=2)
    return values.reshape(n, c, *out), indices.reshape(n, c, *out)


def nothing(x: Tensor, out: tuple[int, ...]) -> Tensor:
    """Of no samples: nothing, that hangs on its input."""
    return (x.sum() * 0).expand(0, x.shape[1], *out).clone()  # type: ignore[no-any-return]


def _max_pool(
    rank: int, input: Tensor, size: Ints, stride: Any, padding: Ints, dilation: Ints, ceil_mode: bool, indices: bool
) -> Any:
    name = f"max_pool{rank}d"
    x = batched(name, rank, input)
    w = _Windows(name, rank, x, size, stride, padding, dilation, ceil_mode)
    if x.dtype is dt.bool_:
        raise NotImplementedError(f"\"max_pool\" not implemented for '{type_name(x.dtype)}'")
    if x.shape[0] == 0:
        values = nothing(x, w.out)
        return (values, x.new_empty(0, x.shape[1], *w.out, dtype=dt.i64)) if indices else values
    if not indices and not x.requires_grad:
        return unbatched(_max_values(x, w), input, rank)
    values, places = max_with_indices(x, _positions(x, w), w.out)
    values, places = unbatched(values, input, rank), unbatched(places, input, rank)
    return (values, places) if indices else values


def _make_max(rank: int) -> Any:
    def function(
        input: Tensor, kernel_size: Ints, stride: Any = None, padding: Ints = 0, dilation: Ints = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        return _max_pool(rank, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

    function.__name__ = f"max_pool{rank}d"
    function.__doc__ = f"The largest of each window of {rank} dimensions; of equals, the first takes the gradient."
    return function


def _make_max_indices(rank: int) -> Any:
    def function(
        input: Tensor, kernel_size: Ints, stride: Any = None, padding: Ints = 0, dilation: Ints = 1,
        ceil_mode: bool = False, return_indices: bool = True,
    ) -> Any:  # fmt: skip
        return _max_pool(rank, input, kernel_size, stride, padding, dilation, ceil_mode, True)

    function.__name__ = f"max_pool{rank}d_with_indices"
    function.__doc__ = "(values, flat positions) of the largest of each window."
    return function


max_pool1d, max_pool2d, max_pool3d = map(_make_max, (1, 2, 3))
max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices = map(_make_max_indices, (1, 2, 3))


# ---- means


def _counts(x: Tensor, w: _Windows, include_pad: bool, divisor: int | None) -> Tensor | None:
    """How many elements each window's mean is over; None where it is the same for all."""
    if divisor is not None:
        return None
    rank, spatial = len(w.out), x.shape[2:]
    total: Any = np.ones((1,) * rank)
    for q in range(rank):
        start = np.arange(w.out[q]) * w.s[q] - w.p[q]
        low, high = (-w.p[q], spatial[q] + w.p[q]) if include_pad else (0, spatial[q])
        count = np.minimum(start + w.k[q], high) - np.maximum(start, low)
        total = total * count.reshape([-1 if r == q else 1 for r in range(rank)])
    if (total == prod(w.k)).all():
        return None
    return from_array(np.ascontiguousarray(total)).to(x.dtype)  # type: ignore[no-any-return]


def _avg_pool(
    rank: int, input: Tensor, size: Ints, stride: Any, padding: Ints, ceil_mode: bool, include_pad: bool, divisor: Any
) -> Tensor:
    name = f"avg_pool{rank}d"
    if divisor == 0:
        raise RuntimeError("divisor must be not zero")
    x = batched(name, rank, input)
    w = _Windows(name, rank, x, size, stride, padding, 1, ceil_mode)
    if x.shape[0] == 0:
        return nothing(x, w.out)
    fill = f" else {'0.0' if x.dtype.is_float else '0'}" if w.beyond else ""
    total = index_op(_kernel(x.dtype.name, tuple(x.shape), "sum", w.out, w.k, w.s, w.p, w.d, fill), [x])
    counts = _counts(x, w, include_pad, divisor)
    by: Any = (divisor or prod(w.k)) if counts is None else counts
    y = total / by if x.dtype.is_float else ew.div(total, by, rounding_mode="trunc")
    return unbatched(y, input, rank)


def _make_avg(rank: int) -> Any:
    def function(
        input: Tensor, kernel_size: Ints, stride: Any = None, padding: Ints = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Tensor:  # fmt: skip
        return _avg_pool(rank, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)

    function.__name__ = f"avg_pool{rank}d"
    function.__doc__ = f"The mean of each window of {rank} dimensions."
    return function


avg_pool1d, avg_pool2d, avg_pool3d = map(_make_avg, (1, 2, 3))


def _make_lp(rank: int) -> Any:
    def function(
        input: Tensor, norm_type: float, kernel_size: Ints, stride: Any = None, ceil_mode: bool = False
    ) -> Tensor:
        k = per_dimension(kernel_size, rank)
        if norm_type == float("inf"):
            return _max_pool(rank, ew.abs(input), k, stride, 0, 1, ceil_mode, False)  # type: ignore[no-any-return]
        total = _avg_pool(rank, input**norm_type, k, stride, 0, ceil_mode, True, None)
        return (ew.sign(total) * ew.relu(ew.abs(total)) * prod(k)) ** (1.0 / norm_type)

    function.__name__ = f"lp_pool{rank}d"
    function.__doc__ = "The p-norm of each window."
    return function


lp_pool1d, lp_pool2d, lp_pool3d = map(_make_lp, (1, 2, 3))


# ---- and back


def _unpool(
    rank: int, input: Tensor, indices: Tensor, size: Ints, stride: Any, padding: Ints, output_size: Any
) -> Tensor:
    if indices.dtype is not dt.i64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {type_name(indices.dtype)}")
    if tuple(indices.shape) != tuple(input.shape):
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    x, places = batched(f"max_unpool{rank}d", rank, input), batched(f"max_unpool{rank}d", rank, indices)
    k, p = per_dimension(size, rank), per_dimension(padding, rank)
    s = k if stride is None else per_dimension(stride, rank)
    usual = [(x.shape[2 + q] - 1) * s[q] + k[q] - 2 * p[q] for q in range(rank)]
    out = usual
    if output_size is not None:
        out = list(output_size)[-rank:]
        for q in range(rank):
            if not usual[q] - s[q] < out[q] < usual[q] + s[q]:
                raise ValueError(
                    f"invalid output_size {out} (dim {q} must be between {usual[q] - s[q]} and {usual[q] + s[q]})"
                )
    n, c = x.shape[:2]
    flat = op("full", op("constant", value=0.0, dtype=x.dtype), shape=(n, c, prod(out)))
    positions = places.array()
    if positions.size and (positions.min() < 0 or positions.max() >= prod(out)):
        raise RuntimeError(
            f"Found an invalid max index: {int(positions.max())} (output volumes are of size {'x'.join(map(str, out))}"
        )
    made = flat.scatter(2, places.reshape(n, c, -1), x.reshape(n, c, -1))
    return unbatched(made.reshape(n, c, *out), input, rank)


def _make_unpool(rank: int) -> Any:
    def function(
        input: Tensor, indices: Tensor, kernel_size: Ints, stride: Any = None, padding: Ints = 0,
        output_size: Any = None,
    ) -> Tensor:  # fmt: skip
        return _unpool(rank, input, indices, kernel_size, stride, padding, output_size)

    function.__name__ = f"max_unpool{rank}d"
    function.__doc__ = "Values put back where max pooling took them from, zeros elsewhere."
    return function


max_unpool1d, max_unpool2d, max_unpool3d = map(_make_unpool, (1, 2, 3))

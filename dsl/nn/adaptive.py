"""Pooling whose windows follow from the size that is wanted, evenly or at random."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.nn.mixing import mix
from tdsl.nn.pooling import batched, max_with_indices, nothing, unbatched
from tdsl.nn.windows import OUT, Array, Ints, per_dimension, table, tap_parts
from tdsl.random import rand
from tdsl.tensor import Tensor, index_op, op, type_name

__all__ = [f"adaptive_{kind}_pool{rank}d" for kind in ("avg", "max") for rank in (1, 2, 3)]
__all__ += [f"adaptive_max_pool{rank}d_with_indices" for rank in (1, 2, 3)]
__all__ += ["fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d",
            "fractional_max_pool3d_with_indices"]  # fmt: skip


def _target(output_size: Any, rank: int, spatial: Sequence[int]) -> tuple[int, ...]:
    given = [output_size] * rank if output_size is None or isinstance(output_size, int) else list(output_size)
    if len(given) == 1:
        given = given * rank
    if len(given) != rank:
        raise RuntimeError("'output_size' should contain one int" if rank == 1 else f"output_size must be {rank}")
    out = tuple(n if g is None else int(g) for g, n in zip(given, spatial, strict=True))
    if any(n < 0 for n in out):
        raise RuntimeError(f"elements of output_size must be greater than or equal to 0 but received {list(out)}")
    return out


def _window_places(n: int, out: int) -> tuple[Array, Array]:
    """(windows, taps): positions in each window, the last repeated to fill up; and which are its own."""
    i = np.arange(out)
    start, stop = i * n // max(out, 1), -(-(i + 1) * n // max(out, 1))
    places = start[:, None] + np.arange(int((stop - start).max(initial=1)))
    return np.minimum(places, stop[:, None] - 1), places < stop[:, None]


def _enough(input: Tensor, rank: int) -> None:
    if rank > 1 and input.ndim < rank + 1:
        raise ValueError(f"Input dimension should be at least {rank + 1}")


def _adaptive_avg(rank: int, input: Tensor, output_size: Any) -> Tensor:
    """Separable: each dimension in turn."""
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"adaptive_avg_pool{rank}d\" not implemented for '{type_name(input.dtype)}'")
    _enough(input, rank)
    x = batched(f"adaptive_avg_pool{rank}d", rank, input)
    out = _target(output_size, rank, x.shape[2:])
    for q in range(rank):
        d, n = 2 + q, x.shape[2 + q]
        if out[q] == n:
            continue
        if n % max(out[q], 1) == 0 and out[q]:
            x = x.reshape(*x.shape[:d], out[q], n // out[q], *x.shape[d + 1 :]).mean(d + 1)
            continue
        places, own = _window_places(n, out[q])
        x = mix(x, d, places, own / np.maximum(own.sum(1, keepdims=True), 1))
    x = x.clone() if x is input else x
    return unbatched(x, input, rank)


def _box_positions(spatial: tuple[int, ...], out: tuple[int, ...]) -> Tensor:
    """Flat positions in each window, -1 to fill up: (windows, taps)."""
    rank = len(out)
    places: Any = np.zeros((1,) * (2 * rank), np.int64)
    inside: Any = np.ones((1,) * (2 * rank), bool)
    for q in range(rank):
        at, own = _window_places(spatial[q], out[q])
        shape = [1] * (2 * rank)
        shape[q], shape[rank + q] = at.shape
        inside, places = inside & own.reshape(shape), places * spatial[q] + at.reshape(shape)
    return table(np.where(inside, places, -1).reshape(prod(out), -1))


def _read(x: Tensor, places: Tensor) -> Tensor:
    """The elements at flat positions of the spatial dimensions."""
    n, c = x.shape[:2]
    return op("gather", x.reshape(n, c, -1), places.reshape(n, c, -1), dim=2).reshape(tuple(places.shape))  # type: ignore[no-any-return]


def _adaptive_max(rank: int, input: Tensor, output_size: Any, indices: bool) -> Any:
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"adaptive_max_pool{rank}d\" not implemented for '{type_name(input.dtype)}'")
    _enough(input, rank)
    x = batched(f"adaptive_max_pool{rank}d", rank, input)
    out = _target(output_size, rank, x.shape[2:])
    if x.shape[0] == 0 or 0 in out:
        values, places = x.new_empty(*x.shape[:2], *out), x.new_empty(*x.shape[:2], *out, dtype=dt.i64)
    else:
        values, places = max_with_indices(x, _box_positions(tuple(x.shape[2:]), out), out)
    values, places = unbatched(values, input, rank), unbatched(places, input, rank)
    return (values, places) if indices else values


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that cover the input with so many outputs."""
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that cover the input with so many outputs."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that cover the input with so many outputs."""
    return _adaptive_avg(3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest of windows that cover the input with so many outputs."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest of windows that cover the input with so many outputs."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Largest of windows that cover the input with so many outputs."""
    return _adaptive_max(3, input, output_size, return_indices)


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Any, return_indices: bool = True) -> Any:
    return _adaptive_max(1, input, output_size, True)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Any, return_indices: bool = True) -> Any:
    return _adaptive_max(2, input, output_size, True)


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Any, return_indices: bool = True) -> Any:
    return _adaptive_max(3, input, output_size, True)


# ---- fractional (Graham, arXiv:1412.6071)


@lru_cache(maxsize=256)
def _fractional_kernel(dtype: str, x: tuple[int, ...], out: tuple[int, ...], k: tuple[int, ...]) -> Kernel:
    """Which tap of each window is the largest; a1, a2, a3 hold where each channel's windows start."""
    rank = len(out)
    places = ", ".join(f"a{1 + q}[n, c, {OUT[q]}] + {part}" for q, part in enumerate(tap_parts("t", k)))
    starts = ", ".join(f"a{1 + q}: i64[{x[0]},{x[1]},{out[q]}]" for q in range(rank))
    axes = ", ".join(f"{OUT[q]} in 0:{out[q]}" for q in range(rank))
    return intern(parse(
        f"kernel fractional(a0: {dtype}[{','.join(map(str, x))}], {starts}) -> (y):\n"
        f"  y[n, c, {axes}] := argmax[t in 0:{prod(k)}] a0[n, c, {places}]"
    ))  # fmt: skip


def _starts(sample: Tensor, n: int, out: int, k: int) -> Tensor:
    """Where windows start: pseudo-random steps of mean (n - k) / (out - 1), the last window at the end."""
    u = sample.double().unsqueeze(-1)
    if out == 1:
        return (u * 0).long() + (n - k)  # type: ignore[no-any-return]
    alpha = (n - k) / (out - 1)
    start = ((u + table(np.arange(out, dtype=np.float64))) * alpha).long() - (u * alpha).long()
    return start.masked_fill(table(np.arange(out) == out - 1), n - k)  # type: ignore[no-any-return]


def _fractional_size(x: Tensor, k: tuple[int, ...], output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    rank = len(k)
    if output_size is None and output_ratio is None:
        raise ValueError(f"fractional_max_pool{rank}d requires specifying either an output_size or an output_ratio")
    if output_size is None:
        ratio = (output_ratio,) * rank if isinstance(output_ratio, float) else tuple(output_ratio)
        output_size = [int(n * r) for n, r in zip(x.shape[2:], ratio, strict=True)]
    out = per_dimension(output_size, rank)
    for q in range(rank):
        if out[q] + k[q] - 1 > x.shape[2 + q]:
            raise RuntimeError(
                f"fractional_max_pool{rank}d_out(): pool {'height' if q == 0 else 'width'} {k[q]} too large "
                f"relative to input {x.shape[2 + q]}"
            )
    return out


def _fractional(
    rank: int, input: Tensor, kernel_size: Ints, output_size: Any, output_ratio: Any, indices: bool, samples: Any
) -> Any:
    x = batched(f"fractional_max_pool{rank}d", rank, input)
    k = per_dimension(kernel_size, rank)
    out = _fractional_size(x, k, output_size, output_ratio)
    n, c, *spatial = x.shape
    if n == 0:
        return (nothing(x, out), x.new_empty(0, c, *out, dtype=dt.i64)) if indices else nothing(x, out)
    drawn = rand(n, c, rank, dtype=x.dtype) if samples is None else samples.detach()
    # The samples of an image count its dimensions backwards; those of a volume do not.
    order = (1, 0) if rank == 2 else (0, 1, 2)
    starts = [_starts(drawn[..., order[q]], spatial[q], out[q], k[q]) for q in range(rank)]
    tap = index_op(_fractional_kernel(x.dtype.name, tuple(x.shape), out, k), [x.detach(), *starts])
    places: Any = 0
    for q in range(rank):
        start = starts[q].reshape(n, c, *(-1 if r == q else 1 for r in range(rank)))
        places = places * spatial[q] + start + tap // prod(k[q + 1 :]) % k[q]
    values = unbatched(_read(x, places), input, rank)
    return (values, unbatched(places, input, rank)) if indices else values


def _make_fractional(rank: int, with_indices: bool) -> Any:
    def function(
        input: Tensor, kernel_size: Ints, output_size: Any = None, output_ratio: Any = None,
        return_indices: bool = with_indices, _random_samples: Any = None,
    ) -> Any:  # fmt: skip
        return _fractional(rank, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)

    function.__name__ = f"fractional_max_pool{rank}d"
    function.__doc__ = "Max pooling over windows of random step."
    return function


fractional_max_pool2d, fractional_max_pool3d = _make_fractional(2, False), _make_fractional(3, False)
fractional_max_pool2d_with_indices = _make_fractional(2, True)
fractional_max_pool3d_with_indices = _make_fractional(3, True)

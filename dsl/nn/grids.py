"""Sampling at given points (Jaderberg et al., arXiv:1506.02025)."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.elementwise import where
from tdsl.halves import rounded_once
from tdsl.nn.resizing import cubic
from tdsl.nn.windows import OUT, TAPS, table, zero_of
from tdsl.shapes import stack
from tdsl.tensor import Tensor, index_op

__all__ = ["affine_grid", "grid_sample"]


def _warn_of_corners() -> None:
    warnings.warn(
        "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please specify "
        "align_corners=True if the old behavior is desired. See the documentation of grid_sample for details.",
        stacklevel=3,
    )


def _typed(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{','.join(map(str, shape))}]"


@lru_cache(maxsize=256)
def _sampled_kernel(dtype: str, x: tuple[int, ...], out: tuple[int, ...], taps: int) -> Kernel:
    """a1.. hold each dimension's positions, and after them its weights: (N, ..., taps)."""
    n = len(out)
    place = ", ".join(OUT[:n])
    at = [f"a{1 + d}[n, {place}, {TAPS[d]}]" for d in range(n)]
    weights = [f"a{1 + n + d}[n, {place}, {TAPS[d]}]" for d in range(n)]
    each = (x[0], *out, taps)
    params = [f"a0: {_typed(dtype, x)}"]
    params += [f"a{1 + d}: {_typed('i64', each)}" for d in range(n)]
    params += [f"a{1 + n + d}: {_typed(dtype, each)}" for d in range(n)]
    axes = ", ".join(f"{OUT[d]} in 0:{out[d]}" for d in range(n))
    reads = ", ".join(f"{TAPS[d]} in 0:{taps}" for d in range(n))
    return intern(parse(
        f"kernel sampled({', '.join(params)}) -> (y):\n"
        f"  y[n, c, {axes}] := sum[{reads}] "
        f"a0[n, c, {', '.join(at)} else {zero_of(dtype)}] * {' * '.join(weights)}"
    ))  # fmt: skip


def _bounded(x: Tensor, n: int, padding: str, aligned: bool) -> Tensor:
    if padding == "border":
        return x.clamp(0, n - 1)
    if padding == "zeros":
        return x
    low, high = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
    span = high - low
    if span == 0:
        return x * 0
    away = ew.abs(x - low)
    turns = ew.floor(away.detach() / span)
    extra = away - turns * span
    folded = where(ew.eq(ew.remainder(turns, 2), 0), extra + low, span - extra + low)
    return folded.clamp(0, n - 1)  # type: ignore[no-any-return]


def _taps(x: Tensor, size: int, mode: str, padding_mode: str, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Positions and weights of the neighbours of coordinates in -1 .. 1 along a dimension."""
    at = (x + 1) * ((size - 1) / 2) if align_corners else ((x + 1) * size - 1) / 2
    if mode == "bicubic":
        low = ew.floor(at.detach())
        places = [_bounded(low + k, size, padding_mode, align_corners) for k in range(-1, 3)]
        return stack(places, -1).long(), stack(cubic(at - low, -0.75), -1)
    at = _bounded(at, size, padding_mode, align_corners)
    if mode == "nearest":
        # Steps: the weight is 1, and its derivative 0.
        return ew.round(at.detach()).long().unsqueeze(-1), where(table(np.zeros((), bool)), at, 1.0).unsqueeze(-1)
    low = ew.floor(at.detach())
    part = at - low
    return stack([low, low + 1], -1).long(), stack([1 - part, part], -1)


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """Points of a grid of the size (N, C, H, W) or (N, C, D, H, W), moved by affine matrices."""
    rank = len(size) - 2
    if not theta.dtype.is_float:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype!r}")
    if rank not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{tuple(size)}."
        )
    if theta.ndim != 3 or theta.shape[-2] != rank or theta.shape[-1] != rank + 1:
        raise ValueError(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size {tuple(size)}. Got "
            f"{theta.shape!r}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {tuple(size)}")
    if align_corners is None:
        _warn_of_corners()
    spatial = list(size[2:])
    axes = []
    for n in reversed(spatial):
        if align_corners:
            axes.append(np.linspace(-1, 1, n) if n > 1 else np.zeros(1))
        else:
            axes.append((np.arange(n) + 0.5) * 2 / n - 1)
    mesh = np.meshgrid(*reversed(axes), indexing="ij")
    points = np.stack([*reversed(mesh), np.ones(spatial)], -1).reshape(-1, rank + 1)
    moved = table(points.astype(theta.dtype.numpy)) @ theta.transpose(1, 2)
    return moved.reshape(size[0], *spatial, rank)


@rounded_once
def grid_sample(
    input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None
) -> Tensor:
    """The input at the points of `grid`, (-1, -1) to (1, 1) from corner to corner."""
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        _warn_of_corners()
    if grid.dtype is not input.dtype:
        raise RuntimeError(
            f"grid_sampler(): expected input and grid to have same dtype, but input has {input.dtype!r} and grid has "
            f"{grid.dtype!r}"
        )
    rank = input.ndim - 2
    if rank not in (2, 3) or input.ndim != grid.ndim:
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise RuntimeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != rank:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {rank} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    if mode == "bicubic" and rank == 3:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    places, weights = [], []
    for q in range(rank):  # the grid's last dimension counts the input's dimensions backwards
        at, weight = _taps(grid[..., rank - 1 - q], input.shape[2 + q], mode, padding_mode, bool(align_corners))
        places.append(at)
        weights.append(weight)
    kernel = _sampled_kernel(input.dtype.name, tuple(input.shape), tuple(grid.shape[1:-1]), places[0].shape[-1])
    return index_op(kernel, [input, *places, *weights])

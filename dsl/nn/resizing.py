"""Padding, resampling and rearranging images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from math import floor, prod
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.elementwise import where
from tdsl.nn.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tdsl.shapes import pad_constant, slice_dim
from tdsl.tensor import Tensor, from_array, op

__all__ = [
    "affine_grid", "channel_shuffle", "grid_sample", "interpolate", "pad", "pixel_shuffle", "pixel_unshuffle",
    "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip

Array = np.ndarray[Any, Any]

# ---- padding


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Padded, the last dimension first; negative amounts cut. Modes: constant, reflect, replicate, circular."""
    pads = [int(n) for n in pad]
    if len(pads) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pads) // 2 > input.ndim:
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pads)} and input of dimension {input.ndim}"
        )
    if mode == "constant":
        return _constant(input, pads, 0.0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _PLACES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    rank = len(pads) // 2
    if input.ndim not in (rank + 1, rank + 2) or rank not in (1, 2, 3):
        raise NotImplementedError("Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now")
    return _gathered(input, pads, mode)


def _constant(input: Tensor, pads: list[int], value: float) -> Tensor:
    low, high, x = [0] * input.ndim, [0] * input.ndim, input
    for k in range(len(pads) // 2):
        d, before, after = input.ndim - 1 - k, pads[2 * k], pads[2 * k + 1]
        n = input.shape[d]
        if n + before + after < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {before} and {after} resulted in a negative output size, "
                f"which is invalid. Check dimension {d} of your input."
            )
        start, stop = max(-before, 0), n - max(-after, 0)
        low[d], high[d] = max(before, 0), max(after, 0)
        if start > stop or start > n:  # more is cut off at one end than there is
            left = n + before + after
            low[d], high[d] = (left, 0) if before > 0 else (0, left)
            start = stop = 0
        if (start, stop) != (0, n):
            x = slice_dim(x, d, start, stop)
    fill: Any = value if input.dtype.is_float else bool(value) if input.dtype is dt.bool_ else int(value)
    return pad_constant(x, low, high, fill) if any(low) or any(high) else x.clone()


def _reflected(n: int, before: int, after: int, d: int, shape: Any) -> Array:
    if before >= n or after >= n:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {d} of input {list(shape)}"
        )
    at = np.arange(-before, n + after)
    return np.asarray((n - 1) - np.abs((n - 1) - np.abs(at)))


def _replicated(n: int, before: int, after: int, d: int, shape: Any) -> Array:
    return np.clip(np.arange(-before, n + after), 0, n - 1)


def _circular(n: int, before: int, after: int, d: int, shape: Any) -> Array:
    if before > n or after > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    if before < 0 and after < 0 and n + before + after < 0 or before + n < 0 or after + n < 0:
        raise RuntimeError("Negative padding value is resulting in an empty dimension")
    first, size = max(-before, 0), n - max(-before, 0) - max(-after, 0)  # what is cut off does not come round again
    return np.asarray(first + np.arange(-max(before, 0), size + max(after, 0)) % max(size, 1))


_PLACES = {"reflect": _reflected, "replicate": _replicated, "circular": _circular}


def _gathered(input: Tensor, pads: list[int], mode: str) -> Tensor:
    """Every other mode reads each dimension at positions known beforehand."""
    x = input
    for k in range(len(pads) // 2):
        d, before, after = input.ndim - 1 - k, pads[2 * k], pads[2 * k + 1]
        n = input.shape[d]
        if n == 0:
            raise RuntimeError(
                f"Expected {input.ndim - 1}D or {input.ndim}D (batch mode) tensor with possibly 0 batch size and other "
                f"non-zero dimensions for input, but got: {list(input.shape)}"
            )
        if n + before + after < 1:
            raise RuntimeError(f"input (size {n}) is too small. Calculated output size: {n + before + after}")
        if before or after:
            x = op("take", x, from_array(np.ascontiguousarray(_PLACES[mode](n, before, after, d, input.shape))), dim=d)
    return x.clone() if x is input else x


# ---- resampling: separable, each dimension a sparse or a full matrix of weights


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Tensor:  # fmt: skip
    """Another size by nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area."""
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | "
                "trilinear"
            )
        align_corners = False
    rank = input.ndim - 2
    out, scales = _sizes(input, size, scale_factor, rank, recompute_scale_factor)
    if antialias and not (mode in ("bilinear", "bicubic") and rank == 2):
        raise ValueError(
            "Anti-alias option is restricted to bilinear and bicubic modes and requires a 4-D tensor as input"
        )
    if min(out, default=1) <= 0 or min(input.shape[2:], default=1) <= 0:
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input ({', '.join(map(str, input.shape[2:]))}) "
            f"output ({', '.join(map(str, out))})"
        )
    needs = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[rank - 1](input, out)
    if mode in ("nearest", "nearest-exact"):
        return _nearest(input, out, scales, mode == "nearest-exact")
    if mode not in needs:
        raise NotImplementedError(
            "Input Error: Only 3D, 4D and 5D input Tensors supported (got "
            f"{input.ndim}D) for the modes: nearest | linear | bilinear | bicubic | trilinear | area | "
            f"nearest-exact (got {mode})"
        )
    if needs[mode] != rank:
        raise NotImplementedError(f"Got {input.ndim}D input, but {mode} mode needs {needs[mode] + 2}D input")
    x, aligned = input, bool(align_corners)
    for q in range(rank):
        matrix = _weights(input.shape[2 + q], out[q], scales[q], mode == "bicubic", aligned, antialias)
        x = (x.movedim(2 + q, -1) @ from_array(matrix).to(input.dtype)).movedim(-1, 2 + q)
    return x


def _sizes(
    input: Tensor, size: Any, scale_factor: Any, rank: int, recompute: bool | None
) -> tuple[list[int], list[float | None]]:
    if rank < 1 or rank > 3:
        raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {input.ndim}D)")
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if size is not None else scale_factor
    many = isinstance(given, list | tuple)
    if many and len(given) != rank:
        what = "size" if size is not None else "scale_factor"
        raise ValueError(
            f"Input and {'output' if size is not None else what} must have the same number of spatial dimensions, "
            "but got "
            f"input with spatial dimensions of {list(input.shape[2:])} and "
            f"{'output size' if size is not None else 'scale_factor'} of shape {list(given)}."
        )
    values = list(given) if many else [given] * rank
    if size is not None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return [int(n) for n in values], [None] * rank
    out = [floor(n * s) for n, s in zip(input.shape[2:], values, strict=True)]
    return out, [None] * rank if recompute else [float(s) for s in values]


def _nearest(input: Tensor, out: list[int], scales: list[float | None], exact: bool) -> Tensor:
    x = input
    for q, m in enumerate(out):
        n = input.shape[2 + q]
        ratio = np.float32(1 / scales[q] if scales[q] else n / m)  # type: ignore[operator]
        at = (np.arange(m, dtype=np.float32) + np.float32(0.5 if exact else 0.0)) * ratio
        places = np.minimum(np.floor(at).astype(np.int64), n - 1)
        x = op("take", x, from_array(places), dim=2 + q)
    return x


def _cubic(t: Array, a: float) -> Array:
    """Keys's kernel (1981)."""
    t = np.abs(t)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((t - 5) * t + 8) * t * a - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


@lru_cache(maxsize=256)
def _weights(n: int, m: int, scale: float | None, cubic: bool, aligned: bool, antialias: bool) -> Array:
    """(n, m): how much of each input goes into each output."""
    matrix = np.zeros((n, m))
    ratio = (n - 1) / (m - 1) if aligned and m > 1 else 0.0 if aligned else 1 / scale if scale else n / m
    if antialias:
        return _antialiased(matrix, ratio, cubic, aligned)
    for j in range(m):
        at = ratio * j if aligned else ratio * (j + 0.5) - 0.5
        if cubic:
            first = floor(at)
            weights = _cubic(at - (first + np.arange(-1, 3)), -0.75)
            for k, w in zip(range(first - 1, first + 3), weights, strict=True):
                matrix[min(max(k, 0), n - 1), j] += w
            continue
        at = max(at, 0.0)
        first = min(int(at), n - 1)
        part = min(max(at - first, 0.0), 1.0)
        matrix[first, j] += 1 - part
        matrix[min(first + 1, n - 1), j] += part
    return matrix


def _antialiased(matrix: Array, ratio: float, cubic: bool, aligned: bool) -> Array:
    """The kernel stretched to the step where the image shrinks; weights that sum to 1."""
    n, m = matrix.shape
    size = 4 if cubic else 2
    stretch = max(ratio, 1.0)
    support = size * 0.5 * stretch
    for j in range(m):
        centre = ratio * (j + 0.5)
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), n)
        t = (np.arange(low, high) - centre + 0.5) / stretch
        w = _cubic(t, -0.5) if cubic else np.maximum(1 - np.abs(t), 0.0)
        matrix[low:high, j] = w / w.sum()
    return matrix


def upsample(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Tensor:
    """interpolate, under its older name."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", UserWarning, stacklevel=2
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    return interpolate(input, size, scale_factor, "bilinear", True)


# ---- sampling at given points (Jaderberg et al., arXiv:1506.02025)


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
    spatial = list(size[2:])
    axes = []
    for n in reversed(spatial):
        if align_corners:
            axes.append(np.linspace(-1, 1, n) if n > 1 else np.zeros(1))
        else:
            axes.append((np.arange(n) + 0.5) * 2 / n - 1)
    mesh = np.meshgrid(*reversed(axes), indexing="ij")
    points = np.stack([*reversed(mesh), np.ones(spatial)], -1).reshape(-1, rank + 1)
    moved = from_array(points).to(theta.dtype) @ theta.transpose(1, 2)
    return moved.reshape(size[0], *spatial, rank)


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
    return _sampled(input, grid, mode, padding_mode, bool(align_corners))


def _sampled(input: Tensor, grid: Tensor, mode: str, padding: str, aligned: bool) -> Tensor:
    rank, spatial = input.ndim - 2, list(input.shape[2:])
    at: list[Tensor] = []
    for q in range(rank):
        n = spatial[q]
        u = grid[..., rank - 1 - q]
        x = (u + 1) * ((n - 1) / 2) if aligned else ((u + 1) * n - 1) / 2
        at.append(x if mode == "bicubic" else _bounded(x, n, padding, aligned))
    if mode == "nearest":
        return _corner(input, [ew.round(x) for x in at], None)
    if mode == "bicubic":
        return _bicubic(input, at, padding, aligned)
    base = [ew.floor(x) for x in at]
    part = [x - b.detach() for x, b in zip(at, base, strict=True)]
    total: Any = 0.0
    for corner in range(2**rank):
        bits = [corner >> q & 1 for q in range(rank)]
        weight: Any = 1.0
        for q in range(rank):
            weight = weight * (part[q] if bits[q] else 1 - part[q])
        total = total + _corner(input, [b + k for b, k in zip(base, bits, strict=True)], weight)
    return total  # type: ignore[no-any-return]


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


def _corner(input: Tensor, at: list[Tensor], weight: Any) -> Tensor:
    """The input at whole positions, 0 outside, times the weight: (N, C, ...)."""
    n, c = input.shape[:2]
    spatial = list(input.shape[2:])
    inside: Any = True
    place: Any = 0
    for x, m in zip(at, spatial, strict=True):
        x = x.detach()
        good = ew.ge(x, 0) & ew.lt(x, m)
        inside = good if inside is True else inside & good
        place = place * m + where(good, x, 0.0).to(dt.i64)
    shape = list(place.shape[1:])
    wide = place.reshape(n, 1, -1).expand(n, c, prod(shape))
    values = op("gather", input.reshape(n, c, -1), wide, dim=2).reshape(n, c, *shape)
    values = where(inside.unsqueeze(1), values, 0.0)
    return values if weight is None else values * weight.unsqueeze(1)  # type: ignore[no-any-return]


def _bicubic(input: Tensor, at: list[Tensor], padding: str, aligned: bool) -> Tensor:
    base = [ew.floor(x).detach() for x in at]
    weights = [_cubic_weights(x - b) for x, b in zip(at, base, strict=True)]
    total: Any = 0.0
    for i in range(4):
        for j in range(4):
            places = [
                _bounded(b + (k - 1), n, padding, aligned)
                for b, k, n in zip(base, (i, j), input.shape[2:], strict=True)
            ]
            total = total + _corner(input, places, weights[0][i] * weights[1][j])
    return total  # type: ignore[no-any-return]


def _cubic_weights(t: Tensor) -> list[Tensor]:
    a = -0.75

    def near(x: Tensor) -> Tensor:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Tensor) -> Tensor:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


# ---- channels and space


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) as (..., C, H r, W r) (Shi et al., arXiv:1609.05158)."""
    r = upscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            "upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    k = len(batch)
    x = input.reshape(*batch, c // (r * r), r, r, h, w)
    x = x.permute([*range(k), k, k + 3, k + 1, k + 4, k + 2])
    return (
        x.reshape(*batch, c // (r * r), h * r, w * r).clone()
        if r == 1
        else x.reshape(*batch, c // (r * r), h * r, w * r)
    )


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) as (..., C r^2, H, W)."""
    r = downscale_factor
    if input.ndim < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *batch, c, h, w = input.shape
    for name, n, size in (("height", h, -2), ("width", w, -1)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({size})={n} is "
                "not "
                f"divisible by {r}"
            )
    k = len(batch)
    x = input.reshape(*batch, c, h // r, r, w // r, r)
    x = x.permute([*range(k), k, k + 2, k + 4, k + 1, k + 3])
    return x.reshape(*batch, c * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of groups in turn (Zhang et al., arXiv:1707.01083)."""
    if input.ndim < 3:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    n, c = input.shape[:2]
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
            if groups > 0 else f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )  # fmt: skip
    rest = list(input.shape[2:])
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)

"""Padding, resampling and rearranging images."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.nn.adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tdsl.nn.mixing import mix
from tdsl.nn.windows import Array, table
from tdsl.shapes import pad_constant, slice_dim
from tdsl.tensor import Tensor, op, type_name

__all__ = [
    "channel_shuffle", "interpolate", "pad", "pixel_shuffle", "pixel_unshuffle",
    "upsample", "upsample_bilinear", "upsample_nearest",
]  # fmt: skip

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
            x = op("take", x, table(_PLACES[mode](n, before, after, d, input.shape)), dim=d)
    return x.clone() if x is input else x


# ---- resampling: separable, each dimension in turn mixes a few neighbours by a table of weights


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
    return _interpolated(input, out, scales, mode, bool(align_corners), antialias)


def _interpolated(
    input: Tensor, out: list[int], scales: list[float | None], mode: str, aligned: bool, antialias: bool
) -> Tensor:
    """Each dimension in turn; bytes are computed in single precision, and rounded each time."""
    dtype = input.dtype
    if not dtype.is_float and dtype is not dt.u8:
        raise NotImplementedError(f"\"compute_indices_weights_{mode}\" not implemented for '{type_name(dtype)}'")
    x = input if dtype.is_float else input.to(dt.f32)
    real = np.float64 if dtype is dt.f64 else np.float32
    for q in reversed(range(len(out))):
        n, m = x.shape[2 + q], out[q]
        if antialias:
            places, weights = _smooth_table(mode, n, m, aligned, scales[q], real)
        else:
            make = _cubic_table if mode == "bicubic" else _linear_table
            places, weights = make(n, m, aligned, scales[q], real)
        x = mix(x, 2 + q, places, weights)
        x = x if dtype.is_float else (x + 0.5).floor().clamp(0, 255)
    return x if dtype.is_float else x.to(dtype)  # type: ignore[no-any-return]


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
        x = op("take", x, table(places), dim=2 + q)
    return x


def _ratio(size: int, out: int, align_corners: bool, scale: float | None) -> float:
    """How far apart neighbouring outputs lie in the input."""
    if align_corners:
        return (size - 1) / (out - 1) if out > 1 else 0.0
    return 1.0 / scale if scale is not None and scale > 0 else size / out


def _sources(size: int, out: int, align_corners: bool, scale: float | None, real: Any) -> Array:
    """Where outputs lie in the input; `real` is the precision that PyTorch computes them in."""
    i, ratio = np.arange(out, dtype=real), real(_ratio(size, out, align_corners, scale))
    return i * ratio if align_corners else (i + real(0.5)) * ratio - real(0.5)


def cubic(t: Any, a: float) -> tuple[Any, Any, Any, Any]:
    """Keys' weights of the four neighbours of a point `t` after the second."""
    return (
        ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1,
        ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
    )


def _linear_table(size: int, out: int, align_corners: bool, scale: float | None, real: Any) -> tuple[Array, Array]:
    at = np.maximum(_sources(size, out, align_corners, scale, real), 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    part = np.clip(at - low, 0, 1)
    return np.stack([low, np.minimum(low + 1, size - 1)], 1), np.stack([1 - part, part], 1)


def _cubic_table(size: int, out: int, align_corners: bool, scale: float | None, real: Any) -> tuple[Array, Array]:
    at = _sources(size, out, align_corners, scale, real)
    low = np.floor(at)
    places = low.astype(np.int64)[:, None] + np.arange(-1, 3)
    return np.clip(places, 0, size - 1), np.stack(cubic(at - low, -0.75), 1)


def _triangle(x: Array) -> Array:
    return np.maximum(1 - np.abs(x), 0)


def _keys(x: Array) -> Array:
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _smooth_table(
    mode: str, size: int, out: int, align_corners: bool, scale: float | None, real: Any
) -> tuple[Array, Array]:
    """Anti-aliased: a filter as wide as an output's share of the input."""
    ratio = float(real(_ratio(size, out, align_corners, scale)))
    radius, weigh = (1.0, _triangle) if mode == "bilinear" else (2.0, _keys)
    support = radius * max(ratio, 1.0)
    centre = ratio * (np.arange(out) + 0.5)
    start = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.int64), size)
    places = start[:, None] + np.arange(max(int((stop - start).max()), 1))
    weights = weigh((places - centre[:, None] + 0.5) / max(ratio, 1.0))
    weights = np.where(places < stop[:, None], weights, 0.0)
    total = weights.sum(1, keepdims=True)
    return np.minimum(places, size - 1), weights / np.where(total == 0, 1, total)


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

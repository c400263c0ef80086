"""`tdsl.masked`: reductions and normalisations of the elements that a mask lets through, under PyTorch's names.

A mask is True where an element counts; it broadcasts to the input. What it hides is replaced by the number that
changes nothing: 0 in a sum, 1 in a product, -inf in a maximum. Where it hides everything, that number is the result,
and of a mean, variance or median NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan

from tdsl import maths, reductions, scans, sorting, statistics
from tdsl.broadcasting import broadcast_to
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import IndexError, RuntimeError, ValueError
from tdsl.elementwise import constant, isnan, maximum, sqrt, where
from tdsl.formulas import iinfo
from tdsl.reductions import Dims, one_dim
from tdsl.tensor import Tensor, wrap_dim

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

# ---- what a mask does


def _wide(mask: Tensor, x: Tensor) -> Tensor:
    """The mask as a bool of x's shape."""
    if mask.ndim > x.ndim:
        raise IndexError("_input_mask expected broadcastable mask (got mask dimensionality higher than of the input)")
    return broadcast_to(mask, tuple(x.shape)).to(dt.bool_)  # type: ignore[no-any-return]


def _kept(x: Tensor, mask: Tensor | None, hidden: float) -> Tensor:
    """x, with `hidden` where the mask is False."""
    return x if mask is None else where(_wide(mask, x), x, hidden).to(x.dtype)


def _least(x: Tensor) -> float:
    return -inf if x.dtype.is_float else iinfo(x.dtype).min


def _greatest(x: Tensor) -> float:
    return inf if x.dtype.is_float else iinfo(x.dtype).max


def _dims(dim: Dims, ndim: int) -> tuple[int, ...]:
    """The dimensions, from the start; None is all of them, and so is () (as in PyTorch, but not for a 0-d tensor)."""
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        return tuple(range(ndim))
    dims: list[int] = []
    for d in [dim] if isinstance(dim, int) else dim:
        wrapped = wrap_dim(d, ndim)
        if wrapped in dims:
            raise RuntimeError(f"dim={wrapped} appears multiple times in the list of dims")
        dims.append(wrapped)
    return tuple(sorted(dims)) if ndim else ()


def _widened(x: Tensor, dtype: DType | None) -> DType:
    """What sums and products of x are by default."""
    return dtype or (x.dtype if x.dtype.is_float else dt.i64)


# ---- reductions


def sum(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The sum of what the mask lets through."""
    x = _kept(input, mask, 0)
    return reductions.sum(x, _dims(dim, x.ndim), bool(keepdim), dtype=_widened(x, dtype))


def prod(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The product of what the mask lets through."""
    x = _kept(input, mask, 1).to(_widened(input, dtype))
    for d in reversed(_dims(dim, x.ndim)):
        x = reductions.prod(x, d, bool(keepdim))
    return x


def amax(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The largest of what the mask lets through."""
    x = _kept(input, mask, _least(input)) if mask is not None else input
    return reductions.amax(x, _dims(dim, x.ndim), bool(keepdim)).to(dtype or x.dtype)  # type: ignore[no-any-return]


def amin(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The smallest of what the mask lets through."""
    x = _kept(input, mask, _greatest(input)) if mask is not None else input
    return reductions.amin(x, _dims(dim, x.ndim), bool(keepdim)).to(dtype or x.dtype)  # type: ignore[no-any-return]


def argmax(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The position of the largest of what the mask lets through."""
    x = _kept(input, mask, _least(input)) if mask is not None else input
    return reductions.argmax(x, dim, bool(keepdim)).to(dtype or x.dtype)  # type: ignore[no-any-return]


def argmin(
    input: Tensor,
    dim: int | None = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The position of the smallest of what the mask lets through."""
    x = _kept(input, mask, _greatest(input)) if mask is not None else input
    return reductions.argmin(x, dim, bool(keepdim)).to(dtype or x.dtype)  # type: ignore[no-any-return]


def _count(x: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Tensor:
    """How many elements the mask lets through."""
    return reductions.sum(
        _wide(x.new_ones((), dtype=dt.bool_) if mask is None else mask, x), _dims(dim, x.ndim), keepdim
    )


def mean(
    input: Tensor,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The mean of what the mask lets through; NaN where that is nothing."""
    wanted = dtype or input.dtype
    if not wanted.is_float:
        raise ValueError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {wanted!r}"
        )
    total = sum(input, dim, keepdim=keepdim, dtype=wanted, mask=mask)
    return total / _count(input, dim, bool(keepdim), mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """The lower median along `dim` of what the mask lets through; NaN where that is nothing."""
    d = one_dim("median", dim, input.ndim)
    floating = input.dtype.is_float
    x = _kept(input if floating else input.to(dt.f32), mask, nan)
    found: Tensor = sorting.nanmedian(x, d, keepdim).values
    if floating:
        return found
    if bool(isnan(found).any()):
        raise ValueError("masked median expects no fully masked out rows if dtype is not floating point")
    return found.to(dtype or input.dtype)  # type: ignore[no-any-return]


def logsumexp(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """log of the sum of exp of what the mask lets through."""
    x = _kept(input, mask, _least(input))
    return reductions.logsumexp(x, _dims(dim, x.ndim), keepdim).to(dtype or input.dtype)  # type: ignore[no-any-return]


def logaddexp(
    input: Tensor,
    other: Tensor,
    *,
    dtype: DType | None = None,
    input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:
    """log(exp(input) + exp(other)) of what each one's mask lets through."""
    a, b = _kept(input, input_mask, _least(input)), _kept(other, other_mask, _least(other))
    return maths.logaddexp(a, b).to(dtype or input.dtype)  # type: ignore[no-any-return]


def norm(
    input: Tensor,
    ord: float | None = 2.0,
    dim: Dims = None,
    *,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The norm of order `ord` of what the mask lets through."""
    order = 2.0 if ord is None else float(ord)
    x = _kept(input, mask, inf if order == -inf else 0)
    return statistics.vector_norm(x, order, _dims(dim, x.ndim), bool(keepdim), dtype=dtype or input.dtype)


def _variance(
    input: Tensor, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool, dtype: DType | None,
    mask: Tensor | None,
) -> Tensor:  # fmt: skip
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    less = float(unbiased) if unbiased is not None else 1.0 if correction is None else float(correction)
    wanted = dtype or (input.dtype if input.dtype.is_float else dt.f32)
    compute = wanted if wanted.is_float else dt.f32
    count = _count(input, dim, True, mask)
    centre = sum(input, dim, keepdim=True, dtype=wanted, mask=mask) / count
    centred = input - centre
    total = sum(centred * centred, dim, keepdim=keepdim, dtype=compute, mask=mask)
    if not keepdim:
        count = count.reshape(tuple(total.shape))
    if less:
        count = maximum(count.to(compute) - less, constant(0.0, total))
    return (total / count).to(wanted)  # type: ignore[no-any-return]


def var(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The variance of what the mask lets through; NaN where that is nothing."""
    return _variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask)


def std(
    input: Tensor,
    dim: Dims = None,
    unbiased: bool | None = None,
    *,
    correction: float | None = None,
    keepdim: bool | None = False,
    dtype: DType | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """The standard deviation of what the mask lets through; NaN where that is nothing."""
    return sqrt(_variance(input, dim, unbiased, correction, bool(keepdim), dtype, mask))


# ---- along a dimension


def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running sums of what the mask lets through."""
    return scans.cumsum(_kept(input, mask, 0), dim, dtype=dtype or input.dtype)


def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """Running products of what the mask lets through."""
    return scans.cumprod(_kept(input, mask, 1), dim, dtype=dtype or input.dtype)


def softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax of what the mask lets through; 0 elsewhere, and NaN where it lets nothing through."""
    return reductions.softmax(_kept(input, mask, _least(input)), dim, dtype or input.dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """log_softmax of what the mask lets through; -inf elsewhere, and NaN where it lets nothing through."""
    return reductions.log_softmax(_kept(input, mask, _least(input)), dim, dtype or input.dtype)


def softmin(input: Tensor, dim: int, *, dtype: DType | None = None, mask: Tensor | None = None) -> Tensor:
    """softmax of the negated elements that the mask lets through."""
    return reductions.softmax(-_kept(input, mask, _greatest(input)), dim, dtype or input.dtype)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: DType | None = None, mask: Tensor | None = None
) -> Tensor:
    """What the mask lets through, over the larger of its norm along `dim` and eps; 0 elsewhere."""
    length = norm(input, ord, dim, keepdim=True, dtype=dtype or input.dtype, mask=mask)
    return _kept(input, mask, 0) / maximum(length, constant(eps, length))

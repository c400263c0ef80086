"""Functions that are formulas of other functions, under PyTorch's names; fusion makes them one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from math import log as _log
from math import prod as _product
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl import reductions, shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import constant, floating, where
from tdsl.recording import record
from tdsl.tensor import Number, Tensor, op, wrap_dim

__all__ = [
    "acos", "addcdiv", "addcmul", "addmm", "aminmax", "asin", "atan", "baddbmm", "bitwise_left_shift",
    "bitwise_right_shift", "can_cast", "cosh", "count_nonzero", "diag", "dist", "exp2", "finfo", "fliplr", "flipud",
    "fmax",
    "fmin", "frac", "heaviside", "hstack", "hypot", "iinfo", "is_floating_point", "is_tensor", "kron", "lerp",
    "log10", "log2",
    "logaddexp",
    "meshgrid", "nan_to_num", "nanmean", "nansum", "numel", "ravel", "repeat_interleave", "reshape_as", "roll",
    "rot90", "rsub", "sinh", "std_mean", "tensor_split", "trace", "unfold", "var_mean", "view_as", "vstack",
]  # fmt: skip

# ---- elementwise


def rsub(input: Tensor, other: Any, *, alpha: Number = 1) -> Tensor:
    return ew.sub(other, input if alpha == 1 else input * alpha)


def asin(input: Tensor) -> Tensor:
    x = floating(input)
    one = constant(1.0, x)
    return ew.atan2(x, ew.sqrt((one - x) * (one + x)))


def acos(input: Tensor) -> Tensor:
    x = floating(input)
    one = constant(1.0, x)
    return ew.atan2(ew.sqrt((one - x) * (one + x)), x)


def atan(input: Tensor) -> Tensor:
    x = floating(input)
    return ew.atan2(x, constant(1.0, x))


def sinh(input: Tensor) -> Tensor:
    x = floating(input)
    return (ew.exp(x) - ew.exp(-x)) * constant(0.5, x)  # type: ignore[no-any-return]


def cosh(input: Tensor) -> Tensor:
    x = floating(input)
    return (ew.exp(x) + ew.exp(-x)) * constant(0.5, x)  # type: ignore[no-any-return]


def exp2(input: Tensor) -> Tensor:
    x = floating(input)
    return ew.exp(x * constant(_log(2.0), x))


def log2(input: Tensor) -> Tensor:
    x = floating(input)
    return ew.log(x) * constant(1 / _log(2.0), x)  # type: ignore[no-any-return]


def log10(input: Tensor) -> Tensor:
    x = floating(input)
    return ew.log(x) * constant(1 / _log(10.0), x)  # type: ignore[no-any-return]


def frac(input: Tensor) -> Tensor:
    """The part behind the point, with the sign of x."""
    return input - ew.trunc(input)  # type: ignore[no-any-return]


def hypot(input: Tensor, other: Tensor) -> Tensor:
    return ew.sqrt(input * input + other * other)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(a) + exp(b)), without overflow."""
    top = ew.maximum(input, other)
    return top + ew.log1p(ew.exp(-ew.abs(input - other)))  # type: ignore[no-any-return]


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger; a NaN only where both are. At a tie the gradient goes to `input`."""
    keep = ew.ge(input, other) | ew.isnan(other)
    return where(keep, input, other)  # type: ignore[no-any-return]


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller; a NaN only where both are."""
    keep = ew.le(input, other) | ew.isnan(other)
    return where(keep, input, other)  # type: ignore[no-any-return]


def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN replaced, and the infinities by the largest numbers."""
    if not input.dtype.is_float:
        return input.clone()  # type: ignore[no-any-return]
    largest = finfo(input.dtype).max
    x = where(ew.isnan(input), nan, input)
    x = where(ew.eq(x, float("inf")), largest if posinf is None else posinf, x)
    return where(ew.eq(x, float("-inf")), -largest if neginf is None else neginf, x)  # type: ignore[no-any-return]


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    step = ew.gt(input, 0).to(input.dtype)
    return where(ew.eq(input, 0), values, step)  # type: ignore[no-any-return]


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    return input + (end - input) * weight  # type: ignore[no-any-return]


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)  # type: ignore[no-any-return]


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    if not tensor1.dtype.is_float and not tensor2.dtype.is_float:
        raise RuntimeError("Integer division with addcdiv is no longer supported; convert to a floating dtype first")
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)  # type: ignore[no-any-return]


def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    return ew.mul(input, ew.pow(ew.as_operand(2), other) if isinstance(other, Tensor) else 1 << other)


def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    return ew.floor_divide(input, ew.pow(ew.as_operand(2), other) if isinstance(other, Tensor) else 1 << other)


class finfo:
    """The limits of a floating dtype.

    >>> finfo(dt.f32).eps
    1.1920928955078125e-07
    """

    def __init__(self, dtype: dt.DType | None = None) -> None:
        found = np.finfo((dtype or ew.Defaults.dtype).numpy)  # type: ignore[type-var]
        self.bits, self.eps = int(found.bits), float(found.eps)
        self.min, self.max = float(found.min), float(found.max)
        self.tiny = self.smallest_normal = float(found.tiny)
        self.resolution = float(found.resolution)
        self.dtype = str(found.dtype)


class iinfo:
    """The limits of an integer dtype.

    >>> iinfo(dt.i8).max
    127
    """

    def __init__(self, dtype: dt.DType) -> None:
        self.bits = dtype.bits
        self.min = -(1 << (dtype.bits - 1)) if dtype.signed else 0
        self.max = self.min + (1 << dtype.bits) - 1
        self.dtype = dtype.torch_name


# ---- reductions


def var_mean(input: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    variance = reductions.var(input, dim, keepdim=keepdim, correction=correction)
    return variance, reductions.mean(input, dim, keepdim)


def std_mean(input: Tensor, dim: Any = None, *, correction: float = 1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    deviation = reductions.std(input, dim, keepdim=keepdim, correction=correction)
    return deviation, reductions.mean(input, dim, keepdim)


def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    return reductions.sum(ew.ne(input, 0), dim)


def nansum(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return reductions.sum(where(ew.isnan(input), 0, input), dim, keepdim)


def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    count = reductions.sum(~ew.isnan(input), dim, keepdim)
    return nansum(input, dim, keepdim) / count  # type: ignore[no-any-return]


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    return reductions.norm(input - other, p)


def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return reductions.amin(input, dim, keepdim), reductions.amax(input, dim, keepdim)


# ---- arrangements


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal."""
    if input.ndim == 2:
        return shapes.diagonal(input, diagonal).clone()  # type: ignore[no-any-return]
    if input.ndim != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    low, right = max(-diagonal, 0), max(diagonal, 0)
    n = input.shape[0] + low + right
    rows = Tensor(record("iota", length=n)).unsqueeze(1)
    columns = Tensor(record("iota", length=n)).unsqueeze(0)
    padded = shapes.pad_constant(input, (right,), (low,)) if low or right else input
    return where(ew.eq(columns - rows, diagonal), padded, 0)  # type: ignore[no-any-return]


def trace(input: Tensor) -> Tensor:
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return reductions.sum(shapes.diagonal(input))


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Elements moved along dims; what leaves at one end comes in at the other."""
    if dims is None:
        return roll(input.reshape(-1), shifts, 0).reshape(tuple(input.shape))  # type: ignore[no-any-return]
    x = input
    moves = [shifts] if isinstance(shifts, int) else shifts
    along = [dims] if isinstance(dims, int) else dims
    if len(moves) != len(along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(along)}")
    for shift, dim in zip(moves, along, strict=True):
        d = wrap_dim(dim, x.ndim)
        n = x.shape[d]
        k = -shift % n if n else 0
        x = shapes.cat([shapes.narrow(x, d, k, n - k), shapes.narrow(x, d, 0, k)], d) if k else x
    return x.clone() if x is input else x  # type: ignore[no-any-return]


def fliplr(input: Tensor) -> Tensor:
    return shapes.flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    return shapes.flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    a, b = dims
    turns = k % 4
    if turns == 0:
        return input.clone()  # type: ignore[no-any-return]
    if turns == 2:
        return shapes.flip(input, a, b)
    x = shapes.transpose(input, a, b)
    return shapes.flip(x, a if turns == 1 else b)


def repeat_interleave(input: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Each element repeated where it stands."""
    if dim is None:
        return repeat_interleave(input.reshape(-1), repeats, 0)
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if isinstance(repeats, int):
        x = shapes.unsqueeze(input, d + 1)
        x = shapes.expand(x, (*x.shape[: d + 1], repeats, *x.shape[d + 2 :]))
        return shapes.reshape(x, (*input.shape[:d], n * repeats, *input.shape[d + 1 :]))
    places = [k for k, times in enumerate(repeats.tolist()) for _ in range(times)]
    return op("take", input, input.new_tensor(places, dtype=dt.i64), dim=d)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    xs = list(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], Tensor) else list(tensors)
    if indexing == "xy" and len(xs) > 1:
        swapped = meshgrid(xs[1], xs[0], *xs[2:])
        grids = [shapes.transpose(g, 0, 1) for g in swapped]
        return (grids[1], grids[0], *grids[2:])
    shape = tuple(x.numel() for x in xs)
    return tuple(
        shapes.expand(x.reshape([n if q == k else 1 for q, n in enumerate(shape)]), shape) for k, x in enumerate(xs)
    )


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    xs = [x.reshape(1) if x.ndim == 0 else x for x in tensors]
    return shapes.cat(xs, 0 if xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    return shapes.cat([x.reshape(1, -1) if x.ndim < 2 else x for x in tensors], 0)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if isinstance(indices_or_sections, int):
        k = indices_or_sections
        ends = [(i + 1) * (n // k) + min(i + 1, n % k) for i in range(k)]
    else:
        ends = [min(int(i), n) for i in indices_or_sections] + [n]
    starts = [0, *ends[:-1]]
    return tuple(shapes.slice_dim(input, d, a, max(a, b)) for a, b in zip(starts, ends, strict=True))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    return shapes.view(input, tuple(other.shape))


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    return shapes.reshape(input, tuple(other.shape))


def ravel(input: Tensor) -> Tensor:
    return shapes.reshape(input, -1)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of `size` along a dimension, the window's elements last (a copy)."""
    d = wrap_dim(dimension, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    first = Tensor(record("iota", length=(n - size) // step + 1)) * step
    places = first.unsqueeze(1) + Tensor(record("iota", length=size)).unsqueeze(0)
    return shapes.movedim(op("take", input, places, dim=d), d + 1, -1)


# ---- products


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    product = shapes.mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    return product + (input if beta == 1 else input * beta)  # type: ignore[no-any-return]


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    product = shapes.bmm(batch1, batch2)
    product = product if alpha == 1 else product * alpha
    return product + (input if beta == 1 else input * beta)  # type: ignore[no-any-return]


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Every element of `input` times all of `other`, laid out in blocks."""
    n = max(input.ndim, other.ndim)
    left = (1,) * (n - input.ndim) + tuple(input.shape)
    right = (1,) * (n - other.ndim) + tuple(other.shape)
    a = input.reshape([size for m in left for size in (m, 1)])
    b = other.reshape([size for m in right for size in (1, m)])
    return (a * b).reshape([p * q for p, q in zip(left, right, strict=True)])  # type: ignore[no-any-return]


# ---- of tensors and dtypes


def numel(input: Tensor) -> int:
    return _product(input.shape)


def is_tensor(obj: Any) -> bool:
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    return input.dtype.is_float


def can_cast(from_: dt.DType, to: dt.DType) -> bool:
    """Whether a cast keeps the category: floats do not become ints, nor numbers bools."""
    return from_.category <= to.category and not (from_.signed and not to.signed and to.category == dt.INT)

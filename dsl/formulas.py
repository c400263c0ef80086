"""Functions that are formulas of other functions, under PyTorch's names; fusion makes them one kernel."""

from __future__ import annotations

from math import log as _log
from math import prod as _product
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl import reductions, shapes, statistics
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import constant, floating, where
from tdsl.tensor import Number, Tensor

__all__ = [
    "acos", "addcdiv", "addcmul", "addmm", "asin", "atan", "baddbmm", "bitwise_left_shift",
    "bitwise_right_shift", "can_cast", "cosh", "dist", "exp2", "finfo", "fmax",
    "fmin", "frac", "heaviside", "hypot", "iinfo", "is_floating_point", "is_tensor", "kron", "lerp",
    "log10", "log2",
    "logaddexp",
    "nan_to_num", "numel", "rsub", "sinh", "trace", ]  # fmt: skip

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


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    return statistics.norm(input - other, p)


# ---- arrangements


def trace(input: Tensor) -> Tensor:
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return reductions.sum(shapes.diagonal(input))


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

"""Functions that are formulas of other functions, under PyTorch's names; fusion makes them one kernel."""

from __future__ import annotations

from math import prod as _product
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl import reductions, shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.tensor import Tensor

__all__ = [
    "can_cast", "finfo", "iinfo", "is_floating_point", "is_tensor", "numel", "trace",
]  # fmt: skip


class finfo:
    """The limits of a floating dtype.

    >>> finfo(dt.f32).eps
    1.1920928955078125e-07
    """

    def __init__(self, dtype: dt.DType | None = None) -> None:
        dtype = dtype or ew.Defaults.dtype
        if dtype is dt.bf16:
            self._of_bfloat16()
            return
        found = np.finfo(dtype.numpy)  # type: ignore[type-var]
        self.bits, self.eps = int(found.bits), float(found.eps)
        self.min, self.max = float(found.min), float(found.max)
        self.tiny = self.smallest_normal = float(found.tiny)
        self.resolution = float(found.resolution)
        self.dtype = str(found.dtype)

    def _of_bfloat16(self) -> None:
        """Eight bits of exponent, as float32, and seven of mantissa."""
        self.bits, self.eps, self.resolution, self.dtype = 16, 2.0**-7, 0.01, "bfloat16"
        self.max = (2 - 2.0**-7) * 2.0**127
        self.min, self.tiny = -self.max, 2.0**-126
        self.smallest_normal = self.tiny


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


# ---- arrangements


def trace(input: Tensor) -> Tensor:
    if input.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}")
    return reductions.sum(shapes.diagonal(input))


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

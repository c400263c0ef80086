"""Rows of a dimension mixed by small constant tables: the one kernel of resizing and of adaptive means."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.nn.windows import Array, table
from tdsl.tensor import Tensor, index_op


@lru_cache(maxsize=512)
def _mixed_kernel(dtype: DType, before: int, size: int, after: int, out: int, taps: int) -> Kernel:
    return intern(parse(
        f"kernel mixed(a0: {dtype.name}[{before},{size},{after}], a1: i64[{out},{taps}], "
        f"a2: {dtype.name}[{out},{taps}]) -> (y):\n  y[m, i, l] := sum[t] a2[i, t] * a0[m, a1[i, t], l]"
    ))  # fmt: skip


def _around(x: Tensor, dim: int) -> tuple[int, int, int]:
    return prod(x.shape[:dim]), x.shape[dim], prod(x.shape[dim + 1 :])


def mix(x: Tensor, dim: int, places: Array, weights: Array) -> Tensor:
    """Element i along `dim` becomes the sum over t of weights[i, t] times element places[i, t]."""
    around = _around(x, dim)
    kernel = _mixed_kernel(x.dtype, *around, *places.shape)
    y = index_op(kernel, [x.reshape(*around), table(places.astype(np.int64)), table(weights.astype(x.dtype.numpy))])
    return y.reshape(*x.shape[:dim], len(places), *x.shape[dim + 1 :])  # type: ignore[no-any-return]

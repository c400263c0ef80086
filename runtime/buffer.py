"""The bytes of a tensor: dense, row-major, 64-byte aligned where tdsl allocates them."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.compiler.source import MemoryError

ALIGNMENT = 64
LIMIT = 1 << 62  # bytes; what the machine has is asked of NumPy


class Buffer:
    """`array` is 1-D and contiguous and owns (or holds alive) the bytes; `address` is where they start.

    `shared`: somebody outside (NumPy, DLPack) may read or write these bytes at any time, so what is recorded on
    them is run at once and in-place ops write into them.
    """

    __slots__ = ("array", "address", "shared", "__weakref__")

    def __init__(self, array: np.ndarray[Any, Any], shared: bool = False) -> None:
        self.array = array
        self.address: int = array.ctypes.data
        self.shared = shared

    def view(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return self.array.reshape(shape)


def empty(dtype: DType, count: int) -> Buffer:
    """`count` elements, not initialised."""
    nbytes = count * dtype.itemsize
    if nbytes > LIMIT:
        raise MemoryError(f"a tensor of {count} {dtype} elements needs {nbytes} bytes: its size overflows")
    try:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    except builtins.MemoryError as error:
        raise MemoryError(f"a tensor of {count} {dtype} elements needs {nbytes} bytes: {error}") from None
    start = -raw.ctypes.data % ALIGNMENT
    return Buffer(raw[start : start + nbytes].view(dtype.numpy))

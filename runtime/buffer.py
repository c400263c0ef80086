"""The bytes of a tensor: dense, row-major, 64-byte aligned where tdsl allocates them."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.compiler.source import MemoryError

ALIGNMENT = 64
LIMIT = 1 << 62  # bytes; what the machine has is asked of NumPy


POOL_LIMIT = 256 << 20  # bytes kept for reuse
POOL_DEPTH = 64  # buffers kept of one size


class Buffer:
    """`array` is 1-D and contiguous and owns (or holds alive) the bytes; `address` is where they start.

    `shared`: somebody outside (NumPy, DLPack) may read or write these bytes at any time, so what is recorded on
    them is run at once and in-place ops write into them.
    """

    __slots__ = ("array", "address", "shared", "pooled", "__weakref__")

    def __init__(self, array: np.ndarray[Any, Any], shared: bool = False, address: int | None = None) -> None:
        self.array = array
        self.address: int = array.ctypes.data if address is None else address
        self.shared = shared
        self.pooled = False

    def view(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return self.array.reshape(shape)

    def __del__(self) -> None:
        """Keep the bytes for the next buffer of this size, unless somebody still sees them."""
        if self.pooled and not self.shared and _pool is not None:
            _pool.give(self.array, self.address)


def free(buffer: Buffer, holders: int) -> bool:
    """Whether nobody but the caller, who knows of `holders` references, sees these bytes: they may be written."""
    array = buffer.array
    return (
        buffer.pooled and not buffer.shared and sys.getrefcount(buffer) == holders + 2
        and sys.getrefcount(array) <= 3 and sys.getrefcount(array.base) <= 2
    )  # fmt: skip


class _Pool:
    """Freed buffers by size and dtype: allocation costs a microsecond, and fresh pages many more."""

    def __init__(self) -> None:
        self.free: dict[tuple[np.dtype[Any], int], list[tuple[np.ndarray[Any, Any], int]]] = {}
        self.nbytes = 0

    def take(self, dtype: DType, count: int) -> Buffer | None:
        found = self.free.get((dtype.storage, count))
        if not found:
            return None
        array, address = found.pop()
        self.nbytes -= array.nbytes
        return Buffer(array, False, address)

    def give(self, array: np.ndarray[Any, Any], address: int) -> None:
        # the memory's owner is seen by this array alone: any NumPy view of it would hold the owner, too
        if sys.getrefcount(array.base) > 2 or self.nbytes + array.nbytes > POOL_LIMIT:
            return
        kept = self.free.setdefault((array.dtype, array.size), [])
        if len(kept) < POOL_DEPTH:
            kept.append((array, address))
            self.nbytes += array.nbytes


_pool: _Pool | None = _Pool()


def empty(dtype: DType, count: int) -> Buffer:
    """`count` elements, not initialised."""
    pool = _pool
    if pool is not None:
        found = pool.take(dtype, count)
        if found is not None:
            found.pooled = True
            return found
    nbytes = count * dtype.itemsize
    if nbytes > LIMIT:
        raise MemoryError(f"a tensor of {count} {dtype.name} elements needs {nbytes} bytes: its size overflows")
    try:
        raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    except builtins.MemoryError as error:
        raise MemoryError(f"a tensor of {count} {dtype.name} elements needs {nbytes} bytes: {error}") from None
    start = -raw.ctypes.data % ALIGNMENT
    made = Buffer(raw[start : start + nbytes].view(dtype.storage))
    made.pooled = True
    return made

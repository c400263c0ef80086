"""Elements read and written at positions that other tensors give, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl import indexing
from tdsl.compiler import dtype as dt
from tdsl.compiler.graph import number
from tdsl.compiler.source import IndexError, RuntimeError
from tdsl.elementwise import as_operand, made, where
from tdsl.recording import record
from tdsl.tensor import Tensor, contiguous_strides, from_array, op, wrap_dim

__all__ = [
    "argwhere", "gather", "index_add", "index_copy", "index_fill", "index_put", "index_select", "masked_fill",
    "masked_scatter", "masked_select", "nonzero", "scatter", "scatter_add", "take", "take_along_dim",
]  # fmt: skip


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of what is not 0; its size depends on the data, so it is known at once."""
    array = input.array()
    found = np.nonzero(array) if array.ndim else ()
    if as_tuple:
        return tuple(from_array(f) for f in (found or np.nonzero(array.reshape(1))))
    return from_array(np.stack(found, 1) if found else np.zeros((int(bool(array)), 0), np.int64))


def argwhere(input: Tensor) -> Tensor:
    return nonzero(input)  # type: ignore[no-any-return]


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[i, j] = input[index[i, j], j] for dim 0, and so on."""
    return op("gather", input, index, dim=wrap_dim(dim, input.ndim))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather, with the other dimensions broadcast; of all elements in order without a dim."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    d = wrap_dim(dim, input.ndim)
    shape = np.broadcast_shapes(
        tuple(1 if k == d else n for k, n in enumerate(input.shape)),
        tuple(1 if k == d else n for k, n in enumerate(indices.shape)),
    )
    wide = indices.expand(*shape[:d], indices.shape[d], *shape[d + 1 :])
    return gather(input.expand(*shape[:d], input.shape[d], *shape[d + 1 :]), d, wide)


def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements at positions of the flattened input."""
    return op("take", input.reshape(-1), index.to(dt.i64), dim=0)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    return op("take", input, index.reshape(-1).to(dt.i64), dim=wrap_dim(dim, input.ndim))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input with src[i, j] added at [index[i, j], j] for dim 0, and so on."""
    return op("scatter_add", input, index, src, dim=wrap_dim(dim, input.ndim))


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: Any = None
) -> Tensor:
    """input with src written at [index[i, j], j] for dim 0, and so on; the last write to a place wins."""
    d = wrap_dim(dim, input.ndim)
    source = as_operand(value if src is None else src)
    if reduce is not None:
        raise RuntimeError(
            "scatter(reduce=...) is not supported: use scatter_add", hint="x.scatter_add(dim, index, src)"
        )
    n = input.shape[d]
    positions = index.array()
    bad = (positions < 0) | (positions >= n)
    if bad.any():
        raise RuntimeError(f"index {positions[bad][0]} is out of bounds for dimension {d} with size {n}")
    place = index * contiguous_strides(input.shape)[d]
    for q, (length, stride) in enumerate(zip(index.shape, contiguous_strides(input.shape), strict=True)):
        if q != d:
            along = Tensor(record("iota", length=length)) * stride
            place = place + along.reshape([length if k == q else 1 for k in range(index.ndim)])
    if isinstance(source, Tensor):
        if source.dtype is not input.dtype:
            raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        part = source[tuple(slice(0, length) for length in index.shape)].reshape(-1).value
    else:
        part = record("expand", number(source, input.dtype), shape=(index.numel(),))
    flat = made(record("put", input.reshape(-1).value, place.reshape(-1).value, part), input)
    return flat.reshape(tuple(input.shape))  # type: ignore[no-any-return]


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    d = wrap_dim(dim, input.ndim)
    count = source.shape[d] if source.ndim > d else source.numel()
    if index.numel() != count:
        raise RuntimeError(
            f"index_add_(): Number of indices ({index.numel()}) should be equal to source.size(dim): ({count}), for "
            "dim: "
            f"{d}"
        )
    source = source if alpha == 1 else source * alpha
    return op("take_add", input, index.to(dt.i64), source, dim=wrap_dim(dim, input.ndim))


def _written(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    copy = input.clone()
    copy[(slice(None),) * wrap_dim(dim, input.ndim) + (index.reshape(-1),)] = value
    return copy  # type: ignore[no-any-return]


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    return _written(input, dim, index, value)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    return _written(input, dim, index, source)


def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with values written at positions, one index tensor a dimension."""
    copy: Tensor = input.clone()
    return indexing.index_put_(copy, indices, values, accumulate)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """input with `value` where the mask holds."""
    if mask.dtype is not dt.bool_:
        raise RuntimeError(f"masked_fill only supports boolean masks, but got mask with dtype {mask.dtype!r}")
    return where(mask, as_operand(value), input).to(input.dtype)  # type: ignore[no-any-return]


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in order."""
    shape = np.broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    return input.expand(shape)[mask.expand(shape)]  # type: ignore[no-any-return]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the first elements of source where the mask holds, in order."""
    copy = input.clone()
    wide = mask.expand(tuple(input.shape))
    copy[wide] = source.reshape(-1)[: int(wide.sum())]
    return copy  # type: ignore[no-any-return]

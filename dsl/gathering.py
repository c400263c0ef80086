"""Elements read at positions that other tensors give, and the positions of elements, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl.broadcasting import expand
from tdsl.compiler import dtype as dt
from tdsl.compiler.ops.elementwise import broadcast
from tdsl.compiler.source import IndexError, RuntimeError, TypeError, ValueError
from tdsl.parts import unbind
from tdsl.tensor import Size, Tensor, from_array, op, type_name, wrap_dim
from tdsl.views import dims_of, flatten, reshape, t

__all__ = [
    "argwhere", "gather", "index_select", "masked_select", "nonzero", "nonzero_static", "take", "take_along_dim",
    "unravel_index",
]  # fmt: skip

# ---- positions


def _found(input: Tensor) -> np.ndarray[Any, Any]:
    """Positions of what is not 0, as columns; their number depends on the data, so it is known at once."""
    array = input.array()
    if array.ndim == 0:
        return np.zeros((0, int(bool(array))), np.int64)
    return np.stack(np.nonzero(array))


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of what is not 0, as rows; with `as_tuple`, as one vector for each dimension.

    >>> import tdsl
    >>> tdsl.nonzero(tdsl.tensor([0, 3, 0, 5]))
    tensor([[1],
            [3]])
    """
    if as_tuple:
        return unbind(from_array(_found(lifted(input))))
    return t(from_array(_found(input)))


def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` positions of what is not 0, as rows; rows of `fill_value` when there are fewer."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = _found(input)[:, :size].T
    return from_array(np.pad(found, ((0, size - len(found)), (0, 0)), constant_values=fill_value))


def argwhere(input: Tensor) -> Tensor:
    """Positions of what is not 0, as rows."""
    return t(from_array(_found(input)))


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions in a flattened tensor of this shape as positions in each of its dimensions."""
    if indices.dtype.category != dt.INT:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype!r}")
    if not hasattr(shape, "__index__") and not isinstance(shape, Sequence | Size):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape).__name__}")
    sizes = tuple(dims_of(shape))
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    flat, parts, step = indices.to(dt.i64), [], 1
    for n in reversed(sizes):
        parts.append(flat // step % n)
        step *= n
    return tuple(reversed(parts))


# ---- reads


def positions(name: str, index: Tensor) -> Tensor:
    """An index of gather or scatter as i64."""
    if index.dtype is dt.i64:
        return index
    if index.dtype is not dt.i32 and index.numel():
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")
    return index.to(dt.i64)  # type: ignore[no-any-return]


def lifted(x: Tensor) -> Tensor:
    """A tensor of no dimensions as a vector of one element."""
    return x if x.ndim else reshape(x, 1)


def lowered(x: Tensor, like: Tensor) -> Tensor:
    """A vector of one element as a tensor of no dimensions, where `like` has none."""
    return x if like.ndim else reshape(x, ())


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """result[i, j] = input[index[i, j], j] for dim 0, and so on; the result has the index's shape."""
    d = wrap_dim(dim, input.ndim)
    place = lifted(positions("gather", index))
    if place.numel() == 0:
        return op("take", flatten(input), index.to(dt.i64), dim=0)
    x = lifted(input)
    if x.ndim != place.ndim:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for k, (n, m) in enumerate(zip(x.shape, place.shape, strict=True)):
        if k != d and m > n:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(index.shape)} to be no larger than self "
                f"{list(input.shape)} apart from dimension {d}"
            )
    return lowered(op("gather", x, place, dim=d), index)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather, with the other dimensions broadcast; of all elements in order without a dim."""
    if input.ndim != indices.ndim and dim is not None:
        raise RuntimeError(
            "tdsl.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{input.ndim} dimensions for input, and {indices.ndim} dimensions for indices"
        )
    if indices.dtype not in (dt.i64, dt.i32):
        raise RuntimeError(f"tdsl.take_along_dim(): dtype of indices should be Long but got {type_name(indices.dtype)}")
    if dim is None:
        return gather(flatten(input), 0, _around(flatten(indices), input.numel()))
    d = wrap_dim(dim, input.ndim)
    n, m = (input.shape[d], indices.shape[d]) if input.ndim else (1, 1)
    rest = broadcast([tuple(1 if k == d else s for k, s in enumerate(x.shape)) for x in (input, indices)])
    wide = expand(indices, (*rest[:d], m, *rest[d + 1 :]) if input.ndim else ())
    return gather(expand(input, (*rest[:d], n, *rest[d + 1 :]) if input.ndim else ()), d, _around(wide, n))


def _around(index: Tensor, n: int) -> Tensor:
    """Positions counted from the end, and beyond it, as positions inside."""
    return index % n if n else index


def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements at positions of the flattened input; the result has the index's shape."""
    if index.dtype is not dt.i64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    if input.numel() == 0 and index.numel():
        raise IndexError("take(): tried to take from an empty tensor")
    return op("take", flatten(input), index, dim=0)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension at positions that a vector gives."""
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index.dtype not in (dt.i64, dt.i32):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0 and index.numel() != 1:
        raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {index.numel()} value(s)")
    taken = op("take", lifted(input), reshape(index, -1).to(dt.i64), dim=d, wrap=False)
    return lowered(taken, input)


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds, in order; both are broadcast."""
    if mask.dtype is not dt.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast([tuple(mask.shape), tuple(input.shape)])
    return lifted(expand(input, shape))[lifted(expand(mask, shape))]

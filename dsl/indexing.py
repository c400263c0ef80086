"""x[...] read and assigned: basic indices are views, tensors and lists and masks copy (PyTorch's and NumPy's rules)."""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.graph import Value, number
from tdsl.compiler.source import IndexError, RuntimeError, ValueError
from tdsl.elementwise import as_operand, made, value_of, where
from tdsl.recording import known, record
from tdsl.shapes import expand, permute, reshape, slice_dim, squeeze, unsqueeze
from tdsl.tensor import Number, Tensor, from_array, op, type_name


def _items(key: Any) -> list[Any]:
    if isinstance(key, list) and any(isinstance(k, slice | list | tuple) or k is None or k is Ellipsis for k in key):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of "
            "x[seq].", UserWarning, stacklevel=4,
        )  # fmt: skip
        return list(key)
    return list(key) if isinstance(key, tuple) else [key]


def _is_int(k: Any) -> bool:
    return isinstance(k, int | np.integer) and not isinstance(k, bool | np.bool_)


def _tensor_index(k: Any) -> Tensor | None:
    """An advanced index as a tensor of positions or a mask; None for a basic one."""
    if isinstance(k, Tensor):
        if k.dtype.is_float:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return k
    if isinstance(k, np.ndarray):
        return from_array(k)
    if isinstance(k, bool | np.bool_):
        return from_array(np.asarray(bool(k)))
    if isinstance(k, Sequence) and not isinstance(k, str):
        array = np.asarray([int(x) if isinstance(x, Tensor) else x for x in k])
        return from_array(array.astype(np.int64) if array.size == 0 else array)
    return None


def _count(k: Any) -> int:
    """Dimensions that an index takes."""
    if k is None or isinstance(k, bool | np.bool_):
        return 0
    if isinstance(k, Tensor | np.ndarray) and k.dtype in (dt.bool_, dt.u8, np.dtype(bool), np.dtype(np.uint8)):
        return k.ndim
    if isinstance(k, list) and k and isinstance(k[0], bool):
        return 1
    return 1


def _without_ellipsis(items: list[Any], ndim: int) -> list[Any]:
    dots = [i for i, k in enumerate(items) if k is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if ndim == 0 and any(_is_int(k) for k in items):
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
            "0-dim tensor to a number"
        )
    used = sum(_count(k) for k in items if k is not Ellipsis)
    if used > ndim:
        raise IndexError(f"too many indices for tensor of dimension {ndim}")
    gap = [slice(None)] * (ndim - used)
    if not dots:
        return items + gap
    return items[: dots[0]] + gap + items[dots[0] + 1 :]


def _bounds(k: slice, n: int) -> tuple[int, int, int]:
    step = 1 if k.step is None else int(k.step)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    start, stop, _ = slice(None if k.start is None else int(k.start), None if k.stop is None else int(k.stop)).indices(
        n
    )
    return start, max(start, stop), step


def _position(k: Any) -> int | None:
    """An int, or a 0-d tensor of one: it selects. None for anything else."""
    if _is_int(k):
        return int(k)
    if isinstance(k, Tensor) and k.ndim == 0 and k.dtype.category == dt.INT and k.dtype is not dt.u8:
        return int(k)
    return None


def _basic(x: Tensor, items: list[Any]) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """The view that ints, slices and None make; advanced indices are left, with the dimension each starts at."""
    left: list[tuple[int, Tensor]] = []
    d = 0
    for k in items:
        if k is None:
            x = unsqueeze(x, d)
            d += 1
        elif isinstance(k, slice):
            start, stop, step = _bounds(k, x.shape[d])
            if (start, stop, step) != (0, x.shape[d], 1):
                x = slice_dim(x, d, start, stop, step)
            d += 1
        elif (i := _position(k)) is not None:
            x = _selected(x, d, i)
        else:
            x, d = _advanced(x, d, k, left)
    return x, left


def _selected(x: Tensor, d: int, i: int) -> Tensor:
    n = x.shape[d]
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {d} with size {n}")
    return squeeze(slice_dim(x, d, i % n, i % n + 1), d)


def _advanced(x: Tensor, d: int, k: Any, left: list[tuple[int, Tensor]]) -> tuple[Tensor, int]:
    index = _tensor_index(k)
    if index is None:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            f"(got {type(k).__name__})"
        )
    if index.dtype is dt.bool_ or index.dtype is dt.u8:
        x, taken = _mask(x, d, index, left)
        return x, d + taken
    left.append((d, index if index.dtype is dt.i64 else index.to(dt.i64)))
    return x, d + 1


def _mask(x: Tensor, d: int, mask: Tensor, left: list[tuple[int, Tensor]]) -> tuple[Tensor, int]:
    if mask.dtype is dt.u8:
        warnings.warn(
            "indexing with dtype tdsl.uint8 is now deprecated, please use a dtype tdsl.bool instead.",
            UserWarning, stacklevel=5,
        )  # fmt: skip
        mask = mask != 0
    if mask.ndim == 0:
        x = unsqueeze(x, d)
        left.append((d, from_array(np.zeros(1 if bool(mask) else 0, np.int64))))
        return x, 1
    for q in range(mask.ndim):
        if d + q >= x.ndim or mask.shape[q] != x.shape[d + q]:
            raise IndexError(
                f"The shape of the mask {list(mask.shape)} at index {q} does not match the shape of the indexed tensor "
                f"{list(x.shape)} at index {d + q}"
            )
    for q, places in enumerate(np.nonzero(mask.array())):
        left.append((d + q, from_array(places)))
    return x, mask.ndim


def getitem(x: Tensor, key: Any) -> Tensor:
    view, left = _basic(x, _without_ellipsis(_items(key), x.ndim))
    if not left:
        return view if view is not x else x.alias("reshape", (x.stride(), x.storage_offset()), shape=tuple(x.shape))
    if len(left) == 1:
        d, index = left[0]
        return op("take", view, index, dim=d)
    flat, place, shape, front = _joined(view, left)
    taken = op("take", flat, place, dim=0)
    return _restore(taken, len(shape), front)


def _joined(x: Tensor, left: list[tuple[int, Tensor]]) -> tuple[Tensor, Tensor, tuple[int, ...], int]:
    """x with the indexed dimensions in front as one, positions in it, their shape, and where they go back to."""
    dims = [d for d, _ in left]
    arrays = [np.array(i.array()) for _, i in left]
    try:
        arrays = list(np.broadcast_arrays(*arrays))
    except builtins.ValueError:
        shapes = ", ".join(str(list(a.shape)) for a in arrays)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    place = np.zeros(arrays[0].shape, np.int64)
    for d, a in zip(dims, arrays, strict=True):
        n = x.shape[d]
        bad = (a < -n) | (a >= n)
        if bad.any():
            raise IndexError(f"index {a[bad][0]} is out of bounds for dimension {d} with size {n}")
        place = place * n + np.where(a < 0, a + n, a)
    rest = [d for d in range(x.ndim) if d not in dims]
    adjacent = dims == list(range(dims[0], dims[0] + len(dims)))
    moved = permute(x, [*dims, *rest]) if dims != list(range(len(dims))) else x
    flat = reshape(moved, (prod(x.shape[d] for d in dims), *[x.shape[d] for d in rest]))
    return flat, from_array(place), place.shape, dims[0] if adjacent else 0


def _restore(x: Tensor, count: int, front: int) -> Tensor:
    """The indexed dimensions from the front to where adjacent indices stood."""
    if front == 0:
        return x
    order = [*range(count, count + front), *range(count), *range(count + front, x.ndim)]
    return made(record("permute", x.value, dims=tuple(order)), x)


# ---- assignment


def setitem(x: Tensor, key: Any, value: Any) -> None:
    items = _without_ellipsis(_items(key), x.ndim)
    mask = _full_mask(items, x)
    if mask is not None and (isinstance(value, bool | int | float) or isinstance(value, Tensor) and value.ndim == 0):
        x.check_writable()
        new = where(_spread_mask(mask, x), value.to(x.dtype) if isinstance(value, Tensor) else value, x)
        x.assign(new.to(x.dtype).value)
        return
    view, left = _basic(x, items)
    if left:
        _put(x, view, left, value)
    else:
        copy_into(view, value)


def _full_mask(items: list[Any], x: Tensor) -> Tensor | None:
    """The mask, when it is the only index and covers leading dimensions of x."""
    first = items[0] if items else None
    if not isinstance(first, Tensor) or first.dtype is not dt.bool_ or first.ndim == 0:
        return None
    if any(not (isinstance(k, slice) and k == slice(None)) for k in items[1:]):
        return None
    return first if tuple(first.shape) == tuple(x.shape[: first.ndim]) else None


def _spread_mask(mask: Tensor, x: Tensor) -> Tensor:
    return reshape(mask, tuple(mask.shape) + (1,) * (x.ndim - mask.ndim))


def copy_into(view: Tensor, value: Any) -> None:
    """view.copy_(value): cast and broadcast."""
    view.check_writable()
    source = as_operand(value)
    if isinstance(source, Tensor):
        shape = tuple(source.shape)
        while len(shape) > view.ndim and shape[0] == 1:
            shape = shape[1:]
        source = reshape(source, shape) if shape != tuple(source.shape) else source
        if not _broadcasts(shape, tuple(view.shape)):
            raise RuntimeError(
                f"The expanded size of the tensor ({view.shape[-1] if view.ndim else 1}) must match the existing size "
                f"({shape[-1] if shape else 1}) at non-singleton dimension {max(view.ndim - 1, 0)}.  Target sizes: "
                f"{list(view.shape)}.  Tensor sizes: {list(shape)}"
            )
    view.assign(_filled(source, view))


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def _filled(source: Tensor | Number, like: Tensor) -> Value:
    """The source as like's dtype and shape."""
    if not isinstance(source, Tensor) and not like.dtype.is_float and like.dtype is not dt.bool_:
        source = int(source)
    value = value_of(source, like.dtype) if isinstance(source, Tensor) else number(source, like.dtype)
    if isinstance(source, Tensor) and value is source.value and value.shape == tuple(like.shape):
        return record("reshape", value, shape=value.shape)  # a copy: each tensor has values of its own
    return value if value.shape == tuple(like.shape) else record("expand", value, shape=tuple(like.shape))


def _put(x: Tensor, view: Tensor, left: list[tuple[int, Tensor]], value: Any, accumulate: bool = False) -> None:
    """Write at positions: through a flat copy, the last write to a position wins."""
    x.check_writable()
    flat, place, shape, front = _joined(view, left)
    rest = tuple(flat.shape[1:])
    target = (*rest[:front], *shape, *rest[front:])
    source = as_operand(value)
    if isinstance(source, Tensor):
        if source.dtype is not x.dtype and source.ndim:
            raise RuntimeError(
                f"Index put requires the source and destination dtypes match, got {type_name(x.dtype)} for the "
                "destination "
                f"and {type_name(source.dtype)} for the source."
            )
        if not _broadcasts(tuple(source.shape), target):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to indexing result of "
                f"shape {list(target)}"
            )
        spread = expand(source.to(x.dtype), target)
        if front:
            n = len(shape)
            spread = permute(spread, [*range(front, front + n), *range(front), *range(front + n, len(target))])
    else:
        spread = Tensor(record("expand", number(source, x.dtype), shape=(*shape, *rest)))
    inner = prod(rest)
    steps = Tensor(record("iota", length=inner))
    where_ = reshape(unsqueeze(reshape(place, (-1,)), 1) * inner + unsqueeze(steps, 0), (-1,))
    name = "scatter_add" if accumulate else "put"
    attrs = {"dim": 0} if accumulate else {}
    new = record(name, reshape(flat, (-1,)).value, where_.value, reshape(spread, (-1,)).value, **attrs)
    dims = [d for d, _ in left]
    others = [d for d in range(view.ndim) if d not in dims]
    whole = Tensor(record("reshape", new, shape=tuple(view.shape[d] for d in [*dims, *others])))
    order = [*dims, *others]
    view.assign(permute(whole, [order.index(d) for d in range(view.ndim)]).value)
    known_if_shared(view)


def known_if_shared(x: Tensor) -> None:
    if x._storage is not None and x._storage.shared:
        known(x.value)


def index_put_(x: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    view, left = _basic(x, _without_ellipsis(list(indices), x.ndim))
    _put(x, view, left, values, accumulate)
    return x

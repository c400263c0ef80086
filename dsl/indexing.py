"""x[...] read and assigned: basic indices are views, tensors and lists and masks copy (PyTorch's and NumPy's rules)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl.broadcasting import expand
from tdsl.compiler import dtype as dt
from tdsl.compiler.graph import Value, apply, number
from tdsl.compiler.ops.elementwise import broadcast
from tdsl.compiler.source import IndexError, RuntimeError, ShapeError, TypeError, ValueError
from tdsl.elementwise import as_operand, value_of, where
from tdsl.parts import selected, slice_dim
from tdsl.recording import Mode, known, record
from tdsl.scalars import fitting
from tdsl.tensor import Number, Tensor, from_array, op, type_name
from tdsl.views import reshape, unsqueeze


def _items(key: Any) -> list[Any]:
    if isinstance(key, list) and any(
        isinstance(k, slice | list | tuple | Tensor) or k is None or k is Ellipsis for k in key
    ):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated; use x[tuple(seq)] instead of "
            "x[seq].", UserWarning, stacklevel=4,
        )  # fmt: skip
        return list(key)
    return list(key) if isinstance(key, tuple) else [key]


def _is_int(k: Any) -> bool:
    if isinstance(k, np.ndarray):
        return k.ndim == 0 and k.dtype.kind in "iu"
    return isinstance(k, int | np.integer) and not isinstance(k, bool | np.bool_)


def _tensor_index(k: Any) -> Tensor | None:
    """An advanced index as a tensor of positions or a mask; None for a basic one."""
    if isinstance(k, Tensor):
        if k.dtype not in (dt.i64, dt.i32, dt.u8, dt.bool_):
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
    ends = (k.start, k.stop, k.step)
    if any(e is not None and not hasattr(e, "__index__") for e in ends):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    start, stop, step = (None if e is None else e.__index__() for e in ends)
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero")
    first, last, by = slice(start, stop, step).indices(n)
    return first, max(first, last), by


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
    return selected(x, d, i % n)


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
    _check_empty(view, left)
    if not left:
        return view if view is not x else x.alias("reshape", (x.stride(), x.storage_offset()), shape=tuple(x.shape))
    if len(left) == 1 and view.numel():
        d, index = left[0]
        return op("take", view, index, dim=d)
    indices, attrs = _joined(left)
    if view.numel() == 0:  # no position is looked up
        nowhere = from_array(np.zeros(_target(view, indices, attrs), np.int64))
        return op("take", reshape(view, -1), nowhere, dim=0)
    return op("pick", view, *indices, **attrs)


def _check_empty(view: Tensor, left: list[tuple[int, Tensor]]) -> None:
    if any(view.shape[d] == 0 for d, _ in left) and all(index.numel() for _, index in left):
        raise IndexError("index is out of bounds for dimension with size 0")


def _joined(left: list[tuple[int, Tensor]]) -> tuple[list[Tensor], dict[str, Any]]:
    """The indices, and the attrs of `pick`: their common shape stands where adjacent ones stood, else in front."""
    dims = tuple(d for d, _ in left)
    try:
        broadcast([tuple(i.shape) for _, i in left])
    except ShapeError:
        shapes = ", ".join(str(list(i.shape)) for _, i in left)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    adjacent = dims == tuple(range(dims[0], dims[0] + len(dims)))
    return [i for _, i in left], {"dims": dims, "front": dims[0] if adjacent else 0}


# ---- assignment


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value: written through to everything that shares x's memory."""
    if not isinstance(value, bool | int | float | Tensor | np.ndarray | np.generic):
        raise TypeError(f"can't assign a {type(value).__name__} to a tdsl.{type_name(x.dtype)}Tensor")
    if isinstance(key, bool):
        if key:
            copy_into(x, value)
        return
    items = _without_ellipsis(_items(key), x.ndim)
    mask = _full_mask(items, x)
    if mask is not None and _fill_masked(x, mask, value):
        return
    view, left = _basic(x, items)
    if left:
        _put(x, view, left, value)
    else:
        copy_into(view, value)


def _fill_masked(x: Tensor, mask: Tensor, value: Any) -> bool:
    """x with one value where the mask holds; False when there are several values."""
    source = as_operand(value)
    if not isinstance(source, Tensor):
        source = Tensor(filled(source, x.dtype))
    if source.numel() != 1:
        return False
    x.check_writable()
    x.assign(where(_spread_mask(mask, x), reshape(source, ()).to(x.dtype), x).value)
    return True


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


def copy_into(view: Tensor, value: Any, overlap: bool = False) -> None:
    """view.copy_(value): cast and broadcast. `overlap`: into elements that lie in one place, too."""
    source = as_operand(value)
    view.check_writable(overlap)
    if isinstance(source, Tensor):
        shape = tuple(source.shape)
        while len(shape) > view.ndim and shape[0] == 1:
            shape = shape[1:]
        source = reshape(source, shape) if shape != tuple(source.shape) else source
        if not _broadcasts(shape, tuple(view.shape)):
            expand(source, tuple(view.shape))  # refuses, and says why
    new, old = _filled(source, view), view.value
    if Mode.grad and old.tape is not None and new.tape is None and new.dtype.is_float:
        always = record("expand", apply("constant", value=True, dtype=dt.bool_), shape=new.shape)
        new = record("where", always, new, old)  # still on the tape: its gradient is zero
    view.assign(new)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def filled(value: Number, dtype: dt.DType) -> Value:
    """A Python number as a 0-d value of this dtype."""
    return number(fitting(value, dtype), dtype)


def _filled(source: Tensor | Number, like: Tensor) -> Value:
    """The source as like's dtype and shape."""
    if not isinstance(source, Tensor):
        return record("expand", filled(source, like.dtype), shape=tuple(like.shape))
    value = value_of(source, like.dtype)
    if value is source.value and value.shape == tuple(like.shape):
        return record("copy", value)  # a copy: each tensor has values of its own
    return value if value.shape == tuple(like.shape) else record("expand", value, shape=tuple(like.shape))


def _put(x: Tensor, view: Tensor, left: list[tuple[int, Tensor]], value: Any, accumulate: bool = False) -> None:
    """Write, or add, at positions; of several writes to one position the last wins."""
    x.check_writable()
    _check_empty(view, left)
    indices, attrs = _joined(left)
    source = as_operand(value)
    if isinstance(source, Tensor) and source.dtype is not x.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {type_name(x.dtype)} for the "
            f"destination and {type_name(source.dtype)} for the source."
        )
    target = _target(view, indices, attrs)
    if isinstance(source, Tensor):
        shape = tuple(source.shape)
        while len(shape) > len(target) and shape[0] == 1:
            shape = shape[1:]
        if not _broadcasts(shape, target):
            raise RuntimeError(
                f"shape mismatch: value tensor of shape {list(source.shape)} cannot be broadcast to indexing result of "
                f"shape {list(target)}"
            )
        spread = expand(reshape(source.to(x.dtype), shape), target)
    else:
        spread = expand(Tensor(filled(source, x.dtype)), target)
    if accumulate and x.dtype is dt.bool_:  # or
        written = op("pick_add", view.to(dt.u8), *indices, spread.to(dt.u8), **attrs) != 0
    else:
        written = op("pick_add" if accumulate else "pick_put", view, *indices, spread, **attrs)
    view.assign(written.value)
    known_if_shared(view)


def _target(view: Tensor, indices: list[Tensor], attrs: dict[str, Any]) -> tuple[int, ...]:
    """The shape of what the indices address."""
    rest = [n for d, n in enumerate(view.shape) if d not in attrs["dims"]]
    front = attrs["front"]
    shape: tuple[Any, ...] = broadcast([tuple(i.shape) for i in indices])
    return (*rest[:front], *shape, *rest[front:])


def known_if_shared(x: Tensor) -> None:
    if x._storage is not None and x._storage.shared:
        known(x.value)


def index_put_(x: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: bool = False) -> Tensor:
    """Write values, or add them, at positions: one index tensor or mask a dimension.

    >>> import tdsl
    >>> x = tdsl.zeros(3)
    >>> x.index_put_((tdsl.tensor([0, 0, 2]),), tdsl.tensor(1.0), accumulate=True)
    tensor([2., 0., 1.])
    """
    for k, index in enumerate(indices):
        if index is not None and not isinstance(index, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(index).__name__}")
    used = sum(1 if index is None else _count(index) for index in indices)
    if used > x.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x.ndim} (got {used})")
    whole = slice(None)
    keys = [whole if index is None else reshape(index, 1) if _position_like(index) else index for index in indices]
    items = _without_ellipsis(keys, x.ndim)
    mask = _full_mask(items, x)
    if mask is not None and not accumulate and _fill_masked(x, mask, values):
        return x
    view, left = _basic(x, items)
    if left:
        _put(x, view, left, values, accumulate)
    return x


def _position_like(index: Tensor) -> bool:
    return index.ndim == 0 and index.dtype not in (dt.bool_, dt.u8)

"""Making tensors, under PyTorch's names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from math import ceil, prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.evaluate import convert
from tdsl.compiler.graph import Type, Value, apply, input_value, number
from tdsl.compiler.source import MemoryError, RuntimeError, ShapeError, TypeError, ValueError
from tdsl.elementwise import Defaults, category_dtype
from tdsl.recording import record
from tdsl.runtime.buffer import Buffer
from tdsl.scalars import fitting
from tdsl.shapes import sizes
from tdsl.tensor import Device, Number, Tensor, from_array

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_dlpack", "from_numpy", "full",
    "full_like", "get_default_dtype", "linspace", "logspace", "ones", "ones_like", "scalar_tensor", "set_default_dtype",
    "tensor", "zeros",
    "zeros_like",
]  # fmt: skip

MAX_RANK = 64


def _check(shape: tuple[int, ...], dtype: DType) -> tuple[int, ...]:
    if not isinstance(dtype, DType):
        raise TypeError(f"argument 'dtype' must be tdsl.dtype, not {type(dtype).__name__}")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    if len(shape) > MAX_RANK:
        raise ShapeError(f"a tensor has at most {MAX_RANK} dimensions, not {len(shape)}")
    nbytes = prod(shape) * dtype.itemsize
    if nbytes >= 1 << 62:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)}")
    if nbytes > _memory_limit():
        raise MemoryError(f"a tensor of shape {list(shape)} needs {nbytes} bytes; this machine has {_memory_limit()}")
    return shape


def _memory_limit() -> int:
    global _limit
    if _limit == 0:
        try:
            _limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (ValueError, OSError, AttributeError):
            _limit = 1 << 46
    return _limit


_limit = 0


def _made(value: Value, requires_grad: bool) -> Tensor:
    result = Tensor(value)
    return result.requires_grad_() if requires_grad else result


def _full(shape: tuple[int, ...], fill: Number, dtype: DType, requires_grad: bool = False) -> Tensor:
    _check(shape, dtype)
    scalar = apply("constant", value=_fill_value(fill, dtype), dtype=dtype)
    return _made(record("full", scalar, shape=shape), requires_grad)


def _fill_value(fill: Number, dtype: DType) -> Number:
    return fitting(fill, dtype)


def zeros(
    *size: Any, dtype: DType | None = None, requires_grad: bool = False, device: Any = None, out: Any = None
) -> Tensor:
    Device(device or "cpu")
    return _full(sizes(size), 0, dtype or Defaults.dtype, requires_grad)


def ones(
    *size: Any, dtype: DType | None = None, requires_grad: bool = False, device: Any = None, out: Any = None
) -> Tensor:
    Device(device or "cpu")
    return _full(sizes(size), 1, dtype or Defaults.dtype, requires_grad)


def empty(*size: Any, dtype: DType | None = None, requires_grad: bool = False, device: Any = None, **_: Any) -> Tensor:
    """Uninitialised in PyTorch; zeros here."""
    return zeros(*size, dtype=dtype, requires_grad=requires_grad, device=device)


def full(
    size: Any, fill_value: Any, *, dtype: DType | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    return _full(sizes((size,)), fill_value, dtype or category_dtype(fill_value), requires_grad)


def _like(input: Tensor, fill: Number, dtype: DType | None, requires_grad: bool) -> Tensor:
    return _full(tuple(input.shape), fill, dtype or input.dtype, requires_grad)


def zeros_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False, **_: Any) -> Tensor:
    return _like(input, 0, dtype, requires_grad)


def ones_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False, **_: Any) -> Tensor:
    return _like(input, 1, dtype, requires_grad)


def empty_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False, **_: Any) -> Tensor:
    return _like(input, 0, dtype, requires_grad)


def full_like(
    input: Tensor, fill_value: Number, *, dtype: DType | None = None, requires_grad: bool = False, **_: Any
) -> Tensor:
    return _like(input, fill_value, dtype, requires_grad)


def arange(
    start: Number, end: Number | None = None, step: Number = 1, *, dtype: DType | None = None,
    requires_grad: bool = False, device: Any = None,
) -> Tensor:  # fmt: skip
    """start, start + step, ... below end."""
    if end is None:
        start, end = 0, start
    start, end, step = (x.item() if isinstance(x, Tensor) else x for x in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(x, int) for x in (start, end, step))
    dtype = dtype or (dt.i64 if whole else Defaults.dtype)
    n = max(0, ceil((end - start) / step))
    place = record("iota", length=n)
    work = dt.i64 if whole else dt.f64
    x = Tensor(place).to(work)
    if step != 1:
        x = x * Tensor(number(step, work))
    if start != 0:
        x = x + Tensor(number(start, work))
    x = x.to(dtype)
    return x.requires_grad_() if requires_grad else x


def linspace(
    start: float, end: float, steps: int, *, dtype: DType | None = None, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """`steps` numbers from start to end, both included."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    return tensor(np.linspace(start, end, steps), dtype=dtype or Defaults.dtype, requires_grad=requires_grad)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: DType | None = None, requires_grad: bool = False
) -> Tensor:
    """base to the powers from start to end, both included."""
    found = np.logspace(start, end, steps, base=base)
    return tensor(found, dtype=dtype or Defaults.dtype, requires_grad=requires_grad)


def scalar_tensor(s: Number, *, dtype: DType | None = None) -> Tensor:
    return tensor(s, dtype=dtype or Defaults.dtype)


def eye(n: int, m: int | None = None, *, dtype: DType | None = None, requires_grad: bool = False, **_: Any) -> Tensor:
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"{'n' if n < 0 else 'm'} must be greater or equal to 0, got {n if n < 0 else m}")
    rows, columns = Tensor(record("iota", length=n)), Tensor(record("iota", length=n if m is None else m))
    x = (rows.unsqueeze(1) == columns.unsqueeze(0)).to(dtype or Defaults.dtype)
    return x.requires_grad_() if requires_grad else x


def _shape_of(data: Any) -> tuple[int, ...]:
    """The shape of nested lists; ragged ones are refused with the offending row."""
    if isinstance(data, Tensor | np.ndarray | np.generic):
        return tuple(data.shape)
    if isinstance(data, str) or not isinstance(data, Sequence):
        return ()
    if not data:
        return (0,)
    first = _shape_of(data[0])
    for k, row in enumerate(data):
        shape = _shape_of(row)
        if shape != first:
            have, want = (shape[0] if shape else 0), (first[0] if first else 0)
            raise ValueError(
                f"expected sequence of length {want} at dim 1 (got {have})", code="E0304", notes=[f"row {k}: {row!r}"]
            )
    return (len(data), *first)


def _leaves(data: Any) -> list[Any]:
    if isinstance(data, Tensor):
        return list(data.detach().array().ravel())
    if isinstance(data, np.ndarray):
        return list(data.ravel())
    if isinstance(data, Sequence) and not isinstance(data, str):
        return [x for row in data for x in _leaves(row)]
    return [data]


def _leaf_dtype(x: Any) -> DType:
    if isinstance(x, np.generic):
        found = dt.by_numpy(x.dtype)
        if found is not None:
            return found
    if isinstance(x, bool | int | float):
        return category_dtype(x)
    if x is None:
        raise RuntimeError("Could not infer dtype of NoneType")
    raise TypeError(f"new(): invalid data type {type(x).__name__!r}")


def tensor(
    data: Any, *, dtype: DType | None = None, requires_grad: bool = False, device: Any = None, pin_memory: bool = False
) -> Tensor:
    """A tensor of this data, copied. Floats give float32, ints int64, bools bool; NumPy arrays keep their dtype.

    >>> tensor([[1, 2], [3, 4]]).sum().item()
    10
    """
    Device(device or "cpu")
    if requires_grad and _result_dtype(data, dtype).category != dt.FLOAT:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than tdsl.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        array = np.array(data.detach().array())
    elif isinstance(data, np.ndarray | np.generic):
        array = _native(np.array(data))
    else:
        shape, leaves = _shape_of(data), _leaves(data)
        found = dtype or _join(leaves)
        array = _array(leaves, found).reshape(shape)
    result = from_array(array if dtype is None else _converted(array, dtype))
    return result.requires_grad_() if requires_grad else result


def _result_dtype(data: Any, dtype: DType | None) -> DType:
    if dtype is not None:
        return dtype
    if isinstance(data, Tensor):
        return data.dtype
    if isinstance(data, np.ndarray | np.generic):
        return dt.by_numpy(np.asarray(data).dtype) or dt.f64
    return _join(_leaves(data))


def _join(leaves: Sequence[Any]) -> DType:
    if not leaves:
        return Defaults.dtype
    dtype = _leaf_dtype(leaves[0])
    for x in leaves[1:]:
        dtype = dt.promote(dtype, _leaf_dtype(x))
    return dtype


def _array(leaves: Sequence[Any], dtype: DType) -> np.ndarray[Any, Any]:
    for x in leaves:
        _leaf_dtype(x)
    if dtype.category == dt.INT:
        try:
            wide = np.array([int(x) for x in leaves], np.int64)
        except OverflowError:
            raise RuntimeError("Overflow when unpacking long long") from None
        if len(leaves):
            _fill_value(int(wide.max()), dtype), _fill_value(int(wide.min()), dtype)
        return wide.astype(dtype.numpy)
    with np.errstate(over="ignore"):
        return np.array(leaves, np.float64 if dtype.is_float else None).astype(dtype.numpy)


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array


def _converted(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    return convert(array, dtype.numpy)


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The tensor itself, or one that shares a NumPy array's memory where it can."""
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else data.to(dtype)  # type: ignore[no-any-return]
    if isinstance(data, np.ndarray):
        made = from_numpy(data)
        return made if dtype is None or made.dtype is dtype else made.to(dtype)  # type: ignore[no-any-return]
    return tensor(data, dtype=dtype)


asarray = as_tensor


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor on the array's own memory: a write on either side is seen on the other."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtype = dt.by_numpy(array.dtype)
    if dtype is None or not array.dtype.isnative:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: float64, float32, int64, "
            "int32, int16, int8, uint8, and bool."
        )
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array with array.copy().)"
        )
    if array.ndim > MAX_RANK or any(s % array.itemsize for s in array.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size. Copy array first.")
    if not array.flags.c_contiguous:
        return _from_strided(array, dtype)
    made = Tensor(input_value(Type(dtype, tuple(array.shape)), Buffer(array.reshape(-1), shared=True)))
    made.storage().shared = True
    return made


def _from_strided(array: np.ndarray[Any, Any], dtype: DType) -> Tensor:
    strides = tuple(s // array.itemsize for s in array.strides)
    span = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True)) if array.size else 0
    flat = np.lib.stride_tricks.as_strided(array, (span,), (array.itemsize,))
    base = Tensor(input_value(Type(dtype, (span,)), Buffer(flat, shared=True)))
    base.storage().shared = True
    return base.alias("as_strided", (strides, 0), shape=tuple(array.shape), strides=strides, offset=0)


def from_dlpack(ext: Any) -> Tensor:
    """A tensor on the memory of anything that speaks DLPack."""
    return from_numpy(np.from_dlpack(ext))


def set_default_dtype(d: DType) -> None:
    if not d.is_float:
        raise TypeError(f"only floating-point types are supported as the default type, got {d!r}")
    Defaults.dtype = d


def get_default_dtype() -> DType:
    return Defaults.dtype

"""Making tensors, under PyTorch's names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from math import ceil, isfinite, prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.evaluate import convert
from tdsl.compiler.graph import Type, Value, apply, input_value, number
from tdsl.compiler.source import MemoryError, RuntimeError, ShapeError, TypeError, ValueError
from tdsl.elementwise import Defaults, category_dtype, where
from tdsl.elementwise import pow as power
from tdsl.recording import record
from tdsl.runtime.buffer import Buffer
from tdsl.scalars import fitting
from tdsl.shapes import sizes
from tdsl.tensor import Device, Number, Tensor, contiguous_strides, from_array

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "empty_permuted", "empty_strided", "eye", "from_dlpack",
    "from_numpy", "frombuffer", "full", "full_like", "get_default_dtype", "linspace", "logspace", "ones", "ones_like",
    "range", "scalar_tensor", "set_default_dtype", "tensor", "zeros", "zeros_like",
]  # fmt: skip

MAX_RANK = 64


def _check(name: str, shape: tuple[int, ...], dtype: DType) -> tuple[int, ...]:
    if not isinstance(dtype, DType):
        raise TypeError(f"{name}(): argument 'dtype' must be tdsl.dtype, not {type(dtype).__name__}")
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


def _full(
    shape: tuple[int, ...], fill: Number, dtype: DType, requires_grad: bool = False, name: str = "full"
) -> Tensor:
    _check(name, shape, dtype)
    scalar = apply("constant", value=_fill_value(fill, dtype), dtype=dtype)
    return _made(record("full", scalar, shape=shape), requires_grad)


def _fill_value(fill: Any, dtype: DType) -> Number:
    if not isinstance(fill, bool | int | float | np.generic):
        raise TypeError(f"full(): argument 'fill_value' (position 2) must be Number, not {type(fill).__name__}")
    return fitting(fill, dtype)  # type: ignore[arg-type]


def zeros(
    *size: Any, dtype: DType | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, names: None = None,
) -> Tensor:  # fmt: skip
    """A tensor of zeros.

    >>> zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    Device(device or "cpu")
    return _full(sizes(_given(size, "zeros")), 0, dtype or Defaults.dtype, requires_grad, "zeros")


def ones(
    *size: Any, dtype: DType | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, names: None = None,
) -> Tensor:  # fmt: skip
    Device(device or "cpu")
    return _full(sizes(_given(size, "ones")), 1, dtype or Defaults.dtype, requires_grad, "ones")


def empty(
    *size: Any, dtype: DType | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False, memory_format: Any = None, names: None = None,
) -> Tensor:  # fmt: skip
    """Uninitialised in PyTorch; zeros here."""
    made = zeros(*size, dtype=dtype, device=device)
    if memory_format is not None:
        made = made.contiguous(memory_format=memory_format)
    return made.requires_grad_() if requires_grad else made


def _given(size: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    """The sizes, with PyTorch's words for what is none."""
    first = size[0] if size else 0
    if isinstance(first, float | str) or first is None:
        raise TypeError(f"{name}(): argument 'size' (position 1) must be tuple of ints, not {type(first).__name__}")
    return size


def empty_strided(size: Any, stride: Any, **options: Any) -> Tensor:
    """A tensor whose elements lie `stride` apart in a memory of their own; zeros."""
    shape, strides = sizes((size,)), sizes((stride,))
    if len(shape) != len(strides):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(strides)} strides for {len(shape)} dimensions"
        )
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if prod(shape) else 0
    requires_grad = options.pop("requires_grad", False)
    if strides == contiguous_strides(shape):
        made = zeros(shape, **options)
    else:
        made = zeros(span, **options).alias("as_strided", (strides, 0), shape=shape, strides=strides, offset=0)
    return made.requires_grad_() if requires_grad else made


def empty_permuted(size: Any, physical_layout: Any, **options: Any) -> Tensor:
    """A tensor that lies in memory with its dimensions in the order of `physical_layout`."""
    shape, order = sizes((size,)), sizes((physical_layout,))
    if sorted(order) != list(_range(len(shape))):
        raise RuntimeError(f"empty_permuted: {list(order)} is no order of {len(shape)} dimensions")
    moved = zeros([shape[d] for d in order], **options)
    return moved.permute([order.index(k) for k in _range(len(shape))])  # type: ignore[no-any-return]


def full(
    size: Any, fill_value: Any, *, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, names: None = None,
) -> Tensor:  # fmt: skip
    Device(device or "cpu")
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if not isinstance(fill_value, bool | int | float):
        raise TypeError(f"full(): argument 'fill_value' (position 2) must be Number, not {type(fill_value).__name__}")
    return _full(sizes((size,)), fill_value, dtype or category_dtype(fill_value), requires_grad)


def _like(input: Tensor, fill: Number, dtype: DType | None, options: dict[str, Any]) -> Tensor:
    Device(options.get("device") or "cpu")
    made = _full(tuple(input.shape), fill, dtype or input.dtype)
    wanted = options.get("memory_format")
    if wanted is not None and wanted.name.startswith("channels"):
        made = made.contiguous(memory_format=wanted)
    return made.requires_grad_() if options.get("requires_grad") else made


def zeros_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return _like(input, 0, dtype, options)


def ones_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return _like(input, 1, dtype, options)


def empty_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return _like(input, 0, dtype, options)


def full_like(input: Tensor, fill_value: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return _like(input, fill_value.item() if isinstance(fill_value, Tensor) else fill_value, dtype, options)


_range = range


def _numbers(*given: Any) -> list[Any]:
    return [x.item() if isinstance(x, Tensor | np.generic) else x for x in given]


def arange(
    start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """start, start + step, ... below end; of an integer dtype, start and step are cut to integers first.

    >>> arange(1, 4)
    tensor([1, 2, 3])
    """
    Device(device or "cpu")
    if end is None:
        start, end = 0, start
    start, end, step = _numbers(start, end, step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (isfinite(start) and isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(x, int) for x in (start, end, step))
    dtype = dtype or (dt.i64 if whole else Defaults.dtype)
    n = max(0, ceil((end - start) / step))
    if dtype is dt.i64:
        if int(step) == 0:
            raise ValueError("step must be nonzero")
        n = max(0, -((int(start) - int(end)) // int(step)))
    return _steps(start, step, n, dtype, requires_grad)


def _steps(start: Number, step: Number, n: int, dtype: DType, requires_grad: bool) -> Tensor:
    """n numbers from start, in 64 bits."""
    _check("arange", (n,), dtype)
    work = dt.f64 if dtype.is_float else dt.i64
    if not dtype.is_float:
        start, step = int(start), int(step)
    x = Tensor(record("iota", length=n)).to(work)
    if step != 1:
        x = x * Tensor(number(step, work))
    if start != 0:
        x = x + Tensor(number(start, work))
    x = x.to(dtype)
    return x.requires_grad_() if requires_grad else x


def range(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """start, start + step, ... up to and including end: PyTorch's old `range`."""
    warnings.warn(
        "tdsl.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use tdsl.arange, which produces values in [start, end).",
        UserWarning,
        stacklevel=2,
    )
    if end is None:
        start, end = 0, start
    start, end, step = _numbers(start, end, step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = int((end - start) / step) + 1
    return _steps(start, step, count, dtype or Defaults.dtype, bool(options.get("requires_grad")))


def _ends(name: str, start: Any, end: Any, steps: int) -> tuple[Any, Any]:
    if not isinstance(steps, int):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    for x in (start, end):
        if isinstance(x, Tensor) and x.ndim:
            raise RuntimeError(f"{name} only supports 0-dimensional start and end tensors, but got a tensor of shape "
                               f"{list(x.shape)}")  # fmt: skip
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    a, b = _numbers(start, end)
    return a, b


def _spaced(start: Number, end: Number, steps: int, dtype: DType) -> Tensor:
    """From both ends towards the middle, so that both are met exactly; still floating."""
    work = dtype if dtype.is_float else dt.f64
    if not dtype.is_float:
        start, end = int(start), int(end)
    if steps == 1:
        return Tensor(record("full", apply("constant", value=float(start), dtype=work), shape=(1,)))
    k = Tensor(record("iota", length=steps))
    place = k.to(work)
    step: Any = np.asarray(end - start, work.numpy) / np.asarray(max(steps - 1, 1), work.numpy)
    first, last, size = (Tensor(number(float(x), work)) for x in (start, end, step))
    return where(k < steps // 2, first + size * place, last - size * (float(steps - 1) - place))  # type: ignore[no-any-return]


def linspace(
    start: Any, end: Any, steps: int, *, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """`steps` numbers from start to end, both included.

    >>> linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    a, b = _ends("linspace", start, end, steps)
    dtype = dtype or Defaults.dtype
    x = _spaced(a, b, steps, dtype).to(dtype)
    return x.requires_grad_() if requires_grad else x


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """base to the powers from start to end, both included."""
    a, b = _ends("logspace", start, end, steps)
    dtype = dtype or Defaults.dtype
    exponents = _spaced(a, b, steps, dtype).to(dt.f64)
    x = power(Tensor(number(float(base), dt.f64)), exponents).to(dtype)
    return x.requires_grad_() if requires_grad else x


def scalar_tensor(s: Any, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return tensor(s, dtype=dtype or Defaults.dtype, requires_grad=bool(options.get("requires_grad")))


def eye(
    n: int, m: int | None = None, *, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
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
    found: DType | None = None
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
    if dtype is None and isinstance(data, Tensor):
        dtype = data.dtype
    result = from_array(array, found) if dtype is None else from_array(_converted(array, dtype), dtype)
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
        for x in leaves:
            if isinstance(x, float):
                _fill_value(x, dtype)
        try:
            wide = np.array([int(x) for x in leaves], np.int64)
        except OverflowError:
            raise ValueError("Overflow when unpacking long long") from None
        for x in (int(wide.max()), int(wide.min())) if len(leaves) else ():
            _fill_value(x, dtype)
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
    Device(device or "cpu")
    if isinstance(data, Tensor):
        return data if dtype is None or data.dtype is dtype else data.to(dtype)  # type: ignore[no-any-return]
    if isinstance(data, np.ndarray):
        made = from_numpy(data)
        return made if dtype is None or made.dtype is dtype else made.to(dtype)  # type: ignore[no-any-return]
    return tensor(data, dtype=dtype)


def asarray(
    obj: Any, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor of anything that holds numbers: shared where it can be, unless `copy` says otherwise."""
    if hasattr(obj, "__dlpack__") and not isinstance(obj, Tensor | np.ndarray):
        obj = np.from_dlpack(obj)
    made = as_tensor(obj, dtype, device)
    shares = made is obj or isinstance(obj, np.ndarray) and made.dtype.numpy == obj.dtype
    if copy is False and not shares:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    if copy and shares:
        made = made.detach().clone()
    return made.requires_grad_() if requires_grad else made


def frombuffer(buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor on the memory of anything that speaks Python's buffer protocol."""
    nbytes = memoryview(buffer).nbytes
    if nbytes == 0 or count == 0:
        raise ValueError(f"both buffer length ({nbytes}) and count ({count}) must not be 0")
    if not 0 <= offset < nbytes:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({nbytes} bytes) minus 1"
        )
    if count < 0 and (nbytes - offset) % dtype.itemsize:
        raise ValueError(
            f"buffer length ({nbytes - offset} bytes) after offset ({offset} bytes) must be a multiple of element size "
            f"({dtype.itemsize})"
        )
    if count > 0 and offset + count * dtype.itemsize > nbytes:
        raise ValueError(
            f"requested buffer length ({count} * {dtype.itemsize} bytes) after offset ({offset} bytes) must not be "
            f"greater than actual buffer length ({nbytes} bytes)"
        )
    made = from_numpy(np.frombuffer(buffer, dtype.numpy, count, offset))
    return made.requires_grad_() if requires_grad else made


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

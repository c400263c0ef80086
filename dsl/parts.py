"""Views of a part of a tensor's elements: slices, pieces, diagonals, windows, and any strides at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError, TypeError
from tdsl.tensor import Tensor, contiguous_strides, type_name, wrap_dim
from tdsl.views import movedim, numbers, reshape

__all__ = [
    "as_strided", "chunk", "diagonal", "dsplit", "hsplit", "narrow", "select", "split", "split_with_sizes",
    "tensor_split", "unbind", "unfold", "unsafe_chunk", "unsafe_split", "unsafe_split_with_sizes", "vsplit",
]  # fmt: skip

# ---- slices


def slice_dim(input: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """Elements start, start + step, ... below stop: clamped already."""
    strides = list(input.stride())
    offset = input.storage_offset() + start * strides[dim]
    strides[dim] *= step
    return input.alias("slice", (tuple(strides), offset), dim=dim, start=start, stop=max(start, stop), step=step)


def selected(input: Tensor, dim: int, index: int) -> Tensor:
    """The elements at one position of a dimension, which is inside."""
    part = slice_dim(input, dim, index, index + 1)
    shape, (strides, offset) = tuple(input.shape), part._layout or ((), 0)
    layout = (*strides[:dim], *strides[dim + 1 :]), offset
    return part.alias("reshape", layout, shape=(*shape[:dim], *shape[dim + 1 :]))


def slice_range(input: Tensor, dim: int, start: int | None, end: int | None, step: int) -> tuple[int, int, int]:
    """The dimension, and a slice of it with its ends clamped as Python's slices have them."""
    if input.ndim == 0:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    d = wrap_dim(dim, input.ndim)
    first, last, _ = slice(start, end).indices(input.shape[d])
    return d, first, max(first, last)


def slice_method(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """`x.slice(dim, start, end, step)`: a view of every step-th element from start to before end."""
    d, first, last = slice_range(input, dim, start, end, step)
    return slice_dim(input, d, first, last, step)


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A view of `length` elements of a dimension from `start` on."""
    if input.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if isinstance(start, Tensor) and (start.ndim or start.dtype.category != dt.INT):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d = wrap_dim(dim, input.ndim)
    n, start = input.shape[d], int(start)
    if not -n <= start <= n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {start})")
    first = start + n if start < 0 else start
    if first + length > n:
        raise RuntimeError(f"start ({first}) + length ({length}) exceeds dimension size ({n}).")
    return slice_dim(input, d, first, first + length)


def select(input: Tensor, dim: int, index: Any) -> Tensor:
    """A view of the elements at one position of a dimension, without that dimension."""
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    if not hasattr(index, "__index__"):
        raise TypeError(f"select(): argument 'index' (position 2) must be int, not {type(index).__name__}")
    d, index = wrap_dim(dim, input.ndim), int(index)
    n = input.shape[d]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {d}"
        )
    return selected(input, d, index % n)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Views at every position of a dimension, without it."""
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim(dim, input.ndim)
    return tuple(select(input, d, k) for k in range(input.shape[d]))


# ---- pieces


def split(
    tensor: Tensor, split_size_or_sections: Any = None, dim: int = 0, *, split_size: Any = None
) -> tuple[Tensor, ...]:
    """Views of consecutive pieces: of one size (the last may be smaller), or of the sizes given.

    >>> import tdsl
    >>> [piece.tolist() for piece in tdsl.split(tdsl.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    split_size_or_sections = split_size if split_size_or_sections is None else split_size_or_sections
    if split_size_or_sections is None:
        raise TypeError("split() missing 1 required positional argument: 'split_size_or_sections'")
    if tensor.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    if not hasattr(split_size_or_sections, "__index__"):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    d, size = wrap_dim(dim, tensor.ndim), int(split_size_or_sections)
    n = tensor.shape[d]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
    return tuple(slice_dim(tensor, d, at, min(at + size, n)) for at in range(0, max(n, 1), max(size, 1)))


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces of the sizes given, which add up to the dimension's."""
    if input.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    lengths = list(numbers("split_with_sizes", "split_sizes", (split_sizes,), {}, 2))
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if any(length < 0 for length in lengths):
        raise RuntimeError(
            f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={lengths}"
        )
    if sum(lengths) != n:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={lengths}"
        )
    starts = [sum(lengths[:k]) for k in range(len(lengths))]
    return tuple(slice_dim(input, d, at, at + length) for at, length in zip(starts, lengths, strict=True))


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of at most `chunks` consecutive pieces of one size; the last may be smaller."""
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[wrap_dim(dim, input.ndim)]
    if n == 0:
        return split_with_sizes(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


def unsafe_split(tensor: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`, whose pieces the caller promises not to write."""
    return split(tensor, split_size, dim)


def unsafe_split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes`, whose pieces the caller promises not to write."""
    return split_with_sizes(input, split_sizes, dim)


def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk`, whose pieces the caller promises not to write."""
    return chunk(input, chunks, dim)


def tensor_split(
    input: Tensor, indices_or_sections: Any = None, dim: int = 0, *, sections: Any = None, indices: Any = None
) -> tuple[Tensor, ...]:
    """Views of consecutive pieces: `sections` of nearly equal size, or cut before each of `indices`."""
    if input.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    given: Any = next((g for g in (indices_or_sections, sections, indices) if g is not None), None)
    if isinstance(given, Tensor):
        given = _split_points(given)
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if hasattr(given, "__index__"):
        k = int(given)
        if k <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {k}")
        cuts = [i * (n // k) + min(i, n % k) for i in range(k + 1)]
        return tuple(slice_dim(input, d, a, b) for a, b in zip(cuts, cuts[1:], strict=False))
    if not isinstance(given, Sequence) or any(not hasattr(i, "__index__") for i in given):
        raise TypeError("tensor_split(): argument 'indices' must be a tuple of ints")
    points = [0, *(int(i) for i in given), n]
    bounds = [slice(a, b).indices(n)[:2] for a, b in zip(points, points[1:], strict=False)]
    return tuple(slice_dim(input, d, a, max(a, b)) for a, b in bounds)


def _split_points(given: Tensor) -> Any:
    if given.dtype is not dt.i64:
        raise RuntimeError(
            f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {type_name(given.dtype)}"
        )
    if given.ndim > 1:
        raise RuntimeError(
            "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but "
            f"got a tensor with {given.ndim} dims"
        )
    return given.tolist()


def _cuts(function: str, given: Any, named: dict[str, Any]) -> Any:
    """The one argument of hsplit and its like, also under the names `sections` and `indices`."""
    wrong = next((name for name in named if name not in ("sections", "indices") or given is not None), None)
    if wrong is not None or len(named) > 1:
        raise TypeError(f"{function}() got an unexpected keyword argument {wrong or 'indices'!r}")
    given = next(iter(named.values()), given)
    if given is None:
        raise TypeError(f"{function}() missing 1 required positional arguments: 'sections'")
    return given


def _split_along(name: str, input: Tensor, parts: Any, least: int, dim: int) -> tuple[Tensor, ...]:
    if input.ndim < least:
        raise RuntimeError(
            f"{name} requires a tensor with at least {least} dimension, but got a tensor with {input.ndim} dimensions!"
        )
    n = input.shape[dim]
    if hasattr(parts, "__index__") and (int(parts) <= 0 or n % int(parts)):
        raise RuntimeError(
            f"{name} attempted to split along dimension {dim}, but the size of the dimension {n} is not divisible by "
            f"the split_size {int(parts)}!"
        )
    return tensor_split(input, parts, dim)


def hsplit(input: Tensor, indices_or_sections: Any = None, **named: Any) -> tuple[Tensor, ...]:
    """Views of pieces side by side: of a vector, or along dimension 1."""
    return _split_along(
        "tdsl.hsplit", input, _cuts("hsplit", indices_or_sections, named), 1, 1 if input.ndim > 1 else 0
    )


def vsplit(input: Tensor, indices_or_sections: Any = None, **named: Any) -> tuple[Tensor, ...]:
    """Views of pieces one below the other: along dimension 0 of two or more."""
    return _split_along("tdsl.vsplit", input, _cuts("vsplit", indices_or_sections, named), 2, 0)


def dsplit(input: Tensor, indices_or_sections: Any = None, **named: Any) -> tuple[Tensor, ...]:
    """Views of pieces one behind the other: along dimension 2."""
    return _split_along("tdsl.dsplit", input, _cuts("dsplit", indices_or_sections, named), 3, 2)


# ---- diagonals, windows, strides


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of the diagonal, as the last dimension."""
    a, b = wrap_dim(dim1, input.ndim), wrap_dim(dim2, input.ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    x = movedim(input, (a, b), (-2, -1))
    rows, columns = x.shape[-2], x.shape[-1]
    low, right = max(-offset, 0), max(offset, 0)
    n = max(min(rows - low, columns - right), 0)
    *outer, down, across = x.stride()
    place = x.storage_offset() + (low * down + right * across if n else 0)
    # every (columns + 1)-th element of the rows laid end to end
    flat = x.alias("reshape", x._layout, shape=(*x.shape[:-2], rows * columns))
    start = low * columns + right if n else 0
    stop = start + (n - 1) * (columns + 1) + 1 if n else start
    layout = (*outer, down + across), place
    return flat.alias("slice", layout, dim=flat.ndim - 1, start=start, stop=stop, step=columns + 1)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows of `size` along a dimension, each `step` after the last; the window is the last dimension.

    >>> import tdsl
    >>> tdsl.arange(5).unfold(0, 3, 2)
    tensor([[0, 1, 2],
            [2, 3, 4]])
    """
    d = wrap_dim(dimension, input.ndim)
    n = input.shape[d] if input.ndim else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    if input.ndim == 0:
        return slice_dim(reshape(input, 1), 0, 0, size)
    strides = list(input.stride())
    strides.append(strides[d])
    strides[d] *= step
    return input.alias("unfold", (tuple(strides), input.storage_offset()), dim=d, size=size, step=step)


def as_strided(input: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A view of the storage: its element storage_offset + i * stride[0] + j * stride[1] + ... at (i, j, ...)."""
    for k, (name, given) in enumerate((("size", size), ("stride", stride))):
        if hasattr(given, "__index__"):
            raise TypeError(f"as_strided(): argument '{name}' (position {k + 1}) must be tuple of ints, not int")
    shape = numbers("as_strided", "size", (size,), {})
    strides = numbers("as_strided", "stride", (stride,), {}, 2)
    offset = input.storage_offset() if storage_offset is None else storage_offset
    _check_strided(input, shape, strides, offset)
    layout = strides, offset
    attrs = {"shape": shape, "strides": strides}
    own = contiguous_strides(input.shape) == tuple(input.stride()) and offset >= input.storage_offset()
    start = offset - input.storage_offset()
    if not input._chain or own and _reach(shape, strides, start) <= input.numel():
        flat = input.alias("reshape", None, shape=(input.numel(),))
        return flat.alias("as_strided", layout, **attrs, offset=start if input._chain else offset)
    # beyond what the view shows: from the storage's own tensor, past every view of it
    return input.storage_alias().alias("as_strided", layout, **attrs, offset=offset)


def _reach(shape: Sequence[int], strides: Sequence[int], offset: int) -> int:
    """Elements of storage that a layout needs."""
    if any(n == 0 for n in shape):
        return 0
    return offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def _check_strided(x: Tensor, shape: Sequence[int], strides: Sequence[int], offset: int) -> None:
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in strides):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: {list(strides)}"
        )
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    need, have = _reach(shape, strides, offset), x.storage_size()
    if need > have:
        item = x.dtype.itemsize
        raise RuntimeError(
            f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {item} "
            f"requiring a storage size of {need * item} are out of bounds for storage of size {have * item}"
        )

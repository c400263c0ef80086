"""Views and rearrangements under PyTorch's names; views share memory with what they view."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError, ShapeError, TypeError, ValueError
from tdsl.elementwise import made, result_type, value_of, where
from tdsl.recording import record
from tdsl.tensor import Layout, Tensor, contiguous_strides, op, type_name, wrap_dim

__all__ = [
    "bmm", "broadcast_to", "cat", "chunk", "concat", "concatenate", "diagonal", "dot", "expand", "expand_as",
    "flatten", "flip", "matmul", "mm", "movedim", "mv", "narrow", "outer", "permute", "repeat", "reshape",
    "select", "split", "squeeze", "stack", "swapaxes", "swapdims", "t", "tile", "transpose", "tril", "triu",
    "unbind", "unflatten", "unsqueeze", "view",
]  # fmt: skip


def sizes(args: Sequence[Any]) -> tuple[int, ...]:
    """A shape given as numbers or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], int) and isinstance(args[0], Sequence):
        args = args[0]
    result = []
    for n in args:
        if isinstance(n, float) or not hasattr(n, "__index__"):
            raise TypeError(f"sizes must be integers, not {type(n).__name__}")
        result.append(int(n.__index__()))
    return tuple(result)


def _resolved(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its -1 replaced."""
    n = x.numel()
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    if any(s < -1 for s in shape):
        raise RuntimeError(f"invalid shape dimension {min(shape)}")
    if -1 in shape:
        known = prod(s for s in shape if s != -1)
        if known == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size "
                "-1 can be any value and is ambiguous"
            )
        if n % known:
            raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {n}")
        shape = tuple(n // known if s == -1 else s for s in shape)
    if prod(shape) != n:
        raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {n}")
    return shape


def view_layout(x: Tensor, shape: tuple[int, ...]) -> Layout | None:
    """The strides of a view of x under another shape; None when there are none."""
    offset = x.storage_offset()
    if x.numel() == 0 or x.is_contiguous():
        return contiguous_strides(shape), offset
    old = [(n, s) for n, s in zip(x.shape, x.stride(), strict=True) if n != 1]
    strides: list[int] = []
    k = len(shape) - 1
    while old:
        n, step = old.pop()
        base = step
        while old and old[-1][1] == n * step:  # runs of dimensions that lie dense in memory
            m, _ = old.pop()
            n *= m
        left, stride = n, base
        while k >= 0 and (left > 1 or shape[k] == 1):
            if left % shape[k]:
                return None
            strides.append(stride)
            stride *= shape[k]
            left //= shape[k]
            k -= 1
        if left != 1:
            return None
    strides += [1] * (k + 1)
    return tuple(reversed(strides)), offset


def reshape(input: Tensor, *shape: Any) -> Tensor:
    new = _resolved(input, sizes(shape))
    layout = view_layout(input, new)
    if layout is None:
        return made(record("reshape", input.value, shape=new), input)
    return input.alias("reshape", layout, shape=new)


def view(input: Tensor, *shape: Any) -> Tensor:
    if len(shape) == 1 and isinstance(shape[0], dt.DType):
        raise RuntimeError("view(dtype) is not supported: use to(dtype)")
    new = _resolved(input, sizes(shape))
    layout = view_layout(input, new)
    if layout is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return input.alias("reshape", layout, shape=new)


def permute(input: Tensor, *dims: Any) -> Tensor:
    order = tuple(wrap_dim(d, input.ndim) for d in sizes(dims))
    if sorted(order) != list(range(input.ndim)):
        if len(order) == input.ndim:
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}"
        )
    strides = input.stride()
    return input.alias("permute", (tuple(strides[d] for d in order), input.storage_offset()), dims=order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return permute(input, order)


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return transpose(input, 0, 1) if input.ndim == 2 else input.alias("permute", None, dims=tuple(range(input.ndim)))


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    a = [wrap_dim(d, input.ndim) for d in ([source] if isinstance(source, int) else source)]
    b = [wrap_dim(d, input.ndim) for d in ([destination] if isinstance(destination, int) else destination)]
    order = [d for d in range(input.ndim) if d not in a]
    for place, d in sorted(zip(b, a, strict=True)):
        order.insert(place, d)
    return permute(input, order)


def expand(input: Tensor, *shape: Any) -> Tensor:
    want = list(sizes(shape))
    new_dims = len(want) - input.ndim
    if new_dims < 0:
        raise ShapeError(
            f"expand(tdsl.{type_name(input.dtype)}Tensor{{{list(input.shape)}}}, size={want}): the number of sizes "
            f"provided ({len(want)}) must be greater or equal to the number of dimensions in the tensor ({input.ndim})"
        )
    for k, n in enumerate(want):
        if n == -1:
            if k < new_dims:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {k}"
                )
            want[k] = input.shape[k - new_dims]
        elif n < 0:
            raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed")
    strides = [0] * max(new_dims, 0)
    for n, m, s in zip(input.shape, want[max(new_dims, 0) :], input.stride(), strict=False):
        strides.append(0 if n == 1 and m != 1 else s)
    return input.alias("expand", (tuple(strides), input.storage_offset()), shape=tuple(want))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    return expand(input, other.shape)


broadcast_to = expand


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    d = wrap_dim(dim, input.ndim + 1)
    shape, strides = list(input.shape), list(input.stride())
    step = shape[d] * strides[d] if d < len(shape) else 1
    shape.insert(d, 1)
    strides.insert(d, step)
    return input.alias("reshape", (tuple(strides), input.storage_offset()), shape=tuple(shape))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    if dim is None:
        drop = {k for k, n in enumerate(input.shape) if n == 1}
    else:
        dims = [wrap_dim(d, input.ndim) for d in ([dim] if isinstance(dim, int) else dim)]
        drop = {d for d in dims if input.ndim and input.shape[d] == 1}
    shape = tuple(n for k, n in enumerate(input.shape) if k not in drop)
    strides = tuple(s for k, s in enumerate(input.stride()) if k not in drop)
    return input.alias("reshape", (strides, input.storage_offset()), shape=shape)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    if input.ndim == 0:
        return reshape(input, 1)
    a, b = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    shape = input.shape
    return reshape(input, (*shape[:a], prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    d = wrap_dim(dim, input.ndim)
    known = prod(n for n in sizes if n != -1)
    filled = tuple(input.shape[d] // known if n == -1 else n for n in sizes)
    if prod(filled) != input.shape[d]:
        raise ShapeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({input.shape[d]}) in "
            "the "
            "input tensor"
        )
    return reshape(input, (*input.shape[:d], *filled, *input.shape[d + 1 :]))


# ---- parts


def slice_dim(input: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """Elements start, start + step, ... below stop: clamped already."""
    strides = list(input.stride())
    offset = input.storage_offset() + start * strides[dim]
    strides[dim] *= step
    return input.alias("slice", (tuple(strides), offset), dim=dim, start=start, stop=max(start, stop), step=step)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    start = int(start)
    if start < 0:
        start += n
    if length < 0 or start < 0 or start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_dim(input, d, start, start + length)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    if input.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, input.ndim)
    n = input.shape[d]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {d}"
        )
    return squeeze(slice_dim(input, d, index % n, index % n + 1), d)


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    d = wrap_dim(dim, tensor.ndim)
    n = tensor.shape[d]
    if isinstance(split_size_or_sections, int):
        size = split_size_or_sections
        if size <= 0 and n:
            if size < 0:
                raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
            raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}")
        starts = list(range(0, max(n, 1), max(size, 1)))
        sections = [min(size, n - s) for s in starts]
    else:
        sections = list(split_size_or_sections)
        if sum(sections) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), "
                f"but got split_sizes={sections}"
            )
    parts, at = [], 0
    for length in sections:
        parts.append(slice_dim(tensor, d, at, at + length))
        at += length
    return tuple(parts)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input.shape[wrap_dim(dim, input.ndim)]
    return split(input, max(1, -(-n // chunks)), dim)


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    d = wrap_dim(dim, input.ndim)
    return tuple(select(input, d, k) for k in range(input.shape[d]))


# ---- joined and repeated


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    if not tensors:
        raise ValueError("tdsl.cat(): expected a non-empty list of Tensors")
    kept = [x for x in tensors if x.shape != (0,)] or list(tensors[:1])
    dtype = result_type(*tensors)
    if any(x.ndim == 0 for x in kept):
        raise RuntimeError("zero-dimensional tensor (at position 0) cannot be concatenated")
    d = wrap_dim(dim, kept[0].ndim)
    return made(record("cat", *[value_of(x, dtype) for x in kept], dim=d), *tensors)


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = tensors[0].shape
    for k, x in enumerate(tensors):
        if x.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x.shape)} at "
                f"entry {k}"
            )
    d = wrap_dim(dim, len(first) + 1)
    return cat([unsqueeze(x, d) for x in tensors], d)


def flip(input: Tensor, *dims: Any) -> Tensor:
    return op("flip", input, dims=tuple(sorted(wrap_dim(d, input.ndim) for d in sizes(dims))))


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    times = sizes(repeats)
    if len(times) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    x = reshape(input, [n for s in shape for n in (1, s)])
    x = expand(x, [n for r, s in zip(times, shape, strict=True) for n in (r, s)])
    return reshape(x, [r * s for r, s in zip(times, shape, strict=True)])


def tile(input: Tensor, *dims: Any) -> Tensor:
    times = sizes(dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def pad_constant(input: Tensor, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> Tensor:
    return op("pad", input, low=tuple(low), high=tuple(high), value=value)


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
    rows = Tensor(record("iota", length=input.shape[-2])).unsqueeze(1)
    columns = Tensor(record("iota", length=input.shape[-1])).unsqueeze(0)
    keep = columns - rows <= diagonal if lower else columns - rows >= diagonal
    return where(keep, input, False if input.dtype is dt.bool_ else 0)  # type: ignore[no-any-return]


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    return _triangle(input, diagonal, False)


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


# ---- products


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product: vectors, matrices, and stacks of matrices that broadcast."""
    a, b = input, other
    if not isinstance(b, Tensor):
        raise TypeError(f"matmul(): argument 'other' (position 2) must be Tensor, not {type(b).__name__}")
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError("both arguments to matmul need to be at least 1D, but they are "
                           f"{a.ndim}D and {b.ndim}D")  # fmt: skip
    if a.ndim == 1 and b.ndim == 1 and a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number "
            "of elements, but got different numbers"
        )
    if a.ndim == 2 and b.ndim == 1 and a.shape[1] != b.shape[0]:
        raise ShapeError(
            f"size mismatch, got input ({a.shape[0]}), mat ({a.shape[0]}x{a.shape[1]}), vec ({b.shape[0]})"
        )
    left = unsqueeze(a, 0) if a.ndim == 1 else a
    right = unsqueeze(b, 1) if b.ndim == 1 else b
    y = op("matmul", left, right)
    if b.ndim == 1:
        y = squeeze(y, -1)
    return squeeze(y, -1 if b.ndim == 1 and y.ndim == 1 else -2) if a.ndim == 1 else y


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError("self must be a matrix" if input.ndim != 2 else "mat2 must be a matrix")
    return op("matmul", input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor" if input.ndim != 3 else "batch2 must be a 3D tensor")
    return op("matmul", input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    return matmul(input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    return unsqueeze(input, 1) * unsqueeze(vec2, 0)  # type: ignore[no-any-return]

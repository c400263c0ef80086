"""Views: all the elements of a tensor in another arrangement, in the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError, ShapeError, TypeError
from tdsl.elementwise import made
from tdsl.recording import record
from tdsl.tensor import Layout, Tensor, contiguous_strides, type_name, wrap_dim

__all__ = [
    "adjoint", "flatten", "is_same_size", "moveaxis", "movedim", "permute", "ravel", "reshape", "reshape_as",
    "squeeze", "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze", "view", "view_as",
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


def numbers(function: str, name: str, args: Sequence[Any], named: dict[str, Any], position: int = 1) -> tuple[int, ...]:
    """Integers that a call gives one by one, as one sequence, or under their name."""
    if args and all(n.__class__ is int for n in args) and not named:
        return tuple(args)
    if named:
        wrong = next((key for key in named if key != name), None)
        if wrong is not None or args:
            raise TypeError(f"{function}() got an unexpected keyword argument {wrong or name!r}")
        args = (named[name],)
    elif not args:
        raise TypeError(f'{function}() missing 1 required positional arguments: "{name}"')
    given = args[0] if len(args) == 1 and not hasattr(args[0], "__index__") else args
    what = f"{function}(): argument '{name}' (position {position}) must be tuple of ints"
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"{what}, not {type(given).__name__}")
    for k, n in enumerate(given):
        if not hasattr(n, "__index__"):
            raise TypeError(f"{what}, but found element of type {type(n).__name__} at pos {k}")
    return tuple(n.__index__() for n in given)


def dims_of(dim: Any) -> list[int]:
    """One dimension or several, as a list."""
    return [dim.__index__()] if hasattr(dim, "__index__") else [d.__index__() for d in dim]


# ---- reshape


def _resolved(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with its -1 replaced."""
    n = x.numel()
    if -1 not in shape and prod(shape) == n and min(shape, default=0) >= 0:
        return shape
    if shape.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    for k, s in enumerate(shape):
        if s < -1:
            raise RuntimeError(f"invalid shape dimension {s} at index {k} of shape {list(shape)}")
    if -1 in shape:
        known = prod(s for s in shape if s != -1)
        if known == 0 and n == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size "
                "-1 can be any value and is ambiguous"
            )
        if known == 0 or n % known:
            raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {n}")
        shape = tuple(n // known if s == -1 else s for s in shape)
    if prod(shape) != n:
        raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {n}")
    return shape


def view_layout(x: Tensor, shape: tuple[int, ...]) -> Layout | None:
    """The strides of a view of x under another shape; None when there are none."""
    if x._layout is None:
        return contiguous_strides(shape), 0
    offset = x.storage_offset()
    if x.numel() == 0:
        return (x.stride() if tuple(x.shape) == shape else contiguous_strides(shape)), offset
    strides: list[int] = []
    k = len(shape) - 1
    for count, base in reversed(_dense_runs(x.shape, x.stride())):
        left, stride = count, base
        while k >= 0 and (left > 1 or shape[k] == 1):
            if left % shape[k]:
                return None
            strides.append(stride)
            stride *= shape[k]
            left //= shape[k]
            k -= 1
        if left != 1:
            return None
    return tuple(reversed(strides)), offset


def _dense_runs(shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Dimensions in the fewest groups that lie dense in memory: (elements, stride of the last) of each, in order.

    A dimension of size 1 lies dense with any other.
    """
    runs: list[tuple[int, int]] = []
    count, base = 1, strides[-1] if strides else 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != count * base:
            runs.append((count, base))
            count, base = 1, stride
        count *= n
    runs.append((count, base))
    return runs[::-1]


def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The elements in order under another shape; one size may be -1. A view where the strides allow it, else a copy.

    >>> import tdsl
    >>> tdsl.reshape(tdsl.arange(6), (2, -1))
    tensor([[0, 1, 2],
            [3, 4, 5]])
    """
    new = _resolved(input, numbers("reshape", "shape", shape, named))
    layout = view_layout(input, new)
    if layout is None:
        return made(record("copy", record("reshape", input.value, shape=new)), input)
    return input.alias("reshape", layout, shape=new)


def view(input: Tensor, *shape: Any, dtype: dt.DType | None = None, **named: Any) -> Tensor:
    """A view under another shape, or of the same bytes as another dtype; refused where only a copy could be made."""
    if dtype is not None or len(shape) == 1 and isinstance(shape[0], dt.DType):
        return _view_dtype(input, dtype or shape[0])
    new = _resolved(input, numbers("view", "size", shape, named))
    layout = view_layout(input, new)
    if layout is None:
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead."
        )
    return input.alias("reshape", layout, shape=new)


def _view_dtype(x: Tensor, dtype: dt.DType) -> Tensor:
    """The same bytes as another dtype. No gradient flows through."""
    have, want = x.dtype.itemsize, dtype.itemsize
    if dtype is x.dtype:
        return x.alias("reshape", (x.stride(), x.storage_offset()), shape=tuple(x.shape))
    _check_bytes(x, dtype)
    strides, offset = list(x.stride()), x.storage_offset()
    if have > want:
        strides = [s * (have // want) for s in strides[:-1]] + [1]
        offset *= have // want
    elif have < want:
        strides = [s // (want // have) for s in strides[:-1]] + [1]
        offset //= want // have
    result = x.alias("bitcast", (tuple(strides), offset), dtype=dtype)
    result.value.tape = None
    return result


def _check_bytes(x: Tensor, dtype: dt.DType) -> None:
    have, want = x.dtype.itemsize, dtype.itemsize
    if have == want:
        return
    what = f"to view {type_name(x.dtype)} as {type_name(dtype)} (different element sizes)"
    if x.ndim == 0:
        raise RuntimeError(f"self.dim() cannot be 0 {what}")
    ratio = want // have
    if ratio and x.shape[-1] % ratio:
        raise RuntimeError(f"self.size(-1) must be divisible by {ratio} {what}, but got {x.shape[-1]}")
    if ratio and x.storage_offset() % ratio:
        raise RuntimeError(f"self.storage_offset() must be divisible by {ratio} {what}, but got {x.storage_offset()}")
    if x.stride(-1) != 1 and (ratio == 0 or x.shape[-1] != 1):
        raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {x.stride(-1)}")
    for k, s in enumerate(x.stride()[:-1]):
        if ratio and s % ratio:
            raise RuntimeError(f"self.stride({k}) must be divisible by {ratio} {what}, but got {s}")


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape."""
    return bool(input.shape == other.shape)


def dim_order(input: Tensor) -> tuple[int, ...]:
    """The dimensions from the one of the largest stride to the one of the smallest."""
    strides = input.stride()
    return tuple(sorted(range(input.ndim), key=lambda d: -strides[d]))


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """A view under the shape of `other`."""
    return view(input, tuple(other.shape))


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """The elements under the shape of `other`."""
    return reshape(input, tuple(other.shape))


def ravel(input: Tensor) -> Tensor:
    """All the elements in order, one-dimensional; a view where possible."""
    return reshape(input, -1)


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim` as one."""
    a, b = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if a > b:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if input.ndim == 0:
        return reshape(input, 1)
    if a == b:
        return input
    shape = input.shape
    return reshape(input, (*shape[:a], prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """The dimension `dim` as several; one of `sizes` may be -1."""
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if len(sizes) == 0:
        raise RuntimeError("unflatten: sizes must be non-empty")
    if list(sizes).count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    n = input.shape[d]
    known = prod(s for s in sizes if s != -1)
    filled = tuple(n // known if s == -1 and known else s for s in sizes)
    if prod(filled) != n or any(s < 0 for s in filled):
        raise ShapeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({n}) in the input "
            "tensor"
        )
    return view(input, (*input.shape[:d], *filled, *input.shape[d + 1 :]))


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 at `dim`."""
    d = wrap_dim(dim, input.ndim + 1)
    shape, strides = list(input.shape), list(input.stride())
    step = shape[d] * strides[d] if d < len(shape) else 1
    shape.insert(d, 1)
    strides.insert(d, step)
    return input.alias("reshape", (tuple(strides), input.storage_offset()), shape=tuple(shape))


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without the dimensions of size 1; without those of `dim` only, where they are of size 1."""
    if dim is None:
        drop = {k for k, n in enumerate(input.shape) if n == 1}
    else:
        dims = unique_dims(dims_of(dim), input.ndim)
        drop = {d for d in dims if input.ndim and input.shape[d] == 1}
    shape = tuple(n for k, n in enumerate(input.shape) if k not in drop)
    strides = tuple(s for k, s in enumerate(input.stride()) if k not in drop)
    return input.alias("reshape", (strides, input.storage_offset()), shape=shape)


def unique_dims(dims: Sequence[int], ndim: int) -> list[int]:
    """Dimensions counted from the start, none twice."""
    wrapped = [wrap_dim(d, ndim) for d in dims]
    for k, d in enumerate(wrapped):
        if d in wrapped[:k]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return wrapped


# ---- order of dimensions


def permute(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """A view with the dimensions in the order `dims`."""
    order = tuple(wrap_dim(d, input.ndim) for d in numbers("permute", "dims", dims, named))
    if sorted(order) != list(range(input.ndim)):
        if len(order) == input.ndim:
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        raise RuntimeError(
            "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired "
            f"ordering of dimensions i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(order)}"
        )
    return _permuted(input, order)


def _permuted(input: Tensor, order: tuple[int, ...]) -> Tensor:
    strides = input.stride()
    return input.alias("permute", (tuple(strides[d] for d in order), input.storage_offset()), dims=order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    a, b = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    order = list(range(input.ndim))
    if order:
        order[a], order[b] = order[b], order[a]
    return _permuted(input, tuple(order))


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """A view with two dimensions exchanged, under NumPy's name."""
    return transpose(input, axis0, axis1)


def swapdims(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    return transpose(input, dim0, dim1)


def t(input: Tensor) -> Tensor:
    """A matrix transposed; a tensor of fewer dimensions as it is. A view."""
    if input.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D")
    return _permuted(input, tuple(reversed(range(input.ndim))))


def reversed_dims(input: Tensor) -> Tensor:
    """`x.T`: the dimensions in reverse order, a view."""
    return _permuted(input, tuple(reversed(range(input.ndim))))


def matrix_transposed(input: Tensor, name: str = "mT") -> Tensor:
    """`x.mT`: the last two dimensions exchanged, a view."""
    if input.ndim == 1:
        raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return transpose(input, -2, -1) if input.ndim else permute(input, ())


def hermitian(input: Tensor) -> Tensor:
    """`x.H`: a matrix transposed; its elements are real."""
    if input.ndim not in (0, 2):
        more = " For batches of matrices, consider using tensor.mH" if input.ndim > 2 else ""
        raise RuntimeError(f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor.{more}")
    return matrix_transposed(input, "H")


def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, a view; the elements are real."""
    return matrix_transposed(input, "adjoint()")


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with the dimensions `source` at the places `destination`, the others in order around them."""
    source, destination = dims_of(source), dims_of(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({source} dims) should contain the same number of "
            f"dims as destination ({destination} dims)"
        )
    a = [wrap_dim(d, input.ndim) for d in source]
    b = [wrap_dim(d, input.ndim) for d in destination]
    for name, given, places in (("source", source, a), ("destination", destination, b)):
        if len(set(places)) != len(places):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({given})")
    if input.ndim == 0:
        return permute(input, ())
    order = [d for d in range(input.ndim) if d not in a]
    for place, d in sorted(zip(b, a, strict=True)):
        order.insert(place, d)
    return permute(input, order)


def moveaxis(input: Tensor, source: Any, destination: Any) -> Tensor:
    """`movedim` under NumPy's name."""
    return movedim(input, source, destination)

"""Views of a larger shape, and the shapes to which several tensors broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdsl.compiler.ops.elementwise import broadcast
from tdsl.compiler.source import RuntimeError, ShapeError, TypeError, ValueError
from tdsl.tensor import Size, Tensor, type_name
from tdsl.views import numbers, reshape, unsqueeze, view

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_shapes", "broadcast_tensors", "broadcast_to", "expand",
    "expand_as", "sum_to_size",
]  # fmt: skip


def expand(input: Tensor, *shape: Any, implicit: bool = False, **named: Any) -> Tensor:
    """A view with dimensions of size 1 stretched and new ones in front; -1 keeps a size."""
    want = list(numbers("expand", "size", shape, named))
    new_dims = len(want) - input.ndim
    if new_dims < 0:
        raise ShapeError(
            f"expand(tdsl.{type_name(input.dtype)}Tensor{{{list(input.shape)}}}, size={want}): the number of sizes "
            f"provided ({len(want)}) must be greater or equal to the number of dimensions in the tensor ({input.ndim})"
        )
    old = [1] * new_dims + list(input.shape)
    strides = [0] * new_dims + list(input.stride())
    given = list(want)
    for k in reversed(range(len(want))):
        if want[k] == -1:
            if k < new_dims:
                raise RuntimeError(
                    f"The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension {k}"
                )
            want[k] = old[k]
        if k < new_dims:
            strides[k] = want[k + 1] * strides[k + 1] if k + 1 < len(want) else 1
        if want[k] != old[k]:
            if old[k] != 1:
                raise ShapeError(
                    f"The expanded size of the tensor ({want[k]}) must match the existing size ({old[k]}) at "
                    f"non-singleton dimension {k}.  Target sizes: {given}.  Tensor sizes: {list(input.shape)}"
                )
            if want[k] < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension {want[k]}: {given}")
            strides[k] = 0
    return input.alias("expand", (tuple(strides), input.storage_offset()), shape=tuple(want))


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """A view of the shape of `other`."""
    return expand(input, tuple(other.shape))


def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """A view broadcast to a shape."""
    return expand(input, size)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape to which shapes (tuples, or numbers for one dimension) broadcast together."""
    all_sizes = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    if any(n < 0 for shape in all_sizes for n in shape):
        raise ValueError("Attempting to broadcast a dimension with negative length!")
    result: list[int] = []
    for k, shape in enumerate(all_sizes):
        result = [1] * (len(shape) - len(result)) + result
        for at in range(-1, -len(shape) - 1, -1):
            if shape[at] in (1, result[at]):
                continue
            if result[at] != 1:
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {shape[at]} at {at}! Mismatching argument at index "
                    f"{k} had {shape}; but expected shape should be broadcastable to {result}"
                )
            result[at] = shape[at]
    return Size(result)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors, all of the shape to which they broadcast."""
    xs = several(tensors)
    shape = broadcast([tuple(x.shape) for x in xs])
    return tuple(expand(x, shape) for x in xs)


def several(tensors: Sequence[Any]) -> list[Tensor]:
    """Tensors given one by one, or as one sequence."""
    if len(tensors) == 1 and isinstance(tensors[0], Sequence):
        tensors = tensors[0]
    for k, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}")
    return list(tensors)


def sum_to_size(input: Tensor, *size: Any, **named: Any) -> Tensor:
    """The sum over the dimensions along which `size` would be broadcast to the input's shape."""
    want = numbers("sum_to_size", "size", size, named)
    have = tuple(input.shape)
    lead = len(have) - len(want)
    fits = lead >= 0 and all(m in (1, n) for m, n in zip(want, have[lead:], strict=True))
    if not fits:
        raise RuntimeError(f"size {{{list(want)}}} is not expandable to size {{{list(have)}}}.")
    if not want:
        return input.sum()  # type: ignore[no-any-return]
    dims = [k for k, n in enumerate(have) if k < lead or want[k - lead] == 1 and n != 1]
    summed = input.sum(dims) if dims else input
    return view(summed, want) if tuple(summed.shape) != want else summed


def _at_least(n: int, tensors: Sequence[Any]) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], Tensor):
        return _padded(tensors[0], n)
    return tuple(_padded(x, n) for x in several(tensors))


def _padded(x: Tensor, n: int) -> Tensor:
    """x with dimensions of size 1 until there are n: in front, and the third one behind."""
    if x.ndim >= n:
        return x
    if x.ndim == 0:
        return reshape(x, (1,) * n)
    if n == 3:
        return unsqueeze(x if x.ndim == 2 else unsqueeze(x, 0), -1)
    return unsqueeze(x, 0)


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension; a tuple for several."""
    return _at_least(1, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions, new ones in front; a tuple for several."""
    return _at_least(2, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions: one in front of a vector, one behind a matrix."""
    return _at_least(3, tensors)

"""Copies under the names of the views they copy, with parts replaced, and changes of a tensor's own shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl import broadcasting, parts, views
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import made, value_of
from tdsl.parts import as_strided, diagonal, select, slice_dim, slice_range
from tdsl.recording import hold, record
from tdsl.tensor import Tensor, contiguous_strides
from tdsl.views import numbers, reshape

__all__ = [
    "alias_copy", "as_strided_", "as_strided_copy", "as_strided_scatter", "detach", "detach_copy", "diagonal_copy",
    "diagonal_scatter", "expand_copy", "narrow_copy", "permute_copy", "resize_as_", "select_copy", "select_scatter",
    "slice_copy", "slice_scatter", "split_copy", "split_with_sizes_copy", "squeeze_copy", "t_copy",
    "transpose_copy", "unbind_copy", "unfold_copy", "unsqueeze_copy", "view_copy",
]  # fmt: skip


def copied(x: Tensor) -> Tensor:
    """The elements in a tensor of its own; the gradient flows through."""
    return made(record("copy", x.value), x)


def _copying(view: Callable[..., Any], name: str) -> Callable[..., Any]:
    def function(input: Tensor, *args: Any, **named: Any) -> Any:
        seen = view(input, *args, **named)
        return tuple(copied(x) for x in seen) if isinstance(seen, tuple) else copied(seen)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{view.__name__}`, as a copy."
    return function


as_strided_copy = _copying(parts.as_strided, "as_strided_copy")
diagonal_copy = _copying(parts.diagonal, "diagonal_copy")
expand_copy = _copying(broadcasting.expand, "expand_copy")
_narrow_copy = _copying(parts.narrow, "narrow_copy")


def narrow_copy(input: Tensor, dim: int, start: int | Tensor, length: int) -> Tensor:
    """`narrow`, copied: the result shares nothing with `input`."""
    if input.ndim and dim >= input.ndim:
        raise RuntimeError(
            "Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false. "
            f"(dim is {dim}, the input has {input.ndim} dimensions)"
        )
    return _narrow_copy(input, dim, start, length)  # type: ignore[no-any-return]


permute_copy = _copying(views.permute, "permute_copy")
select_copy = _copying(parts.select, "select_copy")
slice_copy = _copying(parts.slice_method, "slice_copy")
split_copy = _copying(parts.split, "split_copy")
split_with_sizes_copy = _copying(parts.split_with_sizes, "split_with_sizes_copy")
squeeze_copy = _copying(views.squeeze, "squeeze_copy")
t_copy = _copying(views.t, "t_copy")
transpose_copy = _copying(views.transpose, "transpose_copy")
unbind_copy = _copying(parts.unbind, "unbind_copy")
unfold_copy = _copying(parts.unfold, "unfold_copy")
unsqueeze_copy = _copying(views.unsqueeze, "unsqueeze_copy")
view_copy = _copying(views.view, "view_copy")


def alias_copy(input: Tensor) -> Tensor:
    """A copy."""
    return copied(input)


def detach(input: Tensor) -> Tensor:
    """The same elements in the same memory, with no gradient."""
    return input.detach()


def detach_copy(input: Tensor) -> Tensor:
    """A copy that no gradient flows through."""
    return copied(input.detach())


# ---- a part replaced


def _replaced(input: Tensor, src: Tensor, view: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of input whose view is src."""
    copy = copied(input)
    part = view(copy)
    if part.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(part.shape)}"
        )
    part.assign(value_of(src, input.dtype), bump=False)
    return copy


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of input with src at one position of a dimension."""
    return _replaced(input, src, lambda x: select(x, dim, index))


def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of input with src on a diagonal."""
    return _replaced(input, src, lambda x: diagonal(x, offset, dim1, dim2))


def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of input with src in a slice of a dimension."""
    d, first, last = slice_range(input, dim, start, end, step)
    return _replaced(input, src, lambda x: slice_dim(x, d, first, last, step))


def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A copy of input with src where `as_strided` with these strides looks."""
    offset = input.storage_offset() if storage_offset is None else storage_offset
    return _replaced(input, src, lambda x: as_strided(x, size, stride, offset))


# ---- in place: another shape, in the same memory while it suffices


def resize_(self: Tensor, *sizes: Any, memory_format: Any = None, **named: Any) -> Tensor:
    """Give the tensor another shape: its storage's elements in order, then zeros where the storage is too small."""
    shape = numbers("resize_", "size", sizes, named)
    if self.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    if shape == tuple(self.shape):
        return self
    offset, strides = self.storage_offset(), contiguous_strides(shape)
    count = 1
    for n in shape:
        count *= n
    if offset + count <= self.storage_size():
        self.become(as_strided(self, shape, strides, offset))
        return self
    kept = self.storage_alias()[offset:]
    high = count - kept.numel()
    grown = record("pad", kept.value, low=(0,), high=(high,), value=False if self.dtype.bits == 1 else 0)
    self.become(reshape(Tensor(grown), shape))
    hold(self)
    return self


def resize_as_(self: Tensor, the_template: Tensor, *, memory_format: Any = None) -> Tensor:
    """`resize_` to another tensor's shape."""
    return resize_(self, tuple(the_template.shape))


def as_strided_(self: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """Turn into a view of this tensor's storage with these strides."""
    self.check_writable(overlap=True)
    self.become(as_strided(self, size, stride, storage_offset))
    return self


def set_(self: Tensor, *args: Any, **named: Any) -> Tensor:
    """Refused: a tensor keeps its storage."""
    raise RuntimeError("set_() is not supported: a tensor keeps its storage", hint="assign to x.data, or use copy_()")


def fill_diagonal_(self: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Write a number on the main diagonal; with `wrap`, again below each square block of a tall matrix."""
    if self.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if self.ndim > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    rows, columns = self.shape[0], self.shape[1]
    step, length, place = sum(self.stride()), min(self.shape), self.storage_offset()
    as_strided(self, (length,), (step,), place).fill_(fill_value)
    if wrap and self.ndim == 2 and rows > columns + 1:
        count = -(-self.numel() // (columns + 1)) - length
        as_strided(self, (count,), (step,), place + self.stride(0) * (columns + 1)).fill_(fill_value)
    return self

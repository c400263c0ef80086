"""Tensors joined and multiplied, and all the views: PyTorch's names for shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdsl import broadcasting, parts, views
from tdsl.broadcasting import *  # noqa: F403
from tdsl.broadcasting import atleast_1d, atleast_2d, atleast_3d
from tdsl.compiler.source import RuntimeError, TypeError, ValueError
from tdsl.elementwise import made, result_type, value_of
from tdsl.parts import *  # noqa: F403
from tdsl.parts import slice_dim as slice_dim
from tdsl.recording import record
from tdsl.tensor import Tensor, op, wrap_dim
from tdsl.views import *  # noqa: F403
from tdsl.views import reshape, unsqueeze
from tdsl.views import sizes as sizes
from tdsl.views import view_layout as view_layout

__all__ = [
    "cat", "column_stack", "concat", "concatenate", "dstack", "hstack",
    "row_stack", "stack", "vstack",
]  # fmt: skip
__all__ += views.__all__ + broadcasting.__all__ + parts.__all__

# ---- joined

# So many tensors are joined by a kernel, which fuses with what uses it but tries each of them for every element.
_FEW = 16


def _tensors(function: str, tensors: Sequence[Any]) -> list[Tensor]:
    if not isinstance(tensors, Sequence):
        raise TypeError(
            f"{function}(): argument 'tensors' (position 1) must be tuple of Tensors, not {type(tensors).__name__}"
        )
    for k, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {k} in argument 0, but got {type(x).__name__}")
    return list(tensors)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors joined along a dimension, their dtypes promoted; vectors without elements are left out.

    >>> import tdsl
    >>> tdsl.cat([tdsl.tensor([1, 2]), tdsl.tensor([3])])
    tensor([1, 2, 3])
    """
    xs = _tensors("cat", tensors)
    if not xs:
        raise ValueError("tdsl.cat(): expected a non-empty list of Tensors")
    for k, x in enumerate(xs):
        if x.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {k}) cannot be concatenated")
    kept = [x for x in xs if x.shape != (0,)] or xs[:1]
    dtype = result_type(*xs)
    d = wrap_dim(dim, kept[0].ndim)
    op = "cat" if len(kept) <= _FEW else "join"
    return made(record(op, *[value_of(x, dtype) for x in kept], dim=d), *xs)


def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`cat` under another name."""
    return cat(tensors, dim)


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """`cat` under NumPy's name."""
    return cat(tensors, dim)


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension."""
    xs = _tensors("stack", tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = xs[0].shape
    for k, x in enumerate(xs):
        if x.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 and {list(x.shape)} at "
                f"entry {k}"
            )
    d = wrap_dim(dim, len(first) + 1)
    return cat([unsqueeze(x, d) for x in xs], d)


def _some(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    xs = _tensors(name, tensors)
    if not xs:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    return xs


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: vectors end to end, others along dimension 1."""
    xs = atleast_1d(_some("hstack", tensors))
    return cat(xs, 0 if xs[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other; vectors are rows."""
    return cat(atleast_2d(_some("vstack", tensors)), 0)


def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """`vstack` under another name."""
    return vstack(tensors)


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one behind the other, along dimension 2."""
    return cat(atleast_3d(_some("dstack", tensors)), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side; vectors are columns."""
    xs = _some("column_stack", tensors)
    return hstack([reshape(x, (x.numel(), 1)) if x.ndim <= 1 else x for x in xs])


def pad_constant(input: Tensor, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> Tensor:
    """A copy with `low` and `high` elements of `value` before and after, in each dimension."""
    return op("pad", input, low=tuple(low), high=tuple(high), value=value)

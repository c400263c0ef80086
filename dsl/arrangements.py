"""Copies in another arrangement: turned, rolled, repeated, on diagonals and grids; PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl.broadcasting import atleast_2d, expand, several
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import IndexError, RuntimeError, TypeError
from tdsl.elementwise import made, result_type, where
from tdsl.parts import diagonal
from tdsl.recording import record
from tdsl.shapes import cat, pad_constant, stack
from tdsl.tensor import Tensor, from_array, op, type_name, wrap_dim
from tdsl.views import dims_of, flatten, movedim, numbers, reshape, transpose, unique_dims, unsqueeze

__all__ = [
    "block_diag", "cartesian_prod", "combinations", "diag", "diag_embed", "diagflat", "flip", "fliplr", "flipud",
    "meshgrid", "repeat", "repeat_interleave", "roll", "rot90", "tile", "tril", "tril_indices", "triu",
    "triu_indices", "vander",
]  # fmt: skip


def steps(n: int) -> Tensor:
    """0, 1, 2, ... below n."""
    return Tensor(record("iota", length=n))


# ---- turned


def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """A copy with the order reversed along `dims`.

    >>> import tdsl
    >>> tdsl.flip(tdsl.arange(4), (0,))
    tensor([3, 2, 1, 0])
    """
    along = unique_dims(numbers("flip", "dims", dims, named), input.ndim)
    if not along or input.ndim == 0:
        return input.clone()  # type: ignore[no-any-return]
    return op("flip", input, dims=tuple(sorted(along)))


def fliplr(input: Tensor) -> Tensor:
    """A copy with the order of columns reversed."""
    if input.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """A copy with the order of rows reversed."""
    if input.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned by k quarters in the plane of two dimensions, from the first towards the second."""
    n = input.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    a, b = dims
    if a == b or abs(a - b) == n:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}")
    for name, d in (("dim0", a), ("dim1", b)):
        if not -n <= d < n:
            raise RuntimeError(f"Rotation {name} out of range, {name} = {d}")
    turns = k % 4
    if turns == 0:
        return input.clone()  # type: ignore[no-any-return]
    if turns == 2:
        return flip(input, a, b)
    return flip(transpose(input, a, b), a if turns == 1 else b)


def roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    """A copy with elements moved along dims; what leaves at one end comes in at the other."""
    moves = dims_of(shifts)
    along = [] if dims is None else dims_of(dims)
    if not moves:
        raise RuntimeError("`shifts` required")
    if not along and len(moves) == 1:
        return reshape(roll(flatten(input), moves, 0), tuple(input.shape))
    if len(moves) != len(along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(moves)}, dims:{len(along)}")
    if input.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    total: dict[int, int] = {}
    for shift, dim in zip(moves, along, strict=True):
        d = wrap_dim(dim, input.ndim)
        total[d] = (total.get(d, 0) + shift) % max(input.shape[d], 1)
    return _rolled(input, sorted((d, shift) for d, shift in total.items() if shift))


def _rolled(x: Tensor, moves: list[tuple[int, int]]) -> Tensor:
    """Two dimensions at a time: the choices of where an element comes from are two to their power."""
    if not moves:
        return x.clone()  # type: ignore[no-any-return]
    for k in range(0, len(moves), 2):
        dims, shifts = zip(*moves[k : k + 2], strict=True)
        x = op("roll", x, dims=dims, shifts=shifts)
    return x


# ---- repeated


def repeat(input: Tensor, *repeats: Any, **named: Any) -> Tensor:
    """A copy laid out `repeats` times along each dimension; more repeats than dimensions add dimensions in front."""
    times = numbers("repeat", "repeats", repeats, named)
    if len(times) < input.ndim:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    shape = (1,) * (len(times) - input.ndim) + tuple(input.shape)
    whole = [r * s for r, s in zip(times, shape, strict=True)]
    if any(n < 0 for n in whole):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(whole)}: {whole}")
    x = reshape(input, [n for s in shape for n in (1, s)])
    x = expand(x, [n for r, s in zip(times, shape, strict=True) for n in (r, s)])
    return made(record("copy", record("reshape", x.value, shape=tuple(whole))), input)


def tile(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """`repeat` whose missing repeats are 1."""
    times = numbers("tile", "dims", dims, named)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated where it stands, `repeats` times or each as often as its own count says.

    With one tensor of counts alone: 0 as often as the first count says, 1 as often as the second, ...
    """
    if repeats is None:
        return _interleaved(input, output_size)
    if dim is None:
        return repeat_interleave(flatten(input), repeats, 0, output_size=output_size)
    d = wrap_dim(dim, input.ndim)
    x = reshape(input, 1) if input.ndim == 0 else input
    n = x.shape[d]
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        if repeats.ndim == 1 and repeats.shape[0] != n:
            raise RuntimeError(
                "repeats must have the same size as input along dim, but got repeats.size(0) = "
                f"{repeats.shape[0]} and input.size({d}) = {n}"
            )
        return op("take", x, _interleaved(repeats, output_size).to(dt.i64), dim=d)
    if isinstance(repeats, Tensor):
        _check_counts(repeats)
    if not hasattr(repeats, "__index__"):
        raise TypeError(f"repeat_interleave(): argument 'repeats' must be int or Tensor, not {type(repeats).__name__}")
    times = int(repeats)
    if times < 0:
        raise RuntimeError("Repeats must be non-negative")
    if output_size is not None and output_size != n * times:
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {n * times} but got {output_size}")
    wide = unsqueeze(x, d + 1)
    wide = expand(wide, (*x.shape[: d + 1], times, *x.shape[d + 1 :]))
    shape = (*x.shape[:d], n * times, *x.shape[d + 1 :])
    return made(record("copy", record("reshape", wide.value, shape=shape)), input)


def _check_counts(repeats: Tensor) -> None:
    if repeats.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if repeats.dtype not in (dt.i64, dt.i32):
        raise RuntimeError("repeats has to be Long or Int tensor")


def _interleaved(repeats: Tensor, output_size: int | None) -> Tensor:
    """k as often as the k-th count says; the counts are demanded, for the size of the result depends on them."""
    _check_counts(repeats)
    if repeats.ndim == 0:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    counts = repeats.array()
    if (counts < 0).any():
        raise RuntimeError("repeats can not be negative")
    if output_size is not None and output_size != counts.sum():
        raise RuntimeError("allocated size does not match required size")
    return from_array(np.repeat(np.arange(counts.size, dtype=repeats.dtype.numpy), counts))


# ---- triangles and diagonals


def _triangle(input: Tensor, diagonal: int, lower: bool) -> Tensor:
    if input.ndim < 2:
        raise RuntimeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
    rows, columns = unsqueeze(steps(input.shape[-2]), 1), unsqueeze(steps(input.shape[-1]), 0)
    keep = columns - rows <= diagonal if lower else columns - rows >= diagonal
    return where(keep, input, False if input.dtype is dt.bool_ else 0)  # type: ignore[no-any-return]


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices with zeros above a diagonal."""
    return _triangle(input, diagonal, True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices with zeros below a diagonal."""
    return _triangle(input, diagonal, False)


def _triangle_indices(row: int, col: int, places: Any, dtype: dt.DType | None) -> Tensor:
    for name, n in (("row", row), ("col", col)):
        if n < 0:
            raise RuntimeError(f"{name} must be non-negative, got{n}")
    if dtype is not None and dtype not in (dt.i64, dt.i32):
        raise RuntimeError(f"\"tril_indices\" not implemented for '{type_name(dtype)}'")
    return from_array(np.stack(places).astype((dtype or dt.i64).numpy))


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: dt.DType | None = None, **_: Any) -> Tensor:
    """Rows and columns, as two rows, of the elements on and below a diagonal."""
    return _triangle_indices(row, col, np.tril_indices(max(row, 0), offset, max(col, 0)), dtype)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: dt.DType | None = None, **_: Any) -> Tensor:
    """Rows and columns, as two rows, of the elements on and above a diagonal."""
    return _triangle_indices(row, col, np.triu_indices(max(row, 0), offset, max(col, 0)), dtype)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix of a diagonal: a copy."""
    if input.ndim == 2:
        return _diagonal(input, diagonal).clone()  # type: ignore[no-any-return]
    if input.ndim != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return diag_embed(input, diagonal)


_diagonal = diagonal


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all the elements on a diagonal."""
    return diag_embed(flatten(input), offset)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in the dimensions `dim1` and `dim2` whose diagonals are the last dimension of the input."""
    a, b = wrap_dim(dim1, input.ndim + 1), wrap_dim(dim2, input.ndim + 1)
    if a == b or input.ndim == 0:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    n = input.shape[-1] + abs(offset)
    pads = (0,) * (input.ndim - 1)
    x = pad_constant(input, (0,) * input.ndim, (*pads, abs(offset))) if offset else input
    place = steps(n)
    on = unsqueeze(place, 0) - unsqueeze(place, 1) == offset
    square = where(on, unsqueeze(x, -1 if offset >= 0 else -2), False if input.dtype is dt.bool_ else 0)
    if (a, b) == (input.ndim - 1, input.ndim):
        return square  # type: ignore[no-any-return]
    return movedim(square, (-2, -1), (a, b)).clone()  # type: ignore[no-any-return]


def block_diag(*tensors: Any) -> Tensor:
    """A matrix with the tensors as blocks along its diagonal, zeros elsewhere."""
    xs = several(tensors)
    for k, x in enumerate(xs):
        if x.ndim > 2:
            raise RuntimeError(
                f"tdsl.block_diag: Input tensors must have 2 or fewer dimensions. Input {k} has {x.ndim} dimensions"
            )
    if not xs:
        return from_array(np.zeros((1, 0), np.float32))
    dtype = result_type(*xs)
    blocks = [x.to(dtype) for x in atleast_2d(*xs, from_array(np.zeros((0, 0))))[:-1]]
    width, at, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        rows.append(pad_constant(x, (0, at), (0, width - at - x.shape[1]), 0))
        at += x.shape[1]
    return cat(rows, 0)


# ---- grids


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Views of vectors stretched over the grid they span; with indexing="xy" the first varies along columns."""
    xs = several(tensors)
    if not xs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in xs:
        if x.ndim > 1:
            raise RuntimeError(f"tdsl.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x!r}")
        if x.dtype is not xs[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'tdsl.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    axes = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        axes[:2] = [1, 0]
    shape = [1] * len(xs)
    for axis, x in zip(axes, xs, strict=True):
        shape[axis] = x.numel()
    return tuple(
        expand(reshape(x, [n if q == axis else 1 for q, n in enumerate(shape)]), shape)
        for axis, x in zip(axes, xs, strict=True)
    )


def _check_vector(x: Tensor) -> None:
    if x.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")


def cartesian_prod(*tensors: Any) -> Tensor:
    """All tuples of one element of each vector, as rows."""
    xs = several(tensors)
    if not xs:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in xs:
        _check_vector(x)
    if len(xs) == 1:
        return xs[0]
    return stack([flatten(g) for g in meshgrid(xs)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in order, as rows."""
    _check_vector(input)
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input[:0].clone()  # type: ignore[no-any-return]
    n = input.numel()
    places = np.arange(n)[None]
    for _ in range(r - 1):  # each choice so far, once for every place that may follow its last
        first = places[-1] + (0 if with_replacement else 1)
        counts = np.maximum(n - first, 0)
        follow = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        places = np.concatenate([np.repeat(places, counts, axis=1), follow[None]])
    return op("take", input, from_array(places.T), dim=0)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:  # noqa: N803
    """The powers of each element of a vector, as rows: falling to 0, or increasing from it."""
    if not isinstance(x, Tensor):
        raise TypeError(f"vander(): argument 'x' (position 1) must be Tensor, not {type(x).__name__}")
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    base = x if x.dtype.is_float else x.to(dt.i64)
    ones = base.new_ones((x.shape[0], min(n, 1)))
    if n <= 1:
        return ones  # type: ignore[no-any-return]
    powers = cat([ones, expand(unsqueeze(base, 1), (x.shape[0], n - 1)).cumprod(1)], 1)
    return powers if increasing else flip(powers, 1)

"""Running sums, products and extremes, differences and integrals along a dimension, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tdsl import shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import IndexError, NotImplementedError, RuntimeError
from tdsl.elementwise import Defaults, logical_xor
from tdsl.recording import record
from tdsl.reductions import numpy_names, one_dim
from tdsl.return_types import return_type
from tdsl.tensor import Tensor, op, type_name

__all__ = [
    "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid", "diff", "gradient", "logcumsumexp", "trapezoid",
    "trapz",
]  # fmt: skip

_CUMMAX, _CUMMIN = return_type("cummax", "values indices"), return_type("cummin", "values indices")


def _scanned(name: str, input: Tensor, dim: int, dtype: DType | None, **attrs: Any) -> Tensor:
    d = one_dim(name, dim, input.ndim)
    wanted = dtype or (input.dtype if input.dtype.is_float else dt.i64)
    x = input if input.dtype is wanted else input.to(wanted)
    return op(name, x, dim=d, **attrs) if x.ndim else x.clone()  # type: ignore[no-any-return]


@numpy_names
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums along `dim`; of ints and bools as int64.

    >>> from tdsl.creation import tensor
    >>> cumsum(tensor([1.0, 2.0, 3.0]), 0)
    tensor([1., 3., 6.])
    """
    return _scanned("cumsum", input, dim, dtype, reverse=False)


@numpy_names
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products along `dim`; of ints and bools as int64. Gradients are exact at zeros."""
    return _scanned("cumprod", input, dim, dtype)


@numpy_names
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of running sums of exp along `dim`, without overflow."""
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{type_name(input.dtype)}'")
    return _scanned("logcumsumexp", input, dim, None)


def _running(name: str, input: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    d = one_dim(name, dim, input.ndim)
    if input.ndim == 0:
        return input.clone(), Tensor(record("constant", value=0, dtype=dt.i64))
    indices = op(name, input.to(dt.u8) if input.dtype is dt.bool_ else input, dim=d)
    return op("gather", input, indices, dim=d), indices


@numpy_names
def cummax(input: Tensor, dim: int) -> Any:
    """(values, indices) of the largest so far along `dim`: the last of equals; after a NaN, NaN."""
    return _CUMMAX(*_running("cummax", input, dim))


@numpy_names
def cummin(input: Tensor, dim: int) -> Any:
    """(values, indices) of the smallest so far along `dim`: the last of equals; after a NaN, NaN."""
    return _CUMMIN(*_running("cummin", input, dim))


# ---- differences


def _neighbours(x: Tensor, d: int) -> tuple[Tensor, Tensor]:
    """All but the last, and all but the first, along d."""
    n = x.shape[d]
    return shapes.narrow(x, d, 0, n - 1), shapes.narrow(x, d, 1, n - 1)


@numpy_names
def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Differences of neighbours along `dim`, n times over; `prepend` and `append` are joined on before."""
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = one_dim("diff", dim, input.ndim)
    for x in (prepend, append):
        if x is not None:
            _check_joined(x, input, d)
    if n == 0:
        return input.clone()  # type: ignore[no-any-return]
    parts = [x for x in (prepend, input, append) if x is not None]
    whole = shapes.cat(parts, d) if len(parts) > 1 else input
    if n >= whole.shape[d]:
        return shapes.narrow(whole, d, 0, 0).clone()  # type: ignore[no-any-return]
    for _ in range(n):
        left, right = _neighbours(whole, d)
        whole = logical_xor(right, left) if whole.dtype is dt.bool_ else right - left
    return whole


def _check_joined(x: Tensor, like: Tensor, d: int) -> None:
    if x.ndim != like.ndim:
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for k in range(like.ndim):
        if k != d and x.shape[k] != like.shape[k]:
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input except along the "
                f"differencing dimension; input.size({k}) = {like.shape[k]}, but got tensor.size({k}) = {x.shape[k]}"
            )


# ---- integrals


def _widths(name: str, y: Tensor, x: Any, dx: Any, d: int) -> Any:
    """The lengths of the steps between the samples of y."""
    if x is None:
        return dx
    if x.ndim == 0:
        raise RuntimeError(f"{name}: `x` must have at least one dimension")
    if x.ndim == 1 and x.shape[0] != y.shape[d]:
        raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
    if x.ndim == 1:
        x = x.reshape([-1 if k == d else 1 for k in range(y.ndim)])
    along = d - y.ndim + x.ndim
    left, right = _neighbours(x, along)
    return right - left


def _panels(name: str, y: Tensor, x: Any, dx: Any, d: int) -> Tensor:
    """Twice the area between neighbouring samples."""
    if y.dtype is dt.bool_:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if isinstance(x, Tensor) and x.dtype is dt.bool_:
        raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
    left, right = _neighbours(y, d)
    return (left + right) * _widths(name, y, x, dx, d)


@numpy_names
def trapezoid(y: Tensor, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral of samples y along `dim` by the trapezoidal rule, at the points x or in steps of dx."""
    if y.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    d = one_dim("trapezoid", dim, y.ndim)
    if y.shape[d] == 0:
        return _nothing(y, d)
    return _panels("trapezoid", y, x, dx, d).sum(d) / 2


def _nothing(y: Tensor, d: int) -> Tensor:
    shape = [n for k, n in enumerate(y.shape) if k != d]
    return y.new_zeros(shape, dtype=y.dtype if y.dtype.is_float else Defaults.dtype)  # type: ignore[no-any-return]


trapz = trapezoid


@numpy_names
def cumulative_trapezoid(y: Tensor, x: Any = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """Running integrals of samples y along `dim`, one fewer than the samples."""
    if y.ndim == 0:
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    d = one_dim("cumulative_trapezoid", dim, y.ndim)
    if y.shape[d] == 0:
        return y.new_zeros(tuple(y.shape), dtype=y.dtype if y.dtype.is_float else Defaults.dtype)  # type: ignore[no-any-return]
    return cumsum(_panels("cumulative_trapezoid", y, x, dx, d), d) / 2


# ---- slopes


def _spacings(spacing: Any, input: Tensor, dims: Sequence[int]) -> list[Any]:
    """The distance between samples, or their coordinates, along each of the dims."""
    if not isinstance(spacing, list | tuple):
        return [1 if spacing is None else spacing] * len(dims)
    if len(spacing) != len(dims):
        raise RuntimeError(
            "tdsl.gradient expected spacing to be unspecified, a scalar, or a list of length equal to 'self.dim() = "
            f"{input.ndim}', but got a list of length {len(spacing)}"
        )
    for d, x in zip(dims, spacing, strict=True):
        if isinstance(x, Tensor) and x.ndim and x.numel() != input.shape[d]:
            raise RuntimeError(
                "tdsl.gradient expected each value of tensors in the spacing list to have the same size as the "
                f"corresponding dimension, but got {x.numel()} of {input.shape[d]}"
            )
    return list(spacing)


def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """The slope along each dimension (of `dim`): of parabolas through three samples, at the ends of lines or parabolas.

    `spacing` is the distance between samples, one for each dimension, or the samples' coordinates.
    """
    if edge_order not in (1, 2):
        raise RuntimeError("tdsl.gradient only supports edge_order=1 and edge_order=2.")
    listed = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [one_dim("gradient", d, input.ndim) for d in listed]
    for k, d in enumerate(dims):
        if d in dims[:k]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        if input.shape[d] < edge_order + 1:
            raise RuntimeError("tdsl.gradient expected each dimension size to be at least edge_order+1")
    return tuple(_slope(input, d, h, edge_order) for d, h in zip(dims, _spacings(spacing, input, dims), strict=True))


def _slope(x: Tensor, d: int, spacing: Any, edge_order: int) -> Tensor:
    n = x.shape[d]
    uneven = isinstance(spacing, Tensor) and spacing.ndim > 0
    steps = diff(spacing).reshape([-1 if k == d else 1 for k in range(x.ndim)]) if uneven else None

    def at(start: int, length: int = 1) -> Tensor:
        return shapes.narrow(x, d, start, length)

    def gap(start: int, length: int = 1) -> Any:
        return spacing if steps is None else shapes.narrow(steps, d, start, length)

    def parabola(low: Tensor, middle: Tensor, high: Tensor, a: Any, b: Any, place: int) -> Tensor:
        """The slope at one of three samples a and b apart: the first (-1), the middle (0) or the last (1)."""
        left, right = (middle - low) / a, (high - middle) / b
        if place == 0:
            return (left * b + right * a) / (a + b)
        return left + (left - right) * a / (a + b) if place < 0 else right + (right - left) * b / (a + b)

    parts = [parabola(at(0, n - 2), at(1, n - 2), at(2, n - 2), gap(0, n - 2), gap(1, n - 2), 0)] if n > 2 else []
    if edge_order == 1:
        first, last = (at(1) - at(0)) / gap(0), (at(n - 1) - at(n - 2)) / gap(n - 2)
    else:
        first = parabola(at(0), at(1), at(2), gap(0), gap(1), -1)
        last = parabola(at(n - 3), at(n - 2), at(n - 1), gap(n - 3), gap(n - 2), 1)
    return shapes.cat([first, *parts, last], d)

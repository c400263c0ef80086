"""Reductions under PyTorch's names."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import DTypeError, IndexError, RuntimeError, ShapeError
from tdsl.elementwise import constant, eq, exp, floating, made, maximum, minimum, sqrt, where
from tdsl.recording import record
from tdsl.tensor import Tensor, op, wrap_dim

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "cumsum", "log_softmax", "logsumexp", "max", "mean",
    "min", "norm", "prod", "softmax", "std", "sum", "var",
]  # fmt: skip

Dims = int | Sequence[int] | None


def dims_of(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Sorted, non-negative, distinct; None and () are all of them."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    dims = [wrap_dim(d, ndim) for d in ([dim] if isinstance(dim, int) else dim)]
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim {dims[-1]} appears multiple times in the list of dims")
    return tuple(sorted(dims)) if ndim else ()


def _reduce(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    return made(record(name, x.value, dims=dims_of(dim, x.ndim), keepdim=bool(keepdim)), x)


def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None, axis: Dims = None
) -> Tensor:
    return _reduce("sum", input if dtype is None else input.to(dtype), axis if dim is None else dim, keepdim)


def prod(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None, axis: Dims = None
) -> Tensor:
    return _reduce("prod", input if dtype is None else input.to(dtype), axis if dim is None else dim, keepdim)


def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None, axis: Dims = None
) -> Tensor:
    return _reduce("mean", input if dtype is None else input.to(dtype), axis if dim is None else dim, keepdim)


def _extreme_of(name: str, input: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    if input.numel() == 0 and dim is not None:
        for d in dims_of(dim, input.ndim):
            if input.shape[d] == 0:
                raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.", code="E0303")
    return _reduce(name, input, dim, keepdim)


def amax(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return _extreme_of("amax", input, dim, keepdim)


def amin(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return _extreme_of("amin", input, dim, keepdim)


def logsumexp(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    return _reduce("logsumexp", floating(input), dim, keepdim)


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    result = _reduce("any", input, dim, keepdim)
    return result.to(dt.u8) if input.dtype is dt.u8 else result  # type: ignore[no-any-return]


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    result = _reduce("all", input, dim, keepdim)
    return result.to(dt.u8) if input.dtype is dt.u8 else result  # type: ignore[no-any-return]


def _position(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    x = input
    if dim is None:
        if x.numel() == 0:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the "
                             "reduction dim with the 'dim' argument.", code="E0303")  # fmt: skip
        x, d = x.reshape(-1), 0
    else:
        d = wrap_dim(dim, x.ndim)
    if x.ndim == 0:
        return Tensor(record("constant", value=0, dtype=dt.i64))
    if x.dtype is dt.bool_:
        x = x.to(dt.u8)
    result = op(name, x, dim=d, keepdim=bool(keepdim))
    return result.reshape((1,) * input.ndim) if dim is None and keepdim else result  # type: ignore[no-any-return]


def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _position("argmax", input, dim, keepdim)


def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    return _position("argmin", input, dim, keepdim)


_MAX = namedtuple("max", ["values", "indices"])  # type: ignore[name-match]
_MIN = namedtuple("min", ["values", "indices"])  # type: ignore[name-match]


def _extreme(name: str, input: Tensor, dim: Any, keepdim: bool) -> Any:
    if isinstance(dim, Tensor):
        return (maximum if name == "max" else minimum)(input, dim)
    if dim is None:
        if input.numel() == 0:
            raise ShapeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return _reduce("a" + name, input, None, False)
    d = wrap_dim(dim, input.ndim)
    if input.ndim == 0:
        return (_MAX if name == "max" else _MIN)(input.clone(), argmax(input))
    if input.shape[d] == 0:
        raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.", code="E0303")
    indices = (argmax if name == "max" else argmin)(input, d, True)
    values = op("gather", input, indices, dim=d)
    if not keepdim:
        values, indices = values.squeeze(d), indices.squeeze(d)
    return (_MAX if name == "max" else _MIN)(values, indices)


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest of all; along `dim`, (values, indices); of two tensors, the elementwise maximum."""
    return _extreme("max", input, dim, keepdim)


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest of all; along `dim`, (values, indices); of two tensors, the elementwise minimum."""
    return _extreme("min", input, dim, keepdim)


def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The variance, over n - correction."""
    if not input.dtype.is_float:
        raise DTypeError("var(): input must be of a floating point dtype", hint="convert first: x.float()")
    if unbiased is not None:
        correction = 1 if unbiased else 0
    if isinstance(dim, bool):
        dim, correction = None, 1 if dim else 0
    dims = dims_of(dim, input.ndim)
    count = 1
    for d in dims:
        count *= input.shape[d]
    centred = input - mean(input, dims, True) if dims else input - input
    total = sum(centred * centred, dims, keepdim) if dims else centred * centred
    left = count - correction
    return total / (left if left > 0 else 0.0)  # type: ignore[no-any-return]


def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float = 1
) -> Tensor:
    """The square root of the variance; its gradient at a constant input is 0."""
    v = var(input, dim, unbiased, keepdim, correction=correction)
    return safe_sqrt(v)


def safe_sqrt(v: Tensor) -> Tensor:
    """sqrt with gradient 0 at 0."""
    zero = eq(v, 0)
    return where(zero, constant(0.0, v), sqrt(where(zero, constant(1.0, v), v)))  # type: ignore[no-any-return]


def norm(input: Tensor, p: Any = 2, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The p-norm of the elements, over all or over `dim`."""
    x = input
    if p in (2, "fro", 2.0):
        return safe_sqrt(sum(x * x, dim, keepdim))
    if p in (float("inf"), "inf"):
        return amax(abs(x), dim, keepdim)
    if p == float("-inf"):
        return amin(abs(x), dim, keepdim)
    if p == 0:
        return sum((x != 0).to(x.dtype), dim, keepdim)
    if p == 1:
        return sum(abs(x), dim, keepdim)
    return sum(abs(x) ** p, dim, keepdim) ** (1.0 / p)


def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) over its sum along `dim`."""
    x = _softmax_input(input, dtype)
    e = exp(x - amax(x, dim, True).detach()) if x.numel() else x
    return e / sum(e, dim, True) if x.numel() else e


def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    x = _softmax_input(input, dtype)
    return x - logsumexp(x, dim, True) if x.numel() else x


def _softmax_input(x: Tensor, dtype: DType | None) -> Tensor:
    if dtype is not None:
        return x.to(dtype)  # type: ignore[no-any-return]
    if not x.dtype.is_float:
        raise NotImplementedError(f"\"softmax_lastdim_kernel_impl\" not implemented for '{x.dtype.torch_name}'")
    return x


def cumsum(input: Tensor, dim: int) -> Tensor:
    """Running sums, as a product with a triangle of ones."""
    d = wrap_dim(dim, input.ndim)
    x = input if input.dtype.is_float else input.to(dt.i64)
    if x.ndim == 0:
        return x.clone()  # type: ignore[no-any-return]
    n = x.shape[d]
    place = Tensor(record("iota", length=n))
    upper = (place.unsqueeze(1) <= place.unsqueeze(0)).to(x.dtype)
    moved = x.movedim(d, -1)
    last = moved.matmul(upper)
    order = (*range(d), x.ndim - 1, *range(d, x.ndim - 1))
    return made(record("permute", last.value, dims=order), x)

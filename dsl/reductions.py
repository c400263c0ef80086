"""Reductions under PyTorch's names."""

from __future__ import annotations

from builtins import all as every
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import DTypeError, IndexError, NotImplementedError, RuntimeError, ShapeError, TypeError
from tdsl.elementwise import exp, floating, isnan, made, maximum, minimum, ne, where
from tdsl.recording import record
from tdsl.return_types import return_type
from tdsl.tensor import Tensor, op, type_name, wrap_dim

__all__ = [
    "all", "amax", "amin", "aminmax", "any", "argmax", "argmin", "count_nonzero", "log_softmax", "logsumexp", "max",
    "mean", "min", "nanmean", "nansum", "prod", "softmax", "sum",
]  # fmt: skip

_MAX, _MIN = return_type("max", "values indices"), return_type("min", "values indices")
_AMINMAX = return_type("aminmax", "min max")
Dims = int | Sequence[int] | None
F = TypeVar("F", bound=Callable[..., Any])


MAX_RANK = 64  # dimensions of a tensor that is reduced


def numpy_names(function: F) -> F:
    """The function, which takes NumPy's names of `dim` and `keepdim` too, as PyTorch's do."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        if "keepdims" in kwargs:
            kwargs["keepdim"] = kwargs.pop("keepdims")
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def one_dim(name: str, dim: Any, ndim: int) -> int:
    """A single dimension, counted from the start."""
    if not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
    _check_rank(ndim)
    return wrap_dim(int(dim.__index__()), ndim)


def _check_rank(ndim: int) -> None:
    if ndim > MAX_RANK:
        raise RuntimeError(f"only tensors with up to {MAX_RANK} dims are supported, not {ndim}")


def dims_of(dim: Dims, ndim: int) -> tuple[int, ...]:
    """Sorted, non-negative, distinct; None and () are all of them."""
    if dim is None or (not isinstance(dim, int) and isinstance(dim, Sequence) and len(dim) == 0):
        return tuple(range(ndim))
    listed = dim if isinstance(dim, Sequence) else [dim]
    _check_rank(ndim)
    if not every(hasattr(d, "__index__") for d in listed):
        raise TypeError(f"argument 'dim' must be tuple of ints, not {type(dim).__name__}")
    dims = [wrap_dim(int(d.__index__()), ndim) for d in listed]
    for k, d in enumerate(dims):
        if d in dims[:k]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(dims)) if ndim else ()


def _reduce(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    return made(record(name, x.value, dims=dims_of(dim, x.ndim), keepdim=bool(keepdim)), x)


@numpy_names
def sum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum of all elements, or over the dimensions `dim`; of ints and bools an int64."""
    if dtype is None or dtype is input.dtype:
        return _result("sum", input, dim, keepdim, dtype)
    return _result("sum", input.to(dtype), dim, keepdim, dtype)


def _result(name: str, x: Tensor, dim: Dims, keepdim: bool, dtype: DType | None) -> Tensor:
    """A reduction that widens ints; a dtype that was asked for is the result's."""
    result = _reduce(name, x, dim, keepdim)
    return result if dtype is None or result.dtype is dtype else result.to(dtype)  # type: ignore[no-any-return]


@numpy_names
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The product of all elements, or over the dimension `dim`; of ints and bools an int64."""
    if dim is not None:
        dim = one_dim("prod", dim, input.ndim)
    x = input if dtype is None or dtype is input.dtype else input.to(dtype)
    return _result("prod", x, dim, keepdim, dtype)


@numpy_names
def mean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean of all elements, or over the dimensions `dim`; NaN of none. Of ints only with a floating `dtype`."""
    got = dtype or input.dtype
    if not got.is_float:
        raise DTypeError(
            f"mean(): could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a "
            f"floating point or complex dtype. Got: {type_name(got)}",
            hint="convert first: x.float()",
        )
    return _reduce("mean", input if dtype is None else input.to(dtype), dim, keepdim)


def _check_not_empty(name: str, x: Tensor, dim: Dims) -> None:
    """An extreme of nothing is an error."""
    if x.numel() or x.ndim == 0:
        return
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        raise ShapeError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            "the 'dim' argument."
        )
    for d in dims_of(dim, x.ndim):
        if x.shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.", code="E0303")


@numpy_names
def amax(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The largest of all elements, or over the dimensions `dim`; equals share the gradient."""
    _check_not_empty("amax", input, dim)
    return _reduce("amax", input, dim, keepdim)


@numpy_names
def amin(input: Tensor, dim: Dims = (), keepdim: bool = False) -> Tensor:
    """The smallest of all elements, or over the dimensions `dim`; equals share the gradient."""
    _check_not_empty("amin", input, dim)
    return _reduce("amin", input, dim, keepdim)


@numpy_names
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """(min, max): the smallest and the largest of all elements, or along `dim`."""
    if input.numel() == 0 and dim is None:
        raise ShapeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
    if dim is not None:
        dim = one_dim("aminmax", dim, input.ndim)
        if input.ndim and input.shape[dim] == 0:
            raise IndexError(f"aminmax: Expected reduction dim {dim} to have non-zero size.", code="E0303")
    return _AMINMAX(*[_reduce(name, input, dim, keepdim) for name in ("amin", "amax")])


@numpy_names
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log of the sum of exp over the dimensions `dim`, without overflow."""
    return _reduce("logsumexp", floating(input), dim, keepdim)


def _truth(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    if isinstance(dim, Sequence) and len(dim) == 0:  # here, and only here, () is no dimension
        return ne(x, 0).to(dt.u8 if x.dtype is dt.u8 else dt.bool_)  # type: ignore[no-any-return]
    result = _reduce(name, x, dim, keepdim)
    return result.to(dt.u8) if x.dtype is dt.u8 else result  # type: ignore[no-any-return]


@numpy_names
def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether any element is not 0, NaN being so; a bool, of uint8 a uint8."""
    return _truth("any", input, dim, keepdim)


@numpy_names
def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether no element is 0; a bool, of uint8 a uint8."""
    return _truth("all", input, dim, keepdim)


def _position(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    """The first place of an extreme, in the flattened input without a dim."""
    x = input
    if dim is None:
        if x.numel() == 0:
            raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.",
                             code="E0303", hint="give it a dimension: dim=0")  # fmt: skip
        x, d = x.reshape(-1), 0
    else:
        d = one_dim(name, dim, x.ndim)
    if input.ndim == 0:
        return Tensor(record("constant", value=0, dtype=dt.i64))
    if x.dtype is dt.bool_:
        x = x.to(dt.u8)
    result = op(name, x, dim=d, keepdim=bool(keepdim))
    return result.reshape((1,) * input.ndim) if dim is None and keepdim else result  # type: ignore[no-any-return]


def _no_bool(name: str, x: Tensor) -> None:
    if x.dtype is dt.bool_:
        raise RuntimeError(f"{name}(): does not support bool input", hint="convert first: x.int()")


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the largest of all elements, or along `dim`: the first of equals; NaN is the largest."""
    _no_bool("argmax", input)
    return _position("argmax", input, dim, keepdim)


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The position of the smallest of all elements, or along `dim`: the first of equals; NaN counts as the smallest."""
    _no_bool("argmin", input)
    return _position("argmin", input, dim, keepdim)


def gathered(x: Tensor, indices: Tensor, d: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The elements at one place along d, and the places."""
    if x.ndim == 0:
        return x.clone(), indices
    values = op("gather", x, indices, dim=d)
    return (values, indices) if keepdim else (values.squeeze(d), indices.squeeze(d))


def _extreme(name: str, input: Tensor, dim: Any, keepdim: bool, other: Any) -> Any:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if isinstance(dim, Tensor) or other is not None:
        return (maximum if name == "max" else minimum)(input, dim if other is None else other)
    if dim is None:
        _check_not_empty(name, input, None)
        return _reduce(name, input, None, False)
    d = one_dim(name, dim, input.ndim)
    _check_not_empty(name, input, d)
    indices = _position("arg" + name, input, d, True)
    return (_MAX if name == "max" else _MIN)(*gathered(input, indices, d, keepdim))


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest of all; along `dim`, (values, indices); of two tensors, the elementwise maximum."""
    return _extreme("max", input, dim, keepdim, other)


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest of all; along `dim`, (values, indices); of two tensors, the elementwise minimum."""
    return _extreme("min", input, dim, keepdim, other)


@numpy_names
def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements are not 0, NaN being none."""
    return _reduce("sum", ne(input, 0), dim, False)


@numpy_names
def nansum(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The sum of the elements that are not NaN."""
    x = where(isnan(input), 0, input) if input.dtype.is_float else input
    return sum(x, dim, keepdim, dtype=dtype)


@numpy_names
def nanmean(input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None) -> Tensor:
    """The mean of the elements that are not NaN; NaN of none."""
    if not input.dtype.is_float:
        raise DTypeError(
            f"nanmean(): expected input to have floating point or complex dtype but got {type_name(input.dtype)}",
            hint="convert first: x.float()",
        )
    count = sum(~isnan(input), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


@numpy_names
def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) over its sum along `dim`."""
    x, d = _softmax_input("softmax", input, dim, dtype)
    e = exp(x - amax(x, d, True).detach()) if x.numel() else x
    return e / sum(e, d, True) if x.numel() else e


@numpy_names
def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """log of softmax, exact where softmax is 0."""
    x, d = _softmax_input("log_softmax", input, dim, dtype)
    return x - logsumexp(x, d, True) if x.numel() else x


def _softmax_input(name: str, x: Tensor, dim: int, dtype: DType | None) -> tuple[Tensor, int]:
    d = one_dim(name, dim, x.ndim)
    if dtype is not None:
        x = x.to(dtype)
    if not x.dtype.is_float:
        kernel = f"{name}_lastdim_kernel_impl" if d >= x.ndim - 1 else f"{name}_kernel_impl"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(x.dtype)}'")
    return x, d

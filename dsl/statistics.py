"""Moments, norms and quantiles under PyTorch's names."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from math import inf, prod
from typing import Any

from tdsl import shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import DTypeError, RuntimeError, TypeError
from tdsl.elementwise import abs as absolute
from tdsl.elementwise import ceil, constant, eq, floor, isnan, maximum, round, sign, sqrt, where
from tdsl.products import matmul
from tdsl.recording import record
from tdsl.reductions import Dims, any, dims_of, mean, numpy_names, one_dim, sum
from tdsl.sorting import ordered
from tdsl.tensor import Tensor, op, type_name

__all__ = ["corrcoef", "cov", "nanquantile", "norm", "quantile", "renorm", "std", "std_mean", "var", "var_mean"]

# ---- moments


def _correction(name: str, dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Dims, float]:
    """PyTorch's three forms: (unbiased), (dim, unbiased, keepdim) and (dim, correction=, keepdim=)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is None:
        return dim, 1 if correction is None else correction
    if correction is not None:
        raise TypeError(f"{name}() takes unbiased or correction, not both")
    return dim, 1 if unbiased else 0


def _variance(
    name: str, x: Tensor, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None
) -> tuple[Tensor, Tensor]:
    """The variance and the mean."""
    if not x.dtype.is_float:
        raise DTypeError(
            f"{name if name.endswith('_mean') else 'std and var'} only support floating point and complex dtypes",
            hint="convert first: x.float()",
        )
    dim, correction = _correction(name, dim, unbiased, correction)
    dims = dims_of(dim, x.ndim)
    centre = mean(x, dims, True) if dims else x
    centred = x - centre
    squares = centred * centred
    total = sum(squares, dims, keepdim) if dims else squares
    left = prod(x.shape[d] for d in dims) - correction
    average = centre if keepdim or not dims else centre.squeeze(dims)
    return total / (left if left > 0 else 0.0), average.clone()


@numpy_names
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance of all elements, or over the dimensions `dim`: the squares' sum over n - correction (1)."""
    return _variance("var", input, dim, unbiased, keepdim, correction)[0]


@numpy_names
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The square root of the variance; its gradient at a constant input is 0."""
    return safe_sqrt(_variance("std", input, dim, unbiased, keepdim, correction)[0])


@numpy_names
def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(variance, mean) of all elements, or over the dimensions `dim`."""
    return _variance("var_mean", input, dim, unbiased, keepdim, correction)


@numpy_names
def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) of all elements, or over the dimensions `dim`."""
    variance, average = _variance("std_mean", input, dim, unbiased, keepdim, correction)
    return safe_sqrt(variance), average


def safe_sqrt(v: Tensor) -> Tensor:
    """sqrt with gradient 0 at 0."""
    zero = eq(v, 0)
    return where(zero, constant(0.0, v), sqrt(where(zero, constant(1.0, v), v)))  # type: ignore[no-any-return]


# ---- norms


@numpy_names
def norm(input: Tensor, p: Any = "fro", dim: Dims = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """The p-norm of all elements, or over the dimensions `dim`; "nuc" is that of a matrix."""
    if p == "nuc":
        linalg = import_module("tdsl.linalg")  # when it is wanted: it builds on this room
        return linalg.matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)  # type: ignore[no-any-return]
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"linalg.matrix_norm: Order {p} not supported.")
    return vector_norm(input, 2.0 if p in (None, "fro") else float(p), dim, keepdim, dtype=dtype)


def vector_norm(x: Tensor, ord: float, dim: Dims, keepdim: bool, *, dtype: DType | None = None) -> Tensor:
    """(sum |x|^ord)^(1/ord), with gradient 0 where the norm, or for ord < 1 the element, is 0."""
    if not x.dtype.is_float:
        raise DTypeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got " + type_name(x.dtype)
        )
    x = x if dtype is None else x.to(dtype)
    dims = dims_of(dim, x.ndim)
    _check_norm_of_nothing(x, ord, dim, dims)
    if ord == 2:
        return safe_sqrt(sum(x * x, dims, keepdim))
    size = absolute(x)
    if ord == inf or ord == -inf:
        name = "max" if ord > 0 else "min"
        return Tensor(record(name, size.value, dims=dims, keepdim=keepdim)) if dims else size
    if ord == 0:
        return sum(where(x != 0, 1.0, sign(x)), dims, keepdim)  # sign: it has a gradient, which is 0
    if ord == 1:
        return sum(size, dims, keepdim)
    total = sum(_power(size, ord), dims, keepdim)
    return _power(total, 1.0 / ord)


def _power(x: Tensor, p: float) -> Tensor:
    """x to the p of a non-negative x, with gradient 0 at 0."""
    zero = eq(x, 0)
    return where(zero, 0.0 if p > 0 else inf, where(zero, 1.0, x) ** p)  # type: ignore[no-any-return]


def _check_norm_of_nothing(x: Tensor, ord: float, dim: Dims, dims: tuple[int, ...]) -> None:
    if x.numel() or not (ord < 0 or ord == inf):
        return
    shown = f"{ord:g}"
    if dim is None or (isinstance(dim, Sequence) and len(dim) == 0):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {shown} norm on an empty tensor because the operation does not "
            "have an identity"
        )
    for d in dims:
        if x.shape[d] == 0:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {shown} norm on the dimension {d} because this dimension is "
                "empty and the operation does not have an identity"
            )


def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Each slice along `dim` whose p-norm is above maxnorm, scaled down to it."""
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    if input.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    d = one_dim("renorm", dim, input.ndim)
    norms = vector_norm(input, float(p), [k for k in range(input.ndim) if k != d], True)
    return input * where(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)  # type: ignore[no-any-return]


# ---- quantiles

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _points(name: str, input: Tensor, q: Any, interpolation: str) -> Tensor:
    """q as a tensor, after all that can be wrong."""
    if not input.dtype.is_float:
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    given = isinstance(q, Tensor)
    if not given:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = Tensor(record("constant", value=float(q), dtype=input.dtype))
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if given and q.numel() and not bool(((q >= 0) & (q <= 1)).all()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    return q


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    points = _points(name, input, q, interpolation)
    d = None if dim is None else one_dim(name, dim, input.ndim)
    rows = input.reshape(-1) if d is None or input.ndim == 0 else shapes.movedim(input, d, -1)
    values = ordered(rows, rows.ndim - 1)
    missing, last = isnan(values), values.shape[-1] - 1
    if name == "nanquantile":
        top = maximum(sum(~missing, -1, True) - 1, Tensor(record("constant", value=0, dtype=dt.i64)))
        ranks = points.reshape(-1) * top.to(input.dtype)
    else:
        ranks = where(any(missing, -1, True), float(last), points.reshape(-1) * last)
    found = _at_ranks(values, ranks, interpolation)  # the rows' shape, with the points in place of the elements
    kept = [1 if d is None or k == d else n for k, n in enumerate(input.shape)]
    shape = kept if keepdim else [] if d is None or not input.ndim else [n for k, n in enumerate(kept) if k != d]
    if points.ndim == 0:
        return found.reshape(shape)  # type: ignore[no-any-return]
    return shapes.movedim(found, -1, 0).reshape([points.shape[0], *shape])  # type: ignore[no-any-return]


def _at_ranks(values: Tensor, ranks: Tensor, interpolation: str) -> Tensor:
    """The elements of sorted rows at ranks that may lie between two."""
    exact = {"lower": floor, "higher": ceil, "nearest": round}.get(interpolation)
    ranks = ranks if exact is None else exact(ranks)
    below = floor(ranks).detach()
    d = values.ndim - 1
    low = op("gather", values, below.to(dt.i64), dim=d)
    if exact is not None:
        return low
    high = op("gather", values, ceil(ranks).detach().to(dt.i64), dim=d)
    weight = constant(0.5, values) if interpolation == "midpoint" else ranks - below
    step = high - low
    # from the nearer end, as PyTorch's lerp does: exact at both
    return where(weight < 0.5, low + step * weight, high - step * (1 - weight))  # type: ignore[no-any-return]


def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-th quantiles of all elements, or along `dim`; NaN where there is one.

    A one-dimensional q makes a leading dimension of as many results.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The q-th quantiles of what is not NaN; NaN where nothing is."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


# ---- covariance


def _observation_weights(kind: str, w: Tensor | None, count: int) -> Tensor | None:
    """Weights of observations, after all that can be wrong with them."""
    if w is None:
        return None
    if w.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {kind} to have one or fewer dimensions but got {kind} with {w.ndim} dimensions"
        )
    if w.dtype.is_float is (kind == "fweights") or w.dtype is dt.bool_:
        want = "integral" if kind == "fweights" else "floating point"
        raise RuntimeError(
            f"cov(): expected {kind} to have {want} dtype but got {kind} with {type_name(w.dtype)} dtype"
        )
    if w.numel() != count:
        raise RuntimeError(
            f"cov(): expected {kind} to have the same numel as there are observations in the input but got "
            f"{w.numel()} != {count}"
        )
    if count and bool((w < 0).any()):
        raise RuntimeError(f"cov(): {kind} cannot be negative")
    return w


def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    """The covariances of variables, each a row of observations.

    `fweights` says how often each observation counts, `aweights` how much it matters.
    """
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    if input.dtype is dt.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    rows = input.reshape(1, -1) if input.ndim < 2 else input
    count = rows.shape[1]
    often, much = _observation_weights("fweights", fweights, count), _observation_weights("aweights", aweights, count)
    weights = often if much is None else much if often is None else often * much
    total = count if weights is None else weights.sum()
    if weights is not None and float(total) == 0:
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
    centred = rows - ((rows if weights is None else rows * weights).sum(1) / total).unsqueeze(1)
    covered = matmul(centred, shapes.transpose(centred if weights is None else centred * weights, 0, 1))
    return (covered / _freedom(total, weights, much, correction)).squeeze()


def _freedom(total: Any, weights: Tensor | None, much: Tensor | None, correction: int) -> Any:
    """What the products are divided by: the weight of the observations less the correction, at least 0."""
    if weights is None:
        left = total - correction
    elif much is not None and correction:
        left = total - correction * (weights * much).sum() / total
    else:
        left = total - correction
    if float(left) > 0:
        return left
    warnings.warn(
        "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
        UserWarning,
        stacklevel=3,
    )
    return left * 0 if isinstance(left, Tensor) else 0


def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables, each a row of observations."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions"
        )
    c = cov(input)
    if c.ndim == 0:
        return c / c
    deviations = sqrt(shapes.diagonal(c))
    return (c / deviations.reshape(-1, 1) / deviations.reshape(1, -1)).clamp(-1, 1)  # type: ignore[no-any-return]

"""Filling parameters."""

from __future__ import annotations

import warnings
from math import erf as erf_
from math import sqrt
from typing import Any

import numpy as np

from tdsl.autograd.modes import no_grad
from tdsl.compiler.source import ValueError
from tdsl.creation import eye as eye_matrix
from tdsl.creation import zeros
from tdsl.random import randn, randperm
from tdsl.tensor import Tensor, from_array


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": sqrt(2.0), "selu": 0.75}
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return sqrt(2.0 / (1 + slope**2))
    if nonlinearity.startswith("conv"):
        return 1.0
    if nonlinearity not in gains:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """Inputs and outputs of a unit."""
    if tensor.ndim < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = 1
    for n in tensor.shape[2:]:
        field *= n
    return tensor.shape[1] * field, tensor.shape[0] * field


@no_grad()
def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    return tensor.uniform_(a, b, generator=generator)  # type: ignore[no-any-return]


@no_grad()
def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    return tensor.normal_(mean, std, generator=generator)  # type: ignore[no-any-return]


@no_grad()
def constant_(tensor: Tensor, val: float) -> Tensor:
    return tensor.fill_(val)  # type: ignore[no-any-return]


def zeros_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Glorot and Bengio, AISTATS 2010."""
    bound = gain * sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    return normal_(tensor, 0.0, gain * sqrt(2.0 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """He et al., arXiv:1502.01852."""
    bound = calculate_gain(nonlinearity, a) * sqrt(3.0 / fans(tensor)[0 if mode == "fan_in" else 1])
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    std = calculate_gain(nonlinearity, a) / sqrt(fans(tensor)[0 if mode == "fan_in" else 1])
    return normal_(tensor, 0.0, std, generator)


def kaiming_uniform(*shape: int) -> Tensor:
    """A new tensor filled as nn.Linear's and nn.Conv2d's weights are."""

    return kaiming_uniform_(zeros(*shape), a=sqrt(5))


@no_grad()
def eye_(tensor: Tensor) -> Tensor:
    """The identity, of a matrix of any shape."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return tensor.copy_(eye_matrix(tensor.shape[0], tensor.shape[1], dtype=tensor.dtype))  # type: ignore[no-any-return]


@no_grad()
def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """A convolution that gives its input."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    outputs = tensor.shape[0]
    if outputs % groups:
        raise ValueError("dim 0 must be divisible by groups")
    per = outputs // groups
    values = np.zeros(tuple(tensor.shape))
    middle = tuple(n // 2 for n in tensor.shape[2:])
    for g in range(groups):
        for k in range(min(per, tensor.shape[1])):
            values[(g * per + k, k, *middle)] = 1
    return tensor.copy_(from_array(values))  # type: ignore[no-any-return]


@no_grad()
def orthogonal_(tensor: Tensor, gain: float = 1, generator: Any = None) -> Tensor:
    """Orthonormal rows or columns (Saxe et al., arXiv:1312.6120)."""
    if tensor.ndim < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    flat = randn(rows, tensor.numel() // rows, generator=generator)
    wide = rows < flat.shape[1]
    q, r = np.linalg.qr(np.asarray(flat.t() if wide else flat))
    q = q * np.sign(np.diag(r))
    return tensor.copy_(from_array(np.ascontiguousarray(q.T if wide else q)).reshape(tuple(tensor.shape)) * gain)  # type: ignore[no-any-return]


@no_grad()
def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Normal, with a part of each column set to 0 (Martens, 2010)."""
    if tensor.ndim != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros_ = int(np.ceil(sparsity * rows))
    tensor.normal_(0, std, generator=generator)
    for k in range(columns):
        tensor[randperm(rows, generator=generator)[:zeros_], k] = 0
    return tensor


@no_grad()
def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Normal within [a, b]: a uniform number through the inverse of the distribution function."""
    low, high = (0.5 * (1 + erf_(((x - mean) / std) / sqrt(2))) for x in (a, b))
    tensor.uniform_(2 * low - 1, 2 * high - 1, generator=generator)
    tensor.erfinv_()
    return tensor.mul_(std * sqrt(2)).add_(mean).clamp_(a, b)  # type: ignore[no-any-return]


def _older(function: Any) -> Any:
    def named(*args: Any, **kwargs: Any) -> Any:
        name = function.__name__
        warnings.warn(
            f"`nn.init.{name[:-1]}` is now deprecated in favor of `nn.init.{name}`.", FutureWarning, stacklevel=2
        )
        return function(*args, **kwargs)

    named.__name__ = function.__name__[:-1]
    return named


uniform, normal, constant, eye, dirac = map(_older, (uniform_, normal_, constant_, eye_, dirac_))
xavier_uniform, xavier_normal, kaiming_normal = map(_older, (xavier_uniform_, xavier_normal_, kaiming_normal_))
orthogonal, sparse = map(_older, (orthogonal_, sparse_))

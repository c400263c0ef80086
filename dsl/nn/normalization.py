"""Normalization layers' functions: batch, group, instance, layer, root mean square, local response."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from tdsl import elementwise as ew
from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.halves import rounded_once
from tdsl.nn.pooling import avg_pool2d, avg_pool3d
from tdsl.shapes import pad_constant
from tdsl.tensor import Tensor

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "native_batch_norm",
    "native_group_norm", "native_layer_norm", "normalize", "rms_norm",
]  # fmt: skip


def _moments(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean, mean, 1 / deviation) over dims, kept."""
    mean = x.mean(dims, True)
    centred = x - mean
    return centred, mean, ew.rsqrt((centred * centred).mean(dims, True) + eps)


def _affine(y: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _check_normalized(input: Tensor, normalized_shape: Sequence[int], weight: Any, bias: Any) -> tuple[int, ...]:
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p.shape) != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(p.shape)} and "
                f"normalized_shape = {list(shape)}"
            )
    if tuple(input.shape[input.ndim - len(shape) :]) != shape or input.ndim < len(shape):
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], "
            "but got "
            f"input of size{list(input.shape)}"
        )
    return tuple(range(input.ndim - len(shape), input.ndim))


@rounded_once
def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each sample's last dimensions with mean 0 and variance 1 (Ba, Kiros and Hinton, arXiv:1607.06450)."""
    dims = _check_normalized(input, normalized_shape, weight, bias)
    centred, _, scale = _moments(input, dims, eps)
    return _affine(centred * scale, weight, bias)


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(layer_norm, means, 1 / deviations)."""
    dims = _check_normalized(input, normalized_shape, weight, bias)
    centred, mean, scale = _moments(input, dims, eps)
    return _affine(centred * scale, weight, bias), mean, scale


@rounded_once
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divided by the root of the mean square (Zhang and Sennrich, arXiv:1910.07467)."""
    dims = _check_normalized(input, normalized_shape, weight, None)
    eps = (
        {4: 1.1920928955078125e-07, 8: 2.220446049250313e-16}.get(input.dtype.itemsize, 0.0009765625)
        if eps is None
        else eps
    )
    y = input * ew.rsqrt((input * input).mean(dims, True) + eps)
    return y if weight is None else y * weight


def _per_channel(p: Tensor | None, rank: int) -> Tensor | None:
    return None if p is None else p.reshape((1, -1) + (1,) * (rank - 2))


def _check_channels(input: Tensor, **given: Tensor | None) -> None:
    for name, p in given.items():
        if p is not None and p.numel() != input.shape[1]:
            raise RuntimeError(f"{name} should contain {input.shape[1]} elements not {p.numel()}")


def _more_than_one(input: Tensor) -> int:
    n = prod(input.shape) // max(1, input.shape[1])
    if n == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape!r}")
    return n


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Per channel; normalises with the biased variance, keeps a running unbiased one (arXiv:1502.03167)."""
    if not training and (running_mean is None or running_var is None):
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"Expected {missing} to be defined when training=False")
    if input.ndim < 2 and (training or input.numel()):
        raise ValueError(f"expected 2D or 3D input (got {input.ndim}D input)")
    if input.ndim < 2:
        return input.clone()
    _check_channels(input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if training:
        _more_than_one(input)
    return native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


def native_batch_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(batch_norm, means, 1 / deviations); the last two are empty where running statistics are used."""
    dims = (0, *range(2, input.ndim))
    if not training:
        assert running_mean is not None and running_var is not None
        mean, var = _per_channel(running_mean, input.ndim), _per_channel(running_var, input.ndim)
        assert mean is not None and var is not None
        y = (input - mean) * ew.rsqrt(var + eps)
        result = _affine(y, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))
        return result, input.new_empty(0), input.new_empty(0)
    n = prod(input.shape) // max(1, input.shape[1])
    mean = input.mean(dims, True)
    centred = input - mean
    var = (centred * centred).mean(dims, True)
    if running_mean is not None and running_var is not None:
        unbiased = var.detach().reshape(-1) * (momentum * n / max(n - 1, 1))
        running_mean.copy_(running_mean * (1 - momentum) + mean.detach().reshape(-1) * momentum)
        running_var.copy_(running_var * (1 - momentum) + unbiased)
    scale = ew.rsqrt(var + eps)
    y = _affine(centred * scale, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))
    return y, mean.reshape(-1), scale.reshape(-1)


@rounded_once
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Each sample's groups of channels with mean 0 and variance 1 (Wu and He, arXiv:1803.08494)."""
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    _more_than_one_group(input, num_groups)
    n, c = input.shape[:2]
    return native_group_norm(input, weight, bias, n, c, prod(input.shape[2:]), num_groups, eps)[0]


def _more_than_one_group(input: Tensor, groups: int) -> None:
    c = input.shape[1]
    if groups <= 0 or c % groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={groups}"
        )
    _check_groups_size(input, groups)


def _check_groups_size(input: Tensor, groups: int) -> None:
    n = input.shape[0] * input.shape[1] // groups * prod(input.shape[2:])
    if n == 1:
        size = [input.shape[0] * input.shape[1] // groups, groups, *input.shape[2:]]
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")


def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(group_norm, means, 1 / deviations)."""
    for name, p in (("weight", weight), ("bias", bias)):
        if p is not None and tuple(p.shape) != (C,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of "
                f"shape {list(p.shape)} and input of shape {list(input.shape)}"
            )
    x = input.reshape(N, group, -1) if input.numel() else input.reshape(N, group, C // group * HxW)
    centred, mean, scale = _moments(x, (2,), eps)
    y = (centred * scale).reshape(tuple(input.shape))
    result = _affine(y, _per_channel(weight, input.ndim), _per_channel(bias, input.ndim))
    return result, mean.reshape(N, group), scale.reshape(N, group)


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each channel of each sample with mean 0 and variance 1 (Ulyanov et al., arXiv:1607.08022)."""
    if use_input_stats and prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape!r}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    rank = input.ndim
    if not use_input_stats:
        assert running_mean is not None and running_var is not None
        mean, var = _per_channel(running_mean, rank), _per_channel(running_var, rank)
        assert mean is not None and var is not None
        y = (input - mean) * ew.rsqrt(var + eps)
        return _affine(y, _per_channel(weight, rank), _per_channel(bias, rank))
    dims = tuple(range(2, rank))
    n = prod(input.shape[2:])
    mean = input.mean(dims, True)
    centred = input - mean
    var = (centred * centred).mean(dims, True)
    if running_mean is not None and running_var is not None:
        unbiased = var.detach().mean(0).reshape(-1) * (n / max(n - 1, 1))
        running_mean.copy_(running_mean * (1 - momentum) + mean.detach().mean(0).reshape(-1) * momentum)
        running_var.copy_(running_var * (1 - momentum) + unbiased * momentum)
    return _affine(centred * ew.rsqrt(var + eps), _per_channel(weight, rank), _per_channel(bias, rank))


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divided by (k + alpha mean of squares over `size` neighbouring channels)^beta."""
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.ndim} dimensions)"
        )
    if input.numel() == 0:
        return input
    squares = (input * input).unsqueeze(1)
    before, after = size // 2, (size - 1) // 2
    if input.ndim == 3:
        padded = pad_constant(squares, [0, 0, before, 0], [0, 0, after, 0])
        means = avg_pool2d(padded, (size, 1), 1).squeeze(1)
    else:
        n, c = input.shape[:2]
        flat = squares.reshape(n, 1, c, input.shape[2], -1)
        padded = pad_constant(flat, [0, 0, before, 0, 0], [0, 0, after, 0, 0])
        means = avg_pool3d(padded, (size, 1, 1), 1).squeeze(1).reshape(tuple(input.shape))
    return input / (means * alpha + k) ** beta


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """Divided by the p-norm along dim, at least eps."""
    return input / input.norm(p, dim, True).clamp(min=eps).expand(input.shape)

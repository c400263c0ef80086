"""Activation functions and dropout, under PyTorch's names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from math import sqrt
from typing import Any

from tdsl import elementwise as ew
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import NotImplementedError, RuntimeError, ValueError
from tdsl.elementwise import constant, where
from tdsl.random import rand, uniform
from tdsl.reductions import log_softmax as _log_softmax
from tdsl.reductions import softmax as _softmax
from tdsl.tensor import Tensor, type_name

__all__ = [
    "alpha_dropout", "celu", "celu_", "dropout", "dropout1d", "dropout2d", "dropout3d", "elu", "elu_",
    "feature_alpha_dropout", "gelu", "glu", "gumbel_softmax", "hardshrink", "hardsigmoid", "hardswish", "hardtanh",
    "hardtanh_", "leaky_relu", "leaky_relu_", "log_softmax", "logsigmoid", "mish", "prelu", "relu", "relu6", "relu_",
    "rrelu", "rrelu_", "selu", "selu_", "sigmoid", "silu", "softmax", "softmin", "softplus", "softshrink", "softsign",
    "tanh", "tanhshrink", "threshold", "threshold_",
]  # fmt: skip

SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _need_float(name: str, input: Tensor) -> None:
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(input.dtype)}'")


def _in_place(input: Tensor, result: Tensor, inplace: bool) -> Tensor:
    if not inplace:
        return result
    input.check_writable()
    return input.assign(result.value)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """The larger of x and 0."""
    return _in_place(input, ew.relu(input), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    return hardtanh(input, 0.0, 6.0, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x between the bounds; no gradient flows at them."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if not input.dtype.signed:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    if not input.dtype.is_float:
        min_val, max_val = int(min_val), int(max_val)
    return _in_place(input, ew.hardtanh(input, min_val, max_val), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    _need_float("leaky_relu_cpu", input)
    return _in_place(input, where(input > 0, input, input * negative_slope), inplace)


def _below(input: Tensor) -> Tensor:
    """expm1(x) below 0, 0 above: nothing overflows."""
    return ew.expm1(where(input > 0, 0.0, input))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    _need_float("elu_cpu", input)
    return _in_place(input, where(input > 0, input, alpha * _below(input)), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """max(0, x) + min(0, alpha (exp(x / alpha) - 1))."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    _need_float("celu", input)
    return _in_place(input, where(input > 0, input, alpha * _below(input / alpha)), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """elu scaled so that means and variances keep themselves (Klambauer et al., arXiv:1706.02515)."""
    _need_float("selu", input)
    result = where(input > 0, input * SELU_SCALE, (SELU_ALPHA * SELU_SCALE) * _below(input))
    return _in_place(input, result, inplace)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Below 0 times a learned slope, one or one a channel."""
    if not isinstance(weight, Tensor):
        raise RuntimeError(f"prelu(): argument 'weight' must be Tensor, not {type(weight).__name__}")
    if input.dtype is not weight.dtype:
        raise RuntimeError(f"prelu: Type promoting not supported. Got {input.dtype!r} and {weight.dtype!r}")
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.numel() != 1:
        if input.ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input.shape[1] if input.ndim >= 2 else 1
        if channels != weight.numel():
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} and "
                f"channel size = {channels}."
            )
        weight = weight.reshape((1, -1) + (1,) * (input.ndim - 2)) if input.ndim >= 2 else weight
    slope = weight if weight.numel() != 1 or weight.ndim == 0 else weight.reshape(())
    return where(input > 0, input, slope * input)  # type: ignore[no-any-return]


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """leaky_relu with random slopes while training, their mean otherwise."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slopes = uniform(input, lower, upper)
    return _in_place(input, where(input <= 0, input * slopes, input), inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above the threshold, `value` up to it."""
    return _in_place(
        input, where(input <= threshold, constant(value, input) if input.dtype.is_float else int(value), input), inplace
    )


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x) (Hendrycks and Gimpel, arXiv:1606.08415), or its tanh approximation."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    _need_float("GeluKernelImpl", input)
    return ew.gelu(input, approximate)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""
    _need_float("silu_cpu", input)
    return _in_place(input, input * ew.sigmoid(input), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x)) (Misra, arXiv:1908.08681)."""
    _need_float("mish_cpu", input)
    soft = ew.relu(input) + ew.log1p(ew.exp(-ew.abs(input)))
    return _in_place(input, input * ew.tanh(soft), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x relu6(x + 3) / 6."""
    _need_float("hardswish_cpu", input)
    inside = input * (input + 3) / 6
    result = where(input <= -3, 0.0, where(input >= 3, input, inside)).to(input.dtype)
    return _in_place(input, where(ew.isnan(input), input, result), inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6."""
    _need_float("hardsigmoid_cpu", input)
    result = where(input <= -3, 0.0, where(input >= 3, 1.0, input / 6 + 0.5)).to(input.dtype)
    return _in_place(input, result, inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 within lambd of 0, else x."""
    _need_float("hardshrink_cpu", input)
    return where((input >= -lambd) & (input <= lambd), constant(0.0, input), input)  # type: ignore[no-any-return]


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 where that crosses it."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    _need_float("softshrink_cpu", input)
    zero = constant(0.0, input)
    return where(
        input > lambd, input - lambd, where(input < -lambd, input + lambd, where(ew.isnan(input), input, zero))
    )  # type: ignore[no-any-return]


def tanhshrink(input: Tensor) -> Tensor:
    return input - ew.tanh(input)


def softsign(input: Tensor) -> Tensor:
    return input / (1 + ew.abs(input))


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    _need_float("softplus_cpu", input)
    z = input * beta
    large = z > threshold
    soft = ew.log1p(ew.exp(where(large, 0.0, z))) / beta
    return where(large, input, soft)  # type: ignore[no-any-return]


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), without overflow."""
    _need_float("log_sigmoid_forward_cpu", input)
    return -ew.relu(-input) - ew.log1p(ew.exp(-ew.abs(input)))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """One half times the sigmoid of the other (Dauphin et al., arXiv:1612.08083)."""
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    n = input.shape[dim]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {dim % input.ndim} is size {n}")
    a, b = input.chunk(2, dim)
    return a * ew.sigmoid(b)  # type: ignore[no-any-return]


tanh, sigmoid = ew.tanh, ew.sigmoid


def _dim_of(name: str, ndim: int, dim: int | None) -> int:
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        UserWarning,
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """exp(x) over its sum along dim."""
    return _softmax(input, _dim_of("softmax", input.ndim, dim), dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """softmax of -x."""
    return _softmax(-input, _dim_of("softmin", input.ndim, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None) -> Tensor:
    """The logarithm of softmax, without loss of digits."""
    return _log_softmax(input, _dim_of("log_softmax", input.ndim, dim), dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of a softened one-hot choice (Jang et al., arXiv:1611.01144)."""
    u = 1 - rand(*logits.shape, dtype=logits.dtype)
    noise = -ew.log(-ew.log(u * (1 - 1e-7) + 0.5e-7))
    soft = _softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.detach().max(dim, keepdim=True)[1]
    one = soft.new_zeros(tuple(soft.shape)).scatter(dim, index, 1.0)
    return one - soft.detach() + soft


# ---- dropout


def _probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero with probability p, scaled by 1 / (1 - p) (Hinton et al., arXiv:1207.0580)."""
    _probability(p)
    if not training or p == 0:
        return input
    keep = rand(*input.shape) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return _in_place(input, where(keep, input * scale, constant(0.0, input)), inplace)


def _channels(input: Tensor, p: float, training: bool, inplace: bool, batched: bool = True) -> Tensor:
    """Whole channels zero: one number a sample and channel."""
    _probability(p)
    if not training or p == 0:
        return input
    lead = 2 if batched else 1
    shape = [n if k < lead else 1 for k, n in enumerate(input.shape)]
    keep = rand(*shape) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return _in_place(input, where(keep, input * scale, constant(0.0, input)), inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, L) or (C, L) zero."""
    _probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. Note that dropout1d exists to "
            "provide channel-wise dropout on inputs with 1 spatial dimension, a channel dimension, and an optional "
            "batch "
            "dimension (i.e. 2D or 3D inputs)."
        )
    return _channels(input, p, training, inplace, input.ndim == 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, H, W) or (N, C, L) zero."""
    _probability(p)
    if input.ndim not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.ndim}-D input to dropout2d, which is deprecated and will result in an "
            "error in "
            "a future release.", UserWarning, stacklevel=2,
        )  # fmt: skip
    return _channels(input, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) zero."""
    _probability(p)
    if input.ndim not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.ndim}-D input to dropout3d, which is deprecated and will result in an "
            "error in "
            "a future release.", UserWarning, stacklevel=2,
        )  # fmt: skip
    return _channels(input, p, training, inplace, input.ndim == 5)


def _alpha(input: Tensor, p: float, training: bool, inplace: bool, shape: list[int]) -> Tensor:
    """Set to SELU's lower limit, then scaled and moved so that mean and variance stay."""
    _probability(p)
    if not training or p == 0:
        return input
    low = -SELU_ALPHA * SELU_SCALE
    if p == 1:
        return _in_place(input, input * 0.0, inplace)
    scale = 1 / sqrt((low * low * p + 1) * (1 - p))
    keep = rand(*shape) >= p
    return _in_place(input, where(keep, input, constant(low, input)) * scale - scale * low * p, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for selu networks (Klambauer et al., arXiv:1706.02515)."""
    return _alpha(input, p, training, inplace, list(input.shape))


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
    return _alpha(input, p, training, inplace, [n if k < 2 else 1 for k, n in enumerate(input.shape)])


def _writes(function: Any) -> Callable[..., Tensor]:
    def method(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return function(input, *args, inplace=True, **kwargs)

    method.__name__ = f"{function.__name__}_"
    return method


relu_, elu_, celu_, selu_, leaky_relu_, rrelu_, hardtanh_, threshold_ = map(
    _writes, (relu, elu, celu, selu, leaky_relu, rrelu, hardtanh, threshold)
)

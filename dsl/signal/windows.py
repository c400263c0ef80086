"""Window functions under PyTorch's names: symmetric for the design of filters, periodic for spectra.

Formulas as in Harris, "On the use of windows for harmonic analysis with the discrete Fourier transform" (1978).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import pi
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.compiler.source import RuntimeError, TypeError, ValueError
from tdsl.creation import empty, ones, tensor
from tdsl.elementwise import Defaults
from tdsl.tensor import Tensor

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
    "hann", "kaiser", "nuttall",
]  # fmt: skip

Array = np.ndarray[Any, Any]


def _window(
    name: str, M: int, sym: bool, dtype: DType | None, requires_grad: bool, formula: Callable[[Array, int], Array]
) -> Tensor:
    """`formula(n, length)` at n = 0 ... M - 1; a periodic window is a symmetric one of one more, its last cut off."""
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    dtype = dtype or Defaults.dtype
    if not dtype.is_float or dtype.is_half:
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype!r}")
    if M == 0:
        return empty(0, dtype=dtype, requires_grad=requires_grad)
    if M == 1:
        return ones(1, dtype=dtype, requires_grad=requires_grad)
    length = M if sym else M + 1
    return tensor(formula(np.arange(M, dtype=np.float64), length), dtype=dtype, requires_grad=requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """a[0] - a[1] cos(x) + a[2] cos(2 x) - ..., x from 0 to 2 pi."""
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = [(-1) ** k * w for k, w in enumerate(a)]
    if not weights:
        raise ValueError("Coefficients cannot be empty")

    def formula(n: Array, length: int) -> Array:
        x = 2 * pi * n / (length - 1)
        total: Array = np.sum([w * np.cos(k * x) for k, w in enumerate(weights)], axis=0)
        return total

    return _window("general_cosine", M, sym, dtype, requires_grad, formula)


def general_hamming(M: int, *, alpha: float = 0.54, **options: Any) -> Tensor:
    return general_cosine(M, a=[alpha, 1.0 - alpha], **options)


def hamming(M: int, **options: Any) -> Tensor:
    return general_hamming(M, **options)


def hann(M: int, **options: Any) -> Tensor:
    return general_hamming(M, alpha=0.5, **options)


def blackman(M: int, **options: Any) -> Tensor:
    return general_cosine(M, a=[0.42, 0.5, 0.08], **options)


def nuttall(M: int, **options: Any) -> Tensor:
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], **options)


def bartlett(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle that is 0 at both ends."""
    return _window("bartlett", M, sym, dtype, requires_grad, lambda n, length: 1 - np.abs(2 * n / (length - 1) - 1))


def cosine(
    M: int, *, sym: bool = True, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Half a period of a sine."""
    return _window("cosine", M, sym, dtype, requires_grad, lambda n, length: np.sin(pi * (n + 0.5) / length))


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: DType | None = None,
    layout: Any = None, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-|n - center| / tau)."""
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def formula(n: Array, length: int) -> Array:
        middle = (length - 1) / 2 if center is None else center
        result: Array = np.exp(-np.abs(n - middle) / tau)
        return result

    return _window("exponential", M, sym, dtype, requires_grad, formula)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-(n - middle)^2 / (2 std^2))."""
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window(
        "gaussian", M, sym, dtype, requires_grad,
        lambda n, length: np.exp(-(((n - (length - 1) / 2) / (std * 2**0.5)) ** 2)),
    )  # fmt: skip


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """I0(beta sqrt(1 - x^2)) / I0(beta), x from -1 to 1."""
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def formula(n: Array, length: int) -> Array:
        x = 2 * n / (length - 1) - 1
        result: Array = np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(beta)
        return result

    return _window("kaiser", M, sym, dtype, requires_grad, formula)


# ---- the older names of `tdsl` itself, periodic unless told otherwise


def _older(name: str, window_length: int) -> None:
    if window_length < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={window_length}")


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    _older("bartlett_window", window_length)
    return bartlett(window_length, sym=not periodic, **_known(options))


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    _older("blackman_window", window_length)
    return blackman(window_length, sym=not periodic, **_known(options))


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    _older("hann_window", window_length)
    return hann(window_length, sym=not periodic, **_known(options))


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, **options: Any
) -> Tensor:
    _older("hamming_window", window_length)
    return general_cosine(window_length, a=[alpha, beta], sym=not periodic, **_known(options))


def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any) -> Tensor:
    _older("kaiser_window", window_length)
    return kaiser(window_length, beta=beta, sym=not periodic, **_known(options))


def _known(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k in ("dtype", "layout", "device", "requires_grad")}

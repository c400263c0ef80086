"""Functions of float16 and bfloat16 that are computed in float32 and rounded once, as PyTorch's kernels are."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from tdsl.compiler import dtype as dt
from tdsl.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def rounded_once(function: F) -> F:
    """The function, for halves: of its arguments in float32, its result rounded to their dtype."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for x in (*args, *kwargs.values()):
            if isinstance(x, Tensor) and x.dtype.is_half:
                return _once(function, x.dtype, args, kwargs)
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def _once(function: Callable[..., Any], half: dt.DType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*map(_wide, args), **{k: _wide(v) for k, v in kwargs.items()})
    if isinstance(result, tuple):
        return tuple(_narrow(x, half) for x in result)
    return _narrow(result, half)


def _wide(x: Any) -> Any:
    return x.to(dt.f32) if isinstance(x, Tensor) and x.dtype.is_half else x


def _narrow(x: Any, half: dt.DType) -> Any:
    return x.to(half) if isinstance(x, Tensor) and x.dtype is dt.f32 else x

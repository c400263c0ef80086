"""Operands of elementwise functions refused in PyTorch's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.compiler.source import NotImplementedError, TypeError
from tdsl.tensor import Tensor, type_name


def tensor_argument(function: str, x: Any, name: str = "input", position: int = 1) -> Tensor:
    """x, which must be a tensor."""
    if isinstance(x, Tensor):
        return x
    kind = type(x).__name__
    raise TypeError(f"{function}(): argument '{name}' (position {position}) must be Tensor, not {kind}")


def two_tensors(function: str, input: Any, other: Any, second: str = "other") -> None:
    """TypeError unless both are tensors."""
    if not (isinstance(input, Tensor) and isinstance(other, Tensor)):
        tensor_argument(function, input)
        tensor_argument(function, other, second, 2)


def some_tensor(function: str, input: Any, other: Any, names: tuple[str, str] = ("input", "other")) -> None:
    """TypeError for two Python numbers, and for what is neither a number nor a tensor."""
    if (isinstance(input, Tensor) and _is_operand(other)) or (isinstance(other, Tensor) and _is_operand(input)):
        return
    first, second = names
    number = "self" if first == "input" else first
    forms = (
        f"Tensor {first}, Tensor {second}",
        f"Number {number}, Tensor {second}",
        f"Tensor {first}, Number {second}",
    )
    raise _no_form(function, (input, other), forms)


def first_tensor(function: str, input: Any, other: Any, second: str = "other") -> None:
    """TypeError unless the first is a tensor and the second a tensor or a number."""
    if not (isinstance(input, Tensor) and _is_operand(other)):
        raise _no_form(function, (input, other), (f"Tensor input, Tensor {second}", f"Tensor input, Number {second}"))


def _is_operand(x: Any) -> bool:
    return isinstance(x, Tensor | bool | int | float | np.ndarray | np.generic)


def _no_form(function: str, given: tuple[Any, ...], forms: tuple[str, ...]) -> TypeError:
    kinds = ", ".join(type(x).__name__ for x in given)
    lines = "\n".join(f" * ({form}, *, Tensor out = None)" for form in forms)
    return TypeError(
        f"{function}() received an invalid combination of arguments - got ({kinds}), but expected one of:\n{lines}\n"
    )


def not_implemented(kernel: str, dtype: DType) -> NotImplementedError:
    """What PyTorch says of a dtype that a function is not made for."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")

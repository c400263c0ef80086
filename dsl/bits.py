"""Functions of the bits and the parts of numbers: bitwise logic, shifts, signs, divisors, mantissas and neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl import elementwise as ew
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import as_operand, binary, constant, result_type, unary, where
from tdsl.operands import first_tensor, not_implemented, some_tensor, tensor_argument, two_tensors
from tdsl.return_types import return_type
from tdsl.tensor import Tensor

__all__ = [
    "bitwise_and", "bitwise_left_shift", "bitwise_not", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign",
    "frexp", "gcd", "lcm", "ldexp", "nextafter", "signbit",
]  # fmt: skip

IN_PLACE = tuple(name for name in __all__ if name not in ("frexp", "signbit"))
_FREXP = return_type("frexp", "mantissa exponent")


def _bitwise(name: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        some_tensor(f"bitwise_{name}", input, other)
        a, b = as_operand(input), as_operand(other)
        dtype = result_type(a, b)
        if dtype.is_float:
            raise not_implemented(f"bitwise_{name}_cpu", dtype)
        return binary(name, a, b, dtype)

    function.__name__ = f"bitwise_{name}"
    function.__doc__ = f"Bitwise {name} of ints; logical of bools."
    return function


bitwise_and, bitwise_or, bitwise_xor = map(_bitwise, ("and", "or", "xor"))


def bitwise_not(input: Tensor) -> Tensor:
    """Every bit turned over; of bools logical not."""
    tensor_argument("bitwise_not", input)
    if input.dtype.is_float:
        raise not_implemented("bitwise_not_cpu", input.dtype)
    return unary("not", input)


def _shift(name: str, function: str) -> Callable[[Any, Any], Tensor]:
    def shift(input: Any, other: Any) -> Tensor:
        some_tensor(function, input, other)
        a, b = as_operand(input), as_operand(other)
        dtype = result_type(a, b)
        if dtype.is_float or dtype is dt.bool_:
            raise not_implemented("lshift_cpu" if name == "shl" else "rshift_cpu", dtype)
        return binary(name, a, b, dtype)

    shift.__name__ = function
    return shift


bitwise_left_shift = _shift("shl", "bitwise_left_shift")
bitwise_left_shift.__doc__ = "input * 2^other of ints; 0 where `other` is below 0 or no bit is left."
bitwise_right_shift = _shift("shr", "bitwise_right_shift")
bitwise_right_shift.__doc__ = (
    "input / 2^other rounded down; only the sign is left where `other` is below 0 or too large."
)


# ---- divisors


def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor of ints, not negative; of 0 and 0 it is 0.

    >>> import tdsl
    >>> tdsl.gcd(tdsl.tensor([12, -18]), tdsl.tensor([8, 12]))
    tensor([4, 6])
    """
    return _divisor("gcd", input, other)


def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple of ints, not negative; 0 where one of them is 0."""
    divisor = _divisor("lcm", input, other)
    safe = where(ew.eq(divisor, 0), 1, divisor)
    return ew.abs(ew.mul(ew.div(input, safe, rounding_mode="trunc"), other))


def _divisor(name: str, input: Tensor, other: Tensor) -> Tensor:
    two_tensors(name, input, other)
    dtype = result_type(input, other)
    if dtype.is_float or dtype is dt.bool_:
        raise not_implemented(f"{name}_cpu", dtype)
    if dtype.signed:
        return binary("gcd", input, other, dtype)
    return binary("gcd", input, other, dt.i32).to(dtype)  # type: ignore[no-any-return]


# ---- signs and parts of floats


def copysign(input: Tensor, other: Any) -> Tensor:
    """The magnitude of `input` with the sign of `other`, -0.0 and NaN's included; ints give the default float dtype."""
    first_tensor("copysign", input, other)
    b = as_operand(other)
    dtype = result_type(input, b)
    return binary("copysign", input, b, dtype if dtype.is_float else ew.Defaults.dtype)


def signbit(input: Tensor) -> Tensor:
    """Whether the sign is set: true of -0.0."""
    tensor_argument("signbit", input)
    if input.dtype is dt.bool_:
        return ew.ne(input, input)
    if not input.dtype.is_float:
        return ew.lt(input, 0)
    return ew.lt(binary("copysign", constant(1.0, input), input.detach()), 0)


def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next float after `input` in the direction of `other`."""
    two_tensors("nextafter", input, other)
    dtype = result_type(input, other)
    if not dtype.is_float:
        raise not_implemented("nextafter_cpu", dtype)
    return binary("nextafter", input, other, dtype)


def frexp(input: Tensor) -> Any:
    """The mantissa in [1/2, 1), with the sign, and the exponent (int32) of `input` = mantissa * 2^exponent.

    >>> import tdsl
    >>> tdsl.frexp(tdsl.tensor([1.0, -6.0])).exponent
    tensor([1, 3], dtype=tdsl.int32)
    """
    tensor_argument("frexp", input)
    if not input.dtype.is_float:
        raise RuntimeError("tdsl.frexp() only supports floating-point dtypes")
    return _FREXP(unary("mantissa", input), unary("exponent", input.detach()).to(dt.i32))


def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """input * 2^other."""
    two_tensors("ldexp", input, other)
    return ew.mul(input, ew.pow(2.0, other))

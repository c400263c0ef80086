"""Elementwise functions under PyTorch's names, with its broadcasting and type promotion."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import BOOL, FLOAT, DType
from tdsl.compiler.graph import Value, apply, number
from tdsl.compiler.source import DTypeError, RuntimeError, TypeError
from tdsl.recording import known, record
from tdsl.tensor import Number, Tensor, from_array, type_name

__all__ = [
    "abs", "absolute", "add", "allclose", "atan2", "bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor",
    "ceil", "clamp", "clip", "cos", "div", "divide", "eq", "equal", "erf", "exp", "expm1", "floor",
    "floor_divide", "fmod", "ge", "gelu", "greater", "greater_equal", "gt", "hardtanh", "isclose", "isfinite",
    "isinf", "isnan", "le", "less", "less_equal", "log", "log1p", "logical_and", "logical_not", "logical_or",
    "logical_xor", "lt", "maximum", "minimum", "mul", "multiply", "ne", "neg", "negative", "not_equal", "pow",
    "reciprocal", "relu", "remainder", "result_type", "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt",
    "square", "sub", "subtract", "tan", "tanh", "true_divide", "trunc", "where",
]  # fmt: skip

_NUMBERS = (bool, int, float)


class Defaults:
    """What PyTorch's set_default_dtype sets."""

    dtype = dt.f32


def category_dtype(x: Number) -> DType:
    """The dtype of a Python number alone."""
    return dt.bool_ if isinstance(x, bool) else dt.i64 if isinstance(x, int) else Defaults.dtype


def as_operand(x: Any) -> Tensor | Number:
    """A tensor or a Python number; NumPy arrays and scalars become tensors."""
    if isinstance(x, Tensor) or isinstance(x, _NUMBERS):
        return x
    if isinstance(x, np.ndarray):
        return from_array(x)
    if isinstance(x, np.generic):
        return from_array(np.asarray(x))
    raise TypeError(f"unsupported operand type: a tensor and {type(x).__name__!r}")


def result_type(*operands: Tensor | Number) -> DType:
    """PyTorch's promotion: dimensions outrank 0-d tensors, which outrank numbers, unless of a lower category."""
    ranks: list[DType | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor):
            k, d = (0 if x.ndim else 1), x.dtype
        else:
            k, d = 2, category_dtype(x)
        have = ranks[k]
        ranks[k] = d if have is None else dt.promote(have, d)
    result = ranks[0]
    for d2 in ranks[1:]:
        if d2 is not None and (result is None or d2.category > result.category):
            result = d2
    assert result is not None
    return result


def value_of(x: Tensor | Number, dtype: DType) -> Value:
    """The operand's value as `dtype`; a Python number stays a run-time argument."""
    if isinstance(x, Tensor):
        v = x.value
        return v if v.type.dtype is dtype else record("cast", v, dtype=dtype)
    if dtype.category < FLOAT and isinstance(x, int) and dtype.category != BOOL:
        x = wrap(x, dtype)
    return number(x, dtype)


def wrap(x: int, dtype: DType) -> int:
    """An integer in the range of its dtype, as it overflows there."""
    x &= (1 << dtype.bits) - 1
    return x - (1 << dtype.bits) if dtype.signed and x >> (dtype.bits - 1) else x


def shared(*operands: Any) -> bool:
    return any(isinstance(x, Tensor) and x._storage is not None and x._storage.shared for x in operands)


def made(value: Value, *operands: Any) -> Tensor:
    """The result as a tensor; at once when an operand's memory is shared with NumPy."""
    result = Tensor(value)
    if shared(*operands):
        known(value)
    return result


def binary(name: str, a: Any, b: Any, dtype: DType | None = None) -> Tensor:
    if dtype is None and a.__class__ is Tensor and b.__class__ is Tensor and a._value.type.dtype is b._value.type.dtype:
        return made(record(name, a.value, b.value), a, b)
    a, b = as_operand(a), as_operand(b)
    dtype = dtype or result_type(a, b)
    return made(record(name, value_of(a, dtype), value_of(b, dtype)), a, b)


def unary(name: str, x: Tensor) -> Tensor:
    return made(record(name, x.value), x)


def floating(x: Any) -> Tensor:
    """x, ints and bools as the default floating dtype."""
    x = tensor_of(x)
    return x if x.dtype.is_float else x.to(Defaults.dtype)  # type: ignore[no-any-return]


def tensor_of(x: Any) -> Tensor:
    if isinstance(x, Tensor):
        return x
    operand = as_operand(x)
    if isinstance(operand, Tensor):
        return operand
    return Tensor(apply("constant", value=operand, dtype=category_dtype(operand)))


def _float_function(name: str) -> Callable[..., Tensor]:
    def function(input: Tensor) -> Tensor:
        return unary(name, floating(input))

    function.__name__ = name
    function.__doc__ = f"{name} of each element; ints give the default floating dtype."
    return function


exp, expm1, log, log1p = map(_float_function, ("exp", "expm1", "log", "log1p"))
sqrt, rsqrt, sin, cos, tan = map(_float_function, ("sqrt", "rsqrt", "sin", "cos", "tan"))
tanh, sigmoid, erf = map(_float_function, ("tanh", "sigmoid", "erf"))


def _whole(name: str) -> Callable[..., Tensor]:
    def function(input: Tensor) -> Tensor:
        return unary(name, input) if input.dtype.is_float else input.clone()

    function.__name__ = name
    function.__doc__ = f"{name} of each element; ints are whole already."
    return function


floor, ceil, round, trunc = map(_whole, ("floor", "ceil", "round", "trunc"))


def neg(input: Tensor) -> Tensor:
    if input.dtype is dt.bool_:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use "
            "the `~` or `logical_not()` operator instead."
        )
    return unary("neg", input)


def abs(input: Tensor) -> Tensor:
    return unary("abs", input)


def sign(input: Tensor) -> Tensor:
    return unary("sign", input)


def relu(input: Tensor) -> Tensor:
    return unary("relu", input)


negative, absolute = neg, abs


def square(input: Tensor) -> Tensor:
    return binary("mul", input, input)


def reciprocal(input: Tensor) -> Tensor:
    x = floating(input)
    return Tensor(record("div", apply("constant", value=1.0, dtype=x.dtype), x.value))


def isnan(input: Tensor) -> Tensor:
    return unary("isnan", input) if input.dtype.is_float else eq(input, input) & False


def isinf(input: Tensor) -> Tensor:
    return eq(abs(input), float("inf")) if input.dtype.is_float else isnan(input)


def isfinite(input: Tensor) -> Tensor:
    return lt(abs(input), float("inf")) if input.dtype.is_float else eq(input, input)


# ---- arithmetic


def _scaled(other: Any, alpha: Number) -> Any:
    return other if alpha == 1 else mul(other, alpha)


def add(input: Any, other: Any, *, alpha: Number = 1) -> Tensor:
    return binary("add", input, _scaled(other, alpha))


def sub(input: Any, other: Any, *, alpha: Number = 1) -> Tensor:
    if alpha == 1 and _both_bool(input, other):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    return binary("sub", input, _scaled(other, alpha))


def _both_bool(a: Any, b: Any) -> bool:
    return all(isinstance(x, bool) or isinstance(x, Tensor) and x.dtype is dt.bool_ for x in (a, b))


def mul(input: Any, other: Any) -> Tensor:
    return binary("mul", input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """a / b; with rounding_mode "floor" or "trunc", rounded."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    if rounding_mode == "trunc":
        if dtype.is_float:
            return trunc(div(a, b))
        q = floor_divide(a, b)
        inexact = ne(mul(q, b), a) & lt(q, 0)
        return where(inexact, q + 1, q)
    return binary("div", a, b, dtype if dtype.is_float else Defaults.dtype)


true_divide = divide = div
subtract, multiply = sub, mul


def floor_divide(input: Any, other: Any) -> Tensor:
    return binary("floordiv", input, other)


def remainder(input: Any, other: Any) -> Tensor:
    return binary("mod", input, other)


def fmod(input: Any, other: Any) -> Tensor:
    return binary("fmod", input, other)


def pow(input: Any, exponent: Any) -> Tensor:
    """Small whole and half exponents are products and roots."""
    if isinstance(input, Tensor) and isinstance(exponent, _NUMBERS) and not isinstance(exponent, bool):
        if input.dtype.is_float:
            special = _power(input, float(exponent))
            if special is not None:
                return special
        elif isinstance(exponent, int) and exponent < 0:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        elif exponent == 2 and isinstance(exponent, int) and input.dtype is not dt.bool_:
            return binary("mul", input, input)
    return binary("pow", input, exponent)


def _power(x: Tensor, p: float) -> Tensor | None:
    if p == 2:
        return binary("mul", x, x)
    if p == 3:
        return binary("mul", binary("mul", x, x), x)
    if p == 1:
        return x.clone()
    if p == 0.5:
        return sqrt(x)
    if p == -0.5:
        return rsqrt(x)
    return reciprocal(x) if p == -1 else None


def atan2(input: Any, other: Any) -> Tensor:
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    return binary("atan2", a, b, dtype if dtype.is_float else Defaults.dtype)


def maximum(input: Any, other: Any) -> Tensor:
    return binary("maximum", input, other)


def minimum(input: Any, other: Any) -> Tensor:
    return binary("minimum", input, other)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Between min and max; the gradient passes at both bounds; where min > max, max."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None".replace("torch", "tdsl"))
    bounds = [as_operand(x) for x in (min, max) if x is not None]
    dtype = result_type(input, *bounds)
    y = input if input.dtype is dtype else input.to(dtype)
    if min is not None:
        y = where(lt(y, min), min, y)
        y = where(isnan(tensor_of(min)), min, y) if isinstance(min, Tensor) or min != min else y
    if max is not None:
        y = where(gt(y, max), max, y)
        y = where(isnan(tensor_of(max)), max, y) if isinstance(max, Tensor) or max != max else y
    return y.clone() if y is input else y


clip = clamp


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    inside = gt(input, min_val) & lt(input, max_val)
    bound = where(le(input, min_val), min_val, where(ge(input, max_val), max_val, input.detach()))
    return where(inside, input, bound)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """input where condition holds, else other; with one argument, the positions where it holds."""
    if not isinstance(condition, Tensor):
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {type(condition).__name__}")
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if input is None or other is None:
        raise TypeError("where(): give both `input` and `other`, or neither")
    if condition.dtype is dt.u8:
        condition = condition != 0
    if condition.dtype is not dt.bool_:
        raise DTypeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {type_name(condition.dtype)}"
        )
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    return made(record("where", condition.value, value_of(a, dtype), value_of(b, dtype)), condition, a, b)


# ---- comparisons and logic


def _comparison(name: str) -> Callable[[Any, Any], Tensor]:
    def compare(input: Any, other: Any) -> Tensor:
        return binary(name, input, other)

    compare.__name__ = name
    return compare


eq, ne, lt, le, gt, ge = map(_comparison, ("eq", "ne", "lt", "le", "gt", "ge"))
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _truth(x: Any) -> Tensor:
    x = tensor_of(x)
    return x if x.dtype is dt.bool_ else ne(x, 0)


def logical_and(input: Any, other: Any) -> Tensor:
    return binary("and", _truth(input), _truth(other))


def logical_or(input: Any, other: Any) -> Tensor:
    return binary("or", _truth(input), _truth(other))


def logical_xor(input: Any, other: Any) -> Tensor:
    return binary("xor", _truth(input), _truth(other))


def logical_not(input: Any) -> Tensor:
    return unary("not", _truth(input))


def _bitwise(name: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, other: Any) -> Tensor:
        a, b = as_operand(input), as_operand(other)
        dtype = result_type(a, b)
        if dtype.is_float:
            raise DTypeError(f"\"bitwise_{name}_cpu\" not implemented for '{'Float' if dtype is dt.f32 else 'Double'}'")
        return binary(name, a, b, dtype)

    function.__name__ = f"bitwise_{name}"
    return function


bitwise_and, bitwise_or, bitwise_xor = map(_bitwise, ("and", "or", "xor"))


def bitwise_not(input: Tensor) -> Tensor:
    return unary("not", input)


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    near = le(abs(sub(input, other)), add(mul(abs(other), rtol), atol)) & isfinite(other) | eq(input, other)
    return near | isnan(input) & isnan(other) if equal_nan else near


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are the same."""
    if not isinstance(other, Tensor):
        raise TypeError(f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    return input.shape == other.shape and bool(eq(input, other).all())


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Phi(x) (Hendrycks and Gimpel, arXiv:1606.08415), or its tanh approximation."""
    x = input
    half = constant(0.5, x)
    if approximate == "tanh":
        inner = (x + x * x * x * constant(0.044715, x)) * constant((2 / pi) ** 0.5, x)
        return x * half * (tanh(inner) + constant(1.0, x))
    return x * half * (erf(x * constant(0.5**0.5, x)) + constant(1.0, x))


def constant(value: float, like: Tensor) -> Tensor:
    """A number that belongs to a formula: part of the program, not an argument of it."""
    return Tensor(apply("constant", value=value, dtype=like.dtype))

"""Elementwise functions under PyTorch's names, with its broadcasting and type promotion."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import BOOL, FLOAT, DType
from tdsl.compiler.graph import Value, apply, number
from tdsl.compiler.source import DTypeError, RuntimeError, TypeError
from tdsl.operands import first_tensor, not_implemented, some_tensor, tensor_argument, two_tensors
from tdsl.recording import known, record
from tdsl.tensor import Number, Tensor, from_array, type_name

__all__ = [
    "abs", "absolute", "add", "allclose", "atan2", "ceil", "clamp", "clip", "cos", "div", "divide", "eq", "equal",
    "erf", "exp", "expm1", "floor", "floor_divide", "fmod", "ge", "gelu", "greater", "greater_equal", "gt",
    "hardtanh", "isclose", "isfinite", "isinf", "isnan", "le", "less", "less_equal", "log", "log1p", "logical_and",
    "logical_not", "logical_or", "logical_xor", "lt", "maximum", "minimum", "mul", "multiply", "ne", "neg",
    "negative", "not_equal", "pow", "reciprocal", "relu", "remainder", "result_type", "round", "rsqrt", "sigmoid",
    "sign", "sin", "sqrt", "square", "sub", "subtract", "tan", "tanh", "true_divide", "trunc", "where",
]  # fmt: skip

_NUMBERS = (bool, int, float)


class Defaults:
    """What PyTorch's set_default_dtype sets."""

    dtype = dt.f32


def category_dtype(x: Number) -> DType:
    """The dtype of a Python number alone."""
    return dt.bool_ if isinstance(x, bool) else dt.i64 if isinstance(x, int) else Defaults.dtype


def as_operand(x: Any, function: str | None = None) -> Tensor | Number:
    """A tensor or a Python number; NumPy arrays and scalars become tensors."""
    if isinstance(x, Tensor) or isinstance(x, _NUMBERS):
        return x
    if isinstance(x, np.ndarray):
        return from_array(x)
    if isinstance(x, np.generic):
        return from_array(np.asarray(x))
    if function is not None:
        raise TypeError(f"{function}(): argument 'other' (position 2) must be Tensor, not {type(x).__name__}")
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
    a, b = as_operand(a), as_operand(b, name)
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


def underivable(name: str, x: Any, result: Tensor) -> Tensor:
    """The result of the function `name`, whose derivative by x is not known: where x requires a gradient, asking for
    it is an error."""
    if not isinstance(x, Tensor) or not x.requires_grad or not result.requires_grad:
        return result
    return Tensor(record("underivable", result.value, name=name))


def float_function(name: str, op: str | None = None) -> Callable[[Tensor], Tensor]:
    """The elementwise function `op` (by default `name`) as one of tensors, ints as the default floating dtype."""
    op = op or name

    def function(input: Tensor) -> Tensor:
        return unary(op, floating(tensor_argument(name, input)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name} of each element; ints give the default floating dtype."
    return function


exp, expm1, log, log1p = map(float_function, ("exp", "expm1", "log", "log1p"))
sqrt, rsqrt, sin, cos, tan = map(float_function, ("sqrt", "rsqrt", "sin", "cos", "tan"))
tanh, sigmoid, erf = map(float_function, ("tanh", "sigmoid", "erf"))


def _whole(name: str) -> Callable[..., Tensor]:
    def function(input: Tensor) -> Tensor:
        if tensor_argument(name, input).dtype.is_float:
            return unary(name, input)
        if input.dtype is dt.bool_:
            raise not_implemented(f"{name}_vml_cpu", input.dtype)
        return input.clone()  # type: ignore[no-any-return]

    function.__name__ = name
    function.__doc__ = f"{name} of each element; ints are whole already."
    return function


floor, ceil, trunc = map(_whole, ("floor", "ceil", "trunc"))
_nearest = _whole("round")


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest whole number, of two the even one; with `decimals`, that many places behind (or before) the point."""
    if decimals == 0:
        return _nearest(input)
    if not tensor_argument("round", input).dtype.is_float:
        raise not_implemented("round_cpu", input.dtype)
    scale = constant(10.0 ** builtins.abs(decimals), input)
    return div(_nearest(mul(input, scale)), scale) if decimals > 0 else mul(_nearest(div(input, scale)), scale)


def neg(input: Tensor) -> Tensor:
    if tensor_argument("neg", input).dtype is dt.bool_:
        raise RuntimeError(_NO_MINUS)
    return unary("neg", input)


def abs(input: Tensor) -> Tensor:
    if tensor_argument("abs", input).dtype is dt.bool_:
        raise not_implemented("abs_cpu", input.dtype)
    return unary("abs", input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 of NaN, a bool as it is."""
    if tensor_argument("sign", input).dtype is dt.bool_:
        return input.clone()  # type: ignore[no-any-return]
    return unary("sign", input)


def relu(input: Tensor) -> Tensor:
    if tensor_argument("relu", input).dtype is dt.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return unary("relu", input)


negative, absolute = neg, abs


def square(input: Tensor) -> Tensor:
    """x * x; bools give int64."""
    x = tensor_argument("square", input)
    return binary("mul", x, x, dt.i64 if x.dtype is dt.bool_ else x.dtype)


def reciprocal(input: Tensor) -> Tensor:
    x = floating(tensor_argument("reciprocal", input))
    return Tensor(record("div", apply("constant", value=1.0, dtype=x.dtype), x.value))


def isnan(input: Tensor) -> Tensor:
    return unary("isnan", input) if tensor_argument("isnan", input).dtype.is_float else eq(input, input) & False


def isinf(input: Tensor) -> Tensor:
    return eq(abs(input), float("inf")) if tensor_argument("isinf", input).dtype.is_float else isnan(input)


def isfinite(input: Tensor) -> Tensor:
    return lt(abs(input), float("inf")) if tensor_argument("isfinite", input).dtype.is_float else eq(input, input)


# ---- arithmetic


def _scaled(input: Any, other: Any, alpha: Number) -> Any:
    """alpha * other, as a summand of `input`."""
    if alpha.__class__ is int and alpha == 1:
        return other
    dtype = result_type(as_operand(input), as_operand(other))
    if isinstance(alpha, bool) and dtype is not dt.bool_:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and not dtype.is_float:
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    return mul(other, bool(alpha) if dtype is dt.bool_ else alpha)


def add(input: Any, other: Any, *, alpha: Number = 1) -> Tensor:
    """input + alpha * other; of bools, logical or."""
    return binary("add", input, _scaled(input, other, alpha))


def sub(input: Any, other: Any, *, alpha: Number = 1) -> Tensor:
    """input - alpha * other; RuntimeError for bools."""
    bools = _is_bool(input) + _is_bool(other)
    if bools == 2:
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` "
            "operator instead."
        )
    if bools:
        raise RuntimeError(_NO_MINUS.replace("Negation", "Subtraction").replace("on a bool", "with a bool"))
    return binary("sub", input, _scaled(input, other, alpha))


def _is_bool(x: Any) -> bool:
    return x._value.type.dtype is dt.bool_ if isinstance(x, Tensor) else isinstance(x, bool)


_NO_MINUS = (
    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
    "`logical_not()` operator instead."
)


def mul(input: Any, other: Any) -> Tensor:
    return binary("mul", input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """a / b; with rounding_mode "floor" or "trunc", rounded."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode not in (None, "trunc"):
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    if rounding_mode == "trunc":
        if dtype.is_float:
            return trunc(div(a, b))
        if dtype is dt.bool_:
            raise not_implemented("div_trunc_cpu", dtype)
        q = floor_divide(a, b)
        inexact = ne(mul(q, b), a) & lt(q, 0)
        return where(inexact, q + 1, q)
    return binary("div", a, b, dtype if dtype.is_float else Defaults.dtype)


true_divide = divide = div
subtract, multiply = sub, mul


def _not_of_bools(kernel: str, input: Any, other: Any) -> None:
    if _is_bool(input) and _is_bool(other):
        raise not_implemented(kernel, dt.bool_)


def floor_divide(input: Any, other: Any) -> Tensor:
    """input / other rounded down; RuntimeError where ints are divided by 0."""
    _not_of_bools("div_floor_cpu", input, other)
    return binary("floordiv", input, other)


def remainder(input: Any, other: Any) -> Tensor:
    """What floor_divide leaves, with the divisor's sign."""
    some_tensor("remainder", input, other)
    _not_of_bools("remainder_cpu", input, other)
    return binary("mod", input, other)


def fmod(input: Tensor, other: Any) -> Tensor:
    """What division rounded to 0 leaves, with the dividend's sign."""
    first_tensor("fmod", input, other)
    _not_of_bools("fmod_cpu", input, other)
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
    some_tensor("pow", input, exponent, ("input", "exponent"))
    _not_of_bools("pow", input, exponent)
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


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]."""
    two_tensors("atan2", input, other)
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    return binary("atan2", a, b, dtype if dtype.is_float else Defaults.dtype)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger; NaN where either is. At a tie half of the gradient goes to each."""
    two_tensors("maximum", input, other)
    return binary("maximum", input, other)


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller; NaN where either is. At a tie half of the gradient goes to each."""
    two_tensors("minimum", input, other)
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
    def compare(input: Tensor, other: Any) -> Tensor:
        first_tensor(name, input, other)
        return binary(name, input, other)

    compare.__name__ = name
    return compare


eq, ne, lt, le, gt, ge = map(_comparison, ("eq", "ne", "lt", "le", "gt", "ge"))
not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge


def _truth(x: Any) -> Tensor:
    x = tensor_of(x)
    return x if x.dtype is dt.bool_ else ne(x, 0)


def logical_and(input: Any, other: Any) -> Tensor:
    two_tensors("logical_and", input, other)
    return binary("and", _truth(input), _truth(other))


def logical_or(input: Any, other: Any) -> Tensor:
    two_tensors("logical_or", input, other)
    return binary("or", _truth(input), _truth(other))


def logical_xor(input: Any, other: Any) -> Tensor:
    two_tensors("logical_xor", input, other)
    return binary("xor", _truth(input), _truth(other))


def logical_not(input: Any) -> Tensor:
    return unary("not", _truth(tensor_argument("logical_not", input)))


def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Whether |input - other| <= atol + rtol |other|, both of one dtype; NaN is close to NaN with `equal_nan`."""
    two_tensors("isclose", input, other)
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{type_name(input.dtype)} did not match {type_name(other.dtype)}")
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not tolerance >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    same = eq(input, other)
    if equal_nan and input.dtype.is_float:
        same = same | isnan(input) & isnan(other)
    if rtol == 0 and atol == 0:
        return same
    a, b = floating(input), floating(other)
    distance = abs(sub(a, b))
    return same | isfinite(distance) & le(distance, add(abs(mul(b, rtol)), atol))


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

"""Mathematical functions of elements under PyTorch's names, which also stand in `tdsl.special` where it has them."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log, pi
from typing import Any

from tdsl import elementwise as ew
from tdsl import statistics
from tdsl.broadcasting import broadcast_tensors
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.elementwise import (
    Defaults,
    as_operand,
    atan2,
    binary,
    constant,
    float_function,
    result_type,
    trunc,
    underivable,
    where,
)
from tdsl.operands import first_tensor, not_implemented, some_tensor, tensor_argument, two_tensors
from tdsl.tensor import Number, Tensor, type_name

__all__ = [
    "acos", "acosh", "addcdiv", "addcmul", "angle", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2",
    "arctanh", "asin", "asinh", "atan", "atanh", "clamp_max", "clamp_min", "conj", "conj_physical", "cosh", "deg2rad",
    "digamma", "dist", "erfc", "erfinv", "exp2", "fix", "float_power", "fmax", "fmin", "frac", "heaviside", "hypot",
    "i0", "igamma", "igammac", "imag", "isneginf", "isposinf", "isreal", "lerp", "lgamma", "log10", "log2",
    "logaddexp", "logaddexp2", "logit", "mvlgamma", "nan_to_num", "polygamma", "positive", "rad2deg", "real",
    "resolve_conj", "resolve_neg", "rsub", "sgn", "sinc", "sinh", "xlogy",
]  # fmt: skip
_NOT_IN_PLACE = (
    "angle conj dist float_power fmax fmin imag isneginf isposinf isreal logaddexp logaddexp2 positive real "
    "resolve_conj resolve_neg rsub"
).split()
IN_PLACE = tuple(name for name in __all__ if name not in _NOT_IN_PLACE)

asin, acos, atan = map(float_function, ("asin", "acos", "atan"))
sinh, cosh, asinh, acosh, atanh = map(float_function, ("sinh", "cosh", "asinh", "acosh", "atanh"))
exp2, log2, log10 = map(float_function, ("exp2", "log2", "log10"))
erfc, erfinv, lgamma, digamma = map(float_function, ("erfc", "erfinv", "lgamma", "digamma"))
i0 = float_function("i0", "bessel_i0")
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
arcsinh, arccosh, arctanh = asinh, acosh, atanh
fix = trunc


def floating_pair(name: str, input: Any, other: Any) -> tuple[Any, Any, DType]:
    """Two operands and their common floating dtype, ints as the default one."""
    a, b = as_operand(input), as_operand(other)
    dtype = result_type(a, b)
    return a, b, dtype if dtype.is_float else Defaults.dtype


def _float_only(kernel: str, input: Tensor, other: Tensor) -> DType:
    dtype = result_type(input, other)
    if not dtype.is_float:
        raise not_implemented(kernel, dtype)
    return dtype


# ---- signs, parts, angles


def sgn(input: Tensor) -> Tensor:
    """The sign, as `sign`: tensors are real."""
    return ew.sign(tensor_argument("sgn", input))


def positive(input: Tensor) -> Tensor:
    """`input` itself; RuntimeError for bools."""
    if tensor_argument("positive", input).dtype is dt.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def _itself(name: str) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return tensor_argument(name, input)

    function.__name__ = name
    function.__doc__ = "`input` itself: tensors are real."
    return function


conj, conj_physical, resolve_conj = map(_itself, ("conj", "conj_physical", "resolve_conj"))
resolve_neg, real = map(_itself, ("resolve_neg", "real"))


def imag(input: Tensor) -> Tensor:
    """RuntimeError: tensors are real."""
    raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")


def angle(input: Tensor) -> Tensor:
    """pi where the number is negative, else 0; NaN stays NaN."""
    x = ew.floating(tensor_argument("angle", input))
    flat = x * 0 if x.requires_grad else x  # the gradient is 0 everywhere
    nothing = where(ew.isnan(flat), flat, constant(0.0, x))
    return where(ew.lt(x, 0), constant(pi, x), where(ew.isnan(x), x.detach(), nothing))  # type: ignore[no-any-return]


def isposinf(input: Tensor) -> Tensor:
    """Whether each element is +inf."""
    x = tensor_argument("isposinf", input)
    return ew.eq(x, float("inf")) if x.dtype.is_float else ew.ne(x, x)


def isneginf(input: Tensor) -> Tensor:
    """Whether each element is -inf."""
    x = tensor_argument("isneginf", input)
    return ew.eq(x, float("-inf")) if x.dtype.is_float else ew.ne(x, x)


def isreal(input: Tensor) -> Tensor:
    """True of every element: tensors are real."""
    x = tensor_argument("isreal", input)
    return ew.le(ew.mul(ew.ne(x, x), False), False)


def frac(input: Tensor) -> Tensor:
    """The part behind the point, with the sign of x."""
    if not tensor_argument("frac", input).dtype.is_float:
        raise not_implemented("frac_cpu", input.dtype)
    return input - ew.trunc(input)  # type: ignore[no-any-return]


def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians."""
    x = ew.floating(tensor_argument("deg2rad", input))
    return x * constant(pi / 180, x)  # type: ignore[no-any-return]


def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees."""
    x = ew.floating(tensor_argument("rad2deg", input))
    return x * constant(180 / pi, x)  # type: ignore[no-any-return]


# ---- limits


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """The larger of each element and `min`, a number or a tensor; NaN where either is."""
    first_tensor("clamp_min", input, min, "min")
    return ew.clamp(input, min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """The smaller of each element and `max`, a number or a tensor; NaN where either is."""
    first_tensor("clamp_max", input, max, "max")
    return ew.clamp(input, None, max)


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger; a NaN only where both are. At a tie the gradient goes to `input`."""
    two_tensors("fmax", input, other)
    keep = ew.ge(input, other) | ew.isnan(other)
    return where(keep, input, other)  # type: ignore[no-any-return]


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller; a NaN only where both are."""
    two_tensors("fmin", input, other)
    keep = ew.le(input, other) | ew.isnan(other)
    return where(keep, input, other)  # type: ignore[no-any-return]


def nan_to_num(
    input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN replaced by `nan` (0), and the infinities by the largest numbers or the given ones."""
    if not tensor_argument("nan_to_num", input).dtype.is_float:
        return input.clone()  # type: ignore[no-any-return]
    from tdsl.formulas import finfo

    largest = finfo(input.dtype).max
    x = where(ew.isnan(input), 0.0 if nan is None else nan, input)
    x = where(ew.eq(input, float("inf")), largest if posinf is None else posinf, x)
    return where(ew.eq(input, float("-inf")), -largest if neginf is None else neginf, x)  # type: ignore[no-any-return]


def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` at 0, of one dtype with `input`; 0 of NaN."""
    two_tensors("heaviside", input, values, "values")
    if input.dtype is not values.dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    step = where(ew.eq(input, 0), values, ew.gt(input, 0).to(input.dtype))
    return underivable("heaviside", input, underivable("heaviside", values, step))  # type: ignore[no-any-return]


# ---- sums and products


def rsub(input: Tensor, other: Any, *, alpha: Number = 1) -> Tensor:
    """other - alpha * input."""
    first_tensor("rsub", input, other)
    return ew.sub(other, input, alpha=alpha)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight * (end - input), all of one floating dtype; from the nearer end, so that both are met exactly."""
    if not (isinstance(input, Tensor) and isinstance(end, Tensor) and isinstance(weight, Tensor | int | float)):
        kinds = ", ".join(type(x).__name__ for x in (input, end, weight))
        raise TypeError(
            f"lerp() received an invalid combination of arguments - got ({kinds}), but expected one of:\n"
            " * (Tensor input, Tensor end, Tensor weight, *, Tensor out = None)\n"
            " * (Tensor input, Tensor end, Number weight, *, Tensor out = None)\n"
        )
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype is not input.dtype:
            raise RuntimeError(f"expected dtype {_c_name(input)} for `{name}` but got dtype {_c_name(x)}")
    if not input.dtype.is_float:
        raise not_implemented(f"lerp_kernel_{'tensor' if isinstance(weight, Tensor) else 'scalar'}", input.dtype)
    way = end - input
    if not isinstance(weight, Tensor):
        return input + way * weight if abs(weight) < 0.5 else end - way * (1 - weight)
    near = ew.lt(ew.abs(weight), 0.5)
    return where(near, input + way * weight, end - way * (1 - weight))  # type: ignore[no-any-return]


_C_NAMES = {"Byte": "unsigned char", "Char": "signed char", "Long": "long int", "Half": "c10::Half"}


def _c_name(x: Tensor) -> str:
    name = type_name(x.dtype)
    return _C_NAMES.get(name, "c10::BFloat16" if name == "BFloat16" else name.lower())


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    product = ew.mul(tensor1, tensor2)
    _whole_value(result_type(input, product), value)
    return ew.add(input, product if value == 1 else ew.mul(product, value))


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """input + value * tensor1 / tensor2; RuntimeError where both of the fraction are ints."""
    if not tensor1.dtype.is_float and not tensor2.dtype.is_float:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a "
            "true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + value "
            "* torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / "
            "tensor2) for float inputs. The future addcdiv behavior is just the latter implementation: (input + value "
            "* tensor1 / tensor2), for all dtypes.".replace("torch", "tdsl")
        )
    quotient = ew.div(tensor1, tensor2)
    return ew.add(input, quotient if value == 1 else ew.mul(quotient, value))


def _whole_value(dtype: DType, value: Number) -> None:
    if not dtype.is_float and isinstance(value, float) and not value.is_integer():
        raise RuntimeError("For integral input tensors, argument value must not be a floating point number.")


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference."""
    two_tensors("dist", input, other)
    difference = ew.sub(input, other)
    if not difference.dtype.is_float:
        kind = type_name(difference.dtype)
        raise RuntimeError(f"norm(): input dtype should be either floating point or complex. Got {kind} instead.")
    return statistics.norm(difference, p)


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2) without overflow between; floats only."""
    two_tensors("hypot", input, other)
    return binary("hypot", input, other, _float_only("hypot_cpu", input, other))


# ---- exponentials, logarithms and powers


def _log_of_sum(input: Tensor, other: Tensor, of_difference: Callable[[Tensor], Tensor]) -> Tensor:
    """The larger, and a function of the distance down to the smaller; equal infinities are no distance apart."""
    distance = where(ew.eq(input, other), 0.0, ew.sub(input, other))
    return binary("maximum", input, other) + of_difference(-ew.abs(distance))  # type: ignore[no-any-return]


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow; floats only."""
    two_tensors("logaddexp", input, other)
    _float_only("logaddexp_cpu", input, other)
    return _log_of_sum(input, other, lambda d: ew.log1p(ew.exp(d)))


def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^input + 2^other) without overflow; floats only."""
    two_tensors("logaddexp2", input, other)
    _float_only("logaddexp2_cpu", input, other)
    return _log_of_sum(input, other, lambda d: ew.log1p(exp2(d)) * constant(1 / log(2), d))


def float_power(input: Any, exponent: Any) -> Tensor:
    """input ** exponent in float64."""
    some_tensor("float_power", input, exponent, ("input", "exponent"))
    a, b = (x.to(dt.f64) if isinstance(x, Tensor) else float(x) for x in (as_operand(input), as_operand(exponent)))
    return binary("pow", a, b, dt.f64) if not isinstance(a, Tensor) or isinstance(b, Tensor) else ew.pow(a, b)


def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """float_power in place, of float64 only."""
    if self.dtype is not dt.f64:
        kind = type_name(self.dtype)
        raise RuntimeError(
            f"the base given to float_power_ has dtype {kind} but the operation's result requires dtype Double"
        )
    return self.pow_(exponent)  # type: ignore[no-any-return, attr-defined]


def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0 unless other is NaN."""
    some_tensor("xlogy", input, other)
    return times_log(input, other, "xlogy", 0.0, ew.log)


def times_log(input: Any, other: Any, name: str, pole: float, logarithm: Callable[[Tensor], Tensor]) -> Tensor:
    """input * logarithm(other), which is 0 where input is 0 and the logarithm, infinite at `pole`, is not finite."""
    a, b, dtype = floating_pair(name, input, other)
    x, y = (v.to(dtype) if isinstance(v, Tensor) else float(v) for v in (a, b))
    if not isinstance(y, Tensor):
        y = ew.tensor_of(y).to(dtype)
    infinite = ew.le(y, pole) | ew.eq(y, float("inf"))
    zero = infinite & (ew.eq(x, 0) if isinstance(x, Tensor) else x == 0)
    return ew.mul(x, logarithm(where(zero, constant(1.0, y), y)))


def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)); with `eps`, x is first brought into [eps, 1 - eps]."""
    x = ew.floating(tensor_argument("logit", input))
    return ew.unary("logit", x if eps is None else ew.clamp(x, eps, 1 - eps))


def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), 1 at 0."""
    x = ew.floating(tensor_argument("sinc", input))
    at_zero = ew.eq(x, 0)
    turned = where(at_zero, constant(1.0, x), x * constant(pi, x))
    return where(at_zero, constant(1.0, x), ew.sin(turned) / turned)  # type: ignore[no-any-return]


# ---- gamma functions


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma.

    >>> import tdsl
    >>> tdsl.polygamma(1, tdsl.tensor([1.0, 0.5]))
    tensor([1.6449, 4.9348])
    """
    if isinstance(n, Tensor):  # as a method the tensor comes first
        n, input = input, n  # type: ignore[assignment]
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"polygamma(): argument 'n' (position 1) must be int, not {type(n).__name__}")
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    x = ew.floating(tensor_argument("polygamma", input, "input", 2))
    if n == 0:
        return digamma(x)
    return binary("zeta", constant(n + 1.0, x), x) * constant(  # type: ignore[no-any-return]
        (-1.0) ** (n + 1) * factorial(n), x
    )


def mvlgamma(input: Tensor, p: int) -> Tensor:
    """log of the multivariate gamma function of dimension p."""
    x = ew.floating(tensor_argument("mvlgamma", input))
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    result = lgamma(x)
    for k in range(1, p):
        result = result + lgamma(x - constant(k / 2, x))
    return result + constant(p * (p - 1) / 4 * log(pi), x)  # type: ignore[no-any-return]


def _incomplete(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    def function(input: Tensor, other: Tensor) -> Tensor:
        two_tensors(name, input, other)
        dtype = _float_only(f"{name}_cpu", input, other)
        a, x = broadcast_tensors(input, other)
        return underivable(f"{name}: input", input, binary(name, a, x, dtype))

    function.__name__ = name
    return function


igamma, igammac = map(_incomplete, ("igamma", "igammac"))
igamma.__doc__ = "The lower incomplete gamma function over gamma(input), integrated from 0 to `other`; floats only."
igammac.__doc__ = "1 - igamma, which keeps small values exact."

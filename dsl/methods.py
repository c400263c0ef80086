"""Every function of tensors as a method, an operator and an in-place form: attached to Tensor once, here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from tdsl import (
    arrangements,
    bits,
    copies,
    creation,
    elementwise,
    formulas,
    gathering,
    histograms,
    indexing,
    maths,
    parts,
    products,
    random,
    reductions,
    scans,
    scattering,
    sets,
    shapes,
    sorting,
    statistics,
    views,
)
from tdsl.arguments import checked
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import DTypeError, RuntimeError, TypeError
from tdsl.elementwise import made, unary, where
from tdsl.recording import record
from tdsl.tensor import Device, Tensor, preserve_format, type_name

# ---- conversions


def to(
    input: Tensor, *args: Any, dtype: DType | None = None, device: Any = None, non_blocking: bool = False,
    copy: bool = False, memory_format: Any = preserve_format,
) -> Tensor:  # fmt: skip
    """The tensor as another dtype; itself when nothing changes.

    `to(dtype)`, `to("cpu")`, `to("cpu", dtype)` and `to(other)` are all understood, as are Python's own types.
    """
    flags: list[bool] = []
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, bool):
            flags.append(a)
        elif isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, str | Device):
            Device(a)
        elif a is not None:
            raise TypeError(f"to() received an invalid argument: {a!r} is neither a dtype, a device nor a tensor")
    if device is not None:
        Device(device)
    copy = copy or len(flags) > 1 and flags[1]
    if dtype is not None and dtype is not input.dtype:
        result = Tensor(record("cast", input.value, dtype=dtype))
    else:
        result = clone(input) if copy else input
    return result if memory_format is preserve_format else result.contiguous(memory_format=memory_format)


def clone(input: Tensor, *, memory_format: Any = preserve_format) -> Tensor:
    """A tensor of its own with the same elements; the gradient flows through."""
    copy = made(record("copy", input.value), input)
    return copy if memory_format is preserve_format else copy.contiguous(memory_format=memory_format)


def _converter(dtype: DType) -> Callable[..., Tensor]:
    return lambda self, memory_format=preserve_format: to(self, dtype, memory_format=memory_format)


def type_as(input: Tensor, other: Tensor) -> Tensor:
    return to(input, other.dtype)


def type(input: Tensor, dtype: DType | None = None) -> Any:
    """The tensor as `dtype`; without one, the name of its type."""
    return f"tdsl.{type_name(input.dtype)}Tensor" if dtype is None else to(input, dtype)


def cpu(input: Tensor) -> Tensor:
    return input


# ---- in place


def _store(self: Tensor, new: Tensor) -> Tensor:
    """Make the result this tensor's value: same shape, a dtype that fits."""
    if tuple(new.shape) != tuple(self.shape):
        raise RuntimeError(f"output with shape {list(self.shape)} doesn't match the broadcast shape {list(new.shape)}")
    if new.dtype is not self.dtype:
        if new.dtype.category > self.dtype.category:
            raise RuntimeError(
                f"result type {type_name(new.dtype)} can't be cast to the desired output type {type_name(self.dtype)}"
            )
        new = to(new, self.dtype)
    self.assign(new.value)
    return self


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.check_writable()
        return _store(self, function(self, *args, **kwargs))

    method.__name__ = f"{function.__name__}_"
    method.__doc__ = f"{function.__name__}, in place."
    return method


def fill_(self: Tensor, value: Any) -> Tensor:
    if isinstance(value, bool | int | float):
        creation._fill_value(value, self.dtype)
    indexing.copy_into(self, value, overlap=True)
    return self


def zero_(self: Tensor) -> Tensor:
    return fill_(self, 0)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    indexing.copy_into(self, src)
    return self


def _drawn(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """Numbers drawn into the tensor."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.check_writable()
        if "from" in kwargs:
            kwargs["from_"] = kwargs.pop("from")
        return _store(self, function(self, *args, **kwargs))

    method.__name__ = name
    return method


uniform_, normal_ = _drawn(random.uniform, "uniform_"), _drawn(random.normal_of, "normal_")
exponential_, cauchy_ = _drawn(random.exponential, "exponential_"), _drawn(random.cauchy, "cauchy_")
geometric_, log_normal_ = _drawn(random.geometric, "geometric_"), _drawn(random.log_normal, "log_normal_")
random_ = _drawn(random.random_of, "random_")


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    self.check_writable()
    if isinstance(p, Tensor):
        drawn = random.bernoulli(p.expand(self.shape), generator=generator)
    else:
        drawn = random.bernoulli(self, float(p), generator=generator)
    return _store(self, drawn.to(self.dtype))


# ---- new_*


def _new(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, dtype: DType | None = None, **kwargs: Any) -> Tensor:
        return function(*args, dtype=dtype or self.dtype, **kwargs)

    return method


# ---- operators


def _swapped(function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Tensor]:
    def reflected(self: Tensor, other: Any) -> Tensor:
        if not isinstance(self, Tensor):
            raise TypeError(f"a reflected operator of Tensor does not apply to a {self.__class__.__name__!r} object")
        return function(other, self)

    return reflected


def _other_kind(x: Any) -> bool:
    return x is None or isinstance(x, str | list | tuple | dict)


def _equality(function: Callable[..., Tensor], answer: bool) -> Callable[[Tensor, Any], Any]:
    return lambda self, other: answer if _other_kind(other) else function(self, other)


def _operator(function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Any]:
    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, Tensor | int | float | np.ndarray | np.generic):
            return function(self, other)
        return NotImplemented

    return method


def _invert(self: Tensor) -> Tensor:
    if self.dtype.is_float:
        raise DTypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return unary("not", self)


def _matmul(self: Tensor, other: Any) -> Any:
    return products.matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """self where condition holds, else other."""
    return where(condition, self, other)  # type: ignore[no-any-return]


def _become(view: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """In-place changes of shape: the tensor turns into a view of what it was."""

    def method(self: Tensor, *args: Any, **named: Any) -> Tensor:
        self.check_writable(overlap=True)
        self.become(view(self, *args, **named))
        return self

    method.__name__ = f"{view.__name__}_"
    return method


def _later(name: str) -> Callable[..., Any]:
    """A method of a room that is imported when it is first used."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(import_module("tdsl.linalg.older"), name)(self, *args, **kwargs)

    method.__name__ = name
    return method


def attach() -> None:
    """Give Tensor its methods."""
    for module in _ROOMS:
        for name in module.__all__:
            if name not in _NOT_METHODS:
                function = getattr(module, name)
                setattr(Tensor, name, checked(function) if module in _CHECKED else function)
    for name in _LATER:
        setattr(Tensor, name, _later(name))
    for name in _HERE:
        setattr(Tensor, name, globals()[name])
    for name in _IN_PLACE:
        setattr(Tensor, f"{name}_", in_place(getattr(Tensor, name)))
    Tensor.float_power_ = maths.float_power_  # type: ignore[attr-defined]
    for name in ("as_strided_", "fill_diagonal_", "narrow_copy", "resize_", "resize_as_", "set_", "select_scatter",
                 "diagonal_scatter", "slice_scatter", "as_strided_scatter"):  # fmt: skip
        setattr(Tensor, name, getattr(copies, name))
    for name in ("t", "transpose", "swapaxes", "swapdims", "squeeze", "unsqueeze"):
        setattr(Tensor, f"{name}_", _become(getattr(shapes, name)))
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    for name, dtype in _CONVERSIONS.items():
        setattr(Tensor, name, _converter(dtype))
    for name in ("zeros", "ones", "empty", "full", "empty_strided"):
        setattr(Tensor, f"new_{name}", _new(getattr(creation, name)))
    Tensor.new_tensor = _new(creation.tensor)  # type: ignore[attr-defined]
    Tensor.where = where_method  # type: ignore[attr-defined]
    Tensor.index_put_ = indexing.index_put_  # type: ignore[attr-defined]
    Tensor.bernoulli, Tensor.multinomial = random.bernoulli, random.multinomial  # type: ignore[attr-defined]
    Tensor.T = property(views.reversed_dims)  # type: ignore[attr-defined]
    Tensor.H = property(views.hermitian)  # type: ignore[attr-defined]
    Tensor.mT = property(views.matrix_transposed)  # type: ignore[attr-defined]
    Tensor.mH = property(lambda self: views.matrix_transposed(self, "mH"))  # type: ignore[attr-defined]
    Tensor.dim_order = views.dim_order  # type: ignore[attr-defined]
    Tensor.ndimension = Tensor.dim  # type: ignore[attr-defined]
    Tensor.real, Tensor.imag = property(maths.real), property(maths.imag)  # type: ignore[attr-defined]
    Tensor.slice = parts.slice_method  # type: ignore[attr-defined]
    Tensor.__getitem__ = indexing.getitem  # type: ignore[method-assign]
    Tensor.__setitem__ = indexing.setitem  # type: ignore[method-assign]


_ROOMS = (elementwise, bits, maths, formulas, reductions, scans, statistics, sorting, sets, histograms, shapes,
          arrangements, gathering, scattering, products)  # fmt: skip
# Functions of several tensors, of numbers, or with a method of another order of arguments.
_NOT_METHODS = ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "row_stack", "column_stack",
                "meshgrid", "chain_matmul", "broadcast_shapes", "broadcast_tensors", "block_diag",
                "cartesian_prod", "combinations",
                "tril_indices", "triu_indices", "vander", "unravel_index", "fill", "atleast_1d", "atleast_2d",
                "atleast_3d", "finfo", "iinfo", "numel",
                "searchsorted", "bucketize", "isin", "trapezoid", "trapz", "cumulative_trapezoid", "gradient",
                "histogramdd", "std_mean", "var_mean", "where", "result_type", "can_cast", "is_tensor",
                "is_floating_point", "gelu",
                "hardtanh")  # fmt: skip
# their methods refuse wrong arguments in PyTorch's words
_CHECKED = (shapes, arrangements, gathering, scattering, reductions, scans, statistics, sorting, sets, histograms)
_HERE = ("to", "clone", "type_as", "type", "cpu", "fill_", "zero_", "copy_", "uniform_", "normal_",
         "bernoulli_", "exponential_", "cauchy_", "geometric_", "log_normal_", "random_")  # fmt: skip
_LATER = (
    "cholesky cholesky_inverse cholesky_solve det geqrf inverse logdet lu lu_solve matrix_exp matrix_power orgqr ormqr "
    "pinverse qr slogdet svd triangular_solve"
).split()
_IN_PLACE = (
    "add sub mul div pow floor_divide remainder fmod exp log sqrt rsqrt tanh sigmoid erf sin cos tan abs neg "
    "sign floor ceil round trunc clamp clip relu square reciprocal logical_and logical_or logical_xor "
    "logical_not masked_fill masked_scatter scatter scatter_add scatter_reduce index_add index_fill "
    "index_copy index_reduce put tril triu "
    "expm1 log1p atan2 eq ne lt le gt ge not_equal greater greater_equal less less_equal "
    "addmm addmv addr addbmm baddbmm cumsum cumprod renorm "
    "subtract multiply divide true_divide negative absolute"
).split() + [*bits.IN_PLACE, *maths.IN_PLACE]
_CONVERSIONS = {"float": dt.f32, "double": dt.f64, "long": dt.i64, "int": dt.i32, "bool": dt.bool_, "byte": dt.u8,
                "short": dt.i16, "char": dt.i8, "half": dt.f16, "bfloat16": dt.bf16}  # fmt: skip
_ARITHMETIC = {"add": elementwise.add, "sub": elementwise.sub, "mul": elementwise.mul, "truediv": elementwise.div,
               "floordiv": elementwise.floor_divide, "mod": elementwise.remainder, "pow": elementwise.pow,
               "lshift": bits.bitwise_left_shift, "rshift": bits.bitwise_right_shift,
               "and": bits.bitwise_and, "or": bits.bitwise_or,
               "xor": bits.bitwise_xor}  # fmt: skip
_OPERATORS: dict[str, Any] = {f"__{n}__": _operator(f) for n, f in _ARITHMETIC.items()}
_OPERATORS |= {f"__r{n}__": _operator(_swapped(f)) for n, f in _ARITHMETIC.items()}
_OPERATORS["__rdiv__"] = _OPERATORS["__rtruediv__"]
_OPERATORS |= {f"__i{n}__": in_place(f) for n, f in _ARITHMETIC.items()}
_OPERATORS |= {
    "__neg__": elementwise.neg, "__pos__": maths.positive, "__abs__": elementwise.abs, "__invert__": _invert,
    "__matmul__": _matmul, "__rmatmul__": _swapped(_matmul),
    "__eq__": _equality(elementwise.eq, False), "__ne__": _equality(elementwise.ne, True),
    "__lt__": _operator(elementwise.lt), "__le__": _operator(elementwise.le), "__gt__": _operator(elementwise.gt),
    "__ge__": _operator(elementwise.ge),
}  # fmt: skip

attach()

"""Every function of tensors as a method, an operator and an in-place form: attached to Tensor once, here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tdsl import creation, elementwise, indexing, random, reductions, shapes
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import DTypeError, RuntimeError, ShapeError
from tdsl.elementwise import as_operand, unary, where
from tdsl.recording import record
from tdsl.tensor import Device, Tensor, from_array, op, wrap_dim

# ---- conversions


def to(input: Tensor, *args: Any, dtype: DType | None = None, copy: bool = False, **_: Any) -> Tensor:
    """The tensor as another dtype; itself when nothing changes."""
    for a in args:
        if isinstance(a, DType):
            dtype = a
        elif isinstance(a, Tensor):
            dtype = a.dtype
        elif isinstance(a, str | Device):
            Device(a)
    if dtype is None or dtype is input.dtype:
        return clone(input) if copy else input
    return Tensor(record("cast", input.value, dtype=dtype))


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A tensor of its own with the same elements; the gradient flows through."""
    return Tensor(record("reshape", input.value, shape=tuple(input.shape)))


def _converter(dtype: DType) -> Callable[[Tensor], Tensor]:
    return lambda self: to(self, dtype)


def type_as(input: Tensor, other: Tensor) -> Tensor:
    return to(input, other.dtype)


def cpu(input: Tensor) -> Tensor:
    return input


# ---- positions


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of what is not 0; its size depends on the data, so it is known at once."""
    found = np.nonzero(input.array())
    if as_tuple:
        return tuple(from_array(f) for f in found)
    return from_array(np.stack(found, 1) if found else np.zeros((int(bool(input)), 0), np.int64))


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    return op("gather", input, index, dim=wrap_dim(dim, input.ndim))


def take_along_dim(input: Tensor, indices: Tensor, dim: int) -> Tensor:
    return gather(input, dim, indices)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    if index.ndim > 1:
        raise ShapeError("index_select(): Index is supposed to be a vector")
    return op("take", input, to(index, dt.i64), dim=wrap_dim(dim, input.ndim))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    return op("scatter_add", input, index, src, dim=wrap_dim(dim, input.ndim))


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1) -> Tensor:
    source = source if alpha == 1 else source * alpha
    return op("take_add", input, to(index, dt.i64), source, dim=wrap_dim(dim, input.ndim))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    return where(mask, as_operand(value), input).to(input.dtype)  # type: ignore[no-any-return]


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    return input[mask]  # type: ignore[no-any-return]


# ---- in place


def _store(self: Tensor, new: Tensor) -> Tensor:
    """Make the result this tensor's value: same shape, a dtype that fits."""
    if tuple(new.shape) != tuple(self.shape):
        raise RuntimeError(
            f"output with shape {list(self.shape)} doesn't match the broadcast shape {list(new.shape)}"
        )
    if new.dtype is not self.dtype:
        if new.dtype.category > self.dtype.category:
            raise RuntimeError(
                f"result type {indexing._name(new.dtype)} can't be cast to the desired output type "
                f"{indexing._name(self.dtype)}"
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
    indexing.copy_into(self, value)
    return self


def zero_(self: Tensor) -> Tensor:
    return fill_(self, 0)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    indexing.copy_into(self, src)
    return self


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Any = None) -> Tensor:
    self.check_writable()
    return _store(self, random.rand(*self.shape, generator=generator, dtype=self.dtype) * (b - a) + a)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    self.check_writable()
    return _store(self, random.randn(*self.shape, generator=generator, dtype=self.dtype) * std + mean)


def bernoulli_(self: Tensor, p: float = 0.5, *, generator: Any = None) -> Tensor:
    self.check_writable()
    return _store(self, (random.rand(*self.shape, generator=generator) < p).to(self.dtype))


# ---- new_*


def _new(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, dtype: DType | None = None, **kwargs: Any) -> Tensor:
        return function(*args, dtype=dtype or self.dtype, **kwargs)

    return method


# ---- operators


def _swapped(function: Callable[..., Tensor]) -> Callable[[Tensor, Any], Tensor]:
    return lambda self, other: function(other, self)


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
        raise DTypeError(f'"bitwise_not_cpu" not implemented for \'{indexing._name(self.dtype)}\'')
    return unary("not", self)


def _matmul(self: Tensor, other: Any) -> Any:
    return shapes.matmul(self, other) if isinstance(other, Tensor) else NotImplemented


def rpow(self: Tensor, other: Any) -> Tensor:
    return elementwise.pow(other, self)


def attach() -> None:
    """Give Tensor its methods."""
    for module in (elementwise, reductions, shapes):
        for name, function in vars(module).items():
            own = getattr(function, "__module__", "") == module.__name__ or name in _ALIASES
            if callable(function) and own and name not in _FUNCTIONS and not name.startswith("_"):
                setattr(Tensor, name, function)
    for name in _HERE:
        setattr(Tensor, name, globals()[name])
    for name in _IN_PLACE:
        setattr(Tensor, f"{name}_", in_place(getattr(Tensor, name)))
    for name, function in _OPERATORS.items():
        setattr(Tensor, name, function)
    for name, dtype in _CONVERSIONS.items():
        setattr(Tensor, name, _converter(dtype))
    for name in ("zeros", "ones", "empty", "full"):
        setattr(Tensor, f"new_{name}", _new(getattr(creation, name)))
    Tensor.new_tensor = _new(creation.tensor)  # type: ignore[attr-defined]
    Tensor.T = property(lambda self: shapes.permute(self, tuple(reversed(range(self.ndim)))))  # type: ignore[attr-defined]
    Tensor.mT = property(lambda self: shapes.transpose(self, -2, -1))  # type: ignore[attr-defined]
    Tensor.__getitem__ = indexing.getitem  # type: ignore[attr-defined]
    Tensor.__setitem__ = indexing.setitem  # type: ignore[attr-defined]


_FUNCTIONS = {"constant", "binary", "unary", "made", "shared", "value_of", "as_operand", "tensor_of", "category_dtype",
              "wrap", "floating", "Defaults", "result_type", "dims_of", "safe_sqrt", "sizes", "view_layout",
              "slice_dim", "cat", "concat", "concatenate", "stack", "pad_constant"}  # fmt: skip
_ALIASES = {"clip", "swapaxes", "swapdims", "broadcast_to", *"exp expm1 log log1p sqrt rsqrt sin cos tan tanh sigmoid "
            "erf floor ceil round trunc eq ne lt le gt ge bitwise_and bitwise_or bitwise_xor".split()}  # fmt: skip
_HERE = ("to", "clone", "type_as", "cpu", "nonzero", "gather", "take_along_dim", "index_select", "scatter_add",
         "index_add", "masked_fill", "masked_select", "fill_", "zero_", "copy_", "uniform_", "normal_",
         "bernoulli_")  # fmt: skip
_IN_PLACE = ("add sub mul div pow floor_divide remainder fmod exp log sqrt rsqrt tanh sigmoid erf sin cos abs neg sign "
             "floor ceil round trunc clamp relu square reciprocal logical_and logical_or logical_not masked_fill "
             "scatter_add index_add tril triu expm1 log1p atan2 bitwise_and bitwise_or bitwise_xor eq ne lt le gt "
             "ge").split()  # fmt: skip
_CONVERSIONS = {"float": dt.f32, "double": dt.f64, "long": dt.i64, "int": dt.i32, "bool": dt.bool_, "byte": dt.u8}
_ARITHMETIC = {"add": elementwise.add, "sub": elementwise.sub, "mul": elementwise.mul, "truediv": elementwise.div,
               "floordiv": elementwise.floor_divide, "mod": elementwise.remainder, "pow": elementwise.pow,
               "and": elementwise.bitwise_and, "or": elementwise.bitwise_or, "xor": elementwise.bitwise_xor}  # fmt: skip
_OPERATORS: dict[str, Any] = {f"__{n}__": _operator(f) for n, f in _ARITHMETIC.items()}
_OPERATORS |= {f"__r{n}__": _operator(_swapped(f)) for n, f in _ARITHMETIC.items()}
_OPERATORS |= {f"__i{n}__": in_place(f) for n, f in _ARITHMETIC.items()}
_OPERATORS |= {
    "__neg__": elementwise.neg, "__pos__": lambda self: self, "__abs__": elementwise.abs, "__invert__": _invert,
    "__matmul__": _matmul, "__eq__": _equality(elementwise.eq, False), "__ne__": _equality(elementwise.ne, True),
    "__lt__": _operator(elementwise.lt), "__le__": _operator(elementwise.le), "__gt__": _operator(elementwise.gt),
    "__ge__": _operator(elementwise.ge),
}  # fmt: skip

attach()


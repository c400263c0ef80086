"""Element types and PyTorch's promotion of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

BOOL, INT, FLOAT = 0, 1, 2  # categories, weakest first


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """One element type; there is exactly one object of each, so `is` compares them.

    `name` is the language's (`f32`), `torch_name` PyTorch's (`float32`).
    """

    name: str
    torch_name: str
    category: int
    bits: int
    signed: bool
    numpy: np.dtype[np.generic]  # what its elements are computed with in NumPy
    storage: np.dtype[np.generic]  # what its bytes are, there

    def __repr__(self) -> str:
        return f"tdsl.{self.torch_name}"

    def __reduce__(self) -> str | tuple[object, ...]:
        return (by_name, (self.name,))

    def __deepcopy__(self, memo: object) -> DType:
        return self

    @property
    def is_float(self) -> bool:
        return self.category == FLOAT

    @property
    def is_floating_point(self) -> bool:
        return self.category == FLOAT

    @property
    def is_half(self) -> bool:
        """Stored in 16 bits, computed in 32: each operation rounds its result."""
        return self.category == FLOAT and self.bits == 16

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return self.signed

    @property
    def itemsize(self) -> int:
        return max(1, self.bits // 8)


def _make(name: str, torch_name: str, category: int, bits: int, signed: bool) -> DType:
    found = np.dtype(torch_name)
    return DType(name, torch_name, category, bits, signed, found, found)


bool_ = _make("bool", "bool", BOOL, 1, False)
u8 = _make("u8", "uint8", INT, 8, False)
i8 = _make("i8", "int8", INT, 8, True)
i16 = _make("i16", "int16", INT, 16, True)
i32 = _make("i32", "int32", INT, 32, True)
i64 = _make("i64", "int64", INT, 64, True)
f16 = _make("f16", "float16", FLOAT, 16, True)
bf16 = DType("bf16", "bfloat16", FLOAT, 16, True, np.dtype("float32"), np.dtype("uint16"))  # NumPy has none
f32 = _make("f32", "float32", FLOAT, 32, True)
f64 = _make("f64", "float64", FLOAT, 64, True)

HALVES: tuple[DType, ...] = (f16, bf16)
DTYPES: tuple[DType, ...] = (bool_, u8, i8, i16, i32, i64, f32, f64)  # computed in their own precision
_BY_NAME = {d.name: d for d in (*DTYPES, *HALVES)} | {d.torch_name: d for d in (*DTYPES, *HALVES)}
_BY_NUMPY = {d.numpy: d for d in (*DTYPES, f16)}


def by_name(name: str) -> DType:
    """The dtype of that name, the language's or PyTorch's.

    >>> by_name("float32") is by_name("f32")
    True
    """
    return _BY_NAME[name]


def by_numpy(dtype: np.dtype[np.generic]) -> DType | None:
    return _BY_NUMPY.get(dtype)


def promote(a: DType, b: DType) -> DType:
    """The dtype that holds both, by PyTorch's table (both operands of equal rank category).

    >>> promote(i64, f32), promote(u8, i8), promote(bool_, i32)
    (tdsl.float32, tdsl.int16, tdsl.int32)
    """
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.category == INT and a.signed != b.signed:
        signed, unsigned = (a, b) if a.signed else (b, a)
        return signed if signed.bits > unsigned.bits else i16
    if a.bits == b.bits:
        return f32  # float16 and bfloat16
    return a if a.bits > b.bits else b


# ---- bytes and arrays


def to_storage(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """An array of elements as the bytes of a tensor of that dtype, rounded to it.

    >>> to_storage(np.array([1.0, 3.140625], np.float32), bf16)
    array([16256, 16457], dtype=uint16)
    """
    if dtype is not bf16:
        with np.errstate(all="ignore"):
            return array.astype(dtype.numpy, copy=False)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(array), np.uint32(0x7FC0), rounded).astype(np.uint16)


def from_storage(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """The elements that these bytes are."""
    if dtype is not bf16:
        return array
    return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)


def rounded(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """Elements as the dtype holds them."""
    return from_storage(to_storage(array, dtype), dtype).reshape(array.shape) if dtype is bf16 else array

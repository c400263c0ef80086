"""Python numbers as elements of a dtype."""

from __future__ import annotations

from math import inf, isfinite

from tdsl.compiler.dtype import BOOL, FLOAT, DType
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import wrap
from tdsl.tensor import Number

_LARGEST = {"float32": 3.4028234663852886e38, "float16": 65504.0, "bfloat16": 3.3895313892515355e38}


def fitting(value: Number, dtype: DType) -> Number:
    """The number as the dtype holds it: its fraction dropped for integers, and below 0 wrapped for unsigned ones.

    RuntimeError where it does not fit.
    """
    if dtype.category == BOOL:
        return bool(value)
    if dtype.category == FLOAT:
        if isfinite(value) and abs(value) > _LARGEST.get(dtype.torch_name, inf):
            raise _overflow("float", dtype)
        return float(value)
    top = 1 << (dtype.bits - 1 if dtype.signed else dtype.bits)
    low = -top if dtype.signed else 1 - top
    if not isfinite(value) or not low <= int(value) < top:
        raise _overflow(f"{dtype.torch_name}_t", dtype)
    return wrap(int(value), dtype)


def _overflow(name: str, dtype: DType) -> RuntimeError:
    short = "int" if dtype.torch_name == "int32" else name
    return RuntimeError(f"value cannot be converted to type {short} without overflow")

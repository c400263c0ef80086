"""Running a graph op by op in NumPy: no passes, no kernels. The judge of the compiled way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl.compiler.dtype import from_storage, rounded
from tdsl.compiler.evaluate import evaluate
from tdsl.compiler.graph import Value, postorder
from tdsl.compiler.kernel import FUNCTIONS
from tdsl.compiler.source import InternalError

Array = np.ndarray[Any, Any]


def interpret(values: Sequence[Value]) -> list[Array]:
    """The values as arrays. Values with data are inputs; no value is changed."""
    arrays: dict[Value, Array] = {}
    for value in postorder(values, stop=_Known()):
        arrays[value] = array_of(value) if value.data is not None else run_op(value, [arrays[a] for a in value.args])
    return [arrays[v] for v in values]


class _Known(frozenset[Value]):
    """The set of all values with data."""

    def __contains__(self, value: object) -> bool:
        return isinstance(value, Value) and value.data is not None


def array_of(value: Value) -> Array:
    """An input's or a number's array."""
    if value.is_number:
        return np.asarray(value.data).astype(value.dtype.numpy)
    return from_storage(value.data.view(value.shape), value.dtype)


def run_op(value: Value, args: list[Array]) -> Array:
    """One op on arrays: its library function, its elementwise function, its reference, or its kernel, in NumPy."""
    op = value.op
    if op is None:
        raise InternalError(f"{value!r} has no data")
    if op.library is not None:
        result = op.library(*args, **value.attrs)
    elif op.elementwise is not None and op.name != "cast":
        result = FUNCTIONS[op.elementwise].evaluate(*args)
    elif op.reference is not None:
        result = op.reference(*args, **value.attrs)
    elif op.kernel is not None:
        kernel = op.kernel(tuple(a.type for a in value.args), value.type, value.attrs)
        named = {p.name: a for p, a in zip(kernel.params, args, strict=True)}
        result = evaluate(kernel, named, {})[kernel.outputs[0]]
    else:
        raise InternalError(f"op {op.name} has no reference")
    with np.errstate(all="ignore"):
        array: Array = np.ascontiguousarray(result).astype(value.dtype.numpy, copy=False).reshape(value.shape)
    return rounded(array, value.dtype)

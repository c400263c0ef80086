"""Running a graph op by op in NumPy: no passes, no kernels. The judge of the compiled way, and its stand-in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl.compiler.graph import Value, postorder
from tdsl.compiler.kernel import FUNCTIONS
from tdsl.compiler.source import InternalError
from tdsl.runtime.buffer import Buffer

Array = np.ndarray[Any, Any]


def interpret(values: Sequence[Value]) -> list[Array]:
    """The values as arrays. Values with data are inputs; no value is changed."""
    known = {v for v in postorder(values, stop=_Known()) if v.data is not None}
    arrays: dict[Value, Array] = {}
    for value in postorder(values, stop=known):
        arrays[value] = _array(value) if value.data is not None else _run(value, [arrays[a] for a in value.args])
    return [arrays[v] for v in values]


class _Known(frozenset[Value]):
    def __contains__(self, value: object) -> bool:
        return isinstance(value, Value) and value.data is not None


def _array(value: Value) -> Array:
    if value.is_number:
        return np.asarray(value.data).astype(value.dtype.numpy)
    assert isinstance(value.data, Buffer)
    return value.data.view(value.shape)  # type: ignore[arg-type]


def _run(value: Value, args: list[Array]) -> Array:
    op = value.op
    if op is None:
        raise InternalError(f"{value!r} has no data")
    if op.library is not None:
        result = op.library(*args, **value.attrs)
    elif op.elementwise is not None and op.name != "cast":
        result = FUNCTIONS[op.elementwise].evaluate(*args)
    elif op.reference is not None:
        result = op.reference(*args, **value.attrs)
    else:
        raise InternalError(f"op {op.name} has no reference")
    return np.ascontiguousarray(result).astype(value.dtype.numpy, copy=False).reshape(value.shape)

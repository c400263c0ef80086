"""Ops that NumPy computes: what no index notation expresses."""

from __future__ import annotations

import numpy as np

from tdsl.compiler.dtype import f32, i32
from tdsl.compiler.graph import ZERO, Attrs, Op, Type, define
from tdsl.compiler.source import InternalError


def _bitcast_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    (x,) = types
    dtype = attrs["dtype"]
    if x.dtype.itemsize == dtype.itemsize:
        return Type(dtype, x.shape)
    last = x.shape[-1]
    if not isinstance(last, int):
        raise InternalError("bitcast: a run-time size needs a result size of its own")
    return Type(dtype, (*x.shape[:-1], last * x.dtype.itemsize // dtype.itemsize))


define(
    Op(
        "bitcast", "The bytes of x read as another dtype; the last dimension takes up what an element does not.",
        _bitcast_infer, ZERO, library=lambda x, dtype: np.ascontiguousarray(x).view(dtype.storage),
        samples=lambda: [((np.arange(6, dtype=np.float32).reshape(2, 3),), {"dtype": i32}),
                         ((np.arange(4),), {"dtype": f32})],
    )
)  # fmt: skip

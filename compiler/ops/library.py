"""Ops that NumPy computes: what no index notation says."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.graph import Attrs, Op, Type, define
from tdsl.compiler.source import InternalError


def _put_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    x, index, src = types
    if len(x.shape) != 1 or index.shape != src.shape or x.dtype is not src.dtype:
        raise InternalError(f"put: {src} at {index} of {x}")
    return x


def _put(x: Any, index: Any, src: Any) -> Any:
    result = np.array(x)
    result[index] = src
    return result


def _put_vjp(b: Any, g: Any, y: Any, x: Any, index: Any, src: Any) -> tuple[Any, None, Any]:
    zero = b("full", b("constant", value=0.0, dtype=g.dtype), shape=src.shape)
    return b("put", g, index, zero), None, b("take", g, index, dim=0)


define(
    Op(
        "put", "A flat x with src written at `index`, in order: the last write wins.", _put_infer, _put_vjp,
        library=_put, reference=_put,
        samples=lambda: [
            ((np.arange(5.0), np.array([3, 1]), np.array([7.0, 8.0])), {}),
            ((np.arange(5, dtype=np.float32), np.array([3, 1, 3]), np.array([7, 8, 9], np.float32)), {}),
        ],
    )
)  # fmt: skip

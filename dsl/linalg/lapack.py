"""What LAPACK computes, through NumPy, on stacks of matrices; errors in PyTorch's words."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler.source import RuntimeError
from tdsl.tensor import Tensor, from_array, type_name

Array = np.ndarray[Any, Any]


class LinAlgError(RuntimeError):
    """A matrix that has no such factorisation or inverse."""

    code = "E0506"


def array_of(x: Tensor) -> Array:
    """The elements as NumPy has them, now."""
    return np.asarray(x.detach().array())


def tensor_of(x: Any, like: Tensor) -> Tensor:
    return from_array(np.asarray(x, like.dtype.numpy, order="C"), like.dtype)


def need_float(name: str, x: Tensor) -> None:
    if not isinstance(x, Tensor) or not x.dtype.is_float:
        have = type_name(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {have}")


def need_matrix(name: str, x: Tensor, argument: str = "A") -> None:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {argument} must have at least 2 dimensions.")
    need_float(name, x)


def need_square(name: str, x: Tensor, argument: str = "A") -> None:
    need_matrix(name, x, argument)
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(
            f"{name}: {argument} must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} "
            "matrices"
        )


def each(function: Callable[[Array], tuple[Array, ...]], x: Array) -> list[Array]:
    """A function of one matrix on every matrix of a stack."""
    batch = x.shape[:-2]
    flat = x.reshape(prod(batch), *x.shape[-2:])
    results = [function(m) for m in flat] if len(flat) else [function(np.zeros(x.shape[-2:], x.dtype))]
    stacked = [np.stack(parts) for parts in zip(*results, strict=True)]
    if not len(flat):
        stacked = [s[:0] for s in stacked]
    return [s.reshape((*batch, *s.shape[1:])) for s in stacked]


def lu_of(a: Array) -> tuple[Array, Array, Array]:
    """(L and U in one, pivots counted from 1, the first zero pivot or 0), by rows' partial pivoting."""
    lu = np.array(a)
    rows, columns = lu.shape
    steps = min(rows, columns)
    pivots, info = np.arange(1, steps + 1, dtype=np.int32), np.int32(0)
    for k in range(steps):
        p = k + int(np.argmax(np.abs(lu[k:, k])))
        pivots[k] = p + 1
        if p != k:
            lu[[k, p]] = lu[[p, k]]
        if lu[k, k] == 0:
            info = info or np.int32(k + 1)
            continue
        lu[k + 1 :, k] /= lu[k, k]
        lu[k + 1 :, k + 1 :] -= np.outer(lu[k + 1 :, k], lu[k, k + 1 :])
    return lu, pivots, np.asarray(info, np.int32)


def order_of(pivots: Array, rows: int) -> Array:
    """The rows' order that the interchanges make."""
    order = np.arange(rows)
    for k, p in enumerate(pivots):
        order[[k, p - 1]] = order[[p - 1, k]]
    return order


def ldl_of(a: Array) -> tuple[Array, Array]:
    """L and D in one of a symmetric matrix, without interchanges, and pivots."""
    n = a.shape[0]
    made = np.tril(a).astype(a.dtype)
    for k in range(n):
        d = made[k, k]
        if d == 0:
            continue
        column = made[k + 1 :, k] / d
        made[k + 1 :, k + 1 :] -= np.tril(np.outer(column, column)) * d
        made[k + 1 :, k] = column
    return made, np.arange(1, n + 1, dtype=np.int32)


def expm(a: Array) -> Array:
    """The matrix exponential by scaling, a Pade approximant of degree 13, and squaring (Higham, 2005)."""
    a = np.asarray(a, np.float64)
    if a.size == 0:
        return a
    norm = float(np.abs(a).sum(-2).max(initial=0.0))
    squarings = max(0, int(np.ceil(np.log2(norm / 5.371920351148152)))) if norm > 5.371920351148152 else 0
    a = a / 2.0**squarings
    b = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
         10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0,
         960960.0, 16380.0, 182.0, 1.0)  # fmt: skip
    one = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    a2 = a @ a
    a4, a6 = a2 @ a2, a2 @ a2 @ a2
    u = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one)
    v = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    result: Array = np.linalg.solve(v - u, v + u)
    for _ in range(squarings):
        result = result @ result
    return result


def householder_qr(a: Array) -> tuple[Array, Array]:
    """(reflectors below R, their factors), as LAPACK's geqrf leaves them."""
    r = np.array(a)
    rows, columns = r.shape
    steps = min(rows, columns)
    tau = np.zeros(steps, r.dtype)
    for k in range(steps):
        x = r[k:, k]
        size = np.linalg.norm(x)
        if size == 0 or len(x) == 1:
            continue
        alpha = -np.copysign(size, x[0])
        tau[k] = (alpha - x[0]) / alpha
        v = x / (x[0] - alpha)
        v[0] = 1
        r[k:, k + 1 :] -= tau[k] * np.outer(v, v @ r[k:, k + 1 :])
        r[k, k] = alpha
        r[k + 1 :, k] = v[1:]
    return r, tau

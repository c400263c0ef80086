"""Norms, ranks, condition numbers and products of several matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl import products, reductions, statistics
from tdsl.arrangements import diagonal as _diagonal
from tdsl.arrangements import vander as _vander
from tdsl.compiler.source import RuntimeError
from tdsl.linalg import factors, solving
from tdsl.linalg.lapack import array_of, need_float, need_matrix
from tdsl.products import matmul
from tdsl.tensor import Tensor, from_array, wrap_dim

__all__ = [
    "cond", "cross", "diagonal", "matmul", "matrix_norm", "matrix_rank", "multi_dot", "norm", "vander", "vecdot",
    "vector_norm",
]  # fmt: skip


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The ord-norm of the elements, over all or over dims."""
    need_float("linalg.vector_norm", x)
    return statistics.norm(x, float(ord), dim, keepdim, dtype=dtype)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Of matrices in two dims: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    need_matrix("linalg.matrix_norm", A)
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    x = A if dtype is None else A.to(dtype)
    rows, columns = (wrap_dim(d, A.ndim) for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return statistics.norm(x, 2, (rows, columns), keepdim)
    if ord in ("nuc", 2, -2):
        values = factors.svdvals(x.movedim((rows, columns), (-2, -1)))
        y = values.sum(-1) if ord == "nuc" else values.amax(-1) if ord == 2 else values.amin(-1)
        if not keepdim:
            return y  # type: ignore[no-any-return]
        for d in sorted((rows, columns)):
            y = y.unsqueeze(d)
        return y  # type: ignore[no-any-return]
    if not isinstance(ord, int | float) or abs(ord) not in (1, float("inf")):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
    totals = reductions.sum(ew.abs(x), summed, True)
    y = (reductions.amax if ord > 0 else reductions.amin)(totals, kept, True)
    return y if keepdim else y.squeeze((rows, columns))  # type: ignore[no-any-return]


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """A vector norm, or a matrix norm where there are two dims and an order."""
    need_float("linalg.norm", A)
    dims = None if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {dims}")
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dims is None and A.ndim not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D."
        )
    if dims is not None and len(dims) == 2 or dims is None and A.ndim == 2:
        return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} not supported for vectors.")
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """How much a solution changes with the right side: the norm times the inverse's."""
    need_matrix("linalg.cond", A)
    if p is None or p in (2, -2):
        values = factors.svdvals(A)
        largest, least = values.amax(-1), values.amin(-1)
        return least / largest if p == -2 else largest / least  # type: ignore[no-any-return]
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"linalg.cond: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices"
        )
    inverse, info = solving.inv_ex(A)
    made = matrix_norm(A, p) * matrix_norm(inverse, p)
    return ew.where(info == 0, made, float("inf")).to(A.dtype)  # type: ignore[no-any-return]


def matrix_rank(
    A: Tensor, *args: Any, atol: Any = None, rtol: Any = None, tol: Any = None, hermitian: bool = False
) -> Tensor:
    """How many singular values are above max(atol, rtol * largest)."""
    need_matrix("linalg.matrix_rank", A)
    if args:
        tol = args[0]
        hermitian = args[1] if len(args) > 1 else hermitian
    if tol is not None:
        atol, rtol = tol, 0.0
    absolute, relative = solving._tolerance(A, atol, rtol)
    if A.numel() == 0:
        return from_array(np.zeros(A.shape[:-2], np.int64))
    values = np.abs(np.linalg.eigvalsh(array_of(A))) if hermitian else np.linalg.svd(array_of(A), compute_uv=False)
    cut = np.maximum(absolute, relative * values.max(-1))
    return from_array(np.asarray((values > cut[..., None]).sum(-1)))


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices, bracketed so that it costs least; the first and last may be vectors."""
    xs = list(tensors)
    if len(xs) < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {len(xs)}")
    first, last = xs[0].ndim == 1, xs[-1].ndim == 1
    xs[0] = xs[0].unsqueeze(0) if first else xs[0]
    xs[-1] = xs[-1].unsqueeze(1) if last else xs[-1]
    for k, x in enumerate(xs):
        if x.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {k} must be 2D but got {x.ndim}D" if 0 < k < len(xs) - 1 else
                               f"multi_dot(): {'the first' if k == 0 else 'the last'} tensor must be 1D or 2D but "
                               f"got {x.ndim}D")  # fmt: skip
    for a, b in zip(xs, xs[1:], strict=False):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(f"multi_dot(): tensors {a.shape!r} and {b.shape!r} cannot be multiplied")
    y = _chain(xs)
    y = y.squeeze(0) if first else y
    return y.squeeze(-1) if last else y


def _chain(xs: list[Tensor]) -> Tensor:
    """The cheapest order, by dynamic programming (Cormen et al., 15.2)."""
    n = len(xs)
    size = [x.shape[0] for x in xs] + [xs[-1].shape[1]]
    cost = {(i, i): (0, i) for i in range(n)}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            cost[i, j] = min(
                (cost[i, k][0] + cost[k + 1, j][0] + size[i] * size[k + 1] * size[j + 1], k) for k in range(i, j)
            )

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return xs[i]
        k = cost[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The vector product along a dimension of size 3."""
    return products.cross(input, other, dim)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals."""
    return _diagonal(A, offset, dim1, dim2)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers of x, rising, in the last dimension."""
    n = x.shape[-1] if N is None else N
    if n <= 1 and N is not None:
        raise RuntimeError(f"N must be greater than 1, got {N}")
    x = x.reshape(1) if x.ndim == 0 else x
    if x.ndim == 1:
        return _vander(x, n, True)
    return x.unsqueeze(-1) ** from_array(np.arange(n))


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Sums of products along a dimension."""
    return reductions.sum(x * y, dim)

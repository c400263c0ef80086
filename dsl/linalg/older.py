"""The older names that PyTorch keeps at its top level."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.arrangements import tril, triu
from tdsl.compiler.source import RuntimeError
from tdsl.creation import eye
from tdsl.linalg import factors, solving
from tdsl.linalg.factors import mT
from tdsl.linalg.lapack import tensor_of
from tdsl.products import matmul
from tdsl.return_types import return_type
from tdsl.tensor import Tensor

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "geqrf", "inverse", "logdet", "lu", "lu_solve",
    "lu_unpack", "matrix_exp", "matrix_power", "orgqr", "ormqr", "pinverse", "qr", "slogdet", "svd",
    "triangular_solve",
]  # fmt: skip

det, inverse, matrix_exp, matrix_power = solving.det, solving.inv, solving.matrix_exp, solving.matrix_power
geqrf, lu_unpack, orgqr = factors.geqrf, factors.lu_unpack, factors.householder_product


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """linalg.cholesky."""
    return factors.cholesky(input, upper=upper)


def _factor(x: Tensor, upper: bool) -> Tensor:
    """The triangle as a lower factor; the gradient goes to the whole matrix, as PyTorch's does."""
    return mT(x + (triu(x) - x).detach()) if upper else x + (tril(x) - x).detach()


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is given."""
    low = _factor(input, upper)
    return solving.inv(matmul(low, mT(low)))


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, A given by its Cholesky factor."""
    if B.ndim < 2 or L.ndim < 2:
        raise RuntimeError(f"b should have at least 2 dimensions, but has {B.ndim} dimensions instead")
    low = _factor(L, upper)
    return solving.solve_matrices(matmul(low, mT(low)), B)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is negative."""
    sign, size = solving.slogdet(input)
    return size + sign.detach().log() * 1.0  # type: ignore[no-any-return]


def slogdet(input: Tensor) -> Any:
    """(sign, log of the absolute value) of the determinant."""
    sign, size = solving.slogdet(input)
    return return_type("slogdet", "sign logabsdet")(sign, size)


def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """(LU, pivots), and info where it is asked for."""
    made, pivots, info = factors.lu_factor_ex(A, pivot=pivot)
    return (made, pivots, info) if get_infos else (made, pivots)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """linalg.lu_solve, its arguments in the older order."""
    return factors.lu_solve(LU_data, LU_pivots, b)


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """linalg.pinv."""
    return solving.pinv(input, rcond=rcond)


def qr(input: Tensor, some: bool = True) -> Any:
    """linalg.qr."""
    return return_type("qr", "Q R")(*factors.qr(input, "reduced" if some else "complete"))


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """(U, S, V), V not transposed."""
    made = return_type("svd", "U S V")
    if not compute_uv:
        rows, columns = input.shape[-2:]
        nothing = [input.new_zeros((*input.shape[:-2], n, n)) for n in (rows, columns)]
        return made(nothing[0], factors.svdvals(input), nothing[1])
    u, s, vh = factors.svd(input, not some)
    return made(u, s, mT(vh))


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> Any:
    """(solution, a copy of A)."""
    a = mT(A) if transpose else A
    x = solving.solve_triangular(a, b, upper=upper != transpose, unitriangular=unitriangular)
    return return_type("triangular_solve", "solution cloned_coefficient")(x, A.clone())


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q times `other` (or other times Q), Q the whole product of geqrf's reflectors."""
    if input.ndim < 2:
        raise RuntimeError("tdsl.ormqr: input must have at least 2 dimensions.")
    if other.ndim < 2:
        raise RuntimeError("tdsl.ormqr: other must have at least 2 dimensions.")
    rows, k = input.shape[-2], tau.shape[-1]
    axis = -2 if left else -1
    side, most = other.shape[axis], min(other.shape[axis], input.shape[-1])
    if k != most:
        raise RuntimeError(
            f"tdsl.ormqr: tau.shape[-1] must be equal to min(other.shape[{axis}], input.shape[-1]): {k}, not {most}"
        )
    if rows != side:
        raise RuntimeError(
            f"tdsl.ormqr: other.shape[{axis}] must be equal to input.shape[-2], but got {side} and {rows}"
        )
    q = eye(rows, dtype=input.dtype)
    below = tril(input[..., :k], -1) + tensor_of(np.eye(rows, k), input)
    for j in reversed(range(k)):
        v = below[..., j : j + 1]
        q = q - tau[..., j : j + 1].unsqueeze(-1) * matmul(v, matmul(mT(v), q))
    q = mT(q) if transpose else q
    return matmul(q, other) if left else matmul(other, q)

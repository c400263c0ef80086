"""Factorisations with gradients: the rules are recorded ops, so they can be differentiated again.

Rules as in Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation"
(2008), and Walter and Lehmann, "Algorithmic differentiation of linear algebra functions" (2012).
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tdsl.arrangements import tril, triu
from tdsl.autograd.function import Function
from tdsl.compiler.source import RuntimeError
from tdsl.creation import eye, zeros
from tdsl.elementwise import where
from tdsl.linalg import lapack
from tdsl.linalg.lapack import LinAlgError, array_of, each, need_matrix, need_square, tensor_of
from tdsl.products import matmul
from tdsl.return_types import return_type
from tdsl.shapes import cat
from tdsl.tensor import Tensor, from_array

__all__ = [
    "cholesky", "cholesky_ex", "eig", "eigh", "eigvals", "eigvalsh", "geqrf", "householder_product", "ldl_factor",
    "ldl_factor_ex", "ldl_solve", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "lu_unpack", "qr", "svd", "svdvals",
]  # fmt: skip


def mT(x: Tensor) -> Tensor:
    return x.transpose(-2, -1)  # type: ignore[no-any-return]


def _solve(a: Tensor, b: Tensor) -> Tensor:
    from tdsl.linalg.solving import solve_matrices

    return solve_matrices(a, b)


def _none(g: Any, like: Tensor) -> Tensor:
    return g if g is not None else like * 0


# ---- Cholesky


class _Cholesky(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, upper: Any) -> Any:
        source = array_of(a)
        y = tensor_of(np.linalg.cholesky(np.swapaxes(source, -2, -1) if upper else source), a)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (low,) = ctx.saved_tensors
        phi = tril(matmul(mT(low), g))
        n = low.shape[-1]
        phi = phi * (1 - 0.5 * eye(n, dtype=low.dtype))
        inner = _solve(mT(low), phi)
        grad = mT(_solve(mT(low), mT(inner)))
        return (grad + mT(grad)) * 0.5, None


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with L L^T = A (or its transpose) of a positive definite A."""
    need_square("linalg.cholesky", A)
    try:
        low = _Cholesky.apply(A, upper)
    except np.linalg.LinAlgError:
        raise LinAlgError(_not_definite(A)) from None
    return mT(low) if upper else low  # type: ignore[no-any-return]


def _not_definite(A: Tensor) -> str:
    flat = array_of(A).reshape(prod(A.shape[:-2]), *A.shape[-2:])
    for k, m in enumerate(flat):
        for n in range(1, m.shape[0] + 1):
            try:
                np.linalg.cholesky(m[:n, :n])
            except np.linalg.LinAlgError:
                batch = f"(Batch element {k}): " if A.ndim > 2 else ""
                return (
                    f"linalg.cholesky: {batch}The factorization could not be completed because the input is not "
                    f"positive-definite (the leading minor of order {n} is not positive-definite)."
                )
    return "linalg.cholesky: The factorization could not be completed because the input is not positive-definite."


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """(L, info): info is 0, or the order of the first minor that is not positive definite."""
    made = return_type("linalg_cholesky_ex", "L info")
    need_square("linalg.cholesky_ex", A)
    flat = array_of(A).reshape(prod(A.shape[:-2]), *A.shape[-2:])
    info = np.zeros(len(flat), np.int32)
    for k, m in enumerate(flat):
        m = m if not upper else m.T
        m = np.tril(m) + np.tril(m, -1).T
        for n in range(1, m.shape[0] + 1):
            try:
                np.linalg.cholesky(m[:n, :n])
            except np.linalg.LinAlgError:
                info[k] = n
                break
    numbers = from_array(info.reshape(tuple(A.shape[:-2])))
    if not info.any():
        return made(cholesky(A, upper=upper), numbers)
    if check_errors:
        raise LinAlgError(_not_definite(A))
    good = from_array((info == 0).reshape(tuple(A.shape[:-2]))).reshape(*A.shape[:-2], 1, 1)
    return made(cholesky(where(good, A, eye(A.shape[-1], dtype=A.dtype)), upper=upper), numbers)


# ---- QR


class _Qr(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, mode: Any) -> Any:
        q, r = np.linalg.qr(array_of(a), mode)
        y = tensor_of(q, a), tensor_of(r, a)
        ctx.save_for_backward(*y)
        ctx.mode = mode
        return y

    @staticmethod
    def backward(ctx: Any, gq: Any, gr: Any) -> Any:
        q, r = ctx.saved_tensors
        rows, columns = q.shape[-2], r.shape[-1]
        if ctx.mode == "complete" and rows > columns:
            raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols")
        if rows >= columns:
            return _qr_rule(q, r, gq, gr), None
        r1, r2 = r[..., :rows], r[..., rows:]
        gr1, gr2 = gr[..., :rows], gr[..., rows:]
        left = _qr_rule(q, r1, gq + matmul(matmul(q, r2), mT(gr2)), gr1)
        return cat([left, matmul(q, gr2)], -1), None


def _qr_rule(q: Tensor, r: Tensor, gq: Tensor, gr: Tensor) -> Tensor:
    m = matmul(r, mT(gr)) - matmul(mT(gq), q)
    symmetric = tril(m) + mT(tril(m, -1))
    return mT(_solve(r, mT(gq + matmul(q, symmetric))))


def qr(A: Tensor, mode: str = "reduced") -> Any:
    """(Q, R): Q orthonormal, R upper triangular, Q R = A."""
    made = return_type("linalg_qr", "Q R")
    need_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    if mode == "r":
        if A.requires_grad:
            raise RuntimeError(
                "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
                "linalg.qr(A, mode='reduced') if you are going to require gradients through it."
            )
        return made(A.new_empty(0), tensor_of(np.linalg.qr(array_of(A), "r"), A))
    return made(*_Qr.apply(A, mode))


# ---- symmetric eigenvalues


class _Eigh(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, uplo: Any) -> Any:
        values, vectors = np.linalg.eigh(array_of(a), uplo)
        y = tensor_of(values, a), tensor_of(vectors, a)
        ctx.save_for_backward(*y)
        return y

    @staticmethod
    def backward(ctx: Any, gl: Any, gv: Any) -> Any:
        values, vectors = ctx.saved_tensors
        n = values.shape[-1]
        gap = values.unsqueeze(-2) - values.unsqueeze(-1)
        same = eye(n, dtype=values.dtype) == 1
        inner = matmul(mT(vectors), gv) / where(same, 1.0, gap)
        inner = where(same, gl.unsqueeze(-1), inner)
        return matmul(matmul(vectors, inner), mT(vectors)), None


def _uplo(name: str, UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper()


def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of a symmetric matrix, ascending."""
    need_square("linalg.eigh", A)
    return return_type("linalg_eigh", "eigenvalues eigenvectors")(*_Eigh.apply(A, _uplo("linalg.eigh", UPLO)))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """Eigenvalues of a symmetric matrix, ascending."""
    need_square("linalg.eigvalsh", A)
    return _Eigh.apply(A, _uplo("linalg.eigvalsh", UPLO))[0]  # type: ignore[no-any-return]


def _real(values: Any, name: str) -> Any:
    if np.iscomplexobj(values) and np.abs(values.imag).max(initial=0) > 0:
        raise RuntimeError(
            f"{name}: the eigenvalues are complex, and tdsl has no complex dtype",
            hint="use eigh for symmetric matrices",
        )
    return values.real


def eig(A: Tensor) -> Any:
    """(eigenvalues, eigenvectors) where all are real; complex ones are refused. No gradient."""
    need_square("linalg.eig", A)
    values, vectors = np.linalg.eig(array_of(A))
    made = return_type("linalg_eig", "eigenvalues eigenvectors")
    return made(tensor_of(_real(values, "linalg.eig"), A), tensor_of(_real(vectors, "linalg.eig"), A))


def eigvals(A: Tensor) -> Tensor:
    """Eigenvalues where all are real; complex ones are refused. No gradient."""
    need_square("linalg.eigvals", A)
    return tensor_of(_real(np.linalg.eigvals(array_of(A)), "linalg.eigvals"), A)


# ---- singular values


class _Svd(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, full: Any) -> Any:
        try:
            u, s, vh = np.linalg.svd(array_of(a), full)
        except np.linalg.LinAlgError:
            raise LinAlgError(
                "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values."
            ) from None
        y = tensor_of(u, a), tensor_of(s, a), tensor_of(vh, a)
        ctx.save_for_backward(*y)
        return y

    @staticmethod
    def backward(ctx: Any, gu: Any, gs: Any, gvh: Any) -> Any:
        u, s, vh = ctx.saved_tensors
        k = s.shape[-1]
        u, gu, vh, gvh = u[..., :k], gu[..., :k], vh[..., :k, :], gvh[..., :k, :]
        same = eye(k, dtype=s.dtype) == 1
        square = s * s
        gap = where(same, 1.0, square.unsqueeze(-2) - square.unsqueeze(-1))
        skew_u, skew_v = _skew(matmul(mT(u), gu)) / gap, _skew(matmul(vh, mT(gvh))) / gap
        inner = skew_u * s.unsqueeze(-2) + s.unsqueeze(-1) * skew_v
        inner = where(same, gs.unsqueeze(-1), inner)
        grad = matmul(u, inner)
        rows, columns = u.shape[-2], vh.shape[-1]
        if rows > k:
            grad = grad + _rest(u, gu / s.unsqueeze(-2))
        grad = matmul(grad, vh)
        if columns > k:
            grad = grad + matmul(u, mT(_rest(mT(vh), mT(gvh / s.unsqueeze(-1)))))
        return grad, None


def _skew(x: Tensor) -> Tensor:
    return x - mT(x)


def _rest(q: Tensor, g: Tensor) -> Tensor:
    """What of g lies outside the columns of q."""
    return g - matmul(q, matmul(mT(q), g))


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """(U, S, Vh): U diag(S) Vh = A, singular values descending."""
    need_matrix("linalg.svd", A)
    return return_type("linalg_svd", "U S Vh")(*_Svd.apply(A, full_matrices))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """Singular values, descending."""
    need_matrix("linalg.svdvals", A)
    return _Svd.apply(A, False)[1]  # type: ignore[no-any-return]


# ---- LU


class _Lu(Function):
    """(P, L, U): the rule splits a wide or a tall matrix into a square one and a rest."""

    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        compact, pivots, _ = each(lapack.lu_of, array_of(a))
        rows, columns = compact.shape[-2:]
        k = min(rows, columns)
        low = np.tril(compact[..., :, :k], -1) + np.eye(rows, k)
        order = np.array([lapack.order_of(p, rows) for p in pivots.reshape(prod(pivots.shape[:-1]), k)]).reshape(
            (*pivots.shape[:-1], rows)
        )
        p = np.swapaxes(np.eye(rows)[order], -2, -1) if order.size else np.zeros((*pivots.shape[:-1], rows, rows))
        y = tensor_of(p, a), tensor_of(low, a), tensor_of(np.triu(compact[..., :k, :]), a)
        ctx.save_for_backward(*y)
        ctx.mark_non_differentiable(y[0])
        return y

    @staticmethod
    def backward(ctx: Any, gp: Any, gl: Any, gu: Any) -> Any:
        p, low, up = ctx.saved_tensors
        rows, columns = low.shape[-2], up.shape[-1]
        k = min(rows, columns)
        if rows == columns:
            return matmul(p, _lu_rule(low, up, gl, gu))
        if rows < columns:
            u1, u2, g1, g2 = up[..., :k], up[..., k:], gu[..., :k], gu[..., k:]
            right = _solve(mT(low), g2)
            left = _lu_rule(low, u1, gl - matmul(right, mT(u2)), g1)
            return matmul(p, cat([left, right], -1))
        l1, l2, g1, g2 = low[..., :k, :], low[..., k:, :], gl[..., :k, :], gl[..., k:, :]
        below = mT(_solve(up, mT(g2)))
        above = _lu_rule(l1, up, g1, gu - matmul(mT(l2), below))
        return matmul(p, cat([above, below], -2))


def _lu_rule(low: Tensor, up: Tensor, gl: Tensor, gu: Tensor) -> Tensor:
    inner = tril(matmul(mT(low), gl), -1) + triu(matmul(gu, mT(up)))
    return mT(_solve(up, mT(_solve(mT(low), inner))))


def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """(P, L, U): P L U = A."""
    need_matrix("linalg.lu", A)
    if not pivot:
        raise RuntimeError("linalg.lu: LU without pivoting is not implemented on the CPU")
    return return_type("linalg_lu", "P L U")(*_Lu.apply(A))


def _compact(A: Tensor) -> tuple[Tensor, Tensor, Any]:
    """(L and U in one, pivots, info)."""
    _, pivots, info = each(lambda m: lapack.lu_of(m), array_of(A))
    _, low, up = _Lu.apply(A)
    rows, columns = A.shape[-2:]
    low, up = tril(low, -1), triu(up)
    if rows < columns:
        low = cat([low, zeros(*A.shape[:-2], rows, columns - rows, dtype=A.dtype)], -1)
    if rows > columns:
        up = cat([up, zeros(*A.shape[:-2], rows - columns, columns, dtype=A.dtype)], -2)
    return low + up, from_array(pivots.astype(np.int32)), info


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """(LU, pivots, info): info is 0, or the first zero on the diagonal of U."""
    need_matrix("linalg.lu_factor_ex", A)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    made, pivots, info = _compact(A)
    if check_errors and info.any():
        raise LinAlgError(
            f"linalg.lu_factor_ex: U[{info.max()},{info.max()}] is zero and using it on lu_solve would result in a "
            "division by zero."
        )
    return return_type("linalg_lu_factor_ex", "LU pivots info")(made, pivots, from_array(np.asarray(info, np.int32)))


def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """(LU, pivots)."""
    made, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return return_type("linalg_lu_factor", "LU pivots")(made, pivots)


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True) -> Any:
    """(P, L, U) of what lu_factor made."""
    rows, columns = LU_data.shape[-2:]
    k = min(rows, columns)
    if LU_pivots.dtype.name != "i32" and unpack_pivots:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.".replace(
                "torch", "tdsl"
            )
        )
    made = return_type("lu_unpack", "P L U")
    nothing = LU_data.new_empty(0)
    p = nothing
    if unpack_pivots:
        pivots = array_of(LU_pivots)
        order = np.array([lapack.order_of(x, rows) for x in pivots.reshape(prod(pivots.shape[:-1]), pivots.shape[-1])])
        p = tensor_of(np.swapaxes(np.eye(rows)[order.reshape((*pivots.shape[:-1], rows)).astype(int)], -2, -1), LU_data)
    if not unpack_data:
        return made(p, nothing, nothing)
    one = tensor_of(np.eye(rows, k), LU_data)
    return made(p, tril(LU_data[..., :k], -1) + one, triu(LU_data[..., :k, :]))


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (X A = B with left=False), A given by lu_factor."""
    p, low, up = lu_unpack(LU, pivots)
    a = matmul(matmul(p, low), up)
    a = mT(a) if adjoint else a
    return _solve(a, B) if left else mT(_solve(mT(a), mT(B)))


# ---- LDL and Householder


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """(LD, pivots, info) of a symmetric matrix; no interchanges are made. No gradient."""
    need_square("linalg.ldl_factor_ex", A)
    made, pivots = each(lapack.ldl_of, array_of(A))
    info = from_array(np.zeros(A.shape[:-2], np.int32))
    return return_type("linalg_ldl_factor_ex", "LD pivots info")(
        tensor_of(made, A), from_array(pivots.astype(np.int32)), info
    )


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> Any:
    """(LD, pivots) of a symmetric matrix."""
    made, pivots, _ = ldl_factor_ex(A, hermitian=hermitian)
    return return_type("linalg_ldl_factor", "LD pivots")(made, pivots)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, A given by ldl_factor."""
    n = LD.shape[-1]
    low = tril(LD, -1) + eye(n, dtype=LD.dtype)
    diagonal = LD.diagonal(0, -2, -1).unsqueeze(-1)
    return _solve(mT(low), _solve(low, B) / diagonal)


def geqrf(input: Tensor) -> Any:
    """(a, tau): R with the reflectors of Q below it, as LAPACK leaves them. No gradient."""
    need_matrix("geqrf", input, "input")
    a, tau = each(lapack.householder_qr, array_of(input))
    return return_type("geqrf", "a tau")(tensor_of(a, input), tensor_of(tau, input))


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of reflectors that geqrf made."""
    need_matrix("linalg.householder_product", A)
    rows, columns = A.shape[-2:]
    if rows < columns:
        raise RuntimeError("householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if columns < tau.shape[-1]:
        raise RuntimeError("householder_product: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    q = eye(rows, columns, dtype=A.dtype)
    below = tril(A, -1) + tensor_of(np.eye(rows, columns), A)
    for k in reversed(range(tau.shape[-1])):
        v = below[..., k : k + 1]
        q = q - tau[..., k : k + 1].unsqueeze(-1) * matmul(v, matmul(mT(v), q))
    return q.expand(A.shape) + 0 * (A.sum() + tau.sum())  # type: ignore[no-any-return]

"""Systems of equations, inverses and determinants, with gradients."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tdsl.arrangements import tril, triu
from tdsl.autograd.function import Function
from tdsl.broadcasting import broadcast_shapes
from tdsl.compiler.source import RuntimeError
from tdsl.creation import eye
from tdsl.elementwise import where
from tdsl.linalg import factors, lapack
from tdsl.linalg.factors import mT
from tdsl.linalg.lapack import LinAlgError, array_of, each, need_matrix, need_square, tensor_of
from tdsl.products import matmul
from tdsl.return_types import return_type
from tdsl.tensor import Tensor, from_array, type_name

__all__ = [
    "det", "inv", "inv_ex", "lstsq", "matrix_exp", "matrix_power", "pinv", "slogdet", "solve", "solve_ex",
    "solve_triangular", "tensorinv", "tensorsolve",
]  # fmt: skip


class _Inverse(Function):
    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        y = tensor_of(np.linalg.inv(array_of(a)), a)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return -matmul(mT(y), matmul(g, mT(y)))


def _singular(name: str, A: Tensor, what: str) -> LinAlgError:
    info = np.asarray(each(lapack.lu_of, array_of(A))[2]).reshape(-1)
    bad = int(np.argmax(info != 0)) if len(info) else 0
    place = int(info[bad]) if len(info) else 0
    batch = f"(Batch element {bad}): " if A.ndim > 2 else ""
    if name == "linalg.solve":
        return LinAlgError(f"{name}: {batch}The solver failed because the input matrix is singular.")
    return LinAlgError(
        f"{name}: {batch}The diagonal element {place} is zero, the {what} could not be completed because the input "
        "matrix "
        "is singular."
    )


def inv(A: Tensor) -> Tensor:
    """The inverse of square matrices."""
    need_square("linalg.inv", A)
    try:
        return _Inverse.apply(A)  # type: ignore[no-any-return]
    except np.linalg.LinAlgError:
        raise _singular("linalg.inv", A, "inversion") from None


def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """(inverse, info): info is 0, or the first zero pivot."""
    need_square("linalg.inv_ex", A)
    info = np.asarray(each(lapack.lu_of, array_of(A))[2], np.int32)
    if check_errors and info.any():
        raise _singular("linalg.inv_ex", A, "inversion")
    good = from_array(np.asarray(info == 0)).reshape(*A.shape[:-2], 1, 1)
    made = inv(A if not info.any() else where(good, A, eye(A.shape[-1], dtype=A.dtype)))
    return return_type("linalg_inv_ex", "inverse info")(made, from_array(info))


class _Solve(Function):
    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        x = tensor_of(np.linalg.solve(array_of(a), array_of(b)), b)
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, x = ctx.saved_tensors
        to_b = solve_matrices(mT(a), g)
        return -matmul(to_b, mT(x)), to_b


def solve_matrices(a: Tensor, b: Tensor) -> Tensor:
    """X with A X = B of stacks of matrices."""
    batch = broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    a, b = a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])
    return _Solve.apply(a, b)  # type: ignore[no-any-return]


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B with left=False; B may be a stack of vectors."""
    need_square("linalg.solve", A)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {type_name(A.dtype)} and B "
            "of type "
            f"{type_name(B.dtype)} instead"
        )
    vector = B.ndim == 1 or A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1])
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False")
    b = B.unsqueeze(-1) if vector else B
    rows = b.shape[-2] if left else b.shape[-1]
    if rows != A.shape[-1]:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({A.shape[-2]}x{A.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})"
        )
    try:
        x = solve_matrices(A, b) if left else mT(solve_matrices(mT(A), mT(b)))
    except np.linalg.LinAlgError:
        raise _singular("linalg.solve", A, "solution") from None
    return x.squeeze(-1) if vector else x  # type: ignore[no-any-return]


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """(result, info)."""
    need_square("linalg.solve_ex", A)
    info = np.asarray(each(lapack.lu_of, array_of(A))[2], np.int32)
    return return_type("linalg_solve_ex", "result info")(solve(A, B, left=left), from_array(info))


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B with left=False) of a triangular A; the other triangle is not read."""
    need_square("linalg.solve_triangular", A)
    part = triu(A, int(unitriangular)) if upper else tril(A, -int(unitriangular))
    part = part + eye(A.shape[-1], dtype=A.dtype) if unitriangular else part
    try:
        return solve_matrices(part, B) if left else mT(solve_matrices(mT(part), mT(B)))
    except np.linalg.LinAlgError:
        with np.errstate(all="ignore"):
            return _by_hand(part, B, upper) if left else mT(_by_hand(mT(part), mT(B), not upper))


def _by_hand(a: Tensor, b: Tensor, upper: bool) -> Tensor:
    """Substitution, which gives infinities where a diagonal element is 0."""
    m, y = array_of(a), np.array(np.broadcast_to(array_of(b), (*a.shape[:-2], *b.shape[-2:])))
    n = m.shape[-1]
    for k in reversed(range(n)) if upper else range(n):
        rest = slice(k + 1, n) if upper else slice(0, k)
        y[..., k, :] -= (m[..., k : k + 1, rest] @ y[..., rest, :])[..., 0, :]
        y[..., k, :] /= m[..., k, k, None]
    return tensor_of(y, b)


# ---- determinants


class _Det(Function):
    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        y = tensor_of(np.linalg.det(array_of(a).astype(np.float64)), a)
        ctx.save_for_backward(a, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, y = ctx.saved_tensors
        wide = array_of(a).astype(np.float64)
        if wide.size == 0:
            return a * 0
        values = np.linalg.svd(wide, compute_uv=False)
        if (values[..., -1] > 1e-6 * values[..., 0]).all():
            return (g * y).unsqueeze(-1).unsqueeze(-1) * mT(_Inverse.apply(a))
        return g.unsqueeze(-1).unsqueeze(-1) * tensor_of(_cofactors(wide), a)


def _cofactors(a: Any) -> Any:
    """The derivative of the determinant where the matrix may be singular."""
    u, s, vh = np.linalg.svd(a)
    n = s.shape[-1]
    others = np.stack([np.prod(np.delete(s, k, -1), -1) for k in range(n)], -1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return (u * others[..., None, :]) @ vh * sign[..., None, None]


def det(A: Tensor) -> Tensor:
    """The determinant of square matrices."""
    need_square("linalg.det", A)
    return _Det.apply(A)  # type: ignore[no-any-return]


class _Slogdet(Function):
    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        sign, size = np.linalg.slogdet(array_of(a).astype(np.float64))
        ctx.save_for_backward(a)
        return tensor_of(sign, a), tensor_of(size, a)

    @staticmethod
    def backward(ctx: Any, gs: Any, g: Any) -> Any:
        (a,) = ctx.saved_tensors
        return g.unsqueeze(-1).unsqueeze(-1) * mT(_Inverse.apply(a))


def slogdet(A: Tensor) -> Any:
    """(sign, log of the absolute value) of the determinant."""
    need_square("linalg.slogdet", A)
    return return_type("linalg_slogdet", "sign logabsdet")(*_Slogdet.apply(A))


# ---- least squares


class _Pinv(Function):
    """Golub and Pereyra (1973)."""

    @staticmethod
    def forward(ctx: Any, a: Any, rcond: Any) -> Any:
        y = tensor_of(np.linalg.pinv(array_of(a), rcond), a) if a.numel() else a.new_zeros(tuple(mT(a).shape))
        ctx.save_for_backward(a, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        a, p = ctx.saved_tensors
        gt, pt = mT(g), mT(p)
        grad = -matmul(pt, matmul(g, pt))
        left, right = matmul(gt, matmul(p, pt)), matmul(matmul(pt, p), gt)
        grad = grad + left - matmul(a, matmul(p, left)) + right - matmul(matmul(right, p), a)
        return grad, None


def _tolerance(A: Tensor, atol: Any, rtol: Any, hermitian: bool = False) -> Any:
    """What counts as 0, relative to the largest singular value."""
    eps = float(np.finfo(A.dtype.numpy).eps)  # type: ignore[type-var]
    absolute = 0.0 if atol is None else array_of(atol) if isinstance(atol, Tensor) else float(atol)
    default = max(A.shape[-2:]) * eps if atol is None or np.all(np.asarray(absolute) <= 0) else 0.0
    relative = default if rtol is None else array_of(rtol) if isinstance(rtol, Tensor) else float(rtol)
    return absolute, relative


def pinv(
    A: Tensor, *args: Any, atol: Any = None, rtol: Any = None, rcond: Any = None, hermitian: bool = False
) -> Tensor:
    """Moore and Penrose's inverse; singular values up to max(atol, rtol * largest) count as 0."""
    need_matrix("linalg.pinv", A)
    if args:
        rcond = args[0]
        hermitian = args[1] if len(args) > 1 else hermitian
    rtol = rcond if rtol is None else rtol
    A = tril(A) + mT(tril(A, -1)) if hermitian else A
    absolute, relative = _tolerance(A, atol, rtol)
    if A.numel() == 0:
        return _Pinv.apply(A, 0.0)  # type: ignore[no-any-return]
    largest = np.linalg.svd(array_of(A), compute_uv=False)[..., 0]
    cut = np.maximum(absolute, relative * largest) / np.maximum(largest, 1e-300)
    return _Pinv.apply(A, cut)  # type: ignore[no-any-return]


def lstsq(A: Tensor, B: Tensor, *, rcond: Any = None, driver: str | None = None) -> Any:
    """(solution, residuals, rank, singular_values) of min ||A X - B||."""
    need_matrix("linalg.lstsq", A)
    if A.dtype is not B.dtype:
        raise RuntimeError(
            "torch.linalg.lstsq: Expected input and other to have the same dtype, but got input's dtype "
            f"{type_name(A.dtype)} "
            f"and other's dtype {type_name(B.dtype)}".replace("torch", "tdsl")
        )
    if B.ndim < 1:
        raise RuntimeError("linalg.lstsq: other must have at least 1 dimension.")
    vector = B.ndim + 1 == A.ndim
    b = B.unsqueeze(-1) if vector else B
    rows, columns = A.shape[-2:]
    if b.shape[-2] != rows:
        raise RuntimeError("linalg.lstsq: input.size(-2) should match other.size(-2)")
    x = matmul(pinv(A, rcond=rcond), b)
    rank = np.linalg.matrix_rank(array_of(A)) if A.numel() else np.zeros(A.shape[:-2], np.int64)
    residuals = (x * 0).reshape(-1)[:0]
    if rows > columns and np.all(rank == columns):
        gap = matmul(A, x) - b
        residuals = (gap * gap).sum(-2)
    values = A.new_empty(0)
    if driver in ("gelsd", "gelss"):
        values = factors.svdvals(A.detach())
    kept = (
        from_array(np.asarray(rank))
        if driver in ("gelsy", "gelsd", "gelss", None)
        else from_array(np.zeros(0, np.int64))
    )
    made = return_type("linalg_lstsq", "solution residuals rank singular_values")
    return made(x.squeeze(-1) if vector else x, residuals, kept, values)


# ---- functions of matrices


class _Exponential(Function):
    @staticmethod
    def forward(ctx: Any, a: Any) -> Any:
        ctx.save_for_backward(a)
        return tensor_of(lapack.expm(array_of(a)), a)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        """The upper right block of the exponential of [[A^T, G], [0, A^T]]."""
        (a,) = ctx.saved_tensors
        n = a.shape[-1]
        top = _beside(mT(a), g)
        whole = _above(top, _beside(g * 0, mT(a)))
        return matrix_exp(whole)[..., :n, n:]


def _beside(a: Tensor, b: Tensor) -> Tensor:
    from tdsl.shapes import cat

    return cat([a, b], -1)


def _above(a: Tensor, b: Tensor) -> Tensor:
    from tdsl.shapes import cat

    return cat([a, b], -2)


def matrix_exp(A: Tensor) -> Tensor:
    """The matrix exponential."""
    need_square("linalg.matrix_exp", A)
    return _Exponential.apply(A) if A.numel() else A.clone()  # type: ignore[no-any-return]


def matrix_power(A: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices, by squaring."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        need_square("linalg.matrix_power", A)
    if n == 0:
        return eye(A.shape[-1], dtype=A.dtype).expand(A.shape).clone() + A * 0  # type: ignore[no-any-return]
    base, left, result = (inv(A) if n < 0 else A), abs(n), None
    while left:
        if left & 1:
            result = base if result is None else matmul(result, base)
        left >>= 1
        base = matmul(base, base) if left else base
    assert result is not None
    return result.clone() if result is A else result  # type: ignore[no-any-return]


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A seen as a matrix from its last dimensions to its first `ind`."""
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    front, back = list(A.shape[:ind]), list(A.shape[ind:])
    if prod(front) != prod(back):
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{prod(back)} != {prod(front)}"
        )
    return inv(A.reshape(prod(front), prod(back))).reshape([*back, *front])  # type: ignore[no-any-return]


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X) = B."""
    if dims is not None:
        moved = [d % A.ndim for d in dims]
        A = A.permute([*[d for d in range(A.ndim) if d not in moved], *moved])
    shape = list(A.shape[B.ndim :])
    if prod(shape) != B.numel():
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            "prod(self.shape[:other.ndim]), but "
            f"got {prod(shape)} != {B.numel()}"
        )
    return solve(A.reshape(B.numel(), prod(shape)), B.reshape(-1)).reshape(shape)  # type: ignore[no-any-return]

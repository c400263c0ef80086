"""Products of vectors and matrices under PyTorch's names."""

from __future__ import annotations

from importlib import import_module
from math import prod
from typing import Any

from tdsl import elementwise as ew
from tdsl import reductions, statistics
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError, ShapeError, TypeError
from tdsl.elementwise import where
from tdsl.shapes import squeeze, unsqueeze
from tdsl.tensor import Number, Tensor, op, type_name, wrap_dim

__all__ = [
    "addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "cdist", "chain_matmul", "cross",
    "dot", "ger", "inner",
    "kron", "matmul", "mm", "mv", "outer", "tensordot", "vdot",
]  # fmt: skip


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product: vectors, matrices, and stacks of matrices that broadcast."""
    a, b = input, other
    if not isinstance(b, Tensor):
        raise TypeError(f"matmul(): argument 'other' (position 2) must be Tensor, not {type(b).__name__}")
    if a.ndim == 0 or b.ndim == 0:
        raise RuntimeError("both arguments to matmul need to be at least 1D, but they are "
                           f"{a.ndim}D and {b.ndim}D")  # fmt: skip
    if a.ndim == 1 and b.ndim == 1 and a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number "
            "of elements, but got different numbers"
        )
    if a.ndim == 2 and b.ndim == 1 and a.shape[1] != b.shape[0]:
        raise ShapeError(
            f"size mismatch, got input ({a.shape[0]}), mat ({a.shape[0]}x{a.shape[1]}), vec ({b.shape[0]})"
        )
    left = unsqueeze(a, 0) if a.ndim == 1 else a
    right = unsqueeze(b, 1) if b.ndim == 1 else b
    y = op("matmul", left, right)
    if b.ndim == 1:
        y = squeeze(y, -1)
    return squeeze(y, -1 if b.ndim == 1 and y.ndim == 1 else -2) if a.ndim == 1 else y


def _same_dtype(name: str, a: Tensor, b: Tensor) -> None:
    if a.dtype is not b.dtype:
        names = {"f32": "float", "f64": "double", "i64": "long", "i32": "int"}
        raise RuntimeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{names.get(a.dtype.name, a.dtype.torch_name)} != {names.get(b.dtype.name, b.dtype.torch_name)}"
        )


def mm(input: Tensor, mat2: Tensor, out_dtype: Any = None) -> Tensor:
    """The product of two matrices."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError("self must be a matrix" if input.ndim != 2 else "mat2 must be a matrix")
    return op("matmul", input, mat2)


def bmm(input: Tensor, mat2: Tensor, out_dtype: Any = None) -> Tensor:
    """Products of two stacks of matrices of equal length."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor" if input.ndim != 3 else "batch2 must be a 3D tensor")
    b, k = input.shape[0], input.shape[2]
    b2, k2 = mat2.shape[0], mat2.shape[1]
    if b != b2 or k != k2:
        raise ShapeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{b}, {k}] but got: [{b2}, {k2}]."
        )
    return op("matmul", input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """A matrix times a vector."""
    if input.ndim != 2 or vec.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {input.ndim}, {vec.ndim}")
    return matmul(input, vec)


def _vectors(name: str, a: Tensor, b: Tensor) -> None:
    for x in (a, b):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): argument must be Tensor, not {type(x).__name__}")
    if a.ndim != 1 or b.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors")
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {type_name(a.dtype)} and {type_name(b.dtype)}"
        )
    if a.shape != b.shape:
        raise RuntimeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number "
            "of elements, but got different numbers"
        )


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of products of two vectors."""
    _vectors("dot", input, tensor)
    return matmul(input, tensor)


def vdot(input: Tensor, other: Tensor) -> Tensor:
    _vectors("vdot", input, other)
    return matmul(input, other)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last dimensions."""
    if input.ndim == 0 or other.ndim == 0:
        return input * other
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(input.shape)} and {list(other.shape)}"
        )
    return tensordot(input, other, ([-1], [-1]))


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Every product of an element of one with one of the other."""
    for name, x in (("self", input), ("vec2", vec2)):
        if x.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {x.ndim}-D")
    return unsqueeze(input, 1) * unsqueeze(vec2, 0)


ger = outer


def tensordot(a: Tensor, b: Tensor, dims: Any = 2, out: None = None) -> Tensor:
    """Products summed over dims: so many last of a and first of b, or two lists of them."""
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}, {a.ndim}, {b.ndim}")
        left, right = list(range(a.ndim - dims, a.ndim)), list(range(dims))
    else:
        left, right = ([x] if isinstance(x, int) else list(x) for x in dims)
    if a.dtype is not b.dtype:
        raise RuntimeError("both inputs should have same dtype")
    if len(left) != len(right):
        raise RuntimeError("both dimension lists should have same length")
    left, right = [wrap_dim(d, a.ndim) for d in left], [wrap_dim(d, b.ndim) for d in right]
    for p, q in zip(left, right, strict=True):
        if a.shape[p] != b.shape[q]:
            if a.shape[p] == 1:
                b = reductions.sum(b, q, True)
            elif b.shape[q] == 1:
                a = reductions.sum(a, p, True)
            else:
                raise RuntimeError(
                    f"contracted dimensions need to match, but first has size {a.shape[p]} in dim {p} and second has "
                    f"size {b.shape[q]} in dim {q}"
                )
    free_a, free_b = [d for d in range(a.ndim) if d not in left], [d for d in range(b.ndim) if d not in right]
    size = prod(a.shape[d] for d in left)
    rows, columns = [a.shape[d] for d in free_a], [b.shape[d] for d in free_b]
    x = a.permute([*free_a, *left]).reshape(prod(rows), size)
    y = b.permute([*right, *free_b]).reshape(size, prod(columns))
    return matmul(x, y).reshape([*rows, *columns])


def chain_matmul(*matrices: Tensor, out: None = None) -> Tensor:
    """The product of matrices in the cheapest order."""
    linalg = import_module("tdsl.linalg")  # a room that imports this one
    return matrices[0] if len(matrices) == 1 else linalg.multi_dot(matrices)  # type: ignore[no-any-return]


# ---- with something added


def _combined(input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    if not product.dtype.is_float:
        beta, alpha = int(beta), int(alpha)
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return product + (input if beta == 1 else input * beta)


def _fits(name: str, input: Tensor, product: Tensor) -> None:
    shape = tuple(product.shape)
    if input.ndim > len(shape) or any(
        n not in (1, m) for n, m in zip(reversed(input.shape), reversed(shape), strict=False)
    ):
        raise RuntimeError(
            f"The expanded size of the tensor ({shape[-1]}) must match the existing size "
            f"({input.shape[-1] if input.ndim else 1}) at non-singleton dimension {len(shape) - 1}.  Target sizes: "
            f"{list(shape)}.  Tensor sizes: {list(input.shape)}"
        )


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta input + alpha mat1 @ mat2."""
    if mat1.ndim != 2 or mat2.ndim != 2:
        which, x = ("mat1", mat1) if mat1.ndim != 2 else ("mat2", mat2)
        raise RuntimeError(f"{which} must be a matrix, got {x.ndim}-D tensor")
    product = mm(mat1, mat2)
    _fits("addmm", input, product)
    return _combined(input, product, beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta input + alpha mat @ vec."""
    if mat.ndim != 2 or vec.ndim != 1 or input.ndim > 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input.ndim}, {mat.ndim}, {vec.ndim}")
    product = matmul(mat, vec)
    _fits("addmv", input, product)
    return _combined(input, product, beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta input + alpha vec1 outer vec2."""
    if vec1.ndim != 1 or vec2.ndim != 1:
        which, x = ("vec1", vec1) if vec1.ndim != 1 else ("vec2", vec2)
        raise RuntimeError(f"addr: Expected 1-D argument {which}, but got {x.ndim}-D")
    product = outer(vec1, vec2)
    _fits("addr", input, product)
    if product.dtype is dt.bool_:
        kept = product & bool(alpha)
        return kept | (input & bool(beta))
    return _combined(input, product, beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta input + alpha batch1 @ batch2, stack by stack."""
    product = bmm(batch1, batch2)
    _fits("baddbmm", input, product)
    return _combined(input, product, beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """beta input + alpha times the sum of the products of two stacks."""
    product = reductions.sum(bmm(batch1, batch2), 0).to(batch1.dtype)
    _fits("addbmm", input, product)
    return _combined(input, product, beta, alpha)


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Every element of `input` times all of `other`, laid out in blocks."""
    n = max(input.ndim, other.ndim)
    left = (1,) * (n - input.ndim) + tuple(input.shape)
    right = (1,) * (n - other.ndim) + tuple(other.shape)
    a = input.reshape([size for m in left for size in (m, 1)])
    b = other.reshape([size for m in right for size in (1, m)])
    return (a * b).reshape([p * q for p, q in zip(left, right, strict=True)])


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dimension of size 3: the first such one unless told."""
    a, b = input, other
    if dim is None:
        shape = (a + b).shape
        found = [k for k, n in enumerate(shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0] - len(shape)
    if a.ndim != b.ndim:
        raise RuntimeError(f"linalg.cross: inputs must have the same number of dimensions. Got {a.ndim} and {b.ndim}")
    d = wrap_dim(dim, a.ndim)
    if a.shape[d] != 3 or b.shape[d] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {d} must have length 3. Got {a.shape[d]} and {b.shape[d]}")
    a1, b1 = a.roll(-1, d), b.roll(-1, d)
    return (a * b1 - a1 * b).roll(-1, d)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """The p-norm distances between every row of x1 and every row of x2."""
    for name, x in (("X1", x1), ("X2", x2)):
        if not x.dtype.is_float:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {type_name(x.dtype)}")
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    gap = unsqueeze(x1, -2) - unsqueeze(x2, -3)
    if gap.shape[-1] == 0:
        return reductions.sum(gap, -1)
    if p == 2:
        return statistics.safe_sqrt(reductions.sum(gap * gap, -1))
    if p == float("inf"):
        return reductions.amax(ew.abs(gap), -1)
    if p == 0:
        return reductions.sum(ew.abs(ew.sign(gap)), -1)
    if p == 1:
        return reductions.sum(ew.abs(gap), -1)
    near = ew.eq(gap, 0)
    total = reductions.sum(where(near, 0.0, where(near, 1.0, ew.abs(gap)) ** p), -1)
    zero = ew.eq(total, 0)
    return where(zero, 0.0, where(zero, 1.0, total) ** (1 / p)).to(x1.dtype)

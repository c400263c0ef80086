"""Matrix products, and kernels written in index notation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.compiler.graph import DERIVED, Attrs, Op, Type, define
from tdsl.compiler.kernel import Axis, Binder, Definition, Expr, Kernel, Param, Read, Reduce, call
from tdsl.compiler.ops.elementwise import axis_names, broadcast, broadcast_read
from tdsl.compiler.ops.view import sum_to
from tdsl.compiler.source import DTypeError, InternalError, ShapeError

_TORCH = {"f32": "float", "f64": "double", "i64": "long", "i32": "int", "u8": "unsigned char", "bool": "bool"}


def _matmul_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    a, b = types
    if a.dtype is not b.dtype:
        raise DTypeError(
            "expected m1 and m2 to have the same dtype, but got: "
            f"{_TORCH.get(a.dtype.name, a.dtype.name)} != {_TORCH.get(b.dtype.name, b.dtype.name)}"
        )
    (m, k), (k2, n) = a.shape[-2:], b.shape[-2:]
    if k != k2:
        raise ShapeError(f"mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    return Type(a.dtype, (*broadcast((a.shape[:-2], b.shape[:-2])), m, n))


def _matmul_kernel(types: tuple[Type, ...], result: Type, attrs: Attrs) -> Kernel:
    a, b = types
    rank = len(result.shape)
    *batch, i, j = axis_names(rank)
    k = axis_names(rank + 1)[-1]

    def operand(name: str, t: Type, row: str, column: str) -> Expr:
        head = broadcast_read(name, t.shape[:-2], len(batch), t.dtype).index
        return Read(name, (*head, Axis(row), Axis(column)), t.dtype)

    product = call("mul", operand("a0", a, i, k), operand("a1", b, k, j))
    expr = Reduce("sum", (Binder(k, 0, a.shape[-1]),), product, result.dtype)
    binders = tuple(Binder(x, 0, n) for x, n in zip((*batch, i, j), result.shape, strict=True))
    params = (Param("a0", a.dtype, a.shape), Param("a1", b.dtype, b.shape))
    return Kernel("op", params, (Definition("y", binders, expr),), ("y",))


def _transposed(b: Any, x: Any) -> Any:
    n = len(x.shape)
    return b("permute", x, dims=(*range(n - 2), n - 1, n - 2))


def _matmul_vjp(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    dp = b("matmul", g, _transposed(b, q))
    dq = b("matmul", _transposed(b, p), g)
    return sum_to(b, dp, p.shape), sum_to(b, dq, q.shape)


def _index_infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    kernel: Kernel = attrs["kernel"]
    for param, t in zip(kernel.params, types, strict=True):
        if param.dtype is not t.dtype or param.shape != t.shape:
            raise InternalError(f"index: {param} is given {t}")
    output = kernel.definition(kernel.outputs[0])
    return Type(output.dtype, output.shape)


def _rows(*shape: int) -> Any:
    return np.random.default_rng(3).uniform(-1, 1, shape)


define(
    Op(
        "matmul", "Matrix product over the last two dimensions; the others broadcast.", _matmul_infer, _matmul_vjp,
        _matmul_kernel, reference=lambda a, b: np.matmul(a, b),
        samples=lambda: [
            ((_rows(3, 4), _rows(4, 5)), {}), ((_rows(2, 3, 4), _rows(4, 5)), {}),
            ((_rows(2, 1, 3, 4), _rows(3, 4, 2)), {}), ((_rows(3, 0), _rows(0, 2)), {}),
        ],
        refuses=lambda: [((_rows(2, 3), _rows(2, 3)), {}, "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)")],
    )
)  # fmt: skip
define(
    Op(
        "index", "A kernel in index notation.", _index_infer, DERIVED, lambda types, result, attrs: attrs["kernel"],
    )
)  # fmt: skip

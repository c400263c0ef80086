"""einsum: PyTorch's notation read as index notation, two operands at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tdsl.compiler.dtype import DType
from tdsl.compiler.kernel import Axis, Binder, Definition, Expr, Kernel, Param, Read, Reduce, call
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import result_type
from tdsl.tensor import Tensor, index_op

__all__ = [
    "einsum",
]  # fmt: skip

_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # letters for the dimensions that `...` stands for


def einsum(equation: str, *operands: Any) -> Tensor:
    """Products of elements, summed over the letters that the result lacks.

    >>> from tdsl.creation import ones
    >>> einsum("ij,jk->ik", ones(2, 3), ones(3, 4)).shape
    tdsl.Size([2, 4])
    """
    tensors = list(operands[0]) if len(operands) == 1 and not isinstance(operands[0], Tensor) else list(operands)
    terms, result = _terms(equation.replace(" ", ""), tensors)
    _check(terms, result, tensors)
    dtype = result_type(*tensors)
    tensors = [t.to(dtype) for t in tensors]
    while len(tensors) > 1:
        later = set("".join(terms[2:])) | set(result)
        keep = result if len(tensors) == 2 else "".join(sorted(set(terms[0] + terms[1]) & later))
        tensors[:2] = [_contract(terms[:2], keep, tensors[:2])]
        terms[:2] = [keep]
    if terms[0] == result:
        return tensors[0] if len(operands) > 1 else tensors[0].clone()  # type: ignore[no-any-return]
    return _contract(terms, result, tensors)


def _terms(equation: str, tensors: Sequence[Tensor]) -> tuple[list[str], str]:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise RuntimeError(
            f"einsum(): {'more' if len(tensors) > len(terms) else 'fewer'} operands were provided than specified in "
            "the "
            "equation"
        )
    used = set(left + right)
    spare = [c for c in _SPARE if c not in used]
    dots = ""
    for k, (term, x) in enumerate(zip(terms, tensors, strict=True)):
        if "..." in term:
            n = x.ndim - len(term) + 3
            letters = "".join(reversed(spare[: max(n, 0)]))
            terms[k] = term.replace("...", letters)
            dots = letters if len(letters) > len(dots) else dots
    if arrow:
        return terms, right.replace("...", dots)
    counted = "".join(terms)
    return terms, dots + "".join(c for c in sorted(set(counted) - set(dots)) if counted.count(c) == 1)


def _check(terms: Sequence[str], result: str, tensors: Sequence[Tensor]) -> None:
    sizes: dict[str, int] = {}
    for k, (term, x) in enumerate(zip(terms, tensors, strict=True)):
        if not all(c.isalpha() for c in term):
            raise RuntimeError(f"einsum(): invalid subscript given in term {term!r}, subscripts must be in [a-zA-Z]")
        if len(term) != x.ndim:
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({len(term)}) does not match the number of "
                f"dimensions ({x.ndim}) for operand {k} and no ellipsis was given"
            )
        for c, n in zip(term, x.shape, strict=True):
            if sizes.setdefault(c, n) != n:
                raise RuntimeError(
                    f"einsum(): subscript {c} has size {n} for operand {k} which does not broadcast with previously "
                    f"seen size {sizes[c]}"
                )
    for c in result:
        if c not in sizes:
            raise RuntimeError(f"einsum(): output subscript {c} does not appear in the equation for any input operand")
        if result.count(c) > 1:
            raise RuntimeError(f"einsum(): output subscript {c} appears more than once in the output")


def _contract(terms: Sequence[str], result: str, tensors: Sequence[Tensor]) -> Tensor:
    shapes = tuple(tuple(t.shape) for t in tensors)
    return index_op(_kernel(tuple(terms), result, shapes, tensors[0].dtype), tensors)


@lru_cache(maxsize=512)
def _kernel(terms: tuple[str, ...], result: str, shapes: tuple[tuple[int, ...], ...], dtype: DType) -> Kernel:
    sizes = {c: n for term, shape in zip(terms, shapes, strict=True) for c, n in zip(term, shape, strict=True)}
    names = {c: c.lower() if c.islower() else f"{c.lower()}_" for c in sizes}
    body: Expr | None = None
    for k, term in enumerate(terms):
        read = Read(f"a{k}", tuple(Axis(names[c]) for c in term), dtype)
        body = read if body is None else call("mul", body, read)
    assert body is not None
    summed = tuple(Binder(names[c], 0, n) for c, n in sizes.items() if c not in result)
    if summed:
        body = Reduce("sum", summed, body, dtype)
    outer = tuple(Binder(names[c], 0, sizes[c]) for c in result)
    params = tuple(Param(f"a{k}", dtype, shape) for k, shape in enumerate(shapes))
    return intern(Kernel("einsum", params, (Definition("y", outer, body),), ("y",)))

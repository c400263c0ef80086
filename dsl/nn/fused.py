"""Layers' hot paths as one kernel of index notation each, so that a step records few values."""

from __future__ import annotations

from functools import lru_cache

from tdsl.compiler.dtype import DType
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.tensor import Tensor, index_op

AXES = "ijlmnopqrstuvw"
Shape = tuple[int, ...]


@lru_cache(maxsize=4096)
def _linear_kernel(dtype: DType, x: Shape, w: Shape, bias: bool) -> Kernel:
    rows = AXES[: len(x) - 1]
    at = ", ".join((*rows, "o"))
    params = f"a0: {dtype.name}[{','.join(map(str, x))}], a1: {dtype.name}[{w[0]},{w[1]}]"
    params += f", a2: {dtype.name}[{w[0]}]" if bias else ""
    product = f"sum[k in 0:{w[1]}] a0[{', '.join((*rows, 'k'))}] * a1[o, k]"
    line = f"y[{at}] := {product}" + (" + a2[o]" if bias else "")
    return intern(parse(f"kernel linear({params}) -> (y):\n  {line}"))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """x w^T + b in one kernel; None where it is not that simple (dtypes, ranks, sizes)."""
    x, w = input.value.type, weight.value.type
    if not x.shape or len(x.shape) > len(AXES) or len(w.shape) != 2 or x.dtype is not w.dtype or not x.dtype.is_float:
        return None
    if x.shape[-1] != w.shape[1]:
        return None
    if bias is None:
        return _named(index_op(_linear_kernel(x.dtype, x.shape, w.shape, False), (input, weight)), "Mm")
    b = bias.value.type
    if b.dtype is not x.dtype or b.shape != w.shape[:1]:
        return None
    return _named(index_op(_linear_kernel(x.dtype, x.shape, w.shape, True), (input, weight, bias)), "Addmm")


def _named(y: Tensor, name: str) -> Tensor:
    tape = y._value.tape
    if tape is not None:
        tape.name = f"{name}Backward0" if y.ndim == 2 else "ViewBackward0"
    return y


@lru_cache(maxsize=1024)
def _picked_kernel(dtype: DType, x: Shape, reducer: str) -> Kernel:
    n, c = x
    params = f"a0: {dtype.name}[{n},{c}], a1: {dtype.name}[{n}], a2: i64[{n}]"
    return intern(parse(f"kernel loss({params}) -> (y):\n  y[] := {reducer}[i in 0:{n}] (a1[i] - a0[i, a2[i]])"))


def picked_loss(x: Tensor, logsumexp: Tensor, target: Tensor, reducer: str) -> Tensor:
    """The mean or sum of logsumexp[i] - x[i, target[i]]: cross entropy of logits x of shape (N, C)."""
    loss = index_op(_picked_kernel(x.dtype, tuple(x.shape), reducer), (x, logsumexp, target))
    tape = loss._value.tape
    if tape is not None:
        tape.name = "NllLossBackward0"
    return loss

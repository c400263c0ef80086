"""Sliding blocks of images as columns, and columns summed back into images."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import RuntimeError
from tdsl.nn.windows import OUT, TAPS, Ints, per_dimension, source, window, zero_of
from tdsl.tensor import Tensor, index_op

__all__ = ["fold", "unfold"]

PHASES = "uvw"


def unfold(input: Tensor, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Tensor:
    """Sliding blocks of (N, C, H, W) as columns: (N, C R S, L)."""
    if input.ndim == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)  # type: ignore[no-any-return]
    if input.ndim != 4:
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, "
            f"but got: {list(input.shape)}"
        )
    k, d, p, s = (per_dimension(x, 2) for x in (kernel_size, dilation, padding, stride))
    for what, given in (("kernel size", k), ("dilation", d), ("stride", s)):
        if min(given) <= 0:
            raise RuntimeError(f"{what} should be greater than zero, but got {list(given)}")
    if min(p) < 0:
        raise RuntimeError(f"padding should be non-negative, but got {list(p)}")
    n, c = input.shape[:2]
    out = tuple((input.shape[2 + q] + 2 * p[q] - d[q] * (k[q] - 1) - 1) // s[q] + 1 for q in (0, 1))
    if min(out) <= 0:
        raise RuntimeError(
            f"Given input with spatial size ({input.shape[2]}, {input.shape[3]}), kernel_size={k}, dilation={d}, "
            f"padding={p}, calculated shape of the array of sliding blocks as {out}, but its components must be at "
            "least one."
        )
    if n == 0:
        return (input.sum() * 0).expand(0, c * k[0] * k[1], out[0] * out[1]).clone()  # type: ignore[no-any-return]
    kernel = _unfold_kernel(input.dtype.name, tuple(input.shape), out, k, s, p, d)
    return index_op(kernel, [input]).reshape(n, c * k[0] * k[1], out[0] * out[1])  # type: ignore[no-any-return]


@lru_cache(maxsize=512)
def _unfold_kernel(dtype: str, x: Any, out: Any, k: Any, s: Any, p: Any, d: Any) -> Kernel:
    places = ", ".join(window("ij"[q], "rs"[q], s[q], d[q], p[q]) for q in (0, 1))
    fill = f" else {zero_of(dtype)}" if any(p) else ""
    return intern(parse(
        f"kernel unfold(a0: {dtype}[{','.join(map(str, x))}]) -> (y):\n"
        f"  y[n, c, r in 0:{k[0]}, s in 0:{k[1]}, i in 0:{out[0]}, j in 0:{out[1]}] := a0[n, c, {places}{fill}]"
    ))  # fmt: skip


def fold(
    input: Tensor, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Tensor:
    """Columns (N, C R S, L) summed back into (N, C, H, W): the derivative of unfold."""
    if input.ndim == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)  # type: ignore[no-any-return]
    if input.ndim != 3:
        raise RuntimeError(
            f"Input Error: Only unbatched (3D) or batched (4D) input Tensors are supported (got {input.ndim}D)"
        )
    size, k = per_dimension(output_size, 2), per_dimension(kernel_size, 2)
    taps = k[0] * k[1]
    if input.shape[1] % taps:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={input.shape[1]} and kernel_size={k}."
        )
    d, p, s = (per_dimension(x, 2) for x in (dilation, padding, stride))
    for what, given in (("kernel size", k), ("dilation", d), ("stride", s)):
        if min(given) <= 0:
            raise RuntimeError(f"{what} should be greater than zero, but got {list(given)}")
    if min(p) < 0:
        raise RuntimeError(f"padding should be non-negative, but got {list(p)}")
    blocks = tuple((size[q] + 2 * p[q] - d[q] * (k[q] - 1) - 1) // s[q] + 1 for q in (0, 1))
    if min(blocks) <= 0 or prod(blocks) != input.shape[2]:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={k}, dilation={d}, padding={p}, stride={s}, expected size of "
            f"input's dimension 2 to match the calculated number of sliding blocks {blocks[0]} * {blocks[1]} = "
            f"{prod(blocks)}, but got input.size(2)={input.shape[2]}."
        )
    x = input.reshape(input.shape[0], input.shape[1] // taps, *k, *blocks)
    if input.shape[0] == 0:
        return (input.sum() * 0).expand(0, x.shape[1], *size).clone()  # type: ignore[no-any-return]
    return folded(x, size, s, p, d)


def folded(
    x: Tensor, size: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...]
) -> Tensor:
    """Patches (N, C, taps ..., windows ...) summed where they lie in (N, C, size ...)."""
    if max(stride) > 1 and max(dilation) == 1 and min(x.shape) > 0:
        return _folded_by_phase(x, size, stride, padding)
    return index_op(_fold_kernel(x.dtype.name, tuple(x.shape), size, stride, padding, dilation), [x])


def _folded_by_phase(x: Tensor, size: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...]) -> Tensor:
    """Position s h + v is reached by the taps s u + v alone, from window h - u: no tap is asked in vain."""
    rank = len(size)
    blocks = tuple(-(-(size[q] + padding[q]) // stride[q]) for q in range(rank))
    y = index_op(_phase_kernel(x.dtype.name, tuple(x.shape), blocks, stride), [x])
    order = [k for q in range(rank) for k in (2 + rank + q, 2 + q)]
    y = y.permute(0, 1, *order).reshape(*y.shape[:2], *(b * s for b, s in zip(blocks, stride, strict=True)))
    for q in range(rank):
        y = y.narrow(2 + q, padding[q], size[q])
    return y


@lru_cache(maxsize=512)
def _phase_kernel(dtype: str, x: tuple[int, ...], blocks: tuple[int, ...], s: tuple[int, ...]) -> Kernel:
    rank = len(s)
    phases = ", ".join(f"{PHASES[q]} in 0:{s[q]}" for q in range(rank))
    axes = ", ".join(f"{OUT[q]} in 0:{blocks[q]}" for q in range(rank))
    taps = ", ".join(f"{TAPS[q]} in 0:{-(-x[2 + q] // s[q])}" for q in range(rank))
    places = [f"{s[q]} * {TAPS[q]} + {PHASES[q]}" for q in range(rank)] + [f"{OUT[q]} - {TAPS[q]}" for q in range(rank)]
    return intern(parse(
        f"kernel fold(a0: {dtype}[{','.join(map(str, x))}]) -> (y):\n"
        f"  y[n, c, {phases}, {axes}] := sum[{taps}] a0[n, c, {', '.join(places)} else {zero_of(dtype)}]"
    ))  # fmt: skip


@lru_cache(maxsize=512)
def _fold_kernel(dtype: str, x: Any, size: Any, s: Any, p: Any, d: Any) -> Kernel:
    rank = len(size)
    found = [source(OUT[q], TAPS[q], s[q], d[q], p[q]) for q in range(rank)]
    guards = " and ".join(guard for _, guard in found if guard)
    axes = ", ".join(f"{OUT[q]} in 0:{size[q]}" for q in range(rank))
    taps = ", ".join(f"{TAPS[q]} in 0:{x[2 + q]}" for q in range(rank))
    places = ", ".join((*TAPS[:rank], *(at for at, _ in found)))
    return intern(parse(
        f"kernel fold(a0: {dtype}[{','.join(map(str, x))}]) -> (y):\n"
        f"  y[n, c, {axes}] := sum[{taps}{f' if {guards}' if guards else ''}] a0[n, c, {places} else {zero_of(dtype)}]"
    ))  # fmt: skip

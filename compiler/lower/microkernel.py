"""The innermost product: a tile of sums in registers. It does not depend on the problem, so it is compiled once.

`tdsl_gemm_f32_14x32(kc, a, b, sums)`, from packed panels:
sums[i * nr + j] = sum over k of a[k * mr + i] * b[k * nr + j].
"""

from __future__ import annotations

import re

from tdsl.compiler.dtype import DType, by_name
from tdsl.compiler.loops import INDEX, SSA, Block, Func, LType, MemRef, Module, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.scalars import memory_type
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target

UNROLL = 4


def tile(dtype: DType, target: Target) -> tuple[int, int, int]:
    """Rows, columns and lanes: as many sums as registers hold beside two rows of B and one element of A."""
    lanes = target.lanes(dtype.bits)
    rows = {32: 14, 16: 6}.get(target.vector_registers, 6)
    if target.vector_bits == 128:
        rows = 8 if target.vector_registers >= 32 else 4
    return rows, 2 * lanes, lanes


def micro_kernel_name(dtype: DType, mr: int, nr: int) -> str:
    return f"tdsl_gemm_{dtype.name}_{mr}x{nr}"


def micro_kernel_args(dtype: DType) -> tuple[LType, ...]:
    memory = MemRef(memory_type(dtype))
    return (INDEX, memory, memory, memory)


def micro_kernel(name: str, target: Target) -> Module:
    """The module of a micro-kernel, from its name."""
    match = re.fullmatch(r"tdsl_gemm_(\w+)_(\d+)x(\d+)", name)
    if match is None:
        raise InternalError(f"no micro-kernel named {name}")
    dtype, mr, nr = by_name(match[1]), int(match[2]), int(match[3])
    args = [SSA(t, hint) for t, hint in zip(micro_kernel_args(dtype), ("kc", "a", "b", "sums"), strict=True)]
    body = Block()
    _emit(Builder(body), args, dtype, mr, nr, target)
    return Module([Func(name, args, body, (), framed=False)])


def _emit(b: Builder, args: list[SSA], dtype: DType, mr: int, nr: int, target: Target) -> None:
    kc, a, panel, sums = args
    lanes = min(target.lanes(dtype.bits), nr)
    vectors = nr // lanes
    t = Vector(lanes, memory_type(dtype))
    zero = b.constant(0.0, t)

    def step(k: SSA, totals: list[SSA]) -> list[SSA]:
        row = b.mul(k, b.constant(nr))
        right = [b.load(panel, b.add(row, b.constant(j * lanes)), lanes) for j in range(vectors)]
        column = b.mul(k, b.constant(mr))
        out = list(totals)
        for i in range(mr):
            left = b.broadcast(b.load(a, b.add(column, b.constant(i))), lanes)
            for j in range(vectors):
                out[i * vectors + j] = b.fma(left, right[j], out[i * vectors + j])
        return out

    def steps(k: SSA, totals: list[SSA]) -> list[SSA]:
        for u in range(UNROLL):
            totals = step(b.add(k, b.constant(u)), totals)
        return totals

    four = b.constant(UNROLL)
    whole = b.mul(b.binary("arith.divsi", kc, four), four)
    totals = b.for_(b.constant(0), whole, four, [zero] * (mr * vectors), steps)
    totals = b.for_(whole, kc, b.constant(1), totals, step)
    for i in range(mr):
        for j in range(vectors):
            b.store(totals[i * vectors + j], sums, b.constant(i * nr + j * lanes))

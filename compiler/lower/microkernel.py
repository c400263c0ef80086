"""The innermost products: a tile of sums in registers. They do not depend on the problem, so each is compiled once.

Both are called as `name(kc, a, step_a, b, step_b, sums)` and write sums[i * nr + j] for a tile of mr x nr:

    tdsl_outer_f32_14x32   sum over k of a[k * step_a + i] * b[k * step_b + j]     vectors along j
    tdsl_dot_f32_4x6       sum over k of a[i * step_a + k] * b[j * step_b + k]     vectors along k
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tdsl.compiler.dtype import DType, by_name
from tdsl.compiler.graph import Size
from tdsl.compiler.loops import INDEX, SSA, Block, Func, LType, MemRef, Module, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.scalars import memory_type
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target

UNROLL = 4


def outer_tile(dtype: DType, m: Size, n: Size, target: Target) -> tuple[int, int]:
    """As many sums as registers hold beside two rows of B and one element of A; rows as even as they come."""
    lanes = target.lanes(dtype.bits)
    rows = {32: 14, 16: 6}.get(target.vector_registers, 6)
    if target.vector_bits == 128:
        rows = 8 if target.vector_registers >= 32 else 4
    columns = lanes if isinstance(n, int) and n <= lanes else 2 * lanes
    if not isinstance(m, int):
        return rows, columns
    exact = next((r for r in range(rows, rows // 2, -1) if m % r == 0), None)
    return exact or -(-m // -(-m // rows)), columns


def dot_tile(m: Size, n: Size, target: Target) -> tuple[int, int]:
    """Rows and columns that divide the product, where some do, with few loads for each multiplication."""
    limit = 24 if target.vector_registers >= 32 else 9
    best = (0.0, 1, 1)
    for r in range(1, 9):
        for c in range(1, 9):
            if r * c > limit:
                continue
            waste = _used(m, r) * _used(n, c)
            best = max(best, (waste * r * c / (r + c), r, c))
    return best[1], best[2]


def _used(n: Size, by: int) -> float:
    """The part of whole tiles along an axis that is not beyond its end."""
    return 0.99 if not isinstance(n, int) and by > 1 else n / (-(-n // by) * by) if isinstance(n, int) else 1.0


def micro_kernel_name(kind: str, dtype: DType, mr: int, nr: int) -> str:
    return f"tdsl_{kind}_{dtype.name}_{mr}x{nr}"


def micro_kernel_args(dtype: DType) -> tuple[LType, ...]:
    memory = MemRef(memory_type(dtype))
    return (INDEX, memory, INDEX, memory, INDEX, memory)


def micro_kernel(name: str, target: Target) -> Module:
    """The module of a micro-kernel, from its name."""
    match = re.fullmatch(r"tdsl_(outer|dot)_([a-z0-9]+)_(\d+)x(\d+)", name)
    if match is None:
        raise InternalError(f"no micro-kernel named {name}")
    dtype, mr, nr = by_name(match[2]), int(match[3]), int(match[4])
    hints = ("kc", "a", "step_a", "b", "step_b", "sums")
    args = [SSA(t, hint) for t, hint in zip(micro_kernel_args(dtype), hints, strict=True)]
    body = Block()
    emit = _outer if match[1] == "outer" else _dot
    emit(Builder(body), args, dtype, mr, nr, target)
    return Module([Func(name, args, body, (), framed=False)])


def _outer(b: Builder, args: list[SSA], dtype: DType, mr: int, nr: int, target: Target) -> None:
    kc, a, step_a, panel, step_b, sums = args
    lanes = min(target.lanes(dtype.bits), nr)
    vectors = nr // lanes
    zero = b.constant(0.0, Vector(lanes, memory_type(dtype)))

    def step(k: SSA, totals: list[SSA]) -> list[SSA]:
        row = b.mul(k, step_b)
        right = [b.load(panel, b.add(row, b.constant(j * lanes)), lanes) for j in range(vectors)]
        column = b.mul(k, step_a)
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


def _dot(b: Builder, args: list[SSA], dtype: DType, mr: int, nr: int, target: Target) -> None:
    kc, a, step_a, panel, step_b, sums = args
    lanes = target.lanes(dtype.bits)
    element = memory_type(dtype)
    zero = b.constant(0.0, Vector(lanes, element))
    rows = [b.mul(b.constant(i), step_a) for i in range(mr)]
    columns = [b.mul(b.constant(j), step_b) for j in range(nr)]

    def products(left: list[SSA], right: list[SSA], totals: list[SSA]) -> list[SSA]:
        return [b.fma(left[i], right[j], totals[i * nr + j]) for i in range(mr) for j in range(nr)]

    def step(k: SSA, totals: list[SSA]) -> list[SSA]:
        left = [b.load(a, b.add(r, k), lanes) for r in rows]
        return products(left, [b.load(panel, b.add(c, k), lanes) for c in columns], totals)

    width = b.constant(lanes)
    whole = b.mul(b.binary("arith.divsi", kc, width), width)
    totals = b.for_(b.constant(0), whole, width, [zero] * (mr * nr), step)
    if target.has_masked_memory:
        totals = _masked_rest(b, kc, whole, totals, (a, rows), (panel, columns), zero, products)
    results = [b.op("vector.reduction", (t,), (element,), kind="add").result for t in totals]
    if not target.has_masked_memory:

        def single(k: SSA, sums: list[SSA]) -> list[SSA]:
            return products([b.load(a, b.add(r, k)) for r in rows], [b.load(panel, b.add(c, k)) for c in columns], sums)

        results = b.for_(whole, kc, b.constant(1), results, single)
    for at, total in enumerate(results):
        b.store(total, sums, b.constant(at))


def _masked_rest(
    b: Builder, kc: SSA, whole: SSA, totals: list[SSA], left: tuple[SSA, list[SSA]], right: tuple[SSA, list[SSA]],
    zero: SSA, products: Callable[[list[SSA], list[SSA], list[SSA]], list[SSA]],
) -> list[SSA]:  # fmt: skip
    """What is left of K, fewer elements than a vector: lanes beyond the end are 0."""
    assert isinstance(zero.type, Vector)
    lanes = zero.type.lanes

    def rest() -> list[SSA]:
        places = b.op("vector.step", (), (Vector(lanes, INDEX),)).result
        mask = b.compare("arith.cmpi", "slt", places, b.broadcast(b.sub(kc, whole), lanes))

        def loads(memory: SSA, offsets: list[SSA]) -> list[SSA]:
            return [
                b.op("vector.maskedload", (memory, b.add(o, whole), mask, zero), (zero.type,)).result for o in offsets
            ]

        return products(loads(*left), loads(*right), totals)

    more = b.compare("arith.cmpi", "slt", whole, kc)
    return b.if_(more, rest, lambda: totals)

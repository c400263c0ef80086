"""Share out the outermost independent loop among threads, in chunks that depend on its shape only."""

from __future__ import annotations

from collections.abc import Sequence

from tdsl.compiler.loop_passes.rewriter import Rewriter, rewrite_module
from tdsl.compiler.loops import SSA, LOp, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.target import Target

GRAIN = 1 << 15  # scalar ops worth handing to a thread: a region costs about a microsecond
CHUNKS = 64  # at most so many chunks
ALIGN = 64  # iterations of a vector loop in a chunk are a multiple of this


def parallel(module: Module, target: Target) -> Module:
    """Loops marked `parallel` become `scf.parallel` over chunks, where one chunk is not all there is."""
    return rewrite_module(module, _share)


def _share(rewriter: Rewriter, b: Builder, op: LOp) -> Sequence[SSA] | None:
    if op.name != "scf.for" or "parallel" not in op.attrs:
        return None
    attrs = {k: v for k, v in op.attrs.items() if k not in ("parallel", "cost")}
    serial = LOp(op.name, op.operands, op.results, attrs, op.regions)
    lo, hi, step = op.operands[:3]
    n, first = rewriter.constants.get(hi), rewriter.constants.get(lo)
    if op.results or first != 0 or rewriter.constants.get(step) != 1:
        return rewriter.copy(b, serial)
    grain = max(1, GRAIN // max(1, op.attrs.get("cost", 1)))
    if "vector" in attrs:
        grain = -(-grain // ALIGN) * ALIGN
    if n is not None and n <= grain:
        return rewriter.copy(b, serial)
    if n is not None:
        chunk = b.constant(max(grain, _aligned(-(-n // CHUNKS), attrs)))
    else:
        share = b.binary("arith.divsi", b.add(hi, b.constant(CHUNKS - 1)), b.constant(CHUNKS))
        if "vector" in attrs:
            up = b.binary("arith.divsi", b.add(share, b.constant(ALIGN - 1)), b.constant(ALIGN))
            share = b.mul(up, b.constant(ALIGN))
        chunk = b.binary("arith.maxsi", share, b.constant(grain))
    known = b.known(chunk)
    if n is not None and known is not None:
        count = b.constant(-(-n // known))
    else:
        count = b.binary("arith.divsi", b.add(hi, b.sub(chunk, b.constant(1))), chunk)

    def body(p: SSA) -> None:
        start = b.mul(p, chunk)
        end = b.binary("arith.minsi", b.binary("arith.addi", start, chunk), hi)
        rewriter.copy(b, LOp("scf.for", [start, end, step], [], attrs, op.regions))

    b.parallel(count, body)
    return []


def _aligned(n: int, attrs: dict[str, object]) -> int:
    return -(-n // ALIGN) * ALIGN if "vector" in attrs else n

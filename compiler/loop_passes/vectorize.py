"""Widen loops marked `vector`: a main loop of whole vectors, and a tail that computes the same bits.

The tail is one masked iteration where the target has masked memory, else the scalar loop. A loop that holds
something with no vector form stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tdsl.compiler.loop_passes.rewriter import Rewriter, rewrite_module
from tdsl.compiler.loop_passes.widen import Unsupported, Widener, identity_of
from tdsl.compiler.loops import INDEX, SSA, Block, LOp, MemRef, Module, Scalar, Vector, walk
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.target import Target

_HEAVY = ("math.exp", "math.log", "math.sin", "math.cos", "math.tan", "math.tanh", "math.sigmoid", "math.erf",
          "math.pow", "math.atan2", "math.expm1", "math.log1p", "tdsl.philox", "math.ipowi",
          *(f"tdsl.{name}" for name in SPECIAL))  # fmt: skip


def vectorize(module: Module, target: Target) -> Module:
    """Loops marked `vector` step by `target.lanes` of their widest element."""
    if target.vector_bits < 128:
        return module

    def rule(rewriter: Rewriter, b: Builder, op: LOp) -> Sequence[SSA] | None:
        if op.name != "scf.for" or "vector" not in op.attrs:
            return None
        try:
            probe = Builder(Block())
            results = _Loop(rewriter, probe, op, target).emit()
        except Unsupported:
            attrs = {k: v for k, v in op.attrs.items() if k not in ("vector", "combine")}
            return rewriter.copy(b, LOp(op.name, op.operands, op.results, attrs, op.regions))
        b.block.ops.extend(probe.block.ops)
        return results

    return rewrite_module(module, rule)


def _lanes(region: Block, carried: Sequence[SSA], target: Target) -> int:
    """By the widest element that is loaded or stored; else by what is carried."""
    bits = [x.type.element.bits for op in walk(region) for x in op.operands if isinstance(x.type, MemRef) if _moves(op)]
    bits = bits or [x.type.bits for x in carried if isinstance(x.type, Scalar)]
    return min(64, target.lanes(max(bits, default=64)))


def _moves(op: LOp) -> bool:
    return op.name in ("memref.load", "memref.store")


def _unroll(region: Block, reduces: bool) -> int:
    """Vectors in one round of the main loop: enough to hide latencies, not more than the registers hold."""
    ops, nested, branches = 0, False, False
    for op in walk(region):
        ops += 20 if op.name.startswith(_HEAVY) else 0 if op.name in ("arith.constant", "scf.yield") else 1
        nested |= op.name == "scf.for"
        branches |= op.name == "scf.if"
    if nested:
        return 1 if reduces or branches else 4 if ops <= 16 else 2 if ops <= 32 else 1
    if reduces:
        return 4 if ops <= 40 else 2
    return 4 if ops <= 12 else 2 if ops <= 48 else 1


@dataclass(eq=False, slots=True)
class _Loop:
    """One loop being widened, emitted into `b`."""

    rewriter: Rewriter
    b: Builder
    op: LOp
    target: Target

    def emit(self) -> list[SSA]:
        op, b = self.op, self.b
        lo, hi, _, *inits = op.operands
        region = op.regions[0]
        carried = region.args[1:]
        kinds: list[str] = list(op.attrs.get("combine", []))
        if len(kinds) != len(carried):
            raise Unsupported("what is carried has no combiner")
        lanes = _lanes(region, carried, self.target)
        if lanes < 2:
            raise Unsupported("one lane is no vector")
        n = self._trip_count(lo, hi)
        if n is not None and n < 2:
            raise Unsupported("nothing to widen")
        unroll = _unroll(region, bool(carried))
        while n is not None and unroll > 1 and n < lanes * unroll:
            unroll //= 2
        width = lanes * unroll
        accumulators = [
            [b.constant(identity_of(k, c.type), Vector(lanes, _scalar(c))) for k, c in zip(kinds, carried, strict=True)]
            for _ in range(unroll)
        ]
        main = self._rounded(lo, hi, width)
        if n is None or n >= width:
            accumulators = self._main(region, lo, main, lanes, unroll, accumulators)
        merged = accumulators[0]
        for more in accumulators[1:]:
            merged = [combine(b, k, x, y) for k, x, y in zip(kinds, merged, more, strict=True)]
        middle = self._rounded(lo, hi, lanes)
        if unroll > 1 and (n is None or n % width >= lanes):
            merged = self._main(region, main, middle, lanes, 1, [merged])[0]
        results: list[SSA] = []
        if self.target.has_masked_memory:
            if n is None or n % lanes:
                merged = self._masked(region, middle, hi, lanes, merged, n is not None)
            results = self._reduced(kinds, merged, inits)
        else:
            results = self._reduced(kinds, merged, inits)
            if n is None or n % lanes:
                attrs = {k: v for k, v in op.attrs.items() if k not in ("vector", "combine")}
                tail = LOp("scf.for", [middle, hi, b.constant(1), *results], op.results, attrs, op.regions)
                results = self.rewriter.copy(b, tail)
        return results

    def _trip_count(self, lo: SSA, hi: SSA) -> int | None:
        first, last = self._known(lo), self._known(hi)
        return None if first is None or last is None else max(0, last - first)

    def _known(self, value: SSA) -> int | None:
        known: dict[SSA, int] = self.rewriter.constants
        return known.get(value)

    def _rounded(self, lo: SSA, hi: SSA, width: int) -> SSA:
        """lo plus as many whole steps of `width` as fit below hi."""
        b, first, n = self.b, self._known(lo), self._trip_count(lo, hi)
        if n is not None and first is not None:
            return b.constant(first + n // width * width)
        w = b.constant(width)
        length = b.sub(hi, lo)
        whole = b.binary("arith.muli", b.binary("arith.divsi", length, w), w)
        return b.add(lo, whole)

    def _main(
        self, region: Block, lo: SSA, hi: SSA, lanes: int, unroll: int, accumulators: list[list[SSA]]
    ) -> list[list[SSA]]:
        b = self.b
        flat = [x for group in accumulators for x in group]
        count = len(accumulators[0])

        def body(iv: SSA, values: list[SSA]) -> list[SSA]:
            out: list[SSA] = []
            if count == 0 and any(op.name == "scf.for" for op in walk(region)):
                # loops inside run once for all vectors of the round: one wide vector, which the back end splits
                Widener(b, self.rewriter, lanes * unroll, None).run(region, iv, [])
                return out
            for u in range(unroll):
                base = b.add(iv, b.constant(u * lanes))
                widener = Widener(b, self.rewriter, lanes, None)
                out += widener.run(region, base, values[u * count : (u + 1) * count])
            return out

        results = b.for_(lo, hi, b.constant(lanes * unroll), flat, body)
        return [results[u * count : (u + 1) * count] for u in range(unroll)]

    def _masked(
        self, region: Block, middle: SSA, hi: SSA, lanes: int, accumulators: list[SSA], certain: bool
    ) -> list[SSA]:
        b = self.b

        def tail() -> list[SSA]:
            index = Vector(lanes, INDEX)
            left = b.broadcast(b.sub(hi, middle), lanes)
            mask = b.compare("arith.cmpi", "slt", b.op("vector.step", (), (index,)).result, left)
            widener = Widener(b, self.rewriter, lanes, mask)
            out = widener.run(region, middle, accumulators)
            return [b.select(mask, new, old) for new, old in zip(out, accumulators, strict=True)]

        if certain:
            return tail()
        some = b.compare("arith.cmpi", "slt", middle, hi)
        return b.if_(some, tail, lambda: accumulators)

    def _reduced(self, kinds: Sequence[str], vectors: Sequence[SSA], inits: Sequence[SSA]) -> list[SSA]:
        b, results = self.b, []
        for kind, vector, init in zip(kinds, vectors, inits, strict=True):
            assert isinstance(vector.type, Vector)
            scalar = b.op("vector.reduction", (vector,), (vector.type.element,), kind=kind).result
            results.append(combine(b, kind, init, scalar))
        return results


def _scalar(value: SSA) -> Scalar:
    assert isinstance(value.type, Scalar)
    return value.type


def combine(b: Builder, kind: str, x: SSA, y: SSA) -> SSA:
    """Two carried values of a reduction as one."""
    t = x.type.element if isinstance(x.type, Vector) else x.type
    assert isinstance(t, Scalar)
    if kind in ("add", "mul"):
        return b.binary(f"arith.{kind}{'f' if t.is_float else 'i'}", x, y)
    return b.binary({"or": "arith.ori", "and": "arith.andi"}.get(kind, f"arith.{kind}"), x, y)

"""Building loops IR: an insertion point and one short method an op."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tdsl.compiler.loops import I1, INDEX, SSA, Block, LOp, LType, MemRef, Scalar, Vector


class Builder:
    """Appends ops to `block`. Constants are shared within a block and folded into nothing else.

    >>> from tdsl.compiler.loops import F32
    >>> b = Builder(Block())
    >>> total = b.binary("arith.addf", b.constant(1.0, F32), b.constant(2.0, F32))
    >>> [op.name for op in b.block.ops]
    ['arith.constant', 'arith.constant', 'arith.addf']
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self._constants: list[dict[tuple[Any, ...], SSA]] = [{}]

    def op(
        self,
        name: str,
        operands: Sequence[SSA],
        results: Sequence[LType] = (),
        regions: Sequence[Block] = (),
        **attrs: Any,
    ) -> LOp:
        made = LOp(name, list(operands), [SSA(t) for t in results], attrs, list(regions))
        self.block.ops.append(made)
        return made

    # ---- scalars and vectors

    def constant(self, value: bool | int | float, type_: Scalar | Vector = INDEX) -> SSA:
        key = (type_, type(value), repr(value))
        for scope in reversed(self._constants):
            if key in scope:
                return scope[key]
        made = self.op("arith.constant", (), (type_,), value=value).result
        self._constants[-1][key] = made
        return made

    def binary(self, name: str, a: SSA, b: SSA) -> SSA:
        return self.op(name, (a, b), (a.type,)).result

    def unary(self, name: str, a: SSA) -> SSA:
        return self.op(name, (a,), (a.type,)).result

    def fma(self, a: SSA, b: SSA, c: SSA) -> SSA:
        return self.op("math.fma", (a, b, c), (a.type,)).result

    def compare(self, name: str, predicate: str, a: SSA, b: SSA) -> SSA:
        result: LType = Vector(a.type.lanes, I1) if isinstance(a.type, Vector) else I1
        return self.op(name, (a, b), (result,), predicate=predicate).result

    def select(self, condition: SSA, a: SSA, b: SSA) -> SSA:
        return self.op("arith.select", (condition, a, b), (a.type,)).result

    def convert(self, name: str, a: SSA, to: Scalar) -> SSA:
        result: LType = Vector(a.type.lanes, to) if isinstance(a.type, Vector) else to
        return self.op(name, (a,), (result,)).result

    def broadcast(self, a: SSA, lanes: int) -> SSA:
        assert isinstance(a.type, Scalar)
        return self.op("vector.broadcast", (a,), (Vector(lanes, a.type),)).result

    # ---- index arithmetic, folded where both operands are constants or one is neutral

    def known(self, a: SSA) -> int | None:
        for scope in reversed(self._constants):
            for (type_, kind, text), ssa in scope.items():
                if ssa is a and type_ is INDEX and kind is int:
                    return int(text)
        return None

    def add(self, a: SSA, b: SSA) -> SSA:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return self.constant(x + y)
        if x == 0 or y == 0:
            return b if x == 0 else a
        return self.binary("arith.addi", a, b)

    def sub(self, a: SSA, b: SSA) -> SSA:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return self.constant(x - y)
        return a if y == 0 else self.binary("arith.subi", a, b)

    def mul(self, a: SSA, b: SSA) -> SSA:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return self.constant(x * y)
        if x == 1 or y == 1:
            return b if x == 1 else a
        if x == 0 or y == 0:
            return self.constant(0)
        return self.binary("arith.muli", a, b)

    def min(self, a: SSA, b: SSA) -> SSA:
        x, y = self.known(a), self.known(b)
        return self.constant(min(x, y)) if x is not None and y is not None else self.binary("arith.minsi", a, b)

    # ---- memory

    def load(self, memref: SSA, index: SSA, lanes: int = 1) -> SSA:
        assert isinstance(memref.type, MemRef)
        if lanes == 1:
            return self.op("memref.load", (memref, index), (memref.type.element,)).result
        return self.op("vector.load", (memref, index), (Vector(lanes, memref.type.element),)).result

    def store(self, value: SSA, memref: SSA, index: SSA) -> None:
        self.op("vector.store" if isinstance(value.type, Vector) else "memref.store", (value, memref, index))

    # ---- structure

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Append to `block` meanwhile; constants made there are not seen outside."""
        outer, self.block = self.block, block
        self._constants.append({})
        try:
            yield
        finally:
            self.block = outer
            self._constants.pop()

    def for_(
        self,
        lo: SSA,
        hi: SSA,
        step: SSA,
        inits: Sequence[SSA],
        body: Callable[[SSA, list[SSA]], Sequence[SSA] | None],
        **attrs: Any,
    ) -> list[SSA]:
        """scf.for: `body(iv, carried)` emits an iteration and returns the values carried to the next."""
        iv, carried = SSA(INDEX, "i"), [SSA(x.type) for x in inits]
        region = Block([iv, *carried])
        with self.inside(region):
            out = body(iv, carried)
            self.op("scf.yield", list(out or ()))
        return self.op("scf.for", (lo, hi, step, *inits), [x.type for x in inits], (region,), **attrs).results

    def if_(
        self,
        condition: SSA,
        then: Callable[[], Sequence[SSA] | None],
        otherwise: Callable[[], Sequence[SSA] | None] | None = None,
    ) -> list[SSA]:
        regions, types = [], []
        for part in (then, otherwise):
            region = Block()
            if part is not None:
                with self.inside(region):
                    out = list(part() or ())
                    self.op("scf.yield", out)
                types = [x.type for x in out]
            regions.append(region)
        return self.op("scf.if", (condition,), types, regions).results

    def parallel(self, n: SSA, body: Callable[[SSA], None]) -> None:
        iv = SSA(INDEX, "p")
        region = Block([iv])
        with self.inside(region):
            body(iv)
            self.op("scf.yield", ())
        self.op("scf.parallel", (n,), (), (region,))

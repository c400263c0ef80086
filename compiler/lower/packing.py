"""An operand of a contraction as its micro-kernel reads it: where it lies, or copied into panels.

A panel holds `width` positions along an axis of the output. Vectors along N want it k by k (`into[k * width + i]`),
vectors along K position by position (`into[i * kc + k]`). What is beyond the edge is 0. An operand that is read where
it lies has a panel for its edge alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Binder, Expr, call, of_size
from tdsl.compiler.kernel import index_const as ic
from tdsl.compiler.loops import SSA
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.levels import Levels
from tdsl.compiler.lower.points import Points


def ceil_of(n: Size, by: int) -> Expr:
    """n / by, rounded up, as a workspace's size."""
    if isinstance(n, int):
        return ic(-(-n // by))
    return call("floordiv", call("add", of_size(n), ic(by - 1)), ic(by))


@dataclass(eq=False, slots=True)
class Side:
    """One operand of one product of matrices.

    source, offset   its memory, and where this matrix begins in it
    step, step_k     strides along the output's axis and along K
    packed           copied whole; else `space` holds the panel of the edge, if there can be one
    dot              panels lie position by position
    """

    b: Levels
    points: Points
    along: Binder
    width: int
    source: SSA
    offset: SSA
    step: SSA
    step_k: SSA
    space: SSA | None
    packed: bool
    dot: bool
    zero: SSA

    @staticmethod
    def has_edge(along: Binder, width: int) -> bool:
        return not isinstance(along.hi, int) or along.hi % width != 0

    @staticmethod
    def elements(along: Binder, width: int, packed: bool, k: Expr) -> Expr | None:
        """Workspace elements for one block of K; None: none."""
        if packed:
            return call("mul", call("mul", ceil_of(along.hi, width), ic(width)), k)
        return call("mul", ic(width), k) if Side.has_edge(along, width) else None

    # ---- reading

    def panel(self, p: SSA, pc: SSA, kc: SSA) -> tuple[SSA, SSA]:
        """The memory of a panel and its step: from one k to the next, or from one position to the next (dot)."""
        b, width = self.b, self.b.constant(self.width)
        apart = kc if self.dot else width
        if self.packed:
            assert self.space is not None
            return self._at(self.space, b.mul(b.mul(p, width), kc)), apart
        start = b.add(self.offset, b.mul(b.mul(p, width), self.step))
        here = self._at(self.source, b.add(start, b.mul(pc, self.step_k)))
        step = self.step if self.dot else self.step_k
        if self.space is None:
            return here, step
        inside = b.compare("arith.cmpi", "slt", p, self._whole_panels())
        return b.select(inside, here, self.space), b.select(inside, step, apart)

    def _at(self, memory: SSA, index: SSA) -> SSA:
        return self.b.op("memref.subview_offset", (memory, index), (memory.type,)).result

    def _whole_panels(self) -> SSA:
        b, n = self.b, self.along.hi
        if isinstance(n, int):
            return b.constant(n // self.width)
        return b.binary("arith.divsi", self.points.size(n), b.constant(self.width))

    def panels(self) -> SSA:
        b, n = self.b, self.along.hi
        if isinstance(n, int):
            return b.constant(-(-n // self.width))
        return b.binary("arith.divsi", b.add(self.points.size(n), b.constant(self.width - 1)), b.constant(self.width))

    # ---- packing

    def pack(self, pc: SSA, kc: SSA, k_extent: int, shared: bool) -> None:
        """Copy what is read from `space`: every panel, or the edge."""
        if self.space is None:
            return
        b = self.b
        if not self.packed:
            self._edge(pc, kc)
            return
        attrs: dict[str, object] = {"parallel": True, "cost": self.width * k_extent} if shared else {}

        def panel(p: SSA, carried: list[SSA]) -> None:
            self._panel(p, b.mul(b.mul(p, b.constant(self.width)), kc), pc, kc)

        b.for_(b.constant(0), self.panels(), b.constant(1), (), panel, **attrs)

    def _edge(self, pc: SSA, kc: SSA) -> None:
        b = self.b
        b.for_(
            self._whole_panels(), self.panels(), b.constant(1), (), lambda p, c: self._panel(p, b.constant(0), pc, kc)
        )

    def _panel(self, p: SSA, target: SSA, pc: SSA, kc: SSA) -> None:
        b = self.b
        first = b.mul(p, b.constant(self.width))
        start = b.add(self.offset, b.add(b.mul(first, self.step), b.mul(pc, self.step_k)))
        left = b.sub(self.points.size(self.along.hi), first)
        if self.dot:
            self._positions(start, target, left, kc)
            return
        lanes = self._block()
        if lanes == 0:
            self._rows(start, target, left, b.constant(0), kc)
            return
        done = b.mul(b.binary("arith.divsi", kc, b.constant(lanes)), b.constant(lanes))
        whole = isinstance(self.along.hi, int) and self.along.hi % self.width == 0
        if whole:
            self._transposed(start, target, done, lanes)
        else:
            full = b.compare("arith.cmpi", "sge", left, b.constant(self.width))
            done = b.select(full, done, b.constant(0))
            self._transposed(start, target, done, lanes)
        self._rows(start, target, left, done, kc)

    def _block(self) -> int:
        """Lanes of square blocks that are transposed in registers; 0: the copy is along rows, or does not divide."""
        if self.b.known(self.step_k) != 1 or self.b.known(self.step) == 1:
            return 0
        return next((n for n in (16, 8, 4) if self.width % n == 0), 0)

    def _transposed(self, start: SSA, target: SSA, end: SSA, lanes: int) -> None:
        b = self.b

        def block(k: SSA, carried: list[SSA]) -> None:
            for group in range(0, self.width, lanes):
                rows = [
                    b.load(self.source, b.add(b.add(start, b.mul(b.constant(group + i), self.step)), k), lanes)
                    for i in range(lanes)
                ]
                for i, column in enumerate(transpose(b, rows)):
                    into = b.mul(b.add(k, b.constant(i)), b.constant(self.width))
                    b.store(column, self._space(), b.add(b.add(target, into), b.constant(group)))

        b.for_(b.constant(0), end, b.constant(lanes), (), block)

    def _space(self) -> SSA:
        assert self.space is not None
        return self.space

    def _value(self, at: SSA, inside: SSA | None) -> SSA:
        b = self.b
        if inside is None:
            return b.load(self.source, at)
        return b.if_(inside, lambda: [b.load(self.source, at)], lambda: [self.zero])[0]

    def _rows(self, start: SSA, target: SSA, left: SSA, lo: SSA, hi: SSA) -> None:
        """k by k; within, along the positions."""
        b, width = self.b, self.width
        whole = isinstance(self.along.hi, int) and self.along.hi % width == 0
        across = b.known(self.step) != 1

        def row(k: SSA, carried: list[SSA]) -> None:
            base, into = b.add(start, b.mul(k, self.step_k)), b.add(target, b.mul(k, b.constant(width)))

            def element(i: SSA, carried: list[SSA]) -> None:
                inside = None if whole else b.compare("arith.cmpi", "slt", i, left)
                b.store(self._value(b.add(base, b.mul(i, self.step)), inside), self._space(), b.add(into, i))

            if whole and across:
                for i in range(width):  # a gather is slower than as many loads
                    element(b.constant(i), [])
                return
            b.for_(b.constant(0), b.constant(width), b.constant(1), (), element, vector=True)

        b.for_(lo, hi, b.constant(1), (), row)

    def _positions(self, start: SSA, target: SSA, left: SSA, kc: SSA) -> None:
        """Position by position; within, along K."""
        b = self.b

        def position(i: SSA, carried: list[SSA]) -> None:
            inside = b.compare("arith.cmpi", "slt", i, left)
            base, into = b.add(start, b.mul(i, self.step)), b.add(target, b.mul(i, kc))

            def element(k: SSA, carried: list[SSA]) -> None:
                b.store(self._value(b.add(base, b.mul(k, self.step_k)), inside), self._space(), b.add(into, k))

            b.for_(b.constant(0), kc, b.constant(1), (), element, vector=True)

        b.for_(b.constant(0), b.constant(self.width), b.constant(1), (), position)


def transpose(b: Builder, rows: list[SSA]) -> list[SSA]:
    """A square block in registers, transposed: at stage s, pairs of rows 2^s apart exchange halves of 2^s lanes."""
    n, rows = len(rows), list(rows)
    half = 1
    while half < n:
        low = [i if i & half == 0 else n + i - half for i in range(n)]
        high = [i + half if i & half == 0 else n + i for i in range(n)]
        out = list(rows)
        for i in (i for i in range(n) if i & half == 0):
            p, q = rows[i], rows[i + half]
            out[i] = b.op("vector.shuffle", (p, q), (p.type,), lanes=tuple(low)).result
            out[i + half] = b.op("vector.shuffle", (p, q), (p.type,), lanes=tuple(high)).result
        rows = out
        half *= 2
    return rows

"""Sums of products whose operands are any expressions: convolutions and their gradients, and whatever is like them.

The operands are packed through their index maps, so that padding, strides, dilation and fused producers cost a pass
over a panel that stays in the cache; then the micro-kernels of `product` multiply the panels (what is called implicit
im2col: Chetlur et al., cuDNN, arXiv 1410.0759, section 3.1). A is packed once for all; a strand of work packs a panel
of B after another into space of its own, and multiplies it with all of A. Strands depend on shapes only and K is summed
in order, so results are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import Axis, Binder, Call, Expr, Kernel, Read, Reduce, call, of_size, rewrite, walk
from tdsl.compiler.kernel import index_const as ic
from tdsl.compiler.loops import SSA, MemRef, Module, Workspace
from tdsl.compiler.lower.access import Access
from tdsl.compiler.lower.contraction import WHOLE_K, Indexed, extents
from tdsl.compiler.lower.levels import Levels
from tdsl.compiler.lower.microkernel import micro_kernel_args, micro_kernel_name, outer_tile
from tdsl.compiler.lower.nest import Nest
from tdsl.compiler.lower.packing import transpose
from tdsl.compiler.lower.part import Groups, Inner, Part, part_kernel, sum_param
from tdsl.compiler.lower.points import Points, Scope
from tdsl.compiler.lower.scalars import memory_type
from tdsl.compiler.target import Target

KC = 1024  # elements of K packed at a time, where they are too many to be packed at once
CHUNK = 128  # of them, transposed at a time: they stay in the first-level cache
STRANDS = 32  # at most
SLICES = 8  # of K, where there are fewer panels
MACS_A_COST = 32  # multiply-adds that cost as much as one scalar op elsewhere
RUNS = 8  # of rows in a panel, up to which all are read at once and chosen from by lane
LIGHT = 4  # scalar ops in an operand, up to which it is evaluated for each of those
TURNING = 1.5  # what a copy through a transposition costs, to a straight one


def lower_indexed(kernel: Kernel, indexed: Indexed, target: Target) -> Module:
    return _IndexedProduct(kernel, indexed, target).module()


class _IndexedProduct(Nest):
    """The loops around the micro-kernel. Points, memory and sizes are `Nest`'s."""

    def __init__(self, kernel: Kernel, c: Indexed, target: Target) -> None:
        super().__init__(kernel, target)
        self.c, self.dtype = c, c.reduce.dtype
        k = c.reduce.binders
        self.k, self.lanes = k, target.lanes(self.dtype.bits)
        self.mr, self.nr = outer_tile(self.dtype, _static(c.m), _static(c.n), target)
        self.name = micro_kernel_name("outer", self.dtype, self.mr, self.nr)
        self.whole_k = c.definition.dtype is not self.dtype or isinstance(_static(k), int) and extents(k) <= WHOLE_K
        self.a = self._operand("a", c.a, {"batch": c.batch, "k": k, "m": c.m}, "m", self.mr)
        self.right = self._operand("b", c.b, {"batch": c.batch, "outer": c.outer, "k": k, "n": c.n}, "n", self.nr)
        self.block = self._block()
        self.epilogue = self._epilogue()
        one = self.b.constant(1)
        self.total = {name: self._total(axes, one) for name, axes in self._groups().items()}

    def _groups(self) -> dict[str, tuple[Binder, ...]]:
        c = self.c
        return {"batch": c.batch, "outer": c.outer, "m": c.m, "n": c.n, "k": self.k}

    def _total(self, axes: Sequence[Binder], one: SSA) -> SSA:
        for x in axes:
            one = self.b.mul(one, self.points.size(x.hi))
        return one

    # ---- parts

    def _points(self, kernel: Kernel) -> Points:
        for s in kernel.sizes():
            self._made_size(s)
        prefix = f"{kernel.outputs[0]}."
        memory = {prefix + name: ssa for name, ssa in self.memory.items()}
        numbers = {prefix + name: ssa for name, ssa in self.points.numbers.items()}
        return Points(self.b, kernel, memory, numbers, self.sizes, self.errors, self._reduce)

    def _part(self, kernel: Kernel, groups: Groups) -> Part:
        return Part.of(self.b, kernel, groups, self._points)

    def _operand(self, name: str, expr: Expr, groups: Groups, along: str, width: int) -> _Operand:
        binders = [x for axes in groups.values() for x in axes]
        kernel = part_kernel(self.kernel, name, expr, groups, binders)
        part = self._part(kernel, groups)
        access = Access(kernel, self.target, set())
        by_k = access.reading(part.definition.expr, part.groups["k"][-1]) * TURNING
        turned = by_k < access.reading(part.definition.expr, part.groups[along][-1])
        exact = width % self.lanes == 0 or width <= self.lanes
        return _Operand(self, part, along, width, turned and exact and self.lanes in (4, 8, 16))

    def _block(self) -> int:
        """Elements of K in a block: whole rows, as the operands walk them."""
        units = [self.a.unit(), self.right.unit()]
        unit = lcm(*units)
        return KC // unit * unit if unit <= KC else KC // units[1] * units[1] if units[1] <= KC else KC

    def aligned(self, unit: int) -> bool:
        """Whether every block of K begins with a row of `unit` elements, and ends with one."""
        return self.whole_k or self.block % unit == 0

    def _epilogue(self) -> Part:
        d, e = self.c.definition, self.c.reduce
        sums = Read("sum", tuple(Axis(x.name) for x in d.binders), e.dtype)
        expr = rewrite(d.expr, lambda x: sums if x is e else None)
        kernel = Kernel(self.kernel.name, (*self.kernel.params, sum_param(d, e)), self.kernel.body, self.kernel.outputs)
        groups = {k: v for k, v in self._groups().items() if k != "k"}
        return self._part(part_kernel(kernel, "y", expr, groups, d.binders), groups)

    # ---- the whole

    def module(self) -> Module:
        b, c = self.b, self.c
        self.panels = self._ceil("n", self.nr)
        self.rows = self._ceil("m", self.mr)
        self.blocks = b.mul(self.total["outer"], self.panels)
        count = extents(c.outer) * -(-extents(c.n) // self.nr)
        symbolic = any(isinstance(x.hi, Sym) for x in (*c.outer, *c.n))
        self.strands = STRANDS if symbolic else max(1, min(STRANDS, count))
        rows = call("floordiv", call("add", _product(c.m), ic(self.mr - 1)), ic(self.mr))
        self.slices = 0 if symbolic else self._slices(count)
        self.strands = self.slices or self.strands
        copies = max(1, self.slices)
        self.a_space = self._workspace("packed_a", call("mul", ic(copies), call("mul", rows, self.a.region())))
        self.b_space = self._workspace("packed_b", call("mul", ic(self.strands), self.right.region()))
        self.tiles = self._workspace("tiles", ic(self.strands * self.mr * self.nr))
        empty = Scope({}, {})
        if self.slices:
            self._sliced(count)
            return Module([self.function()], {self.name: micro_kernel_args(self.dtype)})
        b.for_(b.constant(0), self.total["batch"], b.constant(1), (), lambda t, _: self._batch(t, empty))
        return Module([self.function()], {self.name: micro_kernel_args(self.dtype)})

    def capacity(self) -> Expr:
        """Elements of K that a panel has room for: whole vectors."""
        if not self.whole_k:
            return ic(self.block)
        k, lanes = _product(self.k), self.lanes
        return call("mul", call("floordiv", call("add", k, ic(lanes - 1)), ic(lanes)), ic(lanes))

    def _ceil(self, group: str, by: int) -> SSA:
        b, n = self.b, self.total[group]
        known = b.known(n)
        if known is not None:
            return b.constant(-(-known // by))
        return b.binary("arith.divsi", b.add(n, b.constant(by - 1)), b.constant(by))

    def _workspace(self, hint: str, elements: Expr) -> SSA:
        element = memory_type(self.dtype)
        space = SSA(MemRef(element), hint)
        self.spaces.append(space)
        self.workspaces.append(Workspace(element, elements))
        return space

    def at(self, memory: SSA, index: SSA) -> SSA:
        return self.b.op("memref.subview_offset", (memory, index), (memory.type,)).result

    def value_of(self, e: Expr) -> SSA:
        return self.points.index(e, Scope({}, {}))

    # ---- few panels and a long K: each slice of K makes sums of its own, which are added in order

    def _slices(self, panels: int) -> int:
        """How many slices; 0: there are panels enough to share, or blocks of K too few."""
        static = all(isinstance(x.hi, int) for axes in self._groups().values() for x in axes)
        if self.whole_k or not static or self.c.batch or panels >= SLICES:
            return 0
        blocks = -(-extents(self.k) // self.block)
        return min(SLICES, blocks) if blocks >= 4 else 0

    def _sliced(self, panels: int) -> None:
        b = self.b
        tile_size, rows = self.mr * self.nr, -(-extents(self.c.m) // self.mr)
        sums = self._workspace("partial", ic(self.slices * panels * rows * tile_size))
        slices, blocks = b.constant(self.slices), b.constant(-(-extents(self.k) // self.block))
        each = b.constant(panels * rows * tile_size)

        def part(s: SSA, carried: list[SSA]) -> None:
            first = b.binary("arith.divsi", b.mul(s, blocks), slices)
            end = b.binary("arith.divsi", b.mul(b.add(s, b.constant(1)), blocks), slices)
            mine = self.at(sums, b.mul(s, each))
            b.for_(first, end, b.constant(1), (), lambda n, _: self._slice_block(s, n, first, mine, rows))

        cost = max(1, extents(self.k) // self.slices * extents(self.c.outer) * extents(self.c.n) * extents(self.c.m))
        b.for_(b.constant(0), slices, b.constant(1), (), part, parallel=True, cost=max(1, cost // MACS_A_COST))
        self.whole_k = True  # what follows has all of it
        b.for_(b.constant(0), b.constant(panels * rows), b.constant(1), (),
               lambda t, _: self._joined(sums, t, rows, each), parallel=True, cost=tile_size * self.slices)  # fmt: skip

    def _slice_block(self, s: SSA, block: SSA, first: SSA, sums: SSA, rows: int) -> None:
        """One block of K into the sums of its slice."""
        b, empty = self.b, Scope({}, {})
        pc = b.mul(block, b.constant(self.block))
        kc = b.min(b.sub(self.total["k"], pc), b.constant(self.block))
        region = self.value_of(self.a.region())
        left = self.at(self.a_space, b.mul(b.mul(s, b.constant(rows)), region))
        space = self.at(self.b_space, b.mul(s, self.value_of(self.right.region())))
        size = b.constant(self.mr * self.nr)
        tile = self.at(self.tiles, b.mul(s, size))
        b.for_(b.constant(0), b.constant(rows), b.constant(1), (),
               lambda r, _: self.a.pack(self.at(left, b.mul(r, region)), r, empty, pc, kc))  # fmt: skip

        def panel(at: SSA, carried: list[SSA]) -> None:
            outer, p = b.binary("arith.divsi", at, self.panels), b.binary("arith.remsi", at, self.panels)
            self.right.pack(space, p, self.right.part.at(empty, "outer", outer), pc, kc)
            b.for_(b.constant(0), b.constant(rows), b.constant(1), (), lambda r, _: row(at, r))

        def row(at: SSA, r: SSA) -> None:
            self._call(kc, self.at(left, b.mul(r, region)), space, tile)
            into = self.at(sums, b.mul(b.add(b.mul(at, b.constant(rows)), r), size))
            fresh = b.compare("arith.cmpi", "eq", block, first)

            def element(j: SSA, carried: list[SSA]) -> None:
                new = b.load(tile, j)
                b.store(b.select(fresh, new, b.binary("arith.addf", b.load(into, j), new)), into, j)

            b.for_(b.constant(0), size, b.constant(1), (), element, vector=True)

        b.for_(b.constant(0), self.blocks, b.constant(1), (), panel)

    def _joined(self, sums: SSA, t: SSA, rows: int, each: SSA) -> None:
        """A tile: the slices' sums in order, then the rest of the expression."""
        b = self.b
        size = b.constant(self.mr * self.nr)
        at, r = b.binary("arith.divsi", t, b.constant(rows)), b.binary("arith.remsi", t, b.constant(rows))
        outer, p = b.binary("arith.divsi", at, self.panels), b.binary("arith.remsi", at, self.panels)
        tile = self.at(sums, b.mul(t, size))

        def element(j: SSA, carried: list[SSA]) -> None:
            def add(s: SSA, totals: list[SSA]) -> list[SSA]:
                return [b.binary("arith.addf", totals[0], b.load(tile, b.add(b.mul(s, each), j)))]

            total = b.for_(b.constant(1), b.constant(self.slices), b.constant(1), [b.load(tile, j)], add)[0]
            b.store(total, tile, j)

        b.for_(b.constant(0), size, b.constant(1), (), element, vector=True)
        zero = b.constant(0)
        scope = self.epilogue.at(self.epilogue.at(Scope({}, {}), "batch", zero), "outer", outer)
        self._finish_tile(tile, r, p, scope, zero, self.total["k"])

    # ---- blocks of K

    def _batch(self, t: SSA, scope: Scope) -> None:
        b = self.b
        k = self.total["k"]

        def block(pc: SSA, carried: list[SSA]) -> None:
            kc = k if self.whole_k else b.min(b.sub(k, pc), b.constant(self.block))
            self._pack_a(t, scope, pc, kc)
            self._strands(t, scope, pc, kc)

        if self.whole_k:
            block(b.constant(0), [])
            return
        once = b.binary("arith.maxsi", k, b.constant(1))  # a sum of nothing is written too
        b.for_(b.constant(0), once, b.constant(self.block), (), block)

    def _pack_a(self, t: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        b = self.b
        region = self.value_of(self.a.region())
        scope = self.a.part.at(scope, "batch", t)

        def panel(p: SSA, carried: list[SSA]) -> None:
            self.a.pack(self.at(self.a_space, b.mul(p, region)), p, scope, pc, kc)

        cost = 2 * self.mr * self._k_extent()
        b.for_(b.constant(0), self.rows, b.constant(1), (), panel, parallel=True, cost=cost)

    def _k_extent(self) -> int:
        return extents(self.k) if self.whole_k else min(extents(self.k), self.block)

    def _strands(self, t: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        b, c, strands = self.b, self.c, self.b.constant(self.strands)
        region = self.value_of(self.right.region())

        def strand(s: SSA, carried: list[SSA]) -> None:
            space = self.at(self.b_space, b.mul(s, region))
            tile = self.at(self.tiles, b.mul(s, b.constant(self.mr * self.nr)))
            first = b.binary("arith.divsi", b.mul(s, self.blocks), strands)
            end = b.binary("arith.divsi", b.mul(b.add(s, b.constant(1)), self.blocks), strands)

            def panel(at: SSA, carried: list[SSA]) -> None:
                outer = b.binary("arith.divsi", at, self.panels)
                p = b.binary("arith.remsi", at, self.panels)
                inside = self.right.part.at(self.right.part.at(scope, "batch", t), "outer", outer)
                self.right.pack(space, p, inside, pc, kc)
                self._rows_of(space, tile, (t, outer, p), scope, pc, kc)

            b.for_(first, end, b.constant(1), (), panel)

        work = extents(c.outer) * extents(c.n) * self._k_extent() * (extents(c.m) + MACS_A_COST)
        cost = max(1, work // MACS_A_COST // self.strands)
        b.for_(b.constant(0), strands, b.constant(1), (), strand, parallel=True, cost=cost)

    def _rows_of(self, panel: SSA, tile: SSA, where: tuple[SSA, SSA, SSA], scope: Scope, pc: SSA, kc: SSA) -> None:
        """A panel of B with every panel of A."""
        b = self.b
        t, outer, p = where
        region = self.value_of(self.a.region())
        inside = self.epilogue.at(self.epilogue.at(scope, "batch", t), "outer", outer)

        def row(r: SSA, carried: list[SSA]) -> None:
            left = self.at(self.a_space, b.mul(r, region))
            self._call(kc, left, panel, tile)
            self._finish_tile(tile, r, p, inside, pc, kc)

        b.for_(b.constant(0), self.rows, b.constant(1), (), row)

    def _call(self, kc: SSA, left: SSA, panel: SSA, tile: SSA) -> None:
        b = self.b
        b.op("func.call", (kc, left, b.constant(self.mr), panel, b.constant(self.nr), tile), callee=self.name)

    # ---- the rest of the expression

    def _finish_tile(self, tile: SSA, r: SSA, p: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        b = self.b
        first_m, first_n = b.mul(r, b.constant(self.mr)), b.mul(p, b.constant(self.nr))
        end_n = self.end("n", first_n, self.nr)
        rows = b.sub(self.end("m", first_m, self.mr), first_m)

        def row(i: SSA, carried: list[SSA]) -> None:
            at_row = self.epilogue.at(scope, "m", b.add(first_m, i))
            from_row = b.mul(i, b.constant(self.nr))
            self.epilogue.runs(at_row, "n", first_n, end_n, lambda s, inner, lo, hi: run(from_row, s, inner, lo, hi))

        def run(from_row: SSA, inside: Scope, inner: Inner, lo: SSA, hi: SSA) -> None:
            def element(j: SSA, carried: list[SSA]) -> None:
                self._finish(inner(inside, j), b.load(tile, b.add(from_row, j)), pc, kc)

            b.for_(lo, hi, b.constant(1), (), element, vector=True)

        b.for_(b.constant(0), rows, b.constant(1), (), row)

    def end(self, group: str, first: SSA, width: int) -> SSA:
        b, total = self.b, self.total[group]
        known = b.known(total)
        end = b.add(first, b.constant(width))
        return end if known is not None and known % width == 0 else b.min(end, total)

    def _finish(self, scope: Scope, total: SSA, pc: SSA, kc: SSA) -> None:
        """Earlier blocks' sums wait in the output; the last block's go through the epilogue."""
        b, part = self.b, self.epilogue
        d = part.definition
        out = self.memory[self.c.definition.name]
        place = part.points.flat([scope.axes[x.name] for x in d.binders], d.shape)
        if self.whole_k:
            value = self._finished(scope, total)
            b.store(part.points.scalars.to_memory(value, d.dtype), out, place)
            return
        first = b.compare("arith.cmpi", "eq", pc, b.constant(0))
        sums = b.select(first, total, b.binary("arith.addf", b.load(out, place), total))
        if isinstance(self.c.definition.expr, Reduce):
            b.store(sums, out, place)
            return
        last = b.compare("arith.cmpi", "sge", b.add(pc, kc), self.total["k"])
        b.store(b.select(last, self._finished(scope, sums), sums), out, place)

    def _finished(self, scope: Scope, total: SSA) -> SSA:
        points = self.epilogue.points
        points.numbers["y.sum"] = total
        return points.value(self.epilogue.definition.expr, scope)


class _Operand:
    """An operand and how its panels are packed: into[k * width + lane].

    turned: what is read is consecutive along K, so `width` rows are copied, then transposed in registers.
    """

    def __init__(self, product: _IndexedProduct, part: Part, along: str, width: int, turned: bool) -> None:
        self.product, self.part, self.along, self.width, self.turned = product, part, along, width, turned
        self.b, self.lanes = product.b, product.lanes

    # ---- sizes

    def _panel(self) -> Expr:
        """Elements of a panel, with room for whole squares and for lanes past its width."""
        room = call("add", self.product.capacity(), ic(self.lanes))
        return call("add", call("mul", ic(self.width), room), ic(self.lanes))

    def region(self) -> Expr:
        """Elements of a panel, and of the space to turn it in."""
        return call("add", self._panel(), ic(self._rounded() * CHUNK)) if self.turned else self._panel()

    def _rounded(self) -> int:
        return -(-self.width // self.lanes) * self.lanes

    def unit(self) -> int:
        """Elements of K that are best kept in one block."""
        axes = self.part.groups["k"]
        if any(isinstance(x.hi, Sym) for x in axes[1:]):
            return 1
        return extents(axes[-1:] if self.turned else axes[1:]) if len(axes) > 1 else 1

    # ---- panels

    def pack(self, into: SSA, p: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        """Panel `p` of the block of K that begins at `pc`. What is beyond the edge does not matter."""
        b = self.b
        first = b.mul(p, b.constant(self.width))
        end = self.product.end(self.along, first, self.width)
        runs = self._runs()
        if self.turned:
            self._turned(into, first, end, scope, pc, kc)
        elif runs is not None:
            self._chosen(into, first, runs, scope, pc, kc)
        else:
            self._in_runs(into, first, end, scope, pc, kc)

    def _runs(self) -> int | None:
        """How many rows a panel may touch, where reading all of them at once is cheap."""
        ops = sum(
            isinstance(e, Call) and e.dtype is self.part.definition.dtype for e in walk(self.part.definition.expr)
        )
        unit = self.unit()
        if (
            ops > LIGHT
            or any(isinstance(x.hi, Sym) for x in self.part.groups["k"][1:])
            or not self.product.aligned(unit)
        ):
            return None
        length = self.part.row_length(self.along)
        if length is None:
            return 1
        count = (self.width - 2) // length + 2 if isinstance(length, int) else RUNS + 1
        return count if count <= RUNS else None

    def _chosen(self, into: SSA, first: SSA, count: int, scope: Scope, pc: SSA, kc: SSA) -> None:
        """Every lane takes its value from the row that it is in. K's first axis is walked innermost: the lanes that are
        outside of the tensor are the same for all of it."""
        b, part = self.b, self.part
        outermost, *inner = part.groups["k"]
        width, unit = b.constant(self.width), b.constant(self.unit())
        rows = part.rows(scope, self.along, first, count, self.width)
        last = part.groups[self.along][-1]
        begin, steps = b.binary("arith.divsi", pc, unit), b.binary("arith.divsi", kc, unit)

        def places(at_k: Scope, k: SSA) -> None:
            def lane(j: SSA, carried: list[SSA]) -> None:
                moved = [_moved(b, row, last.name, j) for row, _ in rows]
                in_row = [b.compare("arith.cmpi", "slt", j, start) for _, start in rows[1:]]

                def step(c: SSA, carried: list[SSA]) -> None:
                    axis = [(outermost, b.add(begin, c)), *((x, at_k.axes[x.name]) for x in inner)]
                    values = [self._value(row.inside(axis)) for row in moved]
                    value = values.pop()
                    for test in reversed(in_row):
                        value = b.select(test, values.pop(), value)
                    b.store(value, into, b.add(b.mul(b.add(b.mul(c, unit), k), width), j))

                b.for_(b.constant(0), steps, b.constant(1), (), step)

            b.for_(b.constant(0), width, b.constant(1), (), lane, vector=True)

        if inner:
            part.steps(scope, inner, b.constant(0), unit, places)
        else:
            places(scope, b.constant(0))

    def _in_runs(self, into: SSA, first: SSA, end: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        """Row by row of the tensor."""
        b, width = self.b, self.b.constant(self.width)

        def run(inside: Scope, inner: Inner, lo: SSA, hi: SSA) -> None:
            def step(at_k: Scope, k: SSA) -> None:
                row = b.mul(k, width)

                def element(j: SSA, carried: list[SSA]) -> None:
                    b.store(self._value(inner(at_k, j)), into, b.add(row, j))

                b.for_(lo, hi, b.constant(1), (), element, vector=True)

            self.part.steps(inside, self.part.groups["k"], pc, kc, step)

        self.part.runs(scope, self.along, first, end, run)

    def _value(self, scope: Scope) -> SSA:
        return self.part.points.value(self.part.definition.expr, scope)

    # ---- panels that are turned

    def _turned(self, into: SSA, first: SSA, end: SSA, scope: Scope, pc: SSA, kc: SSA) -> None:
        b = self.b
        length = self._whole_rows()
        chunk, count = b.constant(CHUNK if length is None else CHUNK // length * length), b.sub(end, first)
        rows = self.product.at(into, self.product.value_of(self._panel()))
        lanes = self.part.groups[self.along]

        def part(start: SSA, carried: list[SSA]) -> None:
            stop = b.min(b.add(start, chunk), kc)
            begin, until = b.add(pc, start), b.add(pc, stop)
            if length is None:
                self.part.steps(scope, lanes, first, count, lambda s, i: self._lane(rows, s, i, begin, until))
            else:
                self.part.steps(scope, lanes, first, count, lambda s, i: self._lane_rows(rows, s, i, begin, until))
            self._transposed(rows, into, start, b.sub(stop, start))

        b.for_(b.constant(0), kc, chunk, (), part)

    def _whole_rows(self) -> int | None:
        """The length of a row of K, where chunks can be made of whole rows."""
        length = self.part.row_length("k")
        return length if isinstance(length, int) and length <= CHUNK and self.product.aligned(length) else None

    def _lane(self, rows: SSA, scope: Scope, i: SSA, begin: SSA, until: SSA) -> None:
        b = self.b
        row = b.mul(i, b.constant(CHUNK))

        def run(inside: Scope, inner: Inner, lo: SSA, hi: SSA) -> None:
            def element(q: SSA, carried: list[SSA]) -> None:
                b.store(self._value(inner(inside, q)), rows, b.add(row, q))

            b.for_(lo, hi, b.constant(1), (), element, vector=True)

        self.part.runs(scope, "k", begin, until, run)

    def _lane_rows(self, rows: SSA, scope: Scope, i: SSA, begin: SSA, until: SSA) -> None:
        b, axes = self.b, self.part.groups["k"]
        length = self.part.points.size(axes[-1].hi)
        row = b.mul(i, b.constant(CHUNK))

        def step(inside: Scope, r: SSA) -> None:
            into = b.add(row, b.mul(r, length))

            def element(q: SSA, carried: list[SSA]) -> None:
                b.store(self._value(inside.inside([(axes[-1], q)])), rows, b.add(into, q))

            b.for_(b.constant(0), length, b.constant(1), (), element, vector=True)

        first = b.binary("arith.divsi", begin, length)
        self.part.steps(scope, axes[:-1], first, b.binary("arith.divsi", b.sub(until, begin), length), step)

    def _transposed(self, rows: SSA, into: SSA, start: SSA, count: SSA) -> None:
        """Square blocks; lanes past the width are overwritten by the next row."""
        b, lanes = self.b, self.lanes

        def block(q: SSA, carried: list[SSA]) -> None:
            for group in range(0, self._rounded(), lanes):
                square = [b.load(rows, b.add(b.constant((group + i) * CHUNK), q), lanes) for i in range(lanes)]
                for i, column in enumerate(transpose(b, square)):
                    row = b.mul(b.add(b.add(start, q), b.constant(i)), b.constant(self.width))
                    b.store(column, into, b.add(row, b.constant(group)))

        b.for_(b.constant(0), count, b.constant(lanes), (), block)


def _moved(b: Levels, scope: Scope, axis: str, by: SSA) -> Scope:
    return Scope({**scope.axes, axis: b.add(scope.axes[axis], by)}, scope.ranges)


def _static(axes: Sequence[Binder]) -> Size:
    """The extent of a group, or one of its run-time sizes."""
    found = 1
    for x in axes:
        if isinstance(x.hi, Sym):
            return x.hi
        found *= x.hi
    return found


def _product(axes: Sequence[Binder]) -> Expr:
    size: Expr = ic(1)
    for x in axes:
        size = call("mul", size, of_size(x.hi))
    return size

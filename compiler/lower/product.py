"""Contractions as register-tiled matrix products, with the rest of the expression on the tile.

The scheme is Goto's and van de Geijn's (ACM TOMS 34, 2008): a micro-kernel keeps a tile of sums in registers and reads
panels of the operands, which are copied there first where the copy is paid back. The tile goes through the kernel's
other operations (bias, activation, residual) on its way to the output. Blocks depend on shapes only and K is summed in
order, so results are the same for any number of threads.
"""

from __future__ import annotations

from math import prod

from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Binder, Expr, Kernel, Reduce, call, of_size
from tdsl.compiler.kernel import index_const as ic
from tdsl.compiler.loops import SSA, MemRef, Module, Workspace
from tdsl.compiler.lower.access import extent
from tdsl.compiler.lower.contraction import KC, Contraction, Operand, choose
from tdsl.compiler.lower.microkernel import micro_kernel_args, micro_kernel_name
from tdsl.compiler.lower.nest import Nest
from tdsl.compiler.lower.packing import Side, ceil_of
from tdsl.compiler.lower.points import Scope
from tdsl.compiler.lower.scalars import memory_type
from tdsl.compiler.target import Target

BLOCK_ROWS = 24  # tiles of A in one block: it stays in the second-level cache
BLOCK_COLUMNS = 64
BLOCKS = 16  # to share out
MACS_A_COST = 32  # multiply-adds that cost as much as one scalar op elsewhere
PACKING_BYTES = 64 << 20  # of all matrices of a batch that are packed side by side


def lower_contraction(kernel: Kernel, contraction: Contraction, target: Target) -> Module:
    return _Product(kernel, contraction, target).module()


class _Product(Nest):
    """The loops around the micro-kernel. Points, memory and sizes are `Nest`'s."""

    def __init__(self, kernel: Kernel, c: Contraction, target: Target) -> None:
        super().__init__(kernel, target)
        self.c = c
        self.dtype = c.reduce.dtype
        self.form = choose(c, self.points.shapes, target)
        self.mr, self.nr = self.form.mr, self.form.nr
        self.name = micro_kernel_name("dot" if self.form.dot else "outer", self.dtype, self.mr, self.nr)
        self.zero = self.points.scalars.const(0, self.dtype)

    def module(self) -> Module:
        c, b = self.c, self.b
        self.side_by_side = self._side_by_side()
        k = self._packed_k()
        self.a_space = self._workspace("packed_a", Side.elements(c.m, self.mr, self.form.pack_a, k))
        self.b_space = self._workspace("packed_b", Side.elements(c.n, self.nr, self.form.pack_b, k))
        tiles = self._workspace("tiles", call("mul", self._block_count(), ic(self.mr * self.nr)))
        assert tiles is not None
        self.tiles = tiles
        self.a_strides, self.b_strides = self._strides(c.a), self._strides(c.b)
        self._over_batch(0, [], Scope({}, {}), b.constant(0))
        return Module([self.function()], {self.name: micro_kernel_args(self.dtype)})

    # ---- sizes

    def value_of(self, n: Size) -> SSA:
        return self.points.size(n)

    def _ceil(self, n: Size, by: int) -> SSA:
        if isinstance(n, int):
            return self.b.constant(-(-n // by))
        return self.b.binary("arith.divsi", self.b.add(self.value_of(n), self.b.constant(by - 1)), self.b.constant(by))

    def _strides(self, o: Operand) -> dict[str, SSA]:
        b, shape = self.b, self.points.shapes[o.read.tensor]
        step = b.constant(1)
        strides: dict[str, SSA] = {}
        for axis, n in zip(reversed(o.axes), reversed(shape), strict=True):
            if axis is not None:
                strides[axis] = step
            step = b.mul(step, self.value_of(n))
        return strides

    def _packed_k(self) -> Expr:
        """Elements of K that lie in a panel."""
        k = self.c.k.hi
        if self.form.whole_k:
            return of_size(k)
        return ic(min(k, KC)) if isinstance(k, int) else ic(KC)

    def _workspace(self, hint: str, elements: Expr | None) -> tuple[SSA, Expr] | None:
        if elements is None:
            return None
        element = memory_type(self.dtype)
        space = SSA(MemRef(element), hint)
        self.spaces.append(space)
        copies = prod(extent(x) for x in self.c.batch) if self.side_by_side else 1
        self.workspaces.append(Workspace(element, call("mul", elements, ic(copies))))
        return space, elements

    def _side_by_side(self) -> bool:
        """Whether whole matrices of a batch are shared out, each with packing space of its own."""
        c = self.c
        count = prod(extent(x) for x in c.batch)
        each = extent(c.k) * (extent(c.m) + extent(c.n) + 64) * self.dtype.itemsize
        return count > 1 and all(isinstance(x.hi, int) for x in c.batch) and each * count <= PACKING_BYTES

    def _own(self, space: tuple[SSA, Expr] | None, copy: SSA) -> SSA | None:
        """This matrix's part of a workspace."""
        if space is None:
            return None
        memory, elements = space
        if self.b.known(copy) == 0:
            return memory
        at = self.b.mul(copy, self.points.value(elements, Scope({}, {})))
        return self.b.op("memref.subview_offset", (memory, at), (memory.type,)).result

    # ---- matrices

    def _over_batch(self, j: int, ivs: list[SSA], scope: Scope, number: SSA) -> None:
        c, b = self.c, self.b
        if j == len(c.batch):
            self._matrix(ivs, scope, number if self.side_by_side else b.constant(0))
            return
        binder = c.batch[j]
        attrs: dict[str, object] = {}
        if j == 0 and self.side_by_side:
            rest = prod(extent(x) for x in c.batch[1:])
            attrs = {"parallel": True, "cost": max(1, rest * extent(c.m) * extent(c.n) * extent(c.k) // MACS_A_COST)}

        def body(iv: SSA, carried: list[SSA]) -> None:
            at = b.add(b.mul(number, self.value_of(binder.hi)), iv)
            self._over_batch(j + 1, [*ivs, iv], scope.inside([(binder, iv)]), at)

        b.for_(b.constant(0), self.value_of(binder.hi), b.constant(1), (), body, **attrs)

    def _side(self, o: Operand, strides: dict[str, SSA], along: Binder, ivs: list[SSA], space: SSA | None) -> Side:
        b, form = self.b, self.form
        offset = b.constant(0)
        for binder, iv in zip(self.c.batch, ivs, strict=True):
            if binder.name in strides:
                offset = b.add(offset, b.mul(iv, strides[binder.name]))
        packed, width = (form.pack_a, self.mr) if o is self.c.a else (form.pack_b, self.nr)
        memory = self.memory[o.read.tensor]
        step, step_k = strides[along.name], strides[self.c.k.name]
        return Side(b, self.points, along, width, memory, offset, step, step_k, space, packed, form.dot, self.zero)

    def _matrix(self, ivs: list[SSA], scope: Scope, copy: SSA) -> None:
        """One product of matrices: for each block of K, pack, then multiply block by block."""
        c, b = self.c, self.b
        left = self._side(c.a, self.a_strides, c.m, ivs, self._own(self.a_space, copy))
        right = self._side(c.b, self.b_strides, c.n, ivs, self._own(self.b_space, copy))
        tiles = self._own(self.tiles, copy)
        assert tiles is not None
        size = self.value_of(c.k.hi)

        def block(pc: SSA, carried: list[SSA]) -> None:
            kc = size if self.form.whole_k else b.min(b.sub(size, pc), b.constant(KC))
            for side in (left, right):
                side.pack(pc, kc, extent(c.k) if self.form.whole_k else KC, shared=not self.side_by_side)
            self._multiply((left, right), tiles, scope, ivs, pc, kc)

        if self.form.whole_k:
            block(b.constant(0), [])
            return
        once = b.binary("arith.maxsi", size, b.constant(1))  # a sum of nothing is written too
        b.for_(b.constant(0), once, b.constant(KC), (), block)

    # ---- blocks of tiles

    def _block(self) -> tuple[int, int]:
        """Tiles of rows and panels of columns in a block: some sixteen blocks at least, where there are tiles.

        Few rows stay together, so that each panel of B is read from far away once.
        """
        rows, columns = -(-extent(self.c.m) // self.mr), -(-extent(self.c.n) // self.nr)
        if rows <= BLOCK_ROWS and columns >= BLOCKS:
            return rows, min(columns // BLOCKS, BLOCK_COLUMNS)
        per_row = min(BLOCK_ROWS, max(1, -(-rows // 4)) if rows >= 8 else rows)
        row_blocks = -(-rows // per_row)
        return per_row, max(1, min(columns // -(-BLOCKS // row_blocks), BLOCK_COLUMNS))

    def _block_count(self) -> Expr:
        rows, columns = self._block()
        return call("mul", ceil_of(self.c.m.hi, self.mr * rows), ceil_of(self.c.n.hi, self.nr * columns))

    def _multiply(self, sides: tuple[Side, Side], tiles: SSA, scope: Scope, ivs: list[SSA], pc: SSA, kc: SSA) -> None:
        c, b = self.c, self.b
        rows, columns = self._block()
        row_tiles, panels = sides[0].panels(), sides[1].panels()
        column_blocks = self._ceil(c.n.hi, self.nr * columns)

        def block(t: SSA, carried: list[SSA]) -> None:
            rb = b.binary("arith.divsi", t, column_blocks)
            cb = b.sub(t, b.mul(rb, column_blocks))
            tile = b.op("memref.subview_offset", (tiles, b.mul(t, b.constant(self.mr * self.nr))), (tiles.type,)).result
            first_row, first_panel = b.mul(rb, b.constant(rows)), b.mul(cb, b.constant(columns))
            end_row = b.min(b.add(first_row, b.constant(rows)), row_tiles)
            end_panel = b.min(b.add(first_panel, b.constant(columns)), panels)

            def panel(jp: SSA, carried: list[SSA]) -> None:
                right = sides[1].panel(jp, pc, kc)

                def row(ip: SSA, carried: list[SSA]) -> None:
                    b.op("func.call", (kc, *sides[0].panel(ip, pc, kc), *right, tile), callee=self.name)
                    self._finish_tile(tile, ip, jp, scope, ivs, pc, kc)

                b.for_(first_row, end_row, b.constant(1), (), row)

            b.for_(first_panel, end_panel, b.constant(1), (), panel)

        count = b.mul(self._ceil(c.m.hi, self.mr * rows), column_blocks)
        k = extent(c.k) if self.form.whole_k else min(extent(c.k), KC)
        cost = rows * columns * self.mr * self.nr * k // MACS_A_COST
        attrs: dict[str, object] = {} if self.side_by_side else {"parallel": True, "cost": max(1, cost)}
        b.for_(b.constant(0), count, b.constant(1), (), block, **attrs)

    # ---- the rest of the expression

    def _finish_tile(self, tile: SSA, ip: SSA, jp: SSA, scope: Scope, ivs: list[SSA], pc: SSA, kc: SSA) -> None:
        c, b = self.c, self.b
        first_m, first_n = b.mul(ip, b.constant(self.mr)), b.mul(jp, b.constant(self.nr))

        def row(i: SSA, carried: list[SSA]) -> None:
            m = b.add(first_m, i)
            outer = scope.inside([(c.m, m)])

            def element(j: SSA, carried: list[SSA]) -> None:
                n = b.add(first_n, j)
                total = b.load(tile, b.add(b.mul(i, b.constant(self.nr)), j))
                self._finish(outer.inside([(c.n, n)]), total, [*ivs, m, n], pc, kc)

            b.for_(b.constant(0), self._left(c.n.hi, first_n, self.nr), b.constant(1), (), element, vector=True)

        b.for_(b.constant(0), self._left(c.m.hi, first_m, self.mr), b.constant(1), (), row)

    def _left(self, size: Size, first: SSA, width: int) -> SSA:
        if isinstance(size, int) and size % width == 0:
            return self.b.constant(width)
        return self.b.min(self.b.sub(self.value_of(size), first), self.b.constant(width))

    def _finish(self, scope: Scope, total: SSA, at: list[SSA], pc: SSA, kc: SSA) -> None:
        """Earlier blocks' sums wait in the output; the last block's go through the epilogue."""
        c, b = self.c, self.b
        by_axis = dict(zip((x.name for x in (*c.batch, c.m, c.n)), at, strict=True))
        out = self.memory[c.definition.name]
        place = self.points.flat([by_axis[x.name] for x in c.definition.binders], c.definition.shape)
        if self.form.whole_k:
            value = self._epilogue(scope, total)
            b.store(self.points.scalars.to_memory(value, c.definition.dtype), out, place)
            return
        first = b.compare("arith.cmpi", "eq", pc, b.constant(0))
        sums = b.select(first, total, b.binary("arith.addf", b.load(out, place), total))
        if isinstance(c.definition.expr, Reduce):
            b.store(sums, out, place)
            return
        last = b.compare("arith.cmpi", "sge", b.add(pc, kc), self.value_of(c.k.hi))
        b.store(b.select(last, self._epilogue(scope, sums), sums), out, place)

    def _epilogue(self, scope: Scope, total: SSA) -> SSA:
        self.points.give(self.c.reduce, scope, total)
        return self.points.value(self.c.definition.expr, scope)

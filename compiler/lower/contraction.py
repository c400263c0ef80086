"""Sums of products as packed, register-tiled matrix products, with the rest of the expression on the tile.

The scheme is Goto's and van de Geijn's (ACM TOMS 34, 2008): a block of K is packed into panels, A's of `mr` rows and
B's of `nr` columns, and a micro-kernel keeps an mr x nr tile of sums in registers. Packing reads through any strides.
The tile goes through the kernel's other operations (bias, activation, residual) on its way to the output. Blocks
depend on shapes only and K is summed in order, so results are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Axis, Binder, Call, Const, Definition, Expr, Kernel, Read, Reduce, call, of_size, walk
from tdsl.compiler.kernel import index_const as ic
from tdsl.compiler.loops import SSA, MemRef, Module, Workspace
from tdsl.compiler.lower.microkernel import micro_kernel, micro_kernel_args, micro_kernel_name, tile
from tdsl.compiler.lower.nest import Nest, extent
from tdsl.compiler.lower.points import Scope
from tdsl.compiler.lower.scalars import memory_type
from tdsl.compiler.target import Target

KC = 512  # elements of K packed at a time: a panel of B stays in the first-level cache
BLOCK_ROWS = 24  # tiles of A in one block: it stays in the second-level cache
MACS_A_COST = 32  # multiply-adds that cost as much as one scalar op elsewhere


@dataclass(frozen=True, slots=True)
class Operand:
    """A factor of the product: a read, and the axis at each of its dimensions (None: position 0)."""

    read: Read
    axes: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Contraction:
    """out[batch, m, n] := epilogue(sum[k] a[batch, m, k] * b[batch, k, n]); n is the output's last axis."""

    definition: Definition
    reduce: Reduce
    a: Operand
    b: Operand
    batch: tuple[Binder, ...]
    m: Binder
    n: Binder
    k: Binder


def match(kernel: Kernel) -> Contraction | None:
    """The kernel as a contraction worth tiling; None: the general nest takes it."""
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Definition):
        return None
    d = kernel.body[0]
    reduces = [e for e in walk(d.expr) if isinstance(e, Reduce)]
    if len(reduces) != 1 or not d.dtype.is_float or d.binders == ():
        return None
    (e,) = reduces
    body = e.body
    if e.op != "sum" or e.guard is not None or len(e.binders) != 1 or not e.dtype.is_float:
        return None
    if not (isinstance(body, Call) and body.fn == "mul" and all(isinstance(x, Read) for x in body.args)):
        return None
    operands = [_operand(x) for x in body.args if isinstance(x, Read)]
    if any(o is None for o in operands):
        return None
    return _classified(d, e, [o for o in operands if o is not None])


def _operand(read: Read) -> Operand | None:
    if read.fill is not None or read.checked or not read.index:
        return None
    axes: list[str | None] = []
    for ix in read.index:
        if isinstance(ix, Axis) and ix.name not in axes:
            axes.append(ix.name)
        elif isinstance(ix, Const) and ix.value == 0:
            axes.append(None)
        else:
            return None
    return Operand(read, tuple(axes))


def _classified(d: Definition, e: Reduce, operands: list[Operand]) -> Contraction | None:
    k, last = e.binders[0], d.binders[-1]
    first, second = operands
    if k.name not in first.axes or k.name not in second.axes:
        return None
    if last.name in first.axes and last.name in second.axes:
        return None
    if last.name in first.axes:
        first, second = second, first
    if last.name not in second.axes:
        return None
    groups: dict[str, list[Binder]] = {"m": [], "batch": []}
    for b in d.binders[:-1]:
        in_a, in_b = b.name in first.axes, b.name in second.axes
        if in_b:
            groups["batch"].append(b)
        elif in_a:
            groups["m"].append(b)
        else:
            return None
    if len(groups["m"]) != 1 or k.lo != 0:
        return None
    (m,) = groups["m"]
    if extent(m) < 4 or extent(last) < 8 or extent(k) < 8:
        return None
    if d.dtype is not e.dtype and not _in_one_block(k):  # sums of earlier blocks wait in the output
        return None
    return Contraction(d, e, first, second, tuple(groups["batch"]), m, last, k)


def _in_one_block(k: Binder) -> bool:
    return isinstance(k.hi, int) and k.hi <= KC


def lower_contraction(kernel: Kernel, contraction: Contraction, target: Target) -> Module:
    return _Engine(kernel, contraction, target).module()


class _Engine(Nest):
    """The loops around the micro-kernel. Everything is a product of `Nest`'s: points, memory, sizes."""

    def __init__(self, kernel: Kernel, c: Contraction, target: Target) -> None:
        super().__init__(kernel, target)
        self.c = c
        self.dtype = c.reduce.dtype
        self.mr, self.nr = self._tile()
        self.whole_k = _in_one_block(c.k)

    def _tile(self) -> tuple[int, int]:
        """Rows as even as they come, columns as wide as there are."""
        mr, nr, lanes = tile(self.dtype, self.target)
        m, n = self.c.m.hi, self.c.n.hi
        if isinstance(n, int) and n <= lanes:
            nr = lanes
        if isinstance(m, int):
            mr = -(-m // -(-m // mr))
        return mr, nr

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

    def _panels(self, n: Size, by: int) -> Expr:
        """Elements of the panels of one operand, for one block of K, as a workspace size."""
        k = ic(min(self.c.k.hi, KC)) if isinstance(self.c.k.hi, int) else ic(KC)
        rounded = (
            ic(-(-n // by) * by)
            if isinstance(n, int)
            else call("mul", call("floordiv", call("add", of_size(n), ic(by - 1)), ic(by)), ic(by))
        )
        return call("mul", rounded, k)

    # ---- the loops

    def module(self) -> Module:
        c, b = self.c, self.b
        element = memory_type(self.dtype)
        copies = self._copies()
        packed = [SSA(MemRef(element), hint) for hint in ("packed_a", "packed_b", "tiles")]
        sizes = [self._panels(c.m.hi, self.mr), self._panels(c.n.hi, self.nr)]
        blocks = self._block_count_expr()
        sizes.append(call("mul", blocks, ic(self.mr * self.nr)))
        for space, size in zip(packed, sizes, strict=True):
            self.spaces.append(space)
            self.workspaces.append(Workspace(element, call("mul", size, copies)))
        self.packed = packed
        self.a_strides, self.b_strides = self._strides(c.a), self._strides(c.b)
        self.block_rows, self.block_columns = self._blocks()
        batch = prod(extent(x) for x in c.batch)
        self._over_batch(0, [], Scope({}, {}), b.constant(0), parallel=batch > 1 and self._parallel_batch())
        name = micro_kernel_name(self.dtype, self.mr, self.nr)
        return Module([self.function()], {name: micro_kernel_args(self.dtype)})

    def _parallel_batch(self) -> bool:
        """Whether whole matrices are shared out, each with packing space of its own."""
        c = self.c
        known = all(isinstance(x.hi, int) for x in c.batch)
        each = extent(c.k) * (extent(c.m) + extent(c.n) + 64) * 8
        return known and each * prod(extent(x) for x in c.batch) <= 64 << 20

    def _copies(self) -> Expr:
        return ic(prod(extent(x) for x in self.c.batch) if self._parallel_batch() else 1)

    def _over_batch(self, j: int, ivs: list[SSA], scope: Scope, number: SSA, parallel: bool) -> None:
        c, b = self.c, self.b
        if j == len(c.batch):
            self._matrix(ivs, scope, number if parallel else b.constant(0), alone=not parallel)
            return
        binder = c.batch[j]
        attrs: dict[str, object] = {}
        if j == 0 and parallel:
            rest = prod(extent(x) for x in c.batch[1:])
            attrs = {"parallel": True, "cost": max(1, rest * extent(c.m) * extent(c.n) * extent(c.k) // MACS_A_COST)}

        def body(iv: SSA, carried: list[SSA]) -> None:
            at = b.add(b.mul(number, self.value_of(binder.hi)), iv)
            self._over_batch(j + 1, [*ivs, iv], scope.inside([(binder, iv)]), at, parallel)

        b.for_(b.constant(0), self.value_of(binder.hi), b.constant(1), (), body, **attrs)

    def _matrix(self, ivs: list[SSA], scope: Scope, copy: SSA, alone: bool) -> None:
        """One product of matrices: for each block of K, pack, then multiply block by block."""
        c, b = self.c, self.b
        offset_a = self._offset(self.a_strides, ivs)
        offset_b = self._offset(self.b_strides, ivs)
        spaces = [self._own(space, size, copy) for space, size in zip(self.packed, self._space_sizes(), strict=True)]

        def block(pc: SSA, carried: list[SSA]) -> None:
            kc = b.min(b.sub(self.value_of(c.k.hi), pc), b.constant(KC))
            if self.whole_k:
                kc = self.value_of(c.k.hi)
            self._pack(spaces[0], c.a, self.a_strides, c.m, self.mr, offset_a, pc, kc, alone)
            self._pack(spaces[1], c.b, self.b_strides, c.n, self.nr, offset_b, pc, kc, alone)
            self._multiply(spaces, scope, ivs, pc, kc, alone)

        if self.whole_k:
            block(b.constant(0), [])
            return
        once = b.binary("arith.maxsi", self.value_of(c.k.hi), b.constant(1))  # a sum of nothing is written too
        b.for_(b.constant(0), once, b.constant(KC), (), block)

    def _space_sizes(self) -> list[SSA]:
        c, b = self.c, self.b
        k = b.constant(min(c.k.hi, KC) if isinstance(c.k.hi, int) else KC)
        a = b.mul(b.mul(self._ceil(c.m.hi, self.mr), b.constant(self.mr)), k)
        bb = b.mul(b.mul(self._ceil(c.n.hi, self.nr), b.constant(self.nr)), k)
        tiles = b.mul(b.mul(self._row_blocks(), self._column_blocks()), b.constant(self.mr * self.nr))
        return [a, bb, tiles]

    def _own(self, space: SSA, size: SSA, copy: SSA) -> SSA:
        b = self.b
        if b.known(copy) == 0:
            return space
        return b.op("memref.subview_offset", (space, b.mul(copy, size)), (space.type,)).result

    def _offset(self, strides: dict[str, SSA], ivs: list[SSA]) -> SSA:
        b, result = self.b, self.b.constant(0)
        for binder, iv in zip(self.c.batch, ivs, strict=True):
            if binder.name in strides:
                result = b.add(result, b.mul(iv, strides[binder.name]))
        return result

    # ---- packing

    def _pack(
        self, space: SSA, o: Operand, strides: dict[str, SSA], along: Binder, width: int, offset: SSA, pc: SSA, kc: SSA,
        alone: bool,
    ) -> None:  # fmt: skip
        """Panels of `width` positions along an axis, k by k; what is beyond the edge is 0."""
        b, source = self.b, self.memory[o.read.tensor]
        size, step, step_k = self.value_of(along.hi), strides[along.name], strides[self.c.k.name]
        zero = self.points.scalars.const(0, self.dtype)
        whole = isinstance(along.hi, int) and along.hi % width == 0
        across = b.known(step) != 1

        def panel(p: SSA, carried: list[SSA]) -> None:
            first = b.mul(p, b.constant(width))
            start = b.add(offset, b.add(b.mul(first, step), b.mul(pc, step_k)))
            left = b.sub(size, first)
            target = b.mul(b.mul(p, b.constant(width)), kc)

            def row(k: SSA, carried: list[SSA]) -> None:
                base = b.add(start, b.mul(k, step_k))
                into = b.add(target, b.mul(k, b.constant(width)))

                def element(i: SSA, carried: list[SSA]) -> None:
                    at = b.add(base, b.mul(i, step))
                    if whole:
                        value = b.load(source, at)
                    else:
                        inside = b.compare("arith.cmpi", "slt", i, left)
                        value = b.if_(inside, lambda: [b.load(source, at)], lambda: [zero])[0]
                    b.store(value, space, b.add(into, i))

                if whole and across:
                    for i in range(width):  # a gather is slower than as many loads
                        element(b.constant(i), [])
                    return
                b.for_(b.constant(0), b.constant(width), b.constant(1), (), element, vector=True)

            b.for_(b.constant(0), kc, b.constant(1), (), row)

        cost = width * min(extent(self.c.k), KC)
        attrs: dict[str, object] = {"parallel": True, "cost": cost} if alone else {}
        b.for_(b.constant(0), self._ceil(along.hi, width), b.constant(1), (), panel, **attrs)

    # ---- blocks of tiles

    def _blocks(self) -> tuple[int, int]:
        """Tiles of rows and panels of columns in a block: at least about eight blocks, where there are tiles."""
        rows, columns = -(-extent(self.c.m) // self.mr), -(-extent(self.c.n) // self.nr)
        per_row = min(BLOCK_ROWS, max(1, -(-rows // 4)) if rows >= 8 else rows)
        row_blocks = -(-rows // per_row)
        per_column = max(1, columns // max(1, -(-8 // row_blocks)))
        return per_row, min(per_column, 64)

    def _row_blocks(self) -> SSA:
        return self._ceil(self.c.m.hi, self.mr * self._blocks()[0])

    def _column_blocks(self) -> SSA:
        return self._ceil(self.c.n.hi, self.nr * self._blocks()[1])

    def _block_count_expr(self) -> Expr:
        rows, columns = self._blocks()

        def blocks(n: Size, by: int) -> Expr:
            if isinstance(n, int):
                return ic(-(-n // by))
            return call("floordiv", call("add", of_size(n), ic(by - 1)), ic(by))

        return call("mul", blocks(self.c.m.hi, self.mr * rows), blocks(self.c.n.hi, self.nr * columns))

    def _multiply(self, spaces: Sequence[SSA], scope: Scope, ivs: list[SSA], pc: SSA, kc: SSA, alone: bool) -> None:
        c, b = self.c, self.b
        rows, columns = self.block_rows, self.block_columns
        row_tiles, panels = self._ceil(c.m.hi, self.mr), self._ceil(c.n.hi, self.nr)
        column_blocks = self._column_blocks()

        def block(t: SSA, carried: list[SSA]) -> None:
            rb = b.binary("arith.divsi", t, column_blocks)
            cb = b.sub(t, b.mul(rb, column_blocks))
            tile_at = b.op(
                "memref.subview_offset", (spaces[2], b.mul(t, b.constant(self.mr * self.nr))), (spaces[2].type,)
            ).result
            first_row, first_panel = b.mul(rb, b.constant(rows)), b.mul(cb, b.constant(columns))
            end_row = b.min(b.add(first_row, b.constant(rows)), row_tiles)
            end_panel = b.min(b.add(first_panel, b.constant(columns)), panels)

            def panel(jp: SSA, carried: list[SSA]) -> None:
                def row(ip: SSA, carried: list[SSA]) -> None:
                    self._one_tile(spaces, tile_at, ip, jp, scope, ivs, pc, kc)

                b.for_(first_row, end_row, b.constant(1), (), row)

            b.for_(first_panel, end_panel, b.constant(1), (), panel)

        count = b.mul(self._row_blocks(), column_blocks)
        cost = rows * columns * self.mr * self.nr * min(extent(c.k), KC) // MACS_A_COST
        attrs: dict[str, object] = {"parallel": True, "cost": max(1, cost)} if alone else {}
        b.for_(b.constant(0), count, b.constant(1), (), block, **attrs)

    def _one_tile(
        self, spaces: Sequence[SSA], sums: SSA, ip: SSA, jp: SSA, scope: Scope, ivs: list[SSA], pc: SSA, kc: SSA
    ) -> None:
        """The sums of one tile, then the rest of the expression on it."""
        c, b = self.c, self.b
        first_m, first_n = b.mul(ip, b.constant(self.mr)), b.mul(jp, b.constant(self.nr))
        panel_a = b.op("memref.subview_offset", (spaces[0], b.mul(first_m, kc)), (spaces[0].type,)).result
        panel_b = b.op("memref.subview_offset", (spaces[1], b.mul(first_n, kc)), (spaces[1].type,)).result
        name = micro_kernel_name(self.dtype, self.mr, self.nr)
        b.op("func.call", (kc, panel_a, panel_b, sums), callee=name)
        rows = self._left(c.m.hi, first_m, self.mr)
        columns = self._left(c.n.hi, first_n, self.nr)

        def row(i: SSA, carried: list[SSA]) -> None:
            m = b.add(first_m, i)
            outer = scope.inside([(c.m, m)])

            def element(j: SSA, carried: list[SSA]) -> None:
                n = b.add(first_n, j)
                inner = outer.inside([(c.n, n)])
                total = b.load(sums, b.add(b.mul(i, b.constant(self.nr)), j))
                self._finish(inner, total, [*ivs], m, n, pc, kc)

            b.for_(b.constant(0), columns, b.constant(1), (), element, vector=True)

        b.for_(b.constant(0), rows, b.constant(1), (), row)

    def _left(self, size: Size, first: SSA, width: int) -> SSA:
        if isinstance(size, int) and size % width == 0:
            return self.b.constant(width)
        return self.b.min(self.b.sub(self.value_of(size), first), self.b.constant(width))

    def _finish(self, scope: Scope, total: SSA, ivs: list[SSA], m: SSA, n: SSA, pc: SSA, kc: SSA) -> None:
        """Earlier blocks' sums wait in the output; the last block's go through the epilogue."""
        c, b, points = self.c, self.b, self.points
        at_axis = dict(zip((x.name for x in (*c.batch, c.m, c.n)), (*ivs, m, n), strict=True))
        out = self.memory[c.definition.name]
        at = points.flat([at_axis[x.name] for x in c.definition.binders], c.definition.shape)
        if self.whole_k:
            b.store(self._epilogue(scope, total), out, at)
            return
        first = b.compare("arith.cmpi", "eq", pc, b.constant(0))
        sums = b.select(first, total, b.binary("arith.addf", b.load(out, at), total))
        if isinstance(c.definition.expr, Reduce):
            b.store(sums, out, at)
            return
        last = b.compare("arith.cmpi", "sge", b.add(pc, kc), self.value_of(c.k.hi))
        b.store(b.select(last, self._epilogue(scope, sums), sums), out, at)

    def _epilogue(self, scope: Scope, total: SSA) -> SSA:
        self.points.give(self.c.reduce, scope, total)
        return self.points.value(self.c.definition.expr, scope)


__all__ = ["Contraction", "lower_contraction", "match", "micro_kernel"]

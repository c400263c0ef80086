"""A kernel as a loop nest: outputs over the same points in one nest, reductions inside, scatters after.

Which loop the vectors run along, and how a long reduction is split, depends on shapes only, so results are the same
for any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from tdsl.compiler.affine import affine
from tdsl.compiler.dtype import bool_
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    Scatter,
    children,
    free_axes,
    index_const,
    walk,
)
from tdsl.compiler.loops import F64, I64, INDEX, SSA, Block, Func, MemRef, Module, Workspace
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.points import Points, Scope, number_argument
from tdsl.compiler.lower.reductions import Reducer
from tdsl.compiler.lower.scalars import Scalars, memory_type
from tdsl.compiler.target import Target

GUESS = 64  # what a run-time size is taken for when costs are weighed
SPLIT = 1 << 16  # a reduction longer than this, with few results, is split into blocks
BLOCK = 1 << 14


def lower_nest(kernel: Kernel, target: Target) -> Module:
    """Scalar loops for any kernel; loops that may be widened or shared out are marked."""
    return Nest(kernel, target).module()


def guess(n: Size) -> int:
    return GUESS if isinstance(n, Sym) else n


def extent(b: Binder) -> int:
    return max(0, guess(b.hi) - guess(b.lo))


class Nest:
    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target = kernel, target
        self.entry = Block()
        self.b = Builder(self.entry)
        self.spaces: list[SSA] = []
        self.workspaces: list[Workspace] = []
        self._declare()

    def _declare(self) -> None:
        kernel, b = self.kernel, self.b
        memory = {p.name: SSA(MemRef(memory_type(p.dtype)), p.name) for p in kernel.params if not p.is_number}
        for name in kernel.outputs:
            memory[name] = SSA(MemRef(memory_type(kernel.definition(name).dtype)), name)
        sizes = {s: SSA(INDEX, s.name) for s in kernel.sizes()}
        raw = {p.name: SSA(F64 if p.dtype.is_float else I64, p.name) for p in kernel.params if p.is_number}
        self.errors = SSA(MemRef(I64), "errors")
        self.memory, self.sizes = memory, sizes
        self._tail = [*sizes.values(), *raw.values(), self.errors]
        self.points = Points(b, kernel, memory, {}, sizes, self.errors, self._reduce)
        scalars = Scalars(b, lambda condition: None)
        for p in kernel.params:
            if p.is_number:
                self.points.numbers[p.name] = number_argument(b, scalars, raw[p.name], p.dtype)
        self.reducer = Reducer(b, self.points, self.widened)

    def module(self) -> Module:
        definitions = [s for s in self.kernel.body if isinstance(s, Definition) and s.name in self.kernel.outputs]
        spaces: dict[tuple[Size, ...], list[Definition]] = {}
        for d in definitions:
            spaces.setdefault(d.shape, []).append(d)
        for group in spaces.values():
            self._define(group)
        for s in self.kernel.body:
            if isinstance(s, Scatter):
                self.points.stored.update(d.name for d in definitions)
                self._scatter(s)
        args = [*self.memory.values(), *self.spaces, *self._tail]
        return Module([Func(self.kernel.name, args, self.entry, tuple(self.workspaces))])

    # ---- definitions

    def _define(self, group: Sequence[Definition]) -> None:
        first = group[0]
        if len(group) == 1 and self._split_reduction(first):
            return
        scope = Scope({}, {})
        self._loops(list(first.binders), 0, group, scope, [])

    def _loops(
        self, binders: list[Binder], k: int, group: Sequence[Definition], scope: Scope, ivs: list[SSA]
    ) -> None:
        if k == len(binders):
            self._point(group, scope, ivs)
            return
        attrs = self._marks(binders, k, group)

        def body(iv: SSA, carried: list[SSA]) -> None:
            bound = [(d.binders[k], iv) for d in group]
            self._loops(binders, k + 1, group, scope.inside(bound), [*ivs, iv])

        self._before(group, scope, k)
        self.b.for_(self.b.constant(0), self.points.size(binders[k].hi), self.b.constant(1), (), body, **attrs)

    def _before(self, group: Sequence[Definition], scope: Scope, k: int) -> None:
        """Reductions that do not need the axes still to come are made here, once."""
        bound = {b.name for d in group for b in d.binders[:k]}
        for d in group:
            if any(extent(b) == 0 for b in d.binders):
                return
            for e in walk(d.expr):
                if isinstance(e, Reduce) and free_axes(e) <= bound and not _under_branch(d.expr, e):
                    self.points.value(e, scope)

    def _marks(self, binders: list[Binder], k: int, group: Sequence[Definition]) -> dict[str, object]:
        """`parallel` on the outermost loop, `vector` on the innermost when the vectors run along it."""
        attrs: dict[str, object] = {}
        last = k == len(binders) - 1
        if last and not any(self._along_reduction(d) for d in group):
            attrs["vector"] = True
        if k == 0:
            attrs["parallel"] = True
            attrs["cost"] = max(1, prod(extent(b) for b in binders[1:]) * sum(self._cost(d) for d in group))
        return attrs

    def _cost(self, d: Definition) -> int:
        """Scalar ops a point, about."""
        ops = inner = 1
        for e in walk(d.expr):
            ops += 1
            if isinstance(e, Reduce):
                inner = max(inner, prod(max(1, extent(b)) for b in e.binders))
            elif isinstance(e, Read) and e.tensor in self.points.definitions and e.tensor != d.name:
                ops += 8
        return ops * inner

    def _along_reduction(self, d: Definition) -> bool:
        return any(isinstance(e, Reduce) and self.widened(e, d.binders) for e in walk(d.expr))

    def widened(self, e: Reduce, outer: Sequence[Binder] | None = None) -> bool:
        """Whether vectors run along the last axis of this reduction rather than along the last output axis."""
        inner = e.binders[-1]
        if extent(inner) < 4 and len(e.binders) == 1 and outer and extent(outer[-1]) >= 4:
            return False
        outputs = outer if outer is not None else self._outer_binders()
        last = outputs[-1] if outputs else None
        unit_inner = unit_outer = 0
        for r in walk(e.body):
            if not isinstance(r, Read) or not r.index or r.tensor in self.points.numbers:
                continue
            form = affine(r.index[-1])
            others = {a.name for ix in r.index[:-1] for a in walk(ix) if isinstance(a, Axis)}
            unit_inner += form is not None and form.coefficient(inner.name) == 1 and inner.name not in others
            if last is not None:
                unit_outer += form is not None and form.coefficient(last.name) == 1 and last.name not in others
        if last is None or extent(last) < 2:
            return True
        return unit_inner > unit_outer or unit_inner == unit_outer and extent(inner) > extent(last)

    def _outer_binders(self) -> tuple[Binder, ...]:
        return next(s.binders for s in self.kernel.body if isinstance(s, Definition) and s.name in self.kernel.outputs)

    def _point(self, group: Sequence[Definition], scope: Scope, ivs: list[SSA]) -> None:
        at = self.points.flat(ivs, group[0].shape)
        for d in group:
            value = self.points.value(d.expr, scope)
            scope.made[-1][("local", d, *ivs)] = value
            self.b.store(self.points.scalars.to_memory(value, d.dtype), self.memory[d.name], at)

    def _reduce(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        return self.reducer.reduce(e, scope, live)

    # ---- long reductions with few results

    def _split_reduction(self, d: Definition) -> bool:
        """Partial results of blocks, in parallel, then combined in order."""
        found = [e for e in walk(d.expr) if isinstance(e, Reduce)]
        if len(found) != 1 or found[0].op not in ("sum", "mean", "max", "min", "prod", "any", "all"):
            return False
        (e,) = found
        if len(e.binders) != 1 or e.guard is not None or isinstance(e.binders[0].hi, Sym) or not e.binders[0].lo == 0:
            return False
        if prod(extent(b) for b in d.binders) > 4 or extent(e.binders[0]) <= SPLIT or _under_branch(d.expr, e):
            return False
        n = extent(e.binders[0])
        blocks, results = -(-n // BLOCK), prod(extent(b) for b in d.binders)
        dtype = e.dtype
        space = SSA(MemRef(memory_type(dtype)), "partial")
        self.spaces.append(space)
        self.workspaces.append(Workspace(memory_type(dtype), index_const(blocks * results)))
        scope = Scope({}, {})
        b, points = self.b, self.points

        def block(p: SSA, carried: list[SSA]) -> None:
            lo = b.mul(p, b.constant(BLOCK))
            hi = b.min(b.add(lo, b.constant(BLOCK)), b.constant(n))
            self._each(d.binders, 0, scope, lambda inner, ivs: partial(p, lo, hi, inner, ivs), [])

        def partial(p: SSA, lo: SSA, hi: SSA, inner: Scope, ivs: list[SSA]) -> None:
            value = self.reducer.partial(e, inner, lo, hi)
            at = b.add(b.mul(p, b.constant(results)), points.flat(ivs, d.shape))
            b.store(points.scalars.to_memory(value, dtype), space, at)

        cost = BLOCK * self._cost(d) // max(1, n) + BLOCK
        b.for_(b.constant(0), b.constant(blocks), b.constant(1), (), block, parallel=True, cost=cost)

        def finish(inner: Scope, ivs: list[SSA]) -> None:
            value = self.reducer.combine(e, space, blocks, results, points.flat(ivs, d.shape))
            inner.made[-1][(e, None, *(inner.axes[a] for a in sorted(free_axes(e))))] = value
            self._point([d], inner, ivs)

        self._each(d.binders, 0, scope, finish, [])
        return True

    def _each(self, binders: Sequence[Binder], k: int, scope: Scope, body: object, ivs: list[SSA]) -> None:
        if k == len(binders):
            body(scope, ivs)  # type: ignore[operator]
            return

        def step(iv: SSA, carried: list[SSA]) -> None:
            self._each(binders, k + 1, scope.inside([(binders[k], iv)]), body, [*ivs, iv])

        self.b.for_(self.b.constant(0), self.points.size(binders[k].hi), self.b.constant(1), (), step)

    # ---- scatters

    def _scatter(self, s: Scatter) -> None:
        """In the order of the binders; along an axis that is a whole subscript of its own, vectors may run."""
        last = s.binders[-1] if s.binders else None
        free = (
            last is not None
            and isinstance(s.index[-1], Axis)
            and s.index[-1].name == last.name
            and not any(isinstance(e, Axis) and e.name == last.name for ix in s.index[:-1] for e in walk(ix))
            and s.guard is None
        )

        def loops(k: int, scope: Scope) -> None:
            if k == len(s.binders):
                self._scatter_point(s, scope)
                return
            binder = s.binders[k]

            def body(iv: SSA, carried: list[SSA]) -> None:
                loops(k + 1, scope.inside([(binder, iv)]))

            lo, hi = self.points.size(binder.lo), self.points.size(binder.hi)
            attrs = {"vector": True} if free and k == len(s.binders) - 1 else {}
            self.b.for_(lo, hi, self.b.constant(1), (), body, **attrs)

        loops(0, Scope({}, {}))

    def _scatter_point(self, s: Scatter, scope: Scope) -> None:
        b, points = self.b, self.points
        live = None if s.guard is None else points.value(s.guard, scope)
        shape = self.kernel.definition(s.target).shape
        places = [points.index(ix, scope, live) for ix in s.index]
        probe = Read(s.target, s.index, s.expr.dtype)
        inside = live
        from_proved = all(isinstance(ix, Axis) for ix in s.index)
        if not from_proved or s.checked:
            inside = points.bounds_or_none(probe, places, shape, scope)
            if inside is not None:
                outside = b.binary("arith.xori", inside, points.scalars.const(True, bool_))
                points.report(outside, live)
                inside = inside if live is None else b.binary("arith.andi", inside, live)
            else:
                inside = live
        value = points.value(s.expr, scope, live)
        target, at = self.memory[s.target], points.flat(places, shape)
        dtype = s.expr.dtype

        def update() -> None:
            old = points.scalars.from_memory(b.load(target, at), dtype)
            fn = {"+=": "add", "max=": "maximum", "min=": "minimum"}[s.op]
            b.store(points.scalars.to_memory(points.scalars.function(fn, dtype, [old, value], dtype), dtype), target, at)

        if inside is None:
            update()
            return
        b.if_(inside, lambda: update())


def _under_branch(root: Expr, target: Expr) -> bool:
    """Whether `target` stands in a branch, a fill or another reduction, where it may not be needed."""
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        e, under = stack.pop()
        if e is target:
            return under
        deeper = under or isinstance(e, Reduce) or isinstance(e, Call) and e.fn == "where"
        stack.extend((c, deeper) for c in children(e))
    return False

"""A kernel as loop nests: outputs over the same points in one nest, reductions inside, scatters after.

Which loop the vectors run along, and how a long reduction is split, depends on shapes only, so results are the same
for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tdsl.compiler.dtype import bool_
from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Axis, Binder, Definition, Kernel, Read, Reduce, Scatter, roots, walk
from tdsl.compiler.loops import F64, I64, INDEX, SSA, Block, Func, MemRef, Module, Workspace
from tdsl.compiler.lower.access import Access, extent
from tdsl.compiler.lower.levels import Levels
from tdsl.compiler.lower.points import Points, Scope, number_argument
from tdsl.compiler.lower.reductions import Reducer
from tdsl.compiler.lower.scalars import Scalars, memory_type
from tdsl.compiler.lower.sizes import Product, base_sizes, guess, in_base_sizes
from tdsl.compiler.lower.split import Split, split
from tdsl.compiler.target import Target

TILE = (32, 16)  # a tile of a transposed read: cache lines of floats, vectors


def lower_nest(kernel: Kernel, target: Target) -> Module:
    """Scalar loops for any kernel; loops that may be widened or shared out are marked."""
    return Nest(kernel, target).module()


class Nest:
    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target = kernel, target
        self.entry = Block()
        self.b = Levels(self.entry)
        self.spaces: list[SSA] = []
        self.workspaces: list[Workspace] = []
        self._declare()

    def _declare(self) -> None:
        kernel, b = self.kernel, self.b
        memory = {p.name: SSA(MemRef(memory_type(p.dtype)), p.name) for p in kernel.params if not p.is_number}
        for name in kernel.outputs:
            memory[name] = SSA(MemRef(memory_type(kernel.definition(name).dtype)), name)
        sizes = {s: SSA(INDEX, s.name) for s in base_sizes(kernel.sizes())}
        raw = {p.name: SSA(F64 if p.dtype.is_float else I64, p.name) for p in kernel.params if p.is_number}
        self.errors = SSA(MemRef(I64), "errors")
        self.memory, self.sizes = memory, sizes
        self._tail = [*sizes.values(), *raw.values(), self.errors]
        self.points = Points(b, kernel, memory, {}, sizes, self.errors, self._reduce)
        for s in kernel.sizes():
            self._made_size(s)
        scalars = Scalars(b, lambda condition: None)
        for p in kernel.params:
            if p.is_number:
                self.points.numbers[p.name] = number_argument(b, scalars, raw[p.name], p.dtype)
        self.access = Access(kernel, self.target, self.points.stored)
        self.reducer = Reducer(b, self.points, self.access)

    def _made_size(self, s: Size) -> SSA:
        """The size of a merged axis is multiplied out, once."""
        if isinstance(s, Product) and s not in self.sizes:
            self.sizes[s] = self.b.mul(self._made_size(s.a), self._made_size(s.b))
        return self.points.size(s)

    def _reduce(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        return self.reducer.reduce(e, scope, live)

    def module(self) -> Module:
        definitions = [s for s in self.kernel.body if isinstance(s, Definition) and s.name in self.kernel.outputs]
        for group in _groups([d for d in definitions if all(n != 0 for n in d.shape)]):
            self._define(group)
            self.points.stored.update(d.name for d in group)
        for s in self.kernel.body:
            if isinstance(s, Scatter):
                self.points.stored.update(d.name for d in definitions)
                self._scatter(s)
        return Module([self.function()])

    def function(self) -> Func:
        """The entry, with all that was emitted."""
        args = [*self.memory.values(), *self.spaces, *self._tail]
        spaces = tuple(Workspace(w.element, in_base_sizes(w.elements)) for w in self.workspaces)
        return Func(self.kernel.name, args, self.entry, spaces)

    # ---- definitions

    def _define(self, group: Sequence[Definition]) -> None:
        if len(group) == 1 and (plan := split(group[0], self.access)) is not None:
            self._split(plan)
            return
        if len(group) == 1 and group[0].binders and (across := self.access.across(group[0])) is not None:
            self._tiles(group[0], across)
            return
        self._loops(group, [Scope({}, {}) for _ in group], [])

    def _loops(self, group: Sequence[Definition], scopes: Sequence[Scope], ivs: list[SSA]) -> None:
        """The loops from the k-th axis on; a definition of k axes is stored before the next loop."""
        k = len(ivs)
        for d, scope in zip(group, scopes, strict=True):
            if len(d.binders) == k:
                self._point(d, scope, ivs)
        deeper = [(d, scope) for d, scope in zip(group, scopes, strict=True) if len(d.binders) > k]
        if not deeper:
            return
        rest = [d for d, _ in deeper]

        def body(iv: SSA, carried: list[SSA]) -> None:
            self._loops(rest, [scope.inside([(d.binders[k], iv)]) for d, scope in deeper], [*ivs, iv])

        attrs = self._marks(rest, k)
        self.b.for_(self.b.constant(0), self.points.size(rest[0].shape[k]), self.b.constant(1), (), body, **attrs)

    def _marks(self, group: Sequence[Definition], k: int) -> dict[str, object]:
        """`parallel` on the outermost loop there is, `vector` on the innermost when the vectors run along it."""
        attrs: dict[str, object] = {}
        if all(len(d.binders) == k + 1 and self.access.along(d.expr, d.binders[k]) for d in group):
            attrs["vector"] = True
        shape = max((d.shape for d in group), key=len)
        if shape[k] != 1 and all(n == 1 for n in shape[:k]):
            attrs["parallel"] = True
            attrs["cost"] = max(1, sum(self.access.cost(d.expr, d.binders) for d in group) // max(guess(shape[k]), 1))
        return attrs

    def _point(self, d: Definition, scope: Scope, ivs: list[SSA]) -> None:
        self.points.prepare(d.expr, scope)
        value = self.points.value(d.expr, scope)
        self.b.remember(("local", d, *ivs), value)
        at = self.points.flat(ivs, d.shape)
        self.b.store(self.points.scalars.to_memory(value, d.dtype), self.memory[d.name], at)

    # ---- transposed reads

    def _tiles(self, d: Definition, across: int) -> None:
        """Tiles of the last axis and of one along which a read is consecutive: its cache lines are used whole."""
        b, n = self.b, len(d.binders) - 1
        others = [k for k in range(n) if k != across]
        sizes = [self.points.size(x.hi) for x in d.binders]
        places: dict[int, SSA] = {}
        cost = self.access.cost(d.expr, d.binders)

        def loop(k: int, width: int, body: Callable[[SSA], None], outermost: bool) -> None:
            attrs: dict[str, object] = {}
            if outermost:
                attrs = {"parallel": True, "cost": max(1, cost * width // extent(d.binders[k]))}
            tiles = (
                sizes[k]
                if width == 1
                else b.binary("arith.divsi", b.add(sizes[k], b.constant(width - 1)), b.constant(width))
            )
            b.for_(b.constant(0), tiles, b.constant(1), (), lambda iv, _: body(iv), **attrs)

        def other(j: int) -> None:
            if j == len(others):
                loop(across, TILE[0], lambda p: loop(n, TILE[1], lambda q: tile(p, q), False), not others)
                return

            def step(iv: SSA) -> None:
                places[others[j]] = iv
                other(j + 1)

            loop(others[j], 1, step, j == 0)

        def tile(p: SSA, q: SSA) -> None:
            first = [b.mul(t, b.constant(w)) for t, w in zip((p, q), TILE, strict=True)]
            left = [self._left(d.binders[k].hi, at, w) for k, at, w in zip((across, n), first, TILE, strict=True)]

            def row(i: SSA, carried: list[SSA]) -> None:
                places[across] = b.add(first[0], i)
                b.for_(b.constant(0), left[1], b.constant(1), (), element, vector=True)

            def element(i: SSA, carried: list[SSA]) -> None:
                places[n] = b.add(first[1], i)
                ivs = [places[k] for k in range(n + 1)]
                self._point(d, Scope({}, {}).inside(list(zip(d.binders, ivs, strict=True))), ivs)

            b.for_(b.constant(0), left[0], b.constant(1), (), row)

        other(0)

    def _left(self, size: Size, first: SSA, width: int) -> SSA:
        """How much of a tile there is."""
        if isinstance(size, int) and size % width == 0:
            return self.b.constant(width)
        return self.b.min(self.b.sub(self.points.size(size), first), self.b.constant(width))

    # ---- long reductions with few results

    def _split(self, plan: Split) -> None:
        """Partial results of blocks, in parallel, then combined in order."""
        b, points, d, e = self.b, self.points, plan.definition, plan.reduce
        space = SSA(MemRef(memory_type(e.dtype)), "partial")
        self.spaces.append(space)
        self.workspaces.append(Workspace(memory_type(e.dtype), plan.elements()))
        first = e.binders[0]
        lo, hi, width = points.size(first.lo), points.size(first.hi), b.constant(plan.block)
        blocks = points.index(plan.blocks(), Scope({}, {}))

        def block(p: SSA, carried: list[SSA]) -> None:
            start = b.add(lo, b.mul(p, width))
            end = b.min(b.add(start, width), hi)
            self._each(d.binders, 0, Scope({}, {}), lambda inner, ivs: partial(p, start, end, inner, ivs), [])

        def partial(p: SSA, start: SSA, end: SSA, inner: Scope, ivs: list[SSA]) -> None:
            value = self.reducer.partial(e, inner, start, end)
            at = b.add(b.mul(p, b.constant(plan.results)), points.flat(ivs, d.shape))
            b.store(points.scalars.to_memory(value, e.dtype), space, at)

        b.for_(b.constant(0), blocks, b.constant(1), (), block, parallel=True, cost=plan.cost)

        def finish(inner: Scope, ivs: list[SSA]) -> None:
            value = self.reducer.combine(e, space, blocks, plan.results, points.flat(ivs, d.shape))
            points.give(e, inner, value)
            self._point(d, inner, ivs)

        self._each(d.binders, 0, Scope({}, {}), finish, [])

    def _each(
        self,
        binders: Sequence[Binder],
        k: int,
        scope: Scope,
        body: Callable[[Scope, list[SSA]], None],
        ivs: list[SSA],
    ) -> None:
        if k == len(binders):
            body(scope, ivs)
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
            and bool(s.index)
            and isinstance(s.index[-1], Axis)
            and s.index[-1].name == last.name
            and not any(isinstance(e, Axis) and e.name == last.name for ix in s.index[:-1] for e in walk(ix))
            and s.guard is None
            and not _reads(s, s.target)
            and self.access.along(s.expr, last)
        )
        self.points.changing.add(s.target)

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
        self.points.changing.discard(s.target)

    def _scatter_point(self, s: Scatter, scope: Scope) -> None:
        b, points = self.b, self.points
        live = None if s.guard is None else points.value(s.guard, scope)
        shape = self.kernel.definition(s.target).shape
        places = [points.index(ix, scope, live) for ix in s.index]
        inside = live
        bounds = points.bounds_or_none(Read(s.target, s.index, s.expr.dtype), places, shape, scope)
        if bounds is not None:
            points.report(b.binary("arith.xori", bounds, points.scalars.const(True, bool_)), live)
            inside = bounds if live is None else b.binary("arith.andi", bounds, live)
        value = points.value(s.expr, scope, live)
        target, at = self.memory[s.target], points.flat(places, shape)
        dtype = s.expr.dtype

        def update() -> None:
            new = value
            if s.op != "=":
                old = points.scalars.from_memory(b.load(target, at), dtype)
                fn = {"+=": "add", "*=": "mul", "max=": "maximum", "min=": "minimum"}[s.op]
                new = points.scalars.function(fn, dtype, [old, value], dtype)
            b.store(points.scalars.to_memory(new, dtype), target, at)

        if inside is None:
            update()
        else:
            b.if_(inside, update)


def _reads(s: Scatter, tensor: str) -> bool:
    return any(isinstance(e, Read) and e.tensor == tensor for root in roots(s) for e in walk(root))


def _groups(definitions: Sequence[Definition]) -> list[list[Definition]]:
    """Definitions made in one nest: their shapes begin alike, each as far as it goes."""
    groups: list[tuple[tuple[Size, ...], list[Definition]]] = []
    for d in sorted(definitions, key=lambda d: -len(d.binders)):
        shape = d.shape
        home = next((g for whole, g in groups if shape and whole[: len(shape)] == shape), None)
        if home is None:
            groups.append((shape, [d]))
        else:
            home.append(d)
    order = {d.name: k for k, d in enumerate(definitions)}
    return sorted(
        (sorted(g, key=lambda d: order[d.name]) for _, g in groups), key=lambda g: min(order[d.name] for d in g)
    )


__all__ = ["Nest", "extent", "lower_nest"]

"""One of the three expressions of a tiled product, over groups of axes that are walked as one.

The product counts along few long axes: batch, outer, m, n and k. Each is a group of the kernel's axes taken row-major.
A part merges the axes of a group where its own reads allow it; what stays apart is walked in runs of the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Binder, Definition, Expr, Kernel, Param, Read, rewrite
from tdsl.compiler.loops import SSA
from tdsl.compiler.lower.collapse import collapse
from tdsl.compiler.lower.levels import Levels
from tdsl.compiler.lower.points import Points, Scope

Groups = Mapping[str, Sequence[Binder]]
Inner = Callable[[Scope, SSA], Scope]  # adds the axis of a run, at an offset, to a scope


def part_kernel(kernel: Kernel, name: str, expr: Expr, groups: Groups, binders: Sequence[Binder]) -> Kernel:
    """`name`[binders] := expr, its axes merged within their groups, its params renamed: they may get other shapes."""
    home = {b.name: group for group, axes in groups.items() for b in axes}
    params = tuple(replace(p, name=f"{name}.{p.name}") for p in kernel.params)

    def change(e: Expr) -> Expr | None:
        return replace(e, tensor=f"{name}.{e.tensor}") if isinstance(e, Read) else None

    body = Definition(name, tuple(binders), rewrite(expr, change))
    apart = Kernel(kernel.name, params, (body,), (name,))
    return collapse(apart, lambda a, b: home[a] != home[b])


@dataclass(eq=False)
class Part:
    """An expression at points that are given by a position in each group."""

    b: Levels
    points: Points
    definition: Definition
    groups: dict[str, list[Binder]]  # what is left of each group's axes

    @staticmethod
    def of(b: Levels, kernel: Kernel, groups: Groups, points: Callable[[Kernel], Points]) -> Part:
        (definition,) = kernel.body
        assert isinstance(definition, Definition)
        left = {x.name: x for x in definition.binders}
        mine = {name: [left[x.name] for x in axes if x.name in left] for name, axes in groups.items()}
        return Part(b, points(kernel), definition, mine)

    # ---- positions

    def at(self, scope: Scope, group: str, position: SSA) -> Scope:
        """The scope with the axes of the group, at its position."""
        return scope.inside(list(self._unflattened(self.groups.get(group, []), position)))

    def _unflattened(self, axes: Sequence[Binder], position: SSA) -> list[tuple[Binder, SSA]]:
        found: list[tuple[Binder, SSA]] = []
        for axis in reversed(axes[1:]):
            size = self.points.size(axis.hi)
            found.append((axis, self.b.binary("arith.remsi", position, size)))
            position = self.b.binary("arith.divsi", position, size)
        return [*found, (axes[0], position)] if axes else []

    def row_length(self, group: str) -> Size | None:
        """The extent of the group's last axis, where it is walked in runs; None: it is one run."""
        axes = self.groups[group]
        return axes[-1].hi if len(axes) > 1 else None

    def runs(
        self, scope: Scope, group: str, first: SSA, end: SSA, body: Callable[[Scope, Inner, SSA, SSA], None]
    ) -> None:
        """Positions first..end of a group, as runs of its last axis: body(scope, inner, lo, hi) for each run.

        The run has the offsets lo..hi from `first`; inner(scope, offset) adds its last axis to a scope.
        """
        b, axes = self.b, self.groups[group]
        length = self.row_length(group)
        if length is None:
            (axis,) = axes
            body(scope, lambda s, o: s.inside([(axis, b.add(first, o))]), b.constant(0), b.sub(end, first))
            return
        size = self.points.size(length)
        top = b.binary("arith.divsi", b.add(end, b.sub(size, b.constant(1))), size)

        def row(r: SSA, carried: list[SSA]) -> None:
            start = b.mul(r, size)
            lo = b.sub(b.binary("arith.maxsi", start, first), first)
            hi = b.sub(b.binary("arith.minsi", b.add(start, size), end), first)
            inside = scope.inside(list(self._unflattened(axes[:-1], r)))
            back = b.sub(first, start)
            body(inside, lambda s, o: s.inside([(axes[-1], b.add(o, back))]), lo, hi)

        b.for_(b.binary("arith.divsi", first, size), top, b.constant(1), (), row)

    def rows(self, scope: Scope, group: str, first: SSA, count: int, width: int) -> list[tuple[Scope, SSA]]:
        """The runs that positions first..first + width touch, as (a scope, the first offset that is in the run).

        There are `count` at most; some may be empty, some beyond the end. In the scope, the group's last axis is that
        of offset 0, and what is said of the ranges allows for every offset in every run.
        """
        b, axes = self.b, self.groups[group]
        last, wide = axes[-1], Binder(axes[-1].name, 0, _plus(axes[-1].hi, width))
        if len(axes) == 1:
            exact = isinstance(last.hi, int) and last.hi % width == 0
            return [(scope.inside([(last if exact else wide, first)]), b.constant(0))]
        size = self.points.size(last.hi)
        wide = Binder(last.name, -width, _plus(last.hi, width))
        top = b.binary("arith.divsi", first, size)
        found = []
        for k in range(count):
            row = b.add(top, b.constant(k))
            start = b.mul(row, size)
            outer = self._unflattened(axes[:-1], row)
            outer[-1] = (Binder(axes[0].name, 0, _plus(axes[0].hi, count)), outer[-1][1])
            found.append((scope.inside([*outer, (wide, b.sub(first, start))]), b.sub(start, first)))
        return found

    def steps(
        self, scope: Scope, axes: Sequence[Binder], first: SSA, count: SSA, body: Callable[[Scope, SSA], None]
    ) -> None:
        """Positions first..first + count of some axes, one by one; they are counted up rather than divided out."""
        b = self.b
        starts = [value for _, value in reversed(self._unflattened(axes, first))]

        def step(i: SSA, carried: list[SSA]) -> list[SSA]:
            body(scope.inside(list(zip(axes, carried, strict=True))), i)
            return self._next(axes, carried)

        b.for_(b.constant(0), count, b.constant(1), starts, step)

    def _next(self, axes: Sequence[Binder], values: Sequence[SSA]) -> list[SSA]:
        b, out = self.b, list(values)
        one = b.constant(1)
        out[-1] = b.add(values[-1], one)
        for k in range(len(axes) - 1, 0, -1):
            over = b.compare("arith.cmpi", "sge", out[k], self.points.size(axes[k].hi))
            out[k] = b.select(over, b.constant(0), out[k])
            out[k - 1] = b.select(over, b.add(out[k - 1], one), out[k - 1])
        return out


def _plus(n: Size, more: int) -> Size:
    """An upper bound of n + more, for what is said of a range."""
    return n + more if isinstance(n, int) else 1 << 40


def sum_param(definition: Definition, reduce: Expr) -> Param:
    """The finished sums, as the epilogue reads them."""
    return Param("sum", reduce.dtype, definition.shape)

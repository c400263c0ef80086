"""What an expression touches, seen through local definitions, and what that says about vectors and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from tdsl.compiler.affine import affine
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    children,
    free_axes,
    rewrite,
    walk,
)
from tdsl.compiler.kernel_text import show_expression
from tdsl.compiler.lower.sizes import guess
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.target import Target

_HEAVY = frozenset("exp expm1 log log1p sin cos tan tanh sigmoid erf pow atan2 philox".split()) | frozenset(SPECIAL)
_DIVISION = frozenset("floordiv mod fmod div sqrt rsqrt".split())
# what reading one element costs along an axis, in loads of consecutive elements
_UNIT, _INVARIANT, _SCATTERED = 1.0, 0.5, 8.0
_TILED = 16  # axes shorter than this are not tiled
_TREE = 6.0  # adding up the lanes of a vector


def extent(b: Binder) -> int:
    return max(0, guess(b.hi) - guess(b.lo))


@dataclass(frozen=True, slots=True)
class Seen:
    """A node of an expression. Axes of the statement keep their names, those of reductions get fresh ones.

    `axes`: by which axes its value varies, as far as reductions around it tell; None: outside all reductions.
    """

    node: Expr
    names: Mapping[str, Expr]
    axes: frozenset[str] | None

    def resolved(self, e: Expr) -> Expr:
        return rewrite(e, lambda a: self.names.get(a.name) if isinstance(a, Axis) else None)


class Access:
    """The expressions of one kernel. `stored`: definitions read from memory."""

    def __init__(self, kernel: Kernel, target: Target, stored: set[str]) -> None:
        self.kernel, self.lanes, self.stored = kernel, max(2, target.lanes(32)), stored
        self.definitions = {s.name: s for s in kernel.body if isinstance(s, Definition)}
        self.shapes = {p.name: p.shape for p in kernel.params}
        self.numbers = {p.name for p in kernel.params if p.is_number}
        self.extents: dict[str, int] = {}  # of the axes of reductions, by their fresh names
        self._count = 0

    # ---- walking

    def walk(self, root: Expr, names: Mapping[str, Expr] | None = None) -> Iterator[Seen]:
        """Every node that evaluating `root` evaluates, each local definition once for each index it is read at."""
        visited: set[tuple[object, ...]] = set()
        stack = [Seen(root, names or {}, None)]
        while stack:
            seen = stack.pop()
            yield seen
            e = seen.node
            if isinstance(e, Reduce):
                stack.extend(self._inside(e, seen))
                continue
            if isinstance(e, Read) and e.tensor in self.definitions and e.tensor not in self.stored:
                definition = self.definitions[e.tensor]
                index = [seen.resolved(ix) for ix in e.index]
                key = (e.tensor, *map(show_expression, index))
                if key not in visited:
                    visited.add(key)
                    bound = dict(zip((b.name for b in definition.binders), index, strict=True))
                    stack.append(Seen(definition.expr, bound, seen.axes))
            stack.extend(Seen(c, seen.names, seen.axes) for c in children(e))

    def _inside(self, e: Reduce, seen: Seen) -> list[Seen]:
        free = self.free(e, seen)
        names = dict(seen.names)
        fresh = []
        for b in e.binders:
            self._count += 1
            name = f"{b.name}'{self._count}"
            self.extents[name] = extent(b)
            names[b.name] = Axis(name)
            fresh.append(name)
        axes = free.union(fresh)
        return [Seen(c, names, axes) for c in children(e)]

    def free(self, e: Expr, seen: Seen) -> frozenset[str]:
        """The axes of the statement, and of reductions around it, that decide the value of `e`."""
        found: set[str] = set()
        for name in free_axes(e):
            replaced = seen.names.get(name)
            found |= {name} if replaced is None else free_axes(replaced)
        return frozenset(found)

    # ---- vectors

    def along(self, e: Expr, binder: Binder) -> bool:
        """Whether vectors run along `binder`, of a loop that evaluates `e`, rather than along a reduction in it."""
        for seen in self.walk(e):
            r = seen.node
            if not isinstance(r, Reduce) or binder.name not in self.free(r, seen):
                continue
            inner = r.binders[-1]
            body = Seen(r.body, {**seen.names, inner.name: Axis("'inner")}, None)
            outer_cost = inner_cost = 0.0
            for part in self.walk(body.node, body.names):
                outer_cost += self._cost_of_read(part, binder.name)
                inner_cost += self._cost_of_read(part, "'inner")
            n, m = extent(binder), max(1, extent(inner))
            outer_cost /= self._used(n)
            inner_cost = inner_cost / self._used(m) + _TREE / -(-m // self.lanes)
            if inner_cost < outer_cost or inner_cost == outer_cost and m > n:
                return False
        return True

    def reading(self, e: Expr, binder: Binder) -> float:
        """What the reads of `e` cost a point where vectors run along `binder`."""
        return sum(self._cost_of_read(seen, binder.name) for seen in self.walk(e)) / self._used(extent(binder))

    def _used(self, n: int) -> float:
        """The part of the lanes that a loop of n iterations fills."""
        n = max(n, 1)
        return n / (-(-n // self.lanes) * self.lanes)

    def _cost_of_read(self, seen: Seen, axis: str) -> float:
        e = seen.node
        if not isinstance(e, Read) or e.tensor in self.numbers:
            return 0.0
        if e.tensor in self.definitions and e.tensor not in self.stored:
            return 0.0  # its own reads are seen
        shape = self.shapes[e.tensor] if e.tensor in self.shapes else self.definitions[e.tensor].shape
        index = [seen.resolved(ix) for ix, n in zip(e.index, shape, strict=True) if n != 1]
        if not any(isinstance(a, Axis) and a.name == axis for ix in index for a in walk(ix)):
            return _INVARIANT
        form = affine(index[-1])
        elsewhere = any(isinstance(a, Axis) and a.name == axis for ix in index[:-1] for a in walk(ix))
        return _UNIT if form is not None and form.coefficient(axis) == 1 and not elsewhere else _SCATTERED

    def across(self, d: Definition) -> int | None:
        """An output axis, not the last, along which a read is consecutive that is scattered along the last one."""
        last = d.binders[-1]
        if extent(last) < _TILED:
            return None
        for seen in self.walk(d.expr):
            if isinstance(seen.node, Reduce):
                return None
            if self._cost_of_read(seen, last.name) != _SCATTERED:
                continue
            for k, b in enumerate(d.binders[:-1]):
                if extent(b) >= _TILED and self._cost_of_read(seen, b.name) == _UNIT:
                    return k
        return None

    # ---- costs

    def cost(self, e: Expr, binders: Sequence[Binder]) -> int:
        """Scalar ops of evaluating `e` at every point of the binders, about; what varies with few axes is made once."""
        extents = {b.name: extent(b) for b in binders}
        points = prod(extents.values())
        total = points
        for seen in self.walk(e):
            if not isinstance(seen.node, Call | Read):
                continue
            weight = 1
            if isinstance(seen.node, Call):
                weight = 12 if seen.node.fn in _HEAVY else 4 if seen.node.fn in _DIVISION else 1
            times = points
            if seen.axes is not None:
                times = prod(extents.get(a, self.extents.get(a, 1)) for a in seen.axes)
            total += weight * times
        return total

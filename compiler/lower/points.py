"""The value of an index-notation expression at one point of a loop nest, as loops IR.

A point is known by its axes (`Scope`). Values are made in the outermost loop where they can be (`Levels`) and found
again inside it, so what two statements share is computed once. A read that may be outside is made under an `scf.if`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tdsl.compiler.affine import Ranges, within
from tdsl.compiler.dtype import DType, bool_, i64
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    SizeOf,
    children,
    free_axes,
)
from tdsl.compiler.loops import I64, SSA
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.lower.levels import Key, Levels
from tdsl.compiler.lower.scalars import Scalars, memory_type, scalar_type
from tdsl.compiler.source import InternalError

_SHORT = 40  # chains of local definitions that may as well be followed by recursion


@dataclass(eq=False, slots=True)
class Scope:
    """Axes in sight."""

    axes: dict[str, SSA]
    ranges: dict[str, tuple[Size, Size]]

    def inside(self, binders: list[tuple[Binder, SSA]]) -> Scope:
        axes = self.axes | {b.name: iv for b, iv in binders}
        ranges = self.ranges | {b.name: (b.lo, b.hi) for b, _ in binders}
        return Scope(axes, ranges)


class Points:
    """Emits expressions of one kernel. `reduce` is given by the nest, which knows how loops are made."""

    def __init__(
        self,
        b: Levels,
        kernel: Kernel,
        memory: dict[str, SSA],
        numbers: dict[str, SSA],
        sizes: dict[Sym, SSA],
        errors: SSA,
        reduce: Callable[[Reduce, Scope, SSA | None], SSA],
    ) -> None:
        self.b, self.kernel, self.memory, self.numbers, self.sizes = b, kernel, memory, numbers, sizes
        self.errors, self.reduce = errors, reduce
        self.shapes = {p.name: p.shape for p in kernel.params}
        self.dtypes = {p.name: p.dtype for p in kernel.params}
        self.definitions = {s.name: s for s in kernel.body if isinstance(s, Definition)}
        self.stored: set[str] = set()  # definitions whose memory holds their values already
        self.changing: set[str] = set()  # tensors that are being scattered into
        self._live: SSA | None = None
        self.scalars = Scalars(b, self._fail)

    def size(self, n: Size) -> SSA:
        return self.sizes[n] if isinstance(n, Sym) else self.b.constant(n)

    # ---- faults

    def _fail(self, condition: SSA) -> None:
        self.report(condition, self._live)

    def report(self, condition: SSA, live: SSA | None) -> None:
        if live is not None:
            condition = self.b.binary("arith.andi", condition, live)
        with self.b.at(self.b.depth(condition)):
            self.b.op("tdsl.report", (condition, self.errors), site=0)

    # ---- values

    def value(self, e: Expr, scope: Scope, live: SSA | None = None) -> SSA:
        """The SSA value of `e`; `live` is the condition under which its reads are made."""
        made: list[SSA] = []
        stack: list[tuple[Expr, bool]] = [(e, False)]
        while stack:
            node, ready = stack.pop()
            if not isinstance(node, Call) or node.fn == "where":
                made.append(self._leaf(node, scope, live))
            elif not ready:
                stack.append((node, True))
                stack.extend((a, False) for a in reversed(node.args))
            else:
                args = made[-len(node.args) :]
                del made[-len(node.args) :]
                made.append(self._call(node, args, live))
        return made[0]

    def _leaf(self, e: Expr, scope: Scope, live: SSA | None) -> SSA:
        if isinstance(e, Const):
            return self.scalars.const(e.value, e.dtype)
        if isinstance(e, Axis | SizeOf):
            return self.scalars.from_index(self.index(e, scope, live))
        if isinstance(e, Read):
            return self.read(e, scope, live)
        if isinstance(e, Reduce):
            return self._reduction(e, scope, live)
        return self._where(e, scope, live)

    def _reduction(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        """In the outermost loop that has all its axes."""
        key = self._key(e, scope, live)
        found = self.b.find(key)
        if found is None:
            axes = [scope.axes[a] for a in free_axes(e)]
            with self.b.at(self.b.depth(*axes, *self._optional(live))):
                found = self.reduce(e, scope, live)
            self.b.remember(key, found)
        return found

    def give(self, e: Reduce, scope: Scope, value: SSA) -> None:
        """The value of a reduction, made otherwise."""
        self.b.remember(self._key(e, scope, None), value)

    def _key(self, e: Expr, scope: Scope, live: SSA | None) -> Key:
        return (e, live, *(scope.axes[a] for a in sorted(free_axes(e))))

    def _optional(self, *values: SSA | None) -> list[SSA]:
        return [v for v in values if v is not None]

    def _call(self, e: Call, args: list[SSA], live: SSA | None) -> SSA:
        if e.fn == "cast":
            return self.scalars.cast(args[0], e.args[0].dtype, e.dtype)
        outer, self._live = self._live, live
        result = self.scalars.function(e.fn, e.dtype, args, e.args[0].dtype)
        self._live = outer
        return result

    def _where(self, e: Expr, scope: Scope, live: SSA | None) -> SSA:
        assert isinstance(e, Call)
        condition = self.value(e.args[0], scope, live)
        both: list[SSA | None] = [live, live]
        if self._careful(e.args[1], scope.ranges):
            both[0] = condition if live is None else self.b.binary("arith.andi", condition, live)
        if self._careful(e.args[2], scope.ranges):
            both[1] = self._not(condition, live)
        yes, no = (self.value(a, scope, when) for a, when in zip(e.args[1:], both, strict=True))
        return self.b.select(condition, yes, no)

    def _careful(self, root: Expr, ranges: Ranges) -> bool:
        """Whether evaluating the branch where it is not taken could fault or read outside."""
        stack: list[tuple[Expr, Ranges]] = [(root, ranges)]
        visited: set[str] = set()
        while stack:
            e, ranges = stack.pop()
            if isinstance(e, Call) and e.fn in ("floordiv", "mod", "fmod") and not e.dtype.is_float:
                if not (e.fn != "fmod" and _positive(e.args[1])):
                    return True
            if isinstance(e, Reduce):
                ranges = {**ranges, **{b.name: (b.lo, b.hi) for b in e.binders}}
            if isinstance(e, Read) and e.tensor not in self.numbers:
                if e.checked or e.fill is None and not self._inside(e, ranges):
                    return True
                if e.tensor in self.definitions and e.tensor not in self.stored and e.tensor not in visited:
                    visited.add(e.tensor)
                    definition = self.definitions[e.tensor]
                    stack.append((definition.expr, {b.name: (b.lo, b.hi) for b in definition.binders}))
            stack.extend((c, ranges) for c in children(e))
        return False

    def _inside(self, e: Read, ranges: Ranges) -> bool:
        return all(within(ix, n, ranges) for ix, n in zip(e.index, self._shape(e.tensor), strict=True))

    # ---- reads

    def read(self, e: Read, scope: Scope, live: SSA | None) -> SSA:
        if e.tensor in self.numbers:
            return self.numbers[e.tensor]
        if e.tensor in self.definitions and e.tensor not in self.stored:
            return self._local(self.definitions[e.tensor], e, scope, live)
        places = [self.index(ix, scope, live) for ix in e.index]
        key: Key = ("read", e.tensor, e.checked, e.fill, live, *places)
        found = self.b.find(key)
        if found is None:
            found = self._load(e, places, scope, live)
            self.b.remember(key, found)
        return found

    def _shape(self, name: str) -> tuple[Size, ...]:
        return self.shapes[name] if name in self.shapes else self.definitions[name].shape

    def _load(self, e: Read, places: list[SSA], scope: Scope, live: SSA | None) -> SSA:
        shape = self._shape(e.tensor)
        flat, memory = self.flat(places, shape), self.memory[e.tensor]
        inside = self._tested(e, places, shape, scope, live)
        if inside is None:
            with self.b.at(self._level(e.tensor, flat)):
                return self.scalars.from_memory(self.b.load(memory, flat), e.dtype)
        held = memory_type(e.dtype)
        zero = self.b.constant(0.0 if held.is_float else 0, held)
        with self.b.at(self._level(e.tensor, flat, inside)):
            loaded = self.b.if_(inside, lambda: [self.b.load(memory, flat)], lambda: [zero])[0]
        value = self.scalars.from_memory(loaded, e.dtype)
        if e.fill is None:
            return value
        fill = self.value(e.fill, scope, self._not(inside, live) if self._careful(e.fill, scope.ranges) else live)
        return self.b.select(inside, value, fill)

    def _level(self, tensor: str, *values: SSA) -> int:
        """How far out a load may stand: what a scatter changes is loaded where it is used."""
        return self.b.current if tensor in self.changing else self.b.depth(*values)

    def _tested(
        self, e: Read, places: list[SSA], shape: tuple[Size, ...], scope: Scope, live: SSA | None
    ) -> SSA | None:
        """The condition under which the element may be read, None: always. A checked read outside is reported."""
        bounds = self.bounds_or_none(e, places, shape, scope)
        if bounds is None:
            return live if e.checked else None
        if e.fill is not None:
            return bounds
        if e.checked:
            self.report(self.b.binary("arith.xori", bounds, self.scalars.const(True, bool_)), live)
        return bounds if live is None else self.b.binary("arith.andi", bounds, live)

    def _not(self, inside: SSA, live: SSA | None) -> SSA:
        outside = self.b.binary("arith.xori", inside, self.scalars.const(True, bool_))
        return outside if live is None else self.b.binary("arith.andi", outside, live)

    def bounds_or_none(self, e: Read, places: list[SSA], shape: tuple[Size, ...], scope: Scope) -> SSA | None:
        """The condition that a read is inside; None where that is certain."""
        if all(within(ix, n, scope.ranges) for ix, n in zip(e.index, shape, strict=True)):
            return None
        return self._bounds(e, places, shape, scope)

    def _bounds(self, e: Read, places: list[SSA], shape: tuple[Size, ...], scope: Scope) -> SSA:
        inside: SSA | None = None
        for ix, place, n in zip(e.index, places, shape, strict=True):
            if within(ix, n, scope.ranges):
                continue
            # one unsigned compare: a negative position is a very large one
            test = self.b.compare("arith.cmpi", "ult", place, self.size(n))
            inside = test if inside is None else self.b.binary("arith.andi", inside, test)
        assert inside is not None
        return inside

    def _local(self, definition: Definition, e: Read, scope: Scope, live: SSA | None) -> SSA:
        """A definition that is not in memory, evaluated at the point where it is read."""
        places = [self.index(ix, scope, live) for ix in e.index]
        inside = self._tested(e, places, definition.shape, scope, live)
        if inside is None:
            return self._at_point(definition, places, live)
        if any(n == 0 for n in definition.shape):
            return self.scalars.const(0, e.dtype) if e.fill is None else self.value(e.fill, scope, live)
        safe = [self.b.select(inside, p, self.b.constant(0)) for p in places]
        value = self._at_point(definition, safe, inside if live is None else self.b.binary("arith.andi", inside, live))
        if e.fill is None:
            return value
        return self.b.select(inside, value, self.value(e.fill, scope, self._not(inside, live)))

    def _at_point(self, definition: Definition, places: list[SSA], live: SSA | None) -> SSA:
        key: Key = ("local", definition, *places)
        found = self.b.find(key) or self.b.find((*key, live))
        if found is None:
            scope = Scope({}, {}).inside(list(zip(definition.binders, places, strict=True)))
            found = self.value(definition.expr, scope, live)
            self.b.remember(key if live is None else (*key, live), found)
        return found

    def prepare(self, e: Expr, scope: Scope) -> None:
        """Make what `e` reads of local definitions, deepest first: a long chain of them is not a deep recursion."""
        if len(self.definitions) <= _SHORT:
            return
        seen: set[Key] = set()
        stack: list[tuple[Definition, list[SSA], bool]] = self._locals_read(e, scope)
        while stack:
            definition, places, ready = stack.pop()
            if ready:
                self._at_point(definition, places, None)
                continue
            key: Key = (definition, *places)
            if key not in seen:
                seen.add(key)
                stack.append((definition, places, True))
                inner = Scope({}, {}).inside(list(zip(definition.binders, places, strict=True)))
                stack += self._locals_read(definition.expr, inner)

    def _locals_read(self, e: Expr, scope: Scope) -> list[tuple[Definition, list[SSA], bool]]:
        """The definitions that `e` certainly evaluates at points of `scope`."""
        found: list[tuple[Definition, list[SSA], bool]] = []
        stack = [e]
        while stack:
            node = stack.pop()
            if isinstance(node, Reduce) or isinstance(node, Call) and node.fn == "where":
                continue
            if isinstance(node, Read) and node.tensor in self.definitions and node.tensor not in self.stored:
                if all(isinstance(ix, Axis) for ix in node.index) and self._inside(node, scope.ranges):
                    places = [self.index(ix, scope) for ix in node.index]
                    found.append((self.definitions[node.tensor], places, False))
            stack.extend(children(node))
        return found

    # ---- positions

    def flat(self, places: list[SSA], shape: tuple[Size, ...]) -> SSA:
        result = self.b.constant(0)
        for place, n in zip(places, shape, strict=True):
            result = self.b.add(self.b.mul(result, self.size(n)), place)
        return result

    def index(self, e: Expr, scope: Scope, live: SSA | None = None) -> SSA:
        """An i64 expression as an `index`."""
        b = self.b
        if isinstance(e, Const):
            return b.constant(int(e.value))
        if isinstance(e, Axis):
            return scope.axes[e.name]
        if isinstance(e, SizeOf):
            return self.sizes[e.sym]
        if isinstance(e, Call) and e.dtype is i64 and e.fn in ("add", "sub", "mul"):
            x, y = (self.index(a, scope, live) for a in e.args)
            return {"add": b.add, "sub": b.sub, "mul": b.mul}[e.fn](x, y)
        if isinstance(e, Call) and e.fn in ("floordiv", "mod") and _positive(e.args[1]):
            return self._floor(e, scope, live)
        return self.scalars.to_index(self.value(e, scope, live))

    def _floor(self, e: Call, scope: Scope, live: SSA | None) -> SSA:
        """Division by a positive size, rounding down."""
        b = self.b
        x, n = (self.index(a, scope, live) for a in e.args)
        zero = b.constant(0)
        known = within(e.args[0], 1 << 62, scope.ranges)
        r = b.binary("arith.remsi", x, n)
        if e.fn == "mod":
            if known:
                return r
            below = b.compare("arith.cmpi", "slt", r, zero)
            return b.select(below, b.binary("arith.addi", r, n), r)
        q = b.binary("arith.divsi", x, n)
        if known:
            return q
        below = b.compare("arith.cmpi", "slt", r, zero)
        return b.select(below, b.binary("arith.subi", q, b.constant(1)), q)


def _positive(e: Expr) -> bool:
    return isinstance(e, SizeOf) or isinstance(e, Const) and e.value > 0


def number_argument(b: Builder, scalars: Scalars, argument: SSA, dtype: DType) -> SSA:
    """A number param (f64 or i64) as its dtype."""
    if dtype.is_float:
        return (
            argument if argument.type is scalar_type(dtype) else b.convert("arith.truncf", argument, scalar_type(dtype))
        )
    if argument.type is not I64:
        raise InternalError("an integer number is an i64")
    return scalars.cast(argument, i64, dtype)

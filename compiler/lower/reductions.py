"""Reductions as loops with carried values. Each reducer says what it carries, how it takes a point in, and what
it gives at the end."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, prod

from tdsl.compiler.dtype import DType, bool_
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Binder, Expr, Reduce
from tdsl.compiler.loops import I64, SSA
from tdsl.compiler.lower.access import Access, extent
from tdsl.compiler.lower.levels import Levels
from tdsl.compiler.lower.points import Points, Scope
from tdsl.compiler.lower.scalars import extreme, identity, scalar_type

# what combines two carried values, as a vector.reduction kind and as an op
_COMBINE = {"sum": "add", "mean": "add", "prod": "mul", "any": "or", "all": "and"}
# Longer float sums are sums of sums of so many, so that rounding errors grow slowly: by lanes, or one after another.
_CHUNK, _SERIAL_CHUNK = 1 << 12, 1 << 8


def combine_kind(op: str, dtype: DType) -> str:
    if op in _COMBINE:
        return _COMBINE[op]
    return extreme("max" if op in ("max", "argmax", "logsumexp") else "min", dtype).removeprefix("arith.")


class Reducer:
    def __init__(self, b: Levels, points: Points, access: Access) -> None:
        self.b, self.points, self.access = b, points, access

    # ---- entry points

    def reduce(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        if e.op == "logsumexp":
            return self._logsumexp(e, scope, live)
        if e.op in ("argmax", "argmin"):
            return self._arg(e, scope, live)
        value = self._fold(e.op, e, e.body, scope, live)
        if e.op != "mean":
            return value
        return self.b.binary("arith.divf", value, self._count(e, scope, live))

    def partial(self, e: Reduce, scope: Scope, lo: SSA, hi: SSA) -> SSA:
        """The reduction over lo..hi of its first axis and all of the others."""
        return self._loop(e.op, e, e.body, scope, None, 0, [(lo, hi), *self._bounds(e)[1:]])

    def combine(self, e: Reduce, space: SSA, blocks: SSA, stride: int, at: SSA) -> SSA:
        """Partial results `stride` apart, taken in order."""
        b, scalars = self.b, self.points.scalars
        start = scalars.const(identity(e.op, e.dtype), e.dtype)

        def body(iv: SSA, carried: list[SSA]) -> list[SSA]:
            raw = b.load(space, b.add(b.mul(iv, b.constant(stride)), at))
            return [self._take(e.op, e.dtype, carried[0], scalars.from_memory(raw, e.dtype))]

        total = b.for_(b.constant(0), blocks, b.constant(1), [start], body)[0]
        if e.op != "mean":
            return total
        return b.binary("arith.divf", total, self._count(e, Scope({}, {}), None))

    # ---- loops

    def _take(self, op: str, dtype: DType, carried: SSA, value: SSA) -> SSA:
        fn = {"sum": "add", "mean": "add", "prod": "mul", "any": "or", "all": "and"}.get(op)
        if fn is None:
            fn = "maximum" if op == "max" else "minimum"
        return self.points.scalars.function(fn, dtype, [carried, value], dtype)

    def _bounds(self, e: Reduce) -> list[tuple[SSA, SSA]]:
        return [(self.points.size(x.lo), self.points.size(x.hi)) for x in e.binders]

    def _marks(self, body: Expr, binder: Binder, combine: str) -> dict[str, object]:
        """Vectors run along the last axis of a reduction unless they run along a loop around or a reduction inside."""
        if self.b.in_vector or not self.access.along(body, binder):
            return {}
        return {"vector": True, "combine": [combine]}

    def _fold(self, op: str, e: Reduce, body: Expr, scope: Scope, live: SSA | None) -> SSA:
        return self._loop(op, e, body, scope, live, 0, self._bounds(e))

    def _loop(
        self,
        op: str,
        e: Reduce,
        body: Expr,
        scope: Scope,
        live: SSA | None,
        k: int,
        bounds: list[tuple[SSA, SSA]],
        start: SSA | None = None,
    ) -> SSA:
        """The loops over the axes from the k-th on, all into one carried value."""
        b, dtype = self.b, body.dtype
        binder = e.binders[k]
        init = start if start is not None else self.points.scalars.const(identity(op, dtype), dtype)
        adds = op in ("sum", "mean") and dtype.is_float
        lo, hi = bounds[k]
        if k < len(e.binders) - 1:
            apart = adds and prod(extent(x) for x in e.binders[k + 1 :]) >= 16

            def outer(iv: SSA, carried: list[SSA]) -> list[SSA]:
                inner = scope.inside([(binder, iv)])
                part = self._loop(op, e, body, inner, live, k + 1, bounds, None if apart else carried[0])
                return [self._take(op, dtype, carried[0], part) if apart else part]

            return b.for_(lo, hi, b.constant(1), [init], outer)[0]

        def step(iv: SSA, carried: list[SSA]) -> list[SSA]:
            return [self._point(op, e, body, scope.inside([(binder, iv)]), live, carried[0])]

        attrs = self._marks(body, binder, combine_kind(op, dtype))
        chunk = _CHUNK if attrs else _SERIAL_CHUNK
        if adds and (_symbolic(binder) or extent(binder) > 2 * chunk):
            return self._chunked(init, lo, hi, chunk, step, attrs, op, dtype)
        return b.for_(lo, hi, b.constant(1), [init], step, **attrs)[0]

    def _chunked(
        self,
        init: SSA,
        lo: SSA,
        hi: SSA,
        size: int,
        step: Callable[[SSA, list[SSA]], list[SSA]],
        attrs: dict[str, object],
        op: str,
        dtype: DType,
    ) -> SSA:
        b = self.b
        zero = self.points.scalars.const(identity(op, dtype), dtype)

        def chunk(start: SSA, carried: list[SSA]) -> list[SSA]:
            end = b.binary("arith.minsi", b.add(start, b.constant(size)), hi)
            part = b.for_(start, end, b.constant(1), [zero], step, **attrs)[0]
            return [self._take(op, dtype, carried[0], part)]

        return b.for_(lo, hi, b.constant(size), [init], chunk)[0]

    def _point(self, op: str, e: Reduce, body: Expr, scope: Scope, live: SSA | None, carried: SSA) -> SSA:
        guard, inner = self._guard(e, scope, live)
        value = self.points.value(body, scope, inner)
        taken = self._take(op, body.dtype, carried, value)
        return taken if guard is None else self.b.select(guard, taken, carried)

    def _guard(self, e: Reduce, scope: Scope, live: SSA | None) -> tuple[SSA | None, SSA | None]:
        if e.guard is None:
            return None, live
        guard = self.points.value(e.guard, scope, live)
        return guard, guard if live is None else self.b.binary("arith.andi", guard, live)

    # ---- reducers made of others

    def _count(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        """How many points a mean has, as its dtype."""
        b, t = self.b, scalar_type(e.dtype)
        if e.guard is None:
            total = b.constant(1)
            for binder in e.binders:
                total = b.mul(total, b.sub(self.points.size(binder.hi), self.points.size(binder.lo)))
            return b.convert("arith.sitofp", b.convert("arith.index_cast", total, I64), t)
        one, zero = b.constant(1.0, t), b.constant(0.0, t)

        def loop(k: int, inner: Scope, carried: SSA) -> SSA:
            binder = e.binders[k]

            def step(iv: SSA, values: list[SSA]) -> list[SSA]:
                deeper = inner.inside([(binder, iv)])
                if k < len(e.binders) - 1:
                    return [loop(k + 1, deeper, values[0])]
                guard, _ = self._guard(e, deeper, live)
                assert guard is not None
                return [b.binary("arith.addf", values[0], b.select(guard, one, zero))]

            lo, hi = self.points.size(binder.lo), self.points.size(binder.hi)
            return b.for_(lo, hi, b.constant(1), [carried], step)[0]

        return loop(0, scope, zero)

    def _logsumexp(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        """The largest first, then the sum of exp of the differences."""
        b, dtype, t = self.b, e.dtype, scalar_type(e.dtype)
        largest = self._fold("max", e, e.body, scope, live)
        finite = b.compare("arith.cmpf", "olt", b.unary("math.absf", largest), b.constant(inf, t))
        shift = b.select(finite, largest, b.constant(0.0, t))
        shift = b.select(b.compare("arith.cmpf", "uno", largest, largest), largest, shift)
        total = self._exp_sum(e, scope, live, 0, self._bounds(e), self.points.scalars.const(0.0, dtype), shift)
        return b.binary("arith.addf", b.unary("math.log", total), shift)

    def _exp_sum(
        self,
        e: Reduce,
        scope: Scope,
        live: SSA | None,
        k: int,
        bounds: list[tuple[SSA, SSA]],
        start: SSA,
        shift: SSA,
    ) -> SSA:
        b, binder, last = self.b, e.binders[k], k == len(e.binders) - 1
        attrs = self._marks(e.body, binder, "add") if last else {}

        def step(iv: SSA, carried: list[SSA]) -> list[SSA]:
            inner = scope.inside([(binder, iv)])
            if not last:
                return [self._exp_sum(e, inner, live, k + 1, bounds, carried[0], shift)]
            guard, deeper = self._guard(e, inner, live)
            value = self.points.value(e.body, inner, deeper)
            term = b.unary("math.exp", b.binary("arith.subf", value, shift))
            taken = b.binary("arith.addf", carried[0], term)
            return [taken if guard is None else b.select(guard, taken, carried[0])]

        lo, hi = bounds[k]
        return b.for_(lo, hi, b.constant(1), [start], step, **attrs)[0]

    def _arg(self, e: Reduce, scope: Scope, live: SSA | None) -> SSA:
        """The extreme first (NaN wins), then the first position that has it."""
        b, dtype = self.b, e.body.dtype
        best = self._fold("max" if e.op == "argmax" else "min", e, e.body, scope, live)
        binder = e.binders[0]
        none = b.constant((1 << 62), I64)
        attrs = self._marks(e.body, binder, "minsi")

        def step(iv: SSA, carried: list[SSA]) -> list[SSA]:
            inner = scope.inside([(binder, iv)])
            guard, deeper = self._guard(e, inner, live)
            value = self.points.value(e.body, inner, deeper)
            hit = self.points.scalars.function("eq", bool_, [value, best], dtype)
            if dtype.is_float:
                hit = b.binary("arith.ori", hit, b.compare("arith.cmpf", "uno", value, value))
            if guard is not None:
                hit = b.binary("arith.andi", hit, guard)
            place = b.select(hit, b.convert("arith.index_cast", iv, I64), none)
            return [b.binary("arith.minsi", carried[0], place)]

        lo, hi = self.points.size(binder.lo), self.points.size(binder.hi)
        found = b.for_(lo, hi, b.constant(1), [none], step, **attrs)[0]
        nothing = b.compare("arith.cmpi", "eq", found, none)
        return b.select(nothing, b.constant(-1, I64), found)


def _symbolic(b: Binder) -> bool:
    return isinstance(b.lo, Sym) or isinstance(b.hi, Sym)

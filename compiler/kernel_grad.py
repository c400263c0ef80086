"""The gradient of a kernel in index notation, as a kernel in index notation.

For T[o] := e and a read A[f] inside e with local derivative D, the gradient of A takes T's gradient times D at f,
over the same points under the same guards and branches. That scatter is turned into reads wherever f can be solved
for the points: a bare index is renamed, an index with a coefficient is divided out under a guard, a gathered one
whose points are known becomes a comparison. What cannot be solved stays a scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from tdsl.compiler.affine import affine, same, simplify, within
from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import OPS, Size
from tdsl.compiler.kernel import (
    FUNCTIONS,
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    Scatter,
    Statement,
    call,
    cast,
    free_axes,
    index_const,
    of_size,
    rewrite,
    walk,
)
from tdsl.compiler.kernel_tidy import (
    added,
    all_of,
    any_of,
    finish,
    inside,
    product,
    summed,
    tidied,
    unproved,
    zero_where_one_is,
)
from tdsl.compiler.source import InternalError


def derive(kernel: Kernel, wrt: str, reads_only: bool = False) -> Kernel | None:
    """The gradient of param `wrt`, given `g`, the gradient of the kernel's only output.

    The result's params are some of the kernel's own, `y` (the result, where it helps) and `g`; its output is `d`.
    None when nothing flows into `wrt`. `reads_only`: what cannot be solved for becomes a sum over all points that
    meet the position, where else it would stay a scatter.

    A kernel that ends in `max=` or `min=` is given `g` divided by `shares`.

    >>> import tdsl.compiler.ops  # the derivative rules
    >>> from tdsl.compiler.kernel_parse import parse
    >>> from tdsl.compiler.kernel_text import show
    >>> matmul = "kernel k(a0: f32[2,3], a1: f32[3,4]) -> (y):\\n  y[i, j] := sum[k] a0[i, k] * a1[k, j]\\n"
    >>> print(show(derive(parse(matmul), "a0")), end="")
    kernel grad(a1: f32[3,4], g: f32[2,4]) -> (d):
      d[i, k] := sum[j] g[i, j] * a1[k, j]
    """
    return _Derivation(kernel, wrt, reads_only).kernel()


@dataclass(frozen=True, slots=True)
class _Term:
    """adjoint, added at `index` of the gradient for every point of `binders` where all guards hold.

    `inside` says where the index is inside the tensor; once solved for, it is.
    """

    binders: tuple[Binder, ...]
    guards: tuple[Expr, ...]
    index: tuple[Expr, ...]
    adjoint: Expr
    inside: tuple[Expr, ...] = ()


@dataclass(frozen=True, slots=True)
class _Choice:
    """An axis with a coefficient in a subscript of dimension `dim`; the best of them is solved for first."""

    rank: int
    dim: int
    axis: str
    coefficient: int
    index: Expr


EXTREMES = ("max=", "min=")


class ExprBuilder:
    """Builds index-notation expressions by function name, for the derivative rules of op records."""

    def __call__(self, fn: str, *operands: Expr | bool | int | float, **attrs: Any) -> Expr:
        like = next(x for x in reversed(operands) if not isinstance(x, bool | int | float))
        args = [Const(x, like.dtype) if isinstance(x, bool | int | float) else x for x in operands]
        if fn == "cast":
            return cast(args[0], attrs["dtype"])
        if fn not in FUNCTIONS:
            raise InternalError(f"a derivative rule of an elementwise function uses {fn}")
        return tidied(fn, args)


build = ExprBuilder()


class _Derivation:
    def __init__(self, kernel: Kernel, wrt: str, reads_only: bool = False) -> None:
        self.kernel_, self.wrt, self.reads_only = kernel, wrt, reads_only
        self.fresh_count = count()
        self.param = next(p for p in kernel.params if p.name == wrt)
        self.output = kernel.definition(kernel.outputs[0])
        self.shapes: dict[str, tuple[Size, ...]] = {p.name: p.shape for p in kernel.params}
        self.shapes |= {"y": self.output.shape, "g": self.output.shape}
        self.ranges: dict[str, tuple[Size, Size]] = {}
        self.wishes: dict[str, str] = {}
        self.terms: list[_Term] = []

    def fresh(self, wish: str | None = None) -> str:
        """An axis name of its own; `wish` is what it should be called in the end."""
        name = f"x{next(self.fresh_count)}"
        if wish is not None:
            self.wishes[name] = self.wishes.get(wish, wish)
        return name

    def kernel(self) -> Kernel | None:
        locals_: dict[str, Definition] = {}
        for s in self.kernel_.body:
            s = self._own(s, locals_)
            if isinstance(s, Definition):
                if s.name == self.output.name:
                    self._contribution(s)
                else:
                    locals_[s.name] = s
            else:
                self._scattered(s)
        if not self.terms:
            return None
        return self._assemble()

    # ---- forward, made ready

    def _own(self, s: Statement, locals_: dict[str, Definition]) -> Statement:
        """The statement with axis names of its own and locals written in."""
        names = {b.name: self.fresh(b.name) for b in s.binders}

        def fix(e: Expr) -> Expr:
            return self._freshen(self._inlined(e, locals_), names)

        binders = tuple(Binder(names[b.name], b.lo, b.hi) for b in s.binders)
        self.ranges |= {b.name: (b.lo, b.hi) for b in binders}
        if isinstance(s, Definition):
            return Definition(s.name, binders, fix(s.expr))
        guard = None if s.guard is None else fix(s.guard)
        return Scatter(s.target, binders, tuple(fix(e) for e in s.index), s.op, fix(s.expr), guard, s.checked)

    def _inlined(self, e: Expr, locals_: dict[str, Definition]) -> Expr:
        def change(node: Expr) -> Expr | None:
            if not isinstance(node, Read) or node.tensor not in locals_:
                return None
            local = locals_[node.tensor]
            at = {b.name: ix for b, ix in zip(local.binders, node.index, strict=True)}
            value = self._substituted(self._freshen(local.expr, {}), at)
            if node.fill is None:
                return value
            test = inside(node.index, local.shape, self.ranges)
            return value if test is None else call("where", test, value, node.fill)

        return rewrite(e, change)

    def _freshen(self, e: Expr, names: dict[str, str]) -> Expr:
        """New names for the axes bound in `e`, and those of `names` for the free ones."""
        names = dict(names)
        for node in walk(e):
            if isinstance(node, Reduce):
                for b in node.binders:
                    names[b.name] = self.fresh(b.name)
                    self.ranges[names[b.name]] = (b.lo, b.hi)

        def change(node: Expr) -> Expr | None:
            if isinstance(node, Axis):
                return Axis(names.get(node.name, node.name))
            if isinstance(node, Reduce):
                binders = tuple(Binder(names[b.name], b.lo, b.hi) for b in node.binders)
                return Reduce(node.op, binders, node.body, node.dtype, node.guard)
            return None

        return rewrite(e, change)

    def _substituted(self, e: Expr, at: dict[str, Expr]) -> Expr:
        def change(node: Expr) -> Expr | None:
            if isinstance(node, Axis):
                return at.get(node.name)
            if isinstance(node, Read):
                places = tuple(simplify(ix, self.ranges) for ix in node.index)
                return Read(node.tensor, places, node.dtype, node.fill, node.checked)
            if isinstance(node, Call) and node.dtype is i64:
                return simplify(node, self.ranges)
            return None

        return rewrite(e, change)

    # ---- reverse

    def _contribution(self, s: Definition) -> None:
        axes = tuple(Axis(b.name) for b in s.binders)
        g = Read("g", axes, s.dtype)
        stored = not any(isinstance(x, Scatter) for x in self.kernel_.body)
        extreme = any(isinstance(x, Scatter) and x.op in EXTREMES for x in self.kernel_.body)
        guards = (call("eq", s.expr, Read("y", axes, s.dtype)),) if extreme else ()
        self._push(s.expr, g, s.binders, guards, Read("y", axes, s.dtype) if stored else None)

    def _scattered(self, s: Scatter) -> None:
        if s.op != "+=" and s.op not in EXTREMES:
            raise InternalError(f"the gradient of a scatter with {s.op}")
        g = Read("g", s.index, s.expr.dtype, checked=s.checked)
        guards = [] if s.guard is None else [s.guard]
        if s.op in EXTREMES:
            guards.append(call("eq", s.expr, Read("y", s.index, s.expr.dtype, checked=s.checked)))
        self._push(s.expr, g, s.binders, tuple(guards), None)

    def _push(
        self, root: Expr, adjoint: Expr, binders: tuple[Binder, ...], guards: tuple[Expr, ...], known: Expr | None
    ) -> None:
        """Carry an adjoint from an expression to the reads of `wrt` in it. `known`: the root's value, if stored."""
        stack = [(root, adjoint, binders, guards, known)]
        while stack:
            e, adj, bs, gs, value = stack.pop()
            if not self._reaches(e):
                continue
            if isinstance(e, Read):
                if e.tensor == self.wrt:
                    self.terms.append(_Term(bs, gs, e.index, adj, tuple(self._inside_of(e))))
                if e.fill is not None:
                    outside = [call("not", t) for t in self._inside_of(e)]
                    if outside:
                        stack.append((e.fill, adj, bs, (*gs, any_of(outside)), None))
            elif isinstance(e, Call):
                stack.extend(self._through_call(e, adj, bs, gs, value))
            elif isinstance(e, Reduce):
                found = self._through_reduce(e, adj, bs, gs, value)
                if found is not None:
                    stack.append(found)

    def _reaches(self, e: Expr) -> bool:
        """Whether a floating read of `wrt` stands in `e` outside subscripts."""
        stack = [e]
        while stack:
            node = stack.pop()
            if isinstance(node, Read):
                if node.tensor == self.wrt:
                    return True
                stack.extend(() if node.fill is None else (node.fill,))
            elif isinstance(node, Call):
                stack.extend(node.args)
            elif isinstance(node, Reduce):
                stack.append(node.body)
        return False

    def _inside_of(self, e: Read) -> list[Expr]:
        if e.fill is None:
            return []
        test = inside(e.index, self.shapes[e.tensor], self.ranges)
        return [] if test is None else [test]

    def _through_call(self, e: Call, adj: Expr, bs: Any, gs: Any, value: Expr | None) -> list[Any]:
        if e.fn == "where":
            condition, yes, no = e.args
            return [(yes, adj, bs, (*gs, condition), None), (no, adj, bs, (*gs, call("not", condition)), None)]
        if not e.dtype.is_float:
            return []
        if e.fn == "cast":
            return [(e.args[0], cast(adj, e.args[0].dtype), bs, gs, None)] if e.args[0].dtype.is_float else []
        rule = OPS[e.fn].vjp
        if isinstance(rule, str):
            return []
        parts = rule(build, adj, value if value is not None else e, *e.args)
        return [(a, p, bs, gs, None) for a, p in zip(e.args, parts, strict=True) if p is not None]

    def _through_reduce(self, e: Reduce, adj: Expr, bs: Any, gs: Any, value: Expr | None) -> Any:
        result = value if value is not None else self._freshen(e, {})
        own = self._freshen(e, {})  # the adjoint may hold `e` itself: its axes are not these
        assert isinstance(own, Reduce)
        e = own
        inner = (*bs, *e.binders)
        guards = gs if e.guard is None else (*gs, e.guard)
        if e.op == "sum":
            return e.body, adj, inner, guards, None
        if e.op == "mean":
            return e.body, call("div", adj, self._count(e)), inner, guards, None
        if e.op == "logsumexp":
            weight = call("exp", call("sub", e.body, result))
            return e.body, product(adj, weight), inner, guards, None
        if e.op in ("max", "min"):
            again = self._freshen(e, {})
            assert isinstance(again, Reduce)
            hit = cast(call("eq", again.body, result), e.dtype)
            hits = Reduce("sum", again.binders, hit, e.dtype, again.guard)
            return e.body, call("div", adj, hits), inner, (*guards, call("eq", e.body, result)), None
        if e.op == "prod":
            again = self._freshen(e, {})
            assert isinstance(again, Reduce)
            differs = any_of(
                [call("ne", Axis(a.name), Axis(b.name)) for a, b in zip(again.binders, e.binders, strict=True)]
            )
            others_guard = differs if again.guard is None else call("and", differs, again.guard)
            others = Reduce("prod", again.binders, again.body, e.dtype, others_guard)
            return e.body, product(adj, others), inner, guards, None
        return None

    def _count(self, e: Reduce) -> Expr:
        if e.guard is not None:
            again = self._freshen(e, {})
            assert isinstance(again, Reduce)
            return Reduce("sum", again.binders, Const(1.0, e.dtype), e.dtype, again.guard)
        total: Expr | None = None
        known = 1
        for b in e.binders:
            if isinstance(b.hi, int) and isinstance(b.lo, int):
                known *= max(0, b.hi - b.lo)
            else:
                part = of_size(b.hi) if b.lo == 0 else call("sub", of_size(b.hi), of_size(b.lo))
                total = part if total is None else call("mul", total, part)
        if total is None:
            return Const(float(known), e.dtype)
        return cast(total if known == 1 else call("mul", total, index_const(known)), e.dtype)

    # ---- from scatter to reads

    def _assemble(self) -> Kernel:
        names = [self.fresh() for _ in self.param.shape]
        binders = tuple(Binder(a, 0, n) for a, n in zip(names, self.param.shape, strict=True))
        self.ranges |= {b.name: (0, b.hi) for b in binders}
        gathered: list[Expr] = []
        scatters: list[Scatter] = []
        for term in self.terms:
            part = self._gathered(self._split_axes(term), names)
            if part is not None:
                gathered.append(part)
                continue
            guard = all_of((*term.guards, *term.inside))
            scatters.append(Scatter("d", term.binders, term.index, "+=", term.adjoint, guard))
        expr = added(gathered, binders) or Const(0.0, self.param.dtype)
        body: list[Statement] = [Definition("d", binders, expr), *scatters]
        return finish(body, self.kernel_.params, self.output, self.wishes)

    def _split_axes(self, term: _Term) -> _Term:
        """An axis i used as i // c and i % c becomes c q + r, so that both can be solved for."""
        for b in term.binders:
            divisors = {
                int(e.args[1].value)
                for ix in term.index
                for e in walk(ix)
                if isinstance(e, Call) and e.fn in ("floordiv", "mod") and isinstance(e.args[1], Const)
                and isinstance(e.args[0], Axis) and e.args[0].name == b.name
            }  # fmt: skip
            if len(divisors) != 1 or b.lo != 0 or not isinstance(b.hi, int):
                continue
            (c,) = divisors
            if c <= 0 or b.hi % c:
                continue
            q, r = Binder(self.fresh(), 0, b.hi // c), Binder(self.fresh(), 0, c)
            self.ranges |= {q.name: (0, q.hi), r.name: (0, r.hi)}
            whole = call("add", call("mul", Axis(q.name), index_const(c)), Axis(r.name))
            at: dict[str, Expr] = {b.name: whole}
            index = tuple(simplify(self._substituted(ix, at), self.ranges) for ix in term.index)
            binders = tuple(x for old in term.binders for x in ((q, r) if old is b else (old,)))
            guards = tuple(self._substituted(g, at) for g in term.guards)
            term = _Term(binders, guards, index, self._substituted(term.adjoint, at))
        return term

    def _gathered(self, term: _Term, names: Sequence[str]) -> Expr | None:
        """The term as an expression over the gradient's own axes; None when it must stay a scatter."""
        todo = dict(enumerate(term.index))
        left = {b.name: b for b in term.binders}
        while todo:
            choice = self._solvable(todo, left)
            if choice is None:
                break
            t, axis = choice.dim, choice.axis
            value, guards = self._solution(choice, Axis(names[t]))
            binder = left.pop(axis)
            if isinstance(todo[t], Axis) and axis in self.wishes:
                self.wishes.setdefault(names[t], self.wishes[axis])
            del todo[t]
            read = [ix for ix in todo.values() if any(isinstance(e, Read) for e in walk(ix))]
            term = self._solve(term, axis, value, guards, binder, read)
            todo = {k: simplify(self._substituted(ix, {axis: value}), self.ranges) for k, ix in todo.items()}
        equal: list[Expr] = []
        for t, ix in todo.items():
            if free_axes(ix) & set(left) and not self.reads_only:
                return None
            equal.append(call("eq", ix, Axis(names[t])))
        return self._reduced(replace(term, guards=(*term.guards, *equal)), tuple(left.values()))

    def _solvable(self, todo: dict[int, Expr], left: dict[str, Binder]) -> _Choice | None:
        """A dimension and an axis that it determines: bare ones first, then the longest axis with a coefficient."""
        choices: list[_Choice] = []
        for t, ix in todo.items():
            turn = self._turned(t, ix)
            form = affine(ix if turn is None else turn.args[0])
            for axis, c in () if form is None else form.terms:
                if axis not in left:
                    continue
                size = left[axis].hi
                whole = turn is not None and abs(c) == 1 and left[axis].lo == 0 and size == self.param.shape[t]
                if isinstance(ix, Axis) or whole:
                    choices.append(_Choice(1 << 40, t, axis, c, ix))
                elif turn is None:
                    choices.append(_Choice(size if isinstance(size, int) else 1 << 20, t, axis, c, ix))
        return max(choices, key=lambda choice: choice.rank, default=None)

    def _turned(self, t: int, ix: Expr) -> Call | None:
        """The subscript, where it is a sum modulo the size of its own dimension."""
        if not isinstance(ix, Call) or ix.fn != "mod" or not same(ix.args[1], of_size(self.param.shape[t])):
            return None
        return ix

    def _solution(self, choice: _Choice, d: Expr) -> tuple[Expr, list[Expr]]:
        """The axis as a function of the position `d` in the gradient, and where that is a solution."""
        turn = self._turned(choice.dim, choice.index)
        ix = choice.index if turn is None else turn.args[0]
        rest = simplify(self._substituted(ix, {choice.axis: index_const(0)}), self.ranges)
        c = choice.coefficient
        moved = simplify(call("sub", d, rest) if c > 0 else call("sub", rest, d), self.ranges)
        if turn is not None:
            return simplify(call("mod", moved, turn.args[1]), self.ranges), []
        if abs(c) == 1:
            return moved, []
        by = index_const(abs(c))
        return call("floordiv", moved, by), [call("eq", call("mod", moved, by), index_const(0))]

    def _solve(
        self, term: _Term, axis: str, value: Expr, guards: list[Expr], binder: Binder, open_: Sequence[Expr]
    ) -> _Term:
        """The term with `axis` known; where its value may leave the axis' range, a pad or a guard says so.

        `open_`: subscripts that may become conditions.
        """
        adjoint = term.adjoint
        new = list(guards)
        if not self._in_range(value, binder):
            padded = self._padded(adjoint, axis, binder)
            if padded is not None and not any(axis in free_axes(g) for g in (*term.guards, *open_)):
                adjoint = padded
            else:
                new.append(call("ge", value, of_size(binder.lo)))
                new.append(call("lt", value, of_size(binder.hi)))
        at = {axis: value}
        old = [self._substituted(g, at) for g in term.guards]
        tests = unproved([*old, *new], self.ranges)
        return _Term(term.binders, tests, term.index, self._substituted(adjoint, at))

    def _in_range(self, value: Expr, binder: Binder) -> bool:
        return binder.lo == 0 and within(value, binder.hi, self.ranges)

    def _padded(self, adjoint: Expr, axis: str, binder: Binder) -> Expr | None:
        """The product with 0 read outside, when `axis` is a whole subscript of one factor and used nowhere else."""
        uses = [e for e in walk(adjoint) if isinstance(e, Axis) and e.name == axis]
        factors = zero_where_one_is(adjoint)
        hits = [f for f in factors if isinstance(f, Read) and any(_is(ix, axis) for ix in f.index)]
        if len(hits) != 1 or len(uses) != 1 or binder.lo != 0:
            return None
        (hit,) = hits
        dim = next(k for k, ix in enumerate(hit.index) if _is(ix, axis))
        if self.shapes[hit.tensor][dim] != binder.hi or hit.checked:
            return None
        fill = hit.fill if hit.fill is not None else Const(0.0, hit.dtype)
        if not (isinstance(fill, Const) and fill.value == 0):
            return None
        new = Read(hit.tensor, hit.index, hit.dtype, fill)
        return rewrite(adjoint, lambda e: new if e is hit else None)

    def _reduced(self, term: _Term, left: tuple[Binder, ...]) -> Expr:
        """The sum over the axes that are left. What a guard excludes is not multiplied: 0 * inf would be NaN."""
        inner = {b.name for b in left}
        outer_tests: list[Expr] = []
        inner_tests: list[Expr] = []
        for t in dict.fromkeys(term.guards):
            # a condition that reads stays behind those that may exclude the read
            reads = any(isinstance(e, Read) for e in walk(t))
            stays = free_axes(t) & inner or (reads and inner_tests)
            (inner_tests if stays else outer_tests).append(t)
        outer, guard = all_of(outer_tests), all_of(inner_tests)
        result = term.adjoint
        if left:
            whole = Reduce("sum", left, term.adjoint, self.param.dtype, guard)
            result = summed(term.adjoint, left) if guard is None else whole
        return result if outer is None else call("where", outer, result, Const(0.0, self.param.dtype))


def _is(e: Expr, axis: str) -> bool:
    return isinstance(e, Axis) and e.name == axis

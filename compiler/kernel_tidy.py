"""Small rewritings that make a derived kernel read as if it were written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tdsl.compiler.affine import Ranges, interval, within
from tdsl.compiler.dtype import bool_
from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import (
    FUNCTIONS,
    REDUCERS,
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Reduce,
    Scatter,
    SizeOf,
    Statement,
    call,
    free_axes,
    index_const,
    of_size,
    rewrite,
    roots,
    walk,
)
from tdsl.compiler.kernel_text import canonical_statement

AXIS_NAMES = "ijklmnopqrstuvwabcdefgh"


def product(a: Expr, b: Expr) -> Expr:
    """a * b, without a factor that is 1."""
    for x, other in ((a, b), (b, a)):
        if isinstance(x, Const) and x.value == 1:
            return other
    return call("mul", a, b)


def tidied(fn: str, args: Sequence[Expr]) -> Expr:
    """A function applied, folded where its operands are constants or the identity."""
    if all(isinstance(x, Const) and not x.dtype.is_half for x in args) and fn != "cast":
        made = call(fn, *args)
        value = FUNCTIONS[fn].evaluate(*(np.asarray(x.value, x.dtype.numpy) for x in args if isinstance(x, Const)))
        return Const(np.asarray(value, made.dtype.numpy).item(), made.dtype)
    first, last = args[0], args[-1]
    if fn == "mul":
        return product(first, last)
    if fn == "where" and isinstance(first, Const):
        return args[1] if first.value else last
    if fn == "neg" and isinstance(first, Call) and first.fn == "neg":
        return first.args[0]
    if fn in ("pow", "div") and isinstance(last, Const) and last.value == 1:
        return first
    return call(fn, *args)


def added(parts: Sequence[Expr], binders: tuple[Binder, ...]) -> Expr | None:
    """The sum, equal parts counted instead of repeated; None of nothing."""
    counts: dict[str, tuple[Expr, int]] = {}
    for e in parts:
        key = canonical_statement(Definition("d", binders, e))
        first, n = counts.get(key, (e, 0))
        counts[key] = (first, n + 1)
    total: Expr | None = None
    for e, n in counts.values():
        part = e if n == 1 else call("mul", Const(float(n), e.dtype), e)
        total = part if total is None else call("add", total, part)
    return total


def zero_where_one_is(e: Expr) -> list[Expr]:
    """Parts of `e` that make it 0 where they are 0: factors, also of a numerator and behind a sign."""
    found: list[Expr] = []
    stack = [e]
    while stack:
        node = stack.pop()
        if isinstance(node, Call) and node.fn == "mul":
            stack.extend(node.args)
        elif isinstance(node, Call) and node.fn in ("div", "neg"):
            stack.append(node.args[0])
        else:
            found.append(node)
    return found


def unproved(tests: Sequence[Expr], ranges: Ranges) -> tuple[Expr, ...]:
    """The conditions one by one, without those on indices that always hold."""
    found: list[Expr] = []
    stack = list(reversed(tests))
    while stack:
        test = stack.pop()
        if isinstance(test, Call) and test.fn == "and":
            stack.extend(reversed(test.args))
        elif not _holds(test, ranges):
            found.append(test)
    return tuple(found)


def _holds(test: Expr, ranges: Ranges) -> bool:
    if not isinstance(test, Call) or test.fn not in ("lt", "le", "gt", "ge"):
        return False
    a, b = test.args if test.fn in ("lt", "le") else reversed(test.args)  # whether a < b, or a <= b
    if isinstance(b, SizeOf) and test.fn == "lt":
        return isinstance(a, Axis) and ranges.get(a.name, (0, -1))[1] == b.sym
    low, high = interval(a, ranges), interval(b, ranges)
    if low is None or high is None:
        return False
    return low[1] < high[0] if test.fn in ("lt", "gt") else low[1] <= high[0]


def summed(body: Expr, binders: tuple[Binder, ...]) -> Expr:
    """The sum of `body`; factors, divisors and the sign, where they do not depend on the axes, stand outside."""
    inner = {b.name for b in binders}
    negative, parts = _parts(body)
    rest = [(e, over) for e, over in parts if free_axes(e) & inner]
    if not any(not over for _, over in rest):  # a numerator of 1, or one that stays inside
        return Reduce("sum", binders, body, body.dtype)
    result: Expr = Reduce("sum", binders, _fraction(rest), body.dtype)
    outside = [(e, over) for e, over in parts if not free_axes(e) & inner]
    factors = [e for e, over in outside if not over]
    result = call("mul", _product(factors), result) if factors else result
    for e, over in outside:
        result = call("div", result, e) if over else result
    return call("neg", result) if negative else result


Part = tuple[Expr, bool]  # an expression, and whether it divides


def _parts(e: Expr) -> tuple[bool, list[Part]]:
    """A product of quotients as factors and divisors, and whether its sign is turned."""
    negative = False
    found: list[Part] = []
    stack: list[Part] = [(e, False)]
    while stack:
        node, over = stack.pop()
        if isinstance(node, Call) and node.fn == "mul" and not over:
            stack.extend((a, False) for a in reversed(node.args))
        elif isinstance(node, Call) and node.fn == "div" and not over:
            stack += [(node.args[1], True), (node.args[0], False)]
        elif isinstance(node, Call) and node.fn == "neg" and not over:
            negative = not negative
            stack.append((node.args[0], False))
        else:
            found.append((node, over))
    return negative, found


def _fraction(parts: Sequence[Part]) -> Expr:
    result = _product([e for e, over in parts if not over])
    for e, over in parts:
        result = call("div", result, e) if over else result
    return result


def _product(factors: Sequence[Expr]) -> Expr:
    result = factors[0]
    for f in factors[1:]:
        result = call("mul", result, f)
    return result


def inside(index: Sequence[Expr], shape: Sequence[Size], ranges: Ranges) -> Expr | None:
    """The condition that a position is inside a tensor; None where that is certain."""
    tests: list[Expr] = []
    for e, n in zip(index, shape, strict=True):
        if not within(e, n, ranges):
            tests += [call("ge", e, index_const(0)), call("lt", e, of_size(n))]
    return all_of(tests)


def all_of(tests: Sequence[Expr]) -> Expr | None:
    """The conjunction. A condition that reads is evaluated only where those before it, and those on indices, hold."""
    reads = [any(isinstance(e, Read) for e in walk(t)) for t in tests]
    result: Expr | None = None
    for test, reading in reversed(list(zip(tests, reads, strict=True))):
        if reading:
            result = test if result is None else call("where", test, result, Const(False, bool_))
    plain: Expr | None = None
    for test, reading in zip(tests, reads, strict=True):
        if not reading:
            plain = test if plain is None else call("and", plain, test)
    if plain is None or result is None:
        return plain if result is None else result
    return call("where", plain, result, Const(False, bool_))


def any_of(tests: Sequence[Expr]) -> Expr:
    result = tests[0]
    for t in tests[1:]:
        result = call("or", result, t)
    return result


def finish(body: Sequence[Statement], params: Sequence[Param], output: Definition, wishes: Mapping[str, str]) -> Kernel:
    """The gradient's kernel: only the params that are read, in the forward's order, and axes with short names.

    `wishes` holds the forward's names of axes.
    """
    read = {e.tensor for s in body for r in roots(s) for e in walk(r) if isinstance(e, Read)}
    kept = [p for p in params if p.name in read]
    kept += [Param(n, output.dtype, output.shape) for n in ("y", "g") if n in read]
    taken = {"d", *(p.name for p in kept), *FUNCTIONS, *REDUCERS}
    return Kernel("grad", tuple(kept), tuple(_named(s, wishes, taken) for s in body), ("d",))


def _named(s: Statement, wishes: Mapping[str, str], taken: set[str]) -> Statement:
    bound = list(s.binders)
    for r in roots(s):
        bound += [b for e in walk(r) if isinstance(e, Reduce) for b in e.binders]
    names = _names([b.name for b in bound], wishes, taken)

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Axis):
            return Axis(names[e.name])
        if isinstance(e, Reduce):
            return Reduce(e.op, tuple(Binder(names[b.name], b.lo, b.hi) for b in e.binders), e.body, e.dtype, e.guard)
        return None

    binders = tuple(Binder(names[b.name], b.lo, b.hi) for b in s.binders)
    if isinstance(s, Definition):
        return Definition(s.name, binders, rewrite(s.expr, change))
    guard = None if s.guard is None else rewrite(s.guard, change)
    index = tuple(rewrite(e, change) for e in s.index)
    return Scatter(s.target, binders, index, s.op, rewrite(s.expr, change), guard, s.checked)


def _names(axes: Sequence[str], wishes: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """A name for each axis: the one wished for, the first time, and then the first free letter."""
    used = set(taken)
    names: dict[str, str] = {}
    for axis in axes:
        wish = wishes.get(axis)
        if axis not in names and wish is not None and wish not in used:
            used.add(wish)
            names[axis] = wish
    free = (a for a in (*AXIS_NAMES, *(f"i{k}" for k in range(2, len(axes) + len(used) + 3))) if a not in used)
    for axis in axes:
        if axis not in names:
            names[axis] = next(free)
    return names

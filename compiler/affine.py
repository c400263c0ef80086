"""Index arithmetic: linear forms, intervals, and simplification of subscripts.

Composing views multiplies out into divisions and remainders of sums; `simplify` undoes them where the ranges of
the axes allow, so that a view costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import Axis, Call, Const, Expr, SizeOf, call, rewrite

INTERVAL = ("add", "sub", "mul", "floordiv", "mod", "minimum", "maximum")
Ranges = Mapping[str, tuple[Size, Size]]  # axis -> lower bound, exclusive upper bound


@dataclass(frozen=True, slots=True)
class Affine:
    """constant + the sum of coefficient * axis; coefficients are never 0."""

    terms: tuple[tuple[str, int], ...]
    constant: int

    def coefficient(self, axis: str) -> int:
        return dict(self.terms).get(axis, 0)


def affine(e: Expr) -> Affine | None:
    """The linear form of an index expression, None when it has none with constant coefficients.

    >>> affine(call("add", call("mul", Axis("i"), Const(64, i64)), Axis("j")))
    Affine(terms=(('i', 64), ('j', 1)), constant=0)
    """
    terms: dict[str, int] = {}
    constant = 0
    stack: list[tuple[Expr, int]] = [(e, 1)]
    while stack:
        node, factor = stack.pop()
        if isinstance(node, Const):
            constant += factor * int(node.value)
        elif isinstance(node, Axis):
            terms[node.name] = terms.get(node.name, 0) + factor
        elif isinstance(node, Call) and node.fn in ("add", "sub"):
            stack.append((node.args[1], factor if node.fn == "add" else -factor))
            stack.append((node.args[0], factor))
        elif isinstance(node, Call) and node.fn == "neg":
            stack.append((node.args[0], -factor))
        elif isinstance(node, Call) and node.fn == "mul":
            a, b = node.args
            if isinstance(a, Const):
                a, b = b, a
            if not isinstance(b, Const):
                return None
            stack.append((a, factor * int(b.value)))
        else:
            return None
    return Affine(tuple((k, c) for k, c in terms.items() if c), constant)


def interval(e: Expr, ranges: Ranges) -> tuple[int, int] | None:
    """The smallest and the largest value of `e`, both inclusive; None where a run-time size or a read decides."""
    form = affine(e)
    if form is not None:
        return _affine_interval(form, ranges)
    if not isinstance(e, Call) or e.fn not in INTERVAL:
        return None
    a, b = interval(e.args[0], ranges), interval(e.args[1], ranges)
    if b is not None and e.fn == "mod" and b[0] == b[1] and b[0] > 0:
        n = b[0]
        return a if a is not None and 0 <= a[0] and a[1] < n else (0, n - 1)
    if a is None or b is None:
        return None
    if e.fn in ("minimum", "maximum"):
        pick = min if e.fn == "minimum" else max
        return pick(a[0], b[0]), pick(a[1], b[1])
    if e.fn == "add":
        return a[0] + b[0], a[1] + b[1]
    if e.fn == "sub":
        return a[0] - b[1], a[1] - b[0]
    if e.fn == "mul":
        products = [x * y for x in a for y in b]
        return min(products), max(products)
    if e.fn == "floordiv" and b[0] == b[1] and b[0] > 0:
        return a[0] // b[0], a[1] // b[0]
    return None


def _affine_interval(form: Affine, ranges: Ranges) -> tuple[int, int] | None:
    low = high = form.constant
    for name, c in form.terms:
        if name not in ranges:
            return None
        lo, hi = ranges[name]
        if isinstance(lo, Sym) or isinstance(hi, Sym):
            return None
        ends = (c * lo, c * max(lo, hi - 1))
        low, high = low + min(ends), high + max(ends)
    return low, high


def within(e: Expr, size: Size, ranges: Ranges) -> bool:
    """Whether 0 <= e < size is certain."""
    if isinstance(e, Axis) and e.name in ranges:
        lo, hi = ranges[e.name]
        if isinstance(lo, int) and lo >= 0 and (hi == size or isinstance(hi, int) and isinstance(size, int)):
            return hi == size or int(hi) <= int(size)  # type: ignore[arg-type]
    if isinstance(e, Call) and e.fn == "mod" and isinstance(e.args[1], SizeOf) and e.args[1].sym == size:
        return True
    span = interval(e, ranges)
    if span is None or span[0] < 0:
        return False
    return span[1] < (2 if isinstance(size, Sym) else size)


# --------------------------------------------------------------------------------------- simplification


def simplify(e: Expr, ranges: Ranges) -> Expr:
    """An equal index expression, for axes in their ranges, with no division that the ranges make needless.

    >>> from tdsl.compiler.kernel import Axis, Const, call
    >>> flat = call("add", call("mul", Axis("i"), Const(64, i64)), Axis("j"))
    >>> quotient = simplify(call("floordiv", flat, Const(64, i64)), {"i": (0, 32), "j": (0, 64)})
    >>> quotient
    Axis(name='i')
    """
    if e.dtype is not i64:
        return e
    return rewrite(e, lambda node: _step(node, ranges))


def _step(e: Expr, ranges: Ranges) -> Expr | None:
    if not isinstance(e, Call) or e.dtype is not i64:
        return None
    if e.fn in ("add", "sub", "neg"):
        return _linear(e)
    if e.fn == "mul":
        return _product(e)
    if e.fn in ("floordiv", "mod") and isinstance(e.args[1], Const | SizeOf):
        return _divided(e, ranges)
    return None


Term = tuple[Expr, int]  # an atom and its coefficient


def _terms(e: Expr) -> tuple[list[Term], int]:
    """A sum as atoms with coefficients, and a constant."""
    found: list[Term] = []
    constant = 0
    stack: list[tuple[Expr, int]] = [(e, 1)]
    while stack:
        node, factor = stack.pop()
        if isinstance(node, Const):
            constant += factor * int(node.value)
        elif isinstance(node, Call) and node.fn in ("add", "sub") and node.dtype is i64:
            stack.append((node.args[1], factor if node.fn == "add" else -factor))
            stack.append((node.args[0], factor))
        elif isinstance(node, Call) and node.fn == "neg" and node.dtype is i64:
            stack.append((node.args[0], -factor))
        elif isinstance(node, Call) and node.fn == "mul" and isinstance(node.args[1], Const):
            stack.append((node.args[0], factor * int(node.args[1].value)))
        elif isinstance(node, Call) and node.fn == "mul" and isinstance(node.args[0], Const):
            stack.append((node.args[1], factor * int(node.args[0].value)))
        else:
            found.append((node, factor))
    merged: list[Term] = []
    for atom, factor in found:
        for k, (other, c) in enumerate(merged):
            if same(atom, other):
                merged[k] = (other, c + factor)
                break
        else:
            merged.append((atom, factor))
    return [(a, c) for a, c in merged if c], constant


def _sum(terms: list[Term], constant: int) -> Expr:
    result: Expr | None = None
    for atom, c in terms:
        if result is None:
            result = atom if c == 1 else call("neg", atom) if c == -1 else call("mul", atom, Const(c, i64))
            continue
        size = abs(c)
        part = atom if size == 1 else call("mul", atom, Const(size, i64))
        result = call("add" if c > 0 else "sub", result, part)
    if result is None:
        return Const(constant, i64)
    if constant == 0:
        return result
    return call("add" if constant > 0 else "sub", result, Const(abs(constant), i64))


def _linear(e: Call) -> Expr:
    terms, constant = _terms(e)
    if terms and terms[0][1] < 0:  # a positive term first reads better
        terms.sort(key=lambda t: t[1] < 0)
    return _sum(terms, constant)


def _product(e: Call) -> Expr | None:
    a, b = e.args
    if isinstance(a, Const):
        a, b = b, a
    if not isinstance(b, Const):
        return None
    terms, constant = _terms(a)
    n = int(b.value)
    return _sum([(t, c * n) for t, c in terms if c * n], constant * n)


def _divided(e: Call, ranges: Ranges) -> Expr | None:
    """(n q + r) // n is q and (n q + r) % n is r, when 0 <= r < n."""
    a, divisor = e.args
    if not isinstance(divisor, Const):
        return _divided_by_size(e, ranges)
    n = int(divisor.value)
    if n <= 0:
        return None
    if n == 1:
        return a if e.fn == "floordiv" else Const(0, i64)
    terms, constant = _terms(a)
    whole = [(t, c // n) for t, c in terms if c % n == 0]
    rest = _sum([(t, c) for t, c in terms if c % n], constant % n)
    span = interval(rest, ranges)
    if span is not None and span[0] // n == span[1] // n:
        k = span[0] // n
        if e.fn == "floordiv":
            return _sum(whole, constant // n + k)
        terms_left, left = _terms(rest)
        return _sum(terms_left, left - k * n)
    if e.fn == "mod":
        if isinstance(a, Call) and a.fn == "mod" and isinstance(a.args[1], Const) and int(a.args[1].value) % n == 0:
            return call("mod", a.args[0], divisor)
        return call("mod", rest, divisor) if whole or constant // n else None
    if isinstance(a, Call) and a.fn == "floordiv" and isinstance(a.args[1], Const) and int(a.args[1].value) > 0:
        return call("floordiv", a.args[0], Const(n * int(a.args[1].value), i64))
    if whole or constant // n:
        quotient = call("floordiv", rest, divisor)
        return _sum([*whole, (quotient, 1)], constant // n)
    return None


def _divided_by_size(e: Call, ranges: Ranges) -> Expr | None:
    """(i * s + j) // s is i and (i * s + j) % s is j, when j ranges over 0:s."""
    a, divisor = e.args
    assert isinstance(divisor, SizeOf)
    terms, constant = _terms(a)
    if constant:
        return None
    whole: list[Term] = []
    rest: list[Term] = []
    for atom, c in terms:
        if isinstance(atom, Call) and atom.fn == "mul" and any(same(x, divisor) for x in atom.args):
            other = atom.args[1] if same(atom.args[0], divisor) else atom.args[0]
            whole.append((other, c))
        else:
            rest.append((atom, c))
    left = _sum(rest, 0)
    if not within(left, divisor.sym, ranges):
        return None
    return _sum(whole, 0) if e.fn == "floordiv" else left


def same(a: Expr, b: Expr) -> bool:
    """Equal trees of axes, sizes, constants and calls; reads are equal only when they are one object."""
    if a is b:
        return True
    if isinstance(a, Axis) and isinstance(b, Axis):
        return a.name == b.name
    if isinstance(a, Const) and isinstance(b, Const):
        return a.dtype is b.dtype and a.value == b.value
    if isinstance(a, SizeOf) and isinstance(b, SizeOf):
        return a.sym == b.sym
    if isinstance(a, Call) and isinstance(b, Call) and a.fn == b.fn and a.dtype is b.dtype:
        return len(a.args) == len(b.args) and all(same(x, y) for x, y in zip(a.args, b.args, strict=True))
    return False

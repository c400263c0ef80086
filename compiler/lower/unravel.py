"""Axes that are taken apart by division, as two axes.

A reshape that is written into its reader leaves `x[i, k // 32, j, k % 32]`. With k = 32 k' + k~ that is
`x[i, k', j, k~]`, and `w[n, k]` is `w[n, k', k~]` of a tensor that lies in memory as before. What need not have been
taken apart, `collapse` joins again. A sum of products can be tiled then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tdsl.compiler.affine import Ranges, simplify
from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import (
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
    call,
    index_const,
    rewrite,
    walk,
)


def unravelled(kernel: Kernel) -> Kernel | None:
    """One definition without local ones that only read, and without divisions of its axes; None: it has neither.

    >>> from tdsl.compiler.kernel_parse import parse
    >>> text = "kernel k(x: f32[8,4,3], w: f32[5,12]) -> (y):\\n"
    >>> text += "  t[i, k in 0:12] := x[i, k // 3, k % 3]\\n  y[i, j] := sum[k] t[i, k] * w[j, k]"
    >>> from tdsl.compiler.kernel_text import show
    >>> print(show(unravelled(parse(text))).splitlines()[1].strip())
    y[i, j] := sum[k, k~] x[i, k, k~] * w[j, k, k~]
    """
    one = _inlined(kernel)
    if one is None:
        return None
    (d,) = one.body
    assert isinstance(d, Definition)
    divisors = _divisors(d)
    if not divisors:
        return one if len(kernel.body) > 1 else None
    return _split(one, d, divisors)


def _inlined(kernel: Kernel) -> Kernel | None:
    """Local definitions that are a read of something, at the point where they are read."""
    *locals_, last = kernel.body
    if not isinstance(last, Definition) or kernel.outputs != (last.name,):
        return None
    known: dict[str, Definition] = {}
    for s in locals_:
        if not isinstance(s, Definition):
            return None
        s = Definition(s.name, s.binders, rewrite(s.expr, lambda e: _read_through(e, known)))
        if not isinstance(s.expr, Read) or s.expr.fill is not None or s.expr.checked:
            return None
        known[s.name] = s
    bounds = {b.name: (b.lo, b.hi) for b in last.binders}
    bounds |= {b.name: (b.lo, b.hi) for e in walk(last.expr) if isinstance(e, Reduce) for b in e.binders}
    if any(isinstance(e, Read) and e.tensor in known and (e.fill is not None or e.checked) for e in walk(last.expr)):
        return None
    expr = _tidied(rewrite(last.expr, lambda e: _read_through(e, known)), bounds)
    return Kernel(kernel.name, kernel.params, (Definition(last.name, last.binders, expr),), kernel.outputs)


def _read_through(e: Expr, known: Mapping[str, Definition]) -> Expr | None:
    if not isinstance(e, Read) or e.tensor not in known:
        return None
    d = known[e.tensor]
    places = dict(zip((b.name for b in d.binders), e.index, strict=True))
    return rewrite(d.expr, lambda x: places.get(x.name) if isinstance(x, Axis) else None)


def _tidied(e: Expr, ranges: Ranges) -> Expr:
    def tidy(x: Expr) -> Expr | None:
        if not isinstance(x, Read):
            return None
        return Read(x.tensor, tuple(simplify(i, ranges) for i in x.index), x.dtype, x.fill, x.checked)

    return rewrite(e, tidy)


def _divisors(d: Definition) -> dict[str, int]:
    """By what each axis is divided in a subscript, where it is one number that divides the axis."""
    sizes = {b.name: b for b in d.binders}
    sizes |= {b.name: b for e in walk(d.expr) if isinstance(e, Reduce) for b in e.binders}
    found: dict[str, set[int]] = {}
    for read in (e for e in walk(d.expr) if isinstance(e, Read)):
        for e in (x for index in read.index for x in walk(index)):
            if isinstance(e, Call) and e.fn in ("floordiv", "mod") and isinstance(e.args[0], Axis):
                by = e.args[1]
                found.setdefault(e.args[0].name, set()).add(int(by.value) if isinstance(by, Const) else 0)
    result: dict[str, int] = {}
    for name, values in found.items():
        (c, *more), binder = values, sizes[name]
        if more or c < 2 or binder.lo != 0 or not isinstance(binder.hi, int) or binder.hi % c:
            return {}
        result[name] = c
    return result


def _split(kernel: Kernel, d: Definition, divisors: Mapping[str, int]) -> Kernel | None:
    def parts(b: Binder) -> tuple[Binder, ...]:
        c = divisors.get(b.name)
        if c is None:
            return (b,)
        assert isinstance(b.hi, int)
        return Binder(b.name, 0, b.hi // c), Binder(f"{b.name}~", 0, c)

    def axes(e: Expr) -> Expr | None:
        if isinstance(e, Axis) and e.name in divisors:
            return call("add", call("mul", e, index_const(divisors[e.name])), Axis(f"{e.name}~"))
        if isinstance(e, Reduce):
            return Reduce(e.op, tuple(p for b in e.binders for p in parts(b)), e.body, e.dtype, e.guard)
        return None

    binders = tuple(p for b in d.binders for p in parts(b))
    expr = rewrite(d.expr, axes)
    ranges = {b.name: (b.lo, b.hi) for b in binders}
    ranges |= {b.name: (b.lo, b.hi) for e in walk(expr) if isinstance(e, Reduce) for b in e.binders}
    expr = _tidied(expr, ranges)
    if any(isinstance(e, Call) and e.fn in ("floordiv", "mod") for r in walk(expr) if isinstance(r, Read)
           for index in r.index for e in walk(index)):  # fmt: skip
        return None
    params = {p.name: p for p in kernel.params}
    for p in kernel.params:
        params[p.name], expr = _dimensions(p, expr, sorted(set(divisors.values())), ranges)
    body = (Definition(d.name, binders, expr),)
    return Kernel(kernel.name, tuple(params[p.name] for p in kernel.params), body, kernel.outputs)


def _dimensions(p: Param, expr: Expr, divisors: list[int], ranges: Ranges) -> tuple[Param, Expr]:
    """The param with the dimensions split that every read takes a split axis at."""
    for c in divisors:
        d = 0
        while d < len(p.shape):
            if _divides(p, d, c, expr, ranges):
                n = p.shape[d]
                assert isinstance(n, int)
                shape: tuple[Size, ...] = (*p.shape[:d], n // c, c, *p.shape[d + 1 :])
                expr = rewrite(expr, partial(_two_subscripts, tensor=p.name, d=d, c=c, ranges=ranges))
                p = Param(p.name, p.dtype, shape, p.is_number)
                d += 1
            d += 1
    return p, expr


def _divides(p: Param, d: int, c: int, expr: Expr, ranges: Ranges) -> bool:
    n = p.shape[d]
    if not isinstance(n, int) or n % c or n == c:
        return False
    reads = [e for e in walk(expr) if isinstance(e, Read) and e.tensor == p.name]
    if not reads or not any(isinstance(a, Axis) and a.name.endswith("~") for e in reads for a in walk(e.index[d])):
        return False
    for e in reads:
        pair = _pair(e.index[d], c, ranges)
        if e.fill is not None or e.checked or any(isinstance(x, Call) and x.fn in ("floordiv", "mod")
                                                  for part in pair for x in walk(part)):  # fmt: skip
            return False
    return True


def _pair(e: Expr, c: int, ranges: Ranges) -> tuple[Expr, Expr]:
    by = index_const(c)
    return simplify(call("floordiv", e, by), ranges), simplify(call("mod", e, by), ranges)


def _two_subscripts(e: Expr, tensor: str, d: int, c: int, ranges: Ranges) -> Expr | None:
    if not isinstance(e, Read) or e.tensor != tensor:
        return None
    return Read(e.tensor, (*e.index[:d], *_pair(e.index[d], c, ranges), *e.index[d + 1 :]), e.dtype, e.fill, e.checked)

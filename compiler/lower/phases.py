"""Sums over every s-th point, as sums over all points of each phase.

The gradient of a strided convolution, and a transposed convolution, sum where `(k - n + c) % s == 0`, k an axis of the
output and n one of the sum. With k = s k' + a that holds for n = s t + a + c alone, so the output is split into its s
phases a, and t takes the place of n: nothing is visited in vain but the ends, where n is outside of its range.
"""

from __future__ import annotations

from dataclasses import dataclass

from tdsl.compiler.affine import affine, interval, simplify
from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import Axis, Binder, Call, Const, Definition, Expr, Kernel, Read, Reduce, call, rewrite, walk
from tdsl.compiler.kernel import index_const as ic


@dataclass(frozen=True, slots=True)
class _Stride:
    """(out - summed + offset) % stride == 0"""

    out: str
    summed: str
    offset: int
    stride: int

    @property
    def phase(self) -> str:
        return f"{self.out}~"


def split_phases(kernel: Kernel) -> tuple[Kernel, frozenset[str]] | None:
    """The kernel with an axis for the phases of each strided one, and the names of those axes; None: there are none.

    >>> from tdsl.compiler.kernel_parse import parse
    >>> text = "kernel k(g: f32[4], w: f32[3]) -> (y):"
    >>> text += "\\n  y[k in 0:8] := sum[n in 0:3 if (k - n + 1) % 2 == 0] g[(k - n + 1) // 2 else 0.0] * w[n]"
    >>> found, axes = split_phases(parse(text))
    >>> from tdsl.compiler.kernel_text import show
    >>> print(show(found).splitlines()[1].strip())
    y[k in 0:4, k~ in 0:2] := sum[n in 0:2 if k~ + n * 2 - 1 >= 0] g[k - n + 1 else 0.0] * w[k~ + n * 2 - 1]
    """
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Definition):
        return None
    d = kernel.body[0]
    found = [e for e in walk(d.expr) if isinstance(e, Reduce)]
    if len(found) != 1 or found[0].op != "sum" or found[0].guard is None:
        return None
    (e,) = found
    assert e.guard is not None
    sizes = {b.name: b for b in (*d.binders, *e.binders)}
    strides = [_stride(x, {b.name for b in d.binders}, sizes) for x in _conjuncts(e.guard)]
    known = [s for s in strides if s is not None]
    if len(known) != len(strides) or len({s.out for s in known} | {s.summed for s in known}) != 2 * len(known):
        return None
    return _split(kernel, d, e, known), frozenset(s.phase for s in known)


def _conjuncts(e: Expr) -> list[Expr]:
    if isinstance(e, Call) and e.fn == "and":
        return [c for a in e.args for c in _conjuncts(a)]
    return [e]


def _stride(e: Expr, outer: set[str], sizes: dict[str, Binder]) -> _Stride | None:
    if not isinstance(e, Call) or e.fn != "eq":
        return None
    left, right = e.args
    if not (isinstance(right, Const) and right.value == 0 and isinstance(left, Call) and left.fn == "mod"):
        return None
    by = left.args[1]
    form = affine(left.args[0])
    if form is None or not isinstance(by, Const) or len(form.terms) != 2:
        return None
    coefficients = dict(form.terms)
    out = next((n for n, c in form.terms if c == 1 and n in outer), None)
    summed = next((n for n, c in form.terms if c == -1 and n not in outer), None)
    s = int(by.value)
    if out is None or summed is None or s < 2 or len(coefficients) != 2:
        return None
    ends = (sizes[out].lo, sizes[out].hi, sizes[summed].lo, sizes[summed].hi)
    if not all(isinstance(n, int) for n in ends) or int(ends[1]) % s or ends[0] != 0 or ends[2] != 0:  # type: ignore[arg-type]
        return None
    return _Stride(out, summed, form.constant, s)


def _split(kernel: Kernel, d: Definition, e: Reduce, strides: list[_Stride]) -> Kernel:
    replaced: dict[str, Expr] = {}
    tests: list[Expr] = []
    outer: dict[str, tuple[Binder, ...]] = {b.name: (b,) for b in d.binders}
    inner = {b.name: b for b in e.binders}
    for s in strides:
        k, n = outer[s.out][0], inner[s.summed]
        assert isinstance(k.hi, int) and isinstance(n.hi, int)
        outer[s.out] = (Binder(k.name, 0, k.hi // s.stride), Binder(s.phase, 0, s.stride))
        first, last = -((s.stride - 1 + s.offset) // s.stride), (n.hi - 1 - s.offset) // s.stride
        inner[s.summed] = Binder(n.name, 0, max(0, last - first + 1))
        replaced[s.out] = call("add", call("mul", Axis(s.out), ic(s.stride)), Axis(s.phase))
        place = call("add", Axis(s.phase), call("mul", Axis(s.summed), ic(s.stride)))
        replaced[s.summed] = call("add", place, ic(s.offset + s.stride * first))
        span = interval(replaced[s.summed], {s.phase: (0, s.stride), s.summed: (0, last - first + 1)})
        assert span is not None
        if span[0] < 0:
            tests.append(call("ge", replaced[s.summed], ic(0)))
        if span[1] >= n.hi:
            tests.append(call("lt", replaced[s.summed], ic(n.hi)))
    binders = tuple(b for group in outer.values() for b in group)
    ranges: dict[str, tuple[Size, Size]] = {b.name: (b.lo, b.hi) for b in (*binders, *inner.values())}

    def axes(x: Expr) -> Expr | None:
        return replaced.get(x.name) if isinstance(x, Axis) else None

    def tidy(x: Expr) -> Expr | None:
        if isinstance(x, Read):
            return Read(x.tensor, tuple(simplify(i, ranges) for i in x.index), x.dtype, x.fill, x.checked)
        if isinstance(x, Call) and x.fn in ("ge", "lt") and x.args[0].dtype is i64:
            return call(x.fn, *(simplify(a, ranges) for a in x.args))
        return None

    guard: Expr | None = None
    for test in tests:
        guard = test if guard is None else call("and", guard, test)
    body = rewrite(rewrite(e.body, axes), tidy)
    guard = None if guard is None else rewrite(guard, tidy)
    total = Reduce(e.op, tuple(inner.values()), body, e.dtype, guard)
    held = Read("'sum", (), e.dtype)
    rest = rewrite(rewrite(rewrite(d.expr, lambda x: held if x is e else None), axes), tidy)
    whole = rewrite(rest, lambda x: total if isinstance(x, Read) and x.tensor == "'sum" else None)
    return Kernel(kernel.name, kernel.params, (Definition(d.name, binders, whole),), kernel.outputs)

"""Ranges and bounds of an index statement (LANGUAGE 4.6.3 and 4.6.4).

A range that is not given comes from the subscripts: first where the index stands alone, then in rounds, as the
largest range from 0 that keeps every plain read inside. Then each subscript is proved inside, reported as certainly
outside, or left to be checked when the read is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tdsl.compiler import affine
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import Axis, Binder, Call, Const, Expr, Read, Reduce, children, rewrite, walk
from tdsl.compiler.kernel_text import show_expression
from tdsl.compiler.source import IndexNotationError

OPEN = -(1 << 62)  # the bounds of a binder whose range is not given


@dataclass(frozen=True, slots=True)
class Resolved:
    """Binders with ranges, expressions whose reductions have ranges and whose reads say what must be checked."""

    binders: tuple[Binder, ...]
    expressions: tuple[Expr, ...]


class RangeError(IndexNotationError):
    """E0410 to E0416. `exprs` are the reads at fault, the primary one last; `texts` is said at each of them."""

    def __init__(
        self, code: str, message: str, hint: str | None = None, exprs: Sequence[Expr] = (), texts: Sequence[str] = ()
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.exprs = tuple(exprs)
        self.texts = tuple(texts) or ("",) * len(self.exprs)


def resolve(
    binders: Sequence[Binder],
    expressions: Sequence[Expr],
    shapes: Mapping[str, tuple[Size, ...]],
    outputs: Sequence[str] = (),
    text: Callable[[Expr], str] | None = None,
    guarded: bool = False,
) -> Resolved:
    """The ranges of all axes bound by `binders` or in `expressions`, and the bounds checks of the reads.

    A binder without a range is `Binder(name, OPEN, OPEN)`; `outputs` names the axes left of `:=`, which start at 0.
    Reads of tensors that `shapes` lacks say nothing and are checked. `text` gives the source of a read, for
    messages. `guarded`: the expressions stand under a guard. The target of a scatter is passed as one more read.

    >>> from tdsl.compiler.dtype import f32
    >>> from tdsl.compiler.kernel import call, index_const
    >>> read = Read("x", (call("add", Axis("i"), index_const(2)),), f32)
    >>> resolve([Binder("i", OPEN, OPEN)], [read], {"x": (10,)}, ["i"]).binders
    (Binder(name='i', lo=0, hi=8),)
    """
    return _Resolver(binders, expressions, shapes, outputs, text or show_expression, guarded).resolved()


# ------------------------------------------------------------------------------------------- linear forms


@dataclass(frozen=True, slots=True)
class _Term:
    """An axis ("axis"), an axis divided by `by` ("div"), or a remainder modulo `by` ("mod"; `name` only tells
    remainders apart)."""

    name: str
    kind: str
    by: int = 1


Linear = tuple[dict[_Term, int], int]  # coefficients of the terms, and a constant


def linear(e: Expr) -> Linear | None:
    """A subscript as a sum of constants times terms; None where it is anything else."""
    terms: dict[_Term, int] = {}
    constant = 0
    stack: list[tuple[Expr, int]] = [(e, 1)]
    while stack:
        node, factor = stack.pop()
        term = _atom(node)
        if isinstance(node, Const):
            constant += factor * int(node.value)
        elif isinstance(term, int):
            constant += factor * term
        elif term is not None:
            terms[term] = terms.get(term, 0) + factor
        elif isinstance(node, Call) and node.fn in ("add", "sub"):
            stack += [(node.args[1], factor if node.fn == "add" else -factor), (node.args[0], factor)]
        elif isinstance(node, Call) and node.fn == "neg":
            stack.append((node.args[0], -factor))
        elif isinstance(node, Call) and node.fn == "mul" and (scaled := _scaled(node)) is not None:
            stack.append((scaled[0], factor * scaled[1]))
        else:
            return None
    return {t: c for t, c in terms.items() if c}, constant


def _scaled(e: Call) -> tuple[Expr, int] | None:
    """A product with a factor that is a constant."""
    for x, other in ((e.args[1], e.args[0]), (e.args[0], e.args[1])):
        form = affine.affine(x)
        if form is not None and not form.terms:
            return other, form.constant
    return None


def _atom(e: Expr) -> _Term | int | None:
    """An axis, a quotient or a remainder by a positive constant; an int where the value is constant."""
    if isinstance(e, Axis):
        return _Term(e.name, "axis")
    if not isinstance(e, Call) or e.fn not in ("floordiv", "mod"):
        return None
    by = affine.affine(e.args[1])
    if by is None or by.terms or by.constant <= 0:
        return None
    form = affine.affine(e.args[0])
    if form is not None and not form.terms:
        quotient, rest = divmod(form.constant, by.constant)
        return quotient if e.fn == "floordiv" else rest
    if e.fn == "mod":
        return _Term(f"mod {id(e)}", "mod", by.constant) if linear(e.args[0]) is not None else None
    if form is not None and form.constant == 0 and len(form.terms) == 1 and form.terms[0][1] == 1:
        return _Term(form.terms[0][0], "div", by.constant)
    return None


# ------------------------------------------------------------------------------------------------- reads


@dataclass(frozen=True, slots=True)
class _Use:
    """One subscript of a read; `dim` is the size of its dimension."""

    read: Read
    position: int
    index: Expr
    form: Linear | None
    dim: Size | None
    guarded: bool


@dataclass(slots=True)
class _Resolver:
    binders: Sequence[Binder]
    expressions: Sequence[Expr]
    shapes: Mapping[str, tuple[Size, ...]]
    outputs: Sequence[str]
    text: Callable[[Expr], str]
    guarded: bool
    ranges: dict[str, tuple[Size, Size]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)

    def resolved(self) -> Resolved:
        for b in self._bound():
            self._given(b)
        uses = self._uses()
        self._bare(uses)
        while self.unknown:
            self._round(uses)
        for use in uses:
            self._bounds(use)
        return Resolved(
            tuple(self._filled(b) for b in self.binders), tuple(rewrite(e, self._marked) for e in self.expressions)
        )

    def _bound(self) -> list[Binder]:
        inner = [b for e in self.expressions for node in walk(e) if isinstance(node, Reduce) for b in node.binders]
        return [*self.binders, *inner]

    def _given(self, b: Binder) -> None:
        if b.lo == OPEN or b.hi == OPEN:
            if b.name not in self.unknown:
                self.unknown.append(b.name)
            return
        if b.name in self.outputs and b.lo != 0:
            raise RangeError("E0416", f"an output index starts at 0, but `{b.name}` starts at {b.lo}")
        self.ranges[b.name] = (b.lo, b.hi)
        self.given.add(b.name)

    def _uses(self) -> list[_Use]:
        uses: list[_Use] = []
        stack = [(e, self.guarded) for e in reversed(self.expressions)]
        while stack:
            e, guarded = stack.pop()
            if isinstance(e, Read):
                shape = self.shapes.get(e.tensor)
                for k, ix in enumerate(e.index):
                    uses.append(_Use(e, k, ix, linear(ix), None if shape is None else shape[k], guarded))
            stack.extend((kid, guarded or _conditional(e, k)) for k, kid in reversed(list(enumerate(children(e)))))
        return uses

    # ---- ranges

    def _bare(self, uses: Sequence[_Use]) -> None:
        """Rule 2: an index that is a whole subscript has that dimension's range, the same everywhere."""
        found: dict[str, _Use] = {}
        for use in uses:
            if not isinstance(use.index, Axis) or use.dim is None or use.index.name in self.given:
                continue
            first = found.setdefault(use.index.name, use)
            if first.dim != use.dim:
                raise self._two_sizes(use.index.name, first, use)
            self.ranges[use.index.name] = (0, use.dim)
        self.unknown = [name for name in self.unknown if name not in found]

    def _two_sizes(self, name: str, first: _Use, second: _Use) -> RangeError:
        a, b = self.text(first.read), self.text(second.read)
        hint = "sizes are never broadcast in index notation; use 0 to read a dimension of size 1"
        return RangeError(
            "E0410",
            f"index `{name}` has two sizes: {first.dim} in `{a}` and {second.dim} in `{b}`",
            hint if 1 in (first.dim, second.dim) else None,
            (first.read, second.read),
            [f"{name} is {use.dim} here: {self._shape_text(use.read)}" for use in (first, second)],
        )

    def _shape_text(self, e: Read) -> str:
        return f"{_base(self.text(e))} is [{', '.join(map(str, self.shapes[e.tensor]))}]"

    def _round(self, uses: Sequence[_Use]) -> None:
        """Rule 3: every index that is the only unknown one of a subscript, over all such subscripts."""
        got: dict[str, tuple[int, int, _Use]] = {}
        for use in uses:
            allowed = self._allowed(use)
            if allowed is None:
                continue
            name, low, high = allowed
            if name in got:
                low, high = max(low, got[name][0]), min(high, got[name][1])
            got[name] = (low, high, use)
        if not got:
            raise self._unresolved(uses)
        for name, (low, high, use) in got.items():
            if low > 0:
                raise self._starts_late(name, low, high, use)
            if high < 0:
                raise RangeError("E0414", f"index `{name}` has an empty range", exprs=(use.read,))
            self.ranges[name] = (0, high + 1)
        self.unknown = [name for name in self.unknown if name not in got]

    def _allowed(self, use: _Use) -> tuple[str, int, int] | None:
        """The one unknown index of a subscript, and its least and greatest value that keep the read inside."""
        if use.form is None or use.read.fill is not None or not isinstance(use.dim, int):
            return None
        open_terms = [t for t in use.form[0] if t.kind != "mod" and t.name in self.unknown]
        if len(open_terms) != 1:
            return None
        (term,) = open_terms
        others = {t: c for t, c in use.form[0].items() if t != term}
        span = self._span((others, use.form[1]))
        if span is None:
            return None
        c, room = use.form[0][term], use.dim - 1
        if c > 0:
            low, high = -(span[0] // c), (room - span[1]) // c
        else:
            low, high = -((room - span[1]) // -c), span[0] // -c
        if term.kind == "div":
            low, high = low * term.by, high * term.by + term.by - 1
        return term.name, low, high

    def _starts_late(self, name: str, low: int, high: int, use: _Use) -> RangeError:
        hint = f"give the range: `{name} in {low}:{high + 1}`"
        if name in self.outputs:
            hint = (
                f"an output index starts at 0: shift the subscripts so that {name} = 0 is the first valid element, "
                "or pad the read: `else 0.0`"
            )
        message = f"`{self.text(use.read)}` reads before the start when {name} = 0"
        return RangeError("E0413", message, hint, (use.read,))

    def _unresolved(self, uses: Sequence[_Use]) -> RangeError:
        name = self.unknown[0]
        seen = [u for u in uses if u.form is not None and any(t.name == name for t in u.form[0])]
        for use in seen:
            assert use.form is not None
            together = sorted({t.name for t in use.form[0] if t.kind != "mod" and t.name in self.unknown})
            if use.read.fill is None and len(together) > 1:
                names = " and ".join(f"`{n}`" for n in together)
                message = f"cannot infer the ranges of {names}: they appear only together, in `{self.text(use.read)}`"
                return RangeError("E0411", message, f"give one of them: `{name} in 0:n`", (use.read,))
        padded = ": its only use is padded" if seen and all(u.read.fill is not None for u in seen) else ""
        message = f"the range of index `{name}` is not known{padded}"
        return RangeError("E0412", message, f"write `{name} in 0:n`", [u.read for u in seen[:1]])

    # ---- bounds

    def _span(self, form: Linear) -> tuple[int, int] | None:
        """The least and the greatest value of a linear form; None where a run-time size decides."""
        low = high = form[1]
        for term, c in form[0].items():
            if term.kind == "mod":
                ends = (0, c * (term.by - 1))
            else:
                lo, hi = self.ranges.get(term.name, (OPEN, OPEN))
                if isinstance(lo, Sym) or isinstance(hi, Sym) or lo == OPEN:
                    return None
                ends = (c * (lo // term.by), c * (max(lo, hi - 1) // term.by))
            low, high = low + min(ends), high + max(ends)
        return low, high

    def _proved(self, index: Expr, dim: Size) -> bool:
        if affine.within(index, dim, self.ranges):
            return True
        form = linear(index)
        span = None if form is None else self._span(form)
        return span is not None and span[0] >= 0 and isinstance(dim, int) and span[1] < dim

    def _bounds(self, use: _Use) -> None:
        """E0415 where a plain read, under no condition, certainly goes outside."""
        if use.dim is None or use.guarded or use.read.fill is not None or use.form is None:
            return
        if not isinstance(use.dim, int) or self._proved(use.index, use.dim) or not self._attained(use.form):
            return
        span = self._span(use.form)
        if span is None:
            return
        bad = span[0] if span[0] < 0 else span[1]
        message = f"`{self.text(use.read)}` reads position {bad} of dimension {use.position}, which has size {use.dim}"
        raise RangeError("E0415", message, "narrow the range, guard it, or pad it: `else 0.0`", (use.read,))

    def _attained(self, form: Linear) -> bool:
        """Whether some point reaches the ends of the form's interval: no remainders, each axis once, none empty."""
        names = [t.name for t in form[0]]
        if len(set(names)) != len(names) or any(t.kind == "mod" for t in form[0]):
            return False
        bounds = [*(self.ranges[n] for n in names), *(self.ranges[b.name] for b in self.binders)]
        return all(isinstance(lo, Sym) or isinstance(hi, Sym) or lo < hi for lo, hi in bounds)

    # ---- the result

    def _filled(self, b: Binder) -> Binder:
        return Binder(b.name, *self.ranges[b.name])

    def _marked(self, e: Expr) -> Expr | None:
        if isinstance(e, Reduce):
            return Reduce(e.op, tuple(self._filled(b) for b in e.binders), e.body, e.dtype, e.guard)
        if not isinstance(e, Read) or e.fill is not None:
            return None
        shape = self.shapes.get(e.tensor)
        checked = shape is None or not all(self._proved(ix, n) for ix, n in zip(e.index, shape, strict=True))
        return None if checked == e.checked else Read(e.tensor, e.index, e.dtype, None, checked)


def _conditional(e: Expr, child: int) -> bool:
    """Whether that child is evaluated under a condition: a branch, a guarded body, a fill."""
    if isinstance(e, Call):
        return e.fn == "where" and child > 0
    if isinstance(e, Reduce):
        return e.guard is not None and child == 1
    return isinstance(e, Read) and child == len(e.index)


def _base(text: str) -> str:
    """What stands before the last subscript: `f(x)[0]` of `f(x)[0][i, j]`."""
    depth = 0
    for k in range(len(text) - 1, -1, -1):
        depth += (text[k] == "]") - (text[k] == "[")
        if depth == 0:
            return text[:k] or text
    return text

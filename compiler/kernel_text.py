"""Kernel IR as text: `show`, and the one text that equal kernels share. The reader is `kernel_parse.py`.

A statement is a line of the language: infix operators, `a if c else b`, `x.to(f32)`, reductions that take the
product to their right. A binder's range is written where the reads do not give it (LANGUAGE 4.6.3, rule 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isinf, isnan

from tdsl.compiler.dtype import BOOL, FLOAT, DType, bool_, f32, i64
from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import (
    FUNCTIONS,
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
    children,
    rewrite,
    roots,
    walk,
)

# Binding strengths, weakest first, as in the language's grammar.
COND, OR, AND, NOT, COMPARE, BITOR, BITXOR, BITAND, SUM, TERM, UNARY, POWER, POSTFIX = range(13)
INFIX = {
    "add": SUM, "sub": SUM, "mul": TERM, "div": TERM, "floordiv": TERM, "mod": TERM, "pow": POWER,
    "eq": COMPARE, "ne": COMPARE, "lt": COMPARE, "le": COMPARE, "gt": COMPARE, "ge": COMPARE,
    "and": BITAND, "or": BITOR, "xor": BITXOR,
}  # fmt: skip


def show(kernel: Kernel, hints: Mapping[str, str] | None = None) -> str:
    """The kernel as text; `hints` gives tensors other names, made distinct where two agree."""
    if hints:
        kernel = rename(kernel, _distinct(kernel, hints))
    params = ", ".join(map(str, kernel.params))
    lines = [f"kernel {kernel.name}({params}) -> ({', '.join(kernel.outputs)}):"]
    shapes = _shapes(kernel)
    lines += [f"  {show_statement(s, shapes)}" for s in kernel.body]
    return "\n".join(lines) + "\n"


def _shapes(kernel: Kernel) -> dict[str, tuple[Size, ...]]:
    shapes = {p.name: p.shape for p in kernel.params}
    shapes |= {s.name: s.shape for s in kernel.body if isinstance(s, Definition)}
    return shapes


def _distinct(kernel: Kernel, hints: Mapping[str, str]) -> dict[str, str]:
    names = [p.name for p in kernel.params] + [s.name for s in kernel.body if isinstance(s, Definition)]
    axes = {b.name for s in kernel.body for b in s.binders}
    axes |= {b.name for s in kernel.body for r in roots(s) for e in walk(r) if isinstance(e, Reduce) for b in e.binders}
    taken = axes | set(FUNCTIONS) | {"if", "else", "in", "inf", "nan"}
    result: dict[str, str] = {}
    for name in names:
        wish = hints.get(name, name).replace(".", "_")
        if not wish.isidentifier():
            wish = name
        tried, k = wish, 2
        while tried in taken:
            tried, k = f"{wish}_{k}", k + 1
        taken.add(tried)
        result[name] = tried
    return result


def rename(kernel: Kernel, names: Mapping[str, str]) -> Kernel:
    """The kernel with tensors renamed."""

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Read) and e.tensor in names:
            return Read(names[e.tensor], e.index, e.dtype, e.fill, e.checked)
        return None

    body: list[Statement] = []
    for s in kernel.body:
        if isinstance(s, Definition):
            body.append(Definition(names.get(s.name, s.name), s.binders, rewrite(s.expr, change)))
            continue
        guard = None if s.guard is None else rewrite(s.guard, change)
        index = tuple(rewrite(e, change) for e in s.index)
        target = names.get(s.target, s.target)
        body.append(Scatter(target, s.binders, index, s.op, rewrite(s.expr, change), guard, s.checked))
    params = tuple(Param(names.get(p.name, p.name), p.dtype, p.shape, p.is_number) for p in kernel.params)
    return Kernel(kernel.name, params, tuple(body), tuple(names.get(n, n) for n in kernel.outputs))


# --------------------------------------------------------------------------------------------- statements


def show_statement(s: Statement, shapes: Mapping[str, tuple[Size, ...]]) -> str:
    """One line of the language. `shapes` of the tensors read decides which ranges need not be written."""
    known = bare_ranges(roots(s), shapes)
    writer = _Writer(known)
    if isinstance(s, Definition):
        binders = ", ".join(writer.binder(b) for b in s.binders)
        return f"{s.name}[{binders}] := {writer.text(s.expr, COND)}"
    binders = ", ".join(writer.binder(b) for b in s.binders)
    guard = f" if {writer.text(s.guard, OR)}" if s.guard is not None else ""
    index = ", ".join(writer.text(e, COND) for e in s.index)
    mark = "" if s.checked else " unchecked"
    return f"scatter[{binders}{guard}]: {s.target}[{index}] {s.op} {writer.text(s.expr, COND)}{mark}"


def show_expression(e: Expr) -> str:
    """An expression as it stands in a statement; every range is written.

    >>> from tdsl.compiler.kernel import call
    >>> show_expression(Read("x", (call("add", Axis("i"), Const(1, i64)),), f32))
    'x[i + 1]'
    """
    return _Writer({}).text(e, COND)


def bare_ranges(expressions: tuple[Expr, ...], shapes: Mapping[str, tuple[Size, ...]]) -> dict[str, Size]:
    """Axes used alone as a subscript, and the size that they have there; not those whose uses disagree."""
    found: dict[str, Size] = {}
    torn: set[str] = set()
    for root in expressions:
        for e in walk(root):
            if not isinstance(e, Read) or e.tensor not in shapes:
                continue
            for ix, size in zip(e.index, shapes[e.tensor], strict=False):
                if isinstance(ix, Axis) and found.setdefault(ix.name, size) != size:
                    torn.add(ix.name)
    return {name: size for name, size in found.items() if name not in torn}


@dataclass(frozen=True, slots=True)
class _Writer:
    known: Mapping[str, Size]

    def binder(self, b: Binder) -> str:
        if b.lo == 0 and self.known.get(b.name) == b.hi:
            return b.name
        return f"{b.name} in {b.lo}:{b.hi}"

    def text(self, root: Expr, level: int) -> str:
        """The expression, in parentheses where it binds more weakly than `level`. No recursion."""
        out: list[str] = []
        stack: list[str | tuple[Expr, int]] = [(root, level)]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                out.append(item)
                continue
            stack.extend(reversed(self._parts(*item)))
        return "".join(out)

    def _parts(self, e: Expr, level: int) -> list[str | tuple[Expr, int]]:
        if isinstance(e, Const):
            text = _literal(e)
            return [f"({text})"] if text.startswith("-") and level > SUM else [text]
        if isinstance(e, Axis):
            return [e.name]
        if isinstance(e, SizeOf):
            return [str(e.sym)]
        if isinstance(e, Read):
            return self._read(e)
        if isinstance(e, Reduce):
            return self._reduction(e, level)
        own, parts = self._call(e)
        return ["(", *parts, ")"] if own < level else parts

    def _read(self, e: Read) -> list[str | tuple[Expr, int]]:
        if not e.index and e.fill is None:
            return [e.tensor]
        parts: list[str | tuple[Expr, int]] = [f"{e.tensor}["]
        for k, ix in enumerate(e.index):
            parts += [", "] if k else []
            parts.append((ix, COND))
        if e.fill is not None:
            parts += [" else ", _operand(e.fill, e, COND)]
        return [*parts, "]"]

    def _reduction(self, e: Reduce, level: int) -> list[str | tuple[Expr, int]]:
        binders = ", ".join(self.binder(b) for b in e.binders)
        parts: list[str | tuple[Expr, int]] = [f"{e.op}[{binders}"]
        if e.guard is not None:
            parts += [" if ", (e.guard, OR)]
        parts += ["] ", (e.body, TERM)]
        return ["(", *parts, ")"] if level > TERM else parts

    def _call(self, e: Call) -> tuple[int, list[str | tuple[Expr, int]]]:
        a = e.args
        if e.fn == "where":
            return COND, [_operand(a[1], a[2], OR), " if ", (a[0], OR), " else ", _operand(a[2], a[1], COND)]
        if e.fn == "cast":
            return POSTFIX, [(a[0], POSTFIX), f".to({e.dtype.name})"]
        if e.fn == "neg":
            return UNARY, ["-", (a[0], UNARY)]
        if e.fn == "not":
            return (NOT, ["not ", (a[0], NOT)]) if e.dtype is bool_ else (UNARY, ["~", (a[0], UNARY)])
        if e.fn in ("and", "or") and e.dtype is bool_:
            own = AND if e.fn == "and" else OR
            return own, [(a[0], own), f" {e.fn} ", (a[1], own + 1)]
        if e.fn in INFIX:
            own = INFIX[e.fn]
            left, right = (POSTFIX, UNARY) if e.fn == "pow" else (own, own + 1)
            if own == TERM:
                right = UNARY
            if own == COMPARE:
                left = own + 1
            first = _operand(a[0], a[1], self._left(a[0], left))
            second = _operand(a[1], a[0], self._right(e, a[1], right))
            return own, [first, f" {FUNCTIONS[e.fn].infix} ", second]
        parts: list[str | tuple[Expr, int]] = [f"{e.fn}("]
        for k, x in enumerate(a):
            parts += [", "] if k else []
            parts.append((x, COND))
        return POSTFIX, [*parts, ")"]

    def _left(self, x: Expr, level: int) -> int:
        """A reduction swallows the product to its right, so on the left it is put in parentheses."""
        return UNARY if level == TERM and _ends_in_reduction(x) else level

    def _right(self, e: Call, x: Expr, level: int) -> int:
        """The last operand of a product may be a reduction."""
        return TERM if isinstance(x, Reduce) and e.fn in ("mul", "div") else level


def _operand(x: Expr, fellow: Expr, level: int) -> str | tuple[Expr, int]:
    """An operand; a literal whose fellow decides the dtype stands bare."""
    if isinstance(x, Const) and not isinstance(fellow, Const) and x.dtype.is_float and x.dtype is fellow.dtype:
        text = _literal(Const(x.value, f32))
        return f"({text})" if text.startswith("-") and level > SUM else text
    return x, level


def _ends_in_reduction(e: Expr) -> bool:
    while isinstance(e, Call) and e.fn in ("mul", "div"):
        e = e.args[1]
    return isinstance(e, Reduce)


def _literal(e: Const) -> str:
    value, dtype = e.value, e.dtype
    if dtype.category == BOOL:
        return str(bool(value))
    if dtype.category == FLOAT:
        number = float(value)
        text = "nan" if isnan(number) else ("inf" if number > 0 else "-inf") if isinf(number) else repr(number)
        return text if dtype is f32 else f"{dtype.name}({text})"
    return str(int(value)) if dtype is i64 else f"{dtype.name}({int(value)})"


# ------------------------------------------------------------------------------------------ canonical text


def canonical(kernel: Kernel) -> str:
    """The same text for kernels that differ in names only: the key of the kernel cache."""
    parts: list[str] = []
    tensors: dict[str, str] = {}
    for p in kernel.params:
        tensors[p.name] = f"a{len(tensors)}"
        shape = ",".join(map(str, p.shape))
        parts.append(f"{'#' if p.is_number else ''}{p.dtype.name}[{shape}]")
    for s in kernel.body:
        if isinstance(s, Definition):
            parts.append(canonical_statement(s, tensors))
            tensors[s.name] = f"t{len(tensors)}"
        else:
            parts.append(f"{tensors[s.target]}{s.op}{s.checked}{canonical_statement(s, tensors)}")
    parts.append(",".join(tensors[n] for n in kernel.outputs))
    return "\n".join(parts)


def canonical_statement(s: Statement, tensors: Mapping[str, str] | None = None) -> str:
    """A statement with its axes normalised, and its tensors too where `tensors` names them."""
    axes: dict[str, str] = {}
    out: list[str] = []

    def bind(b: Binder) -> str:
        axes[b.name] = f"i{len(axes)}"
        return f"{b.lo}:{b.hi}"

    out.append("|".join(bind(b) for b in s.binders))
    stack: list[Expr] = list(reversed(roots(s)))
    while stack:
        e = stack.pop()
        if isinstance(e, Const):
            out.append(f"{e.value!r}{e.dtype.name}")
        elif isinstance(e, Axis):
            out.append(axes[e.name])
        elif isinstance(e, SizeOf):
            out.append(str(e.sym))
        elif isinstance(e, Call):
            out.append(f"{e.fn}:{e.dtype.name}")
        elif isinstance(e, Read):
            tensor = e.tensor if tensors is None else tensors[e.tensor]
            out.append(f"{tensor}[{len(e.index)}{'e' if e.fill is not None else ''}{'!' * e.checked}")
        else:
            out.append(f"{e.op}{'g' if e.guard is not None else ''}({'|'.join(bind(b) for b in e.binders)})")
        stack.extend(reversed(children(e)))
    return " ".join(out)


_interned: dict[str, Kernel] = {}
_interned_ids: set[int] = set()  # of the interned kernels, which live as long as the process


def intern(kernel: Kernel) -> Kernel:
    """The one object for all kernels of this canonical text, so that a kernel can be an op's attr.

    Its name, params and axes are those of the first such kernel, with params a0, a1, ... and output y kept.
    """
    if id(kernel) in _interned_ids:
        return kernel
    found = _interned.setdefault(f"{[p.name for p in kernel.params]}{kernel.outputs}{canonical(kernel)}", kernel)
    _interned_ids.add(id(found))
    return found


def literal_dtype(text: str) -> DType:
    """What a bare literal is where nothing else decides: f32 with a point or an exponent, i64 without."""
    return f32 if any(c in text for c in ".einf") and not text.isdigit() else i64

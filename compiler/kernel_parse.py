"""Reading index notation: a tokenizer and a precedence parser for what `kernel_text.show` writes.

A literal takes the dtype of its fellow operand; where both are literals, a point or an exponent makes it f32. An
axis without a range gets one as in the language (`ranges.py`), and reads not proved inside are checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf, nan

from tdsl.compiler.dtype import DTYPES, HALVES, DType, bool_, by_name, f32, i64
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import (
    FUNCTIONS,
    REDUCERS,
    Axis,
    Binder,
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
    cast,
    verify,
)
from tdsl.compiler.kernel_text import (
    AND,
    COND,
    INFIX,
    NOT,
    OR,
    POWER,
    TERM,
    UNARY,
)
from tdsl.compiler.ranges import OPEN, Resolved, resolve
from tdsl.compiler.source import IndexNotationError, InternalError, IRError, Span

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<op>:=|->|\*\*|//|==|!=|<=|>=|\+=|[-+*/%&|^~<>()\[\],:.=]))"
)
_LEVEL = {FUNCTIONS[fn].infix: (fn, level) for fn, level in INFIX.items()}
_DTYPES = {d.name for d in (*DTYPES, *HALVES)}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class _Literal(float):
    """A number whose dtype is not known yet."""


def parse(text: str, file: str = "<kernel>") -> Kernel:
    """One kernel; raises IRError at the place.

    >>> k = parse("kernel k(x: f32[3,4]) -> (y):\\n  y[i] := sum[j] x[i, j] * 2.0\\n")
    >>> k.definition("y").shape
    (3,)
    """
    lines = [line.split(";")[0].rstrip() for line in text.splitlines()]
    numbered = [(k, line) for k, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise IRError("no kernel here")
    head = _Line(file, *numbered[0], {}, set())
    name, params = head.header()
    shapes: dict[str, tuple[Size, ...]] = {p.name: p.shape for p in params}
    dtypes = {p.name: p.dtype for p in params}
    sizes = {str(n) for p in params for n in p.shape if isinstance(n, Sym)}
    body: list[Statement] = []
    for k, line in numbered[1:]:
        reader = _Line(file, k, line, dtypes, sizes)
        reader.shapes = shapes
        try:
            statement = reader.statement()
        except RecursionError:
            raise IRError("too deeply nested", reader.span(0)) from None
        body.append(statement)
        if isinstance(statement, Definition):
            shapes[statement.name], dtypes[statement.name] = statement.shape, statement.dtype
    kernel = Kernel(name, params, tuple(body), head.outputs)
    try:
        verify(kernel)
    except InternalError as error:
        raise IRError(error.message, head.span(0)) from None
    return kernel


class _Line:
    """One line of text being read."""

    def __init__(self, file: str, number: int, line: str, dtypes: dict[str, DType], sizes: set[str]) -> None:
        self.file, self.number, self.line, self.dtypes, self.sizes = file, number, line, dtypes, sizes
        self.shapes: dict[str, tuple[Size, ...]] = {}
        self.axes: set[str] = set()
        self.outputs: tuple[str, ...] = ()
        self.tokens = self._tokens()
        self.k = 0

    def span(self, at: int, length: int = 1) -> Span:
        return Span(self.file, self.number, at + 1, at + 1 + length, self.line)

    def _tokens(self) -> list[_Token]:
        found, at = [], 0
        while self.line[at:].strip():
            match = _TOKEN.match(self.line, at)
            if match is None or match.end() == at:
                place = at + len(self.line[at:]) - len(self.line[at:].lstrip())
                raise IRError(f"unexpected {self.line[place]!r}", self.span(place))
            kind = match.lastgroup or ""
            found.append(_Token(kind, match.group(kind), match.start(kind)))
            at = match.end()
        return found

    # ---- tokens

    @property
    def next(self) -> str:
        return self.tokens[self.k].text if self.k < len(self.tokens) else ""

    def fail(self, message: str) -> IRError:
        at = self.tokens[self.k].at if self.k < len(self.tokens) else len(self.line)
        return IRError(message, self.span(at, max(1, len(self.next))))

    def take(self, want: str | None = None) -> str:
        if self.k >= len(self.tokens) or want is not None and self.next != want:
            raise self.fail(f"expected {want or 'more'}, found {self.next or 'the end of the line'}")
        self.k += 1
        return self.tokens[self.k - 1].text

    def maybe(self, text: str) -> bool:
        if self.next != text:
            return False
        self.k += 1
        return True

    def name(self) -> str:
        if self.k < len(self.tokens) and self.tokens[self.k].kind == "name":
            return self.take()
        raise self.fail("expected a name")

    # ---- header

    def header(self) -> tuple[str, tuple[Param, ...]]:
        self.take("kernel")
        name = self.name()
        params: list[Param] = []
        self.take("(")
        while not self.maybe(")"):
            params.append(self.param())
            if self.next != ")":
                self.take(",")
        self.take("->")
        self.take("(")
        outputs = [self.name()]
        while self.maybe(","):
            outputs.append(self.name())
        self.take(")")
        self.take(":")
        self.outputs = tuple(outputs)
        return name, tuple(params)

    def param(self) -> Param:
        name = self.name()
        self.take(":")
        if self.maybe("number"):
            return Param(name, self.dtype(), (), True)
        dtype = self.dtype()
        self.take("[")
        shape: list[Size] = []
        while not self.maybe("]"):
            shape.append(self.size())
            if self.next != "]":
                self.take(",")
        return Param(name, dtype, tuple(shape))

    def dtype(self) -> DType:
        if self.next not in _DTYPES:
            raise self.fail(f"no dtype named {self.next}")
        return by_name(self.take())

    def size(self) -> Size:
        sign = -1 if self.maybe("-") else 1
        text = self.take()
        return sign * int(text) if text.isdigit() else Sym(text)

    # ---- statements

    def statement(self) -> Statement:
        if self.next == "scatter":
            return self.scatter()
        name = self.name()
        self.take("[")
        binders = self.binders()
        self.take(":=")
        expr = _settled(self.expr(COND), f32)
        self.end()
        found = self.resolved(binders, (expr,), tuple(b.name for b in binders))
        return Definition(name, found.binders, found.expressions[0])

    def scatter(self) -> Scatter:
        self.take("scatter")
        self.take("[")
        binders = self.binders(stop=("]", "if"))
        guard = self.condition() if self.maybe("if") else None
        if guard is not None:
            self.take("]")
        self.take(":")
        target = self.name()
        self.take("[")
        index = []
        while not self.maybe("]"):
            index.append(_settled(self.expr(COND), i64))
            if self.next != "]":
                self.take(",")
        op = self.take()
        if op in ("max", "min", "*"):
            op += self.take("=")
        expr = _settled(self.expr(COND), self.dtypes.get(target, f32))
        checked = not self.maybe("unchecked")
        self.end()
        guards = () if guard is None else (guard,)
        found = self.resolved(binders, (*index, *guards, expr), guarded=True)
        *places, expr = found.expressions
        guard = places.pop() if guards else None
        return Scatter(target, found.binders, tuple(places), op, expr, guard, checked)

    def resolved(
        self, binders: list[Binder], parts: tuple[Expr, ...], outputs: tuple[str, ...] = (), guarded: bool = False
    ) -> Resolved:
        try:
            return resolve(binders, parts, self.shapes, outputs, guarded=guarded)
        except IndexNotationError as error:
            raise IRError(error.message, self.span(0, len(self.line)), hint=error.hint) from None

    def end(self) -> None:
        if self.k < len(self.tokens):
            raise self.fail(f"unexpected {self.next}")

    def binders(self, stop: tuple[str, ...] = ("]",)) -> list[Binder]:
        found = []
        while self.next not in stop:
            name = self.name()
            bounds: tuple[Size, Size] = (OPEN, OPEN)
            if self.maybe("in"):
                first = self.size()
                self.take(":")
                bounds = (first, self.size())
            self.axes.add(name)
            found.append(Binder(name, *bounds))
            if self.next not in stop:
                self.take(",")
        self.maybe("]")
        return found

    # ---- expressions

    def condition(self) -> Expr:
        return _settled(self.expr(OR), i64)

    def expr(self, level: int) -> Expr:
        left = self.prefix(level)
        while True:
            if self.next == "if" and level <= COND:
                self.take()
                test = self.condition()
                self.take("else")
                yes, no = _agree(left, self.expr(COND))
                left = call("where", test, yes, no)
                continue
            found = self.infix()
            if found is None or found[1] < level:
                return left
            fn, own = found
            self.take()
            right = self.expr(UNARY if own == POWER else own + 1)
            left = self.joined(fn, left, right)

    def infix(self) -> tuple[str, int] | None:
        if self.next in ("and", "or"):
            return self.next, AND if self.next == "and" else OR
        return _LEVEL.get(self.next)

    def joined(self, fn: str, left: Expr, right: Expr) -> Expr:
        a, b = _agree(left, right)
        return call(fn, a, b)

    def prefix(self, level: int) -> Expr:
        if self.maybe("not"):
            return call("not", self.expr(NOT))
        if self.maybe("-"):
            x = self.expr(TERM if self.next in REDUCERS else UNARY)
            if not isinstance(x, Const):
                return call("neg", x)
            return Const(_Literal(-x.value) if isinstance(x.value, _Literal) else -x.value, x.dtype)
        if self.maybe("~"):
            return call("not", self.expr(UNARY))
        e = self.atom()
        while self.next == ".":
            self.take()
            self.take("to")
            self.take("(")
            e = cast(_settled(e, f32), self.dtype())
            self.take(")")
        return e

    def atom(self) -> Expr:
        if self.maybe("("):
            e = self.expr(COND)
            self.take(")")
            return e
        token = self.tokens[self.k] if self.k < len(self.tokens) else None
        if token is None:
            raise self.fail("expected an expression")
        if token.kind == "number":
            self.take()
            return _number(token.text)
        name = self.name()
        if name in ("inf", "nan"):
            return Const(_Literal(inf if name == "inf" else nan), f32)
        if name in ("True", "False"):
            return Const(name == "True", bool_)
        if name in REDUCERS and self.next == "[":
            return self.reduction(name)
        if name in self.axes:
            return Axis(name)
        if self.next == "(":
            return self.function(name)
        if name in self.sizes:
            return SizeOf(Sym(name))
        if name not in self.dtypes:
            self.k -= 1
            raise self.fail(f"`{name}` is not defined")
        return self.read(name)

    def function(self, name: str) -> Expr:
        self.take("(")
        args = []
        while not self.maybe(")"):
            args.append(self.expr(COND))
            if self.next != ")":
                self.take(",")
        if name in _DTYPES:
            value = args[0]
            if not isinstance(value, Const):
                return cast(value, by_name(name))
            dtype = by_name(name)
            return Const(float(value.value) if dtype.is_float else int(value.value), dtype)
        if name not in FUNCTIONS or len(args) != FUNCTIONS[name].arity:
            raise self.fail(f"no function {name} of {len(args)} arguments")
        if len(args) == 2:
            args = list(_agree(*args))
        return call(name, *(_settled(a, f32) for a in args))

    def reduction(self, op: str) -> Expr:
        self.take("[")
        binders = self.binders(stop=("]", "if"))
        guard = None
        if self.maybe("if"):
            guard = self.condition()
            self.take("]")
        body = _settled(self.expr(TERM), f32)
        dtype = bool_ if op in ("any", "all") else i64 if op in ("argmax", "argmin") else body.dtype
        return Reduce(op, tuple(binders), body, dtype, guard)

    def read(self, name: str) -> Expr:
        index: list[Expr] = []
        fill: Expr | None = None
        if self.maybe("["):
            while not self.maybe("]"):
                if self.maybe("else"):
                    fill = _settled(self.expr(COND), self.dtypes[name])
                    continue
                index.append(_settled(self.expr(COND), i64))
                if self.next not in ("]", "else"):
                    self.take(",")
        rank = len(self.shapes[name])
        if len(index) != rank:
            raise self.fail(f"{name} is {self.dtypes[name].name} of rank {rank}, read with {len(index)} indices")
        return Read(name, tuple(index), self.dtypes[name], fill)


def _number(text: str) -> Const:
    if text.isdigit():
        return Const(int(text), i64)
    return Const(_Literal(float(text)), f32)


def _loose(e: Expr) -> bool:
    """A literal that takes its fellow's dtype."""
    return isinstance(e, Const) and (isinstance(e.value, _Literal) or e.dtype is i64)


def _agree(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    if a.dtype is b.dtype:
        return a, b
    if _loose(a):
        return _as(a, b.dtype), b
    if _loose(b):
        return a, _as(b, a.dtype)
    return a, b


def _as(e: Expr, dtype: DType) -> Expr:
    assert isinstance(e, Const)
    if dtype.is_float:
        return Const(float(e.value), dtype)
    return Const(int(e.value), dtype) if not isinstance(e.value, _Literal) and dtype is not bool_ else e


def _settled(e: Expr, dtype: DType) -> Expr:
    """A literal alone takes the dtype that its place wants, if it can."""
    if not _loose(e):
        return e
    assert isinstance(e, Const)
    if dtype.is_float and isinstance(e.value, _Literal):
        return Const(float(e.value), dtype)
    return Const(e.value if not isinstance(e.value, _Literal) else float(e.value), e.dtype)

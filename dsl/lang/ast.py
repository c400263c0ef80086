"""The tree of a script: frozen records, each with the place (`at`: start and end offsets) where it was written."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from tdsl.compiler.source import Span

At = tuple[int, int]


class Source:
    """A text and its name; turns offsets into places."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text if text.endswith("\n") else text + "\n"
        self.starts = [0] + [k + 1 for k, c in enumerate(self.text) if c == "\n"]
        self.is_ascii = text.isascii()

    def line(self, number: int) -> str:
        """The text of a line, counted from 1."""
        if not 1 <= number < len(self.starts):
            return ""
        return self.text[self.starts[number - 1] : self.starts[number] - 1].rstrip("\r")

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = bisect.bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def span(self, at: At) -> Span:
        """The place of a node; one of several lines is marked up to the end of its first."""
        line, column = self.place(at[0])
        text = self.line(line)
        end = min(column + at[1] - at[0], max(len(text) + 1, column + 1))
        return Span(self.file, line, column, end, text)


@dataclass(frozen=True, slots=True)
class Node:
    at: At


# ------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, slots=True)
class Name(Node):
    id: str


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """A number, a string, None, True, False or `...`."""

    value: Any


@dataclass(frozen=True, slots=True)
class FString(Node):
    parts: tuple[Expr, ...]  # Constant of str, or Hole


@dataclass(frozen=True, slots=True)
class Hole(Node):
    value: Expr
    conversion: str  # "", "r", "s", "a"
    spec: FString | None


@dataclass(frozen=True, slots=True)
class Binary(Node):
    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Unary(Node):
    op: str  # - + ~ not
    value: Expr


@dataclass(frozen=True, slots=True)
class Bool(Node):
    op: str  # and, or
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Compare(Node):
    first: Expr
    ops: tuple[str, ...]
    rest: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Cond(Node):
    then: Expr
    test: Expr
    orelse: Expr


@dataclass(frozen=True, slots=True)
class Lambda(Node):
    params: tuple[str, ...]
    body: Expr


@dataclass(frozen=True, slots=True)
class Keyword(Node):
    name: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Star(Node):
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Node):
    fn: Expr
    args: tuple[Expr, ...]  # Keyword and Star among them


@dataclass(frozen=True, slots=True)
class Slice(Node):
    start: Expr | None
    stop: Expr | None
    step: Expr | None


@dataclass(frozen=True, slots=True)
class Subscript(Node):
    base: Expr
    items: tuple[Expr, ...]
    fill: Expr | None
    trailing_comma: bool = False


@dataclass(frozen=True, slots=True)
class Attribute(Node):
    base: Expr
    name: str
    name_at: At


@dataclass(frozen=True, slots=True)
class Tuple(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class List(Node):
    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Dict(Node):
    keys: tuple[Expr, ...]
    values: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """`[element for target in source if test ...]`, in brackets or as the argument of a call."""

    element: Expr
    target: Expr
    source: Expr
    tests: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Binder(Node):
    name: str
    lo: Expr | None
    hi: Expr | None


@dataclass(frozen=True, slots=True)
class Reduction(Node):
    op: str
    binders: tuple[Binder, ...]
    guard: Expr | None
    body: Expr


Expr = Node

# ------------------------------------------------------------------------------------------------ types


@dataclass(frozen=True, slots=True)
class NamedType(Node):
    name: str


@dataclass(frozen=True, slots=True)
class ShapedType(Node):
    """`f32[B, *S, 3]`; dims are expressions, `DimsNamed` or `DimsAny`. Also `list[f32[N]]` and the like."""

    name: str
    dims: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class DimsNamed(Node):
    name: str


@dataclass(frozen=True, slots=True)
class DimsAny(Node):
    pass


@dataclass(frozen=True, slots=True)
class TupleType(Node):
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class OptionalType(Node):
    inner: Node


# ------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, slots=True)
class ExprStmt(Node):
    value: Expr


@dataclass(frozen=True, slots=True)
class Assign(Node):
    target: Expr
    value: Expr


@dataclass(frozen=True, slots=True)
class AugAssign(Node):
    target: Expr
    op: str
    value: Expr


@dataclass(frozen=True, slots=True)
class AnnAssign(Node):
    target: Expr
    type: Node
    value: Expr | None


@dataclass(frozen=True, slots=True)
class IndexDef(Node):
    name: str
    name_at: At
    binders: tuple[Binder, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class FieldDecl(Node):
    kind: str  # param, buffer
    name: str
    type: Node | None
    value: Expr


@dataclass(frozen=True, slots=True)
class Return(Node):
    value: Expr | None


@dataclass(frozen=True, slots=True)
class Break(Node):
    pass


@dataclass(frozen=True, slots=True)
class Continue(Node):
    pass


@dataclass(frozen=True, slots=True)
class Pass(Node):
    pass


@dataclass(frozen=True, slots=True)
class Assert(Node):
    test: Expr
    message: Expr | None


@dataclass(frozen=True, slots=True)
class Import(Node):
    path: tuple[str, ...]
    alias: str | None


@dataclass(frozen=True, slots=True)
class FromImport(Node):
    path: tuple[str, ...]
    names: tuple[tuple[str, str], ...]  # name, name here


@dataclass(frozen=True, slots=True)
class If(Node):
    test: Expr
    body: tuple[Node, ...]
    orelse: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class While(Node):
    test: Expr
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class For(Node):
    target: Expr
    source: Expr
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class With(Node):
    items: tuple[tuple[Expr, str | None], ...]
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Param(Node):
    name: str
    type: Node | None
    default: Expr | None


@dataclass(frozen=True, slots=True)
class FuncDef(Node):
    name: str
    name_at: At
    params: tuple[Param, ...]
    returns: Node | None
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ModelDef(Node):
    name: str
    name_at: At
    params: tuple[Param, ...]
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class StructDef(Node):
    name: str
    name_at: At
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class FunctionDef(Node):
    name: str
    name_at: At
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Scan(Node):
    binders: tuple[Binder, ...]
    guard: Expr | None
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Scatter(Node):
    binders: tuple[Binder, ...]
    guard: Expr | None
    body: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class File(Node):
    body: tuple[Node, ...]


# --------------------------------------------------------------------------------------------- walking


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below, in the order of the text."""
    for field in fields(node):
        yield from _nodes(getattr(node, field.name))


def _nodes(value: object) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


def walk(node: Node) -> Iterator[Node]:
    """Every node of the tree, parents first."""
    stack = [node]
    while stack:
        here = stack.pop()
        yield here
        stack.extend(reversed(list(children(here))))


def dump(node: Node, indent: str = "") -> str:
    """The tree as indented text, for `tdsl ir --stage ast`."""
    lines: list[str] = []
    stack: list[tuple[Node, int]] = [(node, 0)]
    while stack:
        here, depth = stack.pop()
        plain = [
            f"{f.name}={getattr(here, f.name)!r}"
            for f in fields(here)
            if f.name not in ("at", "name_at") and not any(True for _ in _nodes(getattr(here, f.name)))
        ]
        lines.append(f"{indent}{'  ' * depth}{type(here).__name__}{' ' * bool(plain)}{' '.join(plain)}")
        stack.extend((child, depth + 1) for child in reversed(list(children(here))))
    return "\n".join(lines) + "\n"

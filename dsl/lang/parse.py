"""Text → tree. lark parses by tables that are shipped with the package; `build` makes the records bottom-up."""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark.indenter import DedentError, Indenter

from tdsl.compiler.source import SyntaxError
from tdsl.lang import ast
from tdsl.lang.build import build
from tdsl.lang.syntax_errors import explain

HERE = Path(__file__).parent
GRAMMAR = HERE / "grammar.lark"
TABLES = HERE / "grammar.tables"


class _Indenter(Indenter):
    NL_type = "_NEWLINE"
    OPEN_PAREN_types = ["LPAR", "LSQB", "LBRACE"]
    CLOSE_PAREN_types = ["RPAR", "RSQB", "RBRACE"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8


def make_parser() -> lark.Lark:
    """The parser, built from the grammar: a third of a second."""
    return lark.Lark(
        GRAMMAR.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        postlex=_Indenter(),
        start=["file", "repl", "expression"],
        propagate_positions=True,
        maybe_placeholders=True,
    )


def stamp() -> bytes:
    """What the tables depend on; the first line of the file that holds them."""
    grammar = hashlib.sha256(GRAMMAR.read_bytes()).hexdigest()
    return f"lark {lark.__version__} grammar {grammar}\n".encode()


def write_tables() -> None:
    """Write `grammar.tables`; to be run when the grammar changes:

    python -c "from tdsl.lang import parse; parse.write_tables()"
    """
    buffer = io.BytesIO()
    make_parser().save(buffer)
    TABLES.write_bytes(stamp() + buffer.getvalue())


@cache
def parser() -> lark.Lark:
    """The parser, from the shipped tables; from the grammar where those are for another lark."""
    if TABLES.exists():
        data = TABLES.read_bytes()
        head = stamp()
        if data.startswith(head):
            loaded: lark.Lark = lark.Lark.load(io.BytesIO(data[len(head) :]))
            return loaded
    return make_parser()


def parse(text: str, file: str = "<text>") -> ast.File:
    """The tree of a file; `SyntaxError` (E01xx) where the text is not tdsl.

    >>> parse("x = 1").body[0].value.value
    1
    """
    return parse_source(ast.Source(file, text))


def parse_source(source: ast.Source) -> ast.File:
    tree = _tree(source, "file")
    try:
        node = build(tree, source)
    except RecursionError:
        raise _too_deep(source, (0, 1)) from None
    assert isinstance(node, ast.File)
    _check_depth(node, source)
    return node


DEPTH = 200  # levels of expressions and blocks; what follows goes down them by recursion


def _check_depth(tree: ast.File, source: ast.Source) -> None:
    """E0109 where the tree is too deep. Sums and products lean to the left, and are walked without recursion."""
    stack: list[tuple[ast.Node, int]] = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        if depth > DEPTH:
            raise _too_deep(source, node.at)
        left = node.left if isinstance(node, ast.Binary) else None
        stack.extend((x, depth + (x is not left)) for x in ast.children(node))


def _too_deep(source: ast.Source, at: ast.At) -> SyntaxError:
    message = "this is nested too deeply"
    return SyntaxError(message, source.span(at), code="E0109", hint="name a part of it")


def read(path: str | Path) -> str:
    """The text of a file; `SyntaxError` where it is not UTF-8."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise SyntaxError(f"{path} is not UTF-8 text: byte 0x{byte:02x} at position {error.start}") from None


def parse_expression(text: str, file: str = "<text>") -> ast.Node:
    """The tree of one expression."""
    source = ast.Source(file, text)
    source.text = text
    return build(_tree(source, "expression"), source)


def parse_hole(source: ast.Source, start: int, end: int) -> ast.Node:
    """The tree of a hole of an f-string, with the places of the file around it."""
    inner = ast.Source(source.file, source.text[start:end])
    inner.text = source.text[start:end]
    try:
        tree = parser().parse(inner.text, start="expression")
    except (lark.UnexpectedInput, DedentError):
        message = f"`{inner.text}` in an f-string is not an expression"
        raise SyntaxError(message, source.span((start, end)), code="E0107") from None
    return build(tree, source, start)


def _tree(source: ast.Source, start: str) -> Any:
    for number in range(1, len(source.starts)):
        line = source.line(number)
        blank = line[: len(line) - len(line.lstrip())]
        if "\t" in blank:
            raise explain(source, None)
    try:
        return parser().parse(source.text, start=start)
    except (lark.UnexpectedInput, DedentError) as error:
        raise explain(source, error) from None

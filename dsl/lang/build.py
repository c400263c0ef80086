"""lark's tree → the records of `ast`, bottom-up and without recursion."""

from __future__ import annotations

import ast as python_ast
import builtins
import re
from collections.abc import Callable
from typing import Any

from lark import Token, Tree

from tdsl.compiler.source import IndexNotationError, SyntaxError
from tdsl.lang import ast

At = tuple[int, int]
Rule = Callable[["_Builder", At, list[Any]], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    def register(fn: Rule) -> Rule:
        RULES.update((name, fn) for name in names)
        return fn

    return register


class _Builder:
    def __init__(self, source: ast.Source, offset: int) -> None:
        self.source = source
        self.offset = offset

    def place(self, token: Token) -> At:
        start = (token.start_pos or 0) + self.offset
        return start, start + len(token)


def build(tree: Any, source: ast.Source, offset: int = 0) -> ast.Node:
    """The record of lark's tree; `offset` is where the parsed text starts in the source."""
    builder = _Builder(source, offset)
    done: dict[int, Any] = {}
    for node in tree.iter_subtrees():
        meta = node.meta
        at = (offset, offset) if meta.empty else (meta.start_pos + offset, meta.end_pos + offset)
        kids = [done[id(kid)] if isinstance(kid, Tree) else kid for kid in node.children]
        done[id(node)] = RULES[node.data](builder, at, kids)
    result = done[id(tree)]
    assert isinstance(result, ast.Node)
    return result


def _flat(items: list[Any]) -> tuple[Any, ...]:
    return tuple(item for item in items if item is not None)


# ------------------------------------------------------------------------------------------ expressions

BINARY = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "mod": "%", "matmul": "@", "pow": "**",
    "bit_or": "|", "bit_xor": "^", "bit_and": "&",
}  # fmt: skip


def _binary(op: str) -> Rule:
    return lambda b, at, kids: ast.Binary(at, op, kids[0], kids[1])


for _name, _op in BINARY.items():
    RULES[_name] = _binary(_op)
RULES["neg"] = lambda b, at, kids: ast.Unary(at, "-", kids[0])
RULES["pos"] = lambda b, at, kids: ast.Unary(at, "+", kids[0])
RULES["invert"] = lambda b, at, kids: ast.Unary(at, "~", kids[0])
RULES["bool_not"] = lambda b, at, kids: ast.Unary(at, "not", kids[0])
RULES["bool_and"] = lambda b, at, kids: ast.Bool(at, "and", kids[0], kids[1])
RULES["bool_or"] = lambda b, at, kids: ast.Bool(at, "or", kids[0], kids[1])
RULES["none"] = lambda b, at, kids: ast.Constant(at, None)
RULES["true"] = lambda b, at, kids: ast.Constant(at, True)
RULES["false"] = lambda b, at, kids: ast.Constant(at, False)
RULES["ellipsis"] = lambda b, at, kids: ast.Constant(at, ...)
RULES["comp_op"] = lambda b, at, kids: " ".join(kids)
RULES["cond_expr"] = lambda b, at, kids: ast.Cond(at, kids[0], kids[1], kids[2])
RULES["paren"] = lambda b, at, kids: kids[0]
RULES["expression"] = lambda b, at, kids: kids[0]
RULES["tuple"] = lambda b, at, kids: ast.Tuple(at, _flat(kids))
RULES["empty_tuple"] = lambda b, at, kids: ast.Tuple(at, ())
RULES["name"] = lambda b, at, kids: ast.Name(at, str(kids[0]))
RULES["lambda_params"] = lambda b, at, kids: tuple(map(str, kids))
RULES["lambda_expr"] = lambda b, at, kids: ast.Lambda(at, kids[0] or (), kids[1])
RULES["kwarg"] = lambda b, at, kids: ast.Keyword(at, str(kids[0]), kids[1])
RULES["star_arg"] = lambda b, at, kids: ast.Star(at, kids[0])
RULES["arguments"] = lambda b, at, kids: _flat(kids)
RULES["call"] = lambda b, at, kids: ast.Call(at, kids[0], kids[1] or ())
RULES["slice"] = lambda b, at, kids: ast.Slice(at, kids[0], kids[1], kids[2] if len(kids) > 2 else None)
RULES["attribute"] = lambda b, at, kids: ast.Attribute(at, kids[0], str(kids[1]), b.place(kids[1]))
RULES["dict_item"] = lambda b, at, kids: (kids[0], kids[1])
RULES["dict_items"] = lambda b, at, kids: kids
RULES["binder"] = lambda b, at, kids: ast.Binder(at, str(kids[0]), kids[1], kids[2])
RULES["gen_arg"] = lambda b, at, kids: ast.Comprehension(at, kids[0], *kids[1])
RULES["list_comp"] = RULES["gen_arg"]
RULES["comp_for"] = lambda b, at, kids: (kids[0], kids[1], _flat(kids[2:]))
RULES["reduction"] = lambda b, at, kids: ast.Reduction(at, str(kids[0]), kids[1][0], kids[1][1], kids[2])


@rule("number")
def _number(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    text = str(kids[0])
    try:
        return ast.Constant(at, python_ast.literal_eval(text))
    except (builtins.SyntaxError, ValueError):
        raise SyntaxError(f"`{text}` is not a number", b.source.span(at), code="E0100") from None


@rule("comparison")
def _comparison(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    return ast.Compare(at, kids[0], tuple(kids[1::2]), tuple(kids[2::2]))


@rule("subscripts")
def _subscripts(b: _Builder, at: At, kids: list[Any]) -> Any:
    comma = bool(kids) and b.source.text[at[0] : at[1]].rstrip().endswith(",")
    return _flat(kids), comma


@rule("subscript")
def _subscript(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    items, comma = kids[1]
    return ast.Subscript(at, kids[0], items, kids[2], comma)


@rule("list")
def _list(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    inner = kids[0]
    if inner is None:
        return ast.List(at, ())
    # `[(a, b)]` is a list of one pair, `[a, b]` of two: a tuple without parentheses starts right after the bracket
    # and is not closed by one of its own.
    if isinstance(inner, ast.Tuple) and not _in_parentheses(b.source.text, inner.at, at):
        return ast.List(at, inner.items)
    return ast.List(at, (inner,))


def _in_parentheses(text: str, inner: At, outer: At) -> bool:
    between = text[outer[0] + 1 : inner[0]]
    return "(" in re.sub(r"#[^\n]*", "", between) or text[inner[0] : inner[0] + 1] == "(" and _closes(text, inner)


def _closes(text: str, at: At) -> bool:
    """Whether the parenthesis at the start closes at the very end (so it is the tuple's own)."""
    depth = 0
    for k in range(at[0], at[1]):
        depth += {"(": 1, ")": -1}.get(text[k], 0)
        if depth == 0:
            return k == at[1] - 1
    return False


@rule("dict")
def _dict(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    pairs = _flat(kids[0] or [])
    return ast.Dict(at, tuple(k for k, _ in pairs), tuple(v for _, v in pairs))


@rule("binders")
def _binders(b: _Builder, at: At, kids: list[Any]) -> Any:
    binders = tuple(k for k in kids if isinstance(k, ast.Binder))
    return binders, kids[-1] if not isinstance(kids[-1], ast.Binder) else None


@rule("target_list")
def _target_list(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    items = tuple(ast.Name(b.place(k), str(k)) if isinstance(k, Token) else k for k in _flat(kids))
    comma = b.source.text[at[0] : at[1]].rstrip().endswith(",")
    return items[0] if len(items) == 1 and not comma else ast.Tuple(at, items)


@rule("target_tuple")
def _target_tuple(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    inner = kids[0]
    assert isinstance(inner, ast.Node)
    return inner


@rule("strings")
def _strings(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    parts: list[ast.Node] = []
    for token in kids:
        start, end = b.place(token)
        text = str(token)
        if text[0] not in "fF":
            parts.append(ast.Constant((start, end), _unescape(b, text, (start, end))))
            continue
        quote = 3 if text[1:4] == '"""' else 1
        parts.extend(_fstring(b, start + 1 + quote, end - quote))
    if all(isinstance(p, ast.Constant) for p in parts):
        return ast.Constant(at, "".join(p.value for p in parts if isinstance(p, ast.Constant)))
    return ast.FString(at, tuple(parts))


def _unescape(b: _Builder, quoted: str, at: At) -> str:
    try:
        return str(python_ast.literal_eval(quoted))
    except (builtins.SyntaxError, ValueError):
        raise SyntaxError("this string has an escape that means nothing", b.source.span(at), code="E0107") from None


def _fstring(b: _Builder, start: int, end: int, nested: bool = False) -> list[ast.Node]:
    """The parts of an f-string between its quotes."""
    text = b.source.text
    parts: list[ast.Node] = []
    plain, plain_start, k = "", start, start
    while k < end:
        pair = text[k : k + 2]
        if pair in ("{{", "}}") and not nested:
            plain, k = plain + pair[0], k + 2
            continue
        if text[k] == "}":
            raise SyntaxError("a `}` alone in an f-string", b.source.span((k, k + 1)), code="E0107", hint="write `}}`")
        if text[k] != "{":
            plain, k = plain + text[k], k + 1
            continue
        if plain:
            parts.append(_plain(b, plain, (plain_start, k)))
        hole, k = _hole(b, k, end)
        parts.append(hole)
        plain, plain_start = "", k
    if plain:
        parts.append(_plain(b, plain, (plain_start, end)))
    return parts


def _plain(b: _Builder, text: str, at: At) -> ast.Node:
    if "\\" not in text:
        return ast.Constant(at, text)
    return ast.Constant(at, _unescape(b, '"""' + text.replace('"', '\\"') + '"""', at))


def _hole(b: _Builder, start: int, end: int) -> tuple[ast.Node, int]:
    """The hole that opens at `start`, and where the text goes on."""
    from tdsl.lang.parse import parse_hole  # the two build on each other

    text, k, depth, quote = b.source.text, start + 1, 0, ""
    while k < end:
        c = text[k]
        if quote:
            quote = "" if c == quote else quote
        elif c in "'\"":
            quote = c
        elif c in "([{":
            depth += 1
        elif depth == 0 and (c in "}:" or (c == "!" and text[k + 1 : k + 2] != "=")):
            break
        elif c in ")]}":
            depth -= 1
        k += 1
    if k >= end:
        raise SyntaxError("a hole of this f-string is not closed", b.source.span((start, start + 1)), code="E0107")
    value = parse_hole(b.source, start + 1, k) if text[start + 1 : k].strip() else None
    if value is None:
        raise SyntaxError("an empty hole in an f-string", b.source.span((start, k + 1)), code="E0107")
    conversion, spec = "", None
    if text[k] == "!":
        conversion, k = text[k + 1], k + 2
    if text[k] == ":":
        close, depth = k + 1, 0
        while close < end and (text[close] != "}" or depth):
            depth += {"{": 1, "}": -1}.get(text[close], 0)
            close += 1
        spec = ast.FString((k + 1, close), tuple(_fstring(b, k + 1, close, nested=True)))
        k = close
    if k >= end or text[k] != "}" or conversion not in ("", "r", "s", "a"):
        raise SyntaxError("a hole of this f-string is not closed", b.source.span((start, start + 1)), code="E0107")
    return ast.Hole((start, k + 1), value, conversion, spec), k + 1


# ------------------------------------------------------------------------------------------------ types

RULES["optional_type"] = lambda b, at, kids: ast.OptionalType(at, kids[0])
RULES["tuple_type"] = lambda b, at, kids: ast.TupleType(at, _flat(kids))
RULES["dims_named"] = lambda b, at, kids: ast.DimsNamed(at, str(kids[0]))
RULES["dims_any"] = lambda b, at, kids: ast.DimsAny(at)
RULES["named_type"] = lambda b, at, kids: ast.NamedType(at, ".".join(kids[0]))
RULES["shaped_type"] = lambda b, at, kids: ast.ShapedType(at, ".".join(kids[0]), _flat(kids[1:]))
RULES["dotted_name"] = lambda b, at, kids: tuple(map(str, kids))

# ------------------------------------------------------------------------------------------- statements

RULES["file"] = lambda b, at, kids: ast.File(at, _flat(kids))
RULES["repl"] = lambda b, at, kids: ast.File(at, _flat(kids))
RULES["simple_stmt"] = lambda b, at, kids: kids[0]
RULES["suite"] = lambda b, at, kids: _flat(kids)
RULES["expr_stmt"] = lambda b, at, kids: ast.ExprStmt(at, kids[0])
RULES["assign"] = lambda b, at, kids: ast.Assign(at, kids[0], kids[1])
RULES["ann_assign"] = lambda b, at, kids: ast.AnnAssign(at, kids[0], kids[1], kids[2])
RULES["aug_assign"] = lambda b, at, kids: ast.AugAssign(at, kids[0], str(kids[1])[:-1], kids[2])
RULES["param_decl"] = lambda b, at, kids: ast.FieldDecl(at, "param", str(kids[1]), kids[2], kids[3])
RULES["buffer_decl"] = lambda b, at, kids: ast.FieldDecl(at, "buffer", str(kids[1]), kids[2], kids[3])
RULES["return_stmt"] = lambda b, at, kids: ast.Return(at, kids[0])
RULES["break_stmt"] = lambda b, at, kids: ast.Break(at)
RULES["continue_stmt"] = lambda b, at, kids: ast.Continue(at)
RULES["pass_stmt"] = lambda b, at, kids: ast.Pass(at)
RULES["assert_stmt"] = lambda b, at, kids: ast.Assert(at, kids[0], kids[1])
RULES["import_stmt"] = lambda b, at, kids: ast.Import(at, kids[0], kids[1] and str(kids[1]))
RULES["import_as"] = lambda b, at, kids: (str(kids[0]), str(kids[1] or kids[0]))
RULES["import_names"] = lambda b, at, kids: _flat(kids)
RULES["while_stmt"] = lambda b, at, kids: ast.While(at, kids[0], kids[1])
RULES["for_stmt"] = lambda b, at, kids: ast.For(at, kids[0], kids[1], kids[2])
RULES["with_item"] = lambda b, at, kids: (kids[0], kids[1] and str(kids[1]))
RULES["with_stmt"] = lambda b, at, kids: ast.With(at, _flat(kids[:-1]), kids[-1])
RULES["elif_clause"] = lambda b, at, kids: (at, kids[0], kids[1])
RULES["params"] = lambda b, at, kids: _flat(kids)
RULES["param"] = lambda b, at, kids: ast.Param(at, str(kids[0]), kids[1], kids[2])
RULES["struct_def"] = lambda b, at, kids: ast.StructDef(at, str(kids[1]), b.place(kids[1]), kids[2])
RULES["function_def"] = lambda b, at, kids: ast.FunctionDef(at, str(kids[1]), b.place(kids[1]), kids[2])
RULES["model_def"] = lambda b, at, kids: ast.ModelDef(at, str(kids[1]), b.place(kids[1]), kids[2] or (), kids[3])
RULES["scan_stmt"] = lambda b, at, kids: ast.Scan(at, kids[1][0], kids[1][1], kids[2])
RULES["scatter_stmt"] = lambda b, at, kids: ast.Scatter(at, kids[1][0], kids[1][1], kids[2])


@rule("from_import")
def _from_import(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    names = kids[1]
    single = len(names) == 2 and isinstance(names[0], str)
    return ast.FromImport(at, kids[0], (names,) if single else tuple(names))


@rule("funcdef")
def _funcdef(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    return ast.FuncDef(at, str(kids[0]), b.place(kids[0]), kids[1] or (), kids[2], kids[3])


@rule("if_stmt")
def _if(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    orelse = kids[-1] or ()
    for place, test, body in reversed(kids[2:-1]):
        orelse = (ast.If(place, test, body, orelse),)
    return ast.If(at, kids[0], kids[1], orelse)


@rule("index_def")
def _index_def(b: _Builder, at: At, kids: list[Any]) -> ast.Node:
    left, value = kids
    if not isinstance(left, ast.Subscript) or not isinstance(left.base, ast.Name) or left.fill is not None:
        span = b.source.span(left.at)
        raise IndexNotationError(
            "the left of `:=` is a name and its indices",
            span,
            code="E0402",
            hint="write C[i, j] := ...; for a value without indices write `=`",
        )
    binders = tuple(_left_binder(b, item) for item in left.items)
    return ast.IndexDef(at, left.base.id, left.base.at, binders, value)


def _left_binder(b: _Builder, item: ast.Node) -> ast.Binder:
    if isinstance(item, ast.Name):
        return ast.Binder(item.at, item.id, None, None)
    if isinstance(item, ast.Slice) and item.step is None and isinstance(item.start, ast.Compare):
        test = item.start
        if test.ops == ("in",) and isinstance(test.first, ast.Name) and item.stop is not None:
            return ast.Binder(item.at, test.first.id, test.rest[0], item.stop)
    span = b.source.span(item.at)
    raise IndexNotationError(
        "the left side of `:=` holds only new indices",
        span,
        code="E0402",
        hint="name an index here and say on the right what its element is; a range is written `i in 0:n`",
    )

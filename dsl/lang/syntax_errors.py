"""Why a text is not tdsl, from the token where the parser stopped and the usual causes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lark import UnexpectedToken
from lark.indenter import DedentError

from tdsl.compiler.source import Label, SyntaxError
from tdsl.lang.ast import Source

NOT_IN_TDSL = {
    "class": "declare a `model` (layers and parameters), a `struct` (a record) or a `function` (a hand-written backward)",  # noqa: E501
    "try": "test the condition first, or let the error stop the run",
    "except": None,
    "finally": None,
    "raise": 'use `assert` or `error("...")`',
    "global": "return the new value, or keep it in a model",
    "nonlocal": "return the new value",
    "yield": "build a list and return it",
    "async": None,
    "await": None,
    "del": "let the name go out of scope",
}
_BRACKETS = re.compile(r'""".*?"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*|[()\[\]{}]', re.S)
_HEAD = re.compile(r"\s*(if|elif|else|while|for|def|with|model|struct|function)\b")
_OPEN, _CLOSE = "([{", ")]}"


def _error(
    source: Source,
    code: str,
    message: str,
    position: int,
    length: int = 1,
    label: str = "",
    hint: str | None = None,
    extra: Sequence[Label] = (),
) -> SyntaxError:
    span = source.span((position, position + length))
    return SyntaxError(message, span, code=code, labels=(Label(span, label), *extra), hint=hint)


def explain(source: Source, error: Any) -> SyntaxError:
    """The diagnostic for what the parser raised; None when a tab was found before it ran."""
    text = source.text
    tab = re.search(r"^ *\t", text, re.M)
    if tab:
        at, label = tab.end() - 1, "this is a tab"
        return _error(source, "E0101", "a tab in the indentation", at, 1, label, "indent with spaces")
    if isinstance(error, DedentError):
        return _bad_dedent(source)
    token = getattr(error, "token", None)
    position = getattr(error, "pos_in_stream", None)
    if token is not None and token.start_pos is not None:
        position = token.start_pos
    if position is None:
        position = max(0, len(text) - 1)
    return _bracket(source) or _word(source, error, position) or _line(source, error, token, position)


def _bad_dedent(source: Source) -> SyntaxError:
    columns, offset = [0], 0
    for line in source.text.split("\n"):
        column = len(line) - len(line.lstrip(" "))
        if line.strip() and not line.lstrip().startswith("#"):
            if column > columns[-1]:
                columns.append(column)
            while column < columns[-1]:
                columns.pop()
            if column != columns[-1]:
                message = "this line is indented to a column that no open block has"
                hint = f"the nearest blocks start at column {columns[-1] + 1}"
                return _error(source, "E0102", message, offset, max(column, 1), f"column {column + 1}", hint)
        offset += len(line) + 1
    return _error(source, "E0102", "inconsistent indentation", max(0, len(source.text) - 1))


def _bracket(source: Source) -> SyntaxError | None:
    text = source.text
    opened: list[int] = []
    for match in _BRACKETS.finditer(text):
        token, at = match.group(), match.start()
        if len(token) == 1 and token in _OPEN:
            opened.append(at)
        elif len(token) == 1 and token in _CLOSE:
            if not opened:
                return _error(source, "E0104", f"`{token}` closes nothing", at)
            expected = _CLOSE[_OPEN.index(text[opened[-1]])]
            if expected != token:
                start = opened[-1]
                label = Label(source.span((start, start + 1)), "opened here", False)
                message = f"`{text[start]}` is closed by `{token}`"
                return _error(source, "E0104", message, at, 1, f"expected `{expected}`", extra=[label])
            opened.pop()
    if opened:
        return _error(source, "E0104", f"`{text[opened[-1]]}` is never closed", opened[-1])
    return None


def _word_at(text: str, position: int) -> str:
    match = re.match(r"\w+", text[position:])
    return match.group() if match else text[position : position + 1]


def _word(source: Source, error: Any, position: int) -> SyntaxError | None:
    text = source.text
    if text[position : position + 1] in ("'", '"') and not isinstance(error, UnexpectedToken):
        hint = "use triple quotes for text of several lines"
        return _error(source, "E0107", "this string is not closed on its line", position, 1, hint=hint)
    word = _word_at(text, position)
    if word in NOT_IN_TDSL:
        message = f"`{word}` is a Python statement that tdsl does not have"
        return _error(source, "E0103", message, position, len(word), hint=NOT_IN_TDSL[word])
    if word == "@":
        message = "tdsl has no decorators"
        return _error(source, "E0103", message, position, 1, hint="call the function where it is needed")
    if word == ";":
        return _error(source, "E0103", "tdsl has one statement a line", position, 1, hint="start a new line")
    return None


def _line(source: Source, error: Any, token: Any, position: int) -> SyntaxError:
    text = source.text
    start = text.rfind("\n", 0, position) + 1
    line = text[start:].split("\n", 1)[0]
    expected = set(getattr(error, "expected", ()) or ()) | set(getattr(error, "accepts", ()) or ())
    head = _HEAD.match(line)
    word = _word_at(text, position)
    at_end = token is not None and token.type in ("_NEWLINE", "$END")
    if word == "if" and re.match(r"\s*else if\b", line):
        return _error(source, "E0105", "tdsl spells it `elif`", start + line.index("else"), 7, hint="write `elif`")
    bare = line.split("#")[0].rstrip()
    if bare.endswith(("++", "--")):
        return _error(source, "E0105", "there is no `++` or `--`", start + len(bare) - 2, 2, hint="write `x += 1`")
    if text[position : position + 1] == "=" and head and head.group(1) in ("if", "elif", "while"):
        return _error(source, "E0105", "`=` assigns; a condition compares with `==`", position, hint="write `==`")
    for sign, spelt in (("&&", "and"), ("||", "or")):
        if sign in (text[position : position + 2], text[max(0, position - 1) : position + 1]):
            hint = f"write `{spelt}` for conditions, `{sign[0]}` for tensors"
            return _error(source, "E0105", f"tdsl spells it `{spelt}`", text.rfind(sign, 0, position + 2), 2, hint=hint)
    if text[position : position + 1] == "!":
        return _error(source, "E0105", "tdsl spells it `not`", position, hint="write `not`")
    if at_end and "COLON" in expected and head:
        end = min(position, start + len(bare))
        message = f"`{head.group(1)}` needs a `:` at the end of its line"
        return _error(source, "E0106", message, end, 1, "expected `:`")
    if token is not None and token.type == "_INDENT":
        return _error(source, "E0102", "unexpected indentation", position)
    if token is not None and "_INDENT" in expected:
        return _error(source, "E0102", "a block was expected here", position, len(word) or 1, "indent this line")
    if at_end:
        return _error(source, "E0100", "unexpected end of line", min(position, start + len(bare)))
    if text[position : position + 2] == ":=":
        hint = "an index definition is a statement of its own: C[i, j] := ..."
        return _error(source, "E0100", "unexpected `:=`", position, 2, hint=hint)
    return _error(source, "E0100", f"unexpected `{word}`", position, max(1, len(word)))

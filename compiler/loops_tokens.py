"""The tokens of MLIR text, and reading them one after another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tdsl.compiler.loops import LType
from tdsl.compiler.loops_syntax import parse_type
from tdsl.compiler.source import IRError, Span

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)
      | (?P<value>%[\w.]+) | (?P<symbol>@[\w.$]+) | (?P<string>"[^"\n]*")
      | (?P<type>(?:vector|memref)<[^>\n]*>)
      | (?P<number>-?(?:0x[0-9A-Fa-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?![\w.]))
      | (?P<word>[A-Za-z_][\w.]*) | (?P<mark>->|[-(){}\[\]<>=:,^])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    at: int


class Tokens:
    """A cursor over the text. Whatever is not as expected is an IRError at its line and column."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.tokens = self._split()
        self.k = 0

    def _split(self) -> list[Token]:
        found, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self.error(f"unexpected character {self.text[at]!r}", at)
            if match.lastgroup != "skip":
                found.append(Token(str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*found, Token("end", "", len(self.text))]

    def error(self, message: str, at: int | None = None) -> IRError:
        at = self.tokens[self.k].at if at is None else at
        line = self.text.count("\n", 0, at) + 1
        start = self.text.rfind("\n", 0, at) + 1
        column = at - start + 1
        return IRError(message, Span(self.file, line, column, column + 1, self.text[start:].partition("\n")[0]))

    # ---- tokens

    def peek(self, text: str) -> bool:
        return self.tokens[self.k].text == text

    def take(self, text: str) -> bool:
        if not self.peek(text):
            return False
        self.k += 1
        return True

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise self.error(f"expected {text!r}, not {self.tokens[self.k].text!r}")

    def next(self, kind: str) -> str:
        token = self.tokens[self.k]
        if token.kind != kind:
            raise self.error(f"expected a {kind}, not {token.text!r}")
        self.k += 1
        return token.text

    def several(self, item: Callable[[], Any], close: str) -> list[Any]:
        """Items between commas, up to the closing mark, which is taken."""
        found: list[Any] = []
        while not self.take(close):
            if found:
                self.expect(",")
            found.append(item())
        return found

    def type(self) -> LType:
        token = self.tokens[self.k]
        if token.kind not in ("type", "word"):
            raise self.error(f"expected a type, not {token.text!r}")
        try:
            found = parse_type(token.text)
        except IRError as error:
            raise self.error(error.message) from None
        self.k += 1
        return found

    def types(self) -> list[LType]:
        self.expect("(")
        return self.several(self.type, ")")

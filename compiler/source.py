"""Where a thing was written, and errors that point there."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source text: 1-based line and column, `end_column` exclusive; `text` is the whole line."""

    file: str
    line: int
    column: int
    end_column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


# A span is stored as whatever was cheap to take where the op was recorded, and resolved only when shown.
RawSpan = Span | Callable[[], Span | None] | None


def resolve(span: RawSpan) -> Span | None:
    return span() if callable(span) else span


@dataclass(frozen=True, slots=True)
class Label:
    """A marked place of a diagnostic: the primary one is underlined with `^`, the others with `-`."""

    span: Span
    text: str = ""
    primary: bool = True


def render(headline: str, labels: Sequence[Label], notes: Sequence[str] = (), hint: str | None = None) -> str:
    """A message with its source lines underlined.

    >>> print(render("error: bad", [Label(Span("f.tdsl", 2, 5, 6, "y = x"), "here")], hint="say z"))
    error: bad
     --> f.tdsl:2:5
      |
    2 | y = x
      |     ^ here
      |
      = hint: say z
    """
    tail = [f"= note: {note}" for note in notes] + ([f"= hint: {hint}"] if hint else [])
    if not labels:
        return "\n".join([headline, *("  " + line for line in tail)])
    first = next((label for label in labels if label.primary), labels[0]).span
    in_file = [label for label in labels if label.span.file == first.file]
    width = max(len(str(label.span.line)) for label in in_file)
    gutter = " " * (width + 1) + "|"
    lines = [headline, f"{' ' * width}--> {first}", gutter]
    last: int | None = None
    for number in sorted({label.span.line for label in in_file}):
        here = sorted((x for x in in_file if x.span.line == number), key=lambda x: x.span.column)
        if last is not None and number > last + 1:
            lines.append("...")
        last = number
        lines.append(f"{number:>{width}} | {here[0].span.text}".rstrip())
        for label in here:
            span = label.span
            mark = ("^" if label.primary else "-") * max(1, span.end_column - span.column)
            lines.append(f"{gutter} {' ' * (span.column - 1)}{mark} {label.text}".rstrip())
    lines.append(gutter)
    lines.extend(f"{' ' * (width + 1)}{line}" for line in tail)
    for label in labels:
        if label.span.file != first.file:
            lines.append(f"{' ' * (width + 1)}= note: {label.text} at {label.span}")
    return "\n".join(lines)


class TdslError(Exception):
    """An error in the user's program: `code` (E0301), `span`, and a text that is rendered when shown."""

    code = "E0000"

    def __init__(
        self,
        message: str,
        span: RawSpan = None,
        *,
        code: str | None = None,
        labels: Sequence[Label] = (),
        notes: Sequence[str] = (),
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.raw_span = span
        self.code = code or type(self).code
        self.labels = tuple(labels)
        self.notes = tuple(notes)
        self.hint = hint

    @property
    def span(self) -> Span | None:
        return resolve(self.raw_span)

    def render(self, level: str = "error") -> str:
        labels = self.labels
        if not labels and (span := self.span) is not None:
            labels = (Label(span),)
        return render(f"{level}[{self.code}]: {self.message}", labels, self.notes, self.hint)

    def __str__(self) -> str:
        """The bare message first, as PyTorch words it, so that code which searches messages finds it."""
        span = self.labels[0].span if self.labels else self.span
        tail = "".join(f"\n  note: {note}" for note in self.notes)
        tail += f"\n  hint: {self.hint}" if self.hint else ""
        if span is None:
            return self.message + tail
        source = f"\n  {span.line:>4} | {span.text}" if span.text else ""
        return f"{self.message}\n  at {span}{source}{tail}"


class SyntaxError(TdslError, builtins.SyntaxError):
    """Text that is not tdsl (E01xx)."""

    code = "E0100"
    # `SyntaxError` wants its own fields; the rendered text is ours.
    __str__ = TdslError.__str__


class NameError(TdslError, builtins.NameError):
    """A name that is not defined (E02xx)."""

    code = "E0201"


class ShapeError(TdslError, builtins.ValueError, builtins.RuntimeError):
    """Sizes that do not fit (E03xx). A builtins.ValueError, and a RuntimeError because PyTorch raises that."""

    code = "E0303"


class DTypeError(TdslError, builtins.TypeError, builtins.RuntimeError):
    """Element types that do not fit."""

    code = "E0306"


class IndexError(TdslError, builtins.IndexError):
    """A position outside a tensor (E0502)."""

    code = "E0502"


class AssertionError(TdslError, builtins.AssertionError):
    """What PyTorch asserts of its arguments."""

    code = "E0301"


class KeyError(TdslError, builtins.KeyError):
    """A name that is not there."""

    code = "E0201"


class IndexNotationError(TdslError, builtins.ValueError):
    """An index statement that has no meaning (E04xx)."""

    code = "E0407"


class GradError(TdslError, builtins.RuntimeError):
    """A gradient that cannot be had (E06xx)."""

    code = "E0600"


class ZeroDivisionError(TdslError, builtins.RuntimeError, builtins.ZeroDivisionError):
    """Integer division by zero (E0504)."""

    code = "E0504"


class ValueError(TdslError, builtins.ValueError):
    """An argument whose value is not allowed."""

    code = "E0305"


class TypeError(TdslError, builtins.TypeError):
    """An argument of the wrong kind."""

    code = "E0308"


class RuntimeError(TdslError, builtins.RuntimeError):
    """What PyTorch raises as a plain RuntimeError."""

    code = "E0300"


class NotImplementedError(TdslError, builtins.NotImplementedError):
    """What PyTorch has no kernel for, either. A RuntimeError, as Python's own is."""

    code = "E0307"


class MemoryError(TdslError, builtins.MemoryError, builtins.RuntimeError):
    """More memory asked for than there is."""

    code = "E0505"


class IRError(TdslError):
    """IR that breaks its own rules: a bad text file, or a bug in a pass."""

    code = "E0900"


class InternalError(TdslError, builtins.RuntimeError):
    """A fault of tdsl itself; its text carries the IR. Please report it."""

    code = "E0999"

"""Any exception of a running script → a diagnostic with its place and the chain of calls."""

from __future__ import annotations

import builtins
import re
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType

from tdsl.compiler.evaluate import OutsideError
from tdsl.compiler.source import Label, Span, TdslError
from tdsl.lang import ast
from tdsl.lang.outside import in_words
from tdsl.lang.parse import parse_source

# The scripts that were run, by the file name that their code carries.
SOURCES: dict[str, ast.Source] = {}
CODES: dict[type[BaseException], str] = {
    builtins.UnboundLocalError: "E0202",
    builtins.NameError: "E0201",
    builtins.TypeError: "E0308",
    builtins.AttributeError: "E0208",
    builtins.KeyError: "E0309",
    builtins.IndexError: "E0310",
    builtins.ZeroDivisionError: "E0504",
    builtins.RecursionError: "E0506",
    builtins.MemoryError: "E0505",
    builtins.ValueError: "E0305",
    builtins.OSError: "E0704",
}
Place = tuple[Span, str, ast.Source, ast.At]  # span, function, source, offsets


class ScriptError(TdslError, builtins.RuntimeError):
    """An exception of Python that a script ran into, with its place."""


def places(trace: TracebackType | None) -> Iterator[Place]:
    """The script's lines of a traceback, outermost first."""
    while trace is not None:
        found = place_of(trace.tb_frame, trace.tb_lasti)
        if found is not None:
            yield found
        trace = trace.tb_next


def place_of(frame: FrameType, instruction: int) -> Place | None:
    """Where a frame of a script stands."""
    code = frame.f_code
    source = SOURCES.get(code.co_filename)
    if source is None:
        return None
    positions = list(code.co_positions())[instruction // 2]
    line, end_line, column, end_column = positions
    if line is None:
        return None
    start = _offset(source, line, column or 0)
    end = _offset(source, end_line or line, end_column or 0)
    name = code.co_qualname.replace(".<locals>", "").replace("<module>", "")
    return source.span((start, end)), name, source, (start, end)


def _offset(source: ast.Source, line: int, column: int) -> int:
    text = source.line(line)
    if not source.is_ascii:
        column = len(text.encode()[:column].decode(errors="ignore"))
    return source.starts[line - 1] + column


def current_span() -> Span | None:
    """Where the script that is running now stands; None outside of one."""
    for frame, _ in traceback.walk_stack(None):
        found = place_of(frame, frame.f_lasti)
        if found is not None:
            return found[0]
    return None


def located(error: Exception) -> TdslError:
    """The diagnostic of an exception: its own place, or the innermost line of a script that led to it."""
    found = list(places(error.__traceback__))
    result = error if isinstance(error, TdslError) else _python_error(error)
    if getattr(result, "is_located", False) or not found:
        return result
    result.is_located = True  # type: ignore[attr-defined]
    call_site = getattr(result, "call_site", None)
    if call_site is not None:
        return _of_call(result, found, *call_site)
    if not result.labels and result.span is None:
        result.raw_span = found[-1][0]
    if isinstance(result, OutsideError):
        in_words(result)
    result.notes = (*result.notes, *_chain(found))
    return result


def _python_error(error: Exception) -> TdslError:
    code = next((c for kind, c in CODES.items() if isinstance(error, kind)), "E0300")
    message = str(error) or type(error).__name__
    if isinstance(error, builtins.KeyError):
        message = f"there is no key {message}"
    if isinstance(error, builtins.UnboundLocalError):
        name = message.split("'")[1] if "'" in message else "a name"
        message = f"`{name}` may have no value here: it was not assigned on the way"
    if isinstance(error, builtins.RecursionError):
        message = "functions call each other too deeply"
    result = ScriptError(message, code=code)
    result.__cause__ = error
    return result


def _chain(found: list[Place]) -> tuple[str, ...]:
    """`in f(), called at file:line:column`, innermost first; a long chain keeps its ends."""
    lines = [
        f"in {inner[1]}(), called at {outer[0]}"
        for outer, inner in zip(reversed(found[:-1]), reversed(found), strict=False)
        if inner[1]
    ]
    return tuple(lines) if len(lines) <= 8 else (*lines[:5], f"... {len(lines) - 7} more calls", *lines[-2:])


def _of_call(
    error: TdslError, found: list[Place], labels: tuple[Label, ...], what: str, param: str | None
) -> TdslError:
    """A signature's error: the annotation is marked, and the argument (or the result) that does not fit it."""
    if param is None:
        span, chain = found[-1][0], found
    else:
        caller = found[-2] if len(found) > 1 else found[-1]
        span, chain = _argument(caller, param, found[-1]), found[:-1]
        given = span.text[span.column - 1 : span.end_column - 1]
        if given.isidentifier():
            error.message = re.sub(r"but dimension (\d+) is", rf"but dimension \1 of `{given}` is", error.message)
    error.labels = (*labels, Label(span, what))
    error.raw_span = span
    error.notes = (*error.notes, *_chain(chain))
    return error


def _argument(caller: Place, param: str, callee: Place) -> Span:
    """The place of the argument for `param` in the call at `caller`; the whole call where it is not plain."""
    span, _, source, at = caller
    for node in ast.walk(parse_source(source)):
        if not isinstance(node, ast.Call) or node.at != at:
            continue
        for arg in node.args:
            if isinstance(arg, ast.Keyword) and arg.name == param:
                return source.span(arg.value.at)
        names = _param_names(callee, param)
        plain = [a for a in node.args if not isinstance(a, ast.Keyword)]
        if param in names and names.index(param) < len(plain) and not any(isinstance(a, ast.Star) for a in plain):
            return source.span(plain[names.index(param)].at)
    return span


def _param_names(callee: Place, param: str) -> list[str]:
    name = callee[1].split(".")[-1]
    for node in ast.walk(parse_source(callee[2])):
        if isinstance(node, (ast.FuncDef, ast.ModelDef)) and node.name == name:
            names = [p.name for p in node.params]
            if param in names:
                return names[1:] if names[0] in ("self", "ctx") else names
    return []

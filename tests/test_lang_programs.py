"""Every program of tests/programs holds what it prints (`#> ...`) or the error it ends with.

`#! ^^^^ CODE message` marks the columns of the line above; `#! <- CODE message` says the first column.
"""

import re
from pathlib import Path

import pytest

from tdsl.compiler.source import TdslError
from tdsl.lang.modules import Session

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.tdsl"))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_program(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = path.read_text(encoding="utf-8").split("\n")
    fault = next((k for k, line in enumerate(lines) if line.startswith("#!")), None)
    try:
        Session().load(path)
        error = None
    except TdslError as raised:
        error = raised
    printed = [line[3:] for line in lines if line.startswith("#> ")]
    found = capsys.readouterr().out.splitlines()
    if error is not None and fault is None:
        raise error
    if fault is None:
        assert found == printed
        return
    assert error is not None, "no error was found"
    match = re.match(r"#!\s*(\^+|<-) (E\d+) (.*)", lines[fault])
    assert match, lines[fault]
    span = next((x.span for x in error.labels if x.primary), error.span)
    assert (error.code, error.message) == (match[2], match[3])
    assert span is not None and span.line == fault
    if match[1] != "<-":
        start = match.start(1) + 1
        assert (span.column, span.end_column) == (start, start + len(match[1]))
    assert error.render().startswith(f"error[{match[2]}]: {match[3]}\n")

"""Filetests of the graph: a .ir file holds commands, IR text and the IR expected after it.

    ; run: fold cse            passes, left to right; `print` only parses and prints
    %0: f32[4] = input
    return %0
    ; expect:
    ; %0: f32[4] = input
    ; return %0

`; error: text` on a line says that line must be refused with that text. `pytest --bless` writes what came out, for a
person to read. Kernels and loops have theirs in test_kernel_text.py and test_loop_passes.py.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tdsl.compiler.ops  # noqa: F401
from tdsl.compiler.graph import Graph, verify
from tdsl.compiler.graph_text import parse, show
from tdsl.compiler.source import IRError

# Runs share no compiled code with each other, nor with what the user has; the processes of one run do.
os.environ.setdefault("TDSL_CACHE_DIR", os.path.join(tempfile.mkdtemp(prefix="tdsl-tests-"), "cache"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write actual output into filetests")


_PEER_SUMMARY: list[str] = []


@pytest.fixture
def peer_summary() -> list[str]:
    """Lines that the end of the run shows: how much of PyTorch agrees."""
    return _PEER_SUMMARY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _PEER_SUMMARY:
        terminalreporter.section("compared with PyTorch")
    for line in _PEER_SUMMARY:
        terminalreporter.write_line(line)


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    is_graph = file_path.suffix == ".ir" and "graph" in file_path.parts
    return IRFile.from_parent(parent, path=file_path) if is_graph else None


class IRFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield IRTest.from_parent(self, name=self.path.stem)


class Mismatch(Exception):
    pass


class IRTest(pytest.Item):
    def runtest(self) -> None:
        body, _, expected = self.path.read_text().partition("; expect:\n")
        lines = body.splitlines()
        passes = [p for line in lines if line.startswith("; run:") for p in line[6:].split()]
        refused = {n: line.split("; error:")[1].strip() for n, line in enumerate(lines, 1) if "; error:" in line}
        if not passes:
            raise Mismatch("no `; run:` line")
        try:
            graph = self.through(parse(body, self.path.name), passes)
        except IRError as error:
            want = refused.get(error.span.line if error.span else 0)
            if want is None or want not in error.message:
                raise Mismatch(f"refused, but no `; error:` says so:\n{error}") from None
            return
        if refused:
            raise Mismatch(f"nothing was refused; line {min(refused)} should be: {refused[min(refused)]}")
        actual = "".join(f"; {line}\n" for line in show(graph).splitlines())
        if actual == expected:
            return
        if self.config.getoption("--bless"):
            self.path.write_text(body + "; expect:\n" + actual)
            return
        raise Mismatch(f"--- expected\n{expected}--- actual\n{actual}(pytest --bless accepts the actual text)")

    def through(self, graph: Graph, passes: list[str]) -> Graph:
        verify(graph)
        if show(parse(show(graph))) != show(graph):
            raise Mismatch("print and parse do not agree:\n" + show(graph))
        for name in passes:
            if name != "print":
                graph = getattr(importlib.import_module(f"tdsl.compiler.passes.{name}"), name)(graph)
                verify(graph)
        return graph

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        return str(excinfo.value) if isinstance(excinfo.value, Mismatch) else str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"filetest {self.name}"

"""`tdsl.index`: index notation as a function of Python."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from typing import Any

from tdsl.compiler import kernel_text
from tdsl.compiler.source import IndexNotationError, TypeError
from tdsl.lang import ast
from tdsl.lang.check import check
from tdsl.lang.errors import SOURCES, located
from tdsl.lang.index_blocks import ScanSite, analyze_scan, analyze_scatter
from tdsl.lang.index_site import Site, analyze
from tdsl.lang.modules import Session
from tdsl.lang.parse import parse_source
from tdsl.lang.signature import is_tensor


class IndexFunction:
    """Statements of index notation, called with the tensors and numbers that they read, by name."""

    def __init__(self, text: str) -> None:
        self.text = _statements(text)
        source = ast.Source("<index>", self.text)
        tree = parse_source(source)
        for statement in tree.body:
            if not isinstance(statement, (ast.IndexDef, ast.Scan, ast.Scatter)):
                message = "tdsl.index takes definitions by elements"
                raise IndexNotationError(message, source.span(statement.at), hint="write y[i] := ...")
        self.names = _free_names(tree, source)
        self.sites = [site for s in tree.body for site in _sites(s, source)]
        self.result = _defined(self.sites[-1])[-1]
        lines = "\n".join("    " + line for line in self.text.rstrip("\n").split("\n"))
        self.script = f"def run({', '.join(self.names)}):\n{lines}\n    return {self.result}\n"
        SOURCES[source.file] = source
        function = ast.Source(f"<index {self.text.strip()}>", self.script)
        script = parse_source(function)
        for fault in check(script, function):
            raise fault
        self.run = Session().run(script, function, Path("index.tdsl")).run

    def __call__(self, **values: Any) -> Any:
        missing = [n for n in self.names if n not in values]
        extra = [n for n in values if n not in self.names]
        if missing or extra:
            said = f"is called without {', '.join(missing)}" if missing else f"reads no {', '.join(extra)}"
            raise TypeError(f"the index function {said}", code="E0204", hint=f"its names are {', '.join(self.names)}")
        try:
            return self.run(**{name: _as_value(v) for name, v in values.items()})
        except Exception as error:
            raise located(error) from None

    def kernel(self, **values: Any) -> str:
        """The kernels of these arguments (tensors, arrays or shapes as tuples of f32) as text."""
        known: dict[str, Any] = {n: _as_value(_zeros(v)) for n, v in values.items()}
        texts = []
        for site in self.sites:
            slots = tuple(known[n.id] if isinstance(n, ast.Name) else _fixed(n) for n in site.slots)
            built = site.built(slots)
            texts.append(kernel_text.show(built.kernel))
            made = site(*slots)
            known.update(zip(_defined(site), made if isinstance(site, ScanSite) else (made,), strict=True))
        return "\n".join(texts)

    def __repr__(self) -> str:
        return f"tdsl.index({self.text.strip()!r})"


def index(text: str) -> IndexFunction:
    """A function from index notation; the last definition is its result.

    >>> f = index("C[i, j] := sum[k] A[i, k] * B[k, j]")  # doctest: +SKIP
    >>> f(A=a, B=b).shape  # doctest: +SKIP
    (3, 5)
    """
    return IndexFunction(text)


_HEADER = re.compile(r"^kernel \w+\(.*\) -> \(.*\):$")


def _statements(text: str) -> str:
    """The statements, without the header and the indentation of a printed kernel."""
    lines = [line for line in textwrap.dedent(text).split("\n") if not _HEADER.match(line)]
    return textwrap.dedent("\n".join(lines)).strip() + "\n"


def _free_names(tree: ast.File, source: ast.Source) -> list[str]:
    """The names that are read and not defined before: the parameters, in order."""
    found: dict[str, None] = {}
    defined: set[str] = set()
    for s in tree.body:
        for site in _sites(s, source):
            for slot in site.slots:
                for n in ast.walk(slot):
                    if isinstance(n, ast.Name) and n.id not in defined and not _is_library(n.id):
                        found[n.id] = None
            defined.update(_defined(site))
    return list(found)


def _sites(s: ast.Node, source: ast.Source) -> list[Site]:
    """The kernels of a statement: one, or one for each line of a scatter."""
    if isinstance(s, ast.Scan):
        return [analyze_scan(s, source)]
    return list(analyze_scatter(s, source)) if isinstance(s, ast.Scatter) else [analyze(s, source)]


def _defined(site: Site) -> tuple[str, ...]:
    """The names that a site gives a value to."""
    return site.names if isinstance(site, ScanSite) else (site.name,)


def _is_library(name: str) -> bool:
    return name in (
        "f16",
        "bf16",
        "f32",
        "f64",
        "i8",
        "i16",
        "i32",
        "i64",
        "u8",
        "bool",
        "len",
        "float",
        "int",
        "max",
        "min",
    )


def _zeros(value: Any) -> Any:
    return importlib.import_module("tdsl").zeros(*value) if isinstance(value, tuple) else value


def _as_value(value: Any) -> Any:
    if is_tensor(value) or isinstance(value, (bool, int, float)):
        return value
    if hasattr(value, "__array__"):
        return importlib.import_module("tdsl").tensor(value)
    return value


def _fixed(n: ast.Node) -> Any:
    raise IndexNotationError("the kernel of a statement with ordinary expressions is shown by `tdsl ir`", None)

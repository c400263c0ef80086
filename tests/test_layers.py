"""Who may import whom: dsl → runtime → compiler → nothing of ours; within the compiler downwards; never in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tree import modules

# top to bottom; the longest matching prefix is a module's room
ROOMS = [
    "tdsl", "tdsl.runtime", "tdsl.compiler.pipeline", "tdsl.compiler.llvm", "tdsl.compiler.loop_passes",
    "tdsl.compiler.lower", "tdsl.compiler.schedule", "tdsl.compiler.program", "tdsl.compiler.fusion",
    "tdsl.compiler.passes", "tdsl.compiler.autodiff", "tdsl.compiler.index_grad", "tdsl.compiler.kernel_grad",
    "tdsl.compiler.generalize",
    "tdsl.compiler.ops", "tdsl.compiler", "tdsl.compiler.kernel", "tdsl.compiler.maths",
    "tdsl.compiler.loops_builder", "tdsl.compiler.loops", "tdsl.compiler.graph", "tdsl.compiler.dtype",
    "tdsl.compiler.target", "tdsl.compiler.source",
]  # fmt: skip


def room(name: str) -> int:
    fits = [r for r in ROOMS if name == r or name.startswith(r + ".")]
    return ROOMS.index(max(fits, key=len))


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere, in functions and under TYPE_CHECKING too."""
    known = modules()
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "absolute imports only"
            full = {f"{node.module}.{a.name}" for a in node.names}
            names |= {n if n in known else node.module or "" for n in full}
    return {n for n in names if n == "tdsl" or n.startswith("tdsl.")}


@pytest.mark.parametrize("name", modules())
def test_imports_point_down(name: str) -> None:
    side = [n for n in ("tdsl.compiler", "tdsl.runtime") if name == n or name.startswith(n + ".")]
    above = {"tdsl.compiler": ("tdsl.runtime",), "tdsl.runtime": ()}.get(side[0], ()) if side else ()
    for other in imported(modules()[name]):
        if side:
            assert other.startswith(("tdsl.compiler", "tdsl.runtime")), f"{name} imports {other}, which is above it"
        assert not other.startswith(above or ("-",)), f"{name} imports {other}, which is above it"
        if side == ["tdsl.compiler"]:
            assert room(other) >= room(name), f"{name} imports {other}, which is above it"


def test_the_compiler_and_the_runtime_import_in_no_circle() -> None:
    graph = {n: imported(p) - {n} for n, p in modules().items() if n.startswith(("tdsl.compiler", "tdsl.runtime"))}
    done: set[str] = set()
    while len(done) < len(graph):
        free = [n for n in graph if n not in done and graph[n] & graph.keys() <= done]
        assert free, f"a circle among {sorted(set(graph) - done)}"
        done.update(free)

"""The one list of passes, and the ways through: graph → program, kernel → loops → LLVM IR."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tdsl.compiler import llvm, loops
from tdsl.compiler.graph import Graph, Sym
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.loop_passes.expand_math import expand_math
from tdsl.compiler.loop_passes.hoist import hoist
from tdsl.compiler.loop_passes.parallel import parallel
from tdsl.compiler.loop_passes.vectorize import vectorize
from tdsl.compiler.lower import lower_kernel
from tdsl.compiler.passes.cse import cse
from tdsl.compiler.passes.dce import dce
from tdsl.compiler.passes.fold import fold
from tdsl.compiler.passes.simplify import simplify
from tdsl.compiler.program import Program
from tdsl.compiler.schedule import schedule
from tdsl.compiler.target import Target

# Each line: the pass, and what the next may rely on.
GRAPH_PASSES: tuple[Callable[[Graph], Graph], ...] = (
    fold,  # what depends on constants alone is a constant
    simplify,  # no op that does nothing; views of views are one view
    cse,  # equal computations are one value
    dce,  # every node reaches an output
)
LOOP_PASSES: tuple[Callable[[loops.Module, Target], loops.Module], ...] = (
    hoist,  # reductions and subexpressions stand at the level of their axes
    parallel,  # independent outer loops are chunks for threads
    vectorize,  # innermost loops step by vectors, with a tail
    expand_math,  # exp, tanh, ... are arithmetic
    hoist,  # nothing is computed twice or inside a loop that does not change it
)


def improve(graph: Graph, upto: str | None = None) -> Graph:
    """The graph after all passes, or after the one named."""
    for step in GRAPH_PASSES:
        graph = step(graph)
        if step.__name__ == upto:
            break
    return graph


def compile_graph(graph: Graph, hints: Mapping[Sym, int] | None = None) -> Program:
    """Graph → program of kernels in index notation. Pure."""
    return schedule(improve(graph), hints, graph)


def lower(kernel: Kernel, target: Target, upto: str | None = None) -> loops.Module:
    """Kernel → loops, improved by all passes or up to the one named. Pure."""
    return improve_loops(lower_kernel(kernel, target), target, upto)


def improve_loops(module: loops.Module, target: Target, upto: str | None = None) -> loops.Module:
    if upto == "lower":
        return module
    for step in LOOP_PASSES:
        module = step(module, target)
        if step.__name__ == upto:
            break
    return module


def emit(module: loops.Module, target: Target) -> str:
    """Loops → LLVM IR text. Pure."""
    return llvm.emit(module, target)

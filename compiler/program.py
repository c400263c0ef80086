"""A compiled program: kernels and library calls in order, over numbered buffers.

Slots are buffers: first the graph's tensor inputs, then what the steps make. A slot's type may have run-time
sizes. Nothing here holds an address: the runtime binds a Program to sizes (a plan) and to bytes (a run).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tdsl.compiler.graph import Graph, Op, Shape, Sym, Type
from tdsl.compiler.kernel import Kernel


@dataclass(frozen=True, eq=False, slots=True)
class KernelStep:
    kernel: Kernel
    inputs: tuple[int, ...]  # the slot of each tensor param
    numbers: tuple[int, ...]  # the program's number for each number param
    sizes: tuple[Sym, ...]  # the program's size for each run-time size of the kernel, in the kernel's order
    outputs: tuple[int, ...]
    hints: Mapping[str, str] = field(default_factory=dict)  # names for people, of params and outputs


@dataclass(frozen=True, eq=False, slots=True)
class LibraryStep:
    op: Op
    attrs: Mapping[str, Any]
    inputs: tuple[int, ...]
    output: int
    shapes: tuple[Shape, ...]  # of the inputs as the op sees them: a slot may hold them under another shape


Step = KernelStep | LibraryStep


@dataclass(frozen=True, eq=False, slots=True)
class Program:
    """`outputs[k]` is the slot that holds the graph's k-th output; two outputs may share one (a reshape)."""

    recorded: Graph  # before the passes
    graph: Graph  # after them
    slots: tuple[Type, ...]
    inputs: int  # how many slots are inputs
    numbers: int
    sizes: tuple[Sym, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

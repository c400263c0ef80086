"""Loops built by hand, run on this machine: what the tests of emission, threads and vector maths share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tdsl.compiler import llvm
from tdsl.compiler.loop_passes.expand_math import expand_math
from tdsl.compiler.loops import I64, INDEX, SSA, Block, Func, LType, MemRef, Module, Scalar, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.target import Target
from tdsl.runtime import jit

HOST = jit.host_target()


def function(name: str, types: Sequence[LType], write: Callable[..., None]) -> Module:
    """A module of one entry whose body `write(builder, *args)` emits."""
    args = [SSA(t) for t in types]
    body = Block()
    write(Builder(body), *args)
    return Module([Func(name, args, body)])


class Machine:
    """A compiled entry: called with arrays and Python ints, which fill its frame."""

    def __init__(self, module: Module, target: Target = HOST) -> None:
        entry = module.funcs[-1].name
        self.ir = llvm.emit(expand_math(module, target), target)
        self.loaded = jit.load(self.ir, entry, target)

    def __call__(self, *values: np.ndarray | int) -> None:
        slots = [v.ctypes.data if isinstance(v, np.ndarray) else v for v in values]
        frame = np.array(slots, np.int64)
        functions = np.array([self.loaded.address], np.uint64)
        frames = np.array([frame.ctypes.data], np.uint64)
        jit.drive(functions.ctypes.data, frames.ctypes.data, 1)


def elementwise(op: str, element: Scalar, inputs: int, lanes: int, result: Scalar | None = None) -> Module:
    """out[i] = op(in0[i], ...) for i in 0..n, by vectors of `lanes` (1: scalars), the tail by scalars."""
    result = result or element

    def write(b: Builder, *args: SSA) -> None:
        *memrefs, n = args
        zero, one = b.constant(0), b.constant(1)

        def step(width: int) -> Callable[[SSA, list[SSA]], None]:
            def iteration(i: SSA, carried: list[SSA]) -> None:
                t: LType = Vector(width, result) if width > 1 else result
                loaded = [b.load(m, i, width) for m in memrefs[:-1]]
                b.store(b.op(op, loaded, (t,)).result, memrefs[-1], i)

            return iteration

        width = b.constant(lanes)
        whole = b.mul(b.binary("arith.divsi", n, width), width)
        b.for_(zero, whole, width, [], step(lanes))
        if lanes > 1:
            b.for_(whole, n, one, [], step(1))

    return function("f", [*[MemRef(element)] * inputs, MemRef(result), INDEX], write)


__all__ = ["HOST", "I64", "Machine", "elementwise", "function"]

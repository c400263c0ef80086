"""Compile one kernel and run it on NumPy arrays: what the tests of lowering share."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler import loops, pipeline
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import FUNCTIONS, Call, Const, Expr, Kernel, SizeOf
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.lower.microkernel import micro_kernel
from tdsl.compiler.target import AVX2, PLAIN, Target
from tdsl.runtime import jit

Array = np.ndarray[Any, Any]
HOST = jit.host_target()
# one vector width after another, with and without masked memory; each runs where this machine has it
TARGETS = [HOST, PLAIN, *([AVX2] if HOST.vector_bits > 256 else [])]
CANARY = 64  # bytes before and after each output, that no kernel may touch


@dataclass(frozen=True, slots=True)
class Ran:
    outputs: dict[str, Array]
    error: int  # 0, or the site that failed plus one


@dataclass(eq=False)
class Compiled:
    """A kernel's machine code, called with arrays by name."""

    kernel: Kernel
    loaded: jit.Loaded
    workspaces: tuple[loops.Workspace, ...]

    def __call__(self, sizes: Mapping[str, int] | None = None, **arrays: Any) -> Ran:
        known = {Sym(k): v for k, v in (sizes or {}).items()}
        held: list[Array] = []
        frame: list[int] = []
        for p in self.kernel.params:
            if not p.is_number:
                held.append(np.asarray(arrays[p.name], p.dtype.numpy, order="C"))
                assert held[-1].shape == _shape(p.shape, known), (p.name, held[-1].shape)
                frame.append(held[-1].ctypes.data)
        outputs: dict[str, Array] = {}
        guarded: list[Array] = []
        for name in self.kernel.outputs:
            d = self.kernel.definition(name)
            raw, outputs[name] = _guarded(_shape(d.shape, known), d.dtype.numpy)
            guarded.append(raw)
            frame.append(outputs[name].ctypes.data)
        for space in self.workspaces:
            held.append(np.zeros(_count(space.elements, known) * 8 + 64, np.uint8))
            frame.append(-(-held[-1].ctypes.data // 64) * 64)
        frame += [known[s] for s in self.kernel.sizes()]
        for p in self.kernel.params:
            if p.is_number:
                value = arrays[p.name]
                frame.append(int(np.float64(value).view(np.int64)) if p.dtype.is_float else int(value))
        error = np.zeros(1, np.int64)
        frame.append(error.ctypes.data)
        slots = np.array(frame, np.int64)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.loaded.address)(slots.ctypes.data)
        for raw in guarded:
            assert (raw[:CANARY] == 0xA5).all() and (raw[-CANARY:] == 0xA5).all(), "wrote outside an output"
        return Ran(outputs, int(error[0]))


def _guarded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[Array, Array]:
    nbytes = prod(shape) * dtype.itemsize
    raw = np.full(nbytes + 2 * CANARY, 0xA5, np.uint8)
    return raw, raw[CANARY : CANARY + nbytes].view(dtype).reshape(shape)


def _shape(shape: Sequence[Size], sizes: Mapping[Sym, int]) -> tuple[int, ...]:
    return tuple(sizes[n] if isinstance(n, Sym) else n for n in shape)


def _count(e: Expr, sizes: Mapping[Sym, int]) -> int:
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, SizeOf):
        return sizes[e.sym]
    assert isinstance(e, Call)
    return int(FUNCTIONS[e.fn].evaluate(*(_count(a, sizes) for a in e.args)))


def build(text: str | Kernel, target: Target = HOST, upto: str | None = None) -> Compiled:
    """The kernel, compiled. `upto`: stop improving its loops after that pass; vector maths is always expanded."""
    kernel = parse(text) if isinstance(text, str) else text
    module = pipeline.lower(kernel, target, upto)
    if upto in ("lower", "hoist", "parallel", "vectorize"):
        module = pipeline.expand_math(module, target)
    for name in module.externals:
        if not jit.is_registered(name):
            tile = pipeline.improve_loops(micro_kernel(name, target), target)
            made = jit.load(pipeline.emit(tile, target), name, target)
            jit.register(name, made.address, made)
    entry = module.funcs[-1]
    return Compiled(kernel, jit.load(pipeline.emit(module, target), entry.name, target), entry.workspaces)

"""A program bound to sizes: where every buffer lies, and the frame of arguments of every kernel.

A frame is what a kernel is called with: 8-byte slots for the addresses of its inputs, outputs and workspaces, its
run-time sizes, its numbers, and its error slot. All frames of a program lie in one array; a run fills in the
addresses that changed and calls all kernels with one foreign call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler.graph import Shape, Sym
from tdsl.compiler.kernel import FUNCTIONS, Call, Const, Expr, Kernel, Read, Scatter, SizeOf, roots, walk
from tdsl.compiler.program import KernelStep, LibraryStep, Program
from tdsl.compiler.source import InternalError
from tdsl.runtime import jit
from tdsl.runtime.buffer import ALIGNMENT, Buffer, empty
from tdsl.runtime.kernels import Compiled, KernelCache

Array = np.ndarray[Any, Any]


def can_fail(kernel: Kernel) -> bool:
    """Whether the kernel may report a bad position or a division by zero."""
    for statement in kernel.body:
        if isinstance(statement, Scatter) and statement.checked:
            return True
        for e in (e for r in roots(statement) for e in walk(r)):
            if isinstance(e, Read) and e.checked:
                return True
            if isinstance(e, Call) and e.fn in ("floordiv", "mod", "fmod") and not e.dtype.is_float:
                return True
    return False


def evaluate_size(e: Expr, sizes: Mapping[Sym, int]) -> int:
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, SizeOf):
        return sizes[e.sym]
    if isinstance(e, Call):
        return int(FUNCTIONS[e.fn].evaluate(*(evaluate_size(a, sizes) for a in e.args)))
    raise InternalError("a workspace's size is made of sizes and constants")


@dataclass(eq=False, slots=True)
class _Arena:
    """First fit by liveness: temporaries whose lives do not overlap share bytes."""

    live: list[tuple[int, int, int]]  # start, end, last step that needs it
    size: int = 0

    def place(self, nbytes: int, step: int, last: int) -> int:
        nbytes = -(-max(nbytes, 1) // ALIGNMENT) * ALIGNMENT
        self.live = sorted(x for x in self.live if x[2] >= step)
        start = 0
        for lo, hi, _ in self.live:
            if start + nbytes <= lo:
                break
            start = max(start, hi)
        self.live.append((start, start + nbytes, last))
        self.size = max(self.size, start + nbytes)
        return start


class Plan:
    """Built once for each program and set of sizes; `run` is called each time."""

    def __init__(self, program: Program, sizes: Mapping[Sym, int], kernels: KernelCache) -> None:
        self.program, self.sizes = program, dict(sizes)
        self.compiled: list[Compiled | None] = [
            kernels.get(s.kernel) if isinstance(s, KernelStep) else None for s in program.steps
        ]
        self.shapes = [self._shape(t.shape) for t in program.slots]
        self.counts = [prod(s) for s in self.shapes]
        self.nbytes = [n * t.dtype.itemsize for n, t in zip(self.counts, program.slots, strict=True)]
        self.made = list(dict.fromkeys(k for k in program.outputs if k >= program.inputs))
        self.errors = np.zeros(len(program.steps), np.int64)
        self._fails = any(isinstance(s, KernelStep) and can_fail(s.kernel) for s in program.steps)
        self._offset: dict[int, int] = {}  # temporaries: where in the arena
        self._workspace: dict[tuple[int, int], int] = {}
        self.arena_size = self._place()
        self._layout()

    def _shape(self, shape: Shape) -> tuple[int, ...]:
        return tuple(self.sizes[n] if isinstance(n, Sym) else n for n in shape)

    def _place(self) -> int:
        program = self.program
        last: dict[int, int] = {}
        for k, step in enumerate(program.steps):
            made = step.outputs if isinstance(step, KernelStep) else (step.output,)
            last.update((slot, k) for slot in (*step.inputs, *made))
        kept = set(program.outputs)
        arena = _Arena([])
        for k, step in enumerate(program.steps):
            made = step.outputs if isinstance(step, KernelStep) else (step.output,)
            for slot in made:
                if slot not in kept:
                    self._offset[slot] = arena.place(self.nbytes[slot], k, last[slot])
            compiled = self.compiled[k]
            if compiled is None or not isinstance(step, KernelStep):
                continue
            local = dict(zip(step.kernel.sizes(), (self.sizes[s] for s in step.sizes), strict=True))
            for j, space in enumerate(compiled.workspaces):
                nbytes = evaluate_size(space.elements, local) * (space.element.bits // 8)
                self._workspace[k, j] = arena.place(nbytes, k, k)
        return arena.size

    def _layout(self) -> None:
        """Lay the frames out: constants now, and for every run which address goes where."""
        program = self.program
        external = {slot: slot for slot in range(program.inputs)}
        external |= {slot: program.inputs + k for k, slot in enumerate(self.made)}
        arena = program.inputs + len(self.made)
        where, which, offsets = [], [], []
        float_where: list[int] = []
        float_which: list[int] = []
        int_where: list[int] = []
        int_which: list[int] = []
        frame: list[int] = []
        starts: list[int] = []
        functions: list[int] = []

        def address(source: int, offset: int) -> None:
            where.append(len(frame))
            which.append(source)
            offsets.append(offset)
            frame.append(0)

        error_base = self.errors.ctypes.data
        for k, step in enumerate(program.steps):
            compiled = self.compiled[k]
            if compiled is None or not isinstance(step, KernelStep):
                continue
            starts.append(len(frame))
            functions.append(compiled.loaded.address)
            for slot in (*step.inputs, *step.outputs):
                if slot in external:
                    address(external[slot], 0)
                else:
                    address(arena, self._offset[slot])
            for j in range(len(compiled.workspaces)):
                address(arena, self._workspace[k, j])
            frame.extend(self.sizes[s] for s in step.sizes)
            for param, n in zip((p for p in step.kernel.params if p.is_number), step.numbers, strict=True):
                into = (float_where, float_which) if param.dtype.is_float else (int_where, int_which)
                into[0].append(len(frame))
                into[1].append(n)
                frame.append(0)
            frame.append(error_base + 8 * k)
        self._frame = np.array(frame, np.int64)
        self._floats = self._frame.view(np.float64)
        self._where, self._which = np.array(where, np.intp), np.array(which, np.intp)
        self._add = np.array(offsets, np.int64)
        self._float_where, self._float_which = np.array(float_where, np.intp), float_which
        self._int_where, self._int_which = np.array(int_where, np.intp), int_which
        self._functions = np.array(functions, np.int64)
        base = self._frame.ctypes.data
        self._frames = np.array([base + 8 * s for s in starts], np.int64)
        self._segments = self._split()

    def _split(self) -> list[tuple[int, int, int] | LibraryStep]:
        """Runs of kernels, each one foreign call, with the library steps between them."""
        segments: list[tuple[int, int, int] | LibraryStep] = []
        functions, frames = self._functions.ctypes.data, self._frames.ctypes.data
        first = done = 0
        for step in self.program.steps:
            if isinstance(step, KernelStep):
                done += 1
                continue
            if done > first:
                segments.append((functions + 8 * first, frames + 8 * first, done - first))
            segments.append(step)
            first = done
        if done > first:
            segments.append((functions + 8 * first, frames + 8 * first, done - first))
        return segments

    def run(
        self, inputs: Sequence[Buffer], numbers: Sequence[bool | int | float], arena: Buffer,
        spares: Sequence[Buffer | None] | None = None,
    ) -> list[Buffer]:  # fmt: skip
        """One buffer for each output of the program's graph. The caller holds the lock.

        `spares`: for each of `made`, a buffer of its size that nobody reads any more, to be written, or None.
        """
        slots = self.program.slots
        given = spares if spares is not None else [None] * len(self.made)
        outputs = [have or empty(slots[k].dtype, self.counts[k]) for k, have in zip(self.made, given, strict=True)]
        addresses = np.array([*[b.address for b in inputs], *[b.address for b in outputs], arena.address], np.int64)
        self._frame[self._where] = addresses[self._which] + self._add
        if self._float_which:
            self._floats[self._float_where] = [float(numbers[k]) for k in self._float_which]
        if self._int_which:
            self._frame[self._int_where] = [int(numbers[k]) for k in self._int_which]
        if self._fails:
            self.errors.fill(0)
        held = [*inputs, *outputs]
        for segment in self._segments:
            if isinstance(segment, LibraryStep):
                self._call_library(segment, held, arena)
            else:
                jit.drive(*segment)
        by_slot = dict(zip(self.made, outputs, strict=True))
        return [by_slot[k] if k in by_slot else inputs[k] for k in self.program.outputs]

    def failed(self) -> bool:
        return self._fails and bool(self.errors.any())

    def _array(self, slot: int, held: Sequence[Buffer], arena: Buffer) -> Array:
        shape, dtype = self.shapes[slot], self.program.slots[slot].dtype
        if slot < self.program.inputs:
            return held[slot].view(shape)
        if slot in self._offset:
            start = self._offset[slot]
            return arena.array[start : start + self.nbytes[slot]].view(dtype.storage).reshape(shape)
        return held[self.program.inputs + self.made.index(slot)].view(shape)

    def _call_library(self, step: LibraryStep, held: Sequence[Buffer], arena: Buffer) -> None:
        assert step.op.library is not None
        arrays = [
            self._array(k, held, arena).reshape(self._shape(s)) for k, s in zip(step.inputs, step.shapes, strict=True)
        ]
        self._array(step.output, held, arena)[...] = step.op.library(*arrays, **step.attrs)

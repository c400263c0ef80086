"""Demanded values to bytes: find the program of a recorded graph, or have it compiled, and run it.

Three ways to find it, from cheap to dear:
1. the recording's key (ops, attrs, wiring, shapes) names a plan: one walk of the recorded values and one call;
2. its structure was seen with other sizes: a program whose differing sizes are run-time arguments fits or is made;
3. it is new: compiled for these sizes exactly.
Python numbers are arguments always, so a changed learning rate is way 1.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from threading import RLock
from time import perf_counter
from typing import Any

import numpy as np

from tdsl.compiler import generalize, pipeline
from tdsl.compiler.dtype import to_storage, u8
from tdsl.compiler.evaluate import OutsideError, evaluate
from tdsl.compiler.graph import Attrs, Graph, Op, Size, Sym, Value
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.program import KernelStep, Program
from tdsl.compiler.source import InternalError, TdslError, resolve
from tdsl.runtime import jit
from tdsl.runtime.buffer import Buffer, empty
from tdsl.runtime.interpreter import array_of, run_op
from tdsl.runtime.kernels import KernelCache
from tdsl.runtime.plan import Plan, can_fail

MAX_PLANS = 1000
MAX_PROGRAMS_A_STRUCTURE = 8


class Failure:
    """In place of the bytes of a value whose computation failed: whoever demands it gets the error again."""

    def __init__(self, error: TdslError) -> None:
        self.error = error

    @property
    def address(self) -> int:
        raise self.error

    @property
    def array(self) -> Any:
        raise self.error

    def view(self, shape: tuple[int, ...]) -> Any:
        raise self.error


@dataclass(eq=False, slots=True)
class Counters:
    """What the dispatcher did so far; `kernels` were compiled, `programs` scheduled, `plans` bound to sizes."""

    runs: int = 0
    plans: int = 0
    programs: int = 0

    @property
    def kernels(self) -> int:
        return _kernels.compiled


@dataclass(eq=False, slots=True)
class _Structure:
    """Programs of one structure: the exact ones' integers, and the patterns with run-time sizes."""

    seen: list[tuple[Size, ...]] = field(default_factory=list)
    general: list[tuple[tuple[Size, ...], Program]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compilation:
    """A graph for which no plan stood ready: why, and what was done."""

    reason: str
    operations: int
    place: str  # of the first operation in the user's program; empty where it is not known
    kernels: int  # in the program
    compiled: int  # of them, by this process
    from_disk: int  # of them, by an earlier process; the others were in use already
    seconds: float

    def __str__(self) -> str:
        where = f" from {self.place}" if self.place else ""
        kept = self.kernels - self.compiled - self.from_disk
        made = [(self.compiled, "compiled"), (self.from_disk, "from disk"), (kept, "already loaded")]
        told = ", ".join(f"{n} {what}" for n, what in made if n > 0) or "none"
        return f"{self.operations} operations{where}: {self.reason}; kernels: {told}; {self.seconds * 1000:.1f} ms"


compilations: deque[Compilation] = deque(maxlen=1000)  # the latest
counters = Counters()
observers: list[Callable[[Program], None]] = []  # called with each program that is about to run

_lock = RLock()
# a forked child may not find it held by a thread that it does not have
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_kernels = KernelCache(jit.host_target())
_plans: OrderedDict[tuple[int, ...], Plan] = OrderedDict()
_structures: OrderedDict[Any, _Structure] = OrderedDict()
_arena = empty(u8, 1 << 16)


def realize(values: Sequence[Value]) -> None:
    """Give every value its bytes, all in one program: sets `value.data`.

    An error found while running (a position outside a tensor, an integer divided by zero) is raised after all that
    does not depend on it has its bytes.
    """
    with _lock:
        wanted = list(dict.fromkeys(v for v in values if v.data is None))
        if not wanted:
            return
        order, place, key = linearize(wanted)
        outputs = [place[v] for v in wanted]
        plan = _plan((*key, -3, *outputs), order, outputs)
        inputs, numbers = _arguments(order)
        counters.runs += 1
        for observer in observers:
            observer(plan.program)
        results = plan.run(inputs, numbers, _arena_of(plan.arena_size))
        if plan.failed():
            _explain(order, wanted)
            return
        for value, buffer in zip(wanted, results, strict=True):
            value.data = buffer


def prepare(wanted: Sequence[Value]) -> Plan:
    """The plan that `realize` would run for these values, none of which has its bytes."""
    with _lock:
        order, place, key = linearize(wanted)
        outputs = [place[v] for v in wanted]
        return _plan((*key, -3, *outputs), order, outputs)


def run_plan(
    plan: Plan, inputs: Sequence[Buffer], numbers: Sequence[bool | int | float],
    spares: Sequence[Buffer | None] | None = None,
) -> list[Buffer] | None:  # fmt: skip
    """Run a plan on other inputs; None where a kernel reported a fault. `spares`: see `Plan.run`."""
    with _lock:
        counters.runs += 1
        for observer in observers:
            observer(plan.program)
        results = plan.run(inputs, numbers, _arena_of(plan.arena_size), spares)
        return None if plan.failed() else results


def clear_cache() -> None:
    """Forget every compiled program and kernel."""
    with _lock:
        _plans.clear()
        _structures.clear()
        _kernels.clear()
        compilations.clear()


_serial = attrgetter("serial")


def linearize(wanted: Sequence[Value]) -> tuple[list[Value], dict[Value, int], list[int]]:
    """Pending values args first, down to those with data; each one's place; and the recording's key."""
    seen = set(wanted)
    stack = list(wanted)
    while stack:
        value = stack.pop()
        if value.data is None:
            for a in value.args:
                if a not in seen:
                    seen.add(a)
                    stack.append(a)
    order = sorted(seen, key=_serial)
    place = {v: k for k, v in enumerate(order)}
    key: list[int] = []
    for value in order:
        if value.data is None and value.signature is not None:
            key.append(value.signature.number)
            for a in value.args:
                key.append(place[a])
        else:
            key.append(-2 if value.is_number else -1)
    return order, place, key


def _arguments(order: Sequence[Value]) -> tuple[list[Buffer], list[bool | int | float]]:
    inputs: list[Buffer] = []
    numbers: list[bool | int | float] = []
    for value in order:
        data = value.data
        if data is None:
            if value.op is None:
                raise InternalError(f"{value!r} has neither an op nor data")
        elif value.is_number:
            numbers.append(data)
        else:
            inputs.append(data)
    return inputs, numbers


def _plan(key: tuple[int, ...], order: Sequence[Value], outputs: Sequence[int]) -> Plan:
    plan = _plans.get(key)
    if plan is not None:
        _plans.move_to_end(key)
        return plan
    start, before, from_disk = perf_counter(), _kernels.compiled, _kernels.from_disk
    program, sizes, reason = _program(order, outputs)
    plan = _plans[key] = Plan(program, sizes, _kernels)
    counters.plans += 1
    kernels = sum(isinstance(s, KernelStep) for s in program.steps)
    recalled = _kernels.from_disk - from_disk
    fresh = _kernels.compiled - before - recalled
    pending = [v for v in order if v.data is None]
    place = next((str(found) for v in pending if (found := resolve(v.span)) is not None), "")
    taken = perf_counter() - start
    compilations.append(Compilation(reason, len(pending), place, kernels, fresh, recalled, taken))
    while len(_plans) > 1 and (len(_plans) > MAX_PLANS or _kernels.crowded):
        _plans.popitem(last=False)
    return plan


def _program(order: Sequence[Value], outputs: Sequence[int]) -> tuple[Program, dict[Sym, int], str]:
    """A program for the recording, its run-time sizes, and why none stood ready."""
    structure, sizes = generalize.describe(order, outputs)
    known = _structures.setdefault(structure, _Structure())
    _structures.move_to_end(structure)
    if len(_structures) > MAX_PLANS:
        _structures.popitem(last=False)
    for pattern, program in known.general:
        values = generalize.match(pattern, sizes)
        if values is not None:
            return program, values, "seen before; other sizes, which its program takes at run time"
    for old in [p for p, _ in known.general] + known.seen[-1:]:
        found = _general_program(known, old, order, outputs, sizes)
        if found is not None:
            return *found, f"seen before with other sizes ({_difference(old, sizes)}); compiled for any such sizes"
    reason = "not seen before; compiled for these sizes"
    if known.seen:
        reason = f"seen before with other sizes ({_difference(known.seen[-1], sizes)}), which it needs to know exactly"
    known.seen.append(sizes)
    del known.seen[:-MAX_PROGRAMS_A_STRUCTURE]
    return _compile(generalize.build(order, outputs, sizes), {}), {}, reason


def _difference(old: Sequence[Size], new: Sequence[Size]) -> str:
    """The sizes that changed, each pair once."""
    pairs = dict.fromkeys(f"{a} -> {b}" for a, b in zip(old, new, strict=False) if a != b)
    return ", ".join(list(pairs)[:4]) + (", ..." if len(pairs) > 4 else "")


def _general_program(
    known: _Structure, old: tuple[Size, ...], order: Sequence[Value], outputs: Sequence[int], sizes: tuple[Size, ...]
) -> tuple[Program, dict[Sym, int]] | None:
    """A program for the old sizes and the new; None where a rule needs to know a size exactly."""
    pattern = generalize.common_pattern(old, sizes)
    values = None if pattern is None else generalize.match(pattern, sizes)
    if pattern is None or values is None:
        return None
    try:
        program = _compile(generalize.build(order, outputs, pattern), values)
        Plan(program, values, _kernels)  # its kernels must compile with run-time sizes, too
    except (TdslError, TypeError, AttributeError, KeyError):
        return None
    known.general.insert(0, (pattern, program))
    del known.general[MAX_PROGRAMS_A_STRUCTURE:]
    return program, values


def _compile(graph: Graph, hints: dict[Sym, int]) -> Program:
    counters.programs += 1
    return pipeline.compile_graph(graph, hints)


def _arena_of(size: int) -> Buffer:
    global _arena
    if _arena.array.size < size:
        _arena = empty(u8, size)
    return _arena


def _explain(order: Sequence[Value], wanted: Sequence[Value]) -> None:
    """Run op by op to find what failed: the rest gets its bytes, the failed a Failure; then raise."""
    arrays: dict[Value, Any] = {}
    first: TdslError | None = None
    for value in order:
        if value.op is None or value.data is not None:
            arrays[value] = array_of(value)
            continue
        args = [arrays[a] for a in value.args]
        failed = next((a for a in args if isinstance(a, Failure)), None)
        if failed is not None:
            arrays[value] = failed
            continue
        try:
            arrays[value] = _checked(value, args)
        except TdslError as error:
            error.raw_span = error.raw_span or value.span
            arrays[value] = Failure(error)
            first = first or error
    for value in wanted:
        result = arrays[value]
        value.data = (
            result if isinstance(result, Failure) else Buffer(to_storage(np.array(result), value.dtype).reshape(-1))
        )
    if first is None:
        raise InternalError("a kernel reported a fault that op-by-op evaluation does not see")
    raise first


def _checked(value: Value, args: list[Any]) -> Any:
    """The op's result; through its kernel when that may fail, since the kernel says where."""
    op = value.op
    assert op is not None
    if op.kernel is None:
        return run_op(value, args)
    kernel = op.kernel(tuple(a.type for a in value.args), value.type, value.attrs)
    assert isinstance(kernel, Kernel)
    if not can_fail(kernel):
        return run_op(value, args)
    named = {p.name: a for p, a in zip(kernel.params, args, strict=True)}
    try:
        return evaluate(kernel, named, {})[kernel.outputs[0]]
    except OutsideError as error:
        if op.outside is None:
            error.kernel = kernel
            raise
        raise _out_of_bounds(op, value.attrs, error) from None


def _out_of_bounds(op: Op, attrs: Attrs, error: OutsideError) -> TdslError:
    """The error as PyTorch words it: the index as the user gave it, the dimension and its size."""
    d = next(k for k, (p, n) in enumerate(zip(error.position, error.shape, strict=True)) if not 0 <= p < n)
    index, n = error.position[d], error.shape[d]
    if op.counts_from_end(attrs) and index < 0:
        index -= n
    assert op.outside is not None
    return op.outside(f"index {index} is out of bounds for dimension {d} with size {n}")

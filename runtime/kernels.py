"""Compiled kernels, found by their text: equal kernels of any programs are compiled once, in this process or before."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdsl.compiler import loops, pipeline
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Call, Const, Expr, Kernel, SizeOf, call, index_const
from tdsl.compiler.kernel_text import canonical
from tdsl.compiler.loops import Scalar, Workspace
from tdsl.compiler.lower.microkernel import micro_kernel
from tdsl.compiler.target import Target
from tdsl.runtime import jit

LIMIT = 2000  # kernels kept for programs to come
MAPS_A_KERNEL = 6  # memory maps that a loaded kernel takes at most: code, constants, unwinding, and what lies between


def _most_alive() -> int:
    """Kernels that may be loaded at once: half of the memory maps that the system grants a process. LLVM ends the
    process when it can get no more."""
    try:
        granted = int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        granted = 65530  # Linux's own default; elsewhere there is no such limit
    return max(LIMIT + 500, granted // (2 * MAPS_A_KERNEL))


ALIVE = _most_alive()


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Compiled:
    """A kernel's machine code; it lives as long as this object does."""

    loaded: jit.Loaded
    workspaces: tuple[Workspace, ...]


class KernelCache:
    """canonical text → Compiled, least recently used dropped first. Whoever runs a kernel holds its Compiled."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.compiled = 0  # how many were loaded in all
        self.from_disk = 0  # how many of them some process had compiled before
        self._kernels: OrderedDict[str, Compiled] = OrderedDict()
        self._alive: weakref.WeakSet[Compiled] = weakref.WeakSet()

    @property
    def crowded(self) -> bool:
        """Whether more kernels are loaded, here and by plans, than the process has memory maps for."""
        return len(self._alive) > ALIVE

    def get(self, kernel: Kernel) -> Compiled:
        key = canonical(kernel)
        found = self._kernels.get(key)
        if found is not None:
            self._kernels.move_to_end(key)
            return found
        made = self._kernels[key] = self._compile(kernel, key)
        self.compiled += 1
        while len(self._kernels) > LIMIT:
            self._kernels.popitem(last=False)
        return made

    def _compile(self, kernel: Kernel, key: str) -> Compiled:
        made = self._recalled(key) or self._lowered(kernel, key)
        self._alive.add(made)
        return made

    def _recalled(self, key: str) -> Compiled | None:
        """The kernel as an earlier process compiled it."""
        kept = jit.recall(key)
        if kept is None:
            return None
        for name in kept.about["micro_kernels"]:
            self._micro_kernel(name)
        spaces = tuple(Workspace(_scalar(name), _expression(e)) for name, e in kept.about["workspaces"])
        self.from_disk += 1
        return Compiled(jit.link(kept), spaces)

    def _lowered(self, kernel: Kernel, key: str) -> Compiled:
        module = pipeline.lower(kernel, self.target)
        for name in module.externals:
            self._micro_kernel(name)
        entry = module.funcs[-1]
        spaces = [(w.element.name, _as_data(w.elements)) for w in entry.workspaces]
        about = {"micro_kernels": list(module.externals), "workspaces": spaces}
        loaded = jit.load(pipeline.emit(module, self.target), entry.name, self.target, key, about)
        return Compiled(loaded, entry.workspaces)

    def _micro_kernel(self, name: str) -> None:
        if jit.is_registered(name):
            return
        kept = jit.recall(name)
        if kept is not None:
            loaded = jit.link(kept)
            self.from_disk += 1
        else:
            module = pipeline.improve_loops(micro_kernel(name, self.target), self.target)
            loaded = jit.load(pipeline.emit(module, self.target), name, self.target, name)
        jit.register(name, loaded.address, loaded)
        self.compiled += 1

    def clear(self) -> None:
        self._kernels.clear()  # plans may hold some of them still


# -------------------------------------------------------------------------------------- workspaces as JSON


def _as_data(e: Expr) -> Any:
    """A workspace's size, an expression of constants and run-time sizes."""
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, SizeOf):
        return e.sym.name
    assert isinstance(e, Call)
    return [e.fn, *map(_as_data, e.args)]


def _expression(data: Any) -> Expr:
    if isinstance(data, int):
        return index_const(data)
    if isinstance(data, str):
        return SizeOf(Sym(data))
    return call(data[0], *map(_expression, data[1:]))


def _scalar(name: str) -> Scalar:
    return next(t for t in vars(loops).values() if isinstance(t, Scalar) and t.name == name)

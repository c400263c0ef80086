"""Compiled kernels, found by their text: equal kernels of any programs are compiled once."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from tdsl.compiler import pipeline
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_text import canonical
from tdsl.compiler.loops import Workspace
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
        self.compiled = 0  # how many were compiled in all
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
        made = self._kernels[key] = self._compile(kernel)
        self.compiled += 1
        while len(self._kernels) > LIMIT:
            self._kernels.popitem(last=False)
        return made

    def _compile(self, kernel: Kernel) -> Compiled:
        module = pipeline.lower(kernel, self.target)
        for name in module.externals:
            self._micro_kernel(name)
        entry = module.funcs[-1]
        made = Compiled(jit.load(pipeline.emit(module, self.target), entry.name, self.target), entry.workspaces)
        self._alive.add(made)
        return made

    def _micro_kernel(self, name: str) -> None:
        if jit.is_registered(name):
            return
        module = pipeline.improve_loops(micro_kernel(name, self.target), self.target)
        loaded = jit.load(pipeline.emit(module, self.target), name, self.target)
        jit.register(name, loaded.address, loaded)
        self.compiled += 1

    def clear(self) -> None:
        self._kernels.clear()  # plans may hold some of them still

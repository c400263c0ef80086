"""Compiled kernels, found by their text: equal kernels of any programs are compiled once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tdsl.compiler import pipeline
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_text import canonical
from tdsl.compiler.loops import Workspace
from tdsl.compiler.lower.microkernel import micro_kernel
from tdsl.compiler.target import Target
from tdsl.runtime import jit

LIMIT = 2000  # kernels kept: each has memory maps of its own, and a process may have about 65,000


@dataclass(frozen=True, eq=False, slots=True)
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
        return Compiled(jit.load(pipeline.emit(module, self.target), entry.name, self.target), entry.workspaces)

    def _micro_kernel(self, name: str) -> None:
        if jit.is_registered(name):
            return
        module = pipeline.improve_loops(micro_kernel(name, self.target), self.target)
        loaded = jit.load(pipeline.emit(module, self.target), name, self.target)
        jit.register(name, loaded.address, loaded)
        self.compiled += 1

    def clear(self) -> None:
        self._kernels.clear()

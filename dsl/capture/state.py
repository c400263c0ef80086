"""What a function reaches outside its arguments: the tensors it may read and write, and all that its way may turn on.

`State` walks from the function through closures, the globals that its code names, modules, optimizers, lists, dicts
and plain objects. Each place found is a `Slot`: a container and a key. A capture holds while every slot holds what it
held, except for the tensors' elements and for the numbers that are followed.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from dis import get_instructions
from functools import partial
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType
from tdsl.nn.module import Module
from tdsl.optim.optimizer import Optimizer
from tdsl.random import Generator, default_generator
from tdsl.tensor import Device, Size, Tensor

PLAIN = (bool, int, float, complex, str, bytes, type(None), DType, Device, Size, slice, range, type(...))
MOST = 20_000  # slots; a function that reaches more is not captured
LONGEST = 256  # elements of a list that are watched one by one
_IGNORED = {Optimizer: {"_shared", "_counts", "_before", "_after"}}
_LIBRARIES = ("tdsl", "numpy", "builtins", "torch", "scipy", "collections", "functools")
_ABSENT = object()


class Unwatchable(Exception):
    """Something that a capture cannot keep an eye on; the words say what."""


@dataclass(eq=False, slots=True)
class Slot:
    """A place that holds something: `container[key]`, a closure's cell, or a tensor's gradient.

    The key of a gradient is the number of the argument whose gradient it is, None for other tensors.
    `words` names it for people; `held` is what it holds at the capture's start.
    """

    kind: str  # "item", "cell", "grad", or "fixed": an element of a tuple
    container: Any
    key: Any
    words: str
    held: Any

    def get(self) -> Any:
        if self.kind == "cell":
            try:
                return self.container.cell_contents
            except ValueError:
                return _ABSENT
        if self.kind == "grad":
            return self.container._grad
        try:
            return self.container[self.key]
        except (KeyError, IndexError):
            return _ABSENT

    def set(self, x: Any) -> None:
        if self.kind == "cell":
            self.container.cell_contents = x
        elif self.kind == "grad":
            self.container._grad = x
        else:
            self.container[self.key] = x

    def text(self, container: str, key: str) -> str:
        """The place in generated code, whose names for the container and the key are given."""
        if self.kind == "cell":
            return f"{container}.cell_contents"
        return f"{container}._grad" if self.kind == "grad" else f"{container}[{key}]"

    @property
    def place(self) -> tuple[str, int, Any]:
        """The same for the same place in every walk."""
        if self.kind == "grad" and self.key is not None:
            return self.kind, -1, self.key
        key = self.key if isinstance(self.key, str | int) else id(self.key)
        return self.kind, id(self.container), key


class State:
    """The slots, tensors and sizes of containers that `function` reaches."""

    def __init__(self, function: Any, objects: Iterable[tuple[Any, str]] = ()) -> None:
        self.slots: list[Slot] = []
        self.sizes: list[tuple[Any, int, str]] = []  # a list or dict, its length, words
        self.tensors: dict[int, tuple[Tensor, str]] = {}
        self.arrays: list[tuple[np.ndarray[Any, Any], str]] = []
        self.optimizers: list[Optimizer] = []
        self.generators: list[Generator] = []
        self._seen: dict[int, Any] = {}
        self._work: deque[tuple[Any, str]] = deque([(function, getattr(function, "__name__", "the function"))])
        self._work.extend([(default_generator, "tdsl's generator"), *objects])
        while self._work:
            self._visit(*self._work.popleft())
            if len(self.slots) > MOST:
                raise Unwatchable(f"it reaches more than {MOST} places outside itself")

    def _slot(self, kind: str, container: Any, key: Any, words: str, held: Any) -> None:
        self.slots.append(Slot(kind, container, key, words, held))
        if not isinstance(held, PLAIN):
            self._work.append((held, words))

    def _visit(self, x: Any, words: str) -> None:
        if id(x) in self._seen or isinstance(x, PLAIN):
            return
        self._seen[id(x)] = x
        if isinstance(x, Tensor):
            self._tensor(x, words)
        elif isinstance(x, FunctionType):
            self._function(x, words)
        elif isinstance(x, MethodType):
            self._work.extend([(x.__self__, type(x.__self__).__name__), (x.__func__, words)])
        elif isinstance(x, partial):
            self._work.extend([(x.func, words), (x.args, words), (x.keywords, words)])
        elif isinstance(x, list | tuple):
            self._sequence(x, words)
        elif isinstance(x, dict):
            self._dict(x, words)
        elif isinstance(x, np.ndarray):
            self.arrays.append((x, words))
        elif isinstance(x, type):
            self._class(x, words)
        elif not isinstance(x, ModuleType | BuiltinFunctionType | CodeType):
            self._object(x, words)

    def _tensor(self, x: Tensor, words: str) -> None:
        self.tensors[id(x)] = (x, words)
        self._slot("grad", x, None, f"{words}.grad", x._grad)

    def _function(self, f: FunctionType, words: str) -> None:
        if (f.__module__ or "").split(".")[0] in _LIBRARIES:
            return
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self._cell(cell, name)
        for name in sorted(_globals(f.__code__)):
            if name in f.__globals__:
                self._slot("item", f.__globals__, name, name, f.__globals__[name])
        self._work.extend([(f.__defaults__ or (), words), (f.__kwdefaults__ or {}, words)])
        self._modules(f)

    def _modules(self, f: FunctionType) -> None:
        """What the code names in modules of the user's own."""
        names = _names(f.__code__)
        for name in names:
            module = f.__globals__.get(name)
            if isinstance(module, ModuleType) and not _is_library(module):
                for inner in sorted(names & vars(module).keys()):
                    self._slot("item", vars(module), inner, f"{name}.{inner}", vars(module)[inner])

    def _cell(self, cell: CellType, name: str) -> None:
        try:
            self._slot("cell", cell, None, name, cell.cell_contents)
        except ValueError:
            self._slot("cell", cell, None, name, _ABSENT)

    def _sequence(self, x: Any, words: str) -> None:
        is_list = isinstance(x, list)
        if is_list:
            self.sizes.append((x, len(x), words))
        if len(x) > LONGEST and not any(isinstance(y, Tensor | Module) for y in x):
            if is_list:
                raise Unwatchable(f"it reaches {words}, a list of {len(x)} elements")
            return
        for k, y in enumerate(x):
            if is_list:
                self._slot("item", x, k, f"{words}[{k}]", y)
            elif not isinstance(y, PLAIN):
                self._work.append((y, f"{words}[{k}]"))

    def _dict(self, x: dict[Any, Any], words: str, skip: frozenset[str] | set[str] = frozenset()) -> None:
        if not skip:
            self.sizes.append((x, len(x), words))
        for key, y in list(x.items()):
            if key not in skip:
                told = f"{words}[{key!r}]" if isinstance(key, str | int) else f"{words}[...]"
                self._slot("item", x, key, told, y)

    def _class(self, x: type, words: str) -> None:
        """A class of the user's: its methods may name globals."""
        for base in x.__mro__:
            if base.__module__.split(".")[0] not in _LIBRARIES and base.__module__ not in sys.stdlib_module_names:
                self._work.extend((f, words) for f in vars(base).values() if isinstance(f, FunctionType))

    def _object(self, x: Any, words: str) -> None:
        if isinstance(x, Optimizer):
            self.optimizers.append(x)
        if isinstance(x, Generator):
            self.generators.append(x)
        self._work.append((type(x), words))
        library = type(x).__module__.split(".")[0]
        inside = library != "tdsl" or isinstance(x, Module | Optimizer | Generator) or "schedul" in type(x).__module__
        if library in sys.stdlib_module_names or not inside or not hasattr(x, "__dict__"):
            return
        skip = next((names for kind, names in _IGNORED.items() if isinstance(x, kind)), set())
        for key, y in list(vars(x).items()):
            if key in skip:
                continue
            if isinstance(x, Module) and key in ("_parameters", "_buffers", "_modules"):
                self.sizes.append((y, len(y), words))
                for name, held in y.items():
                    self._slot("item", y, name, f"{words}.{name}", held)
            else:
                self._slot("item", vars(x), key, f"{words}.{key}", y)
        if not skip:
            self.sizes.append((vars(x), len(vars(x)), words))


def _is_library(module: ModuleType) -> bool:
    first = module.__name__.split(".")[0]
    return first in _LIBRARIES or first in sys.stdlib_module_names


def _globals(code: CodeType) -> set[str]:
    """The global names that the code, and the code inside it, reads or writes."""
    found: set[str] = set()
    work = [code]
    while work:
        c = work.pop()
        found.update(i.argval for i in get_instructions(c) if i.opname.endswith(("_GLOBAL", "_NAME")))
        work.extend(k for k in c.co_consts if isinstance(k, CodeType))
    return found


def _names(code: CodeType) -> set[str]:
    """The names that a function's code, and the code of functions inside it, looks up."""
    found: set[str] = set()
    work = [code]
    while work:
        c = work.pop()
        found.update(c.co_names)
        work.extend(k for k in c.co_consts if isinstance(k, CodeType))
    return found

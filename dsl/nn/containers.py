"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Self

from tdsl.compiler.source import IndexError, TypeError, ValueError
from tdsl.nn.module import Module
from tdsl.nn.parameter import Parameter
from tdsl.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]


class _Numbered(Module):
    """Modules under the names 0, 1, 2, ..."""

    def _at(self, k: Any) -> int:
        n = len(self)
        place = int(k.__index__())
        if not -n <= place < n:
            raise IndexError(f"index {place} is out of range")
        return place % n

    def _renumber(self, modules: Iterable[Module | None]) -> None:
        kept = list(modules)
        self._modules.clear()
        for k, module in enumerate(kept):
            self._modules[str(k)] = module

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __setitem__(self, k: Any, module: Module) -> None:
        setattr(self, list(self._modules)[self._at(k)], module)

    def __delitem__(self, k: Any) -> None:
        values = list(self._modules.values())
        if isinstance(k, slice):
            del values[k]
        else:
            del values[self._at(k)]
        self._renumber(values)

    def append(self, module: Module) -> Self:
        """One more at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Any:
        """One more before the one at `index`."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        values = list(self._modules.values())
        if not -len(values) <= index <= len(values):
            raise IndexError(f"Index out of range: {index}")
        values.insert(index, module)
        self._renumber(values)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """More at the end."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"extend should be called with an iterable, but got {type(modules).__name__}")
        for module in modules:
            self.append(module)
        return self

    def pop(self, key: Any = -1) -> Any:
        """The one at that place, taken out."""
        found = list(self._modules.values())[self._at(key)]
        del self[key]
        return found


class Sequential(_Numbered):
    """Each module's output is the next one's input."""

    def __init__(self, *args: Any) -> None:
        super().__init__()
        items = args[0].items() if len(args) == 1 and isinstance(args[0], Mapping) else enumerate(args)
        for name, module in items:
            self.add_module(str(name), module)

    def forward(self, input: Any) -> Any:
        for module in self._modules.values():
            input = module(input)
        return input

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return type(self)(OrderedDict(list(self._modules.items())[k]))
        return list(self._modules.values())[self._at(k)]

    def __delitem__(self, k: Any) -> None:
        names = list(self._modules)
        for name in names[k] if isinstance(k, slice) else [names[self._at(k)]]:
            delattr(self, name)
        if all(name.isdigit() for name in names):
            self._renumber(self._modules.values())

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"add operator supports only objects of Sequential class, but {type(other)} is given.")
        return Sequential(*chain(self, other))

    def __iadd__(self, other: Any) -> Self:
        return self.extend(other)


class ModuleList(_Numbered):
    """A list whose modules are found."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def __getitem__(self, k: Any) -> Any:
        values = list(self._modules.values())
        return type(self)(values[k]) if isinstance(k, slice) else values[self._at(k)]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(chain(self, other))

    def __iadd__(self, other: Iterable[Module]) -> Self:
        return self.extend(other)

    def insert(self, index: int, module: Module) -> None:
        super().insert(index, module)

    def __repr__(self) -> str:
        """Equal neighbours are shown once, with how many there are."""
        texts = [repr(m) for m in self]
        if not texts:
            return "ModuleList()"
        runs: list[list[int]] = []
        for k, text in enumerate(texts):
            if runs and texts[runs[-1][0]] == text:
                runs[-1][1] = k
            else:
                runs.append([k, k])
        lines = []
        for a, b in runs:
            text = texts[a].replace("\n", "\n  ")
            lines.append(f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}")
        return "ModuleList(\n  " + "\n  ".join(lines) + "\n)"


class ModuleDict(Module):
    """A dict whose modules are found."""

    def __init__(self, modules: Any = None) -> None:
        super().__init__()
        self.update(modules or {})

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __contains__(self, key: str) -> bool:
        return key in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Any:
        return self._modules.keys()

    def values(self) -> Any:
        return self._modules.values()

    def items(self) -> Any:
        return self._modules.items()

    def clear(self) -> None:
        self._modules.clear()

    def pop(self, key: str) -> Any:
        return self._modules.pop(key)

    def update(self, modules: Any) -> None:
        """All of a mapping, or of pairs."""
        pairs = modules.items() if isinstance(modules, Mapping | ModuleDict) else modules
        for key, module in pairs:
            self[key] = module


def _as_parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


class ParameterList(Module):
    """A list whose parameters are found."""

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._size = 0
        self.extend(values or ())

    def append(self, value: Any) -> Self:
        setattr(self, str(self._size), _as_parameter(value))
        self._size += 1
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return self._size

    def _at(self, k: Any) -> int:
        if not -self._size <= k < self._size:
            raise IndexError(f"index {k} is out of range")
        return int(k) % self._size

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return ParameterList(getattr(self, str(q)) for q in range(*k.indices(self._size)))
        return getattr(self, str(self._at(k)))

    def __setitem__(self, k: int, value: Any) -> None:
        setattr(self, str(self._at(k)), _as_parameter(value))

    def __iter__(self) -> Iterator[Any]:
        return iter([self[k] for k in range(self._size)])

    def __iadd__(self, values: Iterable[Any]) -> Self:
        return self.extend(values)

    def extra_repr(self) -> str:
        return "\n".join(f"  ({k}): {_described(p)}" for k, p in enumerate(self))


class ParameterDict(Module):
    """A dict whose parameters are found."""

    def __init__(self, parameters: Any = None) -> None:
        super().__init__()
        self._keys: dict[str, None] = {}
        self.update(parameters or {})

    def __getitem__(self, key: str) -> Any:
        return getattr(self, str(key))

    def __setitem__(self, key: str, value: Any) -> None:
        self._keys[str(key)] = None
        setattr(self, str(key), _as_parameter(value))

    def __delitem__(self, key: str) -> None:
        del self._keys[key]
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def keys(self) -> Any:
        return self._keys.keys()

    def values(self) -> list[Any]:
        return [self[k] for k in self._keys]

    def items(self) -> list[tuple[str, Any]]:
        return [(k, self[k]) for k in self._keys]

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default

    def pop(self, key: str) -> Any:
        found = self[key]
        del self[key]
        return found

    def update(self, parameters: Any) -> None:
        """All of a mapping, or of pairs."""
        pairs = parameters.items() if isinstance(parameters, Mapping | ParameterDict) else parameters
        for key, value in pairs:
            self[key] = value

    def extra_repr(self) -> str:
        return "\n".join(f"  ({k}): {_described(p)}" for k, p in self.items())


def _described(p: Any) -> str:
    if not isinstance(p, Tensor):
        return f"Object of type: {type(p).__name__}"
    kind = "Parameter" if isinstance(p, Parameter) else "Tensor"
    size = "x".join(map(str, p.shape))
    return f"{kind} containing: [tdsl.{p.dtype.torch_name} of size {size}]"

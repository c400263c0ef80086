"""Results of several tensors: tuples with names, shown as PyTorch shows its own."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

_MADE: dict[str, Any] = {}


def return_type(name: str, fields: str) -> Any:
    """The class of results of the function `name`, made once.

    >>> return_type("max", "values indices")(1, 2)
    tdsl.return_types.max(
    values=1,
    indices=2)
    """
    found = _MADE.get(name)
    if found is None:
        found = _MADE[name] = _named(name, fields)
    return found


def _named(name: str, fields: str) -> Any:
    base: Any = namedtuple(name, fields)  # type: ignore[misc]

    def show(self: Any) -> str:
        parts = ",\n".join(f"{f}={v!r}" for f, v in zip(self._fields, self, strict=True))
        return f"tdsl.return_types.{name}(\n{parts})"

    return type(name, (base,), {"__slots__": (), "__repr__": show, "__module__": "tdsl.return_types"})


def __getattr__(name: str) -> Any:
    try:
        return _MADE[name]
    except KeyError:
        raise AttributeError(f"module 'tdsl.return_types' has no attribute {name!r}") from None

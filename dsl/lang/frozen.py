"""Lists and dicts of a module that was loaded: read by everyone, changed by no one."""

from __future__ import annotations

from typing import Any, NoReturn

from tdsl.compiler.source import TypeError


def _refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    kind = "list" if isinstance(self, list) else "dict"
    raise TypeError(f"this {kind} belongs to a module and is frozen", code="E0706", hint="change a copy: .copy()")


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    append = extend = insert = pop = remove = sort = reverse = clear = _refuse
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse


class FrozenDict(dict[Any, Any]):
    """A dict that cannot be changed."""

    pop = update = setdefault = clear = popitem = _refuse
    __setitem__ = __delitem__ = __ior__ = _refuse


def freeze(names: dict[str, Any]) -> None:
    """Freeze the lists and dicts that top-level names of a module hold, and those inside them."""
    made: dict[int, Any] = {}
    for name, value in names.items():
        if name[0] != "$" and name != "__builtins__":
            names[name] = _frozen(value, made)


def _frozen(value: Any, made: dict[int, Any]) -> Any:
    if type(value) is tuple:
        items = tuple(_frozen(x, made) for x in value)
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if type(value) not in (list, dict):
        return value
    if id(value) in made:
        return made[id(value)]
    result: Any = FrozenList() if type(value) is list else FrozenDict()
    made[id(value)] = result  # a list may hold itself
    if isinstance(value, list):
        list.extend(result, [_frozen(x, made) for x in value])
    else:
        dict.update(result, {k: _frozen(x, made) for k, x in value.items()})
    return result

"""Nested tuples, lists and dicts: taken apart into leaves and put together again."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

LEAF = "*"
Spec = Any  # LEAF, or (type, keys or None, specs of the children)


def flatten(tree: Any) -> tuple[list[Any], Spec]:
    """The leaves in order, and the structure: equal structures compare equal.

    >>> flatten({"a": 1, "b": (2, 3)})[0]
    [1, 2, 3]
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Spec:
    kind = type(tree)
    if kind in (dict, OrderedDict, defaultdict):
        keys = tuple(tree)
        return kind, keys, tuple(_flatten(tree[k], leaves) for k in keys)
    if kind in (tuple, list) or isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return kind, None, tuple(_flatten(x, leaves) for x in tree)
    leaves.append(tree)
    return LEAF


def unflatten(leaves: Sequence[Any], spec: Spec) -> Any:
    """The structure with these leaves."""
    supply = iter(leaves)
    return _unflatten(supply, spec)


def _unflatten(supply: Any, spec: Spec) -> Any:
    if spec == LEAF:
        return next(supply)
    kind, keys, parts = spec
    children = [_unflatten(supply, part) for part in parts]
    if keys is not None:
        items = zip(keys, children, strict=True)
        return OrderedDict(items) if kind is OrderedDict else dict(items)
    return kind(*children) if hasattr(kind, "_fields") else kind(children)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    leaves, spec = flatten(tree)
    return unflatten([function(x) for x in leaves], spec)


def spread(prefix: Any, spec: Spec) -> list[Any] | None:
    """The leaves of `prefix` repeated for what stands below them in `spec`; None where it does not fit.

    >>> spread((0, None), flatten((1, {"a": 2, "b": 3}))[1])
    [0, None, None]
    """
    if spec == LEAF:
        return None if isinstance(prefix, tuple | list | dict) else [prefix]
    kind, keys, parts = spec
    if prefix is None or isinstance(prefix, int):
        return [prefix] * count(spec)
    if type(prefix) is not kind or (keys is not None and tuple(prefix) != keys) or len(prefix) != len(parts):
        return None
    result: list[Any] = []
    children = prefix.values() if isinstance(prefix, dict) else prefix
    for child, part in zip(children, parts, strict=True):
        found = spread(child, part)
        if found is None:
            return None
        result += found
    return result


def count(spec: Spec) -> int:
    return 1 if spec == LEAF else sum(map(count, spec[2]))

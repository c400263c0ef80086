"""Arguments and results as a flat list of leaves and the structure around them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from tdsl.tensor import Size, Tensor

LEAF = "leaf"
Structure = Any  # LEAF, or (class, keys or length, structures of the elements)


def flatten(x: Any, leaves: list[Any]) -> Structure:
    """Append x's leaves; its structure, which compares equal for equal nesting."""
    kind = type(x)
    if kind is Tensor:
        leaves.append(x)
        return LEAF
    if kind is tuple or kind is list:
        return (kind, len(x), tuple([flatten(y, leaves) for y in x]))
    if kind is dict or kind is OrderedDict:
        return (kind, tuple(x), tuple([flatten(y, leaves) for y in x.values()]))
    if isinstance(x, tuple) and kind is not Size and hasattr(kind, "_fields"):
        return (kind, len(x), tuple([flatten(y, leaves) for y in x]))
    leaves.append(x)
    return LEAF


def build(structure: Structure, leaves: Any) -> Any:
    """The opposite of `flatten`; `leaves` is an iterator."""
    if structure is LEAF or structure == LEAF:
        return next(leaves)
    kind, keys, inner = structure
    elements = [build(s, leaves) for s in inner]
    if kind is tuple or kind is list:
        return kind(elements)
    if isinstance(keys, tuple):
        return kind(zip(keys, elements, strict=True))
    return kind(*elements)

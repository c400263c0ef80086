"""How a write through a view changes what it is a view of: the chain of views that made it, run backwards."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from tdsl.compiler.graph import Value
from tdsl.recording import record

Chain = tuple[tuple[str, dict[str, Any]], ...]


def _undo_slice(base: Value, new: Value, attrs: dict[str, Any]) -> Value:
    return record("slice_update", base, new, **attrs)


def _undo_permute(base: Value, new: Value, attrs: dict[str, Any]) -> Value:
    dims = attrs["dims"]
    return record("permute", new, dims=tuple(dims.index(k) for k in range(len(dims))))


def _undo_reshape(base: Value, new: Value, attrs: dict[str, Any]) -> Value:
    return record("reshape", new, shape=base.shape)


def _viewed(chain: Chain, base: Value) -> Value:
    for op, attrs in chain:
        base = record(op, base, **attrs)
    return base


def unviewed(chain: Chain, base: Value, new: Value) -> Value:
    """The base after the view of it that the chain makes became `new`: the views run backwards."""
    last = max((k for k, (op, _) in enumerate(chain) if op == "bitcast"), default=-1)
    if last >= 0:
        before = _viewed(chain[:last], base)
        bytes_ = unviewed(chain[last + 1 :], _viewed(chain[last : last + 1], before), new)
        return unviewed(chain[:last], base, record("bitcast", bytes_, dtype=before.dtype))
    bases = [base]
    for link in chain[:-1]:
        bases.append(_viewed((link,), bases[-1]))
    if any(_overlaps(op, attrs, b) for (op, attrs), b in zip(chain, bases, strict=False)):
        return _written_at(chain, base, new)
    for (op, attrs), b in zip(reversed(chain), reversed(bases), strict=False):
        new = _UNDO[op](b, new, attrs)
    return new


def _written_at(chain: Chain, base: Value, new: Value) -> Value:
    """Base written at the positions that a chain of views reads, found by viewing positions; where it reads twice
    the last write wins."""
    n, count = prod(base.shape), prod(new.shape)  # type: ignore[arg-type]
    places = _viewed(chain, record("reshape", record("iota", length=n), shape=base.shape))
    flat = [record("reshape", v, shape=(k,)) for v, k in ((base, n), (places, count), (new, count))]
    return record("reshape", record("scatter_put", *flat, dim=0), shape=base.shape)


def _overlaps(op: str, attrs: dict[str, Any], base: Value) -> bool:
    """Whether a view may show an element of its base twice."""
    if op == "expand":
        return attrs["shape"] != base.shape
    if op == "unfold":
        return attrs["step"] < attrs["size"]  # type: ignore[no-any-return]
    if op != "as_strided":
        return False
    reach = 0  # what the dimensions of smaller strides span
    for stride, n in sorted((s, n) for n, s in zip(attrs["shape"], attrs["strides"], strict=True) if n > 1):
        if stride <= reach:
            return True
        reach += (n - 1) * stride
    return False


CUT = ("detach", "bitcast")  # views that no gradient flows through
_UNDO: dict[str, Callable[[Value, Value, dict[str, Any]], Value]] = {
    "slice": _undo_slice,
    "permute": _undo_permute,
    "reshape": _undo_reshape,
    "expand": _undo_reshape,  # one that stretches nothing: see `_overlaps`
    "detach": lambda base, new, attrs: new,
    "unfold": lambda base, new, attrs: _written_at((("unfold", attrs),), base, new),
    "as_strided": lambda base, new, attrs: _written_at((("as_strided", attrs),), base, new),
}

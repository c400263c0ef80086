"""Remove ops that change nothing, and merge views of views. Exact: no rule changes a bit of a result."""

from __future__ import annotations

from tdsl.compiler.dtype import BOOL, FLOAT, DType
from tdsl.compiler.graph import Graph, Value, apply
from tdsl.compiler.passes.rebuild import rebuild


def simplify(graph: Graph) -> Graph:
    """Each node by the first rule that fits, args first."""
    return rebuild(graph, _simplify)


def _simplify(node: Value) -> Value:
    rule = _RULES.get(node.op.name) if node.op is not None else None
    return node if rule is None else rule(node) or node


def _constant(value: Value) -> float | int | bool | None:
    """The number that a value is at every element, if it is one."""
    while value.op is not None and value.op.name in ("expand", "full", "reshape"):
        value = value.args[0]
    if value.op is None or value.op.name != "constant":
        return None
    number: float | int | bool = value.attrs["value"]
    return number


def _same_shape(node: Value, result: Value) -> Value | None:
    return result if result.type is node.type else None


def _mul(node: Value) -> Value | None:
    """x * 1 = x"""
    a, b = node.args
    if _constant(b) == 1 and node.dtype.category != BOOL:
        return _same_shape(node, a)
    if _constant(a) == 1 and node.dtype.category != BOOL:
        return _same_shape(node, b)
    return None


def _div(node: Value) -> Value | None:
    """x / 1 = x"""
    return _same_shape(node, node.args[0]) if _constant(node.args[1]) == 1 else None


def _add(node: Value) -> Value | None:
    """x + 0 = x for ints; for floats -0.0 + 0.0 is 0.0"""
    a, b = node.args
    if node.dtype.category == FLOAT:
        return None
    if _constant(b) == 0:
        return _same_shape(node, a)
    return _same_shape(node, b) if _constant(a) == 0 else None


def _sub(node: Value) -> Value | None:
    """x - 0 = x"""
    zero = _constant(node.args[1])
    return _same_shape(node, node.args[0]) if zero == 0 and str(zero) in ("0", "0.0") else None


def _neg(node: Value) -> Value | None:
    """-(-x) = x"""
    (x,) = node.args
    return x.args[0] if x.op is not None and x.op.name == "neg" else None


def _same(node: Value) -> Value | None:
    return node.args[0]


def _holds(outer: DType, inner: DType) -> bool:
    """Whether every value of `inner` is one of `outer`."""
    if outer is inner:
        return True
    if outer.category == FLOAT:
        if inner.category == FLOAT:
            return inner is outer or inner.bits < outer.bits
        return inner.bits <= {"f64": 53, "f32": 24, "f16": 11, "bf16": 8}[outer.name]
    return inner.category < FLOAT and outer.category != BOOL and outer.bits > inner.bits


def _cast(node: Value) -> Value | None:
    """cast to the own dtype; a cast of a cast that lost nothing"""
    (x,) = node.args
    if x.dtype is node.dtype:
        return x
    if x.op is not None and x.op.name == "cast" and _holds(x.dtype, x.args[0].dtype):
        source = x.args[0]
        return source if source.dtype is node.dtype else apply("cast", source, dtype=node.dtype)
    return None


def _reshape(node: Value) -> Value | None:
    (x,) = node.args
    if x.type is node.type:
        return x
    if x.op is not None and x.op.name == "reshape":
        source = x.args[0]
        if source.type is node.type:
            return source
        made = Value(node.op, (source,), node.signature, node.type, node.span)
        return made
    return None


def _permute(node: Value) -> Value | None:
    (x,) = node.args
    dims: tuple[int, ...] = node.attrs["dims"]
    if dims == tuple(range(len(dims))):
        return x
    if x.op is not None and x.op.name == "permute":
        inner: tuple[int, ...] = x.attrs["dims"]
        return _permute_of(x.args[0], tuple(inner[d] for d in dims))
    return None


def _permute_of(x: Value, dims: tuple[int, ...]) -> Value:
    return x if dims == tuple(range(len(dims))) else apply("permute", x, dims=dims)


def _expand(node: Value) -> Value | None:
    (x,) = node.args
    if x.type is node.type:
        return x
    if x.op is not None and x.op.name in ("expand", "full"):
        return Value(node.op, x.args, node.signature, node.type, node.span)
    return None


def _slice(node: Value) -> Value | None:
    return _same_shape(node, node.args[0]) if node.attrs["start"] == 0 and node.attrs["step"] == 1 else None


def _sum(node: Value) -> Value | None:
    """nothing to sum over"""
    return None if node.attrs["dims"] else _same_shape(node, node.args[0])


def _where(node: Value) -> Value | None:
    condition = _constant(node.args[0])
    if condition is None:
        return None
    return _same_shape(node, node.args[1 if condition else 2])


_RULES = {
    "mul": _mul, "div": _div, "add": _add, "sub": _sub, "neg": _neg, "detach": _same, "copy": _same,
    "cast": _cast,
    "reshape": _reshape, "permute": _permute, "expand": _expand, "full": _expand, "slice": _slice, "sum": _sum,
    "amax": _sum, "amin": _sum, "max": _sum, "min": _sum, "where": _where,
}  # fmt: skip

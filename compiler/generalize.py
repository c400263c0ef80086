"""From programs seen with two sets of sizes to one program whose differing sizes are run-time arguments.

A recorded graph is its structure (ops, attrs, wiring, dtypes, ranks) and its integers: the dimensions and the
size attrs, in a fixed order. Where two recordings of one structure differ in an integer, that integer becomes a
symbol; integers that differ in the same way become the same symbol. Integers of 0 and 1 never do: broadcasting and
emptiness are decided when recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tdsl.compiler.dtype import i64
from tdsl.compiler.graph import Graph, Signature, Size, Sym, Type, Value, input_value, number
from tdsl.compiler.kernel import (
    Binder,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Reduce,
    Scatter,
    SizeOf,
    Statement,
    rewrite,
)
from tdsl.compiler.kernel_text import canonical, intern

Take = Callable[[Size], Size]

# ------------------------------------------------------------------------------- integers of one kernel


def map_sizes(kernel: Kernel, take: Take) -> Kernel:
    """The kernel with `take` applied to each size and i64 constant, in a fixed order."""

    def binder(b: Binder) -> Binder:
        return Binder(b.name, take(b.lo), take(b.hi))

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Const) and e.dtype is i64:
            value = take(int(e.value))
            return SizeOf(value) if isinstance(value, Sym) else Const(value, i64)
        if isinstance(e, SizeOf):
            value = take(e.sym)
            return SizeOf(value) if isinstance(value, Sym) else Const(value, i64)
        if isinstance(e, Reduce):
            return Reduce(e.op, tuple(binder(b) for b in e.binders), e.body, e.dtype, e.guard)
        return None

    def statement(s: Statement) -> Statement:
        binders = tuple(binder(b) for b in s.binders)
        if isinstance(s, Definition):
            return Definition(s.name, binders, rewrite(s.expr, change))
        guard = None if s.guard is None else rewrite(s.guard, change)
        index = tuple(rewrite(x, change) for x in s.index)
        return Scatter(s.target, binders, index, s.op, rewrite(s.expr, change), guard, s.checked)

    params = tuple(Param(p.name, p.dtype, tuple(take(n) for n in p.shape), p.is_number) for p in kernel.params)
    return Kernel(kernel.name, params, tuple(statement(s) for s in kernel.body), kernel.outputs)


_kernels: dict[Kernel, tuple[str, tuple[Size, ...]]] = {}


def _kernel_parts(kernel: Kernel) -> tuple[str, tuple[Size, ...]]:
    """The kernel's structure as text, and its integers."""
    found = _kernels.get(kernel)
    if found is None:
        sizes: list[Size] = []

        def take(n: Size) -> Size:
            sizes.append(n)
            return Sym("n")

        text = canonical(map_sizes(kernel, take))
        found = _kernels[kernel] = (text, tuple(sizes))
    return found


# -------------------------------------------------------------------------------- integers of one graph


def _attr_parts(value: Value, sizes: list[Size]) -> tuple[Any, ...]:
    assert value.op is not None
    structure: list[Any] = []
    for key, attr in value.attrs.items():
        if isinstance(attr, Kernel):
            text, inner = _kernel_parts(attr)
            sizes.extend(inner)
            structure.append((key, text, len(inner)))
        elif key not in value.op.sizes:
            structure.append((key, attr))
        elif isinstance(attr, tuple):
            sizes.extend(attr)
            structure.append((key, len(attr)))
        else:
            sizes.append(attr)
            structure.append((key, None))
    return tuple(structure)


def describe(order: Sequence[Value], outputs: Sequence[int]) -> tuple[tuple[Any, ...], tuple[Size, ...]]:
    """The structure of values given args first, as a key, and their integers."""
    place = {v: k for k, v in enumerate(order)}
    sizes: list[Size] = []
    structure: list[Any] = [tuple(outputs)]
    for value in order:
        sizes.extend(value.shape)
        if value.op is None or value.data is not None:
            structure.append((value.is_number, value.dtype, len(value.shape)))
            continue
        args = tuple(place[a] for a in value.args)
        structure.append((value.op.name, args, value.dtype, len(value.shape), _attr_parts(value, sizes)))
    return tuple(structure), tuple(sizes)


def common_pattern(old: Sequence[Size], new: Sequence[Size]) -> tuple[Size, ...] | None:
    """Symbols where the two differ; None when they differ in a 0, a 1 or a negative number."""
    symbols: dict[tuple[Size, Size], Sym] = {}
    pattern: list[Size] = []
    for a, b in zip(old, new, strict=True):
        if a == b:
            pattern.append(a)
            continue
        if not isinstance(b, int) or b < 2 or isinstance(a, int) and a < 2:
            return None
        pattern.append(symbols.setdefault((a, b), Sym(f"s{len(symbols)}")))
    return tuple(pattern)


def match(pattern: Sequence[Size], sizes: Sequence[Size]) -> dict[Sym, int] | None:
    """What each symbol of the pattern is for these integers; None when they do not fit."""
    values: dict[Sym, int] = {}
    for want, n in zip(pattern, sizes, strict=True):
        if not isinstance(want, Sym):
            if want != n:
                return None
        elif not isinstance(n, int) or n < 2 or values.setdefault(want, n) != n:
            return None
    return values


def build(order: Sequence[Value], outputs: Sequence[int], pattern: Sequence[Size]) -> Graph:
    """The recorded values as a graph of their own, with the integers of `pattern` in place of their own."""
    sizes = iter(pattern)
    made: dict[Value, Value] = {}
    inputs: list[Value] = []
    for value in order:
        shape = tuple(next(sizes) for _ in value.shape)
        if value.op is None or value.data is not None:
            leaf = number(value.data, value.dtype) if value.is_number else input_value(Type(value.dtype, shape))
            leaf.hint = value.hint
            inputs.append(leaf)
            made[value] = leaf
            continue
        attrs = {key: _with_sizes(value, key, attr, sizes) for key, attr in value.attrs.items()}
        args = tuple(made[a] for a in value.args)
        type_ = Type(value.dtype, shape)
        node = Value(value.op, args, Signature(value.op, attrs, tuple(a.type for a in args), type_), type_, value.span)
        node.hint = value.hint
        made[value] = node
    symbols = tuple(dict.fromkeys(n for n in pattern if isinstance(n, Sym)))
    return Graph(inputs, [made[order[k]] for k in outputs], symbols)


def _with_sizes(value: Value, key: str, attr: Any, sizes: Iterator[Size]) -> Any:
    assert value.op is not None
    if isinstance(attr, Kernel):
        return intern(map_sizes(attr, lambda n: next(sizes)))
    if key not in value.op.sizes:
        return attr
    if isinstance(attr, tuple):
        return tuple(next(sizes) for _ in attr)
    return next(sizes)

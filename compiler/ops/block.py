"""Definitions that advance together along an axis: `scan[t]: ...` of index notation.

A block is a kernel whose definitions all have the axis first; its last params, one for each definition, stand for
the definitions' own results, read at earlier steps (later ones where the block runs backwards) or, of a definition
before, at the same step. It runs as one scatter in order: a row a step, in which the definitions lie side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import prod
from typing import Any

from tdsl.compiler.affine import simplify
from tdsl.compiler.graph import DERIVED, Attrs, Op, Shape, Type, define
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Const,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Reduce,
    Scatter,
    Statement,
    call,
    index_const,
    rewrite,
    walk,
)
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.kernel_tidy import inside
from tdsl.compiler.source import InternalError

STEP, ROW = "s0", "q0"  # the axes of a packed block: the step, and the place in its row


def steps(block: Kernel) -> list[Definition]:
    """The definitions that are results, in order."""
    return [block.definition(name) for name in block.outputs]


def shape_of(d: Definition) -> tuple[int, ...]:
    """The sizes of a definition, which are known when it is recorded."""
    if not all(isinstance(n, int) for n in d.shape):
        raise InternalError("a block is made with sizes that are known")
    return tuple(n for n in d.shape if isinstance(n, int))


def own_params(block: Kernel) -> tuple[Param, ...]:
    """The params that stand for the block's own results."""
    return block.params[len(block.params) - len(block.outputs) :]


def offsets(block: Kernel) -> list[int]:
    """Where each definition starts in a row; the row's length comes last."""
    return [0, *accumulate(prod(shape_of(d)[1:]) for d in steps(block))]


def result_shape(block: Kernel) -> Shape:
    """The shape of the definition, or of the rows where there are several."""
    found = steps(block)
    return found[0].shape if len(found) == 1 else (found[0].shape[0], offsets(block)[-1])


# ----------------------------------------------------------------------------------------- as one scatter


def packed(block: Kernel, reverse: bool) -> Kernel:
    """The kernel that runs a block.

    >>> from tdsl.compiler.kernel_parse import parse
    >>> from tdsl.compiler.kernel_text import show
    >>> body = parse("kernel k(a0: f32[4], a1: f32[4]) -> (d0):\\n  d0[t] := a0[t] + a1[t - 1 else 0.0]\\n")
    >>> print(show(packed(body, False)), end="")
    kernel scan(a0: f32[4]) -> (y):
      y[i in 0:4] := 0.0
      scatter[s0]: y[s0] = a0[s0] + y[s0 - 1 else 0.0] unchecked
    """
    return _Packing(block, reverse).kernel()


class _Packing:
    def __init__(self, block: Kernel, reverse: bool) -> None:
        self.block, self.reverse = block, reverse
        self.steps, self.offsets = steps(block), offsets(block)
        self.place = {p.name: k for k, p in enumerate(own_params(block))}
        self.names = iter(f"r{k}" for k in range(1 << 30))

    def kernel(self) -> Kernel:
        block = self.block
        shape = result_shape(block)
        names = [f"i{k}" if k else "i" for k in range(len(shape))]
        binders = tuple(Binder(a, 0, n) for a, n in zip(names, shape, strict=True))
        dtype = self.steps[0].dtype
        start = Definition("y", binders, Const({"b": False, "f": 0.0}.get(dtype.numpy.kind, 0), dtype))
        locals_ = [s for s in block.body if isinstance(s, Definition) and s.name not in block.outputs]
        own = len(block.params) - len(block.outputs)
        body: tuple[Statement, ...] = (start, *locals_, self.single() if len(self.steps) == 1 else self.rows())
        return intern(Kernel("scan", block.params[:own], body, ("y",)))

    def step(self) -> Expr:
        """The value of the axis at the step."""
        if not self.reverse:
            return Axis(STEP)
        return call("sub", index_const(shape_of(self.steps[0])[0] - 1), Axis(STEP))

    def single(self) -> Scatter:
        (d,) = self.steps
        inner = d.binders[1:]
        names = {b.name: f"{ROW}{k}" for k, b in enumerate(inner)}
        at: dict[str, Expr] = {d.binders[0].name: self.step(), **{a: Axis(n) for a, n in names.items()}}
        binders = (Binder(STEP, 0, d.binders[0].hi), *(Binder(names[b.name], b.lo, b.hi) for b in inner))
        index = tuple(at[b.name] for b in d.binders)
        return Scatter("y", binders, index, "=", self.moved(self.own(d), at), None, False)

    def rows(self) -> Scatter:
        chain: Expr | None = None
        for k in reversed(range(len(self.steps))):
            d = self.steps[k]
            value = self.moved(self.own(d), {d.binders[0].name: self.step(), **self.coordinates(k)})
            test = call("lt", Axis(ROW), index_const(self.offsets[k + 1]))
            chain = value if chain is None else call("where", test, value, chain)
        assert chain is not None
        binders = (Binder(STEP, 0, self.steps[0].binders[0].hi), Binder(ROW, 0, self.offsets[-1]))
        return Scatter("y", binders, (self.step(), Axis(ROW)), "=", chain, None, False)

    def coordinates(self, k: int) -> dict[str, Expr]:
        """The inner axes of a definition, from the place in the row."""
        d, start = self.steps[k], self.offsets[k]
        flat: Expr = call("sub", Axis(ROW), index_const(start)) if start else Axis(ROW)
        sizes = shape_of(d)[1:]
        found: dict[str, Expr] = {}
        for position, b in enumerate(d.binders[1:]):
            stride = prod(sizes[position + 1 :])
            e = call("floordiv", flat, index_const(stride)) if stride > 1 else flat
            found[b.name] = call("mod", e, index_const(sizes[position])) if position else e
        return found

    def moved(self, e: Expr, at: Mapping[str, Expr]) -> Expr:
        """The expression with axes replaced, and with names of its own for those that it binds."""
        return replaced(e, self.names, at)

    def own(self, d: Definition) -> Expr:
        """The definition's expression, reading the block's results where they lie."""
        ranges = {b.name: (b.lo, b.hi) for b in d.binders}
        ranges |= {b.name: (b.lo, b.hi) for e in walk(d.expr) if isinstance(e, Reduce) for b in e.binders}

        def change(e: Expr) -> Expr | None:
            if not isinstance(e, Read) or e.tensor not in self.place:
                return None
            if len(self.steps) == 1:
                return Read("y", e.index, e.dtype, e.fill, e.checked)
            k = self.place[e.tensor]
            sizes = shape_of(self.steps[k])
            flat: Expr = index_const(self.offsets[k])
            for position, ix in enumerate(e.index[1:]):
                flat = call("add", flat, call("mul", ix, index_const(prod(sizes[position + 2 :]))))
            flat = simplify(flat, ranges)
            found: Expr = Read("y", (e.index[0], flat), e.dtype, e.fill, e.checked)
            test = inside(e.index[1:], sizes[1:], ranges)
            if test is None or not (e.checked or e.fill is not None):
                return found
            outside = Read("y", (index_const(-1), flat), e.dtype, None, True)  # reported
            return call("where", test, found, outside if e.fill is None else e.fill)

        return rewrite(d.expr, change)


def replaced(e: Expr, names: Iterator[str], at: Mapping[str, Expr]) -> Expr:
    """The expression with axes replaced, and new names for those bound in it."""
    bound = {b.name: next(names) for x in walk(e) if isinstance(x, Reduce) for b in x.binders}

    def change(x: Expr) -> Expr | None:
        if isinstance(x, Axis):
            return Axis(bound[x.name]) if x.name in bound else at.get(x.name)
        if isinstance(x, Reduce):
            binders = tuple(Binder(bound[b.name], b.lo, b.hi) for b in x.binders)
            return Reduce(x.op, binders, x.body, x.dtype, x.guard)
        return None

    return rewrite(e, change)


# ----------------------------------------------------------------------------------------------- recorded


def scan(b: Any, block: Kernel, reverse: bool, args: Sequence[Any]) -> Any:
    """Record a block over its args: all its params but its own results."""
    return b("scan", *args, kernel=packed(block, reverse), block=intern(block), reverse=reverse)


def _infer(types: tuple[Type, ...], attrs: Attrs) -> Type:
    kernel: Kernel = attrs["kernel"]
    for param, t in zip(kernel.params, types, strict=True):
        if param.dtype is not t.dtype or param.shape != t.shape:
            raise InternalError(f"scan: {param} is given {t}")
    output = kernel.definition("y")
    return Type(output.dtype, output.shape)


define(
    Op(
        "scan", "A block of definitions that advance together along an axis; results lie side by side in a row a step.",
        _infer, DERIVED, lambda types, result, attrs: attrs["kernel"],
    )
)  # fmt: skip

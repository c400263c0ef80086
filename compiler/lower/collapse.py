"""Fewer, longer axes: axes of one element go, and axes that everything walks together become one.

Memory is flat, so a tensor f32[32,8,4] read as x[n, i, j] only is as well f32[1024] read as x[n]. Loops get longer,
vectors fuller, and reductions of several axes become reductions of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tdsl.compiler.graph import Size
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
    index_const,
    rewrite,
    roots,
    walk,
)
from tdsl.compiler.lower.sizes import product

Apart = Callable[[str, str], bool]


def collapse(kernel: Kernel, apart: Apart = lambda a, b: False) -> Kernel:
    """The kernel with as few axes as there can be; the tensors' elements lie where they lay.

    apart(a, b): these neighbours stay two axes.

    >>> from tdsl.compiler.kernel_parse import parse
    >>> k = collapse(parse("kernel k(x: f32[4,1,8]) -> (y):\\n  y[i, j, q] := x[i, j, q]"))
    >>> k.params[0].shape, len(k.definition("y").binders)
    ((32,), 1)
    """
    kernel = _squeeze(kernel)
    while (merge := _find(kernel, apart)) is not None:
        kernel = _merged(kernel, merge)
    return kernel


# --------------------------------------------------------------------------------- axes of one element


def _squeeze(kernel: Kernel) -> Kernel:
    """Axes of one element are 0, and dimensions of size 1 that are read nowhere else go."""
    if any(isinstance(s, Scatter) for s in kernel.body):
        return kernel
    kernel = Kernel(kernel.name, kernel.params, tuple(_without_units(s) for s in kernel.body), kernel.outputs)
    keep: dict[str, list[bool]] = {p.name: [n != 1 for n in p.shape] for p in kernel.params}
    keep |= {s.name: [not _unit(b) for b in s.binders] for s in kernel.body if isinstance(s, Definition)}
    for s in kernel.body:
        for e in (e for root in roots(s) for e in walk(root)):
            if isinstance(e, Read):
                known = [isinstance(ix, Const) and ix.value == 0 for ix in e.index]
                tested = e.fill is not None or e.checked
                keep[e.tensor] = [k or tested and not z for k, z in zip(keep[e.tensor], known, strict=True)]

    def change(e: Expr) -> Expr | None:
        if not isinstance(e, Read) or all(keep[e.tensor]):
            return None
        index = tuple(ix for ix, k in zip(e.index, keep[e.tensor], strict=True) if k)
        return Read(e.tensor, index, e.dtype, e.fill, e.checked)

    params = tuple(
        Param(p.name, p.dtype, tuple(n for n, k in zip(p.shape, keep[p.name], strict=True) if k), p.is_number)
        for p in kernel.params
    )
    body: list[Statement] = []
    for s in kernel.body:
        assert isinstance(s, Definition)
        binders = tuple(b for b, k in zip(s.binders, keep[s.name], strict=True) if k)
        body.append(Definition(s.name, binders, rewrite(s.expr, change)))
    return Kernel(kernel.name, params, tuple(body), kernel.outputs)


def _unit(b: Binder) -> bool:
    return b.lo == 0 and b.hi == 1


def _without_units(s: Statement) -> Statement:
    """The definition with every axis of one element replaced by 0 where it is used."""
    assert isinstance(s, Definition)
    zeros = {b.name for b in s.binders if _unit(b)}

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Axis) and e.name in zeros:
            return index_const(0)
        if isinstance(e, Reduce) and len(e.binders) > 1:
            units = {b.name for b in e.binders if _unit(b)}
            rest = tuple(b for b in e.binders if b.name not in units) or e.binders[-1:]
            units -= {b.name for b in rest}
            if units:

                def zero(x: Expr) -> Expr | None:
                    return index_const(0) if isinstance(x, Axis) and x.name in units else None

                guard = None if e.guard is None else rewrite(e.guard, zero)
                return Reduce(e.op, rest, rewrite(e.body, zero), e.dtype, guard)
        return None

    return Definition(s.name, s.binders, rewrite(s.expr, change))


# ------------------------------------------------------------------------------------- merging two axes


@dataclass(frozen=True, slots=True)
class _Merge:
    """Axes (statement, first) absorb the second; dimensions d of tensors absorb the next."""

    axes: dict[tuple[int, str], str] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)


def _find(kernel: Kernel, apart: Apart) -> _Merge | None:
    facts = _Facts(kernel, apart)
    for (s, _), (a, b) in facts.neighbours.items():
        merge = _Merge()
        if facts.closed(s, a, b, merge):
            return merge
    return None


class _Facts:
    """Where every axis stands: beside which, and in which subscripts."""

    def __init__(self, kernel: Kernel, apart: Apart) -> None:
        self.kernel, self.apart = kernel, apart
        self.params = {p.name: p.shape for p in kernel.params}
        self.defined = {s.name: k for k, s in enumerate(kernel.body) if isinstance(s, Definition)}
        self.neighbours: dict[tuple[int, str], tuple[Binder, Binder]] = {}
        self.uses: dict[tuple[int, str], int] = {}
        self.reads: dict[str, list[tuple[int, Read]]] = {}
        self.reads_of: list[list[Read]] = []
        for k, s in enumerate(kernel.body):
            self._beside(k, s.binders)
            found = [e for root in roots(s) for e in walk(root)]
            here = [e for e in found if isinstance(e, Read)]
            if isinstance(s, Scatter):
                here.append(Read(s.target, s.index, s.expr.dtype, checked=s.checked))
            self.reads_of.append(here)
            for e in found:
                if isinstance(e, Axis):
                    self.uses[k, e.name] = self.uses.get((k, e.name), 0) + 1
                elif isinstance(e, Reduce):
                    self._beside(k, e.binders)
            for e in here:
                self.reads.setdefault(e.tensor, []).append((k, e))

    def _beside(self, statement: int, binders: tuple[Binder, ...]) -> None:
        for a, b in zip(binders, binders[1:], strict=False):
            if a.lo == 0 and b.lo == 0 and not self.apart(a.name, b.name):
                self.neighbours[statement, a.name] = (a, b)

    def closed(self, statement: int, a: Binder, b: Binder, merge: _Merge) -> bool:
        """Whether these two axes can be merged; `merge` gets all that must be merged with them."""
        axes: list[tuple[int, Binder, Binder]] = [(statement, a, b)]
        while axes:
            s, a, b = axes.pop()
            if merge.axes.get((s, a.name)) == b.name:
                continue
            if {a.name, b.name} & {n for (k, first), second in merge.axes.items() if k == s for n in (first, second)}:
                return False
            merge.axes[s, a.name] = b.name
            tensors = self._walked(s, a, b)
            if tensors is None:
                return False
            for tensor, d in tensors.items():
                more = self._dimension(tensor, d, merge)
                if more is None:
                    return False
                axes += more
        return True

    def _walked(self, s: int, a: Binder, b: Binder) -> dict[str, int] | None:
        """The dimensions that the axes walk together; None where one of them stands elsewhere."""
        found: dict[str, int] = {}
        together = 0
        for e in self.reads_of[s]:
            d = _pair(e, a.name, b.name)
            if d is not None:
                if found.setdefault(e.tensor, d) != d:
                    return None
                together += 1
        if together != self.uses.get((s, a.name), 0) or together != self.uses.get((s, b.name), 0):
            return None
        statement = self.kernel.body[s]
        if isinstance(statement, Definition):
            names = [x.name for x in statement.binders]
            if a.name in names and found.setdefault(statement.name, names.index(a.name)) != names.index(a.name):
                return None
        return found

    def _dimension(self, tensor: str, d: int, merge: _Merge) -> list[tuple[int, Binder, Binder]] | None:
        """The axes that must be merged when dimensions d and d + 1 of a tensor are; None where they cannot be."""
        if tensor in merge.dims:
            return [] if merge.dims[tensor] == d else None
        merge.dims[tensor] = d
        shape = self._shape(tensor)
        found: list[tuple[int, Binder, Binder]] = []
        for s, e in self.reads.get(tensor, ()):
            first, second = e.index[d], e.index[d + 1]
            if not isinstance(first, Axis) or not isinstance(second, Axis):
                return None
            a, b = self.neighbours.get((s, first.name), (None, None))
            if a is None or b is None or b.name != second.name or b.hi != shape[d + 1]:
                return None
            if (e.fill is not None or e.checked) and a.hi != shape[d]:
                return None
            found.append((s, a, b))
        if tensor in self.defined:
            binders = self.kernel.body[self.defined[tensor]].binders
            found.append((self.defined[tensor], binders[d], binders[d + 1]))
        return found

    def _shape(self, tensor: str) -> tuple[Size, ...]:
        if tensor in self.params:
            return self.params[tensor]
        return tuple(b.hi for b in self.kernel.body[self.defined[tensor]].binders)


def _pair(e: Read, a: str, b: str) -> int | None:
    for d in range(len(e.index) - 1):
        first, second = e.index[d], e.index[d + 1]
        if isinstance(first, Axis) and isinstance(second, Axis) and (first.name, second.name) == (a, b):
            return d
    return None


def _merged(kernel: Kernel, merge: _Merge) -> Kernel:
    params = []
    for p in kernel.params:
        d = merge.dims.get(p.name)
        if d is not None:
            shape = (*p.shape[:d], product(p.shape[d], p.shape[d + 1]), *p.shape[d + 2 :])
            p = Param(p.name, p.dtype, shape, p.is_number)
        params.append(p)
    body = tuple(_statement(s, {a: b for (k, a), b in merge.axes.items() if k == n}, merge.dims)
                 for n, s in enumerate(kernel.body))  # fmt: skip
    return Kernel(kernel.name, tuple(params), body, kernel.outputs)


def _statement(s: Statement, axes: Mapping[str, str], dims: Mapping[str, int]) -> Statement:
    gone = set(axes.values())

    def joined(binders: tuple[Binder, ...]) -> tuple[Binder, ...]:
        sizes = {b.name: b.hi for b in binders}
        return tuple(
            Binder(b.name, 0, product(b.hi, sizes[axes[b.name]])) if b.name in axes else b
            for b in binders
            if b.name not in gone
        )

    def without(tensor: str, index: tuple[Expr, ...]) -> tuple[Expr, ...]:
        d = dims.get(tensor)
        return index if d is None else (*index[: d + 1], *index[d + 2 :])

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Read) and e.tensor in dims:
            return Read(e.tensor, without(e.tensor, e.index), e.dtype, e.fill, e.checked)
        if isinstance(e, Reduce) and any(b.name in axes for b in e.binders):
            return Reduce(e.op, joined(e.binders), e.body, e.dtype, e.guard)
        return None

    if isinstance(s, Definition):
        return Definition(s.name, joined(s.binders), rewrite(s.expr, change))
    index = without(s.target, tuple(rewrite(ix, change) for ix in s.index))
    guard = None if s.guard is None else rewrite(s.guard, change)
    return Scatter(s.target, joined(s.binders), index, s.op, rewrite(s.expr, change), guard, s.checked)

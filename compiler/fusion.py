"""What each node computes, as one index-notation body, and which nodes are stored.

A node that is not stored is written into its readers: a producer's expression takes the place of a read of it.
The decisions are in `Fusion._stored`, one rule a line; the cost of a body is the number of scalar ops in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from math import prod

from tdsl.compiler.affine import simplify
from tdsl.compiler.dtype import bool_
from tdsl.compiler.graph import Graph, Shape, Size, Sym, Value
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
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
    of_size,
    rewrite,
    roots,
    walk,
)
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.source import InternalError

MAX_BODY = 256  # scalar ops in one kernel: the back end is super-linear beyond
MAX_READS = 24  # tensors read by one kernel
CHEAP_OPS = 6  # a body of so few light ops is computed again rather than stored
HEAVY = frozenset(
    "exp expm1 log log1p sqrt rsqrt sin cos tan tanh sigmoid erf pow atan2 philox div floordiv mod fmod".split()
) | frozenset(SPECIAL)


@dataclass(frozen=True, slots=True)
class Body:
    """What a node computes. `binders` are named i0, i1, ...; reads name other values or the node's own locals.

    `rest` are further statements of a node that is not one definition (a scatter, a kernel with locals).
    """

    binders: tuple[Binder, ...]
    expr: Expr
    rest: tuple[Statement, ...] = ()
    own: frozenset[int] = frozenset()  # numbers of the nodes written into this body, itself included
    ops: int = 0
    reads: frozenset[str] = frozenset()
    heavy: bool = False
    reduces: bool = False
    checked: bool = False


class Fusion:
    """Bodies of all nodes of a graph, and the set of stored ones."""

    def __init__(self, graph: Graph, hints: Mapping[Sym, int]) -> None:
        self.graph, self.hints = graph, hints
        self.nodes = graph.nodes()
        self.outputs = set(graph.outputs)
        self.name = {v: f"v{i}" for i, v in enumerate([*graph.inputs, *self.nodes])}
        self.value = {name: v for v, name in self.name.items()}
        self.number = {v: i for i, v in enumerate(self.nodes)}
        self.stored: set[Value] = set(graph.inputs)
        self.body: dict[Value, Body] = {}
        self.locals: set[Value] = set()  # not stored, and read more than once: named in the kernels that read it
        self._fresh = count()
        self._kernel = {v: _kernel_of(v) for v in self.nodes if v.op is not None and v.op.library is None}
        self._readers = self._count_readers()
        self._claimed: dict[Value, Value] = {}
        for node in self.nodes:
            self._visit(node)

    # ------------------------------------------------------------------------------------ who reads whom

    def _count_readers(self) -> dict[Value, list[Value]]:
        """The nodes that read a value, views looked through, once for each read."""
        readers: dict[Value, list[Value]] = {v: [] for v in [*self.graph.inputs, *self.nodes]}
        for node in reversed(self.nodes):
            through = _is_view(node) and node not in self.outputs
            for arg in node.args:
                readers[arg].extend(readers[node] if through else [node] * self._reads_of(node, arg))
        return readers

    def _reads_of(self, node: Value, arg: Value) -> int:
        """How many reads of `arg` the node's kernel makes for one of its arguments that is `arg`."""
        kernel = self._kernel.get(node)
        if kernel is None:
            return 1
        name = kernel.params[node.args.index(arg)].name
        reads = sum(
            1 for s in kernel.body for r in roots(s) for e in walk(r) if isinstance(e, Read) and e.tensor == name
        )
        return max(1, reads)

    def size(self, shape: Shape) -> int:
        return prod(self.extent(n) for n in shape)

    def extent(self, n: Size) -> int:
        return self.hints[n] if isinstance(n, Sym) else n

    def points(self, node: Value) -> int:
        """How often the innermost expression of the node's kernel is evaluated."""
        kernel = self._kernel.get(node)
        if kernel is None:
            return self.size(node.shape)
        inner = 1
        for e in (e for s in kernel.body for r in roots(s) for e in walk(r)):
            if isinstance(e, Reduce):
                inner = max(inner, prod(max(1, self.extent(b.hi) - self.extent(b.lo)) for b in e.binders))
        return self.size(node.shape) * inner

    # ------------------------------------------------------------------------------------------ decisions

    def _visit(self, node: Value) -> None:
        if node not in self._kernel:
            self.stored.update((node, *node.args))
            self._store_args(node)
            return
        self.body[node] = self._fused(node)
        if self._stored(node):
            self.stored.add(node)
        elif len(self._readers[node]) > 1 and self.body[node].ops > 1:
            self.locals.add(node)

    def _store_args(self, node: Value) -> None:
        for arg in node.args:
            if arg in self._kernel and arg not in self.body:
                raise InternalError(f"{arg!r} has no body")

    def _stored(self, node: Value) -> bool:
        body, readers = self.body[node], self._readers[node]
        kinds = set(readers)
        if node in self.outputs or body.rest or body.checked:
            return True
        if any(r not in self._kernel or len(self._kernel[r].body) > 1 for r in kinds):
            return True  # library calls and scatters read what is stored
        if _is_view(node) and not body.reduces:
            return False  # another arrangement of what is stored costs nothing
        if not body.reads:
            return False  # made of indices and constants
        if body.ops > MAX_BODY or len(body.reads) > MAX_READS:
            return True
        if body.reduces:
            return not self._epilogue_fits(node)
        if any(self._contracts(r) or self._pads(r) for r in kinds):
            return True  # read again and again
        if not self._cheap(body) and (len(kinds) > 1 or any(self.points(r) > self.size(node.shape) for r in kinds)):
            return True
        return sum(self.points(r) for r in kinds) > 4 * max(1, self.size(node.shape)) + 64

    def _cheap(self, body: Body) -> bool:
        return not body.heavy and body.ops <= CHEAP_OPS and len(body.reads) <= 3

    def _epilogue_fits(self, node: Value) -> bool:
        """A reduction goes into its reader when that is its only one, elementwise, over the same points."""
        readers = self._readers[node]
        if len(readers) != 1:
            return False
        reader = readers[0]
        if any(isinstance(e, Reduce) for e in _exprs(self._kernel[reader])):
            return False
        if self._claimed.setdefault(reader, node) is not node and not self._same_claim(reader, node):
            return False
        return self.size(reader.shape) == self.size(node.shape) and not self._pads(reader)

    def _same_claim(self, reader: Value, node: Value) -> bool:
        """A view of the reduction that claimed the reader is the same reduction."""
        claimed = self._claimed[reader]
        while _is_view(node) and node.args:
            node = node.args[0]
            if node is claimed:
                return True
        return False

    def _contracts(self, node: Value) -> bool:
        """The node's kernel is a sum of products: its operands are read once for each tile."""
        return any(
            isinstance(e, Reduce) and e.op == "sum" and isinstance(e.body, Call) and e.body.fn == "mul"
            for e in _exprs(self._kernel[node])
        )

    def _pads(self, node: Value) -> bool:
        return any(isinstance(e, Read) and e.fill is not None for e in _exprs(self._kernel[node]))

    # --------------------------------------------------------------------------------------------- bodies

    def _fused(self, node: Value) -> Body:
        """The node's kernel with each read of an argument that is not stored replaced by what it computes."""
        kernel = self._kernel[node]
        names = {p.name: arg for p, arg in zip(kernel.params, node.args, strict=True)}
        output = kernel.outputs[0]
        renamed = {s.name: f"{self.name[node]}.{s.name}" for s in kernel.body if isinstance(s, Definition)}
        renamed[output] = self.name[node]
        *rest, main = (self._renamed(s, names, renamed, s is kernel.body[-1]) for s in kernel.body)
        if isinstance(main, Scatter):
            first = rest[0]
            assert isinstance(first, Definition)
            return self._describe(node, Body(first.binders, first.expr, (*rest[1:], main)))
        return self._describe(node, Body(main.binders, main.expr, tuple(rest)))

    def _renamed(
        self, statement: Statement, names: Mapping[str, Value], renamed: Mapping[str, str], main: bool
    ) -> Statement:
        axes = {b.name: f"i{k}" for k, b in enumerate(statement.binders)}
        axes |= {
            b.name: f"r{next(self._fresh)}"
            for r in roots(statement)
            for e in walk(r)
            if isinstance(e, Reduce)
            for b in e.binders
        }
        binders = tuple(Binder(axes[b.name], b.lo, b.hi) for b in statement.binders)
        ranges = {b.name: (b.lo, b.hi) for b in binders}

        def change(e: Expr) -> Expr | None:
            if isinstance(e, Axis):
                return Axis(axes[e.name])
            if isinstance(e, Reduce):
                inner = tuple(Binder(axes[b.name], b.lo, b.hi) for b in e.binders)
                return Reduce(e.op, inner, e.body, e.dtype, e.guard)
            if isinstance(e, Read):
                if e.tensor in renamed:
                    return Read(renamed[e.tensor], e.index, e.dtype, e.fill, e.checked)
                return self._read(names[e.tensor], e, ranges)
            return None

        for r in roots(statement):
            for e in walk(r):
                if isinstance(e, Reduce):
                    ranges |= {axes[b.name]: (b.lo, b.hi) for b in e.binders}
        expr = rewrite(statement.expr, change)
        if isinstance(statement, Definition):
            return Definition(renamed[statement.name], binders, expr)
        guard = None if statement.guard is None else rewrite(statement.guard, change)
        index = tuple(rewrite(x, change) for x in statement.index)
        return Scatter(renamed[statement.target], binders, index, statement.op, expr, guard, statement.checked)

    def _read(self, arg: Value, read: Read, ranges: Mapping[str, tuple[Size, Size]]) -> Expr:
        plain = Read(self.name[arg], read.index, read.dtype, read.fill, read.checked)
        if arg in self.stored or arg in self.locals and read.fill is None:
            return plain
        body = self.body[arg]
        if read.checked or read.fill is not None:
            moved = _moved_read(body, read, self.value)
            if moved is not None:
                return moved
            if read.checked:
                self._store(arg)
                return plain
        inlined = self._inline(body, read.index, ranges)
        if read.fill is None:
            return inlined
        return call("where", _inside(read.index, body.binders, ranges), inlined, read.fill)

    def _store(self, arg: Value) -> None:
        """Store what was to be written into its readers: a checked read wants the tensor the user named."""
        self.stored.add(arg)
        self.locals.discard(arg)

    def _inline(self, body: Body, index: tuple[Expr, ...], ranges: Mapping[str, tuple[Size, Size]]) -> Expr:
        if all(isinstance(e, Axis) and e.name == b.name for e, b in zip(index, body.binders, strict=True)):
            return body.expr
        at = {b.name: e for b, e in zip(body.binders, index, strict=True)}
        fresh: dict[str, str] = {}
        inner = dict(ranges)
        if body.reduces:
            for e in walk(body.expr):
                if isinstance(e, Reduce):
                    for b in e.binders:
                        fresh[b.name] = f"r{next(self._fresh)}"
                        inner[fresh[b.name]] = (b.lo, b.hi)

        def change(e: Expr) -> Expr | None:
            if isinstance(e, Axis):
                return at[e.name] if e.name in at else Axis(fresh[e.name]) if e.name in fresh else None
            if isinstance(e, Reduce) and fresh:
                return Reduce(
                    e.op, tuple(Binder(fresh[b.name], b.lo, b.hi) for b in e.binders), e.body, e.dtype, e.guard
                )
            if isinstance(e, Read):
                places = tuple(simplify(x, inner) for x in e.index)
                return Read(e.tensor, places, e.dtype, e.fill, e.checked)
            return None

        return rewrite(body.expr, change)

    def _describe(self, node: Value, body: Body) -> Body:
        own, heavy, reduces, checked = {self.number[node]}, False, False, False
        reads: set[str] = set()
        ops = 0
        statements: list[Expr] = [body.expr, *(r for s in body.rest for r in roots(s))]
        for e in (e for r in statements for e in walk(r)):
            if isinstance(e, Call):
                ops += 1
                heavy |= e.fn in HEAVY and e.dtype.is_float
                checked |= e.fn in ("floordiv", "mod", "fmod") and not e.dtype.is_float and e.args[0].dtype.bits > 0
            elif isinstance(e, Read):
                checked |= e.checked
                value = self.value.get(e.tensor)
                if value is not None and value in self.locals:
                    inner = self.body[value]
                    own |= inner.own
                    reads |= inner.reads
                    heavy |= inner.heavy
                    ops += inner.ops
                else:
                    reads.add(e.tensor)
            elif isinstance(e, Reduce):
                reduces = True
        checked = checked and not _index_only(node, body)
        return Body(body.binders, body.expr, body.rest, frozenset(own), ops, frozenset(reads), heavy, reduces, checked)


def _index_only(node: Value, body: Body) -> bool:
    """Integer division occurs in subscripts only, by constants: it cannot fail."""
    for e in walk(body.expr):
        if isinstance(e, Read) and e.checked:
            return False
        if isinstance(e, Call) and e.fn in ("floordiv", "mod", "fmod") and not e.dtype.is_float:
            divisor = e.args[1]
            if not (isinstance(divisor, Const) and divisor.value > 0) and not _is_size(divisor):
                return False
    return not body.rest


def _is_size(e: Expr) -> bool:
    return all(not isinstance(x, Read | Axis) for x in walk(e))


def _exprs(kernel: Kernel) -> list[Expr]:
    return [e for s in kernel.body for r in roots(s) for e in walk(r)]


def _is_view(node: Value) -> bool:
    return node.op is not None and node.op.view


def _kernel_of(node: Value) -> Kernel:
    op = node.op
    if op is None or op.kernel is None:
        raise InternalError(f"{node!r} has no kernel")
    kernel = op.kernel(tuple(a.type for a in node.args), node.type, node.attrs)
    assert isinstance(kernel, Kernel)
    return kernel


def _inside(index: tuple[Expr, ...], binders: tuple[Binder, ...], ranges: Mapping[str, tuple[Size, Size]]) -> Expr:
    """The condition that every index is in its range; axes that never leave it are not asked."""
    tests: list[Expr] = []
    for e, b in zip(index, binders, strict=True):
        if isinstance(e, Const) and e.value == 0:
            continue
        if isinstance(e, Axis) and ranges.get(e.name) == (0, b.hi):
            continue
        if isinstance(e, Axis) and ranges.get(e.name, (None, None))[0] == 0:
            tests.append(call("lt", e, of_size(b.hi)))
            continue
        tests += [call("ge", e, index_const(0)), call("lt", e, of_size(b.hi))]
    if not tests:
        return Const(True, bool_)
    result = tests[0]
    for t in tests[1:]:
        result = call("and", result, t)
    return result


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 0


def _moved_read(body: Body, read: Read, value: Mapping[str, Value]) -> Read | None:
    """The read with its fill and its check moved to what a permutation of axes reads; None if it is no such view."""
    inner = body.expr
    if not isinstance(inner, Read) or inner.fill is not None or inner.checked:
        return None
    at = {b.name: e for b, e in zip(body.binders, read.index, strict=True)}
    if not all(isinstance(e, Axis) and e.name in at or isinstance(e, Const) and e.value == 0 for e in inner.index):
        return None
    extent = {b.name: b.hi for b in body.binders}
    shape = value[inner.tensor].shape
    if any(isinstance(e, Axis) and extent[e.name] != n for e, n in zip(inner.index, shape, strict=True)):
        return None  # a part: outside it there are elements
    used = [e.name for e in inner.index if isinstance(e, Axis)]
    free = [b for b in body.binders if b.name not in used]
    if len(set(used)) != len(used) or any(not _is_zero(at[b.name]) for b in free):
        return None  # a dimension that the view added is checked here or nowhere
    places = tuple(at[e.name] if isinstance(e, Axis) else e for e in inner.index)
    return Read(inner.tensor, places, inner.dtype, read.fill, read.checked)


__all__ = ["Body", "Fusion", "Param"]

"""Which reductions are split into blocks, so that threads share them: long ones with few results.

How long a block is depends on the shape only, so that a sum is the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Call, Definition, Expr, Reduce, call, children, index_const, of_size, walk
from tdsl.compiler.lower.access import Access, extent

_LONG = 1 << 16  # scalar ops worth splitting
_BLOCK = 1 << 14  # scalar ops in a block, at least
_BLOCKS = 256  # blocks, at most
_RESULTS = 4
_SPLITS = ("sum", "mean", "max", "min", "prod", "any", "all")


@dataclass(frozen=True, slots=True)
class Split:
    definition: Definition
    reduce: Reduce
    block: int  # iterations of the first axis
    results: int
    cost: int  # scalar ops of a block

    def blocks(self) -> Expr:
        """How many blocks there are."""
        first = self.reduce.binders[0]
        length = call("sub", of_size(first.hi), of_size(first.lo))
        if not isinstance(first.hi, Sym) and not isinstance(first.lo, Sym):
            return index_const(-(-(first.hi - first.lo) // self.block))
        return call("floordiv", call("add", length, index_const(self.block - 1)), index_const(self.block))

    def elements(self) -> Expr:
        """Of the space that the partial results need."""
        return call("mul", self.blocks(), index_const(self.results))


def split(d: Definition, access: Access) -> Split | None:
    """How `d` is split; None where it is not worth it."""
    found = [e for e in walk(d.expr) if isinstance(e, Reduce)]
    outer = [e for e in found if not any(e is not o and e in set(walk(o.body)) for o in found)]
    if len(outer) != 1 or outer[0].op not in _SPLITS or _under_branch(d.expr, outer[0]):
        return None
    (e,) = outer
    results = prod(extent(b) for b in d.binders)
    if e.op == "mean" and e.guard is not None or results > _RESULTS or any(isinstance(n, Sym) for n in d.shape):
        return None
    first = e.binders[0]
    symbolic = any(isinstance(n, Sym) for b in e.binders for n in (b.lo, b.hi))
    cost = access.cost(d.expr, d.binders)
    if extent(first) < 2 or not symbolic and cost <= _LONG:
        return None
    each = max(1, cost // extent(first))
    block = max(1, _BLOCK // each, 0 if isinstance(first.hi, Sym) else -(-extent(first) // _BLOCKS))
    return Split(d, e, block, results, block * each)


def _under_branch(root: Expr, target: Expr) -> bool:
    """Whether `target` stands in a branch, where it may not be needed."""
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        e, under = stack.pop()
        if e is target:
            return under
        deeper = under or isinstance(e, Call) and e.fn == "where"
        stack.extend((c, deeper) for c in children(e))
    return False

"""A builder that knows how deep each value stands, so that everything is made in the outermost loop where it can be.

Depth 0 is the function's body; each region inside is one deeper. An op without effects goes to the depth of its
deepest operand, and equal ops are one value. What is worth remembering (`find`, `remember`) is kept with the block
that holds it, and forgotten with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tdsl.compiler.loops import INDEX, SSA, Block, LOp, LType, Scalar, Vector
from tdsl.compiler.loops_builder import Builder

Key = tuple[object, ...]
_PURE = ("arith.", "math.", "tdsl.philox")  # divisors are made safe before they divide, so these never trap


class Levels(Builder):
    """Appends to the blocks around an insertion point.

    >>> b = Levels(Block())
    >>> inner = b.for_(b.constant(0), b.constant(8), b.constant(1), (), lambda i, _: (b.constant(5), None)[1])
    >>> [op.attrs.get("value") for op in b.block.ops]
    [0, 8, 1, 5, None]
    """

    def __init__(self, block: Block) -> None:
        super().__init__(block)
        self._blocks = [block]
        self._made: list[dict[Key, SSA]] = [{}]
        self._vector = [False]  # whether the vectors run along a loop around this depth
        self._entering = False
        self._depth: dict[SSA, int] = {}  # the function's arguments are not in it: depth 0

    # ---- where values stand

    def depth(self, *values: SSA) -> int:
        """The depth of the deepest of these."""
        return max((self._depth.get(v, 0) for v in values), default=0)

    @property
    def current(self) -> int:
        return len(self._blocks) - 1

    @property
    def in_vector(self) -> bool:
        return self._vector[-1]

    @contextmanager
    def at(self, depth: int) -> Iterator[None]:
        """Append at an outer depth meanwhile: before the loop that is being filled there."""
        saved = self.block, self._blocks, self._made, self._vector, self._constants
        self._blocks, self._made = self._blocks[: depth + 1], self._made[: depth + 1]
        self._vector, self._constants = self._vector[: depth + 1], self._constants[: depth + 1]
        self.block = self._blocks[-1]
        try:
            yield
        finally:
            self.block, self._blocks, self._made, self._vector, self._constants = saved

    def find(self, key: Key) -> SSA | None:
        for made in reversed(self._made):
            if key in made:
                return made[key]
        return None

    def remember(self, key: Key, value: SSA) -> None:
        self._made[self.depth(value)][key] = value

    # ---- building

    def op(
        self,
        name: str,
        operands: Sequence[SSA],
        results: Sequence[LType] = (),
        regions: Sequence[Block] = (),
        **attrs: Any,
    ) -> LOp:
        if not name.startswith(_PURE):
            made = super().op(name, operands, results, regions, **attrs)
            self._depth.update((r, len(self._blocks) - 1) for r in made.results)
            return made
        key: Key = (name, results[0], *operands, *sorted((k, repr(v)) for k, v in attrs.items()))
        depth = self.depth(*operands)
        found = self._made[depth].get(key)
        if found is not None:
            return LOp(name, list(operands), [found], attrs)
        pure = LOp(name, list(operands), [SSA(t) for t in results], attrs)
        self._blocks[depth].ops.append(pure)
        self._depth[pure.result] = depth
        self._made[depth][key] = pure.result
        return pure

    def constant(self, value: bool | int | float, type_: Scalar | Vector = INDEX) -> SSA:
        key = (type_, type(value), repr(value))
        outermost = self._constants[0]
        if key not in outermost:
            outermost[key] = self.op("arith.constant", (), (type_,), value=value).result
        return outermost[key]

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        depth = len(self._blocks)
        self._depth.update((a, depth) for a in block.args)
        vector, self._entering = self._vector[-1] or self._entering, False
        self._blocks.append(block)
        self._made.append({})
        self._vector.append(vector)
        try:
            with super().inside(block):
                yield
        finally:
            self._blocks.pop()
            self._made.pop()
            self._vector.pop()

    def for_(
        self,
        lo: SSA,
        hi: SSA,
        step: SSA,
        inits: Sequence[SSA],
        body: Callable[[SSA, list[SSA]], Sequence[SSA] | None],
        **attrs: Any,
    ) -> list[SSA]:
        self._entering = bool(attrs.get("vector"))
        return super().for_(lo, hi, step, inits, body, **attrs)

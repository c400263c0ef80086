"""The body of a scalar loop, for all lanes at once.

Every value of the body is one of three: uniform (the same in all lanes: stays scalar), linear (a base plus a known
step a lane: kept as its base, so that unit steps become vector loads and stores), or a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from tdsl.compiler.loop_passes.rewriter import Rewriter
from tdsl.compiler.loops import I1, I32, I64, INDEX, SSA, Block, LOp, LType, MemRef, Scalar, Vector
from tdsl.compiler.loops_builder import Builder


class Unsupported(Exception):
    """The loop has no vector form; it stays scalar."""


def identity_of(kind: str, t: LType) -> bool | int | float:
    """What combines with x to x."""
    assert isinstance(t, Scalar)
    if kind in ("add", "or"):
        return 0.0 if t.is_float else 0
    if kind in ("mul", "and"):
        return 1.0 if t.is_float else 1 if kind == "mul" or t is I1 else -1
    if t.is_float:
        return -inf if kind.startswith("max") else inf
    if kind.endswith("ui"):
        return 0 if kind == "maxui" else 1 if t is I1 else -1
    low = -(1 << (t.bits - 1))
    return low if kind == "maxsi" else -low - 1


@dataclass(frozen=True, eq=False, slots=True)
class Linear:
    base: SSA
    step: int


class Widener:
    """Emits one vector iteration into `b`. `mask`: lanes that count; None: all."""

    def __init__(self, b: Builder, rewriter: Rewriter, lanes: int, mask: SSA | None) -> None:
        self.b, self.rewriter, self.lanes, self.mask = b, rewriter, lanes, mask
        self.linear: dict[SSA, Linear] = {}
        self.vector: dict[SSA, SSA] = {}
        self.uniform: dict[SSA, SSA] = {}
        self.number: dict[SSA, int] = {}

    def run(self, region: Block, base: SSA, carried: Sequence[SSA]) -> list[SSA]:
        iv, *inner = region.args
        self.linear[iv] = Linear(base, 1)
        self.vector.update(zip(inner, carried, strict=True))
        return [self.as_vector(x) for x in self.block(region)]

    def block(self, region: Block) -> Sequence[SSA]:
        for op in region.ops:
            if op.name == "scf.yield":
                return op.operands
            self.op(op)
        return ()

    # ---- values

    def varies(self, value: SSA) -> bool:
        return value in self.linear or value in self.vector

    def scalar(self, value: SSA) -> SSA:
        """A uniform value."""
        found = self.uniform.get(value)
        return found if found is not None else self.rewriter.of(value)

    def as_vector(self, value: SSA) -> SSA:
        found = self.vector.get(value)
        if found is not None:
            return found
        linear = self.linear.get(value)
        if linear is None:
            made = self.b.broadcast(self.scalar(value), self.lanes)
        else:
            t = linear.base.type
            assert isinstance(t, Scalar)
            steps = self.b.op("vector.step", (), (Vector(self.lanes, t),)).result
            if linear.step != 1:
                steps = self.b.binary("arith.muli", steps, self.b.constant(linear.step, Vector(self.lanes, t)))
            made = self.b.binary("arith.addi", self.b.broadcast(linear.base, self.lanes), steps)
        self.vector_cache(value, made)
        return made

    def vector_cache(self, value: SSA, made: SSA) -> None:
        if value in self.linear:
            return  # stays linear for addresses
        if not self.varies(value):
            return  # stays scalar for addresses
        self.vector[value] = made

    # ---- ops

    def op(self, op: LOp) -> None:
        if op.name == "scf.for":
            self.for_(op)
        elif op.name == "scf.if":
            self.if_(op)
        elif op.name == "tdsl.report":
            self.report(op)
        elif op.name == "memref.store":
            self.store(op)
        elif not any(self.varies(x) for x in op.operands):
            self.keep(op)
        elif op.name == "memref.load":
            self.load(op)
        elif op.name in ("arith.addi", "arith.subi", "arith.muli") and self._step(op):
            return
        elif op.name == "arith.index_cast" and op.operands[0] in self.linear:
            self._cast(op)
        elif op.regions or not op.results:
            raise Unsupported(op.name)
        else:
            self.widen(op)

    def keep(self, op: LOp) -> None:
        """The same in every lane."""
        if op.name == "arith.constant":
            made = self.b.constant(op.attrs["value"], op.result.type)  # type: ignore[arg-type]
            self.uniform[op.result] = made
            if isinstance(op.attrs["value"], int):
                self.number[op.result] = int(op.attrs["value"])
            return
        operands = [self.scalar(x) for x in op.operands]
        made_op = LOp(op.name, operands, [SSA(r.type, r.hint) for r in op.results], dict(op.attrs))
        self.b.block.ops.append(made_op)
        self.uniform.update(zip(op.results, made_op.results, strict=True))

    def _constant(self, value: SSA) -> int | None:
        found = self.number.get(value)
        return found if found is not None else self.rewriter.constants.get(self.rewriter.of(value))

    def _step(self, op: LOp) -> bool:
        """Linear arithmetic stays linear."""
        x, y = op.operands
        if x in self.vector or y in self.vector:
            return False
        a, c = self.linear.get(x), self.linear.get(y)
        if op.name == "arith.muli":
            linear, factor = (a, self._constant(y)) if c is None else (c, self._constant(x))
            if linear is None or factor is None or a is not None and c is not None:
                return False
            by = self.scalar(y if c is None else x)
            self.linear[op.result] = Linear(self.b.mul(linear.base, by), linear.step * factor)
            return True
        steps = [v.step if v is not None else 0 for v in (a, c)]
        bases = [v.base if v is not None else self.scalar(s) for v, s in ((a, x), (c, y))]
        emit = self.b.add if op.name == "arith.addi" else self.b.sub
        if bases[0].type is not INDEX:
            base = self.b.binary(op.name, *bases)
        else:
            base = emit(*bases)
        step = steps[0] + steps[1] if op.name == "arith.addi" else steps[0] - steps[1]
        self.linear[op.result] = Linear(base, step)
        return True

    def _cast(self, op: LOp) -> None:
        linear = self.linear[op.operands[0]]
        t = op.result.type
        if t not in (INDEX, I64):
            self.widen(op)
            return
        self.linear[op.result] = Linear(self.b.convert("arith.index_cast", linear.base, t), linear.step)  # type: ignore[arg-type]

    def widen(self, op: LOp) -> None:
        operands = [self.as_vector(x) for x in op.operands]
        t = op.result.type
        assert isinstance(t, Scalar)
        self.vector[op.result] = self.b.op(op.name, operands, (Vector(self.lanes, t),), **op.attrs).result

    # ---- memory

    def _all(self) -> SSA:
        return self.b.constant(True, Vector(self.lanes, I1))

    def load(self, op: LOp, mask: SSA | None = None) -> None:
        """By the step of the address a lane: consecutive, backwards, every few, or gathered."""
        memref, index = op.operands
        if self.varies(memref):
            raise Unsupported("a varying memref")
        assert isinstance(memref.type, MemRef)
        mask = self._both(mask)
        t = Vector(self.lanes, memref.type.element)
        linear = self.linear.get(index)
        memory = self.scalar(memref)
        if linear is None:
            loaded = self._gather(memory, self.b.constant(0), self.as_vector(index), mask, t)
        elif linear.step == 1:
            loaded = self._consecutive(memory, linear.base, mask, t)
        elif linear.step == -1:
            loaded = self._backwards(memory, linear.base, mask, t)
        elif 2 <= linear.step <= 4 and mask is None:
            loaded = self._every(memory, linear, t)
        else:
            narrow = I32 if abs(linear.step) * self.lanes < 1 << 31 else INDEX
            steps = self.b.op("vector.step", (), (Vector(self.lanes, narrow),)).result
            places = self.b.binary("arith.muli", steps, self.b.constant(linear.step, Vector(self.lanes, narrow)))
            loaded = self._gather(memory, linear.base, places, mask, t)
        self.vector[op.result] = loaded

    def _zero(self, t: Vector) -> SSA:
        return self.b.constant(0.0 if t.element.is_float else 0, t)

    def _consecutive(self, memory: SSA, base: SSA, mask: SSA | None, t: Vector) -> SSA:
        if mask is None:
            return self.b.op("vector.load", (memory, base), (t,)).result
        return self.b.op("vector.maskedload", (memory, base, mask, self._zero(t)), (t,)).result

    def _gather(self, memory: SSA, base: SSA, places: SSA, mask: SSA | None, t: Vector) -> SSA:
        everywhere = mask if mask is not None else self._all()
        return self.b.op("vector.gather", (memory, base, places, everywhere, self._zero(t)), (t,)).result

    def _backwards(self, memory: SSA, base: SSA, mask: SSA | None, t: Vector) -> SSA:
        order = tuple(reversed(range(self.lanes)))
        first = self.b.sub(base, self.b.constant(self.lanes - 1))
        turned = None if mask is None else self._shuffle(mask, mask, order)
        loaded = self._consecutive(memory, first, turned, t)
        return self._shuffle(loaded, loaded, order)

    def _every(self, memory: SSA, linear: Linear, t: Vector) -> SSA:
        """Each second, third or fourth element: as many vectors, the last of which ends with the last element read."""
        step, lanes = linear.step, self.lanes
        starts = [k * lanes for k in range(step - 1)] + [(lanes - 1) * (step - 1)]
        parts = [self._consecutive(memory, self.b.add(linear.base, self.b.constant(at)), None, t) for at in starts]
        taken = parts[0]
        for k in range(1, step):
            before = [lane if k > 1 else lane * step for lane in range(lanes)]
            chosen = tuple(
                before[lane] if lane * step < k * lanes else lanes + min(lane * step - starts[k], lanes - 1)
                for lane in range(lanes)
            )
            taken = self._shuffle(taken, parts[k], chosen)
        return taken

    def _shuffle(self, a: SSA, b: SSA, lanes: tuple[int, ...]) -> SSA:
        return self.b.op("vector.shuffle", (a, b), (a.type,), lanes=lanes).result

    def _both(self, mask: SSA | None) -> SSA | None:
        if mask is None or self.mask is None:
            return mask if mask is not None else self.mask
        return self.b.binary("arith.andi", mask, self.mask)

    def store(self, op: LOp) -> None:
        value, memref, index = op.operands
        linear = self.linear.get(index)
        if linear is None or linear.step != 1 or self.varies(memref):
            raise Unsupported("a store that is not along the loop")
        vector, memory = self.as_vector(value), self.scalar(memref)
        if self.mask is None:
            self.b.op("vector.store", (vector, memory, linear.base))
        else:
            self.b.op("vector.maskedstore", (memory, linear.base, self.mask, vector))

    def report(self, op: LOp) -> None:
        flag, slot = op.operands
        if not self.varies(flag):
            self.b.op(op.name, (self.scalar(flag), self.scalar(slot)), **op.attrs)
            return
        vector = self.as_vector(flag)
        if self.mask is not None:
            vector = self.b.binary("arith.andi", vector, self.mask)
        self.b.op(op.name, (vector, self.scalar(slot)), **op.attrs)

    # ---- structure

    def if_(self, op: LOp) -> None:
        (condition,) = op.operands
        if not self.varies(condition):
            self._uniform_if(op)
            return
        then, otherwise = op.regions
        if not op.results:
            raise Unsupported("a varying branch with effects")
        mask = self.as_vector(condition)
        yes = self._branch(then, mask)
        no = self._branch(otherwise, None)
        for result, a, c in zip(op.results, yes, no, strict=True):
            self.vector[result] = self.b.select(mask, self.as_vector(a), self.as_vector(c))

    def _branch(self, region: Block, mask: SSA | None) -> Sequence[SSA]:
        """The branch's ops in every lane; its loads only where the condition holds."""
        for op in region.ops:
            if op.name == "scf.yield":
                return op.operands
            if op.name == "memref.load" and mask is not None:
                self._masked_load(op, mask)
            elif op.name.startswith(("arith.", "math.")):
                self.op(op)
            else:
                raise Unsupported(f"{op.name} in a varying branch")
        return ()

    def _masked_load(self, op: LOp, mask: SSA) -> None:
        memref, index = op.operands
        if self.varies(index):
            self.load(op, mask)
            return
        # one address under a varying condition: every lane reads it through a gather
        self.vector[index] = self.b.broadcast(self.scalar(index), self.lanes)
        self.load(op, mask)
        del self.vector[index]

    def _uniform_if(self, op: LOp) -> None:
        b = self.b
        types: list[LType] = []

        def region(block: Block) -> Block:
            new = Block()
            with b.inside(new):
                out = self.block(block)
                vectors = [self.as_vector(x) for x in out]
                types[:] = [x.type for x in vectors] or types
                if block.ops:
                    b.op("scf.yield", vectors)
            return new

        regions = [region(r) for r in op.regions]
        results = b.op("scf.if", (self.scalar(op.operands[0]),), types, regions).results
        self.vector.update(zip(op.results, results, strict=True))

    def for_(self, op: LOp) -> None:
        """A loop inside the widened one: the same trips in every lane, its carried values vectors."""
        lo, hi, step, *inits = op.operands
        if any(self.varies(x) for x in (lo, hi, step)):
            raise Unsupported("a loop with varying bounds")
        region = op.regions[0]
        iv, *carried = region.args
        starts = [self.as_vector(x) for x in inits]

        def body(i: SSA, values: list[SSA]) -> list[SSA]:
            self.uniform[iv] = i
            self.vector.update(zip(carried, values, strict=True))
            return [self.as_vector(x) for x in self.block(region)]

        results = self.b.for_(self.scalar(lo), self.scalar(hi), self.scalar(step), starts, body)
        self.vector.update(zip(op.results, results, strict=True))

"""Does a module keep the rules of loops IR? Every fault is ours, so it is an InternalError."""

from __future__ import annotations

from collections.abc import Sequence

from tdsl.compiler.loops import I1, I32, I64, INDEX, SSA, Block, Func, LOp, LType, MemRef, Module, Scalar, Vector
from tdsl.compiler.loops_syntax import COMPARE, CONVERT, REDUCTIONS, SAME, element_of
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.source import InternalError


def verify(module: Module) -> None:
    """Raise InternalError where an invariant of loops IR is broken.

    Values are defined before use, in a block around it, once; types agree as each op says; regions end in
    `scf.yield` of what the op gives; a parallel loop is in no other; a callee is there, with the types it is called by.
    """
    callees = {f.name: tuple(a.type for a in f.args) for f in module.funcs if not f.framed} | module.externals
    if len({f.name for f in module.funcs} | module.externals.keys()) != len(module.funcs) + len(module.externals):
        raise InternalError("loops IR: two functions of one name")
    for func in module.funcs:
        _Checker(func, callees).block(func.body, func.args, False, None)


class _Checker:
    def __init__(self, func: Func, callees: dict[str, tuple[LType, ...]]) -> None:
        self.func, self.callees = func, callees
        self.seen: set[SSA] = set()  # defined anywhere
        self.visible: set[SSA] = set()  # defined around this place

    def fail(self, op: LOp, why: str) -> None:
        types = ", ".join(str(x.type) for x in op.operands)
        results = ", ".join(str(x.type) for x in op.results)
        raise InternalError(f"loops IR of {self.func.name}: {op.name} ({types}) -> ({results}): {why}")

    def block(self, block: Block, args: Sequence[SSA], parallel: bool, ends: Sequence[LType] | None) -> None:
        """`ends`: the types its terminator gives; None: it has none (a function's body)."""
        defined: list[SSA] = []
        for arg in args:
            self._define(arg, defined)
        for op in block.ops:
            missing = [x for x in op.operands if x not in self.visible]
            if missing:
                self.fail(op, f"an operand {missing[0].type} {missing[0].hint!r} is not defined here")
            if op.name == "scf.yield":
                if ends is None or op is not block.ops[-1]:
                    self.fail(op, "not at the end of a region")
                if [x.type for x in op.operands] != list(ends or ()):
                    self.fail(op, f"the region gives {', '.join(map(str, ends or ()))}")
            self._op(op, parallel)
            for result in op.results:
                self._define(result, defined)
        if ends is not None and (not block.ops or block.ops[-1].name != "scf.yield"):
            raise InternalError(f"loops IR of {self.func.name}: a region does not end in scf.yield")
        self.visible.difference_update(defined)

    def _define(self, value: SSA, defined: list[SSA]) -> None:
        if value in self.seen:
            raise InternalError(f"loops IR of {self.func.name}: a value {value.type} {value.hint!r} is defined twice")
        self.seen.add(value)
        self.visible.add(value)
        defined.append(value)

    def _op(self, op: LOp, parallel: bool) -> None:
        if op.name == "scf.for":
            self._for(op, parallel)
        elif op.name == "scf.if":
            self._if(op, parallel)
        elif op.name == "scf.parallel":
            if parallel:
                self.fail(op, "inside another parallel loop")
            if op.results or [x.type for x in op.operands] != [INDEX]:
                self.fail(op, "takes one index")
            self._regions(op, 1)
            self.block(op.regions[0], op.regions[0].args, True, ())
        elif op.name != "scf.yield":
            self._plain(op)

    def _regions(self, op: LOp, n: int) -> None:
        if len(op.regions) != n:
            self.fail(op, f"has {len(op.regions)} regions, not {n}")

    def _for(self, op: LOp, parallel: bool) -> None:
        self._regions(op, 1)
        carried = [x.type for x in op.operands[3:]]
        if len(op.operands) < 3 or [x.type for x in op.operands[:3]] != [INDEX] * 3:
            self.fail(op, "bounds and step are index")
        if [r.type for r in op.results] != carried:
            self.fail(op, "results are not of the types carried")
        if [a.type for a in op.regions[0].args] != [INDEX, *carried]:
            self.fail(op, "the region's arguments are not the counter and what is carried")
        combine = op.attrs.get("combine", [])
        if not REDUCTIONS.issuperset(combine) or combine and len(combine) != len(carried):
            self.fail(op, f"combine = {combine}")
        self.block(op.regions[0], op.regions[0].args, parallel, carried)

    def _if(self, op: LOp, parallel: bool) -> None:
        self._regions(op, 2)
        results = [r.type for r in op.results]
        if [x.type for x in op.operands] != [I1]:
            self.fail(op, "takes one i1")
        for k, region in enumerate(op.regions):
            if region.args:
                self.fail(op, "its regions have no arguments")
            empty = k == 1 and not results and not region.ops
            self.block(region, (), parallel, None if empty else results)

    # ---- ops of one line

    def _plain(self, op: LOp) -> None:
        if op.regions:
            self.fail(op, "has no regions")
        wrong = _fault(op, self.callees)
        if wrong is not None:
            self.fail(op, wrong)


def _like(t: LType, element: Scalar) -> LType:
    """The type of as many lanes with another element."""
    return Vector(t.lanes, element) if isinstance(t, Vector) else element


def _fault(op: LOp, callees: dict[str, tuple[LType, ...]]) -> str | None:
    """What is wrong with the types or attributes of an op, if anything is."""
    name, of = op.name, [x.type for x in op.operands]
    gives = [r.type for r in op.results]
    if name == "func.call":
        callee = op.attrs.get("callee")
        known = callees.get(str(callee))
        return None if known is not None and list(known) == of and not gives else f"does not fit {callee}: {known}"
    if name == "tdsl.report":
        fits = len(of) == 2 and element_of(of[0]) == I1 and of[1] == MemRef(I64) and not gives
        return None if fits and isinstance(op.attrs.get("site"), int) else "takes a flag and the error slot; a site"
    if name in ("memref.store", "vector.store", "vector.maskedstore"):
        return _store(name, of, gives)
    if len(gives) != 1:
        return "gives one value"
    if name in SAME or name in _OTHERS:
        return _same(name, of, gives[0])
    return _value(op, of, gives[0])


# ops of one type besides SAME's -> number of operands, whether of integers
_OTHERS = {"arith.remf": (2, False), "math.sigmoid": (1, False), "tdsl.philox": (2, True)}
_OTHERS |= {f"tdsl.{name}": (special.arity, special.integral) for name, special in SPECIAL.items()}


def _same(name: str, of: list[LType], gives: LType) -> str | None:
    arity = SAME[name] if name in SAME else _OTHERS[name][0]
    if len(of) != arity or any(t != gives for t in of) or isinstance(gives, MemRef):
        return f"takes {arity} of the type it gives"
    integral = name.startswith("arith.") and name[-1] != "f" or name in ("math.absi", "math.ipowi")
    integral = _OTHERS[name][1] if name in _OTHERS else integral
    if element_of(gives).is_float == integral:
        return f"is of {'integers' if integral else 'floats'}"
    return None


def _store(name: str, of: list[LType], gives: list[LType]) -> str | None:
    if gives:
        return "gives nothing"
    if name == "vector.maskedstore":
        fits = len(of) == 4 and isinstance(of[0], MemRef) and of[1] == INDEX and isinstance(of[3], Vector)
        fits = fits and element_of(of[3]) == element_of(of[0]) and of[2] == _like(of[3], I1)
        return None if fits else "takes memref, index, mask, vector"
    fits = len(of) == 3 and isinstance(of[1], MemRef) and of[2] == INDEX and element_of(of[0]) == element_of(of[1])
    kind = Scalar if name == "memref.store" else Vector
    return None if fits and isinstance(of[0], kind) else "takes a value, memref, index"


def _value(op: LOp, of: list[LType], gives: LType) -> str | None:
    name = op.name
    if name == "arith.constant":
        value = op.attrs.get("value")
        fits = isinstance(value, float) == element_of(gives).is_float and isinstance(value, bool | int | float)
        return None if fits and not of else "its value is not of its type"
    if name in COMPARE:
        fits = len(of) == 2 and of[0] == of[1] and gives == _like(of[0], I1)
        fits = fits and element_of(of[0]).is_float == (name == "arith.cmpf")
        return None if fits and op.attrs.get("predicate") in COMPARE[name] else "compares two of one type"
    if name == "arith.select":
        fits = len(of) == 3 and of[1] == of[2] == gives and of[0] in (I1, _like(gives, I1))
        return None if fits else "takes a condition and two of the type it gives"
    if name in CONVERT:
        return _convert(name, of, gives)
    return _memory(name, of, gives) if name.startswith(("memref.", "vector.")) else "no op of loops IR"


_SIGNS = {  # conversion -> (from a float, to a float, widths: -1 narrower, 1 wider, 0 any)
    "sitofp": (False, True, 0), "uitofp": (False, True, 0), "fptosi": (True, False, 0), "extsi": (False, False, 1),
    "extui": (False, False, 1), "trunci": (False, False, -1), "extf": (True, True, 1), "truncf": (True, True, -1),
}  # fmt: skip


def _convert(name: str, of: list[LType], gives: LType) -> str | None:
    if len(of) != 1 or isinstance(gives, MemRef):
        return "takes one value"
    if name == "vector.broadcast":
        return None if isinstance(gives, Vector) and of[0] == gives.element else "takes the element of its vector"
    a, b = element_of(of[0]), element_of(gives)
    if gives != _like(of[0], b):
        return "keeps the number of lanes"
    short = name.removeprefix("arith.")
    if short == "index_cast":
        return None if (a == INDEX) != (b == INDEX) and not a.is_float and not b.is_float else "is of an index"
    if INDEX in (a, b):
        return "is not of an index"
    if short == "bitcast":
        return None if a.bits == b.bits else "keeps the width"
    floating, to_float, wider = _SIGNS[short]
    fits = a.is_float == floating and b.is_float == to_float and (wider == 0 or (b.bits - a.bits) * wider > 0)
    return None if fits else "does not convert these"


def _memory(name: str, of: list[LType], gives: LType) -> str | None:
    e = element_of(gives)
    places = len(of) >= 2 and isinstance(of[0], MemRef) and of[1] == INDEX
    if name == "memref.subview_offset":
        return None if places and len(of) == 2 and gives == of[0] else "takes memref, index"
    if name in ("memref.load", "vector.load"):
        fits = places and len(of) == 2 and isinstance(gives, Scalar if name == "memref.load" else Vector)
        return None if fits and element_of(of[0]) == e else "takes memref, index"
    if name == "vector.maskedload":
        fits = places and of[2:] == [_like(gives, I1), gives] and element_of(of[0]) == e
        return None if fits else "takes memref, index, mask, vector"
    if name == "vector.gather":
        fits = places and len(of) == 5 and isinstance(gives, Vector) and element_of(of[0]) == e
        fits = fits and of[2] in [_like(gives, t) for t in (INDEX, I64, I32)] and of[3:] == [_like(gives, I1), gives]
        return None if fits else "takes memref, index, index vector, mask, vector"
    if name == "vector.step":
        return None if not of and isinstance(gives, Vector) and not e.is_float else "takes nothing"
    vectors = len(of) in (1, 2) and all(isinstance(t, Vector) and element_of(t) == e for t in of)
    if name in ("vector.reduction", "vector.extract"):
        return None if vectors and len(of) == 1 and isinstance(gives, Scalar) else "takes a vector of the type it gives"
    if name == "vector.shuffle":
        return None if vectors and len(of) == 2 and isinstance(gives, Vector) else "takes two vectors"
    return "no op of loops IR"

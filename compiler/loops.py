"""Loops IR: structured loops in SSA form, a subset of MLIR (dialects func, scf, memref, vector, arith, math).

    module  := func*
    func    := "func.func" @name "(" args ")" block        no results; every memref is flat: memref<?xT>
    block   := op*                                          a region has one block
    op      := results "=" dialect.name operands attrs regions

Types: index, i1, i8, i16, i32, i64, f32, f64, vector<NxT>, memref<?xT>. A bool is i8 in memory and i1 in SSA.

Ops (operands -> results; attrs):
    arith.constant () -> T; value                       a splat when T is a vector
    arith.addi subi muli floordivsi remsi divsi andi ori xori shli shrsi shrui maxsi minsi maxui minui   ints, index
    arith.addf subf mulf divf remf maximumf minimumf maxnumf minnumf negf                                 floats
    arith.cmpi cmpf (a, b) -> i1; predicate             slt sle sgt sge eq ne ult...; oeq one(*) olt ole ogt oge uno une
    arith.select (i1, a, b)    arith.index_cast sitofp uitofp fptosi extsi extui trunci extf truncf bitcast
    math.exp log ... fma floor ceil roundeven trunc sqrt absf absi copysign    expanded by loop_passes/expand_math
                                                        except fma floor ceil roundeven trunc sqrt absf copysign
    memref.load (m, i) -> T    memref.store (x, m, i)
    memref.subview_offset (m, i) -> memref               the memref that starts i elements later
    vector.load (m, i)  vector.store (x, m, i)  vector.maskedload (m, i, mask, pass)  vector.maskedstore (m, i, mask, x)
    vector.gather (m, i, ivec, mask, pass)    vector.broadcast (x)    vector.step () -> vector<Nxindex>
    vector.reduction (v) -> T; kind add|mul|maximumf|minimumf|maxsi|minsi|and|or    in a fixed order (a tree)
    vector.extract (v) -> T; position    vector.shuffle (a, b); lanes
    scf.for (lo, hi, step, init...) -> carried...; region(iv, carried...) ends in scf.yield
    scf.if (i1) -> results; two regions ending in scf.yield (the second may be empty when there are no results)
    scf.parallel (n); region(iv)     iterations 0..n-1, independent, in any order, on any threads; never nested
    func.call (args) -> (); callee   another function, of this module or a micro-kernel named in `externals`
    tdsl.report (flag i1 or vector of i1, m, site)       if any lane of flag is set: store `site` into the error slot

(*) `!=` of floats is une: NaN != NaN.

Attrs of scf.for, set by lowering and used by passes, each optional: `vector` (may be widened: iterations are
independent, or carried values are reductions), `combine` (how each carried value is combined: add, mul, ...),
`parallel` (iterations are independent) and `cost` (scalar ops an iteration, about).

Invariants, checked by `verify`: operands are defined before use in scope; operand and result types agree per op;
regions end in a terminator with the right types; scf.parallel is not nested; a callee is there and fits its call.
The ops and how they are written as MLIR are in `loops_syntax.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tdsl.compiler.graph import Size

# --------------------------------------------------------------------------------------------- types


@dataclass(frozen=True, slots=True)
class Scalar:
    name: str  # index i1 i8 i16 i32 i64 f32 f64

    def __str__(self) -> str:
        return self.name

    @property
    def is_float(self) -> bool:
        return self.name[0] == "f"

    @property
    def bits(self) -> int:
        return 64 if self.name == "index" else int(self.name[1:])


@dataclass(frozen=True, slots=True)
class Vector:
    lanes: int
    element: Scalar

    def __str__(self) -> str:
        return f"vector<{self.lanes}x{self.element}>"


@dataclass(frozen=True, slots=True)
class MemRef:
    element: Scalar

    def __str__(self) -> str:
        return f"memref<?x{self.element}>"


LType = Scalar | Vector | MemRef

INDEX, I1, I8, I16, I32, I64, F32, F64 = map(Scalar, ("index", "i1", "i8", "i16", "i32", "i64", "f32", "f64"))

# ------------------------------------------------------------------------------------------ structure


class SSA:
    """A value: the result of an op or an argument of a block. Compared by identity."""

    __slots__ = ("type", "hint")

    def __init__(self, type_: LType, hint: str = "") -> None:
        self.type, self.hint = type_, hint


@dataclass(eq=False, slots=True)
class LOp:
    name: str
    operands: list[SSA]
    results: list[SSA] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    regions: list[Block] = field(default_factory=list)

    @property
    def result(self) -> SSA:
        return self.results[0]


@dataclass(eq=False, slots=True)
class Block:
    args: list[SSA] = field(default_factory=list)
    ops: list[LOp] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Workspace:
    """Scratch memory a function needs, 64-byte aligned: a memref argument after the outputs.

    `elements` is a product of sums over sizes, evaluated for each shape: see `runtime/dispatch.py`.
    """

    element: Scalar
    elements: Any  # kernel.Expr over SizeOf and Const: the number of elements


@dataclass(eq=False, slots=True)
class Func:
    """The arguments of an entry function are, in order: memrefs of the kernel's tensor params (inputs), memrefs of
    its outputs, memrefs of its workspaces, one `index` for each run-time size (`Kernel.sizes()`), the number
    params (f64 for floats, i64 for ints and bools), and last `memref<?xi64>`, the error slot."""

    name: str
    args: list[SSA]
    body: Block
    workspaces: tuple[Workspace, ...] = ()
    framed: bool = True  # an entry: called with a frame of 8-byte slots. Else a plain function of these arguments.


@dataclass(eq=False, slots=True)
class Module:
    funcs: list[Func]  # the entry function is last
    externals: dict[str, tuple[LType, ...]] = field(default_factory=dict)  # micro-kernels called, by name


def walk(block: Block) -> Iterator[LOp]:
    """Every op, outer first, in order. No recursion."""
    stack = [iter(block.ops)]
    while stack:
        op = next(stack[-1], None)
        if op is None:
            stack.pop()
            continue
        yield op
        stack.extend(iter(r.ops) for r in reversed(op.regions))


__all__ = [
    "Block",
    "F32",
    "F64",
    "Func",
    "I1",
    "I16",
    "I32",
    "I64",
    "I8",
    "INDEX",
    "LOp",
    "LType",
    "MemRef",
    "Module",
    "SSA",
    "Scalar",
    "Size",
    "Vector",
    "Workspace",
    "walk",
]

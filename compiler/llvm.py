"""Loops to LLVM IR, as text: one pass over the ops, no optimisation of its own.

An entry function takes one pointer, its frame: 8-byte slots with the arguments in the order of `loops.Func`. The
body of an `scf.parallel` becomes a function of its own, called through `tdsl_parallel` with its captured values in
a struct on the stack. Floats carry no fast-math flags, so a value does not depend on where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tdsl.compiler.llvm_types import (
    BINARY,
    CONVERT,
    EXTREME,
    FLOAT_REDUCE,
    INT_REDUCE,
    INTRINSIC,
    alignment,
    bits,
    literal,
    llvm_type,
    splat,
    suffix,
)
from tdsl.compiler.loops import I1, SSA, Block, Func, LOp, LType, MemRef, Module, Scalar, Vector
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target


def emit(module: Module, target: Target) -> str:
    """The module as LLVM IR text that exports its last function."""
    emitter = _Emitter(target)
    for func in module.funcs:
        emitter.function(func, exported=func is module.funcs[-1])
    for name, types in module.externals.items():
        emitter.declare(f"declare void @{name}({', '.join(llvm_type(t) for t in types)})")
    return "\n".join([*sorted(emitter.declared), "", *emitter.functions, _attributes(target), ""])


def _attributes(target: Target) -> str:
    width = f'"prefer-vector-width"="{target.vector_bits}" "min-legal-vector-width"="{target.vector_bits}"'
    return f"attributes #0 = {{ nounwind {width} }}"


class _Emitter:
    """Collects functions and declarations; `_Body` writes one function."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.functions: list[str] = []
        self.declared: set[str] = set()
        self.outlined = 0

    def declare(self, text: str) -> None:
        self.declared.add(text)

    def function(self, func: Func, exported: bool) -> None:
        body = _Body(self)
        if func.framed:
            head = f"define void @{func.name}(ptr %frame) #0 {{"
            body.load_frame(func.args)
        else:
            names = [body.bind(a) for a in func.args]
            args = ", ".join(f"{llvm_type(a.type)} {n}" for a, n in zip(func.args, names, strict=True))
            head = f"define {'' if exported else 'internal '}void @{func.name}({args}) #0 {{"
        body.block(func.body)
        body.line("ret void")
        self.functions.append("\n".join([head, *body.text(), "}", ""]))

    def outline(self, region: Block, captured: Sequence[SSA], constants: dict[SSA, str]) -> str:
        """void body(ptr context, i64 lo, i64 hi): the region for each iteration of a share."""
        self.outlined += 1
        name = f"parallel_{self.outlined}"
        body = _Body(self)
        body.names.update(constants)
        struct_type = context_type(captured)
        for k, value in enumerate(captured):
            place = body.let(f"getelementptr inbounds {struct_type}, ptr %context, i32 0, i32 {k}")
            body.names[value] = body.let(f"load {llvm_type(value.type)}, ptr {place}")
        body.loop("%lo", "%hi", "1", region.args[0], [], [], region)
        body.line("ret void")
        head = f"define internal void @{name}(ptr %context, i64 %lo, i64 %hi) #0 {{"
        self.functions.append("\n".join([head, *body.text(), "}", ""]))
        return name


def context_type(captured: Sequence[SSA]) -> str:
    return "{ " + ", ".join(llvm_type(v.type) for v in captured) + " }" if captured else "{ i64 }"


class _Body:
    """The text of one function."""

    def __init__(self, emitter: _Emitter) -> None:
        self.emitter = emitter
        self.names: dict[SSA, str] = {}
        self.constants: dict[SSA, str] = {}
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.current = "entry"
        self.count = 0

    def text(self) -> list[str]:
        return ["entry:", *self.allocas, *self.lines]

    def line(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def fresh(self, prefix: str = "%v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def let(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def bind(self, value: SSA) -> str:
        name = self.names[value] = self.fresh()
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.current = name

    def typed(self, value: SSA) -> str:
        return f"{llvm_type(value.type)} {self.names[value]}"

    def intrinsic(self, name: str, result: LType, args: Sequence[tuple[str, str]]) -> str:
        """A call of llvm.`name`; args are (type, value)."""
        types = ", ".join(t for t, _ in args)
        self.emitter.declare(f"declare {llvm_type(result)} @llvm.{name}({types})")
        return f"call {llvm_type(result)} @llvm.{name}({', '.join(f'{t} {v}' for t, v in args)})"

    def load_frame(self, args: Sequence[SSA]) -> None:
        for k, arg in enumerate(args):
            place = self.let(f"getelementptr inbounds i64, ptr %frame, i64 {k}")
            self.names[arg] = self.let(f"load {llvm_type(arg.type)}, ptr {place}, align 8")

    # ---- ops

    def block(self, block: Block) -> Sequence[SSA]:
        """Every op of the block; gives the operands of its terminator."""
        for op in block.ops:
            if op.name == "scf.yield":
                return op.operands
            self.op(op)
        return ()

    def op(self, op: LOp) -> None:
        special = _SPECIAL.get(op.name)
        if special is not None:
            special(self, op)
            return
        text = self._simple(op)
        self.names[op.result] = self.let(text)

    def _simple(self, op: LOp) -> str:
        name, operands = op.name, op.operands
        names = [self.names[x] for x in operands]
        if name in BINARY:
            return f"{BINARY[name]} {llvm_type(operands[0].type)} {names[0]}, {names[1]}"
        if name in EXTREME:
            return self.extreme(EXTREME[name], op.result.type, names[0], names[1])
        if name in INTRINSIC:
            t = op.result.type
            if name == "math.fma" and not self.emitter.target.has_fma:
                product = self.let(f"fmul {llvm_type(t)} {names[0]}, {names[1]}")
                return f"fadd {llvm_type(t)} {product}, {names[2]}"
            args = [(llvm_type(t), n) for n in names]
            return self.intrinsic(f"{INTRINSIC[name]}.{suffix(t)}", t, args)
        if name in CONVERT:
            return f"{CONVERT[name]} {self.typed(operands[0])} to {llvm_type(op.result.type)}"
        if name in ("arith.cmpi", "arith.cmpf"):
            kind = "icmp" if name == "arith.cmpi" else "fcmp"
            return f"{kind} {op.attrs['predicate']} {self.typed(operands[0])}, {names[1]}"
        if name == "arith.select":
            return f"select {self.typed(operands[0])}, {self.typed(operands[1])}, {self.typed(operands[2])}"
        if name == "arith.negf":
            return f"fneg {self.typed(operands[0])}"
        if name == "arith.fptosi":
            t, source = op.result.type, operands[0].type
            return self.intrinsic(f"fptosi.sat.{suffix(t)}.{suffix(source)}", t, [(llvm_type(source), names[0])])
        if name == "math.absi":
            t = op.result.type
            return self.intrinsic(f"abs.{suffix(t)}", t, [(llvm_type(t), names[0]), ("i1", "false")])
        if name == "vector.extract":
            return f"extractelement {self.typed(operands[0])}, i64 {op.attrs['position']}"
        if name == "vector.shuffle":
            lanes = ", ".join(f"i32 {k}" for k in op.attrs["lanes"])
            mask = f"<{len(op.attrs['lanes'])} x i32> <{lanes}>"
            return f"shufflevector {self.typed(operands[0])}, {self.typed(operands[1])}, {mask}"
        raise InternalError(f"no LLVM for the op {name}")

    def constant(self, op: LOp) -> None:
        t, value = op.result.type, op.attrs["value"]
        assert isinstance(t, Scalar | Vector)
        text = splat(literal(value, t.element), t) if isinstance(t, Vector) else literal(value, t)
        self.names[op.result] = self.constants[op.result] = text

    def index_cast(self, op: LOp) -> None:
        source, result = op.operands[0], op.result
        a, b = bits(source.type), bits(result.type)
        if a == b:
            self.names[result] = self.names[source]
            return
        how = "sext" if a < b else "trunc"
        self.names[result] = self.let(f"{how} {self.typed(source)} to {llvm_type(result.type)}")

    # ---- memory

    def address(self, memref: SSA, index: SSA) -> str:
        assert isinstance(memref.type, MemRef)
        element = llvm_type(memref.type.element)
        return self.let(f"getelementptr inbounds {element}, ptr {self.names[memref]}, i64 {self.names[index]}")

    def load(self, op: LOp) -> None:
        memref, index = op.operands[:2]
        place = self.address(memref, index)
        self.names[op.result] = self.let(f"load {llvm_type(op.result.type)}, ptr {place}, align {alignment(memref)}")

    def store(self, op: LOp) -> None:
        value, memref, index = op.operands
        place = self.address(memref, index)
        self.line(f"store {self.typed(value)}, ptr {place}, align {alignment(memref)}")

    def subview(self, op: LOp) -> None:
        self.names[op.result] = self.address(op.operands[0], op.operands[1])

    def masked_load(self, op: LOp) -> None:
        memref, index, mask, passed = op.operands
        t = op.result.type
        args = [("ptr", self.address(memref, index)), ("i32", str(alignment(memref))), *map(self._arg, (mask, passed))]
        self.names[op.result] = self.let(self.intrinsic(f"masked.load.{suffix(t)}.p0", t, args))

    def masked_store(self, op: LOp) -> None:
        memref, index, mask, value = op.operands
        t = value.type
        place, align = self.address(memref, index), str(alignment(memref))
        args = [self._arg(value), ("ptr", place), ("i32", align), self._arg(mask)]
        types = ", ".join(a for a, _ in args)
        self.emitter.declare(f"declare void @llvm.masked.store.{suffix(t)}.p0({types})")
        self.line(f"call void @llvm.masked.store.{suffix(t)}.p0({', '.join(f'{a} {v}' for a, v in args)})")

    def gather(self, op: LOp) -> None:
        memref, index, places, mask, passed = op.operands
        t = op.result.type
        assert isinstance(t, Vector) and isinstance(memref.type, MemRef)
        base = self.address(memref, index)
        element = llvm_type(memref.type.element)
        pointers = self.let(f"getelementptr inbounds {element}, ptr {base}, {self.typed(places)}")
        args = [(f"<{t.lanes} x ptr>", pointers), ("i32", str(alignment(memref))), *map(self._arg, (mask, passed))]
        name = f"masked.gather.{suffix(t)}.v{t.lanes}p0"
        self.names[op.result] = self.let(self.intrinsic(name, t, args))

    def _arg(self, value: SSA) -> tuple[str, str]:
        return llvm_type(value.type), self.names[value]

    # ---- vectors

    def broadcast(self, op: LOp) -> None:
        t, (value,) = op.result.type, op.operands
        assert isinstance(t, Vector)
        if value in self.constants:
            self.names[op.result] = self.constants[op.result] = splat(self.names[value], t)
            return
        first = self.let(f"insertelement {llvm_type(t)} poison, {self.typed(value)}, i64 0")
        self.names[op.result] = self.let(
            f"shufflevector {llvm_type(t)} {first}, {llvm_type(t)} poison, <{t.lanes} x i32> zeroinitializer"
        )

    def step(self, op: LOp) -> None:
        t = op.result.type
        assert isinstance(t, Vector)
        element = llvm_type(t.element)
        self.names[op.result] = f"<{', '.join(f'{element} {k}' for k in range(t.lanes))}>"
        self.constants[op.result] = self.names[op.result]

    def reduction(self, op: LOp) -> None:
        (value,) = op.operands
        t, kind = value.type, op.attrs["kind"]
        assert isinstance(t, Vector)
        if not t.element.is_float:
            name = f"vector.reduce.{INT_REDUCE[kind]}.{suffix(t)}"
            self.names[op.result] = self.let(self.intrinsic(name, t.element, [(llvm_type(t), self.names[value])]))
            return
        lanes, name = t.lanes, self.names[value]
        if lanes & (lanes - 1):
            raise InternalError(f"a reduction of {lanes} lanes, not a power of two")
        while lanes > 1:  # the upper half onto the lower, in a fixed order
            lanes //= 2
            part = Vector(lanes, t.element)
            whole = f"<{lanes * 2} x {llvm_type(t.element)}>"
            low = ", ".join(f"i32 {k}" for k in range(lanes))
            high = ", ".join(f"i32 {k + lanes}" for k in range(lanes))
            a = self.let(f"shufflevector {whole} {name}, {whole} poison, <{lanes} x i32> <{low}>")
            b = self.let(f"shufflevector {whole} {name}, {whole} poison, <{lanes} x i32> <{high}>")
            name = self.let(self._combined(kind, part, a, b))
        self.names[op.result] = self.let(f"extractelement <1 x {llvm_type(t.element)}> {name}, i64 0")

    def _combined(self, kind: str, t: Vector, a: str, b: str) -> str:
        if f"arith.{kind}" in EXTREME:
            return self.extreme(EXTREME[f"arith.{kind}"], t, a, b)
        return f"{FLOAT_REDUCE[kind]} {llvm_type(t)} {a}, {b}"

    def extreme(self, predicate: str, t: LType, a: str, b: str) -> str:
        """The larger or smaller, NaN if one is NaN. Half of what llvm.maximum takes, which orders zeros as well."""
        flags = llvm_type(Vector(t.lanes, I1) if isinstance(t, Vector) else I1)
        kind = llvm_type(t)
        beyond = self.let(f"fcmp {predicate} {kind} {a}, {b}")
        chosen = self.let(f"select {flags} {beyond}, {kind} {a}, {kind} {b}")  # b where either is NaN
        unordered = self.let(f"fcmp uno {kind} {a}, {a}")
        return f"select {flags} {unordered}, {kind} {a}, {kind} {chosen}"

    # ---- structure

    def for_(self, op: LOp) -> None:
        lo, hi, step, *inits = op.operands
        region = op.regions[0]
        iv, *carried = region.args
        results = self.loop(self.names[lo], self.names[hi], self.names[step], iv, carried, inits, region)
        self.names.update(zip(op.results, results, strict=True))

    def loop(
        self, lo: str, hi: str, step: str, iv: SSA, carried: Sequence[SSA], inits: Sequence[SSA], region: Block
    ) -> list[str]:
        """A rotated loop: tested before the first iteration and after each."""
        tag = self.fresh("L")
        body, done = f"{tag}.body", f"{tag}.done"
        before = self.current
        some = self.let(f"icmp slt i64 {lo}, {hi}")
        self.line(f"br i1 {some}, label %{body}, label %{done}")
        self.label(body)
        header = len(self.lines)
        names = [self.bind(x) for x in (iv, *carried)]
        out = [self.names[x] for x in self.block(region)]
        following = self.let(f"add nsw i64 {names[0]}, {step}")
        again = self.let(f"icmp slt i64 {following}, {hi}")
        latch = self.current
        self.line(f"br i1 {again}, label %{body}, label %{done}")
        phis = [f"  {names[0]} = phi i64 [ {lo}, %{before} ], [ {following}, %{latch} ]"]
        for name, init, value in zip(names[1:], inits, out, strict=True):
            t = llvm_type(init.type)
            phis.append(f"  {name} = phi {t} [ {self.names[init]}, %{before} ], [ {value}, %{latch} ]")
        self.lines[header:header] = phis
        self.label(done)
        return [
            self.let(f"phi {llvm_type(i.type)} [ {self.names[i]}, %{before} ], [ {v}, %{latch} ]")
            for i, v in zip(inits, out, strict=True)
        ]

    def if_(self, op: LOp) -> None:
        tag = self.fresh("I")
        yes, no, done = f"{tag}.then", f"{tag}.else", f"{tag}.done"
        self.line(f"br i1 {self.names[op.operands[0]]}, label %{yes}, label %{no}")
        ends: list[tuple[list[str], str]] = []
        for label, region in zip((yes, no), op.regions, strict=True):
            self.label(label)
            out = [self.names[x] for x in self.block(region)]
            ends.append((out, self.current))
            self.line(f"br label %{done}")
        self.label(done)
        for k, result in enumerate(op.results):
            incoming = ", ".join(f"[ {out[k]}, %{end} ]" for out, end in ends)
            self.names[result] = self.let(f"phi {llvm_type(result.type)} {incoming}")

    def parallel(self, op: LOp) -> None:
        (n,), (region,) = op.operands, op.regions
        captured = [v for v in _captures(region) if v not in self.constants]
        name = self.emitter.outline(region, captured, dict(self.constants))
        kind = context_type(captured)
        context = self.fresh()
        self.allocas.append(f"  {context} = alloca {kind}, align 64")
        for k, value in enumerate(captured):
            place = self.let(f"getelementptr inbounds {kind}, ptr {context}, i32 0, i32 {k}")
            self.line(f"store {self.typed(value)}, ptr {place}")
        self.emitter.declare("declare void @tdsl_parallel(ptr, ptr, i64)")
        tag = self.fresh("P")
        alone = self.let(f"icmp eq i64 {self.names[n]}, 1")
        self.line(f"br i1 {alone}, label %{tag}.one, label %{tag}.many")
        self.label(f"{tag}.one")
        self.line(f"call void @{name}(ptr {context}, i64 0, i64 1)")
        self.line(f"br label %{tag}.done")
        self.label(f"{tag}.many")
        self.line(f"call void @tdsl_parallel(ptr @{name}, ptr {context}, i64 {self.names[n]})")
        self.line(f"br label %{tag}.done")
        self.label(f"{tag}.done")

    def call(self, op: LOp) -> None:
        args = ", ".join(self.typed(x) for x in op.operands)
        self.line(f"call void @{op.attrs['callee']}({args})")

    def report(self, op: LOp) -> None:
        flag, slot = op.operands
        name = self.names[flag]
        if isinstance(flag.type, Vector):
            reduced = self.intrinsic(f"vector.reduce.or.{suffix(flag.type)}", I1, [(llvm_type(flag.type), name)])
            name = self.let(reduced)
        tag = self.fresh("R")
        self.line(f"br i1 {name}, label %{tag}.bad, label %{tag}.done")
        self.label(f"{tag}.bad")
        before = self.let(f"load i64, ptr {self.names[slot]}, align 8")
        empty = self.let(f"icmp eq i64 {before}, 0")
        self.line(f"br i1 {empty}, label %{tag}.first, label %{tag}.done")
        self.label(f"{tag}.first")
        self.line(f"store i64 {op.attrs['site'] + 1}, ptr {self.names[slot]}, align 8")
        self.line(f"br label %{tag}.done")
        self.label(f"{tag}.done")


def _captures(region: Block) -> list[SSA]:
    """What the region uses and does not define, in order of use."""
    inside: set[SSA] = set()
    used: dict[SSA, None] = {}
    stack = [region]
    while stack:
        block = stack.pop()
        inside.update(block.args)
        for op in block.ops:
            inside.update(op.results)
            used.update((x, None) for x in op.operands)
            stack.extend(op.regions)
    return [x for x in used if x not in inside]


_SPECIAL: dict[str, Callable[[_Body, LOp], None]] = {
    "arith.constant": _Body.constant,
    "arith.index_cast": _Body.index_cast,
    "memref.load": _Body.load,
    "memref.store": _Body.store,
    "memref.subview_offset": _Body.subview,
    "vector.load": _Body.load,
    "vector.store": _Body.store,
    "vector.maskedload": _Body.masked_load,
    "vector.maskedstore": _Body.masked_store,
    "vector.gather": _Body.gather,
    "vector.broadcast": _Body.broadcast,
    "vector.step": _Body.step,
    "vector.reduction": _Body.reduction,
    "scf.for": _Body.for_,
    "scf.if": _Body.if_,
    "scf.parallel": _Body.parallel,
    "func.call": _Body.call,
    "tdsl.report": _Body.report,
}

"""Loops IR as MLIR text, and back: `show(parse(text)) == text`.

    module  := "module {" external* func* "}"
    func    := "func.func @name(%a: type, ...) attributes {tdsl.workspaces = [...]} {" op* "func.return" "}"

What loops IR marks on its loops are discardable attributes (`tdsl.vector`). A workspace is its number of elements.
The syntax of each op is in `loops_syntax.py`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from math import isfinite
from typing import Any

from tdsl.compiler.kernel_text import show_expression
from tdsl.compiler.loops import F32, I1, INDEX, SSA, Block, Func, LOp, LType, Module, Scalar, Vector
from tdsl.compiler.loops_parse import parse
from tdsl.compiler.loops_syntax import COMPARE, CONVERT, PLAIN, SAME, element_of
from tdsl.compiler.loops_verify import verify
from tdsl.compiler.source import InternalError

__all__ = ["parse", "show", "verify"]

_NAME = re.compile(r"[A-Za-z_]\w*\Z")


def show(module: Module) -> str:
    """The module as MLIR.

    >>> print(show(Module([Func("nothing", [SSA(INDEX, "n")], Block())])))
    module {
      func.func @nothing(%n: index) {
        func.return
      }
    }
    """
    writer = _Writer()
    writer.line("module {")
    writer.depth = 1
    for name, types in module.externals.items():
        writer.line(f"func.func private @{name}({', '.join(map(str, types))})")
    for func in module.funcs:
        writer.function(func)
    writer.depth = 0
    writer.line("}")
    return "\n".join(writer.lines)


class _Writer:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self.names: dict[SSA, str] = {}
        self.taken: set[str] = set()
        self.count = 0

    def line(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    # ---- names

    def name(self, value: SSA, hint: str = "") -> str:
        """A fresh name: by the hint, made distinct, or the next number."""
        hint = hint or value.hint
        if not _NAME.match(hint):
            chosen = str(self.count)
            self.count += 1
        else:
            chosen, again = hint, 0
            while chosen in self.taken:
                again += 1
                chosen = f"{hint}_{again}"
        self.taken.add(chosen)
        self.names[value] = f"%{chosen}"
        return f"%{chosen}"

    def of(self, values: Sequence[SSA]) -> str:
        missing = [v for v in values if v not in self.names]
        if missing:
            raise InternalError(f"loops IR uses a value that is not defined: {missing[0].type} {missing[0].hint}")
        return ", ".join(self.names[v] for v in values)

    # ---- structure

    def function(self, func: Func) -> None:
        self.names, self.taken, self.count = {}, set(), 0
        args = ", ".join(f"{self.name(a)}: {a.type}" for a in func.args)
        attrs: dict[str, Any] = {}
        if func.workspaces:
            attrs["workspaces"] = [show_expression(w.elements) for w in func.workspaces]
        if not func.framed:
            attrs["plain"] = True
        self.line(f"func.func @{func.name}({args}){' attributes' + _attributes(attrs) if attrs else ''} {{")
        self.block(func.body)
        self.depth += 1
        self.line("func.return")
        self.depth -= 1
        self.line("}")

    def block(self, block: Block) -> None:
        self.depth += 1
        for op in block.ops:
            self.op(op)
        self.depth -= 1

    def op(self, op: LOp) -> None:
        if op.name in _STRUCTURES:
            _STRUCTURES[op.name](self, op)
            return
        text = self.text(op)
        hint = _constant_name(op) if op.name == "arith.constant" else ""
        results = ", ".join(self.name(r, hint) for r in op.results)
        self.line(f"{results} = {text}" if results else text)

    def for_(self, op: LOp) -> None:
        lo, hi, step, *inits = op.operands
        bounds = f"{self.of([lo])} to {self.of([hi])} step {self.of([step])}"
        starts = [self.of([x]) for x in inits]
        results = ", ".join(self.name(r) for r in op.results)
        iv, *carried = (self.name(a) for a in op.regions[0].args)
        head = f"scf.for {iv} = {bounds}"
        if inits:
            pairs = ", ".join(f"{c} = {s}" for c, s in zip(carried, starts, strict=True))
            head += f" iter_args({pairs}) -> ({_types(inits)})"
        self.line(f"{results} = {head} {{" if results else f"{head} {{")
        self.block(op.regions[0])
        self.line("}" + _attributes(op.attrs))

    def if_(self, op: LOp) -> None:
        head = f"scf.if {self.of(op.operands)}"
        if op.results:
            head = f"{', '.join(self.name(r) for r in op.results)} = {head} -> ({_types(op.results)})"
        self.line(f"{head} {{")
        self.block(op.regions[0])
        if op.regions[1].ops:
            self.line("} else {")
            self.block(op.regions[1])
        self.line("}")

    def parallel(self, op: LOp) -> None:
        """In generic form, with the bounds and the step that MLIR's has; ours counts from 0 by 1."""
        count, start, step = self.of(op.operands), self.name(SSA(INDEX), "from"), self.name(SSA(INDEX), "by")
        self.line(f"{start} = arith.constant 0 : index")
        self.line(f"{step} = arith.constant 1 : index")
        self.line(f'"scf.parallel"({start}, {count}, {step}) <{{operandSegmentSizes = array<i32: 1, 1, 1, 0>}}> ({{')
        self.line(f"^bb0({self.name(op.regions[0].args[0])}: index):")
        self.depth += 1
        for inner in op.regions[0].ops:
            if inner.name == "scf.yield":
                self.line("scf.reduce")
            else:
                self.op(inner)
        self.depth -= 1
        self.line("})" + _attributes(op.attrs) + " : (index, index, index) -> ()")

    def yield_(self, op: LOp) -> None:
        self.line(f"scf.yield {self.of(op.operands)} : {_types(op.operands)}" if op.operands else "scf.yield")

    # ---- ops of one line

    def text(self, op: LOp) -> str:
        name, operands = op.name, op.operands
        values = self.of(operands)
        if name == "arith.constant":
            return f"arith.constant {_literal(op.attrs['value'], op.result.type)}"
        if name in SAME:
            return f"{name} {values} : {op.result.type}"
        if name in COMPARE:
            return f"{name} {op.attrs['predicate']}, {values} : {operands[0].type}"
        if name in CONVERT:
            return f"{name} {values} : {operands[0].type} to {op.result.type}"
        if name == "arith.select":
            condition = f"{operands[0].type}, " if isinstance(operands[0].type, Vector) else ""
            return f"{name} {values} : {condition}{op.result.type}"
        if name == "func.call":
            return f"func.call @{op.attrs['callee']}({values}) : ({_types(operands)}) -> ()"
        if name in PLAIN or name == "vector.step":
            return self._plain(op, values)
        if name.startswith("memref."):
            *value, memref, index = operands
            head = f"{self.of(value)}, " if value else ""
            return f"{name} {head}{self.of([memref])}[{self.of([index])}] : {memref.type}"
        return self._vector(op)

    def _plain(self, op: LOp, values: str) -> str:
        if op.name == "vector.step":
            t = op.result.type
            return f'"{"vector" if element_of(t) == INDEX else "tdsl"}.step"() : () -> {t}'
        attrs = {k: v for k, v in op.attrs.items()}
        results = _types(op.results) if op.results else "()"
        written = f" {{{', '.join(f'{k} = {_attribute(v)}' for k, v in attrs.items())}}}" if attrs else ""
        return f'"{PLAIN[op.name]}"({values}){written} : ({_types(op.operands)}) -> {results}'

    def _vector(self, op: LOp) -> str:
        name, of = op.name, op.operands
        if name == "vector.reduction":
            return f"{name} <{op.attrs['kind']}>, {self.of(of)} : {of[0].type} into {op.result.type}"
        if name == "vector.extract":
            return f"{name} {self.of(of)}[{op.attrs['position']}] : {op.result.type} from {of[0].type}"
        if name == "vector.shuffle":
            return f"{name} {self.of(of)} [{', '.join(map(str, op.attrs['lanes']))}] : {_types(of)}"
        if name == "vector.load":
            return f"{name} {self._place(of[0], of[1])} : {of[0].type}, {op.result.type}"
        if name == "vector.store":
            return f"{name} {self.of(of[:1])}, {self._place(of[1], of[2])} : {of[1].type}, {of[0].type}"
        if name in ("vector.maskedload", "vector.maskedstore"):
            into = f" into {op.result.type}" if op.results else ""
            types = _types([of[0], *of[2:]])
            return f"{name} {self._place(of[0], of[1])}, {self.of(of[2:])} : {types}{into}"
        raise InternalError(f"no text for the op {name}")

    def _place(self, memref: SSA, index: SSA) -> str:
        return f"{self.of([memref])}[{self.of([index])}]"


_STRUCTURES = {
    "scf.for": _Writer.for_,
    "scf.if": _Writer.if_,
    "scf.parallel": _Writer.parallel,
    "scf.yield": _Writer.yield_,
}


def _types(values: Sequence[SSA]) -> str:
    return ", ".join(str(v.type) for v in values)


def _attributes(attrs: dict[str, Any]) -> str:
    """Marks of our own, as discardable attributes."""
    if not attrs:
        return ""
    written = (f"tdsl.{k}" if v is True else f"tdsl.{k} = {_attribute(v)}" for k, v in attrs.items())
    return f" {{{', '.join(written)}}}"


def _attribute(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value} : i64"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_attribute, value))}]"
    raise InternalError(f"an attribute of loops IR is a {type(value).__name__}")


def _constant_name(op: LOp) -> str:
    """As MLIR names them: c0, c1_i64, true, cst."""
    t, value = op.result.type, op.attrs["value"]
    if not isinstance(t, Scalar) or t.is_float:
        return "cst"
    if t == I1:
        return "true" if value else "false"
    sign = f"c{value}" if value >= 0 else f"cm{-value}"
    return sign if t == INDEX else f"{sign}_{t}"


def _literal(value: bool | int | float, t: LType) -> str:
    element = element_of(t)
    if not element.is_float:
        text = ("true" if value else "false") if element == I1 else str(int(value))
    else:
        text = _float(float(value), element)
    if isinstance(t, Vector):
        return f"dense<{text}> : {t}"
    return text if t == I1 else f"{text} : {t}"


def _float(value: float, t: Scalar) -> str:
    if not isfinite(value):
        bits = struct.pack(">f" if t == F32 else ">d", value)
        return f"0x{bits.hex().upper()}"
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return text if "." in mantissa else f"{mantissa}.0{e}{exponent}"

"""Reading the MLIR text that `loops_text.show` writes."""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable
from typing import Any

from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Expr, call, index_const, of_size
from tdsl.compiler.loops import F32, I1, INDEX, SSA, Block, Func, LOp, LType, MemRef, Module, Scalar, Vector, Workspace
from tdsl.compiler.loops_syntax import COMPARE, CONVERT, PLAIN_BACK, SAME, element_of
from tdsl.compiler.loops_tokens import Tokens


def parse(text: str, file: str = "<loops>") -> Module:
    """The module written so; raises IRError on the line that is wrong.

    >>> module = parse("module {\\n  func.func @nothing(%n: index) {\\n    func.return\\n  }\\n}")
    >>> module.funcs[0].name
    'nothing'
    """
    return _Reader(text, file).module()


class _Reader(Tokens):
    def __init__(self, text: str, file: str) -> None:
        super().__init__(text, file)
        self.values: dict[str, SSA] = {}

    # ---- values

    def use(self) -> SSA:
        name = self.next("value")
        if name not in self.values:
            self.k -= 1
            raise self.error(f"{name} is not defined here")
        return self.values[name]

    def uses(self) -> list[SSA]:
        found = [self.use()]
        while self.take(","):
            found.append(self.use())
        return found

    def define(self, name: str, t: LType, hint: bool = True, at: int | None = None) -> SSA:
        if name in self.values:
            raise self.error(f"{name} is defined twice", at)
        bare = name[1:]
        made = self.values[name] = SSA(t, bare if hint and not bare.isdigit() else "")
        return made

    # ---- structure

    def module(self) -> Module:
        self.expect("module")
        self.expect("{")
        externals: dict[str, tuple[LType, ...]] = {}
        funcs = []
        while not self.take("}"):
            self.expect("func.func")
            if self.take("private"):
                name = self.next("symbol")[1:]
                externals[name] = tuple(self.types())
            else:
                funcs.append(self.function())
        if self.tokens[self.k].kind != "end":
            raise self.error("text after the module")
        return Module(funcs, externals)

    def function(self) -> Func:
        self.values = {}
        name = self.next("symbol")[1:]
        self.expect("(")
        args = self.several(lambda: self.define(*self.argument()), ")")
        attrs = self.attributes() if self.take("attributes") else {}
        body = self.region([])
        if not body.ops or body.ops[-1].name != "func.return":
            raise self.error("a function ends in func.return")
        body.ops.pop()
        memrefs = [a for a in args[:-1] if isinstance(a.type, MemRef)]
        counts = attrs.get("workspaces", [])
        spaces = memrefs[len(memrefs) - len(counts) :]
        workspaces = tuple(Workspace(element_of(m.type), self.count(n)) for m, n in zip(spaces, counts, strict=True))
        return Func(name, args, body, workspaces, not attrs.get("plain", False))

    def argument(self) -> tuple[str, LType]:
        name = self.next("value")
        self.expect(":")
        return name, self.type()

    def count(self, text: str) -> Expr:
        """A number of elements: an expression of sizes."""
        try:
            return _expression(ast.parse(text, mode="eval").body)
        except (SyntaxError, KeyError):
            raise self.error(f"no number of elements: {text}") from None

    def region(self, args: list[SSA]) -> Block:
        """`{ op* }`; what it defines is not seen after it."""
        self.expect("{")
        return self.ops(args)

    def ops(self, args: list[SSA]) -> Block:
        """`op* }`."""
        outer = dict(self.values)
        block = Block(args)
        while not self.take("}"):
            self.op(block)
        self.values = outer
        return block

    def op(self, block: Block) -> None:
        results: list[str] = []
        while self.tokens[self.k].kind == "value":
            results.append(self.next("value"))
            if not self.take(","):
                self.expect("=")
                break
        token = self.tokens[self.k]
        if token.kind not in ("word", "string"):
            raise self.error(f"expected an op, not {token.text!r}")
        self.k += 1
        reader = _STRUCTURES.get(token.text)
        if reader is not None:
            made, types = reader(self, block)
        elif token.kind == "string":
            made, types = self.plain(token.text[1:-1])
        else:
            made, types = self.simple(token.text)
        if len(types) != len(results):
            raise self.error(f"{made.name} has {len(types)} results", token.at)
        hint = made.name != "arith.constant"
        made.results.extend(self.define(n, t, hint, token.at) for n, t in zip(results, types, strict=True))
        block.ops.append(made)

    def arguments(self, named: list[tuple[str, LType]], region: Callable[[list[SSA]], Block]) -> Block:
        """A region with arguments, whose names end with it."""
        outer = dict(self.values)
        block = region([self.define(n, t) for n, t in named])
        self.values = outer
        return block

    def for_(self, block: Block) -> tuple[LOp, list[LType]]:
        iv = self.next("value")
        self.expect("=")
        operands = [self.use()]
        self.expect("to")
        operands.append(self.use())
        self.expect("step")
        operands.append(self.use())
        carried: list[str] = []
        types: list[LType] = []
        if self.take("iter_args"):
            self.expect("(")
            for name, init in self.several(self.assignment, ")"):
                carried.append(name)
                operands.append(init)
            self.expect("->")
            types = self.types()
        if len(types) != len(carried):
            raise self.error(f"{len(carried)} values are carried, {len(types)} types given")
        body = self.arguments([(iv, INDEX), *zip(carried, types, strict=True)], self.region)
        return LOp("scf.for", operands, [], self.attributes() if self.peek("{") else {}, [body]), types

    def assignment(self) -> tuple[str, SSA]:
        name = self.next("value")
        self.expect("=")
        return name, self.use()

    def if_(self, block: Block) -> tuple[LOp, list[LType]]:
        condition = self.use()
        types = self.types() if self.take("->") else []
        then = self.region([])
        otherwise = self.region([]) if self.take("else") else Block()
        return LOp("scf.if", [condition], [], {}, [then, otherwise]), types

    def parallel(self, block: Block) -> tuple[LOp, list[LType]]:
        """In generic form: (from, n, by) <{segments}> ({ ^bb0(%p: index): op* }) {marks} : types."""
        self.expect("(")
        lo, n, step = self.uses()
        for mark in (")", "<", "{", "operandSegmentSizes", "=", "array", "<", "i32", ":"):
            self.expect(mark)
        if self.several(lambda: self.next("number"), ">") != ["1", "1", "1", "0"]:
            raise self.error("scf.parallel has one lower bound, one upper bound and one step")
        for bound, value in ((step, 1), (lo, 0)):
            made = block.ops.pop() if block.ops else None
            if made is None or made.results != [bound] or made.attrs.get("value") != value:
                raise self.error("scf.parallel counts from 0 by 1: its two constants stand right before it")
        for mark in ("}", ">", "(", "{", "^", "bb0", "("):
            self.expect(mark)
        named = self.argument()
        for mark in (")", ":"):
            self.expect(mark)
        body = self.arguments([named], self.ops)
        self.expect(")")
        attrs = self.attributes() if self.peek("{") else {}
        self.signature([lo, n, step])
        return LOp("scf.parallel", [n], [], attrs, [body]), []

    def yield_(self, block: Block) -> tuple[LOp, list[LType]]:
        operands = self.uses() if self.tokens[self.k].kind == "value" else []
        if operands:
            self.expect(":")
            given = [self.type()]
            while self.take(","):
                given.append(self.type())
            if given != [x.type for x in operands]:
                raise self.error("the types of scf.yield are not those of its operands")
        return LOp("scf.yield", operands), []

    def reduce(self, block: Block) -> tuple[LOp, list[LType]]:
        return LOp("scf.yield", []), []

    def return_(self, block: Block) -> tuple[LOp, list[LType]]:
        return LOp("func.return", []), []

    # ---- ops of one line

    def simple(self, name: str) -> tuple[LOp, list[LType]]:
        if name == "arith.constant":
            return self.constant()
        if name == "func.call":
            callee = self.next("symbol")[1:]
            self.expect("(")
            operands = self.several(self.use, ")")
            self.signature(operands)
            return LOp(name, operands, [], {"callee": callee}), []
        if name in COMPARE:
            predicate = self.next("word")
            self.expect(",")
            operands = self.uses()
            t = self.typed()
            result: LType = Vector(t.lanes, I1) if isinstance(t, Vector) else I1
            return LOp(name, operands, [], {"predicate": predicate}), [result]
        if name.startswith("memref."):
            return self.memory(name)
        if name.startswith("vector.") and name not in CONVERT:
            return self.vector(name)
        if name not in SAME and name not in CONVERT and name != "arith.select":
            self.k -= 1
            raise self.error(f"no op of loops IR: {name}")
        operands = self.uses()
        t = self.typed()
        if name in CONVERT:
            self.expect("to")
            t = self.type()
        elif name == "arith.select" and self.take(","):
            t = self.type()
        return LOp(name, operands), [t]

    def typed(self) -> LType:
        self.expect(":")
        return self.type()

    def constant(self) -> tuple[LOp, list[LType]]:
        if self.take("dense"):
            self.expect("<")
            token = self.literal()
            self.expect(">")
        else:
            token = self.literal()
        t = I1 if token in ("true", "false") and not self.peek(":") else self.typed()
        return LOp("arith.constant", [], [], {"value": _number(token, element_of(t))}), [t]

    def literal(self) -> str:
        token = self.tokens[self.k]
        if token.kind != "number" and token.text not in ("true", "false"):
            raise self.error(f"expected a number, not {token.text!r}")
        self.k += 1
        return token.text

    def place(self) -> list[SSA]:
        memref = self.use()
        self.expect("[")
        index = self.use()
        self.expect("]")
        return [memref, index]

    def memory(self, name: str) -> tuple[LOp, list[LType]]:
        operands: list[SSA] = []
        if name == "memref.store":
            operands.append(self.use())
            self.expect(",")
        operands += self.place()
        t = self.typed()
        return LOp(name, operands), [] if name == "memref.store" else [element_of(t)]

    def vector(self, name: str) -> tuple[LOp, list[LType]]:
        if name == "vector.reduction":
            self.expect("<")
            kind = self.next("word")
            self.expect(">")
            self.expect(",")
            operand = self.use()
            self.typed()
            self.expect("into")
            return LOp(name, [operand], [], {"kind": kind}), [self.type()]
        if name == "vector.extract":
            operand = self.use()
            self.expect("[")
            position = int(self.next("number"))
            self.expect("]")
            t = self.typed()
            self.expect("from")
            self.type()
            return LOp(name, [operand], [], {"position": position}), [t]
        if name == "vector.shuffle":
            operands = self.uses()
            self.expect("[")
            lanes = self.several(lambda: int(self.next("number")), "]")
            t = self.typed()
            self.expect(",")
            self.type()
            return LOp(name, operands, [], {"lanes": tuple(lanes)}), [Vector(len(lanes), element_of(t))]
        return self.vector_memory(name)

    def vector_memory(self, name: str) -> tuple[LOp, list[LType]]:
        operands: list[SSA] = []
        if name == "vector.store":
            operands.append(self.use())
            self.expect(",")
        operands += self.place()
        while self.take(","):
            operands.append(self.use())
        self.typed()
        t: LType = INDEX
        while self.take(","):
            t = self.type()
        if name == "vector.maskedload":
            self.expect("into")
            t = self.type()
        return LOp(name, operands), [t] if name in ("vector.load", "vector.maskedload") else []

    def plain(self, text: str) -> tuple[LOp, list[LType]]:
        """MLIR's generic form."""
        name = "vector.step" if text in ("vector.step", "tdsl.step") else PLAIN_BACK.get(text)
        if name is None:
            self.k -= 1
            raise self.error(f"no op of loops IR: {text}")
        self.expect("(")
        operands = self.several(self.use, ")")
        attrs = self.attributes() if self.peek("{") else {}
        return LOp(name, operands, [], attrs), self.signature(operands)

    def signature(self, operands: list[SSA]) -> list[LType]:
        self.expect(":")
        if self.types() != [x.type for x in operands]:
            raise self.error("the types given are not those of the operands")
        self.expect("->")
        return self.types() if self.peek("(") else [self.type()]

    # ---- attributes

    def attributes(self) -> dict[str, Any]:
        self.expect("{")
        return dict(self.several(self.attribute, "}"))

    def attribute(self) -> tuple[str, Any]:
        name = self.next("word").removeprefix("tdsl.")
        return name, self.attribute_value() if self.take("=") else True

    def attribute_value(self) -> Any:
        if self.take("["):
            return self.several(self.attribute_value, "]")
        token = self.tokens[self.k]
        if token.kind == "string":
            return self.next("string")[1:-1]
        text = self.literal()
        if text in ("true", "false"):
            return text == "true"
        self.typed()
        return int(text)


_STRUCTURES: dict[str, Callable[[_Reader, Block], tuple[LOp, list[LType]]]] = {
    "scf.for": _Reader.for_,
    "scf.if": _Reader.if_,
    '"scf.parallel"': _Reader.parallel,
    "scf.yield": _Reader.yield_,
    "scf.reduce": _Reader.reduce,
    "func.return": _Reader.return_,
}


def _number(text: str, t: Scalar) -> bool | int | float:
    if text in ("true", "false"):
        return text == "true"
    if not t.is_float:
        return int(text, 0)
    if not text.startswith("0x"):
        return float(text)
    found: float = struct.unpack(">f" if t == F32 else ">d", bytes.fromhex(text[2:]))[0]
    return found


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "floordiv", ast.Mod: "mod"
}  # fmt: skip


def _expression(node: ast.expr) -> Expr:
    """An expression of sizes is as deep as it is written, so this recursion is shallow."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return index_const(node.value)
    if isinstance(node, ast.Name):
        return of_size(Sym(node.id))
    if isinstance(node, ast.BinOp):
        return call(_OPERATORS[type(node.op)], _expression(node.left), _expression(node.right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return call(node.func.id, *map(_expression, node.args))
    raise KeyError(type(node))

"""Copying loops IR while replacing some of its ops: what every loop pass does.

Regions nest as deep as a kernel has axes, so they are walked by plain recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tdsl.compiler.loops import SSA, Block, Func, LOp, Module
from tdsl.compiler.loops_builder import Builder

# rule(rewriter, builder, op with its operands replaced) -> what its results become, or None: copy it
Rule = Callable[["Rewriter", Builder, LOp], "Sequence[SSA] | None"]


class Rewriter:
    """One function's copy in the making. `replaced` maps an old value to the new one."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.replaced: dict[SSA, SSA] = {}
        self.constants: dict[SSA, int] = {}  # new values that are known integers

    def of(self, value: SSA) -> SSA:
        return self.replaced.get(value, value)

    def block(self, old: Block, builder: Builder) -> list[SSA]:
        """Copy the ops into the builder's block; gives the terminator's operands, which it does not copy."""
        for op in old.ops:
            operands = [self.of(x) for x in op.operands]
            if op.name == "scf.yield":
                return operands
            seen = LOp(op.name, operands, op.results, op.attrs, op.regions)
            results = self.rule(self, builder, seen)
            if results is None:
                results = self.copy(builder, seen)
            self.replaced.update(zip(op.results, results, strict=True))
        return []

    def copy(self, builder: Builder, op: LOp) -> list[SSA]:
        """The op with results and regions of its own."""
        regions = [self.region(r, builder) for r in op.regions]
        made = LOp(op.name, op.operands, [SSA(r.type, r.hint) for r in op.results], dict(op.attrs), regions)
        builder.block.ops.append(made)
        if op.name == "arith.constant" and isinstance(op.attrs["value"], int):
            self.constants[made.result] = int(op.attrs["value"])
        return made.results

    def region(self, old: Block, builder: Builder) -> Block:
        new = Block([SSA(a.type, a.hint) for a in old.args])
        self.replaced.update(zip(old.args, new.args, strict=True))
        with builder.inside(new):
            ends = bool(old.ops) and old.ops[-1].name == "scf.yield"
            out = self.block(old, builder)
            if ends:
                builder.op("scf.yield", out)
        return new


def rewrite_module(module: Module, rule: Rule) -> Module:
    return Module([rewrite_func(f, rule) for f in module.funcs], dict(module.externals))


def rewrite_func(func: Func, rule: Rule) -> Func:
    rewriter = Rewriter(rule)
    body = Block()
    rewriter.block(func.body, Builder(body))
    return Func(func.name, func.args, body, func.workspaces, func.framed)

"""Compute nothing twice and nothing inside a loop that the loop does not change."""

from __future__ import annotations

from tdsl.compiler.loops import SSA, Block, Func, LOp, Module
from tdsl.compiler.target import Target

_PURE = ("arith.", "math.", "vector.broadcast", "vector.step", "vector.extract", "vector.shuffle", "memref.subview")


def hoist(module: Module, target: Target) -> Module:
    """Pure ops move out of loops as far as their operands allow, and equal ones are one."""
    return Module([_hoist_func(f) for f in module.funcs], dict(module.externals))


class _Level:
    """A block in the making: what was defined in it, and its pure ops by what they compute."""

    __slots__ = ("block", "defined", "known", "barrier", "branch")

    def __init__(self, block: Block, barrier: bool, branch: bool = False) -> None:
        self.block, self.barrier, self.branch = block, barrier, branch
        self.defined: set[SSA] = set(block.args)
        self.known: dict[tuple[object, ...], SSA] = {}


def _hoist_func(func: Func) -> Func:
    replaced: dict[SSA, SSA] = {}
    outer = Block()
    top = _Level(outer, True)
    top.defined.update(func.args)
    _walk(func.body, [top], replaced)
    return Func(func.name, func.args, outer, func.workspaces, func.framed)


def _walk(old: Block, levels: list[_Level], replaced: dict[SSA, SSA]) -> None:
    for op in old.ops:
        op = LOp(op.name, [replaced.get(x, x) for x in op.operands], op.results, op.attrs, op.regions)
        if op.name.startswith(_PURE) and op.name not in ("arith.divsi", "arith.remsi"):
            _place(op, levels, replaced)
            continue
        if op.regions:
            regions = []
            for region in op.regions:
                new = Block([SSA(a.type, a.hint) for a in region.args])
                replaced.update(zip(region.args, new.args, strict=True))
                # out of a parallel region a vector would have to travel through memory
                level = _Level(new, op.name == "scf.parallel", op.name == "scf.if")
                _walk(region, [*levels, level], replaced)
                regions.append(new)
            op = LOp(op.name, op.operands, op.results, op.attrs, regions)
        made = LOp(op.name, op.operands, [SSA(r.type, r.hint) for r in op.results], dict(op.attrs), op.regions)
        replaced.update(zip(op.results, made.results, strict=True))
        levels[-1].block.ops.append(made)
        levels[-1].defined.update(made.results)


def _place(op: LOp, levels: list[_Level], replaced: dict[SSA, SSA]) -> None:
    """Out of every loop that does not change its operands, not past a parallel region for vectors.

    Leaving a branch alone gains nothing, and the branch may be one that is hardly ever taken.
    """
    key = (op.name, tuple(op.operands), op.results[0].type, *sorted((k, repr(v)) for k, v in op.attrs.items()))
    depth = len(levels) - 1
    for level in reversed(levels):
        found = level.known.get(key)
        if found is not None:
            replaced[op.result] = found
            return
    place = depth
    while depth > 0 and not any(x in levels[depth].defined for x in op.operands):
        if levels[depth].barrier and op.operands:
            break
        depth -= 1
        if not levels[depth + 1].branch or not op.operands:
            place = depth
    level = levels[place]
    made = LOp(op.name, op.operands, [SSA(op.result.type, op.result.hint)], dict(op.attrs))
    replaced[op.result] = made.result
    level.known[key] = made.result
    level.defined.add(made.result)
    level.block.ops.append(made)

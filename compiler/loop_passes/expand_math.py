"""Replace transcendental functions by arithmetic: the same sequence for a scalar and for every lane of a vector.

The sequences are in `vector_maths.py`, their accuracy in docs/vector-maths.md.
"""

from __future__ import annotations

from tdsl.compiler.loop_passes.vector_maths import EXPANSIONS
from tdsl.compiler.loops import SSA, Block, Func, LOp, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.target import Target


def expand_math(module: Module, target: Target) -> Module:
    """Every op of EXPANSIONS becomes arithmetic; nothing else changes."""
    return Module([_expand_func(f) for f in module.funcs], dict(module.externals))


def _expand_func(func: Func) -> Func:
    replaced: dict[SSA, SSA] = {}
    body = Block(list(func.body.args))
    _copy_block(func.body, body, replaced)
    return Func(func.name, func.args, body, func.workspaces, func.framed)


def _copy_block(old: Block, new: Block, replaced: dict[SSA, SSA]) -> None:
    """Depth first, so that what a result is replaced by is known before its uses are copied."""
    frames = [(new, iter(old.ops))]
    while frames:
        into, ops = frames[-1]
        op = next(ops, None)
        if op is None:
            frames.pop()
            continue
        operands = [replaced.get(x, x) for x in op.operands]
        rule = EXPANSIONS.get(op.name)
        if rule is not None:
            builder = Builder(into)
            replaced[op.result] = rule(builder, *operands)
            continue
        regions = [Block(list(r.args)) for r in op.regions]
        into.ops.append(LOp(op.name, operands, op.results, op.attrs, regions))
        frames.extend((n, iter(o.ops)) for n, o in reversed(list(zip(regions, op.regions, strict=True))))

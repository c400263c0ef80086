"""Replace transcendental functions by arithmetic: the same sequence for a scalar and for every lane of a vector.

The sequences are in `vector_maths.py`, their accuracy in docs/vector-maths.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from tdsl.compiler.loop_passes.rewriter import Rewriter, rewrite_module
from tdsl.compiler.loop_passes.vector_maths import EXPANSIONS
from tdsl.compiler.loops import SSA, LOp, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.target import Target


def expand_math(module: Module, target: Target) -> Module:
    """Every op of EXPANSIONS becomes arithmetic; nothing else changes."""
    return rewrite_module(module, _expand)


def _expand(rewriter: Rewriter, b: Builder, op: LOp) -> Sequence[SSA] | None:
    rule = EXPANSIONS.get(op.name)
    return None if rule is None else [rule(b, *op.operands)]

"""Replace transcendental functions by arithmetic: the same sequence for a scalar and for every lane of a vector.

The sequences are in `compiler/maths/`, their accuracy in docs/vector-maths.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tdsl.compiler.loop_passes.rewriter import Rewriter, rewrite_module
from tdsl.compiler.loops import SSA, LOp, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.maths.circular import atan2, cos, sin, tan
from tdsl.compiler.maths.exponential import erf, exp, expm1, log1p, log_, rsqrt, sigmoid, tanh
from tdsl.compiler.maths.lane import Lane
from tdsl.compiler.maths.powers import ipowi, powf
from tdsl.compiler.maths.random import philox
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.target import Target

EXPANSIONS: dict[str, Callable[..., Lane]] = {
    **{f"tdsl.{name}": special.function for name, special in SPECIAL.items()},
    "math.exp": exp,
    "math.expm1": expm1,
    "math.log": log_,
    "math.log1p": log1p,
    "math.sin": sin,
    "math.cos": cos,
    "math.tan": tan,
    "math.tanh": tanh,
    "math.sigmoid": sigmoid,
    "math.erf": erf,
    "math.rsqrt": rsqrt,
    "math.powf": powf,
    "math.atan2": atan2,
    "math.ipowi": ipowi,
    "tdsl.philox": philox,
}


def expand_math(module: Module, target: Target) -> Module:
    """Every op of EXPANSIONS becomes arithmetic; nothing else changes."""

    def expand(rewriter: Rewriter, b: Builder, op: LOp) -> Sequence[SSA] | None:
        rule = EXPANSIONS.get(op.name)
        if rule is None:
            return None
        return [rule(*(Lane(b, x, target.has_fma) for x in op.operands)).ssa]

    return rewrite_module(module, expand)

"""Kernels to loops."""

from tdsl.compiler.kernel import Kernel
from tdsl.compiler.loops import Module
from tdsl.compiler.lower.collapse import collapse
from tdsl.compiler.lower.contraction import match, match_indexed
from tdsl.compiler.lower.indexed import lower_indexed
from tdsl.compiler.lower.nest import lower_nest
from tdsl.compiler.lower.phases import split_phases
from tdsl.compiler.lower.product import lower_contraction
from tdsl.compiler.lower.unravel import unravelled
from tdsl.compiler.target import Target


def lower_kernel(kernel: Kernel, target: Target) -> Module:
    """Scalar loops, marked where they may be widened or shared out; sums of products as tiled products."""
    kernel = collapse(kernel)
    tiled = _tiled(kernel, target)
    if tiled is None and (apart := unravelled(kernel)) is not None:
        tiled = _tiled(collapse(apart), target)
    return lower_nest(kernel, target) if tiled is None else tiled


def _tiled(kernel: Kernel, target: Target) -> Module | None:
    """The kernel as a product of matrices, of which it may read its operands through any index map."""
    contraction = match(kernel)
    if contraction is not None:
        return lower_contraction(kernel, contraction, target)
    split = split_phases(kernel)
    whole, phases = split if split is not None else (kernel, frozenset[str]())
    indexed = match_indexed(whole, phases)
    return None if indexed is None else lower_indexed(whole, indexed, target)


__all__ = ["lower_kernel"]

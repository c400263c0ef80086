"""Which kernels are sums of products worth tiling, and in which form: read off the shapes and the layouts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

from tdsl.compiler.graph import Size
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    call,
    free_axes,
    walk,
)
from tdsl.compiler.lower.access import extent
from tdsl.compiler.lower.microkernel import dot_tile, outer_tile
from tdsl.compiler.target import Target

KC = 512  # elements of K packed at a time: a panel of B stays in the first-level cache


@dataclass(frozen=True, slots=True)
class Operand:
    """A factor of the product: a read, and the axis at each of its dimensions (None: position 0)."""

    read: Read
    axes: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Contraction:
    """out[batch, m, n] := epilogue(sum[k] a[batch, m, k] * b[batch, k, n]); n is the output's last axis."""

    definition: Definition
    reduce: Reduce
    a: Operand
    b: Operand
    batch: tuple[Binder, ...]
    m: Binder
    n: Binder
    k: Binder


def match(kernel: Kernel) -> Contraction | None:
    """The kernel as a contraction worth tiling; None: the general nest takes it."""
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Definition):
        return None
    d = kernel.body[0]
    reduces = [e for e in walk(d.expr) if isinstance(e, Reduce)]
    if len(reduces) != 1 or not d.dtype.is_float or d.binders == ():
        return None
    (e,) = reduces
    body = e.body
    if e.op != "sum" or e.guard is not None or len(e.binders) != 1 or not e.dtype.is_float or e.dtype.is_half:
        return None
    if not (isinstance(body, Call) and body.fn == "mul" and all(isinstance(x, Read) for x in body.args)):
        return None
    operands = [_operand(x) for x in body.args if isinstance(x, Read)]
    if any(o is None for o in operands):
        return None
    return _classified(d, e, [o for o in operands if o is not None])


def _operand(read: Read) -> Operand | None:
    if read.fill is not None or read.checked or not read.index:
        return None
    axes: list[str | None] = []
    for ix in read.index:
        if isinstance(ix, Axis) and ix.name not in axes:
            axes.append(ix.name)
        elif isinstance(ix, Const) and ix.value == 0:
            axes.append(None)
        else:
            return None
    return Operand(read, tuple(axes))


def _classified(d: Definition, e: Reduce, operands: list[Operand]) -> Contraction | None:
    k, last = e.binders[0], d.binders[-1]
    first, second = operands
    if k.name not in first.axes or k.name not in second.axes:
        return None
    if last.name in first.axes and last.name in second.axes:
        return None
    if last.name in first.axes:
        first, second = second, first
    if last.name not in second.axes:
        return None
    groups: dict[str, list[Binder]] = {"m": [], "batch": []}
    for b in d.binders[:-1]:
        in_a, in_b = b.name in first.axes, b.name in second.axes
        if in_b:
            groups["batch"].append(b)
        elif in_a:
            groups["m"].append(b)
        else:
            return None
    if len(groups["m"]) != 1 or k.lo != 0:
        return None
    (m,) = groups["m"]
    if extent(m) < 4 or extent(last) < 8 or extent(k) < 8:
        return None
    if d.dtype is not e.dtype and not _in_one_block(k):  # sums of earlier blocks wait in the output
        return None
    return Contraction(d, e, first, second, tuple(groups["batch"]), m, last, k)


def _in_one_block(k: Binder) -> bool:
    return isinstance(k.hi, int) and k.hi <= KC


# ---------------------------------------------------------------------------------- through any index map

SMALLEST = 1 << 13  # multiply-adds that are worth panels
PANEL = 32  # columns, about


@dataclass(frozen=True, slots=True)
class Indexed:
    """out[batch, outer, m, n] := epilogue(sum[k] a(batch, k, m) * b(batch, outer, k, n)): a and b are any expressions.

    Each of batch, outer, m, n, k is a list of axes, taken row-major as one; n ends with the output's last axis.
    A convolution is one: its filters are m, its images outer, and its pixels n, read through the kernel's index map.
    """

    definition: Definition
    reduce: Reduce
    a: Expr
    b: Expr
    batch: tuple[Binder, ...]
    outer: tuple[Binder, ...]
    m: tuple[Binder, ...]
    n: tuple[Binder, ...]


def match_indexed(kernel: Kernel, phases: Collection[str] = ()) -> Indexed | None:
    """The kernel as a sum of products whose operands are packed through their index maps; None: it is not one.

    phases: short axes that vectors do not run along.
    """
    if len(kernel.body) != 1 or not isinstance(kernel.body[0], Definition):
        return None
    d = kernel.body[0]
    reduces = [e for e in walk(d.expr) if isinstance(e, Reduce)]
    if len(reduces) != 1 or not d.dtype.is_float or d.binders == ():
        return None
    (e,) = reduces
    body = e.body
    if e.op != "sum" or not e.dtype.is_float or e.dtype.is_half or not isinstance(body, Call) or body.fn != "mul":
        return None
    if any(b.lo != 0 for b in (*e.binders, *d.binders)) or any(isinstance(x, Read) and x.checked for x in walk(d.expr)):
        return None
    if free_axes(e) - {b.name for b in d.binders} or _may_fault(e):
        return None
    return _indexed(d, e, body.args[0], body.args[1], phases)


def _may_fault(e: Expr) -> bool:
    """Whether evaluating it where it is not needed, as in a branch not taken, could report something."""
    return any(isinstance(x, Call) and x.fn in ("floordiv", "mod", "fmod") and not x.dtype.is_float
               and not (isinstance(x.args[1], Const) and x.args[1].value > 0) for x in walk(e))  # fmt: skip


def _indexed(d: Definition, e: Reduce, first: Expr, second: Expr, phases: Collection[str]) -> Indexed | None:
    last = next(b.name for b in reversed(d.binders) if b.name not in phases)
    axes = [free_axes(first), free_axes(second)]
    if last in axes[0]:
        first, second, axes = second, first, axes[::-1]
    if last in axes[0] or last not in axes[1]:
        return None
    if e.guard is not None:
        guarded = _guarded(e.guard, first, second, axes)
        if guarded is None:
            return None
        first, second = guarded
    used = axes[0] | axes[1]
    if any(b.name not in used for b in d.binders) or not any(axes[0] & axes[1] & {b.name} for b in e.binders):
        return None
    batch = tuple(b for b in d.binders if b.name in axes[0] and b.name in axes[1])
    m = tuple(b for b in d.binders if b.name in axes[0] and b.name not in axes[1])
    right = [b for b in d.binders if b.name in axes[1] and b.name not in axes[0]]
    n = _along(d, right, phases)
    outer = tuple(b for b in right if b not in n)
    if -(-extents(n) // PANEL) * PANEL > 1.1 * extents(n):  # a last panel that is half empty, for each of outer
        n, outer = (*outer, *n), ()
    if extents(m) < 4 or extents(n) < 8 or extents(e.binders) < 8:
        return None
    if extents(m) * extents(n) * extents(e.binders) < SMALLEST:
        return None
    if d.dtype is not e.dtype and extents(e.binders) > WHOLE_K:
        return None
    return Indexed(d, e, first, second, batch, outer, m, n)


def _along(d: Definition, right: Sequence[Binder], phases: Collection[str]) -> tuple[Binder, ...]:
    """The axes of the right operand that the output ends with."""
    found: list[Binder] = []
    for b in reversed(d.binders):
        if b in right:
            found.append(b)
        elif b.name not in phases:
            break
    return tuple(reversed(found))


def _guarded(guard: Expr, first: Expr, second: Expr, axes: list[set[str]]) -> tuple[Expr, Expr] | None:
    """The operands where the guard's points alone count: the other points are 0 in the one that has all its axes."""
    named = free_axes(guard)
    for at, operand in ((1, second), (0, first)):
        if named <= axes[at]:
            chosen = call("where", guard, operand, Const(0.0, operand.dtype))
            return (first, chosen) if at else (chosen, second)
    return None


def extents(binders: Sequence[Binder]) -> int:
    return prod(extent(b) for b in binders)


WHOLE_K = 2048  # elements of K up to which panels hold all of them


# ------------------------------------------------------------------------------------------------ the form

SMALL = 64  # rows or columns up to which packing is not paid back where both operands are read along K
DIRECT_TILES = 8  # tiles along the other axis up to which an operand is read where it lies
DIRECT_K = 64  # elements of K up to which rows of A that lie apart stay in the first-level cache


@dataclass(frozen=True, slots=True)
class Form:
    """How a contraction is computed.

    dot      vectors run along K, and both operands are read along it; else along N, with A's elements broadcast.
    mr, nr   rows and columns of a tile of sums.
    pack_a, pack_b  the operand is copied into panels first; else it is read where it lies, but for the edges.
    whole_k  all of K at once; else in blocks of KC, whose sums wait in the output.
    """

    dot: bool
    mr: int
    nr: int
    pack_a: bool
    pack_b: bool
    whole_k: bool


def choose(c: Contraction, shapes: dict[str, tuple[Size, ...]], target: Target) -> Form:
    """By the layouts and the sizes: packing costs as much as some multiplications with every element."""
    m, n, k = extent(c.m), extent(c.n), extent(c.k)
    lanes = target.lanes(c.reduce.dtype.bits)
    a_along_k = _adjacent(c.a, c.k, shapes)
    if a_along_k and _adjacent(c.b, c.k, shapes) and min(m, n) <= SMALL and k >= 4 * lanes:
        mr, nr = dot_tile(c.m.hi, c.n.hi, target)
        return Form(True, mr, nr, False, False, True)
    if a_along_k and n <= lanes and m >= 2 * n and k >= 4 * lanes:
        mr, nr = dot_tile(c.m.hi, c.n.hi, target)
        return Form(True, mr, nr, False, True, True)
    mr, nr = outer_tile(c.reduce.dtype, c.m.hi, c.n.hi, target)
    pack_b = not _adjacent(c.b, c.n, shapes) or -(-m // mr) > DIRECT_TILES
    near = -(-n // nr) <= DIRECT_TILES or k <= DIRECT_K
    pack_a = not _adjacent(c.a, c.m, shapes) or not near
    small = extent(c.m) * k <= target.l2_bytes // (2 * c.reduce.dtype.itemsize)
    whole = _in_one_block(c.k) or not pack_b and (not pack_a or small)
    return Form(False, mr, nr, pack_a, pack_b, whole)


def _adjacent(o: Operand, axis: Binder, shapes: dict[str, tuple[Size, ...]]) -> bool:
    """Whether neighbours along the axis are neighbours in memory."""
    if axis.name not in o.axes:
        return False
    return all(n == 1 for n in shapes[o.read.tensor][o.axes.index(axis.name) + 1 :])


__all__ = ["WHOLE_K", "Contraction", "Form", "Indexed", "Operand", "choose", "extents", "match", "match_indexed"]

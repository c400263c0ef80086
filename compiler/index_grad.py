"""The gradients of recorded index notation: scatters that take extremes, and blocks of scans.

The adjoint of a definition of a scan at a step is what came in for it, and what the steps after it that read it give
back: a block again, which runs the other way. With it every other gradient is that of a plain definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Scatter,
    call,
    cast,
    rewrite,
    walk,
)
from tdsl.compiler.kernel_grad import EXTREMES, derive
from tdsl.compiler.kernel_text import intern, rename
from tdsl.compiler.ops.block import offsets, own_params, replaced, scan, shape_of, steps

# ----------------------------------------------------------------------------------------------- kernels

_renamings: dict[Kernel, Kernel] = {}


def as_index(kernel: Kernel) -> Kernel:
    """The kernel as an `index` op wants it: params a0, a1, ... and output y."""
    found = _renamings.get(kernel)
    if found is None:
        names = {p.name: f"%{i}" for i, p in enumerate(kernel.params)} | {kernel.outputs[0]: "%y"}
        names |= {s.name: f"%t{i}" for i, s in enumerate(kernel.body) if hasattr(s, "name") and s.name not in names}
        back = {n: n[1:] if not n[1:].isdigit() else f"a{n[1:]}" for n in names.values()}
        found = _renamings[kernel] = intern(rename(rename(kernel, names), back))
    return found


def shares(kernel: Kernel) -> Kernel | None:
    """Among how many equals each element of a `max=` or `min=` result is shared, from the params and the result `y`.

    The old value is one of them where it is equal. None for a kernel that ends in no such scatter.
    """
    last, first = kernel.body[-1], kernel.body[0]
    if not isinstance(last, Scatter) or last.op not in EXTREMES or not isinstance(first, Definition):
        return None
    here = Read("y", tuple(Axis(b.name) for b in first.binders), first.dtype)
    there = Read("y", last.index, first.dtype, checked=last.checked)
    old = Definition("d", first.binders, cast(call("eq", first.expr, here), first.dtype))
    won = cast(call("eq", last.expr, there), first.dtype)
    locals_ = kernel.body[1:-1]
    count_ = Scatter("d", last.binders, last.index, "+=", won, last.guard, last.checked)
    params = (*kernel.params, Param("y", first.dtype, first.shape))
    return Kernel("shares", params, (old, *locals_, count_), ("d",))


# ------------------------------------------------------------------------------------------------ blocks


def _alone(block: Kernel, k: int) -> Kernel:
    """The k-th definition as a kernel over all the params, the block's own among them."""
    d = steps(block)[k]
    locals_ = tuple(s for s in block.body if isinstance(s, Definition) and s.name not in block.outputs)
    return Kernel("step", block.params, (*locals_, Definition("y", d.binders, d.expr)), ("y",))


def adjoint(block: Kernel) -> Kernel:
    """The block of the adjoints: params are the block's, its results, what comes in for them, and the adjoints."""
    found = steps(block)
    count = len(found)
    results = own_params(block)
    incoming = tuple(Param(f"g{k}", p.dtype, p.shape) for k, p in enumerate(results))
    order = tuple(reversed(range(count)))
    adjoints = tuple(Param(f"l{k}", results[k].dtype, results[k].shape) for k in order)
    names = iter(f"r{k}" for k in range(1 << 30))
    body: list[Definition] = []
    for k in order:
        axes = [f"o{n}" for n in range(len(found[k].binders))]
        total: Expr = Read(f"g{k}", tuple(Axis(a) for a in axes), results[k].dtype)
        for reader in range(count):
            derived = derive(_alone(block, reader), results[k].name, reads_only=True)
            if derived is not None:
                total = call("add", total, _on(derived, axes, names, {"y": results[reader].name, "g": f"l{reader}"}))
        binders = tuple(Binder(a, 0, b.hi) for a, b in zip(axes, found[k].binders, strict=True))
        body.append(Definition(f"d{k}", binders, total))
    outputs = tuple(f"d{k}" for k in order)
    return Kernel("adjoint", (*block.params, *incoming, *adjoints), tuple(body), outputs)


def _on(derived: Kernel, axes: Sequence[str], names: Iterator[str], tensors: Mapping[str, str]) -> Expr:
    """The one definition of a derived kernel over the given axes and tensors."""
    (d,) = derived.body
    assert isinstance(d, Definition)
    at: dict[str, Expr] = {b.name: Axis(a) for b, a in zip(d.binders, axes, strict=True)}

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Read) and e.tensor in tensors:
            return Read(tensors[e.tensor], e.index, e.dtype, e.fill, e.checked)
        return None

    return rewrite(replaced(d.expr, names, at), change)


def unpacked(b: Any, block: Kernel, y: Any) -> list[Any]:
    """The definitions' results, from the rows."""
    found = steps(block)
    if len(found) == 1:
        return [y]
    starts = offsets(block)
    parts = [b("slice", y, dim=1, start=starts[k], stop=starts[k + 1], step=1) for k in range(len(found))]
    return [b("reshape", part, shape=shape_of(d)) for part, d in zip(parts, found, strict=True)]


def pull_back_scan(b: Any, g: Any, y: Any, needs: Sequence[bool]) -> list[Any]:
    """The gradients of a block's args, given that of its rows; None for those that need none or get none."""
    block: Kernel = y.attrs["block"]
    args = y.args
    if not y.dtype.is_float or not any(needs):
        return [None] * len(args)
    results, incoming = unpacked(b, block, y), unpacked(b, block, g)
    back, kept = _pruned(adjoint(block))
    values = dict(zip((p.name for p in block.params), (*args, *results), strict=True))
    values |= {f"g{k}": value for k, value in enumerate(incoming)}
    run = scan(b, back, not y.attrs["reverse"], [values[name] for name in kept])
    adjoints = list(reversed(unpacked(b, back, run)))
    return [
        _gradient(b, block, k, values, results, adjoints) if need and arg.dtype.is_float and not arg.is_number else None
        for k, (arg, need) in enumerate(zip(args, needs, strict=True))
    ]


def _gradient(
    b: Any, block: Kernel, k: int, values: Mapping[str, Any], results: Sequence[Any], adjoints: Sequence[Any]
) -> Any:
    total = None
    for n in range(len(results)):
        derived = derive(_alone(block, n), block.params[k].name)
        if derived is None:
            continue
        named = {**values, "y": results[n], "g": adjoints[n]}
        part = b("index", *(named[p.name] for p in derived.params), kernel=as_index(derived))
        total = part if total is None else b("add", total, part)
    return total


def _pruned(block: Kernel) -> tuple[Kernel, tuple[str, ...]]:
    """The block with the params that it reads, named a0, a1, ..., and what they were named; definitions d0, d1, ..."""
    count = len(block.outputs)
    read = {e.tensor for s in block.body if isinstance(s, Definition) for e in walk(s.expr) if isinstance(e, Read)}
    plain = [p for p in block.params[: len(block.params) - count] if p.name in read]
    own = block.params[len(block.params) - count :]
    names = {p.name: f"a{k}" for k, p in enumerate((*plain, *own))}
    outputs = {name: f"d{k}" for k, name in enumerate(block.outputs)}

    def change(e: Expr) -> Expr | None:
        return Read(names[e.tensor], e.index, e.dtype, e.fill, e.checked) if isinstance(e, Read) else None

    body = tuple(
        Definition(outputs[s.name], s.binders, rewrite(s.expr, change)) for s in block.body if isinstance(s, Definition)
    )
    params = tuple(Param(names[p.name], p.dtype, p.shape, p.is_number) for p in (*plain, *own))
    return Kernel("block", params, body, tuple(outputs.values())), tuple(p.name for p in plain)

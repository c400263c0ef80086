"""A recorded graph rebuilt for a whole batch: every value made of a stand-in gets the batch as its first dimension."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from math import prod
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.graph import Signature, Value, apply, number, postorder
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Reduce,
    Scatter,
    Statement,
    rewrite,
    roots,
    walk,
)
from tdsl.compiler.kernel_text import intern
from tdsl.random import default_generator
from tdsl.recording import Mode, Tape

Rule = Callable[["Batcher", Value, Sequence[Value], Sequence[bool]], Value]


class Unbatchable(Exception):
    """The function has to be run for each element alone."""


class Batcher:
    """Rebuilds values for a batch of `size`. `known` gives the batches of the stand-ins.

    different   random numbers drawn since `start` are drawn anew for each element.
    """

    def __init__(self, size: int, known: Mapping[Value, Value], start: int, different: bool) -> None:
        self.size, self.start, self.different = size, start, different
        self.batched: dict[Value, Value] = dict(known)
        self.taped = False

    def run(self, outputs: Sequence[Value]) -> None:
        """Fill `batched` with all that the outputs are made of and that differs from element to element."""
        order = postorder(outputs, stop=set(self.batched))
        for value in order:
            if value in self.batched or value.op is None or value.data is not None or value.serial < self.start:
                continue
            flags = [a in self.batched for a in value.args]
            redrawn = self.different and value.op.name == "random"
            if any(flags) or redrawn:
                if value.tape is not None and value.tape.function is not None:
                    raise Unbatchable
                self.taped = value.tape is not None
                args = [self.batched.get(a, a) for a in value.args]
                self.batched[value] = self._random(value) if redrawn else self._apply(value, args, flags)

    def _apply(self, value: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
        op = value.op
        assert op is not None
        if op.elementwise is not None:
            return self(op.name, *[self.aligned(a, f, len(value.shape)) for a, f in zip(args, flags, strict=True)],
                        **value.attrs)  # fmt: skip
        rule = RULES.get(op.name)
        if rule is not None:
            return rule(self, value, args, flags)
        return _by_kernel(self, value, args, flags) if op.kernel is not None else _by_loop(self, value, args, flags)

    def __call__(self, op: str, *args: Value, **attrs: Any) -> Value:
        """Record an op; on the tape where the value that is rebuilt was."""
        made = apply(op, *args, **attrs)
        Mode.recorded += 1
        if self.taped and made.dtype.is_float and any(a.tape is not None for a in args):
            made.tape = Tape()
        return made

    # ---- arrangements

    def aligned(self, x: Value, batched: bool, rank: int) -> Value:
        """Dimensions of 1 after the batch, so that the rest broadcasts from the right."""
        if not batched or len(x.shape) > rank:
            return x
        return self("reshape", x, shape=(self.size, *(1,) * (rank + 1 - len(x.shape)), *x.shape[1:]))

    def full(self, x: Value, batched: bool) -> Value:
        """A value that does not differ, once for each element."""
        return x if batched else self("expand", x, shape=(self.size, *x.shape))

    def moved(self, x: Value, source: int, target: int) -> Value:
        """A dimension at another place."""
        if source == target:
            return x
        dims = [d for d in range(len(x.shape)) if d != source]
        dims.insert(target, source)
        return self("permute", x, dims=tuple(dims))

    def positions(self, rank: int) -> Value:
        """0, 1, ... along the batch, with `rank` dimensions of 1 after it."""
        return self("reshape", self("iota", length=self.size), shape=(self.size, *(1,) * rank))

    def _random(self, value: Value) -> Value:
        seed, offset = default_generator.take(self.size * prod(value.shape))  # type: ignore[arg-type]
        shape = (self.size, *value.shape)
        return self("random", number(seed, dt.i64), number(offset, dt.i64), shape=shape)


# ---- rules: (batcher, value, args, which of them are batched) -> the batched value


def _same(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    return b(y.op.name, *args, **y.attrs)  # type: ignore[union-attr]


def _reshape(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    return b("reshape", args[0], shape=(b.size, *y.shape))


def _permute(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    return b("permute", args[0], dims=(0, *[d + 1 for d in y.attrs["dims"]]))


def _expand(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    return b("expand", b.aligned(args[0], True, len(y.shape)), shape=(b.size, *y.shape))


def _along(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    """One dimension, `dim`: every tensor has the batch before it."""
    attrs = {**y.attrs, "dim": y.attrs["dim"] + 1}
    return b(y.op.name, *[b.full(a, f) for a, f in zip(args, flags, strict=True)], **attrs)  # type: ignore[union-attr]


def _over(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    """Several dimensions, `dims`."""
    attrs = {**y.attrs, "dims": tuple(d + 1 for d in y.attrs["dims"])}
    return b(y.op.name, *args, **attrs)  # type: ignore[union-attr]


def _pad(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    low, high = (0, *y.attrs["low"]), (0, *y.attrs["high"])
    return b("pad", args[0], low=low, high=high, value=y.attrs["value"])


def _as_strided(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    n = args[0].shape[1]
    flat = b("reshape", args[0], shape=(b.size * n,))  # type: ignore[operator]
    shape, strides = (b.size, *y.attrs["shape"]), (n, *y.attrs["strides"])
    return b("as_strided", flat, shape=shape, strides=strides, offset=y.attrs["offset"])


def _matmul(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    rank = len(y.shape)
    return b("matmul", *[b.aligned(a, f, rank) for a, f in zip(args, flags, strict=True)])


def _take(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    x, index = args
    d = y.attrs["dim"]
    wrap = {k: v for k, v in y.attrs.items() if k == "wrap"}
    if not flags[1]:
        return b("take", x, index, dim=d + 1, **wrap)
    if not flags[0]:
        return b.moved(b("take", x, index, dim=d, **wrap), d, 0)
    row = b.positions(len(index.shape) - 1)
    return b.moved(b("pick", x, row, index, dims=(0, d + 1), front=d, **wrap), d, 0)


def _take_add(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    x, index, src = args[0], args[1], b.full(args[2], flags[2])
    x = b.full(x, flags[0])
    d = y.attrs["dim"]
    wrap = {k: v for k, v in y.attrs.items() if k == "wrap"}
    if not flags[1]:
        return b("take_add", x, index, src, dim=d + 1, **wrap)
    row = b.positions(len(index.shape) - 1)
    return b("pick_add", x, row, index, b.moved(src, 0, d), dims=(0, d + 1), front=d, **wrap)


def _indices(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> tuple[list[Value], dict[str, Any]]:
    """Index tensors of `pick` and its like with the batch as one more index, and the attrs."""
    rank = max(len(i.shape) - f for i, f in zip(args, flags, strict=True))
    rows = [b.positions(rank), *[b.aligned(i, f, rank) for i, f in zip(args, flags, strict=True)]]
    return rows, {**y.attrs, "dims": (0, *[d + 1 for d in y.attrs["dims"]])}


def _pick(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    x, front = b.full(args[0], flags[0]), y.attrs["front"]
    if not any(flags[1:]):
        dims = tuple(d + 1 for d in y.attrs["dims"])
        return b("pick", x, *args[1:], **{**y.attrs, "dims": dims, "front": front + 1})
    rows, attrs = _indices(b, y, args[1:], flags[1:])
    return b.moved(b("pick", x, *rows, **attrs), front, 0)


def _place(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    name, front = y.op.name, y.attrs["front"]  # type: ignore[union-attr]
    x, src = b.full(args[0], flags[0]), b.full(args[-1], flags[-1])
    if not any(flags[1:-1]):
        dims = tuple(d + 1 for d in y.attrs["dims"])
        return b(name, x, *args[1:-1], src, **{**y.attrs, "dims": dims, "front": front + 1})
    rows, attrs = _indices(b, y, args[1:-1], flags[1:-1])
    return b(name, x, *rows, b.moved(src, 0, front), **attrs)


def _bitcast(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    made = b("bitcast", args[0], **y.attrs)
    return made if made.shape[1:] == y.shape else b("reshape", made, shape=(b.size, *y.shape))


RULES: dict[str, Rule] = {
    "copy": _same, "detach": _same, "reshape": _reshape, "permute": _permute, "expand": _expand, "full": _expand,
    "pad": _pad, "as_strided": _as_strided, "matmul": _matmul, "take": _take, "take_add": _take_add, "pick": _pick,
    "pick_add": _place, "pick_put": _place, "bitcast": _bitcast,
}  # fmt: skip
RULES |= dict.fromkeys(("slice", "slice_update", "cat", "join", "gather", "scatter_add", "scatter_put", "scatter_mul",
                        "scatter_max", "scatter_min", "unfold", "argmax", "argmin", "cumsum", "cumprod", "logcumsumexp",
                        "cummax", "cummin", "recurrence", "argsort", "sort", "topk", "kth", "middle", "mode"),
                       _along)  # fmt: skip
RULES |= dict.fromkeys(("flip", "sum", "prod", "mean", "amax", "amin", "max", "min", "any", "all", "logsumexp"), _over)

# ---- any other op: its kernel with one more axis; without a kernel, element by element

_kernels: dict[tuple[Signature, tuple[bool, ...], int], Kernel] = {}


def _by_kernel(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    signature, op = y.signature, y.op
    assert signature is not None and op is not None and op.kernel is not None
    key = (signature, tuple(flags), b.size)
    kernel = _kernels.get(key)
    if kernel is None:
        one = op.kernel(signature.arg_types, signature.type, signature.attrs)
        if len(_kernels) > 10_000:
            _kernels.clear()
        kernel = _kernels[key] = intern(batched_kernel(one, flags, b.size))
    return b("index", *args, kernel=kernel)


def batched_kernel(kernel: Kernel, flags: Sequence[bool], size: int) -> Kernel:
    """The kernel for a batch: flagged params, and all that is defined, have the batch as their first dimension."""
    params = tuple(
        Param(p.name, p.dtype, (size, *p.shape)) if f else p for p, f in zip(kernel.params, flags, strict=True)
    )
    several = {p.name for p, f in zip(kernel.params, flags, strict=True) if f}
    several |= {s.name for s in kernel.body if isinstance(s, Definition)}
    axis = Axis(_unused(kernel))
    first = Binder(axis.name, 0, size)

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Read) and e.tensor in several:
            return Read(e.tensor, (axis, *e.index), e.dtype, e.fill, e.checked)
        return None

    def statement(s: Statement) -> Statement:
        binders = (first, *s.binders)
        if isinstance(s, Definition):
            return Definition(s.name, binders, rewrite(s.expr, change))
        guard = None if s.guard is None else rewrite(s.guard, change)
        index = (axis, *[rewrite(i, change) for i in s.index])
        return Scatter(s.target, binders, index, s.op, rewrite(s.expr, change), guard, s.checked)

    return Kernel(kernel.name, params, tuple(statement(s) for s in kernel.body), kernel.outputs)


def _unused(kernel: Kernel) -> str:
    """An axis name the kernel does not have: one that was batched before has a batch axis already."""
    names = {b.name for s in kernel.body for b in s.binders}
    for s in kernel.body:
        for root in roots(s):
            names |= {b.name for e in walk(root) if isinstance(e, Reduce) for b in e.binders}
    return next(name for k in count() if (name := f"batch{k or ''}") not in names)


def _by_loop(b: Batcher, y: Value, args: Sequence[Value], flags: Sequence[bool]) -> Value:
    if b.size == 0:
        return b("full", b("constant", value=0, dtype=y.dtype), shape=(0, *y.shape))
    rows = []
    for k in range(b.size):
        one = [b("reshape", b("slice", a, dim=0, start=k, stop=k + 1, step=1), shape=a.shape[1:]) if f else a
               for a, f in zip(args, flags, strict=True)]  # fmt: skip
        rows.append(b("reshape", b(y.op.name, *one, **y.attrs), shape=(1, *y.shape)))  # type: ignore[union-attr]
    return b("cat", *rows, dim=0) if len(rows) > 1 else rows[0]

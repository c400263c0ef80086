"""Index notation run by NumPy: slow, plain, and the judge of everything that is fast.

A statement is evaluated over all its axes at once by broadcasting. Float sums accumulate in f64 and are rounded
once, so the judge is more exact than what it judges. A read that a guard or a branch excludes is not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tdsl.compiler.dtype import rounded
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import (
    FUNCTIONS,
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    Scatter,
    SizeOf,
    roots,
    walk,
)
from tdsl.compiler.source import IndexError, ZeroDivisionError

Array = np.ndarray[Any, Any]


def evaluate(kernel: Kernel, arrays: Mapping[str, Any], sizes: Mapping[Sym, int]) -> dict[str, Array]:
    """Every tensor that the kernel defines, by name. `arrays` holds its params.

    Raises IndexError (E0502) with the first bad position, ZeroDivisionError (E0504) for integer division by 0.

    >>> from tdsl.compiler.kernel_parse import parse
    >>> k = parse("kernel k(x: f32[2,2]) -> (y):\\n  y[i] := sum[j] x[i, j]\\n")
    >>> evaluate(k, {"x": [[1, 2], [3, 4]]}, {})["y"]
    array([3., 7.], dtype=float32)
    """
    env: dict[str, Array] = {
        p.name: rounded(np.asarray(arrays[p.name]).astype(p.dtype.numpy, copy=False), p.dtype) for p in kernel.params
    }
    made: dict[str, Array] = {}
    for s in kernel.body:
        run = _Run(s, env, sizes)
        if isinstance(s, Definition):
            made[s.name] = env[s.name] = run.define(s)
        else:
            made[s.target] = env[s.target] = run.in_order(s) if _reads_itself(s) else run.scatter(s)
    return made


class _Run:
    """One statement. Every axis of it, bound on the left or in a reduction, has its own dimension."""

    def __init__(self, s: Definition | Scatter, env: Mapping[str, Array], sizes: Mapping[Sym, int]) -> None:
        self.env, self.sizes = env, sizes
        binders = list(s.binders)
        for r in roots(s):
            for e in walk(r):
                if isinstance(e, Reduce):
                    binders += [b for b in e.binders if b.name not in {x.name for x in binders}]
        self.at = {b.name: k for k, b in enumerate(binders)}
        self.range = {b.name: (self.number(b.lo), self.number(b.hi)) for b in binders}
        self.rank = len(binders)

    def number(self, n: Size) -> int:
        return self.sizes[n] if isinstance(n, Sym) else n

    def extent(self, b: Binder) -> int:
        lo, hi = self.range[b.name]
        return max(0, hi - lo)

    def define(self, s: Definition) -> Array:
        value = self.eval(s.expr, None)
        shape = tuple(self.extent(b) for b in s.binders)
        full = shape + (1,) * (self.rank - len(shape))
        return np.array(np.broadcast_to(value, full).reshape(shape), dtype=s.dtype.numpy)

    def in_order(self, s: Scatter) -> Array:
        """A scatter that reads what it has written: a point after the other."""
        whole = dict(self.range)
        env = dict(self.env)
        for point in np.ndindex(*(self.extent(b) for b in s.binders)):
            self.range = whole | {b.name: (whole[b.name][0] + n, whole[b.name][0] + n + 1)
                                  for b, n in zip(s.binders, point, strict=True)}  # fmt: skip
            self.env = env
            env[s.target] = self.scatter(s)
        return np.asarray(env[s.target])

    def scatter(self, s: Scatter) -> Array:
        target = np.array(self.env[s.target])
        live = None if s.guard is None else self.eval(s.guard, None)
        shape = tuple(self.extent(b) for b in s.binders) + (1,) * (self.rank - len(s.binders))
        index = [np.broadcast_to(self.eval(e, live), shape).reshape(-1) for e in s.index]
        value = np.broadcast_to(self.eval(s.expr, live), shape).reshape(-1)
        keep = np.ones(value.shape, bool) if live is None else np.broadcast_to(live, shape).reshape(-1)
        inside = np.ones(value.shape, bool)
        for ix, n in zip(index, target.shape, strict=True):
            inside &= (ix >= 0) & (ix < n)
        if s.checked and (keep & ~inside).any():
            first = int(np.argmax(keep & ~inside))
            raise _outside([int(ix[first]) for ix in index], s.target, target.shape)
        keep = keep & inside
        places = tuple(ix[keep] for ix in index)
        if s.op == "=":
            target[places] = value[keep]
        else:
            ufunc = {"+=": np.add, "*=": np.multiply, "max=": np.maximum, "min=": np.minimum}[s.op]
            ufunc.at(target, places, value[keep])
        return target

    # ---- expressions; `live` marks the points at which a value is wanted (None: all)

    def eval(self, e: Expr, live: Array | None) -> Array:
        if isinstance(e, Const):
            return np.asarray(e.value, e.dtype.numpy).reshape((1,) * self.rank)
        if isinstance(e, SizeOf):
            return np.asarray(self.sizes[e.sym], np.int64).reshape((1,) * self.rank)
        if isinstance(e, Axis):
            lo, hi = self.range[e.name]
            shape = [1] * self.rank
            shape[self.at[e.name]] = max(0, hi - lo)
            return np.arange(lo, max(lo, hi), dtype=np.int64).reshape(shape)
        if isinstance(e, Read):
            return self.read(e, live)
        if isinstance(e, Reduce):
            return self.reduce(e, live)
        return self.call(e, live)

    def read(self, e: Read, live: Array | None) -> Array:
        tensor = self.env[e.tensor]
        if not e.index:
            return tensor.reshape((1,) * self.rank)
        index = [self.eval(ix, live) for ix in e.index]
        inside = np.ones((1,) * self.rank, bool)
        for ix, n in zip(index, tensor.shape, strict=True):
            inside = inside & (ix >= 0) & (ix < n)
        bad = ~inside if live is None else ~inside & live
        if e.fill is None and bad.any():
            *places, bad = np.broadcast_arrays(*index, bad)
            first = tuple(np.argwhere(bad)[0])
            raise _outside([int(p[first]) for p in places], e.tensor, tensor.shape)
        if tensor.size == 0:
            shape = np.broadcast_shapes(*(ix.shape for ix in index))
            value = np.zeros(shape, tensor.dtype)
        else:
            value = tensor[tuple(np.where(inside, ix, 0) for ix in index)]
        if e.fill is None:
            return value
        outside = ~inside if live is None else ~inside & live
        return np.where(inside, value, self.eval(e.fill, outside))

    def call(self, e: Call, live: Array | None) -> Array:
        """Chains of first operands and of `else` branches may be long: they are walked without recursion."""
        if e.fn == "where":
            return self.branches(e, live)
        chain: list[Call] = []
        node: Expr = e
        while isinstance(node, Call) and node.fn != "where":
            chain.append(node)
            node = node.args[0]
        value = self.eval(node, live)
        for c in reversed(chain):
            value = self.apply(c, [value, *(self.eval(a, live) for a in c.args[1:])], live)
        return value

    def branches(self, e: Call, live: Array | None) -> Array:
        taken: list[tuple[Array, Array]] = []
        node: Expr = e
        while isinstance(node, Call) and node.fn == "where":
            condition = self.eval(node.args[0], live)
            yes = condition if live is None else condition & live
            taken.append((condition, self.eval(node.args[1], yes)))
            live = ~condition if live is None else ~condition & live
            node = node.args[2]
        value = self.eval(node, live)
        for condition, yes in reversed(taken):
            value = np.where(condition, yes, value)
        return value

    def apply(self, e: Call, args: list[Array], live: Array | None) -> Array:
        if e.fn == "cast":
            return rounded(convert(args[0], e.dtype.numpy), e.dtype)
        if e.fn in ("floordiv", "mod", "fmod") and not e.dtype.is_float:
            zero = args[1] == 0 if live is None else (args[1] == 0) & live
            if np.any(zero) and all(a.size for a in args):
                raise ZeroDivisionError("ZeroDivisionError: an integer is divided by zero")
            args[1] = np.where(args[1] == 0, np.asarray(1, args[1].dtype), args[1])
        result = np.asarray(FUNCTIONS[e.fn].evaluate(*args))
        return rounded(result.astype(e.dtype.numpy, copy=False), e.dtype)

    def reduce(self, e: Reduce, live: Array | None) -> Array:
        guard = None if e.guard is None else self.eval(e.guard, live)
        inner = guard if live is None else live if guard is None else guard & live
        body = self.eval(e.body, inner)
        axes = tuple(self.at[b.name] for b in e.binders)
        shape = list(np.broadcast_shapes(body.shape, () if guard is None else guard.shape))
        for b in e.binders:
            shape[self.at[b.name]] = self.extent(b)
        body = np.broadcast_to(body, shape)
        mask = np.broadcast_to(np.asarray(True) if guard is None else guard, shape)
        with np.errstate(all="ignore"):
            result = REDUCE[e.op](body, mask, axes)
        if e.op in ("argmax", "argmin"):
            result = np.where(result >= 0, result + self.range[e.binders[0].name][0], -1)
        return rounded(np.asarray(result).astype(e.dtype.numpy, copy=False), e.dtype)


def _reads_itself(s: Scatter) -> bool:
    return any(isinstance(e, Read) and e.tensor == s.target for r in roots(s) for e in walk(r))


def convert(value: Array | np.generic, dtype: np.dtype[Any]) -> Array:
    """A cast with the kernels' meaning: float to int saturates and takes NaN to 0."""
    x = np.asarray(value)
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        with np.errstate(all="ignore"):
            return x.astype(dtype)
    info = np.iinfo(dtype)
    with np.errstate(all="ignore"):
        low, high = np.trunc(x) <= info.min, np.trunc(x) >= info.max
        middle = np.where(low | high | np.isnan(x), 0, x).astype(dtype)
    return np.where(low, info.min, np.where(high, info.max, middle)).astype(dtype)


class OutsideError(IndexError):
    """A position outside a tensor; the runtime puts it in the words of the op that asked for it."""

    def __init__(self, position: list[int], tensor: str, shape: tuple[int, ...]) -> None:
        super().__init__(
            f"position {position} is outside `{tensor}`, which is {list(shape)}",
            hint="clamp the index, guard the read, or pad it: `else 0.0`",
        )
        self.position, self.tensor, self.shape = position, tensor, shape
        self.kernel: Kernel | None = None  # set by who ran it


def _outside(position: list[int], tensor: str, shape: tuple[int, ...]) -> OutsideError:
    return OutsideError(position, tensor, shape)


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _least(x: Array) -> Any:
    return -np.inf if x.dtype.kind == "f" else False if x.dtype == bool else np.iinfo(x.dtype).min


def _greatest(x: Array) -> Any:
    return np.inf if x.dtype.kind == "f" else True if x.dtype == bool else np.iinfo(x.dtype).max


def _logsumexp(x: Array, m: Array, ax: tuple[int, ...]) -> Array:
    w = np.where(m, _wide(x), -np.inf)
    top = w.max(ax, keepdims=True, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, 0)
    return np.asarray(np.log(np.exp(w - safe).sum(ax, keepdims=True)) + safe)


def _arg(x: Array, m: Array, ax: tuple[int, ...], largest: bool) -> Array:
    shape = [1 if k in ax else n for k, n in enumerate(x.shape)]
    if 0 in x.shape:
        return np.full(shape, -1, np.int64)
    worst = _least(x) if largest else _greatest(x)
    w = np.where(m, x, np.asarray(worst, x.dtype))
    found = (np.argmax if largest else np.argmin)(w, axis=ax[0], keepdims=True)
    some = m.any(ax, keepdims=True)
    first_live = np.argmax(m, axis=ax[0], keepdims=True)
    chosen = np.take_along_axis(m, found, ax[0])
    return np.where(some, np.where(chosen, found, first_live), -1)


REDUCE: dict[str, Any] = {
    "sum": lambda x, m, ax: np.where(m, _wide(x), np.zeros((), x.dtype)).sum(ax, keepdims=True, dtype=_wide(x).dtype),
    "mean": lambda x, m, ax: np.where(m, _wide(x), 0).sum(ax, keepdims=True) / m.sum(ax, keepdims=True),
    "prod": lambda x, m, ax: np.where(m, _wide(x), np.ones((), x.dtype)).prod(ax, keepdims=True, dtype=_wide(x).dtype),
    "max": lambda x, m, ax: np.where(m, x, np.asarray(_least(x), x.dtype)).max(ax, keepdims=True, initial=_least(x)),
    "min": lambda x, m, ax: np.where(m, x, np.asarray(_greatest(x), x.dtype)).min(
        ax, keepdims=True, initial=_greatest(x)
    ),
    "any": lambda x, m, ax: (m & (x != 0)).any(ax, keepdims=True),
    "all": lambda x, m, ax: (~m | (x != 0)).all(ax, keepdims=True),
    "logsumexp": _logsumexp,
    "argmax": lambda x, m, ax: _arg(x, m, ax, True),
    "argmin": lambda x, m, ax: _arg(x, m, ax, False),
}

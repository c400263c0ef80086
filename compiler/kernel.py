"""Kernel IR: index notation. Every kernel, forward or backward, is one or a few of these statements.

    kernel     := "kernel" name "(" param, ... ")" "->" "(" name, ... ")" ":" statement+
    param      := name ":" type | name ":" "number" dtype       a number is a run-time scalar argument
    statement  := name "[" binder, ... "]" ":=" expr            a definition: every element written once
                | "scatter" "[" binder, ... ["if" expr] "]" ":" name "[" expr, ... "]" op expr    op: = += *= max= min=
    binder     := axis ["in" size ":" size] | "_"               left of := the lower bound is 0
    expr       := number | axis | size | name | name "[" expr, ... ["else" expr] "]"
                | function "(" expr, ... ")" | infix | expr ".to(" dtype ")" | expr "if" expr "else" expr
                | reducer "[" binder, ... ["if" expr] "]" expr  sum prod max min mean any all logsumexp argmax argmin

Tensors are row-major and dense; a 0-d tensor is read with an empty index. Sharing is by name only: an expression
is a tree, and what is used twice is a definition of its own, read by name. A definition that is not among the
kernel's outputs is local: it is evaluated where it is read and never stored.

Invariants, checked by `verify`: every axis is bound, once; every read names a param or an earlier definition and
has one index per dimension; operand dtypes agree as FUNCTIONS says; index expressions are i64; conditions are bool;
a scatter's target is an output defined before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType, bool_, f32, i64
from tdsl.compiler.graph import Size, Sym, widen_kernels_with
from tdsl.compiler.maths.arrays import on_arrays
from tdsl.compiler.maths.special import SPECIAL
from tdsl.compiler.source import InternalError

# ------------------------------------------------------------------------------------------ expressions


@dataclass(frozen=True, eq=False, slots=True)
class Const:
    value: bool | int | float
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Axis:
    """The value of a bound index, an i64."""

    name: str

    @property
    def dtype(self) -> DType:
        return i64


@dataclass(frozen=True, eq=False, slots=True)
class SizeOf:
    """The value of a run-time size, an i64."""

    sym: Sym

    @property
    def dtype(self) -> DType:
        return i64


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """tensor[index]; with `fill`, the value where any index is outside.

    `checked`: bounds are not proved, so the kernel tests them when it makes the read, and reports (E0502).
    """

    tensor: str
    index: tuple[Expr, ...]
    dtype: DType
    fill: Expr | None = None
    checked: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """An elementwise function of FUNCTIONS."""

    fn: str
    args: tuple[Expr, ...]
    dtype: DType


@dataclass(frozen=True, slots=True)
class Binder:
    name: str
    lo: Size
    hi: Size  # exclusive


@dataclass(frozen=True, eq=False, slots=True)
class Reduce:
    op: str  # one of REDUCERS
    binders: tuple[Binder, ...]
    body: Expr
    dtype: DType
    guard: Expr | None = None


Expr = Const | Axis | SizeOf | Read | Call | Reduce

# ------------------------------------------------------------------------------------------- statements


@dataclass(frozen=True, eq=False, slots=True)
class Definition:
    name: str
    binders: tuple[Binder, ...]
    expr: Expr

    @property
    def dtype(self) -> DType:
        return self.expr.dtype

    @property
    def shape(self) -> tuple[Size, ...]:
        return tuple(b.hi for b in self.binders)


@dataclass(frozen=True, eq=False, slots=True)
class Scatter:
    """target[index] op= expr for every point where the guard holds, in the order of the binders.

    Reads of the target see what was written before: a recurrence is a scatter with `=` that reads earlier steps.
    `checked`: some index is not proved inside; outside it is reported (E0502) and nothing is written.
    """

    target: str
    binders: tuple[Binder, ...]
    index: tuple[Expr, ...]
    op: str  # "=", "+=", "*=", "max=", "min="
    expr: Expr
    guard: Expr | None = None
    checked: bool = True


Statement = Definition | Scatter


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    dtype: DType
    shape: tuple[Size, ...]
    is_number: bool = False  # a run-time Python number, passed by value

    def __str__(self) -> str:
        if self.is_number:
            return f"{self.name}: number {self.dtype.name}"
        return f"{self.name}: {self.dtype.name}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """Statements over params. `hints` names tensors for people and is no part of the kernel's identity."""

    name: str
    params: tuple[Param, ...]
    body: tuple[Statement, ...]
    outputs: tuple[str, ...]

    def definition(self, name: str) -> Definition:
        return next(s for s in self.body if isinstance(s, Definition) and s.name == name)

    def sizes(self) -> tuple[Sym, ...]:
        """Run-time sizes, in order of first appearance: params, then binders, then expressions."""
        found: dict[Sym, None] = {}
        for param in self.params:
            found.update((s, None) for s in param.shape if isinstance(s, Sym))
        for statement in self.body:
            for binder in statement.binders:
                found.update((s, None) for s in (binder.lo, binder.hi) if isinstance(s, Sym))
            for root in roots(statement):
                for e in walk(root):
                    if isinstance(e, SizeOf):
                        found[e.sym] = None
                    elif isinstance(e, Reduce):
                        found.update((s, None) for b in e.binders for s in (b.lo, b.hi) if isinstance(s, Sym))
        return tuple(found)


# --------------------------------------------------------------------------------------------- functions


@dataclass(frozen=True, slots=True)
class Function:
    """An elementwise function. `result`: "same" as its args, or "bool", "i64". `infix`: how it is written."""

    name: str
    arity: int
    evaluate: Callable[..., Any]  # NumPy, the meaning of the function
    result: str = "same"
    infix: str | None = None
    float_only: bool = False


REDUCERS = ("sum", "prod", "max", "min", "mean", "any", "all", "logsumexp", "argmax", "argmin")


def _safe_floordiv(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.floor_divide(a, b)


def _safe_mod(a: Any, b: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.remainder(a, b)


def _quiet(fn: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return fn(*args)

    return evaluate


def _erf(x: Any) -> Any:
    from math import erf  # vectorised here once: NumPy has no erf

    x = np.asarray(x)
    return np.vectorize(erf, otypes=[np.float64])(x).astype(x.dtype)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(np.asarray(x).dtype)


def _sign(x: Any) -> Any:
    x = np.asarray(x)
    return np.where(np.isnan(x), 0, np.sign(x)).astype(x.dtype) if x.dtype.kind == "f" else np.sign(x)


def _shift_left(x: Any, n: Any) -> Any:
    x, n = np.broadcast_arrays(x, n)
    inside = (n >= 0) & (n < x.dtype.itemsize * 8)
    return np.where(inside, np.left_shift(x, np.where(inside, n, 0)), np.zeros((), x.dtype))


def _shift_right(x: Any, n: Any) -> Any:
    x, n = np.broadcast_arrays(x, n)
    bits = x.dtype.itemsize * 8
    inside = (n >= 0) & (n < bits)
    last = np.right_shift(x, np.asarray(bits - 1, x.dtype)) if x.dtype.kind == "i" else np.zeros((), x.dtype)
    return np.where(inside, np.right_shift(x, np.where(inside, n, 0)), last)


_PHILOX_M0, _PHILOX_M1 = 0xD2511F53, 0xCD9E8D57
_PHILOX_W0, _PHILOX_W1 = 0x9E3779B9, 0xBB67AE85


def philox(seed: Any, counter: Any) -> Any:
    """Philox4x32-10 (Salmon et al., SC'11): 32 random bits, as an i64, of key `seed` at 128-bit counter //4,
    word counter % 4."""
    m32 = np.uint64(0xFFFFFFFF)
    seed, counter = np.broadcast_arrays(np.asarray(seed).astype(np.uint64), np.asarray(counter).astype(np.uint64))
    word, block = counter % np.uint64(4), counter // np.uint64(4)
    c = [block & m32, block >> np.uint64(32), np.zeros_like(block), np.zeros_like(block)]
    k0, k1 = seed & m32, seed >> np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(_PHILOX_M0) * c[0], np.uint64(_PHILOX_M1) * c[2]
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ k0, p1 & m32, (p0 >> np.uint64(32)) ^ c[3] ^ k1, p0 & m32]
        k0, k1 = (k0 + np.uint64(_PHILOX_W0)) & m32, (k1 + np.uint64(_PHILOX_W1)) & m32
    return np.choose(word.astype(np.int64), c).astype(np.int64)


FUNCTIONS: dict[str, Function] = {
    f.name: f
    for f in (
        Function("add", 2, _quiet(np.add), infix="+"),
        Function("sub", 2, _quiet(np.subtract), infix="-"),
        Function("mul", 2, _quiet(np.multiply), infix="*"),
        Function("div", 2, _quiet(np.true_divide), infix="/", float_only=True),
        Function("floordiv", 2, _safe_floordiv, infix="//"),  # rounds down; the kernel reports x // 0 of ints (E0504)
        Function("mod", 2, _safe_mod, infix="%"),  # has the divisor's sign
        Function("fmod", 2, _quiet(np.fmod)),  # has the dividend's sign
        Function("pow", 2, _quiet(np.power), infix="**"),
        Function("atan2", 2, _quiet(np.arctan2), float_only=True),
        Function("maximum", 2, _quiet(np.maximum)),  # NaN if either is
        Function("minimum", 2, _quiet(np.minimum)),
        Function("neg", 1, _quiet(np.negative), infix="-"),
        Function("abs", 1, _quiet(np.abs)),
        Function("sign", 1, _sign),  # 0 for NaN
        Function("floor", 1, np.floor, float_only=True),
        Function("ceil", 1, np.ceil, float_only=True),
        Function("round", 1, np.rint, float_only=True),  # half to even
        Function("trunc", 1, np.trunc, float_only=True),
        Function("exp", 1, _quiet(np.exp), float_only=True),
        Function("expm1", 1, _quiet(np.expm1), float_only=True),
        Function("log", 1, _quiet(np.log), float_only=True),
        Function("log1p", 1, _quiet(np.log1p), float_only=True),
        Function("sqrt", 1, _quiet(np.sqrt), float_only=True),
        Function("rsqrt", 1, _quiet(lambda x: (1 / np.sqrt(x)).astype(np.asarray(x).dtype)), float_only=True),
        Function("sin", 1, _quiet(np.sin), float_only=True),
        Function("cos", 1, _quiet(np.cos), float_only=True),
        Function("tan", 1, _quiet(np.tan), float_only=True),
        Function("tanh", 1, np.tanh, float_only=True),
        Function("sigmoid", 1, _quiet(_sigmoid), float_only=True),
        Function("erf", 1, _erf, float_only=True),
        Function("relu", 1, lambda x: np.maximum(x, np.zeros((), np.asarray(x).dtype))),
        Function("isnan", 1, np.isnan, result="bool"),
        Function("eq", 2, np.equal, result="bool", infix="=="),
        Function("ne", 2, np.not_equal, result="bool", infix="!="),
        Function("lt", 2, np.less, result="bool", infix="<"),
        Function("le", 2, np.less_equal, result="bool", infix="<="),
        Function("gt", 2, np.greater, result="bool", infix=">"),
        Function("ge", 2, np.greater_equal, result="bool", infix=">="),
        Function("and", 2, np.bitwise_and, infix="&"),  # bools and ints
        Function("or", 2, np.bitwise_or, infix="|"),
        Function("xor", 2, np.bitwise_xor, infix="^"),
        Function("not", 1, np.invert, infix="~"),
        Function("where", 3, np.where),  # (bool, a, b): a branch not taken is not evaluated, and no fault of it is seen
        Function("cast", 1, lambda x: x),  # to the Call's dtype; float to int saturates, NaN to 0
        Function("shl", 2, _shift_left),  # of ints; 0 where the distance is negative or too large
        Function("shr", 2, _shift_right),  # there, only the sign is left
        Function("copysign", 2, np.copysign, float_only=True),
        Function("philox", 2, philox, result="i64"),  # (seed, counter), both i64 -> 32 random bits
    )
}
FUNCTIONS |= {
    name: Function(name, special.arity, on_arrays(special.function), float_only=not special.integral)
    for name, special in SPECIAL.items()
}


def call(fn: str, *args: Expr) -> Call:
    """The application of an elementwise function, its dtype by the function's rule."""
    record = FUNCTIONS[fn]
    if len(args) != record.arity:
        raise InternalError(f"{fn} takes {record.arity} arguments, not {len(args)}")
    dtype = {"same": args[-1].dtype, "bool": bool_, "i64": i64}[record.result]
    return Call(fn, args, dtype)


def cast(x: Expr, dtype: DType) -> Expr:
    return x if x.dtype is dtype else Call("cast", (x,), dtype)


def index_const(value: int) -> Const:
    return Const(value, i64)


def of_size(size: Size) -> Expr:
    return SizeOf(size) if isinstance(size, Sym) else Const(size, i64)


# --------------------------------------------------------------------------------------------- walking


def children(e: Expr) -> tuple[Expr, ...]:
    if isinstance(e, Call):
        return e.args
    if isinstance(e, Read):
        return e.index if e.fill is None else (*e.index, e.fill)
    if isinstance(e, Reduce):
        return (e.body,) if e.guard is None else (e.guard, e.body)
    return ()


def walk(e: Expr) -> Iterator[Expr]:
    """Every node of the tree, parents first. No recursion: bodies may be deep."""
    stack = [e]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(children(node)))


def with_children(e: Expr, new: tuple[Expr, ...]) -> Expr:
    if isinstance(e, Call):
        return Call(e.fn, new, e.dtype)
    if isinstance(e, Read):
        n = len(e.index)
        return Read(e.tensor, new[:n], e.dtype, new[n] if e.fill is not None else None, e.checked)
    if isinstance(e, Reduce):
        guard = new[0] if e.guard is not None else None
        return Reduce(e.op, e.binders, new[-1], e.dtype, guard)
    return e


def rewrite(e: Expr, change: Callable[[Expr], Expr | None]) -> Expr:
    """The tree with `change` applied bottom-up; None leaves a node as it is. No recursion."""
    done: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(e, False)]
    while stack:
        node, ready = stack.pop()
        kids = children(node)
        if kids and not ready:
            stack.append((node, True))
            stack.extend((k, False) for k in reversed(kids))
            continue
        if kids:
            new = tuple(done[-len(kids) :])
            del done[-len(kids) :]
            if any(a is not b for a, b in zip(new, kids, strict=True)):
                node = with_children(node, new)
        changed = change(node)
        done.append(node if changed is None else changed)
    return done[0]


def roots(statement: Statement) -> tuple[Expr, ...]:
    """The expressions of a statement."""
    if isinstance(statement, Definition):
        return (statement.expr,)
    guard = () if statement.guard is None else (statement.guard,)
    return (*statement.index, *guard, statement.expr)


def free_axes(e: Expr) -> set[str]:
    """Names of axes used in `e` and not bound in it (axis names are unique within a statement)."""
    bound: set[str] = set()
    used: set[str] = set()
    for node in walk(e):
        if isinstance(node, Axis):
            used.add(node.name)
        elif isinstance(node, Reduce):
            bound.update(b.name for b in node.binders)
    return used - bound


# --------------------------------------------------------------------------------------------- checking


def verify(kernel: Kernel) -> None:
    """Raise InternalError where the kernel breaks a rule above."""
    tensors: dict[str, tuple[DType, int]] = {p.name: (p.dtype, len(p.shape)) for p in kernel.params}
    for statement in kernel.body:
        bound = {b.name for b in statement.binders if b.name != "_"}
        if len(bound) != sum(b.name != "_" for b in statement.binders):
            raise InternalError(f"kernel {kernel.name}: an axis is bound twice")
        if isinstance(statement, Scatter):
            if statement.target not in kernel.outputs or statement.target not in tensors:
                raise InternalError(f"kernel {kernel.name}: scatter into {statement.target}, which is no output")
        for root in roots(statement):
            _verify_expr(kernel.name, root, bound, tensors)
        if isinstance(statement, Definition):
            if statement.name in tensors:
                raise InternalError(f"kernel {kernel.name}: {statement.name} is defined twice")
            tensors[statement.name] = (statement.dtype, len(statement.binders))
    missing = [name for name in kernel.outputs if name not in tensors]
    if missing:
        raise InternalError(f"kernel {kernel.name}: outputs {missing} are not defined")


def _verify_expr(where: str, root: Expr, outer: set[str], tensors: dict[str, tuple[DType, int]]) -> None:
    stack: list[tuple[Expr, frozenset[str]]] = [(root, frozenset(outer))]
    while stack:
        e, bound = stack.pop()
        if isinstance(e, Axis) and e.name not in bound:
            raise InternalError(f"kernel {where}: axis {e.name} is not bound")
        if isinstance(e, Read):
            if e.tensor not in tensors:
                raise InternalError(f"kernel {where}: {e.tensor} is not defined")
            dtype, rank = tensors[e.tensor]
            if e.dtype is not dtype or len(e.index) != rank:
                raise InternalError(
                    f"kernel {where}: {e.tensor} is {dtype.name} of rank {rank}, read as {e.dtype.name}"
                )
            if any(ix.dtype is not i64 for ix in e.index):
                raise InternalError(f"kernel {where}: an index of {e.tensor} is not i64")
        if isinstance(e, Call):
            _verify_call(where, e)
        if isinstance(e, Reduce):
            inner = {b.name for b in e.binders}
            if inner & bound:
                raise InternalError(f"kernel {where}: axes {sorted(inner & bound)} are bound twice")
            bound = bound | inner
        stack.extend((k, bound) for k in children(e))


def _verify_call(where: str, e: Call) -> None:
    record = FUNCTIONS[e.fn]
    operands = e.args[1:] if e.fn == "where" else e.args
    if len(e.args) != record.arity or len({a.dtype for a in operands}) != 1:
        raise InternalError(f"kernel {where}: {e.fn} of {', '.join(a.dtype.name for a in e.args)}")
    if e.fn == "where" and e.args[0].dtype is not bool_:
        raise InternalError(f"kernel {where}: a condition is {e.args[0].dtype.name}")
    if record.float_only and not e.args[0].dtype.is_float:
        raise InternalError(f"kernel {where}: {e.fn} of {e.args[0].dtype.name}")


# ---------------------------------------------------------------------------------------------- in f32


def in_f32(kernel: Kernel) -> Kernel:
    """The kernel with f32 for every half: what it sums and multiplies is rounded by nobody."""

    def single(dtype: DType) -> DType:
        return f32 if dtype.is_half else dtype

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Const | Call | Read | Reduce) and e.dtype.is_half:
            return replace(e, dtype=f32)
        return None

    params = tuple(replace(p, dtype=single(p.dtype)) for p in kernel.params)
    body: list[Statement] = []
    for s in kernel.body:
        if isinstance(s, Definition):
            body.append(Definition(s.name, s.binders, rewrite(s.expr, change)))
            continue
        guard = None if s.guard is None else rewrite(s.guard, change)
        index = tuple(rewrite(x, change) for x in s.index)
        body.append(replace(s, index=index, expr=rewrite(s.expr, change), guard=guard))
    return Kernel(kernel.name, params, tuple(body), kernel.outputs)


widen_kernels_with(in_f32)

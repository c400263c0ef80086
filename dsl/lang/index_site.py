"""Where index notation stands in a script: which parts of it are ordinary expressions, evaluated once, before.

`analyze` splits a definition or a reduction into slots (ordinary expressions without an index) and a form over
them. A `Site` is called with the values of its slots; it keeps the kernels that it built, one for each
combination of shapes, dtypes and integers that fix ranges or positions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from tdsl.compiler.dtype import DType
from tdsl.compiler.kernel import FUNCTIONS, Kernel
from tdsl.compiler.source import IndexNotationError, TdslError
from tdsl.lang import ast

CONSTANTS = {"inf": float("inf"), "nan": float("nan")}
# The library's elementwise functions by the language's name; those that are no function of a kernel are compositions.
ELEMENTWISE = frozenset(FUNCTIONS) - {"cast", "and", "or", "not", "xor"} | {
    "absolute", "clamp", "clip", "square", "reciprocal", "silu", "gelu", "softplus", "logical_and", "logical_or",
    "logical_not", "isinf", "isfinite", "max", "min",
    "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "leaky_relu", "remainder",
}  # fmt: skip
METHODS = ELEMENTWISE | {"to", "long", "float", "double", "int"}


@dataclass(frozen=True, eq=False, slots=True)
class Slot(ast.Node):
    """An ordinary expression, by its number."""

    number: int
    node: ast.Node


@dataclass(frozen=True, eq=False, slots=True)
class Built:
    kernel: Kernel
    tensors: tuple[int, ...]  # slots of the tensor params
    numbers: tuple[int, ...]  # slots of the number params


@dataclass(eq=False, slots=True)
class Site:
    """One index statement of a script."""

    source: ast.Source
    node: ast.Node
    name: str
    binders: tuple[ast.Binder, ...]  # with slots for the ranges
    body: ast.Node  # with slots for ordinary expressions
    slots: tuple[ast.Node, ...]
    literal: frozenset[int]  # slots whose integers are part of the kernel
    cache: dict[tuple[object, ...], Built] = field(default_factory=dict)

    def __call__(self, *values: Any) -> Any:
        built = self.built(values)
        return _record(built.kernel, [values[k] for k in built.tensors], [values[k] for k in built.numbers])

    def key(self, values: tuple[Any, ...]) -> tuple[object, ...]:
        """What a kernel depends on."""
        return tuple([self._key(k, v) for k, v in enumerate(values)])

    def built(self, values: tuple[Any, ...]) -> Built:
        key = self.key(values)
        built = self.cache.get(key)
        if built is None:
            built = self.cache[key] = self.make(values)
            BUILT.setdefault(built.kernel, []).append((self, built))
        return built

    def make(self, values: tuple[Any, ...]) -> Built:
        """The kernel of these values."""
        from tdsl.lang.index_build import build  # pays only where index notation is used

        return build(self, values)

    def _key(self, number: int, value: Any) -> object:
        if isinstance(value, (bool, DType)) or (number in self.literal and isinstance(value, int)):
            return value
        if isinstance(value, (int, float)):
            return type(value)
        shape = getattr(value, "shape", None)
        return type(value) if shape is None else (tuple(shape), value.dtype)


# The statements behind each kernel: what an error that a kernel reports is about.
BUILT: dict[Kernel, list[tuple[Site, Built]]] = {}
_recorder: list[Callable[..., Any]] = []


def _record(kernel: Kernel, tensors: list[Any], numbers: list[Any]) -> Any:
    if not _recorder:
        from tdsl.tensor import index_op  # the tensors build on NumPy; a check of a script does not need them

        _recorder.append(index_op)
    return _recorder[0](kernel, tensors, numbers)


def analyze(node: ast.Node, source: ast.Source, shadowed: Collection[str] = ()) -> Site:
    """The site of an `IndexDef` or of a `Reduction`; `shadowed` are library names that the script defines itself."""
    return Analysis(source, frozenset(shadowed)).site(node)


def has_index_notation(node: ast.Node) -> bool:
    return any(isinstance(n, ast.Reduction) for n in ast.walk(node))


class Analysis:
    """Statements over shared slots; `own` names the tensors that they define and may read themselves."""

    def __init__(self, source: ast.Source, shadowed: frozenset[str], own: frozenset[str] = frozenset()) -> None:
        self.source = source
        self.own = own
        self.shadowed = shadowed
        self.slots: list[ast.Node] = []
        self.known: dict[tuple[str, ...], int] = {}
        self.literal: set[int] = set()

    def site(self, node: ast.Node) -> Site:
        if isinstance(node, ast.Reduction):
            body, name = self.form(node, frozenset(), False), "value"
            binders: tuple[ast.Binder, ...] = ()
        else:
            assert isinstance(node, ast.IndexDef)
            name = node.name
            self.distinct(node.binders, frozenset())
            binders = tuple(self.binder(b) for b in node.binders)
            body = self.form(node.value, frozenset(b.name for b in node.binders if b.name != "_"), False)
        return Site(self.source, node, name, binders, body, tuple(self.slots), frozenset(self.literal))

    def error(self, code: str, message: str, node: ast.Node, hint: str | None = None) -> TdslError:
        return IndexNotationError(message, self.source.span(node.at), code=code, hint=hint)

    def distinct(self, binders: tuple[ast.Binder, ...], bound: frozenset[str]) -> None:
        seen = set(bound)
        for b in binders:
            if b.name in seen and b.name != "_":
                raise self.error("E0417", f"the index `{b.name}` is bound twice", b, "give the inner one another name")
            seen.add(b.name)

    def binder(self, b: ast.Binder) -> ast.Binder:
        lo = None if b.lo is None else self.slot(b.lo, True)
        hi = None if b.hi is None else self.slot(b.hi, True)
        return ast.Binder(b.at, b.name, lo, hi)

    def slot(self, node: ast.Node, literal: bool) -> ast.Node:
        if isinstance(node, ast.Constant):
            return node
        key = _chain(node)
        number = self.known.get(key) if key else None
        if number is None:
            number = len(self.slots)
            self.slots.append(node)
            if key:
                self.known[key] = number
        if literal:
            self.literal.add(number)
        return Slot(node.at, number, node)

    # `position`: the value is a position or a range, so its integers are literals.
    def form(self, node: ast.Node, bound: frozenset[str], position: bool) -> ast.Node:
        if isinstance(node, ast.Name) and node.id in bound:
            return node
        if isinstance(node, ast.Name) and node.id in CONSTANTS and node.id not in self.shadowed:
            return ast.Constant(node.at, CONSTANTS[node.id])
        if isinstance(node, ast.Reduction):
            return self.reduction(node, bound)
        literal = isinstance(node, ast.Unary) and node.op == "-" and isinstance(node.value, ast.Constant)
        if not literal and not self.inner(node, bound):
            return self.slot(node, position)
        make = getattr(self, f"form_{type(node).__name__.lower()}", None)
        if make is None:
            raise self.error("E0406", "this is not an expression for one element", node)
        result = make(node, bound, position)
        assert isinstance(result, ast.Node)
        return result

    def inner(self, node: ast.Node, bound: frozenset[str]) -> bool:
        """Whether the kernel has to compute it: it uses an index, or holds a reduction or an elementwise function."""
        if bound and any(isinstance(n, ast.Name) and n.id in bound for n in ast.walk(node)):
            return True
        stack = [node]
        while stack:
            n = stack.pop()
            if isinstance(n, ast.Reduction) or (isinstance(n, ast.Subscript) and n.fill is not None):
                return True
            if isinstance(n, ast.Name) and n.id in CONSTANTS and n.id not in self.shadowed:
                return True
            if isinstance(n, ast.Call) and self.elementwise(n.fn):
                if isinstance(n.fn, ast.Name) and n.fn.id not in ("max", "min"):
                    return True
            elif isinstance(n, (ast.Binary, ast.Unary, ast.Bool, ast.Compare, ast.Cond)):
                stack.extend(ast.children(n))
        return False

    def elementwise(self, fn: ast.Node) -> bool:
        return isinstance(fn, ast.Name) and fn.id in ELEMENTWISE and fn.id not in self.shadowed

    def reduction(self, node: ast.Reduction, bound: frozenset[str]) -> ast.Node:
        self.distinct(node.binders, bound)
        if node.op in ("argmax", "argmin") and len(node.binders) > 1:
            raise self.error("E0409", f"`{node.op}` takes one index", node)
        for b in node.binders:
            for limit in (b.lo, b.hi):
                if limit is not None and any(isinstance(n, ast.Name) and n.id in bound for n in ast.walk(limit)):
                    hint = "write the whole range and a guard: sum[j if j <= i]"
                    raise self.error("E0409", "a range may not depend on another index", limit, hint)
        inside = bound | {b.name for b in node.binders}
        binders = tuple(self.binder(b) for b in node.binders)
        guard = None if node.guard is None else self.form(node.guard, inside, False)
        return ast.Reduction(node.at, node.op, binders, guard, self.form(node.body, inside, False))

    def form_constant(self, node: ast.Constant, bound: frozenset[str], position: bool) -> ast.Node:
        return node

    def form_subscript(self, node: ast.Subscript, bound: frozenset[str], position: bool) -> ast.Node:
        if any(isinstance(n, ast.Name) and n.id in bound for n in ast.walk(node.base)):
            raise self.error("E0406", "what is read may not depend on an index", node.base)
        for item in node.items:
            if isinstance(item, ast.Slice) or (isinstance(item, ast.Constant) and not isinstance(item.value, int)):
                raise self.error("E0407", "a read has one index for each dimension", item, "bind an index for it")
        known = isinstance(node.base, ast.Name) and node.base.id in self.own
        base = node.base if known else self.slot(node.base, False)
        items = tuple(self.form(item, bound, True) for item in node.items)
        fill = None if node.fill is None else self.form(node.fill, bound, False)
        return ast.Subscript(node.at, base, items, fill)

    def form_binary(self, node: ast.Binary, bound: frozenset[str], position: bool) -> ast.Node:
        if node.op == "@":
            raise self.error("E0406", "`@` is not elementwise", node, "write a sum: sum[k] a[i, k] * b[k, j]")
        spine: list[ast.Binary] = []  # a long sum leans to the left
        left: ast.Node = node
        while isinstance(left, ast.Binary) and left.op != "@" and self.inner(left, bound):
            spine.append(left)
            left = left.left
        made = self.form(left, bound, position)
        for here in reversed(spine):
            made = ast.Binary(here.at, here.op, made, self.form(here.right, bound, position))
        return made

    def form_unary(self, node: ast.Unary, bound: frozenset[str], position: bool) -> ast.Node:
        value = self.form(node.value, bound, position)
        if node.op == "-" and isinstance(value, ast.Constant):
            return ast.Constant(node.at, -value.value)
        return ast.Unary(node.at, node.op, value)

    def form_bool(self, node: ast.Bool, bound: frozenset[str], position: bool) -> ast.Node:
        return ast.Bool(node.at, node.op, self.form(node.left, bound, False), self.form(node.right, bound, False))

    def form_compare(self, node: ast.Compare, bound: frozenset[str], position: bool) -> ast.Node:
        bad = [op for op in node.ops if op not in ("<", ">", "<=", ">=", "==", "!=")]
        if bad:
            raise self.error("E0406", f"`{bad[0]}` is not elementwise", node)
        rest = tuple(self.form(e, bound, False) for e in node.rest)
        return ast.Compare(node.at, self.form(node.first, bound, False), node.ops, rest)

    def form_cond(self, node: ast.Cond, bound: frozenset[str], position: bool) -> ast.Node:
        test = self.form(node.test, bound, False)
        return ast.Cond(node.at, self.form(node.then, bound, position), test, self.form(node.orelse, bound, position))

    def form_call(self, node: ast.Call, bound: frozenset[str], position: bool) -> ast.Node:
        args: list[ast.Node] = []
        for arg in node.args:
            if isinstance(arg, ast.Star):
                raise self.error("E0406", "arguments may not be spread here", arg)
            if isinstance(arg, ast.Keyword):
                args.append(ast.Keyword(arg.at, arg.name, self.form(arg.value, bound, position)))
            else:
                args.append(self.form(arg, bound, position))
        if self.elementwise(node.fn):
            return ast.Call(node.at, node.fn, tuple(args))
        if isinstance(node.fn, ast.Attribute) and node.fn.name in METHODS:
            base = self.form(node.fn.base, bound, position)
            return ast.Call(node.at, ast.Name(node.fn.name_at, node.fn.name), (base, *args))
        what = node.fn.id if isinstance(node.fn, ast.Name) else "this"
        hint = "call it before, and read its result: r[i]"
        raise self.error("E0406", f"`{what}` is not elementwise, so it cannot be applied to one element", node, hint)


def _chain(node: ast.Node) -> tuple[str, ...] | None:
    """The names of `a.b.c`, which may be evaluated once for all its uses; None for anything else."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.append(node.name)
        node = node.base
    return (node.id, *reversed(names)) if isinstance(node, ast.Name) else None

"""A site and the values of its slots → a kernel: dtypes by PyTorch's promotion, numbers weak, ranges resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tdsl.compiler import kernel as k
from tdsl.compiler import kernel_text
from tdsl.compiler.dtype import BOOL, FLOAT, INT, DType, bool_, by_name, f32, i64, promote
from tdsl.compiler.graph import Size
from tdsl.compiler.ranges import OPEN, Resolved, resolve
from tdsl.compiler.source import IndexNotationError, Label, TdslError
from tdsl.lang import ast
from tdsl.lang.index_site import Built, Site, Slot

NUMBER, SCALAR, ELEMENT = 0, 1, 2  # how strongly a dtype is meant: a plain number, a 0-d tensor, an element


@dataclass(frozen=True, eq=False, slots=True)
class Typed:
    """An expression whose dtype may still follow its surroundings: `to` makes it in the dtype asked for."""

    to: Callable[[DType], k.Expr]
    dtype: DType
    level: int

    @property
    def expr(self) -> k.Expr:
        return self.to(self.dtype)


def fixed(e: k.Expr, level: int = ELEMENT) -> Typed:
    return Typed(lambda d: k.cast(e, d), e.dtype, level)


def common(*operands: Typed) -> tuple[DType, int]:
    """PyTorch's result type: the strongest level decides, unless a weaker one is of a higher category."""
    result: DType | None = None
    for level in (ELEMENT, SCALAR, NUMBER):
        here = [x.dtype for x in operands if x.level == level]
        if not here:
            continue
        own = here[0]
        for dtype in here[1:]:
            own = promote(own, dtype)
        if result is None or own.category > result.category:
            result = own
    assert result is not None
    return result, max(x.level for x in operands)


def build(site: Site, values: tuple[Any, ...]) -> Built:
    """The kernel of these values; an `IndexNotationError` with its place where it has no meaning."""
    return Builder(site, values).build()


class Builder:
    """Forms of a site → expressions of a kernel. `locals` are definitions that the expressions read."""

    def __init__(self, site: Site, values: tuple[Any, ...]) -> None:
        self.site = site
        self.values = values
        self.params: list[k.Param] = []
        self.tensors: dict[int, str] = {}
        self.numbers: dict[tuple[int, DType], str] = {}
        self.axes: set[str] = set()
        self.nodes: dict[int, ast.Node] = {}  # id of a kernel expression -> where it was written
        self.kept: list[k.Expr] = []  # keeps those ids alive
        self.locals: list[k.Definition] = []
        for number, value in enumerate(values):
            if _is_tensor(value):
                self.tensors[number] = self.param(value.dtype, tuple(value.shape), False)

    def param(self, dtype: DType, shape: tuple[Size, ...], is_number: bool) -> str:
        name = f"a{len(self.params)}"
        self.params.append(k.Param(name, dtype, shape, is_number))
        return name

    def error(self, code: str, message: str, node: ast.Node, hint: str | None = None) -> TdslError:
        return IndexNotationError(message, self.site.source.span(node.at), code=code, hint=hint)

    def build(self) -> Built:
        scope: dict[str, str] = {}
        binders = tuple(self.binder(b, scope, outer=True) for b in self.site.binders)
        expr = self.form(self.site.body, scope).expr
        found = self.resolved(binders, (expr,), self.shapes(), tuple(b.name for b in binders))
        body = k.Definition("y", tuple(found.binders), found.expressions[0])
        return self.built(k.Kernel("index", tuple(self.params), (*self.locals, body), ("y",)))

    def shapes(self) -> dict[str, tuple[Size, ...]]:
        """The shapes of the tensors that expressions may read."""
        return {p.name: p.shape for p in self.params} | {d.name: d.shape for d in self.locals}

    def resolved(
        self,
        binders: tuple[k.Binder, ...],
        expressions: tuple[k.Expr, ...],
        shapes: Mapping[str, tuple[Size, ...]],
        outputs: tuple[str, ...],
        guarded: bool = False,
    ) -> Resolved:
        try:
            return resolve(binders, expressions, shapes, outputs, self.text, guarded)
        except TdslError as error:
            raise self.place(error) from None

    def built(self, kernel: k.Kernel) -> Built:
        return Built(kernel_text.intern(kernel), tuple(self.tensors), tuple(slot for slot, _ in self.numbers))

    def text(self, e: k.Expr) -> str:
        """What the script says for an expression."""
        node = self.nodes.get(id(e))
        return kernel_text.show_expression(e) if node is None else self.site.source.text[node.at[0] : node.at[1]]

    def place(self, error: TdslError) -> TdslError:
        """The error of the ranges, with the places of the expressions that it carries."""
        found: list[ast.Node] = []
        for e in getattr(error, "exprs", ()) or getattr(error, "expressions", ()) or ():
            if id(e) in self.nodes:
                found.append(self.nodes[id(e)])
        texts = list(getattr(error, "texts", ()) or getattr(error, "label_texts", ()) or [])
        spans = [self.site.source.span(n.at) for n in found] or [self.site.source.span(self.site.node.at)]
        texts += [""] * len(spans)
        labels = [Label(s, texts[n], primary=n == len(spans) - 1) for n, s in enumerate(spans)]
        names = {name: _text(self.site, n) for n, name in self.tensors.items()}
        message, hint = _named(error.message, names), error.hint and _named(error.hint, names)
        return IndexNotationError(message, spans[-1], code=error.code, labels=labels, notes=error.notes, hint=hint)

    def axis(self, name: str) -> str:
        if name == "_":
            return self.unique("unit")
        return self.unique(name)

    def unique(self, name: str) -> str:
        tried, count = name, 2
        while tried in self.axes or (tried[0] == "a" and tried[1:].isdigit()) or tried == "y":
            tried, count = f"{name}_{count}", count + 1
        self.axes.add(tried)
        return tried

    def binder(self, b: ast.Binder, scope: dict[str, str], outer: bool = False) -> k.Binder:
        name = self.axis(b.name)
        if b.name == "_":
            return k.Binder(name, 0, 1)
        scope[b.name] = name
        if b.lo is None or b.hi is None:
            return k.Binder(name, OPEN, OPEN)
        lo, hi = self.limit(b.lo), self.limit(b.hi)
        if outer and lo != 0:
            hint = "an output index starts at 0: shift the subscripts"
            raise self.error("E0416", f"the range of `{b.name}` starts at {lo}", b, hint)
        return k.Binder(name, lo, max(lo, hi))

    def limit(self, node: ast.Node) -> int:
        value = node.value if isinstance(node, ast.Constant) else self.value_of(node)
        if _is_tensor(value) and not value.dtype.is_float and value.dim() == 0:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error("E0416", f"a range is made of integers, not {_kind(value)}", node)
        return value

    def value_of(self, node: ast.Node) -> Any:
        assert isinstance(node, Slot)
        return self.values[node.number]

    # ------------------------------------------------------------------------------------- expressions

    def form(self, node: ast.Node, scope: dict[str, str]) -> Typed:
        made: Typed = getattr(self, f"form_{type(node).__name__.lower()}")(node, scope)
        return made

    def form_name(self, node: ast.Name, scope: dict[str, str]) -> Typed:
        axis = k.Axis(scope[node.id])
        return Typed(lambda d: k.cast(axis, d), i64, NUMBER)

    def form_constant(self, node: ast.Constant, scope: dict[str, str]) -> Typed:
        value = node.value
        if not isinstance(value, (bool, int, float)):
            raise self.error("E0406", f"{_kind(value)} is no number", node)
        return _constant(value)

    def form_slot(self, node: Slot, scope: dict[str, str]) -> Typed:
        value = self.values[node.number]
        if _is_tensor(value):
            if value.dim() != 0:
                name = _text(self.site, node.number)
                hint = f"read one element of it: {name}[{', '.join('ijklmn'[: value.dim()])}]"
                message = f"`{name}` is {_kind(value)} and has no indices here"
                raise self.error("E0405", message, node, hint)
            return fixed(k.Read(self.tensors[node.number], (), value.dtype), SCALAR)
        if isinstance(value, bool) or (isinstance(value, int) and node.number in self.site.literal):
            return _constant(value)
        if isinstance(value, (int, float)):
            return Typed(lambda d: self.number(node.number, d), f32 if isinstance(value, float) else i64, NUMBER)
        raise self.error("E0406", f"{_kind(value)} is no number", node)

    def number(self, slot: int, dtype: DType) -> k.Expr:
        """The run-time number of a slot, as a param of that dtype."""
        if dtype is bool_:
            return k.call("ne", self.number(slot, i64), k.Const(0, i64))
        name = self.numbers.get((slot, dtype))
        if name is None:
            name = self.numbers[slot, dtype] = self.param(dtype, (), True)
        return k.Read(name, (), dtype)

    def form_subscript(self, node: ast.Subscript, scope: dict[str, str]) -> Typed:
        value = self.value_of(node.base)
        assert isinstance(node.base, Slot)
        text = _text(self.site, node.base.number)
        if not _is_tensor(value):
            raise self.error("E0406", f"`{text}` is {_kind(value)}, and only tensors are read by an index", node.base)
        if len(node.items) != value.dim():
            plural = "index" if len(node.items) == 1 else "indices"
            message = f"`{text}` has {value.dim()} dimensions and is read with {len(node.items)} {plural}"
            raise self.error("E0407", message, node, "write one index for each dimension")
        index = tuple(self.position(item, scope) for item in node.items)
        name = self.tensors[node.base.number]
        if node.fill is None:
            return fixed(self.remember(k.Read(name, index, value.dtype), node))
        fill = self.form(node.fill, scope)
        dtype, _ = common(Typed(lambda d: fill.expr, value.dtype, ELEMENT), fill)
        if dtype is not value.dtype:
            name = self.converted(name, value, dtype)
        return fixed(self.remember(k.Read(name, index, dtype, fill.to(dtype)), node))

    def converted(self, name: str, value: Any, dtype: DType) -> str:
        """A definition of the tensor in another dtype: what is read outside may be of a higher category."""
        axes = tuple(self.unique("o") for _ in value.shape)
        binders = tuple(k.Binder(a, 0, n) for a, n in zip(axes, value.shape, strict=True))
        read = k.Read(name, tuple(k.Axis(a) for a in axes), value.dtype)
        made = self.unique(f"{name}_as_{dtype.name}")
        self.locals.append(k.Definition(made, binders, k.cast(read, dtype)))
        return made

    def remember(self, e: k.Expr, node: ast.Node) -> k.Expr:
        self.nodes[id(e)] = node
        self.kept.append(e)
        return e

    def position(self, node: ast.Node, scope: dict[str, str]) -> k.Expr:
        typed = self.form(node, scope)
        if typed.dtype.category != INT:
            hint = "convert it: .long()" if typed.dtype.category == FLOAT else None
            raise self.error("E0408", f"a position is an integer, and this is {typed.dtype.name}", node, hint)
        return typed.to(i64)

    def form_binary(self, node: ast.Binary, scope: dict[str, str]) -> Typed:
        spine: list[ast.Binary] = []
        left: ast.Node = node
        while isinstance(left, ast.Binary):
            spine.append(left)
            left = left.left
        made = self.form(left, scope)
        for here in reversed(spine):
            made = self.apply(BINARY[here.op], [made, self.form(here.right, scope)], here)
        return made

    def form_unary(self, node: ast.Unary, scope: dict[str, str]) -> Typed:
        value = self.form(node.value, scope)
        if node.op == "+":
            return value
        if node.op == "not":
            return self.function("not", [self.condition(value)])
        if node.op == "~" and value.dtype.is_float:
            raise self.error("E0306", f"`~` is for bools and integers, not {value.dtype.name}", node)
        return self.apply("neg" if node.op == "-" else "not", [value], node)

    def condition(self, x: Typed) -> Typed:
        if x.dtype is bool_:
            return x
        return fixed(k.call("ne", x.expr, k.Const(0.0 if x.dtype.is_float else 0, x.dtype)), x.level)

    def form_bool(self, node: ast.Bool, scope: dict[str, str]) -> Typed:
        pair = [self.condition(self.form(x, scope)) for x in (node.left, node.right)]
        return self.function(node.op, pair)

    def form_compare(self, node: ast.Compare, scope: dict[str, str]) -> Typed:
        operands = [self.form(e, scope) for e in (node.first, *node.rest)]
        tests = [
            self.apply(COMPARE[op], [a, b], node) for op, a, b in zip(node.ops, operands, operands[1:], strict=False)
        ]
        result = tests[0]
        for test in tests[1:]:
            result = self.function("and", [result, test])
        return result

    def form_cond(self, node: ast.Cond, scope: dict[str, str]) -> Typed:
        return self.where(*(self.form(e, scope) for e in (node.test, node.then, node.orelse)))

    def where(self, test: Typed, then: Typed, orelse: Typed) -> Typed:
        condition = self.condition(test).expr
        dtype, level = common(then, orelse)
        return Typed(lambda d: k.call("where", condition, then.to(d), orelse.to(d)), dtype, level)

    def form_reduction(self, node: ast.Reduction, scope: dict[str, str]) -> Typed:
        inner = dict(scope)
        binders = tuple(self.binder(b, inner) for b in node.binders)
        guard = None if node.guard is None else self.condition(self.form(node.guard, inner)).expr
        body = self.form(node.body, inner)
        if node.op in ("mean", "logsumexp") and not body.dtype.is_float:
            raise self.error("E0306", f"`{node.op}` of {body.dtype.name}", node, "convert first: .to(f32)")
        if node.op in ("any", "all"):
            body = self.condition(body)
        dtype = i64 if node.op in ("sum", "prod") and not body.dtype.is_float else body.dtype
        value = body.to(dtype)
        result = i64 if node.op in ("argmax", "argmin") else dtype
        return fixed(self.remember(k.Reduce(node.op, binders, value, result, guard), node), max(body.level, SCALAR))

    # --------------------------------------------------------------------------------------- functions

    def function(self, fn: str, args: list[Typed]) -> Typed:
        """A function of FUNCTIONS over operands of one dtype, which may still follow the surroundings."""
        record = k.FUNCTIONS[fn]
        dtype, level = common(*args)
        if record.result == "bool":
            return fixed(k.call(fn, *(a.to(dtype) for a in args)), level)
        if record.float_only and not dtype.is_float:
            dtype = f32
        if level == NUMBER:
            return Typed(lambda d: _weak(fn, args, dtype, d), dtype, level)
        return fixed(k.call(fn, *(a.to(dtype) for a in args)), level)

    def apply(self, fn: str, args: list[Typed], node: ast.Node) -> Typed:
        dtype, _ = common(*args)
        if fn in ("sub", "neg") and dtype is bool_:
            raise self.error("E0306", f"`{k.FUNCTIONS[fn].infix}` of bools", node, "use `!=` or `not`")
        if fn in ("and", "or", "xor") and dtype.is_float:
            raise self.error("E0306", f"`{k.FUNCTIONS[fn].infix}` is for bools and integers, not {dtype.name}", node)
        if dtype is bool_ and fn in ("add", "mul"):
            return self.function("or" if fn == "add" else "and", args)
        if dtype is bool_ and fn in ("floordiv", "mod", "pow"):
            args = [fixed(a.to(i64), a.level) for a in args]
        return self.function(fn, args)

    def form_call(self, node: ast.Call, scope: dict[str, str]) -> Typed:
        assert isinstance(node.fn, ast.Name)
        name = node.fn.id
        named = {a.name: self.form(a.value, scope) for a in node.args if isinstance(a, ast.Keyword)}
        plain = [a for a in node.args if not isinstance(a, ast.Keyword)]
        if name == "to":
            return self.to_dtype(plain, node, scope)
        args = [self.form(a, scope) for a in plain]
        if name in CASTS or name in DTYPE_NAMES:
            if len(args) != 1:
                raise self.error("E0406", f"`{name}` takes one argument here", node)
            dtype = CASTS.get(name) or by_name(name)
            return self.literal(args[0], dtype)
        return self.library(name, args, named, node)

    def literal(self, x: Typed, dtype: DType) -> Typed:
        return fixed(x.to(dtype), max(x.level, SCALAR))

    def to_dtype(self, plain: list[ast.Node], node: ast.Node, scope: dict[str, str]) -> Typed:
        dtype = self.values[plain[1].number] if len(plain) == 2 and isinstance(plain[1], Slot) else None
        if not isinstance(dtype, DType):
            raise self.error("E0406", "`.to` takes a dtype here", node, "write .to(f32)")
        x = self.form(plain[0], scope)
        return fixed(k.cast(x.expr, dtype) if x.level != NUMBER else x.to(dtype), max(x.level, ELEMENT))

    def library(self, name: str, args: list[Typed], named: dict[str, Typed], node: ast.Node) -> Typed:
        if name in ("clamp", "clip"):
            return self.clamp(args, named, node)
        if named:
            raise self.error("E0406", f"`{name}` takes no argument `{next(iter(named))}` here", node)
        if name == "where" and len(args) == 3:
            return self.where(*args)
        if name in ("max", "min", "maximum", "minimum") and len(args) >= 2:
            result = args[0]
            for x in args[1:]:
                result = self.apply("maximum" if name.startswith("max") else "minimum", [result, x], node)
            return result
        if name in COMPOSED and len(args) == 1:
            return COMPOSED[name](self, args[0], node)
        if name == "philox" and len(args) == 2:
            return fixed(k.call("philox", *(a.to(i64) for a in args)))
        if name in ("logical_and", "logical_or", "logical_not"):
            return self.function(name.removeprefix("logical_"), [self.condition(a) for a in args])
        fn = ALIASES.get(name, name)
        if fn not in k.FUNCTIONS or len(args) != k.FUNCTIONS[fn].arity:
            count = k.FUNCTIONS[fn].arity if fn in k.FUNCTIONS else 1
            raise self.error("E0204", f"`{name}` takes {count} argument{'s' * (count != 1)}, not {len(args)}", node)
        if fn in ("floor", "ceil", "round", "trunc") and not args[0].dtype.is_float:
            return args[0]
        return self.apply(fn, args, node)

    def clamp(self, args: list[Typed], named: dict[str, Typed], node: ast.Node) -> Typed:
        low = args[1] if len(args) > 1 else named.get("min")
        high = args[2] if len(args) > 2 else named.get("max")
        if not args or len(args) > 3 or (low is None and high is None):
            raise self.error("E0204", "`clamp` takes a value and its limits: clamp(x, low, high)", node)
        result = args[0]
        if low is not None:
            result = self.function("maximum", [result, low])
        return self.function("minimum", [result, high]) if high is not None else result


def _weak(fn: str, args: list[Typed], own: DType, wanted: DType) -> k.Expr:
    """A function of plain numbers, in the dtype that its surroundings want."""
    dtype = wanted if wanted.category == own.category and wanted.is_float else own
    return k.cast(k.call(fn, *(a.to(dtype) for a in args)), wanted)


def _constant(value: bool | int | float) -> Typed:
    def make(dtype: DType) -> k.Expr:
        if dtype.category == FLOAT:
            return k.Const(float(value), dtype)
        if dtype.category == BOOL:
            return k.Const(bool(value), dtype)
        return k.Const(int(value), dtype)

    dtype = bool_ if isinstance(value, bool) else f32 if isinstance(value, float) else i64
    return Typed(make, dtype, NUMBER)


def _gelu(b: Builder, x: Typed, node: ast.Node) -> Typed:
    inside = b.function("erf", [b.function("mul", [x, _constant(0.7071067811865476)])])
    half = b.function("mul", [x, _constant(0.5)])
    return b.function("mul", [half, b.function("add", [_constant(1.0), inside])])


COMPOSED: dict[str, Callable[[Builder, Typed, ast.Node], Typed]] = {
    "square": lambda b, x, n: b.apply("mul", [x, x], n),
    "reciprocal": lambda b, x, n: b.apply("div", [_constant(1.0), x], n),
    "silu": lambda b, x, n: b.function("mul", [x, b.function("sigmoid", [x])]),
    "softplus": lambda b, x, n: b.function(
        "add",
        [
            b.function("relu", [x]),
            b.function("log1p", [b.function("exp", [b.function("neg", [b.function("abs", [x])])])]),
        ],
    ),
    "gelu": _gelu,
    "leaky_relu": lambda b, x, n: b.where(
        b.function("gt", [x, _constant(0.0)]), x, b.function("mul", [x, _constant(0.01)])
    ),
    "isinf": lambda b, x, n: b.function("eq", [b.function("abs", [x]), _constant(float("inf"))]),
    "isfinite": lambda b, x, n: b.function("lt", [b.function("abs", [x]), _constant(float("inf"))]),
}
CASTS: dict[str, DType] = {"long": i64, "float": f32, "double": by_name("f64"), "int": by_name("i32")}
DTYPE_NAMES = {"u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"}
ALIASES = {"absolute": "abs", "remainder": "mod"}
BINARY = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "//": "floordiv", "%": "mod", "**": "pow",
    "&": "and", "|": "or", "^": "xor",
}  # fmt: skip
COMPARE = {"<": "lt", ">": "gt", "<=": "le", ">=": "ge", "==": "eq", "!=": "ne"}


def _is_tensor(value: Any) -> bool:
    return isinstance(getattr(value, "dtype", None), DType) and hasattr(value, "shape")


def _kind(value: Any) -> str:
    if _is_tensor(value):
        return f"{value.dtype.name}[{', '.join(map(str, value.shape))}]"
    return "None" if value is None else f"a {type(value).__name__}"


def _text(site: Site, slot: int) -> str:
    at = site.slots[slot].at
    return site.source.text[at[0] : at[1]]


def _named(text: str, names: dict[str, str]) -> str:
    """The message with the script's names for the params a0, a1, ... that it mentions in backquotes."""
    for name, shown in names.items():
        text = text.replace(f"`{name}[", f"`{shown}[").replace(f"`{name}`", f"`{shown}`")
    return text

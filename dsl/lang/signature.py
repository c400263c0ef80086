"""Annotations, checked at every call: plain types by kind, tensors by dtype and shape; sizes unify by name."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tdsl.compiler.dtype import DTYPES, HALVES, DType
from tdsl.compiler.source import Label, ShapeError, Span, TypeError
from tdsl.lang import ast

KINDS = {"float": 2, "int": 1, "num": None}
PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "bool": (bool,), "str": (str,), "list": (list, tuple), "dict": (dict,),
    "tuple": (tuple,),
}  # fmt: skip
DTYPE_BY_NAME = {d.name: d for d in (*DTYPES, *HALVES)}
TENSOR_TYPES = {*DTYPE_BY_NAME, *KINDS, "bool", "tensor"}
Sizes = dict[str, Any]


def is_tensor(value: object) -> bool:
    return isinstance(getattr(value, "dtype", None), DType) and hasattr(value, "shape")


def describe(value: Any) -> str:
    """What a value is, for a message: `f32[3, 4]`, `an int`."""
    if is_tensor(value):
        return f"{value.dtype.name}[{', '.join(map(str, value.shape))}]"
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


@dataclass(eq=False, slots=True)
class Mismatch:
    """Why a value does not fit; `dim` is the dimension's annotation, `axis` its number."""

    reason: str
    node: ast.Node
    dim: ast.Node | None = None
    axis: int | None = None
    expected: Any = None
    actual: Any = None
    shape: bool = False


@dataclass(eq=False, slots=True)
class Bindings:
    """Sizes found so far, with the argument and the dimension that gave each."""

    sizes: Sizes
    origin: dict[str, tuple[str, ast.Node, str]] = field(default_factory=dict)
    later: list[tuple[ast.Node, int, int, ast.Node]] = field(default_factory=list)

    def match(self, kind: ast.Node, value: Any, who: str) -> Mismatch | None:
        """None when `value` fits `kind`; sizes are bound on the way."""
        if isinstance(kind, ast.OptionalType):
            return None if value is None else self.match(kind.inner, value, who)
        if isinstance(kind, ast.TupleType):
            return self._tuple(kind, value, who)
        if isinstance(kind, ast.NamedType):
            return _plain(kind, value)
        assert isinstance(kind, ast.ShapedType)
        if kind.name in ("list", "tuple"):
            return self._list(kind, value, who)
        if kind.name == "dict":
            return None if isinstance(value, dict) else Mismatch(f"this is {describe(value)}", kind)
        return self._tensor(kind, value, who)

    def _tuple(self, kind: ast.TupleType, value: Any, who: str) -> Mismatch | None:
        if not isinstance(value, tuple) or len(value) != len(kind.items):
            return Mismatch(f"this is {describe(value)}, not {len(kind.items)} values", kind)
        for inner, item in zip(kind.items, value, strict=True):
            bad = self.match(inner, item, who)
            if bad:
                return bad
        return None

    def _list(self, kind: ast.ShapedType, value: Any, who: str) -> Mismatch | None:
        if not isinstance(value, (list, tuple)):
            return Mismatch(f"this is {describe(value)}, not a {kind.name}", kind)
        inner = as_type(kind.dims[0]) if len(kind.dims) == 1 else None
        for item in value if inner is not None else ():
            bad = self.match(inner, item, who) if inner is not None else None
            if bad:
                return bad
        return None

    def _tensor(self, kind: ast.ShapedType, value: Any, who: str) -> Mismatch | None:
        if not is_tensor(value):
            return Mismatch(f"this is {describe(value)}, not a tensor", kind)
        if not _dtype_fits(kind.name, value.dtype):
            return Mismatch(f"this is {describe(value)}, and the annotation says {kind.name}", kind)
        return self._shape(kind, tuple(value.shape), who, describe(value))

    def _shape(self, kind: ast.ShapedType, shape: tuple[int, ...], who: str, what: str) -> Mismatch | None:
        dims = kind.dims
        star = next((k for k, d in enumerate(dims) if isinstance(d, (ast.DimsAny, ast.DimsNamed))), None)
        count = len(dims) - (star is not None)
        if count > len(shape) or (star is None and count != len(shape)):
            least = "at least " if star is not None else ""
            reason = f"it needs {least}{count} dimension{'s' * (count != 1)}, and this is {what}"
            return Mismatch(reason, kind, shape=True)
        pairs = list(zip(dims, range(len(dims)), strict=True))
        if star is not None:
            extra = len(shape) - len(dims)
            group = shape[star : star + extra + 1]
            dim = dims[star]
            if isinstance(dim, ast.DimsNamed):
                known = self.sizes.setdefault(f"*{dim.name}", group)
                if known != group:
                    reason = f"*{dim.name} is {list(known)}, but here it is {list(group)}"
                    return Mismatch(reason, kind, dim, star, known, group, True)
            pairs = [(d, k) for d, k in pairs if k < star] + [(d, k + extra) for d, k in pairs if k > star]
        for dim, axis in pairs:
            bad = self._dim(dim, shape[axis], axis, kind, who, what)
            if bad:
                return bad
        return None

    def _dim(self, dim: ast.Node, size: int, axis: int, kind: ast.ShapedType, who: str, what: str) -> Mismatch | None:
        if isinstance(dim, ast.Name):
            if dim.id == "_":
                return None
            if dim.id not in self.sizes:
                self.sizes[dim.id] = size
                self.origin[dim.id] = (who, dim, what)
                return None
        wanted = evaluate(dim, self.sizes)
        if wanted is None:
            self.later.append((dim, size, axis, kind))
        elif wanted != size:
            return Mismatch("", kind, dim, axis, wanted, size, True)
        return None

    def finish(self) -> Mismatch | None:
        """Dimensions that waited for a name of a later argument."""
        for dim, size, axis, kind in self.later:
            wanted = evaluate(dim, self.sizes)
            if wanted is not None and wanted != size:
                return Mismatch("", kind, dim, axis, wanted, size, True)
        self.later.clear()
        return None


def _dtype_fits(name: str, dtype: DType) -> bool:
    if name in DTYPE_BY_NAME:
        return dtype is DTYPE_BY_NAME[name]
    if name in KINDS:
        return KINDS[name] is None or dtype.category == KINDS[name]
    return name == "tensor"


def _plain(kind: ast.NamedType, value: Any) -> Mismatch | None:
    name = kind.name
    if name in PLAIN:
        wanted = PLAIN[name]
        good = isinstance(value, wanted) and (name == "bool" or not isinstance(value, bool))
        article = "an" if name == "int" else "a"
        return None if good else Mismatch(f"this is {describe(value)}, not {article} {name}", kind)
    if name in DTYPE_BY_NAME or name == "tensor" or name == "num":
        good = is_tensor(value) and (name == "tensor" or _dtype_fits(name, value.dtype))
        return None if good else Mismatch(f"this is {describe(value)}, not {name}", kind)
    own = getattr(type(value), "tdsl_name", None)
    if own is not None and own != name.split(".")[-1]:
        return Mismatch(f"this is a {own}, not a {name}", kind)
    return None


def as_type(node: ast.Node) -> ast.Node | None:
    """The element type of `list[f32[N]]`, which the grammar reads as an expression."""
    if isinstance(node, ast.Name):
        return ast.NamedType(node.at, node.id)
    if isinstance(node, ast.Subscript) and isinstance(node.base, ast.Name):
        return ast.ShapedType(node.at, node.base.id, node.items)
    return None


OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "//": lambda a, b: a // b if b else 0,
    "%": lambda a, b: a % b if b else 0,
    "**": lambda a, b: int(a**b),
}


def evaluate(node: ast.Node, sizes: Mapping[str, Any]) -> Any:
    """The value of a dimension; None while a name in it is unknown."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return sizes.get(node.id)
    if isinstance(node, ast.Attribute):
        base = evaluate(node.base, sizes)
        return None if base is None or node.name.startswith("_") else getattr(base, node.name, None)
    if isinstance(node, ast.Unary) and node.op == "-":
        value = evaluate(node.value, sizes)
        return None if value is None else -value
    if isinstance(node, ast.Subscript) and len(node.items) == 1:
        base, item = evaluate(node.base, sizes), evaluate(node.items[0], sizes)
        return None if base is None or item is None else base[item]
    if isinstance(node, ast.Binary) and node.op in OPERATIONS:
        a, b = evaluate(node.left, sizes), evaluate(node.right, sizes)
        return None if a is None or b is None else OPERATIONS[node.op](a, b)
    return None


def annotation_names(types: Sequence[ast.Node | None]) -> list[str]:
    """The names in dimensions, in order; `*S` gives none."""
    found: dict[str, None] = {}
    for kind in types:
        for node in ast.walk(kind) if kind is not None else ():
            if isinstance(node, ast.ShapedType) and node.name not in ("list", "tuple", "dict"):
                for dim in node.dims:
                    found.update((n.id, None) for n in ast.walk(dim) if isinstance(n, ast.Name) and n.id != "_")
            elif isinstance(node, ast.ShapedType):
                for dim in node.dims:
                    inner = as_type(dim)
                    if isinstance(inner, ast.ShapedType):
                        found.update((n, None) for n in annotation_names([inner]))
    return list(found)


@dataclass(eq=False, slots=True)
class Signature:
    """The annotations of one function. `enter` checks the arguments, `leave` the result."""

    source: ast.Source
    name: str
    params: tuple[ast.Param, ...]
    returns: ast.Node | None
    given: tuple[str, ...]  # names whose values come from the parameters and the headers around
    names: tuple[str, ...]  # sizes that become variables of the body
    cache: dict[object, Sizes] = field(default_factory=dict)
    checked: dict[object, None] = field(default_factory=dict)

    def enter(self, given: tuple[Any, ...], values: tuple[Any, ...]) -> Sizes:
        """The sizes of this call; raises E0301 where an argument does not fit."""
        key: object = None
        try:
            key = (tuple([_key(v) for v in given]), tuple([_key(v) for v in values]))
            found = self.cache.get(key)
            if found is not None:
                return found
        except builtins.TypeError:  # an argument that cannot be a key
            key = None
        bindings = Bindings(dict(zip(self.given, given, strict=True)))
        for param, value in zip(self.params, values, strict=True):
            if param.type is None or (value is None and _is_none(param.default)):
                continue
            bad = bindings.match(param.type, value, param.name)
            if bad:
                self._argument(param, value, bad, bindings)
        bad = bindings.finish()
        if bad:
            owner = next(p for p in self.params if p.type is not None and bad.node in ast.walk(p.type))
            self._argument(owner, values[self.params.index(owner)], bad, bindings)
        if key is not None and len(self.cache) < 256:
            self.cache[key] = bindings.sizes
        return bindings.sizes

    def leave(self, sizes: Sizes, value: Any) -> Any:
        """The result, when it is what the annotation says; E0302 otherwise."""
        key = (id(sizes), _key(value)) if is_tensor(value) else None  # `cache` keeps `sizes` alive
        if key is not None and key in self.checked:
            return value
        assert self.returns is not None
        bindings = Bindings(dict(sizes))
        bad = bindings.match(self.returns, value, "the result") or bindings.finish()
        if bad:
            self._result(value, bad, bindings)
        if key is not None and any(s is sizes for s in self.cache.values()):
            self.checked[key] = None
        return value

    def _argument(self, param: ast.Param, value: Any, bad: Mismatch, bindings: Bindings) -> None:
        start = f"argument `{param.name}` of `{self.name}` does not fit: "
        kind = param.type
        assert kind is not None
        labels = []
        if bad.dim is not None and not bad.reason:
            text = self._text(bad.dim)
            message = f"{start}{text} is {bad.expected}, but dimension {bad.axis} is {bad.actual}"
            origin = bindings.origin.get(text)
            if origin:
                who, dim, what = origin
                labels.append(self._label(dim, f"{text} = {bad.expected} from argument `{who}`, {what}"))
            labels.append(self._label(kind, f"needs {self._filled(bad.node, bindings.sizes)}"))
        else:
            message = start + bad.reason
            labels.append(self._label(kind, ""))
        error: type[ShapeError] | type[TypeError] = ShapeError if bad.shape else TypeError
        fault = error(message, None, code="E0301", notes=_found(bindings))
        fault.call_site = (tuple(labels), f"this is {describe(value)}", param.name)  # type: ignore[union-attr]
        raise fault

    def _result(self, value: Any, bad: Mismatch, bindings: Bindings) -> None:
        assert self.returns is not None
        text = self._text(self.returns)
        if bad.reason and not bad.shape:
            message = f"`{self.name}` promised {text}: {bad.reason}"
        else:
            message = f"`{self.name}` promised {text} but returned {describe(value)}"
        sizes = bindings.sizes
        facts = " and ".join(f"{n} = {sizes[n]}" for n in annotation_names([self.returns]) if n in sizes)
        label = f"{facts} here: {self._filled(self.returns, sizes)}" if facts else ""
        error: type[ShapeError] | type[TypeError] = ShapeError if bad.shape else TypeError
        fault = error(message, None, code="E0302")
        fault.call_site = ((self._label(self.returns, label),), f"this is {describe(value)}", None)  # type: ignore[union-attr]
        raise fault

    def _text(self, node: ast.Node) -> str:
        return self.source.text[node.at[0] : node.at[1]]

    def _label(self, node: ast.Node, text: str) -> Label:
        span: Span = self.source.span(node.at)
        return Label(span, text, primary=False)

    def _filled(self, node: ast.Node, sizes: Sizes) -> str:
        if not isinstance(node, ast.ShapedType):
            return self._text(node)
        dims = []
        for dim in node.dims:
            value = evaluate(dim, sizes)
            dims.append(str(value) if value is not None else self._text(dim))
        return f"{node.name}[{', '.join(dims)}]"


def _is_none(node: ast.Node | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _key(value: Any) -> object:
    if isinstance(value, (int, float, str, bool)) or value is None:
        return (type(value), value)
    if is_tensor(value):
        return (tuple(value.shape), value.dtype)
    if isinstance(value, (list, tuple)):
        return (type(value), tuple([_key(v) for v in value]))
    if getattr(type(value), "tdsl_struct", False):
        return value
    raise builtins.TypeError  # its identity may be used again by another object, so it is no key


def _found(bindings: Bindings) -> tuple[str, ...]:
    facts = ", ".join(f"{n} = {v}" for n, v in bindings.sizes.items() if isinstance(v, int) and not isinstance(v, bool))
    return (f"sizes so far: {facts}",) if facts else ()

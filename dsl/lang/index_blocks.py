"""`scan[t]: ...` and `scatter[n]: ...` of a script: their sites, and their kernels from the values of the slots."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tdsl.compiler import kernel as k
from tdsl.compiler import kernel_text
from tdsl.compiler.dtype import DType, bool_, i64
from tdsl.compiler.ranges import OPEN, Resolved, linear
from tdsl.compiler.source import TdslError
from tdsl.lang import ast
from tdsl.lang.index_build import Builder, Typed, common, fixed
from tdsl.lang.index_site import Analysis, Built, Site

# --------------------------------------------------------------------------------------------------- sites


@dataclass(eq=False, slots=True)
class ScatterSite(Site):
    """One line of a scatter: `name[index] op= body` for every point of the binders where the guard holds."""

    target: int = 0  # the slot of the tensor
    index: tuple[ast.Node, ...] = ()
    op: str = "+="
    guard: ast.Node | None = None
    left: ast.Node | None = None  # what stands left of the operator

    def make(self, values: tuple[Any, ...]) -> Built:
        return _ScatterBuilder(self, values).build()


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One definition of a scan."""

    node: ast.IndexDef
    binders: tuple[ast.Binder, ...]
    body: ast.Node


@dataclass(frozen=True, eq=False, slots=True)
class BuiltScan(Built):
    block: k.Kernel
    reverse: bool
    shapes: tuple[tuple[int, ...], ...]  # of the definitions, the scanned axis first
    orders: tuple[tuple[int, ...], ...]  # the dimensions in the script's order


@dataclass(eq=False, slots=True)
class ScanSite(Site):
    """A scan: called with the values of its slots, it gives the values of its definitions."""

    parts: tuple[Part, ...] = ()
    axis: str = ""
    limits: ast.Binder | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.node.name for p in self.parts)

    def __call__(self, *values: Any) -> Any:
        built = self.made(values)
        rows = _scan_op(built, [values[n] for n in built.tensors], [values[n] for n in built.numbers])
        return _unpacked(rows, built)

    def made(self, values: tuple[Any, ...]) -> BuiltScan:
        built = self.built(values)
        assert isinstance(built, BuiltScan)
        return built

    def make(self, values: tuple[Any, ...]) -> Built:
        return _build_scan(self, values)


def analyze_scatter(n: ast.Scatter, source: ast.Source, shadowed: Collection[str] = ()) -> list[ScatterSite]:
    """A site for each line."""
    return [_scatter_site(n, line, Analysis(source, frozenset(shadowed))) for line in n.body]


def _scatter_site(n: ast.Scatter, line: ast.Node, analysis: Analysis) -> ScatterSite:
    target = line.target if isinstance(line, ast.AugAssign) else None
    if not isinstance(line, ast.AugAssign) or not isinstance(target, ast.Subscript) or target.fill is not None:
        raise analysis.error("E0425", "a line of a scatter is name[index] += value, or max=, min=", line)
    if not isinstance(target.base, ast.Name):
        hint = "give it a name first: h = self.h"
        raise analysis.error("E0425", "a scatter gives a new value to a name", target.base, hint)
    if line.op not in ("+", "max", "min"):
        raise analysis.error("E0425", f"`{line.op}=` is no operator of a scatter", line, "use +=, max= or min=")
    analysis.distinct(n.binders, frozenset())
    binders = tuple(analysis.binder(b) for b in n.binders)
    bound = frozenset(b.name for b in n.binders)
    base = analysis.slot(target.base, False)
    index = tuple(analysis.form(item, bound, True) for item in target.items)
    guard = None if n.guard is None else analysis.form(n.guard, bound, False)
    body = analysis.form(line.value, bound, False)
    slots = (tuple(analysis.slots), frozenset(analysis.literal))
    number = getattr(base, "number", 0)
    return ScatterSite(
        analysis.source, line, target.base.id, binders, body, *slots, {}, number, index, line.op + "=", guard, target
    )


def analyze_scan(n: ast.Scan, source: ast.Source, shadowed: Collection[str] = ()) -> ScanSite:
    """The site of a scan."""
    names = [d.name for d in n.body if isinstance(d, ast.IndexDef)]
    analysis = Analysis(source, frozenset(shadowed), frozenset(names))
    if len(n.binders) != 1 or n.guard is not None:
        raise analysis.error("E0425", "a scan runs along one index, without a guard", n)
    axis = n.binders[0].name
    parts: list[Part] = []
    for d in n.body:
        if not isinstance(d, ast.IndexDef):
            raise analysis.error("E0425", "a scan holds definitions by elements only", d, "write y[t] := ...")
        if names.count(d.name) > 1:
            raise analysis.error("E0425", f"`{d.name}` is defined twice in this scan", d)
        if axis not in [b.name for b in d.binders]:
            raise analysis.error("E0425", f"`{axis}` is not among the indices of `{d.name}`", d)
        analysis.distinct(d.binders, frozenset())
        binders = tuple(analysis.binder(b) for b in d.binders)
        bound = frozenset(b.name for b in d.binders if b.name != "_")
        parts.append(Part(d, binders, analysis.form(d.value, bound, False)))
    limits = analysis.binder(n.binders[0])
    slots = (tuple(analysis.slots), frozenset(analysis.literal))
    return ScanSite(source, n, "", (), n, *slots, {}, tuple(parts), axis, limits)


# ------------------------------------------------------------------------------------------------- scatter


class _ScatterBuilder(Builder):
    def build(self) -> Built:
        site = self.site
        assert isinstance(site, ScatterSite) and site.left is not None
        value = self.values[site.target]
        if site.target not in self.tensors:
            hint = f"create it first: {site.name} = zeros(...)"
            raise self.error("E0420", f"scatter needs a tensor `{site.name}` to scatter into", site.left, hint)
        if len(site.index) != value.dim():
            message = f"`{site.name}` has {value.dim()} dimensions and is written with {len(site.index)} indices"
            raise self.error("E0407", message, site.left, "write one index for each dimension")
        scope: dict[str, str] = {}
        binders = tuple(self.binder(b, scope) for b in site.binders)
        place = k.Read("y", tuple(self.position(item, scope) for item in site.index), value.dtype)
        self.remember(place, site.left)
        guard = [] if site.guard is None else [self.condition(self.form(site.guard, scope)).expr]
        body = self.value(value.dtype, scope)
        shapes = {**self.shapes(), "y": tuple(value.shape)}
        found = self.resolved(binders, (place, *guard, body), shapes, (), bool(guard))
        at, *guard, body = found.expressions
        assert isinstance(at, k.Read)
        axes = tuple(self.unique("o") for _ in value.shape)
        old = k.Read(self.tensors[site.target], tuple(k.Axis(a) for a in axes), value.dtype)
        outer = tuple(k.Binder(a, 0, n) for a, n in zip(axes, value.shape, strict=True))
        copy = k.Definition("y", outer, old)
        add = k.Scatter("y", found.binders, at.index, site.op, body, guard[0] if guard else None, at.checked)
        return self.built(k.Kernel("index", tuple(self.params), (copy, *self.locals, add), ("y",)))

    def value(self, dtype: DType, scope: dict[str, str]) -> k.Expr:
        site = self.site
        typed = self.form(site.body, scope)
        if typed.dtype.category > dtype.category:
            message = f"the value is {typed.dtype.name}, and `{site.name}` is {dtype.name}"
            raise self.error("E0307", message, site.node, f"create `{site.name}` as {typed.dtype.name}")
        if dtype is bool_:
            raise self.error("E0306", f"`{site.name}` is bool, and a scatter adds or compares", site.node)
        return typed.to(dtype)


# ---------------------------------------------------------------------------------------------------- scan


class _ScanBuilder(Builder):
    """The definitions of a scan as kernel expressions; `dtypes` are what their results are taken to be."""

    def __init__(self, site: ScanSite, values: tuple[Any, ...], dtypes: Sequence[DType]) -> None:
        super().__init__(site, values)
        self.scan = site
        self.own = {name: (f"%{name}", dtype) for name, dtype in zip(site.names, dtypes, strict=True)}
        self.forms: list[Typed] = []
        self.lefts: list[tuple[k.Binder, ...]] = []
        self.time = self.unique(site.axis)
        for part in site.parts:
            scope = {site.axis: self.time}
            self.lefts.append(tuple(self.left(b, scope) for b in part.binders))
            self.forms.append(self.form(part.body, scope))

    def left(self, b: ast.Binder, scope: dict[str, str]) -> k.Binder:
        if b.name != self.scan.axis:
            return self.binder(b, scope, outer=True)
        limits = self.scan.limits
        given = b if b.lo is not None or limits is None else limits
        if given.lo is None or given.hi is None:
            return k.Binder(self.time, OPEN, OPEN)
        lo, hi = self.limit(given.lo), self.limit(given.hi)
        if lo != 0:
            raise self.error("E0416", f"the range of `{b.name}` starts at {lo}", given, "shift the subscripts")
        return k.Binder(self.time, 0, max(0, hi))

    def form_subscript(self, node: ast.Subscript, scope: dict[str, str]) -> Typed:
        if not isinstance(node.base, ast.Name):
            return super().form_subscript(node, scope)
        name, dtype = self.own[node.base.id]
        rank = len(self.scan.parts[self.scan.names.index(node.base.id)].binders)
        if len(node.items) != rank:
            message = f"`{node.base.id}` has {rank} dimensions and is read with {len(node.items)} indices"
            raise self.error("E0407", message, node, "write one index for each dimension")
        index = tuple(self.position(item, scope) for item in node.items)
        if node.fill is None:
            return fixed(self.remember(k.Read(name, index, dtype), node))
        fill = self.form(node.fill, scope)
        wide, _ = common(fixed(k.Read(name, index, dtype)), fill)
        return fixed(self.remember(k.Read(name, index, wide, fill.to(wide)), node))


def _build_scan(site: ScanSite, values: tuple[Any, ...]) -> BuiltScan:
    forms = _typed(site, values)
    found = _ranged(site, forms)
    reverse = _direction(site, forms, found)
    return _assembled(site, forms, found, reverse)


def _typed(site: ScanSite, values: tuple[Any, ...]) -> _ScanBuilder:
    """The forms, once the dtypes that the definitions have are those that their reads were given."""
    dtypes = [i64] * len(site.parts)
    for _ in range(6):
        forms = _ScanBuilder(site, values, dtypes)
        made = [f.dtype for f in forms.forms]
        if made == dtypes:
            break
        dtypes = made
    else:
        raise forms.error("E0423", "the dtypes of this scan do not settle", site.node, "convert: .to(f32)")
    for part, dtype in zip(site.parts, dtypes, strict=True):
        if dtype is not dtypes[0]:
            message = f"`{part.node.name}` is {dtype.name}, and `{site.names[0]}` is {dtypes[0].name}"
            raise forms.error("E0423", message, part.node, "the tensors of a scan have one dtype: convert: .to(f32)")
    return forms


def _ranged(site: ScanSite, forms: _ScanBuilder) -> list[Resolved]:
    """The ranges, a definition at a time; what a definition gives is known to those that read it."""
    shapes = dict(forms.shapes())
    todo = list(range(len(site.parts)))
    own: dict[int, int] = {}  # the steps that a definition itself asks for
    length: int | None = None
    failed: TdslError | None = None
    while todo:
        before = len(todo)
        for n in list(todo):
            for given in (None, length):
                try:
                    found = _resolve_part(forms, n, shapes, given)
                except TdslError as error:
                    if error.code not in ("E0411", "E0412"):
                        raise
                    failed = failed or error
                    continue
                shapes[f"%{site.names[n]}"] = tuple(b.hi for b in found.binders)
                steps = next(b.hi for b in found.binders if b.name == forms.time)
                assert isinstance(steps, int)
                if given is None:
                    own[n] = steps
                length = steps if length is None else length
                todo.remove(n)
                break
        if len(todo) == before:
            assert failed is not None
            raise failed
    for n, steps in own.items():
        if steps != length:
            message = f"index `{site.axis}` has two sizes: {length} and {steps} in `{site.names[n]}`"
            raise forms.error("E0410", message, site.parts[n].node)
    return [_resolve_part(forms, n, shapes, length) for n in range(len(site.parts))]


def _resolve_part(forms: _ScanBuilder, n: int, shapes: dict[str, Any], length: int | None) -> Resolved:
    binders = forms.lefts[n]
    if length is not None:
        binders = tuple(k.Binder(b.name, 0, length) if b.name == forms.time else b for b in binders)
    outputs = tuple(b.name for b in binders)
    return forms.resolved(binders, (forms.forms[n].expr,), shapes, outputs, False)


def _direction(site: ScanSite, forms: _ScanBuilder, found: list[Resolved]) -> bool:
    """Whether the scan runs backwards; every read of its tensors must be of a step that is there already."""
    later: set[bool] = set()
    for n, part in enumerate(found):
        for e in k.walk(part.expressions[0]):
            if not isinstance(e, k.Read) or e.tensor[0] != "%":
                continue
            read = site.names.index(e.tensor[1:])
            position = [b.name for b in forms.lefts[read]].index(forms.time)
            offset = _offset(e.index[position], forms.time)
            node = forms.nodes.get(id(e)) or site.parts[n].node
            if offset is None or (offset == 0 and read >= n):
                t = site.axis
                hint = f"read {t} - 1 (or {t} + 1), or a tensor defined earlier in the block"
                text = site.source.text[node.at[0] : node.at[1]]
                raise forms.error("E0421", f"`{text}` does not read an earlier step of scan[{t}]", node, hint)
            if offset:
                later.add(offset > 0)
            if len(later) > 1:
                raise forms.error("E0422", f"scan[{site.axis}] reads both earlier and later steps", node)
    return True in later


def _offset(e: k.Expr, time: str) -> int | None:
    """c where the subscript is the scanned index + c."""
    form = linear(e)
    if form is None or [(t.name, t.kind, c) for t, c in form[0].items()] != [(time, "axis", 1)]:
        return None
    return form[1]


def _assembled(site: ScanSite, forms: _ScanBuilder, found: list[Resolved], reverse: bool) -> BuiltScan:
    """The block: the scanned axis first, and the definitions' own results as the last params."""
    from tdsl.compiler.ops.block import packed

    orders = [_time_first([b.name for b in left], forms.time) for left in forms.lefts]
    names = {f"%{name}": f"a{len(forms.params) + n}" for n, name in enumerate(site.names)}
    turn = {f"%{name}": order for name, order in zip(site.names, orders, strict=True)}

    def change(e: k.Expr) -> k.Expr | None:
        if not isinstance(e, k.Read) or e.tensor not in names:
            return None
        index = tuple(e.index[d] for d in turn[e.tensor])
        return k.Read(names[e.tensor], index, e.dtype, e.fill, e.checked)

    body = list(forms.locals)
    own: list[k.Param] = []
    for n, (part, order) in enumerate(zip(found, orders, strict=True)):
        binders = tuple(part.binders[d] for d in order)
        body.append(k.Definition(f"d{n}", binders, k.rewrite(part.expressions[0], change)))
        own.append(k.Param(names[f"%{site.names[n]}"], forms.forms[n].dtype, tuple(b.hi for b in binders)))
    outputs = tuple(f"d{n}" for n in range(len(found)))
    block = kernel_text.intern(k.Kernel("block", (*forms.params, *own), tuple(body), outputs))
    built = forms.built(packed(block, reverse))
    shapes = tuple(tuple(n for n in p.shape if isinstance(n, int)) for p in own)
    back = tuple(tuple(order.index(d) for d in range(len(order))) for order in orders)
    return BuiltScan(built.kernel, built.tensors, built.numbers, block, reverse, shapes, back)


def _time_first(names: list[str], time: str) -> tuple[int, ...]:
    at = names.index(time)
    return (at, *(d for d in range(len(names)) if d != at))


# ------------------------------------------------------------------------------------------------- results

_recorder: list[Callable[..., Any]] = []


def _scan_op(built: BuiltScan, tensors: list[Any], numbers: list[Any]) -> Any:
    if not _recorder:
        from tdsl.tensor import scan_op  # as in index_site: a check of a script needs no tensors

        _recorder.append(scan_op)
    return _recorder[0](built.kernel, built.block, built.reverse, tensors, numbers)


def _unpacked(rows: Any, built: BuiltScan) -> tuple[Any, ...]:
    """The definitions' values, each in the script's order of dimensions."""
    results: list[Any] = []
    start = 0
    for shape, order in zip(built.shapes, built.orders, strict=True):
        value = rows
        if len(built.shapes) > 1:
            width = prod(shape[1:])
            value = rows.narrow(1, start, width).reshape(shape)
            start += width
        results.append(value if order == tuple(range(len(order))) else value.permute(order))
    return tuple(results)


__all__ = ["ScanSite", "ScatterSite", "analyze_scan", "analyze_scatter"]

"""What is certainly wrong with a script, found without running it: names, arity, index notation, declarations."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from tdsl.compiler.source import GradError, IndexNotationError, Label, NameError, TdslError, TypeError
from tdsl.lang import ast
from tdsl.lang.binding import DEFINITIONS, bound_names, target_names
from tdsl.lang.emit import emit
from tdsl.lang.flow import unassigned
from tdsl.lang.scope import NAMES
from tdsl.lang.signature import annotation_names


def check(tree: ast.File, source: ast.Source, warnings: bool = False) -> list[TdslError]:
    """All faults, in the order of the text, and what is likely to be one (W0101 to W0105) with `warnings`."""
    checker = _Checker(source)
    checker.module(tree)
    faults = checker.faults
    if not faults:
        shadowed = [s.name for s in tree.body if isinstance(s, DEFINITIONS)]
        try:
            emit(tree, source, shadowed)
        except TdslError as error:
            faults.append(error)
    if warnings:
        from tdsl.lang.warnings import warn  # for `tdsl check` only

        faults += warn(tree, source)
    faults.sort(key=lambda f: (f.span.line, f.span.column) if f.span else (0, 0))
    return faults


class _Checker:
    def __init__(self, source: ast.Source) -> None:
        self.source = source
        self.faults: list[TdslError] = []
        self.functions: dict[str, ast.FuncDef | ast.ModelDef] = {}

    def module(self, tree: ast.File) -> None:
        counts: dict[str, int] = {}
        for n in ast.walk(tree):
            if isinstance(n, (ast.FuncDef, ast.ModelDef)):
                counts[n.name] = counts.get(n.name, 0) + 1
            elif isinstance(n, (ast.Assign, ast.AugAssign, ast.IndexDef, ast.Import, ast.FromImport)):
                counts.update((x, 2) for x in bound_names([n]))
        for s in tree.body:
            if isinstance(s, (ast.FuncDef, ast.ModelDef)) and counts[s.name] == 1:
                self.functions[s.name] = s
        names = bound_names(tree.body)
        self.body(tree.body, [names])
        self.early(tree.body, frozenset(), frozenset(names - NAMES))

    def early(self, body: Sequence[ast.Node], known: frozenset[str], watched: frozenset[str]) -> None:
        for n in unassigned(body, known, watched):
            self.add(NameError, "E0202", f"`{n.id}` has no value yet: it is assigned further down", n)

    def add(self, kind: type[TdslError], code: str, message: str, n: ast.Node, hint: str | None = None) -> None:
        self.faults.append(kind(message, self.source.span(n.at), code=code, hint=hint))

    def body(self, statements: Iterable[ast.Node], scopes: list[set[str]]) -> None:
        for s in statements:
            self.statement(s, scopes)

    def statement(self, s: ast.Node, scopes: list[set[str]]) -> None:
        if isinstance(s, ast.FuncDef):
            self.function(s, scopes)
        elif isinstance(s, ast.ModelDef):
            self.function_like(s.params, None, s.body, scopes, {"self"})
        elif isinstance(s, ast.FunctionDef):
            self.body(s.body, [*scopes, bound_names(s.body)])
            self.backward_count(s)
        elif isinstance(s, ast.StructDef):
            for item in s.body:
                if isinstance(item, ast.AnnAssign) and item.value is not None:
                    self.expr(item.value, scopes)
        elif isinstance(s, ast.IndexDef):
            self.index(s, scopes)
        elif isinstance(s, ast.Assign) and self.forgot_colon(s, scopes):
            return
        elif isinstance(s, ast.Scan):
            self.limits(s.binders, scopes)
            for d in s.body:
                self.statement(d, [*scopes, {b.name for b in s.binders}])
        elif isinstance(s, ast.Scatter):
            self.scatter(s, scopes)
        else:
            for child in ast.children(s):
                if isinstance(child, STATEMENTS):
                    self.statement(child, scopes)
                elif not isinstance(child, TYPES):
                    self.expr(child, scopes)

    def function(self, s: ast.FuncDef, scopes: list[set[str]]) -> None:
        self.function_like(s.params, s.returns, s.body, scopes, set())

    def function_like(
        self,
        params: Sequence[ast.Param],
        returns: ast.Node | None,
        body: Sequence[ast.Node],
        scopes: list[set[str]],
        extra: set[str],
    ) -> None:
        seen: set[str] = set()
        optional = False
        for p in params:
            if p.name in seen:
                self.add(TypeError, "E0210", f"two parameters are named `{p.name}`", p)
            if optional and p.default is None:
                self.add(TypeError, "E0210", f"`{p.name}` has no default and follows one that has", p)
            optional = optional or p.default is not None
            seen.add(p.name)
            if p.default is not None:
                self.expr(p.default, scopes)
        sizes = set(annotation_names([p.type for p in params]))
        own = bound_names(body)
        self.body(body, [*scopes, seen | sizes | extra | own])
        given = frozenset(seen | sizes | extra)
        self.early(body, given, frozenset(own) - given)

    def forgot_colon(self, s: ast.Assign, scopes: list[set[str]]) -> bool:
        """`C[i, j] = sum[k] ...` where i and j are no variables: `:=` was meant."""
        target = s.target
        if not isinstance(target, ast.Subscript) or not isinstance(target.base, ast.Name):
            return False
        free = [x for x in target.items if isinstance(x, ast.Name) and not self.known(x.id, scopes)]
        if not free or len(free) != len(target.items):
            return False
        names = " and ".join(f"`{x.id}`" for x in free if isinstance(x, ast.Name))
        between = (target.at[1], s.value.at[0])
        sign = target.at[1] + self.source.text[slice(*between)].index("=")
        text = self.source.text[s.at[0] : s.at[1]]
        fixed = text[: sign - s.at[0]] + ":" + text[sign - s.at[0] :]
        mark = self.source.span((sign, sign + 1))
        labels = (
            Label(mark, "this assigns to one element"),
            Label(self.source.span((free[0].at[0], free[-1].at[1])), "not a variable", False),
        )
        message = f"{names} {'is' if len(free) == 1 else 'are'} not bound"
        hint = f"to define {target.base.id} by its elements write `{fixed}`"
        self.faults.append(IndexNotationError(message, mark, code="E0418", labels=labels, hint=hint))
        return True

    def index(self, s: ast.IndexDef, scopes: list[set[str]]) -> None:
        self.limits(s.binders, scopes)
        self.expr(s.value, [*scopes, {b.name for b in s.binders if b.name != "_"}], in_index=True)

    def limits(self, binders: Sequence[ast.Binder], scopes: list[set[str]]) -> None:
        for b in binders:
            for limit in (b.lo, b.hi):
                if limit is not None:
                    self.expr(limit, scopes)

    def scatter(self, s: ast.Scatter, scopes: list[set[str]]) -> None:
        self.limits(s.binders, scopes)
        inner = [*scopes, {b.name for b in s.binders}]
        if s.guard is not None:
            self.expr(s.guard, inner, in_index=True)
        for line in s.body:
            if not isinstance(line, ast.AugAssign):
                continue
            target = line.target
            base = target.base if isinstance(target, ast.Subscript) else target
            if isinstance(base, ast.Name) and not self.known(base.id, scopes):
                message = f"scatter needs a tensor `{base.id}` to scatter into"
                self.add(IndexNotationError, "E0420", message, base, f"create it first: {base.id} = zeros(...)")
            for item in target.items if isinstance(target, ast.Subscript) else ():
                self.expr(item, inner, in_index=True)
            self.expr(line.value, inner, in_index=True)

    def known(self, name: str, scopes: list[set[str]]) -> bool:
        return name in NAMES or any(name in scope for scope in scopes)

    def expr(self, root: ast.Node, scopes: list[set[str]], in_index: bool = False) -> None:
        stack: list[tuple[ast.Node, list[set[str]], bool]] = [(root, scopes, in_index)]
        while stack:
            n, here, inside = stack.pop()
            if isinstance(n, ast.Name):
                if not self.known(n.id, here):
                    self.undefined(n, here, inside)
            elif isinstance(n, ast.Lambda):
                stack.append((n.body, [*here, set(n.params)], inside))
            elif isinstance(n, ast.Comprehension):
                inner = [*here, target_names(n.target)]
                stack.extend((x, inner, inside) for x in (n.element, *n.tests))
                stack.append((n.source, here, inside))
            elif isinstance(n, ast.Reduction):
                inner = [*here, {b.name for b in n.binders}]
                stack.extend((x, here, inside) for b in n.binders for x in (b.lo, b.hi) if x is not None)
                stack.extend((x, inner, True) for x in (n.guard, n.body) if x is not None)
            else:
                if isinstance(n, ast.Call):
                    self.arity(n)
                if isinstance(n, ast.Compare) and isinstance(n.first, ast.Reduction) and self.short_body(n, here):
                    continue
                stack.extend((x, here, inside) for x in reversed(list(ast.children(n))))

    def short_body(self, n: ast.Compare, scopes: list[set[str]]) -> bool:
        """`all[i] a[i] == b[i]`: the body of a reduction is a product, so the comparison is outside."""
        first = n.first
        assert isinstance(first, ast.Reduction)
        bound = {b.name for b in first.binders}
        for e in n.rest:
            own = {b.name for r in ast.walk(e) if isinstance(r, ast.Reduction) for b in r.binders}
            for x in ast.walk(e):
                if isinstance(x, ast.Name) and x.id in bound - own and not self.known(x.id, scopes):
                    names = ", ".join(b.name for b in first.binders)
                    body = self.source.text[first.body.at[0] : n.at[1]]
                    labels = (
                        Label(self.source.span(e.at), f"`{x.id}` is not bound here"),
                        Label(self.source.span(first.at), "the reduction ends here", False),
                    )
                    self.faults.append(
                        IndexNotationError(
                            f"`{x.id}` is used outside `{first.op}[{names}]`",
                            labels[0].span,
                            code="E0419",
                            labels=labels,
                            notes=("the body of a reduction is a product, as with a sigma sign",),
                            hint=f"put the comparison in parentheses: {first.op}[{names}] ({body})",
                        )
                    )
                    return True
        return False

    def undefined(self, n: ast.Name, scopes: list[set[str]], inside: bool) -> None:
        known = NAMES.union(*scopes)
        close = difflib.get_close_matches(n.id, known, 1) if len(n.id) > 2 else []
        if close:
            self.add(NameError, "E0201", f"`{n.id}` is not defined", n, f"did you mean `{close[0]}`?")
        elif inside:
            hint = f"if `{n.id}` is meant as an index, bind it: on the left of := , "
            hint += f"or by a reduction such as sum[{n.id}]"
            self.add(IndexNotationError, "E0401", f"`{n.id}` is not defined", n, hint)
        else:
            self.add(NameError, "E0201", f"`{n.id}` is not defined", n)

    def arity(self, n: ast.Call) -> None:
        target = self.functions.get(n.fn.id) if isinstance(n.fn, ast.Name) else None
        if target is None or any(isinstance(a, ast.Star) for a in n.args):
            return
        names = [p.name for p in target.params]
        given = [a for a in n.args if not isinstance(a, ast.Keyword)]
        keywords = [a for a in n.args if isinstance(a, ast.Keyword)]
        if len(given) > len(names):
            count = f"{len(names)} argument{'s' * (len(names) != 1)}"
            self.add(TypeError, "E0204", f"`{target.name}` takes {count}, and {len(given)} are given", n)
            return
        for k in keywords:
            if k.name not in names:
                close = difflib.get_close_matches(k.name, names, 1)
                hint = f"did you mean `{close[0]}`?" if close else None
                self.add(TypeError, "E0204", f"`{target.name}` has no parameter `{k.name}`", k, hint)
        filled = set(names[: len(given)]) | {k.name for k in keywords}
        missing = [p.name for p in target.params if p.name not in filled and p.default is None]
        if missing:
            listed = ", ".join(f"`{m}`" for m in missing)
            self.add(TypeError, "E0204", f"`{target.name}` is called without {listed}", n)

    def backward_count(self, s: ast.FunctionDef) -> None:
        parts = {f.name: f for f in s.body if isinstance(f, ast.FuncDef)}
        if "forward" not in parts or "backward" not in parts:
            return
        params = parts["forward"].params[1:]
        for n in ast.walk(parts["backward"]):
            if not isinstance(n, ast.Return) or n.value is None or isinstance(n.value, (ast.Name, ast.Call)):
                continue
            count = len(n.value.items) if isinstance(n.value, ast.Tuple) else 1
            if count != len(params):
                self.wrong_count(s, params, n, count)

    def wrong_count(self, s: ast.FunctionDef, params: Sequence[ast.Param], n: ast.Return, count: int) -> None:
        plural, many = "s" * (count != 1), "s" * (len(params) != 1)
        message = f"`{s.name}.backward` returns {count} value{plural}, but `forward` has {len(params)} parameter{many}"
        assert n.value is not None
        span = self.source.span(n.at)
        labels = [Label(span, f"{count} value{plural}")]
        if params:
            listed = ", ".join(p.name for p in params)
            place = self.source.span((params[0].at[0], params[-1].at[1]))
            labels.insert(0, Label(place, f"{len(params)} parameter{many}: {listed}", False))
        hint = "return one value per parameter, None for those without a gradient"
        self.faults.append(GradError(message, span, code="E0601", labels=labels, hint=hint))


TYPES = (ast.NamedType, ast.ShapedType, ast.TupleType, ast.OptionalType)
STATEMENTS = (
    ast.ExprStmt, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.IndexDef, ast.FieldDecl, ast.Return, ast.Break,
    ast.Continue, ast.Pass, ast.Assert, ast.Import, ast.FromImport, ast.If, ast.While, ast.For, ast.With,
    ast.Scan, ast.Scatter, *DEFINITIONS,
)  # fmt: skip

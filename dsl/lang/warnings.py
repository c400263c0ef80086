"""What `tdsl check` warns of: nothing here is certainly wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdsl.compiler.source import TdslError
from tdsl.lang import ast
from tdsl.lang.binding import DEFINITIONS, bound_names, target_names
from tdsl.lang.scope import NAMES
from tdsl.lang.signature import annotation_names


class Warning(TdslError):
    """A W01xx."""

    code = "W0100"


def warn(tree: ast.File, source: ast.Source) -> list[TdslError]:
    """The warnings of a script, in no order."""
    found = _Warnings(source)
    found.scope(tree.body, frozenset(), module=True)
    return [*found.warnings]


class _Warnings:
    def __init__(self, source: ast.Source) -> None:
        self.source = source
        self.warnings: list[Warning] = []

    def add(self, code: str, message: str, at: ast.At, hint: str | None = None) -> None:
        self.warnings.append(Warning(message, self.source.span(at), code=code, hint=hint))

    # ---- scopes

    def scope(self, body: Sequence[ast.Node], outer: frozenset[str], module: bool = False) -> None:
        """A module, or the body of a function or a model; `outer` are the variables around it."""
        variables = outer | bound_names(body)
        first: dict[str, ast.At] = {}
        for name, at in bindings(body):
            first.setdefault(name, at)
        for name, at in first.items():
            self.shadowed(name, at)
        if not module:
            self.unused(body)
        for n in _own(body):
            self.indices(n, variables)
            self.annotations(n)
            self.padded(n)
        for n in _own(body):
            if isinstance(n, (ast.FuncDef, ast.ModelDef)):
                self.function(n, variables)
            elif isinstance(n, ast.FunctionDef):
                for part in n.body:
                    if isinstance(part, ast.FuncDef):
                        self.function(part, variables)

    def function(self, n: ast.FuncDef | ast.ModelDef, outer: frozenset[str]) -> None:
        for p in n.params:
            self.shadowed(p.name, p.at)
        types = [p.type for p in n.params]
        for kind in (*types, n.returns if isinstance(n, ast.FuncDef) else None):
            if kind is not None:
                self.always_fits(kind)
        inside = outer | {p.name for p in n.params} | set(annotation_names(types))
        if isinstance(n, ast.FuncDef):
            self.scope(n.body, inside)
            return
        for statement in n.body:  # fields are no variables
            if isinstance(statement, ast.FuncDef):
                self.function(statement, inside)
            elif isinstance(statement, ast.FieldDecl) and statement.type is not None:
                self.always_fits(statement.type)

    # ---- the warnings

    def shadowed(self, name: str, at: ast.At) -> None:
        if name in NAMES:
            self.add("W0101", f"`{name}` hides the built-in of that name", at)

    def indices(self, n: ast.Node, variables: frozenset[str]) -> None:
        """W0102, for the binders of a definition, a reduction, a scan or a scatter."""
        if not isinstance(n, (ast.IndexDef, ast.Reduction, ast.Scan, ast.Scatter)):
            return
        for b in n.binders:
            if b.name in variables and b.name != "_":
                self.add("W0102", f"the index `{b.name}` hides the variable of that name", b.at, "rename one of them")

    def unused(self, body: Sequence[ast.Node]) -> None:
        """W0103: plain names; those unpacked, of loops, and those that start with `_` are let be."""
        read = {n.id for s in body for n in _reads(s)}
        seen: set[str] = set()
        for n in _own(body):
            plain = n.target if isinstance(n, (ast.Assign, ast.AnnAssign)) else None
            name = plain.id if isinstance(plain, ast.Name) else n.name if isinstance(n, ast.IndexDef) else ""
            if not name or name in read or name in seen or name[0] == "_":
                continue
            seen.add(name)
            at = n.name_at if isinstance(n, ast.IndexDef) else plain.at if plain is not None else n.at
            self.add("W0103", f"`{name}` is assigned and not used", at)

    def annotations(self, n: ast.Node) -> None:
        if isinstance(n, (ast.AnnAssign, ast.FieldDecl)) and n.type is not None:
            self.always_fits(n.type)

    def always_fits(self, kind: ast.Node) -> None:
        """W0104: `f32[...]` says nothing about the shape."""
        for n in ast.walk(kind):
            if isinstance(n, ast.ShapedType) and len(n.dims) == 1 and isinstance(n.dims[0], ast.DimsAny):
                text = self.source.text[n.at[0] : n.at[1]]
                self.add("W0104", f"the shape of `{text}` can never fail", n.at, "name the dimensions")

    def padded(self, n: ast.Node) -> None:
        """W0105: a padded read by bare indices whose ranges come from it is always inside."""
        if not isinstance(n, ast.IndexDef):
            return
        open_ = {b.name for b in n.binders if b.lo is None}
        open_ |= {b.name for r in ast.walk(n.value) if isinstance(r, ast.Reduction) for b in r.binders if b.lo is None}
        for read in ast.walk(n.value):
            if not isinstance(read, ast.Subscript) or read.fill is None:
                continue
            if all(isinstance(item, ast.Name) and item.id in open_ for item in read.items):
                text = self.source.text[read.at[0] : read.at[1]]
                self.add("W0105", f"`{text}` is always inside", read.at, "leave the `else` out")


def bindings(body: Sequence[ast.Node]) -> Iterator[tuple[str, ast.At]]:
    """Each name that a body assigns, and where."""
    for n in _own(body):
        if isinstance(n, DEFINITIONS):
            yield n.name, n.name_at
        elif isinstance(n, (ast.Assign, ast.AnnAssign, ast.For)):
            for x in ast.walk(n.target):
                if isinstance(x, ast.Name) and x.id in target_names(n.target):
                    yield x.id, x.at
        elif isinstance(n, ast.IndexDef):
            yield n.name, n.name_at
        elif isinstance(n, (ast.Import, ast.FromImport, ast.With)):
            for name in bound_names([n]) if not isinstance(n, ast.With) else {x for _, x in n.items if x}:
                yield name, n.at


def _own(body: Sequence[ast.Node]) -> Iterator[ast.Node]:
    """The nodes of a body without those inside its functions, in the order of the text."""
    stack = list(reversed(body))
    while stack:
        n = stack.pop()
        yield n
        if not isinstance(n, DEFINITIONS):
            stack.extend(reversed(list(ast.children(n))))


def _reads(s: ast.Node) -> Iterator[ast.Name]:
    """The names that a statement reads, those in functions inside it too."""
    stack: list[ast.Node] = [s]
    while stack:
        n = stack.pop()
        if isinstance(n, ast.Name):
            yield n
        elif isinstance(n, (ast.Assign, ast.AnnAssign)) and isinstance(n.target, ast.Name):
            stack.extend(() if n.value is None else (n.value,))
        else:
            stack.extend(ast.children(n))

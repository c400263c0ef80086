"""Tree → Python code, once; the interpreter is then Python's own, at its speed and with its places.

Every construct of the language is a subset of Python's or becomes calls of the few helpers in `runtime.py`, whose
names start with `$`, which no script can write. Each piece of code carries the place where it was written, so a
traceback, and whoever records an op, finds line and column of the script.
"""

from __future__ import annotations

import ast as py
import builtins
from collections.abc import Sequence
from types import CodeType
from typing import Any

from tdsl.compiler.source import SyntaxError, TdslError
from tdsl.lang import ast
from tdsl.lang.index_blocks import analyze_scan, analyze_scatter
from tdsl.lang.index_site import Site, analyze
from tdsl.lang.signature import Signature, annotation_names

OPERATORS: dict[str, py.operator] = {
    "+": py.Add(), "-": py.Sub(), "*": py.Mult(), "/": py.Div(), "//": py.FloorDiv(), "%": py.Mod(), "**": py.Pow(),
    "@": py.MatMult(), "|": py.BitOr(), "^": py.BitXor(), "&": py.BitAnd(),
}  # fmt: skip
COMPARISONS: dict[str, py.cmpop] = {
    "<": py.Lt(), ">": py.Gt(), "<=": py.LtE(), ">=": py.GtE(), "==": py.Eq(), "!=": py.NotEq(), "in": py.In(),
    "not in": py.NotIn(), "is": py.Is(), "is not": py.IsNot(),
}  # fmt: skip
UNARY: dict[str, py.unaryop] = {"-": py.USub(), "+": py.UAdd(), "~": py.Invert(), "not": py.Not()}


def emit(file: ast.File, source: ast.Source, shadowed: Sequence[str] = ()) -> tuple[CodeType, dict[str, Any]]:
    """The code of a file, and the objects (signatures, index sites) that it refers to by name."""
    emitter = _Emitter(source, frozenset(shadowed))
    module = py.Module(emitter.body(file.body), [])
    try:
        return compile(py.fix_missing_locations(module), source.file, "exec"), emitter.constants
    except RecursionError:
        message = "an expression is nested too deeply"
        raise SyntaxError(message, source.span((0, 1)), code="E0109", hint="name a part of it") from None
    except builtins.SyntaxError as error:  # what Python's compiler bounds: loops within loops
        starts = source.starts[(error.lineno or 1) - 1]
        message = f"this is more than can be run: {error.msg}"
        raise SyntaxError(
            message, source.span((starts, starts + 1)), code="E0109", hint="make a function of it"
        ) from None


class _Emitter:
    def __init__(self, source: ast.Source, shadowed: frozenset[str]) -> None:
        self.source = source
        self.shadowed = shadowed
        self.constants: dict[str, Any] = {}
        self.headers: list[tuple[str, ...]] = []  # parameters of the functions and models around
        self.returns: list[str | None] = []  # the signature to check results with
        self.temporaries = 0

    # ------------------------------------------------------------------------------------------ helpers

    def place(self, node: Any, at: ast.At) -> Any:
        line, column = self.source.place(at[0])
        end_line, end_column = self.source.place(at[1])
        if not self.source.is_ascii:
            column = len(self.source.line(line)[: column - 1].encode()) + 1
            end_column = len(self.source.line(end_line)[: end_column - 1].encode()) + 1
        node.lineno, node.col_offset = line, column - 1
        node.end_lineno, node.end_col_offset = end_line, end_column - 1
        return node

    def constant(self, value: Any) -> py.expr:
        name = f"$k{len(self.constants)}"
        self.constants[name] = value
        return py.Name(name, py.Load())

    def helper(self, name: str, args: list[py.expr], at: ast.At) -> py.expr:
        call: py.expr = self.place(py.Call(self.place(py.Name(f"${name}", py.Load()), at), args, []), at)
        return call

    def temporary(self) -> str:
        self.temporaries += 1
        return f"$t{self.temporaries}"

    def error(self, code: str, message: str, node: ast.Node, hint: str | None = None) -> TdslError:
        return SyntaxError(message, self.source.span(node.at), code=code, hint=hint)

    def store(self, name: str, value: py.expr, at: ast.At) -> py.stmt:
        stmt: py.stmt = self.place(py.Assign([self.place(py.Name(name, py.Store()), at)], value), at)
        return stmt

    # --------------------------------------------------------------------------------------- statements

    def body(self, statements: Sequence[ast.Node]) -> list[py.stmt]:
        out: list[py.stmt] = []
        for statement in statements:
            out.extend(getattr(self, f"s_{type(statement).__name__.lower()}")(statement))
        return out or [py.Pass()]

    def s_exprstmt(self, n: ast.ExprStmt) -> list[py.stmt]:
        return [self.place(py.Expr(self.expr(n.value)), n.at)]

    def s_assign(self, n: ast.Assign) -> list[py.stmt]:
        return self.assign(n.target, self.expr(n.value), n.at)

    def assign(self, target: ast.Node, value: py.expr, at: ast.At) -> list[py.stmt]:
        after: list[py.stmt] = []
        if isinstance(target, ast.Attribute):
            base = self.expr(target.base)
            call = self.helper("setattr", [base, py.Constant(target.name), value], at)
            return [self.place(py.Expr(call), at)]
        store = self.target(target, after)
        return [self.place(py.Assign([store], value), at), *after]

    def target(self, n: ast.Node, after: list[py.stmt]) -> py.expr:
        """What Python assigns to; an attribute gets a temporary, and is set `after`."""
        if isinstance(n, ast.Name):
            return self.named(n, py.Store())
        if isinstance(n, (ast.Tuple, ast.List)):
            items = [self.target(item, after) for item in n.items]
            made: py.expr = self.place(py.Tuple(items, py.Store()), n.at)
            return made
        if isinstance(n, ast.Subscript) and n.fill is None:
            made = self.place(py.Subscript(self.expr(n.base), self.subscript(n), py.Store()), n.at)
            return made
        if isinstance(n, ast.Attribute):
            name = self.temporary()
            after.extend(self.assign(n, py.Name(name, py.Load()), n.at))
            return py.Name(name, py.Store())
        raise self.error("E0100", "this cannot be assigned to", n)

    def named(self, n: ast.Name, context: py.expr_context) -> py.expr:
        if n.id.startswith("__"):
            raise self.error("E0108", "names that start with `__` cannot be written", n)
        made: py.expr = self.place(py.Name(n.id, context), n.at)
        return made

    def s_augassign(self, n: ast.AugAssign) -> list[py.stmt]:
        if n.op in ("max", "min"):
            hint = f"write x = {n.op}imum(x, ...)"
            raise self.error("E0425", f"`{n.op}=` stands in a scatter only", n, hint)
        operator, value = OPERATORS[n.op], self.expr(n.value)
        if isinstance(n.target, ast.Name):
            target = self.place(py.Name(n.target.id, py.Store()), n.target.at)
            self.named(n.target, py.Store())
            return [self.place(py.AugAssign(target, operator, value), n.at)]
        if isinstance(n.target, ast.Subscript) and n.target.fill is None:
            place = py.Subscript(self.expr(n.target.base), self.subscript(n.target), py.Store())
            return [self.place(py.AugAssign(self.place(place, n.target.at), operator, value), n.at)]
        if not isinstance(n.target, ast.Attribute):
            raise self.error("E0100", "this cannot be assigned to", n.target)
        owner, held = self.temporary(), self.temporary()
        load = ast.Attribute(n.target.at, ast.Name(n.target.base.at, owner), n.target.name, n.target.name_at)
        read = self.helper("attr", [py.Name(owner, py.Load()), py.Constant(load.name)], n.target.at)
        set_ = [py.Name(owner, py.Load()), py.Constant(load.name), py.Name(held, py.Load())]
        return [
            self.store(owner, self.expr(n.target.base), n.at),
            self.store(held, read, n.at),
            self.place(py.AugAssign(py.Name(held, py.Store()), operator, value), n.at),
            self.place(py.Expr(self.helper("setattr", list(set_), n.at)), n.at),
        ]

    def s_annassign(self, n: ast.AnnAssign) -> list[py.stmt]:
        if n.value is None:
            return []
        names = annotation_names([n.type])
        given = tuple(x for x in names if any(x in h for h in self.headers))
        checker = self.constant(Signature(self.source, self.text(n.target), (), n.type, given, ()))
        value = self.helper("declared", [checker, self.loads(given, n.at), self.expr(n.value)], n.at)
        return self.assign(n.target, value, n.at)

    def text(self, n: ast.Node) -> str:
        return self.source.text[n.at[0] : n.at[1]]

    def loads(self, names: Sequence[str], at: ast.At) -> py.expr:
        made: py.expr = self.place(py.Tuple([self.place(py.Name(x, py.Load()), at) for x in names], py.Load()), at)
        return made

    def site(self, n: ast.Node) -> py.expr:
        return self.called(analyze(n, self.source, self.shadowed), n.at)

    def called(self, site: Site, at: ast.At) -> py.expr:
        """A site with the values of its slots."""
        args = [self.expr(slot) for slot in site.slots]
        made: py.expr = self.place(py.Call(self.place(self.constant(site), at), args, []), at)
        return made

    def s_indexdef(self, n: ast.IndexDef) -> list[py.stmt]:
        return [self.store(n.name, self.site(n), n.at)]

    def s_scan(self, n: ast.Scan) -> list[py.stmt]:
        site = analyze_scan(n, self.source, self.shadowed)
        names = [self.place(py.Name(name, py.Store()), n.at) for name in site.names]
        stored: py.stmt = self.place(py.Assign([py.Tuple(names, py.Store())], self.called(site, n.at)), n.at)
        return [stored]

    def s_scatter(self, n: ast.Scatter) -> list[py.stmt]:
        sites = analyze_scatter(n, self.source, self.shadowed)
        return [self.store(site.name, self.called(site, site.node.at), site.node.at) for site in sites]

    def s_return(self, n: ast.Return) -> list[py.stmt]:
        if not self.returns:
            raise self.error("E0205", "`return` outside a function", n)
        value = py.Constant(None) if n.value is None else self.expr(n.value)
        return [self.place(py.Return(self.checked(value, n.at if n.value is None else n.value.at)), n.at)]

    def checked(self, value: py.expr, at: ast.At) -> py.expr:
        """The result, passed through the signature of the function around."""
        signature = self.returns[-1]
        if signature is None:
            return value
        leave = self.place(py.Attribute(py.Name(signature, py.Load()), "leave", py.Load()), at)
        made: py.expr = self.place(py.Call(leave, [py.Name("$sizes", py.Load()), value], []), at)
        return made

    def s_break(self, n: ast.Break) -> list[py.stmt]:
        return [self.place(py.Break(), n.at)]

    def s_continue(self, n: ast.Continue) -> list[py.stmt]:
        return [self.place(py.Continue(), n.at)]

    def s_pass(self, n: ast.Pass) -> list[py.stmt]:
        return [self.place(py.Pass(), n.at)]

    def s_assert(self, n: ast.Assert) -> list[py.stmt]:
        test = n.test
        lines: list[py.stmt] = []
        sides: list[py.expr] = []
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and test.ops[0] not in ("is", "is not"):
            left, right = self.temporary(), self.temporary()
            sources = ((left, test.first), (right, test.rest[0]))
            lines = [self.store(name, self.expr(side), test.at) for name, side in sources]
            load = [py.Name(left, py.Load()), py.Name(right, py.Load())]
            condition = self.place(py.Compare(load[0], [self.comparison(test, test.ops[0])], [load[1]]), test.at)
            sides = [py.Name(left, py.Load()), py.Name(right, py.Load())]
        else:
            condition = self.expr(test)
        message = py.Constant(None) if n.message is None else self.expr(n.message)
        raise_ = self.helper("failed", [py.Constant(self.text(test)), message, *sides], test.at)
        refusal = self.place(py.UnaryOp(py.Not(), condition), test.at)
        return [*lines, self.place(py.If(refusal, [self.place(py.Expr(raise_), test.at)], []), test.at)]

    def s_import(self, n: ast.Import) -> list[py.stmt]:
        whole = n.alias is None and len(n.path) > 1
        value = self.helper("package" if whole else "import", [self.constant(n.path)], n.at)
        return [self.store(n.alias or n.path[0], value, n.at)]

    def s_fromimport(self, n: ast.FromImport) -> list[py.stmt]:
        module = self.temporary()
        lines = [self.store(module, self.helper("import", [self.constant(n.path)], n.at), n.at)]
        for name, here in n.names:
            read = self.helper("member", [py.Name(module, py.Load()), py.Constant(name)], n.at)
            lines.append(self.store(here, read, n.at))
        return lines

    def s_if(self, n: ast.If) -> list[py.stmt]:
        orelse = self.body(n.orelse) if n.orelse else []
        return [self.place(py.If(self.expr(n.test), self.body(n.body), orelse), n.at)]

    def s_while(self, n: ast.While) -> list[py.stmt]:
        return [self.place(py.While(self.expr(n.test), self.body(n.body), []), n.at)]

    def s_for(self, n: ast.For) -> list[py.stmt]:
        target = self.target(n.target, [])
        return [self.place(py.For(target, self.expr(n.source), self.body(n.body), []), n.at)]

    def s_with(self, n: ast.With) -> list[py.stmt]:
        items = [
            py.withitem(self.expr(e), None if name is None else self.place(py.Name(name, py.Store()), e.at))
            for e, name in n.items
        ]
        return [self.place(py.With(items, self.body(n.body)), n.at)]

    # ------------------------------------------------------------------------------------- declarations

    def arguments(self, params: Sequence[ast.Param], first: str | None = None) -> py.arguments:
        names = [] if first is None else [py.arg(first)]
        names += [self.place(py.arg(p.name), p.at) for p in params]
        defaults = [self.default(p.default) for p in params if p.default is not None]
        return py.arguments([], names, None, [], [], None, defaults)

    def default(self, n: ast.Node) -> py.expr:
        if any(isinstance(x, (ast.List, ast.Dict, ast.Comprehension)) for x in ast.walk(n)):
            raise self.error("E0203", "a default argument may not be a list, a dict or a tensor", n, "use None")
        return self.helper("default", [self.expr(n)], n.at)

    def prologue(
        self, name: str, params: Sequence[ast.Param], returns: ast.Node | None, n: ast.Node, body: Sequence[ast.Node]
    ) -> tuple[list[py.stmt], str | None]:
        """The check of the arguments, the sizes as variables, and the signature that checks the result."""
        typed = tuple(p for p in params if p.type is not None)
        if not typed and returns is None:
            return [], None
        own = {p.name for p in params}
        names = annotation_names([*(p.type for p in typed), returns])
        outer = {x for header in self.headers for x in header}
        given = tuple(x for x in names if x in own or x in outer)
        bound = annotation_names([p.type for p in typed])
        used = {x.id for s in body for x in ast.walk(s) if isinstance(x, ast.Name)}
        used |= {x for s in body for d in ast.walk(s) if isinstance(d, ast.FuncDef)
                 for x in annotation_names([*(p.type for p in d.params), d.returns])}  # fmt: skip
        fresh = tuple(x for x in bound if x not in given and x in used)
        signature = self.constant(Signature(self.source, name, typed, returns, given, fresh))
        assert isinstance(signature, py.Name)
        enter = self.place(py.Attribute(signature, "enter", py.Load()), n.at)
        values = [self.loads(given, n.at), self.loads([p.name for p in typed], n.at)]
        lines = [self.store("$sizes", self.place(py.Call(enter, values, []), n.at), n.at)]
        for x in fresh:
            read = py.Subscript(py.Name("$sizes", py.Load()), py.Constant(x), py.Load())
            lines.append(self.store(x, self.place(read, n.at), n.at))
        return lines, signature.id if returns is not None else None

    def function(self, n: ast.FuncDef, owner: str | None = None) -> py.stmt:
        name = n.name if owner is None else f"{owner}.{n.name}"
        place = ast.Name(n.name_at, n.name)
        lines, signature = self.prologue(name, n.params, n.returns, place, n.body)
        self.headers.append((*(p.name for p in n.params), *annotation_names([p.type for p in n.params])))
        self.returns.append(signature)
        lines += self.body(n.body)
        if signature is not None and not isinstance(n.body[-1], ast.Return):
            lines.append(self.place(py.Return(self.checked(py.Constant(None), n.name_at)), n.name_at))
        self.returns.pop()
        self.headers.pop()
        made: py.stmt = self.place(py.FunctionDef(n.name, self.arguments(n.params), lines, []), n.at)
        return made

    def s_funcdef(self, n: ast.FuncDef) -> list[py.stmt]:
        return [self.function(n)]

    def s_modeldef(self, n: ast.ModelDef) -> list[py.stmt]:
        place = ast.Name(n.name_at, n.name)
        lines, _ = self.prologue(n.name, n.params, None, place, n.body)
        fresh = annotation_names([p.type for p in n.params])
        self.headers.append((*(p.name for p in n.params), *fresh, "self"))
        self.returns.append(None)
        for statement in n.body:
            lines += self.field(n, statement)
        self.returns.pop()
        self.headers.pop()
        build = self.place(py.FunctionDef(n.name, self.arguments(n.params, "self"), lines or [py.Pass()], []), n.at)
        names = tuple(p.name for p in n.params)
        args: list[py.expr] = [py.Constant(n.name), py.Name(n.name, py.Load()), self.constant(names)]
        return [build, self.store(n.name, self.helper("model", args, n.name_at), n.name_at)]

    def field(self, model: ast.ModelDef, n: ast.Node) -> list[py.stmt]:
        if isinstance(n, ast.Pass) or (isinstance(n, ast.ExprStmt) and isinstance(n.value, ast.Constant)):
            return []
        me = py.Name("self", py.Load())
        if isinstance(n, ast.FuncDef):
            call = self.helper("method", [me, py.Constant(n.name), py.Name(n.name, py.Load())], n.name_at)
            return [self.function(n, model.name), self.place(py.Expr(call), n.name_at)]
        if isinstance(n, ast.FieldDecl):
            value = self.expr(n.value)
            if n.type is not None:
                given = tuple(x for x in annotation_names([n.type]) if any(x in h for h in self.headers))
                checker = self.constant(Signature(self.source, n.name, (), n.type, given, ()))
                value = self.helper("declared", [checker, self.loads(given, n.at), value], n.value.at)
            call = self.helper(n.kind, [me, py.Constant(n.name), value], n.at)
            return [self.place(py.Expr(call), n.at)]
        if isinstance(n, ast.Assign) and isinstance(n.target, ast.Name):
            call = self.helper("field", [me, py.Constant(n.target.id), self.expr(n.value)], n.at)
            return [self.place(py.Expr(call), n.at)]
        if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and n.value is not None:
            return self.field(model, ast.Assign(n.at, n.target, n.value))
        hint = "write `name = ...`, `param`, `buffer` or `def`"
        raise self.error("E0207", "this cannot stand in the body of a model", n, hint)

    def s_fielddecl(self, n: ast.FieldDecl) -> list[py.stmt]:
        raise self.error("E0207", f"`{n.kind}` stands in the body of a model only", n)

    def s_structdef(self, n: ast.StructDef) -> list[py.stmt]:
        fields: list[py.expr] = []
        for s in n.body:
            if isinstance(s, ast.Pass) or (isinstance(s, ast.ExprStmt) and isinstance(s.value, ast.Constant)):
                continue
            if not isinstance(s, ast.AnnAssign) or not isinstance(s.target, ast.Name):
                raise self.error("E0207", "a struct has fields only", s, "write `name: type = default`")
            checker = self.constant(Signature(self.source, s.target.id, (), s.type, (), ()))
            default: list[py.expr] = [] if s.value is None else [self.default(s.value)]
            fields.append(py.Tuple([py.Constant(s.target.id), checker, *default], py.Load()))
        args: list[py.expr] = [py.Constant(n.name), py.Tuple(fields, py.Load())]
        return [self.store(n.name, self.helper("struct", args, n.name_at), n.name_at)]

    def s_functiondef(self, n: ast.FunctionDef) -> list[py.stmt]:
        lines: list[py.stmt] = []
        found: set[str] = set()
        for s in n.body:
            if isinstance(s, ast.ExprStmt) and isinstance(s.value, ast.Constant):
                continue
            if not isinstance(s, ast.FuncDef) or s.name not in ("forward", "backward"):
                raise self.error("E0207", "a `function` has `forward` and `backward` only", s)
            found.add(s.name)
            lines.append(self.function(s, n.name))
        for name in ("forward", "backward"):
            if name not in found:
                raise self.error("E0207", f"`{n.name}` has no `{name}`", ast.Name(n.name_at, n.name))
        lines.append(py.Return(self.loads(("forward", "backward"), n.name_at)))
        build = self.place(py.FunctionDef(n.name, self.arguments(()), lines, []), n.at)
        made = py.Call(py.Name(n.name, py.Load()), [], [])
        value = self.helper("function", [py.Constant(n.name), self.place(made, n.name_at)], n.name_at)
        return [build, self.store(n.name, value, n.name_at)]

    # -------------------------------------------------------------------------------------- expressions

    def expr(self, n: ast.Node) -> py.expr:
        made: py.expr = getattr(self, f"e_{type(n).__name__.lower()}")(n)
        return made

    def e_name(self, n: ast.Name) -> py.expr:
        return self.named(n, py.Load())

    def e_constant(self, n: ast.Constant) -> py.expr:
        made: py.expr = self.place(py.Constant(n.value), n.at)
        return made

    def e_fstring(self, n: ast.FString) -> py.expr:
        values: list[py.expr] = []
        for part in n.parts:
            if not isinstance(part, ast.Hole):
                values.append(self.expr(part))
                continue
            conversion = ord(part.conversion) if part.conversion else -1
            spec = None if part.spec is None else self.e_fstring(part.spec)
            values.append(self.place(py.FormattedValue(self.expr(part.value), conversion, spec), part.at))
        made: py.expr = self.place(py.JoinedStr(values), n.at)
        return made

    def e_binary(self, n: ast.Binary) -> py.expr:
        spine: list[ast.Binary] = []  # a long sum leans to the left
        left: ast.Node = n
        while isinstance(left, ast.Binary):
            spine.append(left)
            left = left.left
        made = self.expr(left)
        for here in reversed(spine):
            made = self.place(py.BinOp(made, OPERATORS[here.op], self.expr(here.right)), here.at)
        return made

    def e_unary(self, n: ast.Unary) -> py.expr:
        made: py.expr = self.place(py.UnaryOp(UNARY[n.op], self.expr(n.value)), n.at)
        return made

    def e_bool(self, n: ast.Bool) -> py.expr:
        operator = py.And() if n.op == "and" else py.Or()
        made: py.expr = self.place(py.BoolOp(operator, [self.expr(n.left), self.expr(n.right)]), n.at)
        return made

    def comparison(self, n: ast.Compare, op: str) -> py.cmpop:
        if op in ("is", "is not") and not any(isinstance(e, ast.Constant) and e.value is None for e in n.rest):
            raise self.error("E0206", f"`{op}` is for None only", n, "compare with `==`")
        return COMPARISONS[op]

    def e_compare(self, n: ast.Compare) -> py.expr:
        ops = [self.comparison(n, op) for op in n.ops]
        made: py.expr = self.place(py.Compare(self.expr(n.first), ops, [self.expr(e) for e in n.rest]), n.at)
        return made

    def e_cond(self, n: ast.Cond) -> py.expr:
        made: py.expr = self.place(py.IfExp(self.expr(n.test), self.expr(n.then), self.expr(n.orelse)), n.at)
        return made

    def e_lambda(self, n: ast.Lambda) -> py.expr:
        params = py.arguments([], [py.arg(p) for p in n.params], None, [], [], None, [])
        made: py.expr = self.place(py.Lambda(params, self.expr(n.body)), n.at)
        return made

    def e_call(self, n: ast.Call) -> py.expr:
        args: list[py.expr] = []
        keywords: list[py.keyword] = []
        for a in n.args:
            if isinstance(a, ast.Keyword):
                keywords.append(py.keyword(a.name, self.expr(a.value)))
            elif isinstance(a, ast.Star):
                args.append(py.Starred(self.expr(a.value), py.Load()))
            else:
                args.append(self.expr(a))
        made: py.expr = self.place(py.Call(self.expr(n.fn), args, keywords), n.at)
        return made

    def subscript(self, n: ast.Subscript) -> py.expr:
        items = [self.expr(item) for item in n.items]
        if not items:
            raise self.error("E0100", "empty brackets", n)
        if len(items) == 1 and not n.trailing_comma:
            return items[0]
        return py.Tuple(items, py.Load())

    def e_subscript(self, n: ast.Subscript) -> py.expr:
        if n.fill is not None:
            hint = "define a tensor with it: y[i in 0:n] := x[i - 1 else 0.0]"
            raise self.error("E0424", "a padded read stands in index notation only", n, hint)
        made: py.expr = self.place(py.Subscript(self.expr(n.base), self.subscript(n), py.Load()), n.at)
        return made

    def e_slice(self, n: ast.Slice) -> py.expr:
        made: py.expr = py.Slice(*(None if x is None else self.expr(x) for x in (n.start, n.stop, n.step)))
        return made

    def e_attribute(self, n: ast.Attribute) -> py.expr:
        if n.name.startswith("_"):
            message = "attribute names that start with `_` cannot be written"
            raise SyntaxError(message, self.source.span(n.name_at), code="E0108")
        return self.helper("attr", [self.expr(n.base), py.Constant(n.name)], n.at)

    def e_tuple(self, n: ast.Tuple) -> py.expr:
        made: py.expr = self.place(py.Tuple([self.expr(x) for x in n.items], py.Load()), n.at)
        return made

    def e_list(self, n: ast.List) -> py.expr:
        made: py.expr = self.place(py.List([self.expr(x) for x in n.items], py.Load()), n.at)
        return made

    def e_dict(self, n: ast.Dict) -> py.expr:
        keys: list[py.expr | None] = [self.expr(x) for x in n.keys]
        made: py.expr = self.place(py.Dict(keys, [self.expr(x) for x in n.values]), n.at)
        return made

    def e_comprehension(self, n: ast.Comprehension) -> py.expr:
        target = self.target(n.target, [])
        loop = py.comprehension(target, self.expr(n.source), [self.expr(t) for t in n.tests], 0)
        made: py.expr = self.place(py.ListComp(self.expr(n.element), [loop]), n.at)
        return made

    def e_reduction(self, n: ast.Reduction) -> py.expr:
        return self.site(n)

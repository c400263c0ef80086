"""Which names a body assigns."""

from __future__ import annotations

from collections.abc import Sequence

from tdsl.lang import ast

DEFINITIONS = (ast.FuncDef, ast.ModelDef, ast.StructDef, ast.FunctionDef)


def used_names(tree: ast.Node) -> set[str]:
    """Every name that a script reads or writes."""
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}


def bound_names(statements: Sequence[ast.Node]) -> set[str]:
    """The names that a body assigns, not those of functions inside it."""
    found: set[str] = set()
    stack = list(statements)
    while stack:
        n = stack.pop()
        if isinstance(n, DEFINITIONS):
            found.add(n.name)
        elif isinstance(n, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            found |= target_names(n.target)
        elif isinstance(n, (ast.IndexDef, ast.FieldDecl)):
            found.add(n.name)
        elif isinstance(n, ast.For):
            found |= target_names(n.target)
            stack.extend(n.body)
        elif isinstance(n, ast.With):
            found.update(name for _, name in n.items if name)
            stack.extend(n.body)
        elif isinstance(n, ast.If):
            stack.extend((*n.body, *n.orelse))
        elif isinstance(n, (ast.While, ast.Scan)):
            stack.extend(n.body)
        elif isinstance(n, ast.Import):
            found.add(n.alias or n.path[0])
        elif isinstance(n, ast.FromImport):
            found.update(here for _, here in n.names)
    return found


def target_names(n: ast.Node) -> set[str]:
    """The names of an assignment's left side."""
    if isinstance(n, ast.Name):
        return {n.id}
    if isinstance(n, (ast.Tuple, ast.List)):
        return {name for item in n.items for name in target_names(item)}
    return set()

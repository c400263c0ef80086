"""Which local names may have a value at each place: a read that no path assigns before is certainly wrong (E0202)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdsl.lang import ast
from tdsl.lang.binding import DEFINITIONS, bound_names, target_names

State = frozenset[str] | None  # the names that some path to here assigns; None: no path leads here


def unassigned(body: Sequence[ast.Node], known: frozenset[str], watched: frozenset[str]) -> list[ast.Name]:
    """The reads of watched names in a body that come before every assignment; `known` have a value at its start."""
    flow = _Flow(watched)
    flow.body(body, known)
    return flow.found


class _Flow:
    def __init__(self, watched: frozenset[str]) -> None:
        self.watched = watched
        self.found: list[ast.Name] = []

    def body(self, statements: Sequence[ast.Node], state: State) -> State:
        for s in statements:
            state = self.statement(s, state)
        return state

    def statement(self, s: ast.Node, state: State) -> State:
        if isinstance(s, ast.If):
            self.reads(s.test, state)
            return _joined(self.body(s.body, state), self.body(s.orelse, state))
        if isinstance(s, (ast.While, ast.For)):
            return self.loop(s, state)
        if isinstance(s, ast.With):
            for e, _ in s.items:
                self.reads(e, state)
            return self.body(s.body, _with(state, bound_names([s])))
        if isinstance(s, DEFINITIONS):
            for p in getattr(s, "params", ()):
                if p.default is not None:
                    self.reads(p.default, state)
            return _with(state, {s.name})
        for e in _operands(s):
            self.reads(e, state)
        if isinstance(s, (ast.Return, ast.Break, ast.Continue)):
            return None
        return _with(state, bound_names([s]))

    def loop(self, s: ast.While | ast.For, state: State) -> State:
        """What the body assigns may have been assigned in a turn before."""
        target = target_names(s.target) if isinstance(s, ast.For) else set()
        if isinstance(s, ast.For):
            self.reads(s.source, state)
        inside = _with(state, bound_names(s.body) | target)
        if isinstance(s, ast.While):
            self.reads(s.test, inside)
        self.body(s.body, inside)
        return inside

    def reads(self, root: ast.Node, state: State) -> None:
        """Report the names that `root` reads now; what a lambda reads is read when it is called."""
        if state is None:
            return
        stack: list[tuple[ast.Node, frozenset[str]]] = [(root, frozenset())]
        while stack:
            n, own = stack.pop()
            if isinstance(n, ast.Name):
                if n.id in self.watched and n.id not in state and n.id not in own:
                    self.found.append(n)
            elif isinstance(n, ast.Lambda):
                continue
            elif isinstance(n, ast.Comprehension):
                inner = own | target_names(n.target)
                stack.extend((x, inner) for x in (n.element, *n.tests))
                stack.append((n.source, own))
            else:
                inner = own | {b.name for b in n.binders} if isinstance(n, (ast.Reduction, ast.IndexDef)) else own
                stack.extend((x, inner) for x in ast.children(n))


def _operands(s: ast.Node) -> Iterator[ast.Node]:
    """What a simple statement reads."""
    if isinstance(s, (ast.Assign, ast.AnnAssign)):
        if s.value is not None:
            yield s.value
        if not isinstance(s.target, (ast.Name, ast.Tuple, ast.List)):
            yield from ast.children(s.target)
    elif isinstance(s, ast.IndexDef):
        yield s
    elif isinstance(s, (ast.Scan, ast.Scatter)):
        return  # their names are checked with their indices
    else:
        yield from ast.children(s)


def _joined(a: State, b: State) -> State:
    return b if a is None else a if b is None else a | b


def _with(state: State, names: set[str]) -> State:
    return None if state is None else state | names

"""Graph to kernels: every stored value becomes a kernel, and kernels over the same points become one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tdsl.compiler.fusion import MAX_BODY, MAX_READS, Fusion
from tdsl.compiler.graph import Graph, Size, Sym, Type, Value
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Definition,
    Expr,
    Kernel,
    Param,
    Read,
    Reduce,
    Scatter,
    Statement,
    rewrite,
    roots,
    walk,
)
from tdsl.compiler.program import KernelStep, LibraryStep, Program, Step
from tdsl.compiler.source import InternalError

AXIS_NAMES = "ijklmnopqrstuvwabcdefgh"


@dataclass(eq=False, slots=True)
class _Group:
    """Values computed by one kernel. `position` orders the groups."""

    position: int
    values: list[Value]
    space: tuple[Size, ...] | None  # the points of an elementwise kernel; None: nothing may join
    reads: set[str] = field(default_factory=set)
    ops: int = 0


def schedule(graph: Graph, hints: Mapping[Sym, int] | None = None, recorded: Graph | None = None) -> Program:
    """Decide what is stored, what is computed where it is read, and in which kernels.

    `hints` gives run-time sizes the values they have now, to weigh costs by; the program is right for any values.
    """
    fusion = Fusion(graph, hints or {})
    aliases = _aliases(fusion)
    groups, libraries = _group(fusion, aliases)
    return _assemble(fusion, groups, libraries, aliases, recorded or graph)


def _aliases(fusion: Fusion) -> dict[Value, Value]:
    """Outputs that are a reshape of something stored that is no output itself: one buffer serves both."""
    found: dict[Value, Value] = {}
    taken: set[Value] = set()
    for out in fusion.graph.outputs:
        source = out
        while source.op is not None and source.op.name == "reshape":
            source = source.args[0]
        if source is out or source.op is None or source in fusion.outputs or source in taken:
            continue
        if source in fusion.stored or _cheaper_stored(fusion, source, out):
            fusion.stored.add(source)
            fusion.locals.discard(source)
            found[out] = source
            taken.add(source)
    return found


def _cheaper_stored(fusion: Fusion, source: Value, out: Value) -> bool:
    """A reduction keeps its own axes when it is stored under its own shape."""
    return source in fusion.body and fusion.body[source].reduces and fusion.size(source.shape) == fusion.size(out.shape)


def _group(fusion: Fusion, aliases: Mapping[Value, Value]) -> tuple[list[_Group], dict[int, Value]]:
    groups: list[_Group] = []
    libraries: dict[int, Value] = {}
    made_at: dict[str, int] = {}  # name of a stored value -> position of what makes it
    group_of: dict[str, _Group] = {}
    for position, node in enumerate(fusion.nodes):
        name = fusion.name[node]
        if node not in fusion.body:
            libraries[position] = node
            made_at[name] = position
            continue
        if node in aliases:
            made_at[name] = made_at[fusion.name[aliases[node]]]
            continue
        if node not in fusion.stored:
            continue
        body = fusion.body[node]
        alone = bool(body.rest) or body.reduces or body.checked
        home = None if alone else _home(groups, fusion, node, made_at, group_of)
        if home is None:
            home = _Group(position, [], None if alone else tuple(b.hi for b in body.binders))
            groups.append(home)
        home.values.append(node)
        home.reads |= body.reads
        home.ops += body.ops
        made_at[name] = home.position
        group_of[name] = home
    return groups, libraries


def _home(
    groups: list[_Group], fusion: Fusion, node: Value, made_at: Mapping[str, int], group_of: Mapping[str, _Group]
) -> _Group | None:
    """The group that an elementwise node may join: same points, everything it reads made before or in it."""
    body = fusion.body[node]
    space = tuple(b.hi for b in body.binders)
    for group in reversed(groups[-16:]):
        if group.space != space or not (group.reads & body.reads or any(group_of.get(r) is group for r in body.reads)):
            continue
        if group.ops + body.ops > MAX_BODY or len(group.reads | body.reads) > MAX_READS:
            continue
        inside = {r for r in body.reads if group_of.get(r) is group}
        if inside and not _reads_in_place(fusion, node, inside):
            continue
        if all(r in inside or made_at.get(r, -1) < group.position for r in body.reads):
            return group
    return None


def _reads_in_place(fusion: Fusion, node: Value, names: set[str]) -> bool:
    """Everything the node computes reads `names` at its own point only, so they can be values of one kernel."""
    pending, seen = [node], {node}
    while pending:
        body = fusion.body[pending.pop()]
        for e in walk(body.expr):
            if not isinstance(e, Read):
                continue
            value = fusion.value[e.tensor]
            in_place = all(
                isinstance(x, Axis) and x.name == b.name for x, b in zip(e.index, body.binders, strict=False)
            ) and len(e.index) == len(body.binders)
            if e.tensor in names and not in_place:
                return False
            if value in fusion.locals:
                if not in_place:
                    if names & fusion.body[value].reads:
                        return False
                elif value not in seen:
                    seen.add(value)
                    pending.append(value)
    return True


# ------------------------------------------------------------------------------------------------- kernels


class _Slots:
    """Numbers the program's buffers."""

    def __init__(self, fusion: Fusion) -> None:
        graph = fusion.graph
        self.tensors = [v for v in graph.inputs if not v.is_number]
        self.number = {v: k for k, v in enumerate(v for v in graph.inputs if v.is_number)}
        self.types: list[Type] = [v.type for v in self.tensors]
        self.slot = {v: k for k, v in enumerate(self.tensors)}

    def make(self, value: Value) -> int:
        self.types.append(value.type)
        self.slot[value] = len(self.types) - 1
        return self.slot[value]


def _assemble(
    fusion: Fusion,
    groups: list[_Group],
    libraries: Mapping[int, Value],
    aliases: Mapping[Value, Value],
    recorded: Graph,
) -> Program:
    slots = _Slots(fusion)
    steps: list[Step] = []
    work: list[tuple[int, _Group | Value]] = [(g.position, g) for g in groups]
    work += list(libraries.items())
    reshaped = {source: out for out, source in aliases.items()}
    for _, item in sorted(work, key=lambda x: x[0]):
        if isinstance(item, _Group):
            steps.append(_kernel_step(fusion, item, slots, len(steps)))
            slots.slot.update((reshaped[v], slots.slot[v]) for v in item.values if v in reshaped)
            continue
        assert item.op is not None
        inputs = tuple(slots.slot[a] for a in item.args)
        shapes = tuple(a.shape for a in item.args)
        steps.append(LibraryStep(item.op, item.attrs, inputs, slots.make(item), shapes))
    outputs = []
    for out in fusion.graph.outputs:
        out = aliases.get(out, out)
        if out.op is None or slots.slot[out] in outputs:
            outputs.append(_copy(out, slots, steps))
        else:
            outputs.append(slots.slot[out])
    graph = fusion.graph
    return Program(
        recorded,
        graph,
        tuple(slots.types),
        len(slots.tensors),
        len(slots.number),
        graph.sizes,
        tuple(steps),
        tuple(outputs),
    )


def _copy(value: Value, slots: _Slots, steps: list[Step]) -> int:
    """A second buffer with the same elements: no two outputs share bytes that an in-place write could reach."""
    binders = tuple(Binder(AXIS_NAMES[k], 0, n) for k, n in enumerate(value.shape))
    index = tuple(Axis(b.name) for b in binders)
    is_number = value in slots.number
    param = Param("a0", value.dtype, value.shape, is_number)
    definition = Definition("y", binders, Read("a0", index, value.dtype))
    kernel = Kernel(f"k{len(steps)}", (param,), (definition,), ("y",))
    slots.types.append(value.type)
    made = len(slots.types) - 1
    inputs = () if is_number else (slots.slot[value],)
    numbers = (slots.number[value],) if is_number else ()
    steps.append(KernelStep(kernel, inputs, numbers, kernel.sizes(), (made,)))
    return made


def _kernel_step(fusion: Fusion, group: _Group, slots: _Slots, ordinal: int) -> KernelStep:
    statements = _statements(fusion, group)
    outputs = [fusion.name[v] for v in group.values]
    defined = {s.name for s in statements if isinstance(s, Definition)}
    read: dict[str, None] = {}
    for s in statements:
        for r in roots(s):
            read.update((e.tensor, None) for e in walk(r) if isinstance(e, Read) and e.tensor not in defined)
    values = [fusion.value[name] for name in read]
    rename = {fusion.name[v]: f"a{k}" for k, v in enumerate(values)}
    rename |= {n: "y" if len(outputs) == 1 else f"y{k}" for k, n in enumerate(outputs)}
    rename |= {
        n: f"t{k}"
        for k, n in enumerate(n for n in (s.name for s in statements if isinstance(s, Definition)) if n not in outputs)
    }
    params = tuple(Param(rename[fusion.name[v]], v.dtype, v.shape, v in slots.number) for v in values)
    body = tuple(_pretty(s, rename) for s in statements)
    kernel = Kernel(f"k{ordinal}", params, body, tuple(rename[n] for n in outputs))
    hints = {rename[fusion.name[v]]: v.hint for v in [*values, *group.values] if v.hint}
    return KernelStep(
        kernel,
        tuple(slots.slot[v] for v in values if v not in slots.number),
        tuple(slots.number[v] for v in values if v in slots.number),
        kernel.sizes(),
        tuple(slots.make(v) for v in group.values),
        hints,
    )


def _statements(fusion: Fusion, group: _Group) -> list[Statement]:
    """The group's definitions, each after the locals that it reads."""
    done: dict[Value, None] = {}
    result: list[Statement] = []
    for value in group.values:
        stack = [(value, False)]
        while stack:
            node, ready = stack.pop()
            if node in done:
                continue
            needs = [] if ready else [n for n in _locals_read(fusion, node) if n not in done]
            if needs:
                stack.append((node, True))
                stack.extend((n, False) for n in reversed(needs))
                continue
            done[node] = None
            body = fusion.body[node]
            before = [s for s in body.rest if isinstance(s, Definition)]
            after = [s for s in body.rest if isinstance(s, Scatter)]
            result += [*before, Definition(fusion.name[node], body.binders, body.expr), *after]
    return result


def _locals_read(fusion: Fusion, node: Value) -> Iterable[Value]:
    body = fusion.body[node]
    found: dict[Value, None] = {}
    for root in (body.expr, *(r for s in body.rest for r in roots(s))):
        for e in walk(root):
            value = fusion.value.get(e.tensor) if isinstance(e, Read) else None
            if value is not None and value in fusion.locals:
                found[value] = None
    return found


def _pretty(statement: Statement, tensors: Mapping[str, str]) -> Statement:
    """The statement with short axis names, i, j, k, ... in order of binding, and the kernel's tensor names."""
    names: dict[str, str] = {}

    def axis(name: str) -> str:
        if name not in names:
            n = len(names)
            names[name] = AXIS_NAMES[n] if n < len(AXIS_NAMES) else f"i{n}"
        return names[name]

    binders = tuple(Binder(axis(b.name), b.lo, b.hi) for b in statement.binders)
    for r in roots(statement):
        for e in walk(r):
            if isinstance(e, Reduce):
                for b in e.binders:
                    axis(b.name)

    def change(e: Expr) -> Expr | None:
        if isinstance(e, Axis):
            return Axis(axis(e.name))
        if isinstance(e, Read):
            return Read(tensors.get(e.tensor, e.tensor), e.index, e.dtype, e.fill, e.checked)
        if isinstance(e, Reduce):
            return Reduce(e.op, tuple(Binder(axis(b.name), b.lo, b.hi) for b in e.binders), e.body, e.dtype, e.guard)
        return None

    if isinstance(statement, Definition):
        return Definition(tensors.get(statement.name, statement.name), binders, rewrite(statement.expr, change))
    if not isinstance(statement, Scatter):
        raise InternalError("a statement is a definition or a scatter")
    guard = None if statement.guard is None else rewrite(statement.guard, change)
    index = tuple(rewrite(e, change) for e in statement.index)
    target = tensors.get(statement.target, statement.target)
    return Scatter(target, binders, index, statement.op, rewrite(statement.expr, change), guard, statement.checked)

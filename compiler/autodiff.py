"""Differentiation of recorded values: one rule a value, from its op's record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import DERIVED, ZERO, Graph, Op, Signature, Type, Value, apply, number, postorder
from tdsl.compiler.index_grad import as_index, pull_back_scan, shares
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_grad import derive
from tdsl.compiler.ops.view import sum_to
from tdsl.compiler.source import GradError, InternalError

RULES = 20_000  # combinations of signature and wanted gradients whose rules are remembered


class GraphBuilder:
    """Builds ops by name from values and Python numbers; a number is a constant of its fellow's dtype."""

    def __call__(self, op: str, *operands: Value | bool | int | float, **attrs: Any) -> Value:
        if not operands:
            return self.make(op, **attrs)
        like = next((x for x in reversed(operands) if isinstance(x, Value)), None)
        if like is None:
            raise InternalError(f"{op}: a rule gives it numbers only")
        values = [x if isinstance(x, Value) else apply("constant", value=x, dtype=like.dtype) for x in operands]
        return self.make(op, *values, **attrs)

    def make(self, op: str, *values: Value, **attrs: Any) -> Value:
        """Autograd's engine overrides this one place."""
        return apply(op, *values, **attrs)

    def number(self, value: float, dtype: DType) -> Value:
        """A number that may differ from run to run."""
        return number(value, dtype)


build = GraphBuilder()


@dataclass(frozen=True, slots=True)
class Step:
    """One value a rule makes: `op` of earlier values by number, or a run-time number (op None, its value in `data`)."""

    op: Op | None
    args: tuple[int, ...]
    signature: Signature | None
    type: Type
    data: bool | int | float | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A rule carried out once for one signature: values are numbered g, y, args..., and then the steps.

    parts   the gradient of each arg, None: none.
    saved   numbers of y and args that the gradients use: what the forward had to keep.
    """

    steps: tuple[Step, ...]
    parts: tuple[int | None, ...]
    saved: tuple[int, ...]


_pulled: dict[tuple[Signature | None, Type, tuple[bool, ...]], Pulled] = {}


def pulled(y: Value, g: Value, needs: tuple[bool, ...]) -> Pulled:
    """What `pull_back` would build for values of these types, found by y's signature."""
    key = (y.signature, g.type, needs)
    found = _pulled.get(key)
    if found is None:
        if len(_pulled) > RULES:
            _pulled.clear()
        found = _pulled[key] = _trace(y, g, needs)
    return found


def _trace(y: Value, g: Value, needs: tuple[bool, ...]) -> Pulled:
    """Apply the rule to stand-ins, and keep what the wanted gradients are made of."""
    args = [Value(None, (), None, a.type, None, a.data if a.is_number else None) for a in y.args]
    seed = Value(None, (), None, g.type)
    result = Value(y.op, tuple(args), y.signature, y.type)
    parts = pull_back(result, seed, needs)
    given = [seed, result, *args]
    order = [v for v in postorder([p for p in parts if p is not None], stop=set(given)) if v not in given]
    place = {v: k for k, v in enumerate([*given, *order])}
    steps = tuple(Step(v.op, tuple(place[a] for a in v.args), v.signature, v.type, v.data) for v in order)
    used = {k for s in steps for k in s.args} | {place[p] for p in parts if p is not None}
    saved = tuple(sorted(k for k in used if 1 <= k < len(given)))
    return Pulled(steps, tuple(None if p is None else place[p] for p in parts), saved)


def pull_back(y: Value, g: Value, needs: Sequence[bool], b: GraphBuilder | None = None) -> list[Value | None]:
    """The gradients of y's args, given its own; None for an arg that needs none or gets none. `b` builds them."""
    b = b or build
    op = y.op
    if op is None:
        raise InternalError("an input has no args to pull back to")
    if op.vjp == ZERO:
        return [None] * len(y.args)
    if op.name == "scan":
        return pull_back_scan(b, g, y, needs)
    if op.vjp == DERIVED:
        return [_derived(y, g, k, b) if need else None for k, need in enumerate(needs)]
    assert callable(op.vjp)
    parts = op.vjp(b, g, y, *y.args)
    result: list[Value | None] = []
    for arg, part, need in zip(y.args, parts, needs, strict=True):
        if part is None or not need or not arg.dtype.is_float:
            result.append(None)
        elif op.elementwise is not None:
            result.append(sum_to(b, part, arg.shape))
        else:
            result.append(part)
    return result


_derivatives: dict[tuple[Kernel, int], Kernel | None] = {}


def _derived(y: Value, g: Value, k: int, b: GraphBuilder) -> Value | None:
    """The gradient of the k-th arg of a kernel in index notation, as such a kernel again."""
    assert y.op is not None and y.op.kernel is not None
    if not y.args[k].dtype.is_float:
        return None
    kernel = y.op.kernel(tuple(a.type for a in y.args), y.type, y.attrs)
    key = (kernel, k)
    if key not in _derivatives:
        _derivatives[key] = derive(kernel, kernel.params[k].name)
    derived = _derivatives[key]
    if derived is None:
        return None
    named = {p.name: arg for p, arg in zip(kernel.params, y.args, strict=True)} | {"y": y, "g": g}
    counting = shares(kernel)
    if counting is not None:
        count = b("index", *(named[p.name] for p in counting.params), kernel=as_index(counting))
        named["g"] = b("div", g, b("maximum", count, 1.0))
    args = [named[p.name] for p in derived.params]
    return b("index", *args, kernel=as_index(derived))


def gradient(graph: Graph) -> Graph:
    """The graph's outputs, and then the gradients of its one-element first output by its floating inputs."""
    out = graph.outputs[0]
    if out.shape and any(n != 1 for n in out.shape):
        raise GradError("grad can be implicitly created only for scalar outputs", out.span)
    seed = build("expand", build("constant", value=1.0, dtype=out.dtype), shape=out.shape)
    wanted = [v for v in graph.inputs if v.dtype.is_float and not v.is_number]
    order = postorder([out], stop=set(graph.inputs))
    reach: set[Value] = set(wanted)
    for value in order:
        if any(a in reach for a in value.args) and value.op is not None:
            reach.add(value)
    cotangent: dict[Value, Value] = {out: seed}
    for value in reversed(order):
        g = cotangent.get(value)
        if g is None or value.op is None:
            continue
        for arg, part in zip(value.args, pull_back(value, g, [a in reach for a in value.args]), strict=True):
            if part is not None:
                cotangent[arg] = build("add", cotangent[arg], part) if arg in cotangent else part
    zero = [build("full", build("constant", value=0.0, dtype=v.dtype), shape=v.shape) for v in wanted]
    gradients = [cotangent.get(v, z) for v, z in zip(wanted, zero, strict=True)]
    numbers = [v for v in postorder(gradients, stop=set(graph.inputs)) if v.is_number and v not in graph.inputs]
    return Graph([*graph.inputs, *numbers], [*graph.outputs, *gradients], graph.sizes)

"""Backward: from outputs to leaves along recorded values, recording the gradients as it goes. Nothing runs here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tdsl.compiler.autodiff import GraphBuilder, Pulled, pulled
from tdsl.compiler.graph import Value, apply
from tdsl.compiler.source import GradError, RuntimeError, resolve
from tdsl.recording import Mode, Tape, known, release
from tdsl.tensor import Size, Tensor, superseded

_SECOND = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
    "freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
    "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors "
    "after calling backward."
)


class _Builder(GraphBuilder):
    """Builds gradients, on the tape when they are to be differentiated again."""

    def __init__(self, create: bool) -> None:
        self.create = create

    def make(self, op: str, *values: Value, **attrs: Any) -> Value:
        made = apply(op, *values, **attrs)
        Mode.recorded += 1
        if self.create and made.dtype.is_float and any(v.tape is not None for v in values):
            made.tape = Tape()
        return made


def check_version(value: Value, name: str) -> None:
    """Raise where a saved value was changed in place after it was saved."""
    base = value
    while base not in superseded and base.op is not None and base.op.view and base.args:
        base = base.args[0]
    if base not in superseded:
        return
    storage, expected = superseded[base]
    raise GradError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[tdsl.{'Double' if value.dtype.bits == 64 else 'Float'}Tensor {list(value.shape)}], which is output 0 of "
        f"{node_name(value).removesuffix('0').removesuffix('Backward')}, is at version {storage.version}; expected "
        f"version {expected} instead. Hint: enable anomaly detection to find the operation that failed to compute its "
        "gradient, with tdsl.autograd.set_detect_anomaly(True, check_nan=False).",
        value.span,
        code="E0603",
        hint="change a copy: y = y.clone()",
    )


def _children(node: Any) -> Sequence[Any]:
    if isinstance(node, Value):
        tape = node.tape
        if tape is None or tape.leaf is not None:
            return ()
        if tape.function is not None:
            return (tape.function,)
        return [a for a in node.args if a.tape is not None]
    return [v for v in node.inputs if v is not None and v.tape is not None]


def _order(roots: Sequence[Value]) -> list[Any]:
    """Values and Function nodes, inputs first. No recursion."""
    order: list[Any] = []
    done: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        if node in done:
            continue
        done.add(node)
        stack.append((node, True))
        stack.extend((c, False) for c in _children(node) if c not in done)
    return order


class Run:
    """One backward."""

    def __init__(self, retain: bool, create: bool, only: set[Value] | None) -> None:
        self.retain, self.create, self.only = retain, create, only
        self.builder = _Builder(create)
        self.gradients: dict[Value, Value] = {}
        self.outputs: dict[Any, dict[int, Value]] = {}
        self.found: dict[Value, Value] = {}
        self.given: set[Value] = set()
        self.accumulate = True
        self.reached: set[Any] = set()

    def add(self, value: Value, part: Value) -> None:
        have = self.gradients.get(value)
        self.gradients[value] = part if have is None else self.builder("add", have, part)

    def go(self, roots: Sequence[tuple[Value, Value]]) -> None:
        order = _order(list(dict.fromkeys(v for v, _ in roots)))
        for value, g in roots:
            self.add(value, g)
        needed = self._needed(order)
        self.reached = set(order) if needed is None else needed
        Mode.backwards.append(self)
        try:
            for node in reversed(order):
                if needed is None or node in needed:
                    self._node(node)
        finally:
            Mode.backwards.pop()

    def _node(self, node: Any) -> None:
        try:
            if isinstance(node, Value):
                self._value(node)
            else:
                self._function(node)
        except Exception:
            if Mode.anomaly and (not isinstance(node, Value) or node.tape.leaf is None):
                _tell_place(node)
            raise

    def _needed(self, order: Sequence[Any]) -> set[Any] | None:
        """What lies on a way to the wanted inputs."""
        if self.only is None:
            return None
        needed: set[Any] = set(self.only)
        for node in order:
            if any(c in needed for c in _children(node)):
                needed.add(node)
        return needed

    def _value(self, value: Value) -> None:
        g = self.gradients.pop(value, None)
        if g is None:
            return
        tape = value.tape
        if tape.hooks:
            g = self._hooked(tape, g)
        if self.only is not None and value in self.only:
            self.found[value] = g
        if tape.retain is not None and (tensor := tape.retain()) is not None:
            tensor._grad = self._tensor(g)
        if tape.before:
            g = self._before(tape, g)
        if tape.leaf is not None:
            if self.accumulate and (self.only is None or value in self.only):
                self._leaf(tape, value, g)
        elif tape.function is not None:
            have = self.outputs.setdefault(tape.function, {})
            k = tape.output
            have[k] = g if k not in have else self.builder("add", have[k], g)
        else:
            self._pull(value, tape, g)

    def _hooked(self, tape: Tape, g: Value) -> Value:
        for hook in list((tape.hooks or {}).values()):
            with _mode(self.create):
                result = hook(Tensor(g))
            if result is not None:
                g = result.value
        return g

    def _before(self, tape: Tape, g: Value) -> Value:
        for hook in list((tape.before or {}).values()):
            with _mode(self.create):
                result = hook((Tensor(g),))
            if result is not None:
                g = (result[0] if isinstance(result, tuple) else result).value
        return g

    def _after(self, hooks: dict[int, Any], parts: list[Value | None], grads: Sequence[Value | None]) -> list[Any]:
        outputs = tuple(None if g is None else Tensor(g) for g in grads)
        for hook in list(hooks.values()):
            inputs = tuple(None if p is None else Tensor(p) for p in parts)
            with _mode(self.create):
                result = hook(inputs, outputs)
            if result is not None:
                changed = result if isinstance(result, tuple) else (result,)
                parts = [None if x is None else x.value for x in changed]
        return parts

    def _pull(self, value: Value, tape: Tape, g: Value) -> None:
        if tape.freed == "used" or value.op is None:
            raise RuntimeError(_SECOND, value.span, code="E0605")
        rule = pulled(value, g, tuple([a.tape is not None for a in value.args]))
        given = [g, value, *value.args]
        for k, packed in (tape.packed or {}).items():
            given[k] = packed.value()
        made = self._made(rule, given)
        for k in rule.saved:
            check_version(made[k], value.op.name)
        parts = [None if part is None else made[part] for part in rule.parts]
        if tape.after:
            parts = self._after(tape.after, parts, [g])
        if Mode.anomaly and Mode.check_nan:
            _check_nan(value, parts)
        for arg, part in zip(value.args, parts, strict=True):
            if part is not None and arg.tape is not None:
                self.add(arg, part)
        if not self.retain:
            tape.freed = "used" if rule.saved else "clean"
            if value.data is not None:
                release(value)

    def _made(self, rule: Pulled, values: list[Value]) -> list[Value]:
        """The rule's steps as recorded values, after those given."""
        for step in rule.steps:
            value = Value(step.op, tuple([values[k] for k in step.args]), step.signature, step.type, None, step.data)
            if self.create and value.type.dtype.is_float and any(a.tape is not None for a in value.args):
                value.tape = Tape()
            values.append(value)
        Mode.recorded += len(rule.steps)
        return values

    def _function(self, node: Any) -> None:
        grads = self.outputs.pop(node, None)
        if grads is None:
            return
        if node.freed:
            raise RuntimeError(_SECOND, code="E0605")
        with _mode(self.create):
            parts = node.pull_back(grads)
        if node.after:
            found = self._after(node.after, [None if p is None else p.value for p in parts],
                                [grads.get(k) for k in range(len(node.outputs))])  # fmt: skip
            parts = [None if p is None else Tensor(p) for p in found]
        if Mode.anomaly and Mode.check_nan:
            _check_nan(node, [None if p is None else p.value for p in parts])
        for value, part in zip(node.inputs, parts, strict=True):
            if part is not None and value is not None and value.tape is not None:
                self.add(value, part.value if self.create else _cut(part.value))
        if not self.retain and node.saved:
            node.freed = True
            node.free()

    def _tensor(self, g: Value) -> Tensor:
        if g in self.given or g.data is not None or g.owner is not None:
            g = self.builder("reshape", g, shape=g.shape)
        self.given.add(g)
        return Tensor(g)

    def _leaf(self, tape: Tape, value: Value, g: Value) -> None:
        tensor = tape.leaf()
        if tensor is None:
            return
        if tensor._grad is None:
            tensor._grad = self._tensor(g)
        elif self.create:
            tensor._grad = tensor._grad + Tensor(g)
        else:
            with _mode(False):
                total = apply("add", tensor._grad.value, g)
                tensor._grad.assign(total)
        for hook in list((tape.post or {}).values()):
            with _mode(False):
                hook(tensor)


def _cut(value: Value) -> Value:
    if value.tape is None:
        return value
    return apply("detach", value)


class _mode:
    def __init__(self, on: bool) -> None:
        self.on = on

    def __enter__(self) -> None:
        self.before, Mode.grad = Mode.grad, self.on

    def __exit__(self, *_: object) -> None:
        Mode.grad = self.before


def _seed(output: Tensor, gradient: Tensor | None, k: int = 0) -> Value:
    if output.value.tape is None:
        raise GradError(f"element {k} of tensors does not require grad and does not have a grad_fn")
    if gradient is None:
        if output.numel() != 1:
            raise GradError("grad can be implicitly created only for scalar outputs", output.value.span)
        one = apply("constant", value=1.0, dtype=output.dtype)
        return one if output.ndim == 0 else apply("full", one, shape=tuple(output.shape))
    if tuple(gradient.shape) != tuple(output.shape):
        raise GradError(
            f"Mismatch in shape: grad_output[{k}] has a shape of {Size(gradient.shape)!r} and output[{k}] has a shape "
            f"of {Size(output.shape)!r}."
        )
    value = gradient.value
    return value if value.dtype is output.dtype else apply("cast", value, dtype=output.dtype)


def backward(
    tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    inputs: Any = None,
) -> None:  # fmt: skip
    """Accumulate gradients of `tensors` into the `.grad` of leaves (of `inputs` only, where given)."""
    if Mode.transforms:
        raise RuntimeError(
            "backward() called inside a functorch transform. This is not supported, please use functorch.grad or "
            "functorch.vjp instead or call backward() outside of functorch transforms."
        )
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    seeds = [grad_tensors] * len(roots) if grad_tensors is None or isinstance(grad_tensors, Tensor) else grad_tensors
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its "
            "gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to "
            "avoid this.", UserWarning, stacklevel=3,
        )  # fmt: skip
    if inputs is not None:
        inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        if not inputs:
            raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    retain = create_graph if retain_graph is None else retain_graph
    run = Run(retain, create_graph, None if inputs is None else {x.value for x in inputs})
    run.go([(r.value, _seed(r, s, k)) for k, (r, s) in enumerate(zip(roots, seeds, strict=True))])


def grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
    allow_unused: bool | None = None, materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """The gradients of `outputs` by `inputs`; `.grad` is not touched."""
    roots = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    seeds = [grad_outputs] * len(roots) if grad_outputs is None or isinstance(grad_outputs, Tensor) else grad_outputs
    for x in wanted:
        if x.value.tape is None:
            raise GradError("One of the differentiated Tensors does not require grad")
    retain = create_graph if retain_graph is None else retain_graph
    run = Run(retain, create_graph, {x.value for x in wanted})
    run.accumulate = False
    run.go([(r.value, _seed(r, s, k)) for k, (r, s) in enumerate(zip(roots, seeds, strict=True))])
    result: list[Tensor | None] = []
    for k, x in enumerate(wanted):
        g = run.found.get(x.value)
        if g is None and not (allow_unused or materialize_grads):
            raise GradError(
                f"The differentiated Tensor at index {k} appears to not have been used in the graph. Set "
                "allow_unused=True if this is the desired behavior."
            )
        if g is None and materialize_grads:
            zero = apply("constant", value=0.0, dtype=x.dtype)
            g = apply("full", zero, shape=tuple(x.shape))
        result.append(None if g is None else run._tensor(g))
    return tuple(result)


# ---- hooks and names


class Handle:
    """Removes a hook."""

    _next = 0

    def __init__(self, hooks: dict[int, Any]) -> None:
        self.hooks = hooks
        self.id = Handle._next
        Handle._next += 1

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def add_hook(tensor: Tensor, hook: Callable[..., Any]) -> Handle:
    tape = tensor.value.tape
    if tape is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    tape.hooks = tape.hooks if tape.hooks is not None else {}
    handle = Handle(tape.hooks)
    tape.hooks[handle.id] = hook
    return handle


def add_post_hook(tensor: Tensor, hook: Callable[..., Any]) -> Handle:
    tape = tensor.value.tape
    if tape is None or tape.leaf is None:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    tape.post = tape.post if tape.post is not None else {}
    handle = Handle(tape.post)
    tape.post[handle.id] = hook
    return handle


_NAMES = {"index": "Index", "reshape": "View", "matmul": "Mm", "take": "Index", "cast": "ToCopy", "slice": "Slice",
          "slice_update": "CopySlices", "relu": "Relu", "amax": "Amax", "amin": "Amin", "copy": "Clone"}  # fmt: skip


def node_name(value: Value) -> str:
    """What PyTorch would call the op: MulBackward0."""
    tape = value.tape
    if tape is not None and tape.function is not None:
        return str(tape.function.name)
    if tape is not None and tape.name:
        return str(tape.name)
    if value.op is None:
        return "AccumulateGrad"
    name = value.op.name
    return _NAMES.get(name, "".join(p.capitalize() for p in name.split("_"))) + "Backward0"


def _place_of(node: Any) -> Any:
    return resolve(node.span)


def _tell_place(node: Any) -> None:
    name = node_name(node) if isinstance(node, Value) else node.name
    span = _place_of(node)
    text = "" if span is None else f"\n  at {span}\n    {span.text.strip()}"
    warnings.warn(
        f"Error detected in {name}. Traceback of forward call that caused the error:{text}", UserWarning, stacklevel=6
    )


def _check_nan(node: Any, parts: Sequence[Value | None]) -> None:
    name = node_name(node) if isinstance(node, Value) else node.name
    for k, part in enumerate(parts):
        if part is not None and part.dtype.is_float and np.isnan(known(part).data.array).any():
            raise RuntimeError(f"Function '{name}' returned nan values in its {k}th output.", node.span)

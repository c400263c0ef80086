"""What a backward will do, seen from Python: nodes of the graph, their hooks, and what is saved for them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from tdsl.autograd.engine import Handle, node_name
from tdsl.compiler.autodiff import pulled
from tdsl.compiler.graph import Value
from tdsl.compiler.source import RuntimeError, TypeError, ValueError
from tdsl.recording import Mode
from tdsl.tensor import Tensor

__all__ = ["Node", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks"]


class Node:
    """`tensor.grad_fn`: what will compute the gradients of an op's args."""

    def __init__(self, value: Value) -> None:
        self._value = value
        self.metadata: dict[Any, Any] = {}

    def name(self) -> str:
        """What PyTorch calls it: MulBackward0."""
        return node_name(self._value)

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """For each arg the node its gradient goes to, None where none is wanted, and the number of its output."""
        value = self._value
        tape = value.tape
        if tape.leaf is not None:
            return ()
        args: Sequence[Value | None] = value.args if tape.function is None else tape.function.inputs
        return tuple((None, 0) if a is None or a.tape is None else (_node(a), a.tape.output) for a in args)

    @property
    def variable(self) -> Any:
        """The leaf that this node accumulates into."""
        leaf = self._value.tape.leaf
        if leaf is None:
            raise AttributeError(f"'{self.name()}' object has no attribute 'variable'")
        return leaf()

    def register_hook(self, fn: Callable[..., Any]) -> Handle:
        """`fn(grad_inputs, grad_outputs)` after the node has run; a tuple it returns replaces the grad_inputs."""
        tape = self._value.tape
        owner = tape if tape.function is None else tape.function
        owner.after = {} if owner.after is None else owner.after
        return _registered(owner.after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> Handle:
        """`fn(grad_outputs)` before the node runs; a tuple it returns replaces them."""
        tape = self._value.tape
        tape.before = {} if tape.before is None else tape.before
        return _registered(tape.before, fn)

    def __repr__(self) -> str:
        return f"<{self.name()} object at {hex(id(self))}>"


def _registered(hooks: dict[int, Any], fn: Callable[..., Any]) -> Handle:
    handle = Handle(hooks)
    hooks[handle.id] = fn
    return handle


_kinds: dict[str, type[Node]] = {}


def _node(value: Value) -> Node:
    """The one node of a value, of a class by its name; the outputs of a Function share theirs."""
    tape = value.tape
    owner = tape if tape.function is None else tape.function
    node = None if owner.node is None else owner.node()
    if node is None:
        name = node_name(value) if tape.leaf is None else "AccumulateGrad"
        kind = _kinds.get(name) or _kinds.setdefault(name, type(name, (Node,), {}))
        node = kind(value)
        owner.node = weakref.ref(node)
        tape.root = node if tape.leaf is None else None  # lives as long as the value
    return node  # type: ignore[no-any-return]


def node_of(value: Value) -> Node | None:
    tape = value.tape
    return None if tape is None or tape.leaf is not None else _node(value)


# ---- what is saved


class saved_tensors_hooks:
    """While it is on, `pack_hook(tensor)` is kept in place of what an op saves for its backward, and
    `unpack_hook(packed)` gives it back there.

    >>> import tdsl
    >>> x = tdsl.ones(2, requires_grad=True)
    >>> with tdsl.autograd.graph.saved_tensors_hooks(lambda t: t * 2, lambda t: t):
    ...     y = x.exp()
    >>> y.sum().backward()
    >>> x.grad
    tensor([5.4366, 5.4366])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        Mode.saving.append(self)
        Mode.packing = _pack

    def __exit__(self, *_: object) -> None:
        Mode.saving.pop()
        Mode.packing = _pack if Mode.saving else None

    def packed(self, value: Value) -> Packed:
        packing, Mode.packing = Mode.packing, None
        try:
            return Packed(self.pack_hook(Tensor(value)), self.unpack_hook)
        finally:
            Mode.packing = packing


class save_on_cpu(saved_tensors_hooks):
    """Keeps what is saved on the CPU, where it is."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cpu") -> None:
        super().__init__(lambda tensor: tensor, lambda tensor: tensor)


class Packed:
    """What a pack hook made of a saved tensor."""

    def __init__(self, content: Any, unpack: Callable[[Any], Any]) -> None:
        self.content, self.unpack = content, unpack

    def value(self) -> Value:
        tensor = self.unpack(self.content)
        if not isinstance(tensor, Tensor):
            raise TypeError(
                "Output of saved tensor unpack_hook expected to be a Tensor but got result of type "
                f"{type(tensor).__name__}"
            )
        return tensor.value


def _pack(value: Value) -> None:
    """Hand what the gradients of a value's args need to the innermost hooks."""
    hooks = Mode.saving[-1]
    seed = Value(None, (), None, value.type)
    rule = pulled(value, seed, tuple(a.tape is not None for a in value.args))
    given = [seed, value, *value.args]
    kept = [k for k in rule.saved if not (given[k].is_number or _is_constant(given[k]))]
    value.tape.packed = {k: hooks.packed(given[k]) for k in kept}


def _is_constant(value: Value) -> bool:
    return value.op is not None and value.op.name == "constant"


# ---- hooks of several tensors


class _Handles:
    def __init__(self, handles: Sequence[Handle]) -> None:
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def register_multi_grad_hook(tensors: Sequence[Tensor], fn: Callable[..., Any], *, mode: str = "all") -> _Handles:
    """Call `fn(grads)` in each backward once the gradients of all these tensors are there (None for those that get
    none); with mode "any", `fn(grad)` with the first of them."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    values = [t.value for t in tensors]
    runs: weakref.WeakKeyDictionary[Any, dict[int, Tensor]] = weakref.WeakKeyDictionary()

    def hook(k: int) -> Callable[[Tensor], None]:
        def one(gradient: Tensor) -> None:
            run = Mode.backwards[-1]
            seen = runs.setdefault(run, {})
            seen[k] = gradient
            if mode == "any" and len(seen) == 1:
                fn(gradient)
            elif mode == "all" and len(seen) == sum(v in run.reached for v in values):
                fn([seen.get(j) for j in range(len(values))])

        return one

    return _Handles([t.register_hook(hook(k)) for k, t in enumerate(tensors)])


def check_saved(value: Value) -> None:
    """A tensor made in inference mode may not be saved."""
    inferred = Mode.inferred
    if inferred is None or not any(a in inferred for a in value.args):
        return
    seed = Value(None, (), None, value.type)
    rule = pulled(value, seed, tuple(a.tape is not None for a in value.args))
    if any(k >= 2 and value.args[k - 2] in inferred for k in rule.saved):
        raise RuntimeError(
            "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in "
            "computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use "
            "it in autograd, or use `tdsl.no_grad()` instead of `tdsl.inference_mode()`.",
            value.span,
        )

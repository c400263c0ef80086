"""Hooks of modules: called before and after a forward, and with the gradients of a module's inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl.autograd.function import Function
from tdsl.recording import Mode
from tdsl.tensor import Tensor

_count = 0


class RemovableHandle:
    """Takes a hook away again."""

    def __init__(self, hooks: dict[int, Any], key: int) -> None:
        self.hooks, self.id = hooks, key

    def remove(self) -> None:
        self.hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


def register(hooks: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    global _count
    _count += 1
    hooks[_count] = hook
    if prepend:
        hooks.move_to_end(_count, last=False)  # type: ignore[attr-defined]
    return RemovableHandle(hooks, _count)


class _Mark(Function):
    """The tensors themselves; backward tells `told` their gradients, and takes others from it."""

    @staticmethod
    def forward(ctx: Any, told: Any, *tensors: Any) -> Any:
        ctx.told = told
        ctx.set_materialize_grads(False)
        return tuple(t.detach() for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, *ctx.told(grads)


class BackwardHooks:
    """One call of a module with hooks on its gradients."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]], before: list[Callable[..., Any]]) -> None:
        self.module, self.hooks, self.before = module, hooks, before
        self.grad_output: tuple[Any, ...] = ()
        self.places: list[int] = []
        self.count = 0

    def on_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        self.places = [k for k, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not self.places or not Mode.grad:
            self.places = []
            return args
        marked = _Mark.apply(self._inputs, *[args[k] for k in self.places])
        made = list(args)
        for k, tensor in zip(self.places, marked, strict=True):
            made[k] = tensor
        return tuple(made)

    def on_outputs(self, result: Any) -> Any:
        many = isinstance(result, tuple | list)
        outputs = list(result) if many else [result]
        places = [k for k, y in enumerate(outputs) if isinstance(y, Tensor) and y.requires_grad]
        if not places or not Mode.grad:
            return result
        self.wide = len(outputs)
        self.out_places = places
        for k, tensor in zip(places, _Mark.apply(self._outputs, *[outputs[k] for k in places]), strict=True):
            outputs[k] = tensor
        return type(result)(outputs) if many else outputs[0]

    def _spread(self, grads: tuple[Any, ...], places: list[int], count: int) -> tuple[Any, ...]:
        made: list[Any] = [None] * count
        for k, g in zip(places, grads, strict=True):
            made[k] = g
        return tuple(made)

    def _outputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        self.grad_output = self._spread(grads, self.out_places, self.wide)
        for hook in self.before:
            changed = hook(self.module, self.grad_output)
            if changed is not None:
                self.grad_output = changed if isinstance(changed, tuple) else (changed,)
        if not self.places:
            for hook in self.hooks:
                hook(self.module, (None,) * self.count, self.grad_output)
        return tuple(self.grad_output[k] for k in self.out_places)

    def _inputs(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        whole = self._spread(grads, self.places, self.count)
        for hook in self.hooks:
            changed = hook(self.module, whole, self.grad_output)
            if changed is not None:
                whole = changed if isinstance(changed, tuple) else (changed,)
        return tuple(whole[k] for k in self.places)

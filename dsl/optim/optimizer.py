"""The base of all optimizers: parameter groups, state, and updates written in index notation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from tdsl.autograd.modes import enable_grad, no_grad
from tdsl.compiler.graph import Value, apply, number
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import TypeError, ValueError
from tdsl.recording import Mode, flush
from tdsl.tensor import Tensor

AXES = "ijklmnop"


@lru_cache(maxsize=4096)
def update_kernel(line: str, tensors: int, numbers: tuple[str, ...], dtype: str, shape: tuple[int, ...]) -> Kernel:
    """`line` is the right side of y[...] := ..., over a0[...], a1[...], ... and the named numbers."""
    sizes = ",".join(map(str, shape))
    params = [f"a{k}: {dtype}[{sizes}]" for k in range(tensors)] + [f"{n}: number {dtype}" for n in numbers]
    axes = ", ".join(AXES[: len(shape)])
    bound = ", ".join(f"{a} in 0:{n}" for a, n in zip(AXES, shape, strict=False))
    line = line.replace("[...]", f"[{axes}]" if shape else "")
    return intern(parse(f"kernel update({', '.join(params)}) -> (y):\n  y[{bound}] := {line}"))


def update(line: str, tensors: Sequence[Value], numbers: dict[str, float]) -> Value:
    """One value from values of one shape and numbers that may change from step to step."""
    first = tensors[0]
    kernel = update_kernel(line, len(tensors), tuple(numbers), first.dtype.name, first.shape)  # type: ignore[arg-type]
    Mode.recorded += 1
    return apply("index", *tensors, *[number(n, first.dtype) for n in numbers.values()], kernel=kernel)


class Optimizer:
    """Subclass with `_update(group, parameter, gradient, state)`."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                "tdsl.FloatTensor"
            )
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        params = group["params"]
        group = {**self.defaults, **group, "params": [params] if isinstance(params, Tensor) else list(params)}
        for p in group["params"]:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    p._grad = None if set_to_none else p._grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, and run what is pending."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        self._update(group, p, p._grad.value, self.state.setdefault(p, {}))
            flush()
        return loss

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: dict[str, Any]) -> None:
        raise NotImplementedError

    # ---- state

    def state_dict(self) -> dict[str, Any]:
        order = {id(p): k for k, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [order[id(p)] for p in g["params"]]} for g in self.param_groups]
        return {"state": {order[id(p)]: dict(s) for p, s in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, self.param_groups, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        params = [p for g in self.param_groups for p in g["params"]]
        self.state = {
            params[k]: {n: v.clone() if isinstance(v, Tensor) else v for n, v in s.items()}
            for k, s in state_dict["state"].items()
        }
        for new, group in zip(groups, self.param_groups, strict=True):
            group.update({k: v for k, v in new.items() if k != "params"})

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for k, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {k}")
            lines += [f"    {n}: {v}" for n, v in sorted(group.items()) if n != "params"]
        return "\n".join(lines) + "\n)"

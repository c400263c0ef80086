"""The base of all optimizers: parameter groups, state, and updates written in index notation."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from tdsl.autograd.engine import Handle
from tdsl.autograd.modes import enable_grad, no_grad
from tdsl.capture.numbers import as_float
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import OPS, Signature, Type, Value, apply, input_value, number
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import TypeError, ValueError
from tdsl.recording import Mode, flush, hold
from tdsl.runtime.buffer import Buffer
from tdsl.tensor import Tensor

AXES = "ijklmnop"
Params = Iterable[Any]
State = dict[str, Any]


class Update:
    """One line of index notation for every element of a parameter: the right side of y[...] := ...

    `a0[...]`, `a1[...]`, ... are the tensors, all of one type; `numbers` name the run-time numbers that follow them.

    >>> step = Update("a0[...] - lr * a1[...]", "lr")
    >>> step.kernel(dt.f32, (2, 3), 2).body[0].name
    'y'
    """

    def __init__(self, line: str, *numbers: str) -> None:
        self.line, self.numbers = line, numbers
        self._signatures: dict[Type, Signature | None] = {}
        self._kernels: dict[Type, Kernel] = {}

    def kernel(self, dtype: DType, shape: Sequence[int], tensors: int) -> Kernel:
        sizes, axes = ",".join(map(str, shape)), ", ".join(AXES[: len(shape)])
        params = [f"a{k}: {dtype.name}[{sizes}]" for k in range(tensors)]
        params += [f"{n}: number {dtype.name}" for n in self.numbers]
        bound = ", ".join(f"{a} in 0:{n}" for a, n in zip(AXES, shape, strict=False))
        line = self.line.replace("[...]", f"[{axes}]" if shape else "")
        return intern(parse(f"kernel update({', '.join(params)}) -> (y):\n  y[{bound}] := {line}"))

    def __call__(self, *values: Value) -> Value:
        """The tensors, then the numbers."""
        Mode.recorded += 1
        type_ = values[0].type
        signature = self._signatures.get(type_)
        if signature is not None:
            return Value(OPS["index"], values, signature, signature.type)
        kernel = self._kernels.get(type_)
        if kernel is None:
            kernel = self.kernel(type_.dtype, type_.shape, len(values) - len(self.numbers))  # type: ignore[arg-type]
            self._kernels[type_] = kernel
        made = apply("index", *values, kernel=kernel)
        if not type_.dtype.is_half:  # which is a cast of the kernel's result
            self._signatures[type_] = made.signature
        return made


ASCENT = Update("-a0[...]")
DECAY = Update("a0[...] + decay * a1[...]", "decay")
SHRINK = Update("a0[...] * keep", "keep")
SQUARES = Update("b * a0[...] + rest * a1[...] * a1[...]", "b", "rest")
AVERAGE = Update("a0[...] + rest * (a1[...] - a0[...])", "rest")
LARGEST = Update("maximum(a0[...], a1[...])")


def filled(p: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of the parameter's shape and dtype."""
    constant = apply("constant", value=value, dtype=p.dtype)
    return Tensor(apply("full", constant, shape=tuple(p.shape)) if p.ndim else constant)


def replace(tensor: Tensor, value: Value) -> Tensor:
    """Make `value` the state tensor's value; the object stays."""
    if tensor._storage is not None:
        return tensor.assign(value)
    tensor._value = value
    hold(tensor)
    return tensor


def scalar(value: float) -> Tensor:
    """A 0-d float32 tensor of a known number."""
    made = Tensor(_scalar_value(value))
    if type(value) is int:
        made.__dict__["_known"] = (made._value, value)
    return made


def _scalar_value(value: float) -> Value:
    return input_value(Type(dt.f32, ()), Buffer(np.array([value], np.float32)))


def counted(n: int) -> tuple[Value, int]:
    """A step count as a state keeps it: its value, and the number itself."""
    return _scalar_value(n), n


def as_number(x: Any) -> float:
    """A hyperparameter, which may be a 0-d tensor."""
    return float(x.item()) if isinstance(x, Tensor) else x


def check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Optimizer:
    """Subclass with `_update(group, parameter, gradient, state)`.

    `state` maps a parameter to its state; `param_groups` is a list of dicts of options, each with its "params".
    """

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                "tdsl.FloatTensor"
            )
        self.defaults = defaults
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._before: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._after: OrderedDict[int, Callable[..., Any]] = OrderedDict()
        self._shared: dict[Any, list[Value]] = {}
        self._counts: dict[int, tuple[Value, int]] = {}
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """One more group; options that it does not name are the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        found = [params] if isinstance(params, Tensor) else list(params)
        group = {**self.defaults, **param_group}
        if found and isinstance(found[0], tuple):
            group["param_names"] = [name for name, _ in found]
            found = [p for _, p in found]
        group["params"] = found
        for p in found:
            if not isinstance(p, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not p.is_leaf:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(p) for g in self.param_groups for p in g["params"]}
        if any(id(p) in known for p in found):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients, or fill them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    p._grad = None if set_to_none else p._grad.detach().zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, and run what is pending; the closure's loss, if one is given."""
        for hook in list(self._before.values()):
            changed = hook(self, (closure,), {})
            if changed is not None:
                closure = changed[0][0]
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        self._update(group, p, p._grad.value, self.state[p])
            self._shared.clear()
            flush()
        for hook in list(self._after.values()):
            hook(self, (closure,), {})
        return loss

    def _update(self, group: dict[str, Any], p: Tensor, g: Value, state: State) -> None:
        raise NotImplementedError

    # ---- what updates share

    def _numbers(
        self, group: dict[str, Any], dtype: DType, count: int, of: Callable[[], Iterable[float]]
    ) -> list[Value]:
        """The numbers of an update as run-time arguments, once for all parameters of a group at the same step."""
        key = (id(group), dtype, count if type(count) is int else id(count))  # a count that is followed has no hash
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = [number(as_float(x), dtype) for x in of()]
        return found

    def _count(self, state: State) -> int:
        """One more step: the state's `step`, a 0-d tensor, and its number."""
        step: Tensor = state["step"]
        if Mode.capture is not None:
            following = Mode.capture.count(step, counted)
            if following is not None:
                return following  # type: ignore[no-any-return]
        known = step.__dict__.get("_known")
        n = 1 + (known[1] if known is not None and known[0] is step._value else int(step.item()))
        if n not in self._counts:
            self._counts = {n: counted(n)}
        replace(step, self._counts[n][0])
        step.__dict__["_known"] = self._counts[n]
        return n

    def _decayed(self, group: dict[str, Any], p: Tensor, g: Value) -> Value:
        """The gradient to descend along, with the weight decay that is added to it."""
        if group.get("maximize"):
            g = ASCENT(g)
        decay = group.get("weight_decay", 0)
        return DECAY(g, p.value, number(as_float(decay), p.dtype)) if decay else g

    # ---- hooks and state

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """`hook(optimizer, args, kwargs)` before each step."""
        return _registered(self._before, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """`hook(optimizer, args, kwargs)` after each step."""
        return _registered(self._after, hook)

    def state_dict(self) -> dict[str, Any]:
        """The state and the groups, with parameters by number."""
        order = {id(p): k for k, p in enumerate(p for g in self.param_groups for p in g["params"])}
        groups = [{**g, "params": [order[id(p)] for p in g["params"]]} for g in self.param_groups]
        return {"state": {order[id(p)]: dict(s) for p, s in self.state.items() if s}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a `state_dict`: checked as a whole first, then copied."""
        missing = [k for k in ("state", "param_groups") if k not in state_dict]
        if missing:
            raise ValueError(f"the optimizer's state dict has no {missing[0]!r}")
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, self.param_groups, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        numbers = [k for g in groups for k in g["params"]]
        params = dict(zip(numbers, (p for g in self.param_groups for p in g["params"]), strict=True))
        state: defaultdict[Tensor, State] = defaultdict(dict)
        for k, entries in state_dict["state"].items():
            if k in params:
                state[params[k]] = {n: self._loaded(params[k], n, x) for n, x in entries.items()}
        self.state = state
        for new, group in zip(groups, self.param_groups, strict=True):
            group.update({k: deepcopy(v) for k, v in new.items() if k != "params"})

    @staticmethod
    def _loaded(p: Tensor, name: str, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return scalar(float(x)) if name == "step" else deepcopy(x)
        x = x.detach().clone()
        return x.to(p.dtype) if x.dtype.is_float and name != "step" else x

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._before, self._after, self._shared, self._counts = OrderedDict(), OrderedDict(), {}, {}

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for k, group in enumerate(self.param_groups):
            text += f"\nParameter Group {k}\n"
            text += "".join(f"    {n}: {v}\n" for n, v in sorted(group.items()) if n != "params")
        return text + ")"


def _registered(hooks: OrderedDict[int, Callable[..., Any]], hook: Callable[..., Any]) -> Handle:
    handle = Handle(hooks)
    hooks[handle.id] = hook
    return handle

"""Models as functions of their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tdsl.compiler.source import RuntimeError, ValueError
from tdsl.nn.module import Module
from tdsl.shapes import stack
from tdsl.tensor import Tensor

Tensors = Mapping[str, Tensor]


def functional_call(
    module: Module, parameter_and_buffer_dicts: Tensors | Sequence[Tensors], args: Any = None,
    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False,
) -> Any:  # fmt: skip
    """`module(*args, **kwargs)` with these tensors in place of its parameters and buffers, which stay as they are.

    With `tie_weights`, a tensor given for one of several names of a parameter stands for all of them. With `strict`,
    every parameter and buffer must be given, and nothing else.
    """
    dicts = parameter_and_buffer_dicts
    if isinstance(dicts, list | tuple):
        if not all(isinstance(d, Mapping) for d in dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [k for d in dicts for k in d]
        twice = list(dict.fromkeys(k for k in names if names.count(k) > 1))
        if twice:
            raise ValueError(f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {k: v for d in dicts for k, v in d.items()}
    elif isinstance(dicts, Mapping):
        given = dict(dicts)
    else:
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(dicts)}"
        )
    with _replaced(module, given, tie_weights, strict):
        inputs = () if args is None else args if isinstance(args, tuple) else (args,)
        return module(*inputs, **(kwargs or {}))


@contextmanager
def _replaced(module: Module, given: dict[str, Tensor], tie: bool, strict: bool) -> Iterator[None]:
    places = {}  # name -> (table, key, what stands there)
    for path, part in module.named_modules():
        for table in (part._parameters, part._buffers):
            for key, x in table.items():
                if x is not None:
                    places[f"{path}.{key}" if path else key] = (table, key, x)
    unexpected = [k for k in given if k not in places]
    tied = {id(places[k][2]): v for k, v in given.items() if k in places} if tie else {}
    new = {k: given[k] if k in given else tied[id(x)] for k, (_, _, x) in places.items() if k in given or id(x) in tied}
    missing = [k for k in places if k not in new]
    if strict and (unexpected or missing):
        text = [f"Unexpected key(s): {', '.join(unexpected)}."] if unexpected else []
        text += [f"Missing key(s): {', '.join(missing)}."] if missing else []
        raise RuntimeError(f"Error(s) in loading state_dict for {type(module).__name__}:\n\t" + "\n\t".join(text))
    if unexpected:
        raise RuntimeError(f"{type(module).__name__} has no parameter or buffer {unexpected[0]!r}")
    try:
        for name, tensor in new.items():
            table, key, _ = places[name]
            table[key] = tensor
        yield
    finally:
        for name in new:
            table, key, old = places[name]
            table[key] = old


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of models of one class, stacked: what `vmap` of `functional_call` maps over."""
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = {k: _stacked([dict(m.named_parameters())[k] for m in models], k) for k, _ in models[0].named_parameters()}
    buffers = {k: _stacked([dict(m.named_buffers())[k] for m in models], k) for k, _ in models[0].named_buffers()}
    return params, buffers


def _stacked(tensors: Sequence[Tensor], name: str) -> Tensor:
    wanted = {x.requires_grad for x in tensors}
    if len(wanted) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    made: Tensor = stack([x.detach() for x in tensors])
    return made.requires_grad_() if True in wanted else made

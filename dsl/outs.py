"""`out=`: every function of the package can write its result into a tensor that is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from types import FunctionType
from typing import Any

from tdsl.arguments import ROOMS, checked
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.recording import Mode
from tdsl.tensor import Tensor, type_name


def takes_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with an argument `out`: a tensor, or a tuple of them for a function with several results.

    PyTorch's rules: the result's dtype must be castable to the tensor's, another shape resizes it, gradients do not
    flow through, and the tensor itself is returned.
    """

    @wraps(function)
    def wrapped(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return function(*args, **kwargs)
        return written(function, out, args, kwargs)

    return wrapped


def written(function: Callable[..., Any], out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = function.__name__
    targets = list(out) if isinstance(out, Sequence) else [out]
    _check_targets(name, targets)
    if Mode.grad and any(_needs_gradient(x) for x in (*targets, *args, *kwargs.values())):
        raise RuntimeError(
            f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the "
            "arguments requires grad."
        )
    asked = kwargs.get("dtype")
    if asked is not None and asked is not targets[0].dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {asked.torch_name}, but got {targets[0].dtype.torch_name} instead"
        )
    if asked is None and _is_factory(function):
        kwargs = {**kwargs, "dtype": targets[0].dtype}
    _check_sharing(name, targets, args)
    results = function(*args, **kwargs)
    _check_strict(name, targets, results)
    made = list(results) if isinstance(results, tuple) else [results]
    if len(made) != len(targets):
        raise TypeError(f"{name}(): argument 'out' must be {len(made)} tensors, not {len(targets)}")
    for target, result in zip(targets, made, strict=True):
        put(target, result)
    return type(results)(*targets) if hasattr(results, "_fields") else tuple(targets) if len(made) > 1 else targets[0]


_FACTORIES = frozenset(
    """
    zeros ones empty full eye arange linspace logspace rand randn randint randperm scalar_tensor
    tril_indices triu_indices
    """.split()
)


_APART = frozenset(
    "cat concat concatenate stack gather index_select take take_along_dim masked_select bernoulli".split()
)
_STRICT = frozenset("aminmax gather max min sort topk kthvalue median mode index_select".split())


def _check_sharing(name: str, targets: list[Tensor], args: tuple[Any, ...]) -> None:
    """Functions that read elsewhere than they write refuse to write over what they read."""
    if name not in _APART:
        return
    given = [x for a in args for x in (a if isinstance(a, list | tuple) else [a]) if isinstance(x, Tensor)]
    for t in targets:
        for x in given:
            if x is t or x._storage is not None and x._storage is t._storage:
                raise RuntimeError(
                    "unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
                    "single memory location. Please clone() the tensor before performing the operation."
                )


def _check_strict(name: str, targets: list[Tensor], results: Any) -> None:
    if name == "multinomial" and targets[0].dtype is not results.dtype:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {type_name(targets[0].dtype)}")
    if name not in _STRICT:
        return
    for t, r in zip(targets, results if isinstance(results, tuple) else [results], strict=False):
        if t.dtype is not r.dtype:
            names = {"float32": "float", "float64": "double", "int64": "long int", "int32": "int"}
            have, want = (names.get(x.dtype.torch_name, x.dtype.torch_name) for x in (t, r))
            raise RuntimeError(f"Expected out tensor to have dtype {want}, but got {have} instead")


def _is_factory(function: Callable[..., Any]) -> bool:
    return function.__name__ in _FACTORIES


def _check_targets(name: str, targets: list[Any]) -> None:
    for t in targets:
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {type(t).__name__}")
        t.check_overlap()


def _needs_gradient(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(_needs_gradient(e) for e in x)
    return isinstance(x, Tensor) and x.requires_grad


def put(target: Tensor, result: Tensor) -> None:
    """Make `result` the elements of `target`, resized if need be."""
    check_cast(result.dtype, target.dtype)
    if result.dtype is not target.dtype:
        result = result.to(target.dtype)
    value = result.clone().value
    if tuple(result.shape) == tuple(target.shape):
        target.assign(value)
    else:
        target.replace(value)


def check_cast(have: DType, want: DType) -> None:
    if have.category > want.category:
        raise RuntimeError(f"result type {type_name(have)} can't be cast to the desired output type {type_name(want)}")


def wrap_functions(namespace: dict[str, Any], names: Sequence[str]) -> None:
    """Give those functions of a module their `out`, where they have none of their own, and refusals in words."""
    for name in names:
        function = namespace.get(name)
        if not isinstance(function, FunctionType):
            continue
        wordy = checked(function, method=False) if function.__module__ in ROOMS else function
        own = "out" in function.__code__.co_varnames[: _arguments(function)]
        namespace[name] = wordy if own else takes_out(wordy)


def _arguments(function: FunctionType) -> int:
    code = function.__code__
    return code.co_argcount + code.co_kwonlyargcount


__all__ = ["put", "takes_out", "wrap_functions", "written"]

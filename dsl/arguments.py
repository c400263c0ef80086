"""Wrong arguments in PyTorch's words: checked when a call has failed, so that right ones cost nothing."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from tdsl.compiler.source import TdslError, TypeError
from tdsl.tensor import Tensor


def checked(function: Callable[..., Any], method: bool = True) -> Callable[..., Any]:
    """The function, whose wrong arguments are refused by name, position and type.

    `method`: positions are counted without the first argument.
    """
    name, integers = function.__name__, _integers(function)

    @wraps(function)
    def wrapped(*args: Any, **named: Any) -> Any:
        for k in integers:
            if k < len(args) and args[k].__class__ is float:
                break
        else:
            try:
                return function(*args, **named)
            except (AttributeError, builtins.TypeError) as error:
                if isinstance(error, TdslError):
                    raise
                refusal = explained(function, args, named, method)
                if refusal is None:
                    raise
                raise refusal from None
        raise explained(function, args, named, method) or TypeError(f"{name}(): wrong arguments")

    return wrapped


def _integers(function: Callable[..., Any]) -> tuple[int, ...]:
    """Positions of parameters that take an integer: a float would pass for one unnoticed."""
    function = inspect.unwrap(function)
    code, annotations = getattr(function, "__code__", None), getattr(function, "__annotations__", {})
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return tuple(k for k, name in enumerate(names) if annotations.get(name) in ("int", "int | None"))


# The rooms whose functions refuse wrong arguments so.
ROOMS = frozenset(
    """
    tdsl.views tdsl.broadcasting tdsl.parts tdsl.shapes tdsl.arrangements tdsl.copies tdsl.gathering tdsl.scattering
    tdsl.reductions tdsl.scans tdsl.statistics tdsl.sorting tdsl.sets tdsl.histograms
    """.split()
)
_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


def explained(
    function: Callable[..., Any], args: Sequence[Any], named: dict[str, Any], method: bool
) -> TypeError | None:
    """What is wrong with the arguments; None when they are of the types that the function takes."""
    name = function.__name__
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **named)
    except builtins.TypeError as error:
        return _unbound(name, signature, args, named, str(error), method)
    for k, (key, value) in enumerate(bound.arguments.items()):
        parameter = signature.parameters[key]
        want = _wanted(str(parameter.annotation), value)
        if want is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        position = f" (position {k + 1 - method})" if k < len(args) else ""
        return TypeError(f"{name}(): argument '{key}'{position} must be {want}, not {type(value).__name__}")
    return None


def _unbound(
    name: str, signature: inspect.Signature, args: Sequence[Any], named: dict[str, Any], why: str, method: bool
) -> TypeError:
    free = [p for p in signature.parameters.values() if p.default is p.empty and p.kind is _POSITIONAL]
    missing = [p.name for p in free[len(args) :] if p.name not in named]
    if "missing" in why and missing:
        words = ", ".join(f'"{m}"' for m in missing)
        return TypeError(f"{name}() missing {len(missing)} required positional arguments: {words}")
    if "unexpected keyword" in why or "multiple values" in why:
        return TypeError(f"{name}() {why}")
    most = sum(p.kind is _POSITIONAL for p in signature.parameters.values()) - method
    s = "" if most == 1 else "s"
    return TypeError(f"{name}() takes {most} positional argument{s} but {len(args) - method} were given")


def _wanted(annotation: str, value: Any) -> str | None:
    """What a parameter of this annotation takes, when the value is something else."""
    if annotation == "Tensor":
        return None if isinstance(value, Tensor) else "Tensor"
    if annotation in ("int", "int | None"):
        return None if hasattr(value, "__index__") or value is None and annotation != "int" else "int"
    if annotation == "Sequence[Tensor]":
        return None if isinstance(value, Sequence) and not isinstance(value, str) else "tuple of Tensors"
    if annotation == "Sequence[int]":
        whole = isinstance(value, Sequence) and all(hasattr(n, "__index__") for n in value)
        return None if whole else "tuple of ints"
    return None

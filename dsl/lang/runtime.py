"""What the emitted code calls: declarations, assertions, fields. In it the names start with `$`."""

from __future__ import annotations

import builtins
import dataclasses
import importlib
from collections.abc import Callable
from types import MethodType
from typing import Any

from tdsl.compiler.source import RuntimeError, TdslError, TypeError
from tdsl.lang.attributes import attr, set_attr
from tdsl.lang.signature import Bindings, Signature, describe, is_tensor


class AssertionError(TdslError, builtins.AssertionError):
    """An `assert` of a script that does not hold (E0501)."""

    code = "E0501"


def failed(text: str, message: Any, *sides: Any) -> None:
    """Raise what `assert text, message` raises; `sides` are both sides of a comparison."""
    notes = () if not sides else (f"left:  {_short(sides[0])}", f"right: {_short(sides[1])}")
    said = f"{message}" if message is not None else f"`{text}` does not hold"
    raise AssertionError(f"assertion failed: {said}", notes=notes)


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 200 else text[:197] + "..."


def error(message: str) -> None:
    """`error("...")` of a script: stop with this message."""
    raise RuntimeError(str(message), code="E0500")


def default(value: Any) -> Any:
    if is_tensor(value) or isinstance(value, (list, dict, set)):
        message = "a default argument may not be a list, a dict or a tensor"
        raise TypeError(message, code="E0203", hint="use None, and make it in the body")
    return value


def declared(signature: Signature, given: tuple[Any, ...], value: Any) -> Any:
    """A value with an annotation: checked, and handed on."""
    bindings = Bindings(dict(zip(signature.given, given, strict=True)))
    assert signature.returns is not None
    bad = bindings.match(signature.returns, value, signature.name) or bindings.finish()
    if bad:
        text = signature.source.text[signature.returns.at[0] : signature.returns.at[1]]
        reason = bad.reason or f"this is {describe(value)}"
        raise TypeError(f"`{signature.name}` is declared {text}: {reason}", code="E0305")
    return value


# ---------------------------------------------------------------------------------------------- models


def model(name: str, build: Callable[..., None], params: tuple[str, ...]) -> type:
    """The class of a `model`: constructing it runs the body, `build(self, ...)`."""
    nn = importlib.import_module("tdsl.nn")

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        nn.Module.__init__(self)
        object.__setattr__(self, "tdsl_declared", {"training": "field"})
        build(self, *args, **kwargs)

    return type(name, (nn.Module,), {"__init__": init, "tdsl_name": name, "tdsl_fields": True, "__module__": "script"})


def field(self: Any, name: str, value: Any) -> None:
    """`name = value` in a model's body. A list of modules is registered as one."""
    nn = importlib.import_module("tdsl.nn")
    kind = "module" if isinstance(value, nn.Module) else "field"
    if isinstance(value, (list, tuple)) and value and all(isinstance(x, nn.Module) for x in value):
        value, kind = nn.ModuleList(value), "module"
    self.tdsl_declared[name] = kind
    setattr(self, name, value)


def param(self: Any, name: str, value: Any) -> None:
    """`param name = value`: a leaf that requires grad."""
    nn = importlib.import_module("tdsl.nn")
    self.tdsl_declared[name] = "param"
    setattr(self, name, nn.Parameter(value.detach() if is_tensor(value) else value))


def buffer(self: Any, name: str, value: Any) -> None:
    """`buffer name = value`: saved with the model, not trained."""
    self.tdsl_declared[name] = "buffer"
    self.register_buffer(name, value)


def method(self: Any, name: str, fn: Callable[..., Any]) -> None:
    object.__setattr__(self, name, MethodType(fn, self))


# --------------------------------------------------------------------------------- structs and functions


def struct(name: str, fields: tuple[tuple[Any, ...], ...]) -> type:
    """The class of a `struct`: made by keyword, compared by value, not changed after."""
    members: list[Any] = []
    checks = {f[0]: f[1] for f in fields}
    for field_name, _, *default_value in fields:
        spec = dataclasses.field(default=default_value[0]) if default_value else dataclasses.field()
        members.append((field_name, Any, spec))

    def check(self: Any) -> None:
        for key, signature in checks.items():
            declared(signature, (), getattr(self, key))

    namespace = {"tdsl_name": name, "tdsl_struct": True, "__post_init__": check, "__module__": "script"}
    return dataclasses.make_dataclass(name, members, frozen=True, kw_only=True, namespace=namespace)


def replace(value: Any, **changes: Any) -> Any:
    """A struct with some fields changed."""
    if not getattr(type(value), "tdsl_struct", False):
        raise TypeError(f"replace takes a struct, not {describe(value)}")
    return dataclasses.replace(value, **changes)


def function(name: str, pair: tuple[Callable[..., Any], Callable[..., Any]]) -> Callable[..., Any]:
    """The value of a `function`: calling it is `apply` of an autograd.Function."""
    base = importlib.import_module("tdsl.autograd").Function
    body = {"forward": staticmethod(pair[0]), "backward": staticmethod(pair[1]), "tdsl_name": name}
    return type(name, (base,), body).apply  # type: ignore[attr-defined, no-any-return]


def member(module: Any, name: str) -> Any:
    """`from module import name`."""
    if name.startswith("_"):
        raise TypeError(f"`{name}` starts with `_`, so other modules do not see it", code="E0703")
    return attr(module, name) if type(module).__name__ == "ScriptModule" else getattr(module, name)


HELPERS: dict[str, Any] = {
    "$attr": attr, "$setattr": set_attr, "$failed": failed, "$default": default, "$declared": declared,
    "$model": model, "$field": field, "$param": param, "$buffer": buffer, "$method": method, "$struct": struct,
    "$function": function, "$member": member,
}  # fmt: skip

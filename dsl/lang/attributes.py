"""Which attributes a script may read and set: a closed list for Python's values, public names for tdsl's own."""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Iterable
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType
from typing import Any

from tdsl.compiler.source import NameError, TypeError
from tdsl.lang.frozen import FrozenDict, FrozenList
from tdsl.lang.signature import describe, is_tensor

METHODS: dict[type, frozenset[str]] = {
    list: frozenset("append extend insert pop remove sort reverse index count copy clear".split()),
    dict: frozenset("get keys values items pop update copy setdefault".split()),
    str: frozenset(
        "join split strip lstrip rstrip lower upper title replace startswith endswith find count splitlines "
        "isdigit isalpha isspace ljust rjust center zfill removeprefix removesuffix".split()
    ),
    tuple: frozenset(("index", "count")),
    set: frozenset("add discard remove union intersection difference issubset copy".split()),
    int: frozenset(),
    float: frozenset(("is_integer",)),
    bool: frozenset(),
    range: frozenset(("start", "stop", "step")),
    type(None): frozenset(),
}
METHODS |= {FrozenList: METHODS[list], FrozenDict: METHODS[dict]}
# What would lead from a value of ours to Python's internals or to files.
CLOSED = frozenset(
    "numpy ctypes data_ptr format format_map mro tofile dump dumps func register_hook apply_ gi_frame f_globals "
    "f_builtins f_locals tb_frame cr_frame storage share_memory_ register_forward_hook modules_ compile".split()
)
CODE = (FunctionType, MethodType, BuiltinFunctionType, BuiltinMethodType)


def attr(value: Any, name: str) -> Any:
    """`value.name` of a script."""
    allowed = METHODS.get(type(value))
    if allowed is not None:
        if name in allowed:
            return getattr(value, name)
        raise missing(value, name, allowed)
    if isinstance(value, tuple) and not hasattr(type(value), "_fields") and name not in ("numel",):
        if name not in METHODS[tuple]:
            raise missing(value, name, METHODS[tuple])
    if name[0] == "_" or name in CLOSED or isinstance(value, CODE):
        raise missing(value, name, ())
    if isinstance(value, type) and getattr(value, "tdsl_name", None) is None and name != "apply":
        raise missing(value, name, ())
    try:
        return getattr(value, name)
    except builtins.AttributeError:
        raise missing(value, name, (x for x in dir(value) if x[0] != "_")) from None


def missing(value: Any, name: str, known: Iterable[str]) -> NameError:
    what = f"`{own}`" if (own := getattr(type(value), "tdsl_name", None)) else describe(value)
    if type(value).__name__ == "ScriptModule":
        what = f"module `{object.__getattribute__(value, 'tdsl_module_name')}`"
    close = difflib.get_close_matches(name, list(known), 1)
    hint = f"did you mean `{close[0]}`?" if close else None
    return NameError(f"{what} has no `{name}`", code="E0208", hint=hint)


def set_attr(value: Any, name: str, new: Any) -> None:
    """`value.name = new` of a script: declared fields of a model, a tensor's grad, plain values on a ctx."""
    if name[0] == "_":
        raise NameError("names that start with `_` cannot be set", code="E0108")
    fields = getattr(type(value), "tdsl_fields", None)
    if fields is not None:
        _set_field(value, name, new)
        return
    if getattr(type(value), "tdsl_struct", False):
        raise TypeError("a struct is not changed after it is made", code="E0209", hint=f"replace(x, {name}=...)")
    if hasattr(value, "save_for_backward") and is_tensor(new):
        hint = f"ctx.save_for_backward({name})"
        raise TypeError(f"a tensor may not be stored as `ctx.{name}`", code="E0602", hint=hint)
    if type(value) in METHODS or isinstance(value, (type, *CODE)) or type(value).__name__ == "ScriptModule":
        raise TypeError(f"the attributes of {describe(value)} cannot be set", code="E0208")
    if is_tensor(value) and name not in ("grad", "requires_grad", "data"):
        raise NameError(f"a tensor has no `{name}` to set", code="E0208", hint="set `grad` or `requires_grad`")
    setattr(value, name, new)


def _set_field(model: Any, name: str, new: Any) -> None:
    kind = model.tdsl_declared.get(name)
    if kind is None:
        close = difflib.get_close_matches(name, list(model.tdsl_declared), 1)
        hint = f"did you mean `{close[0]}`?" if close else "declare it in the body of the model"
        raise NameError(f"`{type(model).__name__}` has no field `{name}`", code="E0208", hint=hint)
    if kind in ("param", "module"):
        word = "parameter" if kind == "param" else "submodule"
        message = f"the {word} `{name}` cannot be replaced"
        raise TypeError(message, code="E0208", hint="change it in place, or use load_state_dict")
    setattr(model, name, new)

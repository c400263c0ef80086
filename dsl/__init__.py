"""tdsl, the tensor language that compiles: PyTorch's way of working, every kernel a readable line.

>>> import tdsl
>>> x = tdsl.tensor([1.0, 2.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4.])
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tdsl import creation, elementwise, random, reductions, shapes
from tdsl.autograd.modes import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from tdsl.compiler.dtype import DType as dtype
from tdsl.compiler.dtype import bool_, f32, f64, i8, i16, i32, i64, promote as promote_types, u8
from tdsl.compiler.source import (
    DTypeError,
    GradError,
    IndexError,
    IndexNotationError,
    InternalError,
    IRError,
    ShapeError,
    SyntaxError,
    TdslError,
)
from tdsl.methods import (
    clone,
    gather,
    index_add,
    index_select,
    masked_fill,
    masked_select,
    nonzero,
    scatter_add,
    take_along_dim,
)
from tdsl.runtime.threads import get_num_threads, set_num_threads
from tdsl.tensor import Device as device
from tdsl.tensor import Size, Tensor

for _module in (creation, elementwise, random, reductions, shapes):
    for _name, _function in vars(_module).items():
        if callable(_function) and _function.__module__ == _module.__name__ and _name[0] != "_":
            globals()[_name] = _function

float32 = float = f32
float64 = double = f64
int64 = long = i64
int32 = i32
int16 = i16
int8 = i8
uint8 = u8
bool = bool_
inf, nan, pi, e = map(__import__("builtins").float, ("inf", "nan", "3.141592653589793", "2.718281828459045"))
__version__ = "0.1.0"

_LAZY = {"nn": "tdsl.nn", "optim": "tdsl.optim", "utils": "tdsl.utils", "autograd": "tdsl.autograd",
         "inspection": "tdsl.inspection"}  # fmt: skip
_LAZY_NAMES = {"index": ("tdsl.lang.index", "index"), "load": ("tdsl.lang.modules", "load")}


def __getattr__(name: str) -> Any:
    """Rooms that cost time to import come when they are first used."""
    if name in _LAZY:
        return import_module(_LAZY[name])
    if name in _LAZY_NAMES:
        module, attribute = _LAZY_NAMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'tdsl' has no attribute {name!r}")

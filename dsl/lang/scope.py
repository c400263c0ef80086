"""The names that every script has: the library's functions, `nn` and `optim`, dtypes, and Python's plain ones."""

from __future__ import annotations

import builtins
import importlib
from collections.abc import Callable, Iterable
from typing import Any

from tdsl.lang.runtime import HELPERS, error, replace

LIBRARY = (
    "tensor zeros ones full empty zeros_like ones_like full_like arange linspace eye rand randn randint randperm "
    "rand_like randn_like multinomial bernoulli normal manual_seed Generator "
    "add sub mul div true_divide floor_divide remainder fmod pow neg absolute sign floor ceil trunc exp expm1 exp2 "
    "log log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan atan2 sinh cosh tanh sigmoid erf "
    "maximum minimum clamp clip where lerp isnan isinf isfinite logical_and logical_or logical_not logical_xor "
    "eq ne lt le gt ge equal allclose isclose "
    "relu leaky_relu elu gelu silu softplus softmax log_softmax one_hot dropout normalize layer_norm linear "
    "conv1d conv2d max_pool2d avg_pool2d embedding scaled_dot_product_attention "
    "cross_entropy nll_loss mse_loss l1_loss binary_cross_entropy binary_cross_entropy_with_logits smooth_l1_loss "
    "mean prod amax amin argmax argmin logsumexp var std norm cumsum cumprod sort argsort topk unique nonzero "
    "matmul mm bmm mv dot outer einsum tensordot kron "
    "reshape flatten transpose permute squeeze unsqueeze cat concat stack split chunk unbind flip roll tril triu "
    "diag diagonal trace gather scatter_add index_select index_add take_along_dim masked_fill masked_select "
    "broadcast_to expand repeat_interleave tile pad meshgrid bincount "
    "no_grad enable_grad gradcheck grad is_tensor numel"
).split()
# Where a name is not in the package itself.
ELSEWHERE = {
    "nn.functional": LIBRARY,
    "nn.utils": ("clip_grad_norm_", "clip_grad_value_"),
    "nn.init": ("kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal"),
    "autograd": ("gradcheck", "grad", "no_grad", "enable_grad"),
}
EXTRA = ("clip_grad_norm_", "clip_grad_value_", "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal")
PLAIN = "len range enumerate zip sorted reversed set dict list tuple str int float bool divmod isinstance repr".split()
DTYPES = frozenset(("u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"))
FILES = (
    "load_npz load_npy load_csv load_safetensors read_text read_lines save_npz save_npy save_csv save_safetensors "
    "write_text here"
).split()
OWN = ("print", "error", "replace", "abs", "min", "max", "sum", "any", "all", "round", "map", "filter")
# `philox` is for index notation only: what random numbers are made of.
NAMES = frozenset((*LIBRARY, *EXTRA, *PLAIN, *DTYPES, *FILES, *OWN, "nn", "optim", "inf", "nan", "pi", "philox"))


def print_(*values: Any, sep: str = " ", end: str = "\n") -> None:
    """Print values; a tensor is computed first."""
    builtins.print(*values, sep=sep, end=end)


def _either(name: str) -> Callable[..., Any]:
    """Python's function for plain values, the library's for a tensor: `sum(xs)` and `sum(x, dim=0)`."""
    plain = getattr(builtins, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        if args and hasattr(args[0], "requires_grad"):
            if name == "abs" or len(args) == 1 or name not in ("min", "max") or not hasattr(args[1], "requires_grad"):
                return getattr(args[0], name)(*args[1:], **kwargs)
        return plain(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


def _mapped(fn: Callable[..., Any], *values: Iterable[Any]) -> list[Any]:
    return [fn(*items) for items in zip(*values, strict=False)]


def _filtered(fn: Callable[..., Any], values: Iterable[Any]) -> list[Any]:
    return [x for x in values if fn(x)]


def find(name: str) -> Any:
    """The library's function of that name; None where this build of the library has none."""
    package = importlib.import_module("tdsl")
    found = getattr(package, name, None)
    for where, names in ELSEWHERE.items():
        if found is None and name in names:
            try:
                found = getattr(importlib.import_module(f"tdsl.{where}"), name, None)
            except builtins.ModuleNotFoundError:
                continue
    return found


def _initializer(name: str) -> Callable[..., Any]:
    """`kaiming_uniform(2, 3)`: a new tensor, where nn.init fills one that exists."""

    def make(*shape: int, **kwargs: Any) -> Any:
        init = importlib.import_module("tdsl.nn.init")
        return getattr(init, f"{name}_")(find("empty")(*shape), **kwargs).detach()

    return make


# The library's functions of tensors alone that take plain numbers in scripts.
OF_NUMBERS = frozenset(
    "maximum minimum atan2 logical_and logical_or logical_xor logical_not eq ne lt le gt ge fmod exp expm1 exp2 log "
    "log2 log10 log1p sqrt rsqrt square reciprocal sin cos tan asin acos atan sinh cosh tanh sigmoid erf neg absolute "
    "sign floor ceil trunc isnan isinf isfinite relu".split()
)


def _of_numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with plain numbers among its arguments made tensors: `sqrt(2.0)`, `maximum(x, 0.0)`."""
    tensor_of = importlib.import_module("tdsl.elementwise").tensor_of

    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*(tensor_of(x) if isinstance(x, bool | int | float) else x for x in args), **kwargs)

    call.__name__ = call.__qualname__ = function.__name__
    return call


def _make(name: str) -> Any:
    if name in PLAIN:
        return getattr(builtins, name)
    if name in ("abs", "min", "max", "sum", "any", "all", "round"):
        return _either(name)
    if name in ("nn", "optim"):
        return importlib.import_module(f"tdsl.{name}")
    if name in DTYPES:
        return getattr(importlib.import_module("tdsl.compiler.dtype"), name)
    found = find(name)
    if name in OF_NUMBERS and found is not None:
        return _of_numbers(found)
    return _initializer(name) if found is None and name in ELSEWHERE["nn.init"] else found


FIXED: dict[str, Any] = {
    "print": print_, "error": error, "replace": replace, "map": _mapped, "filter": _filtered,
    "inf": float("inf"), "nan": float("nan"), "pi": 3.141592653589793,
}  # fmt: skip


def names(used: Iterable[str]) -> dict[str, Any]:
    """What a script finds by name, of the names that it uses: a new dict, for use as Python's `__builtins__`."""
    scope = dict(HELPERS)
    for name in used:
        if name in FIXED:
            scope[name] = FIXED[name]
        elif name in NAMES and name not in FILES:
            value = _make(name)
            if value is not None:
                scope[name] = value
    return scope

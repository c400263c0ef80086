"""What programs ask of PyTorch's surroundings: switches that mean nothing on one CPU, and questions about tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl import printing
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.creation import empty, set_default_dtype, tensor
from tdsl.tensor import CPU, Device, Size, Tensor, type_name


def _of(dtype: dt.DType, name: str) -> Callable[..., Tensor]:
    def function(*args: Any) -> Tensor:
        if len(args) == 1 and not isinstance(args[0], int | Size):
            return tensor(args[0], dtype=dtype)
        sizes = args[0] if len(args) == 1 and isinstance(args[0], Size) else args
        return empty(*sizes, dtype=dtype)

    function.__name__ = name
    function.__doc__ = f"A tensor of {dtype!r}: of data, or of sizes."
    return function


FloatTensor, DoubleTensor = _of(dt.f32, "FloatTensor"), _of(dt.f64, "DoubleTensor")
LongTensor, IntTensor = _of(dt.i64, "LongTensor"), _of(dt.i32, "IntTensor")
BoolTensor, ByteTensor = _of(dt.bool_, "BoolTensor"), _of(dt.u8, "ByteTensor")


def is_complex(input: Tensor) -> bool:
    return False


def is_conj(input: Tensor) -> bool:
    return False


def is_neg(input: Tensor) -> bool:
    return False


def is_signed(input: Tensor) -> bool:
    return input.dtype.is_signed


def is_storage(obj: Any) -> bool:
    return False


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not 0."""
    if input.numel() != 1:
        raise RuntimeError(
            f"Boolean value of Tensor with {'no values' if input.numel() == 0 else 'more than one value'} is ambiguous"
        )
    return bool(input)


def typename(obj: Any) -> str:
    """The name of an object's type, a tensor's with its dtype."""
    if isinstance(obj, Tensor):
        return f"tdsl.{type_name(obj.dtype)}Tensor"
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


# ---- switches

_PROFILES = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, float("inf"), 3, 80)}


def set_printoptions(
    precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
    linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None,
) -> None:  # fmt: skip
    """How tensors are printed."""
    given: dict[str, Any] = {"PRECISION": precision, "THRESHOLD": threshold, "EDGE": edgeitems, "WIDTH": linewidth}
    if profile is not None:
        usual = dict(zip(given, _PROFILES[profile], strict=True))
        given = {name: usual[name] if value is None else value for name, value in given.items()}
    for name, value in given.items():
        if value is not None:
            setattr(printing, name, value)


def set_default_device(device: Any) -> None:
    """The CPU is the only one."""
    Device(device or "cpu")


def get_default_device() -> Device:
    return CPU


def set_default_tensor_type(t: Any) -> None:
    """The default dtype, by a tensor type."""
    found = {"FloatTensor": dt.f32, "DoubleTensor": dt.f64}.get(getattr(t, "__name__", str(t).rsplit(".", 1)[-1]))
    if found is None:
        raise TypeError("only floating-point types are supported as the default type")
    set_default_dtype(found)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Results never depend on the number of threads: nothing to switch."""


def are_deterministic_algorithms_enabled() -> bool:
    return True


def set_float32_matmul_precision(precision: str) -> None:
    """Products are always of full precision."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"{precision} is not one of 'highest', 'high', 'medium'")


def get_float32_matmul_precision() -> str:
    return "highest"


def set_flush_denormal(mode: bool) -> bool:
    return False


def set_num_interop_threads(n: int) -> None:
    """One program runs at a time."""


def get_num_interop_threads() -> int:
    return 1


class autocast:
    """Mixed precision: nothing is cast on the CPU here. A context manager and a decorator."""

    def __init__(
        self, device_type: str = "cpu", dtype: Any = None, enabled: bool = True, cache_enabled: Any = None
    ) -> None:
        self.enabled = enabled

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def __call__(self, function: Any) -> Any:
        return function

"""PyTorch's zip files read without running what they contain.

Such a file holds a pickle, a program for a stack machine that may name any Python function and call it. Here every
name is looked up in one table of functions that build data; any other is refused before anything is called.
"""

from __future__ import annotations

import builtins
import io
import pickle
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError
from tdsl.saving.container import entry_bytes
from tdsl.saving.errors import FileError, RefusedGlobal
from tdsl.saving.storages import Reader, Stored, itemsize
from tdsl.tensor import Device, Size

_STORAGES = {"FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
             "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16",
             "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
             "UntypedStorage": "uint8"}  # fmt: skip
_CUDA = (
    "Attempting to deserialize object on a {} device but tdsl runs on the CPU. Please use tdsl.load with "
    "map_location=tdsl.device('cpu') to map your storages to the CPU."
)


class _Callable:
    """A function the pickle may call; it cannot be changed, as a class or a function could."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot set {name}")

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class _Storage:
    """What the pickle says of a storage."""

    __slots__ = ("key", "dtype")

    def __init__(self, key: str, dtype: str) -> None:
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "dtype", dtype)

    key: str
    dtype: str

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot set {name}")


class _Unpickler(pickle._Unpickler):
    """Knows the names of `_TABLE` and nothing else. In Python: the one in C allocates what a damaged file asks for."""

    def __init__(self, text: bytes, location: Callable[[str], None]) -> None:
        super().__init__(io.BytesIO(text), encoding="utf-8")
        self.location = location
        self.count = 0
        self.table = _TABLE | {
            ("torch._utils", "_rebuild_tensor"): _Callable(self.tensor),
            ("torch._utils", "_rebuild_tensor_v2"): _Callable(self.tensor),
            ("torch._utils", "_rebuild_parameter"): _Callable(_parameter),
            ("torch._utils", "_rebuild_parameter_with_state"): _Callable(_parameter),
        }

    def find_class(self, module: str, name: str) -> Any:
        found = self.table.get((module, name))
        if found is None:
            raise RefusedGlobal(
                f"Weights only load failed. Unsupported global: GLOBAL {module}.{name} was not an allowed global by "
                "default. Files of tensors, numbers, texts and containers are read; nothing in a file is called.",
                hint="save model.state_dict() instead of the model",
            )
        return found

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, location, _ = pid
        if kind != "storage" or not isinstance(dtype, _Dtype):
            raise FileError(f"damaged file: unknown storage {pid!r}")
        self.location(location)
        return _Storage(str(key), dtype.name)

    def tensor(
        self, storage: Any, offset: int, shape: Any, strides: Any, requires_grad: bool = False, *_: Any
    ) -> Stored:
        if not isinstance(storage, _Storage):
            raise FileError("damaged file: a tensor without a storage")
        self.count += 1
        shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
        return Stored(storage.key, storage.dtype, shape, strides, int(offset), bool(requires_grad), False, self.count)


class _Dtype:
    """A class of storages."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "name", name)

    name: str

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"cannot set {name}")


def _parameter(data: Any, requires_grad: bool = True, *_: Any) -> Stored:
    if not isinstance(data, Stored):
        raise FileError("damaged file: a parameter that is no tensor")
    marks = bool(requires_grad), True
    return Stored(data.storage, data.dtype, data.shape, data.strides, data.offset, *marks, data.key)


def _dtype(name: str) -> Any:
    itemsize(name)
    return dt.by_name(name)


_DTYPES = ("float32", "float64", "int64", "int32", "int16", "int8", "uint8", "bool", "float16", "bfloat16")
_TABLE: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Callable(OrderedDict),
    ("collections", "Counter"): _Callable(Counter),
    ("builtins", "set"): _Callable(set),
    ("__builtin__", "set"): _Callable(set),
    ("builtins", "bytearray"): _Callable(lambda *args: _bytearray(*args)),
    ("__builtin__", "bytearray"): _Callable(lambda *args: _bytearray(*args)),
    ("_codecs", "encode"): _Callable(lambda text, encoding: str(text).encode(_latin(encoding))),
    ("torch", "Size"): _Callable(Size),
    ("torch", "device"): _Callable(lambda kind, *index: Device(kind)),
    **{("torch", name): _Dtype(dtype) for name, dtype in _STORAGES.items()},
    **{("torch.storage", name): _Dtype(dtype) for name, dtype in _STORAGES.items()},
    **{("torch", name): dt.by_name(name) for name in _DTYPES},
}


def _bytearray(content: Any = b"", encoding: str = "latin-1") -> bytearray:
    """Never the form that takes a number and allocates as much."""
    if isinstance(content, str):
        return bytearray(content, _latin(encoding))
    if not isinstance(content, bytes):
        raise FileError("damaged file: a bytearray of no bytes")
    return bytearray(content)


def _latin(encoding: str) -> str:
    """How protocol 2 writes bytes: as text of 256 letters."""
    if encoding not in ("latin1", "latin-1"):
        raise FileError(f"damaged file: bytes in encoding {encoding!r}")
    return "latin1"


def record_prefix(archive: zipfile.ZipFile) -> str | None:
    """The folder of a PyTorch file inside its zip, None for another zip."""
    for name in archive.namelist():
        if name.endswith("/data.pkl") and name.count("/") == 1:
            return name[: -len("data.pkl")]
    return None


def read(archive: zipfile.ZipFile, prefix: str, map_location: Any = None) -> Any:
    """The object of an opened PyTorch file."""
    names = set(archive.namelist())
    order = entry_bytes(archive, f"{prefix}byteorder") if f"{prefix}byteorder" in names else b"little"
    unpickler = _Unpickler(entry_bytes(archive, f"{prefix}data.pkl"), lambda place: _locate(place, map_location))
    try:
        tree = unpickler.load()
        reader = Reader(lambda key: entry_bytes(archive, f"{prefix}data/{key}"), swap=order == b"big")
        return reader.tree(tree)
    except (FileError, RuntimeError):
        raise
    except RecursionError:
        raise FileError("damaged file: its pickle is nested too deeply") from None
    except (pickle.UnpicklingError, AttributeError, LookupError, EOFError, ImportError, MemoryError, OverflowError,
            builtins.ValueError, builtins.TypeError, builtins.RuntimeError) as error:  # fmt: skip
        raise FileError(f"damaged file: its pickle cannot be read: {type(error).__name__}: {error}") from None


def _locate(place: str, map_location: Any) -> None:
    """Every storage lies on the CPU; one of another device must be mapped there."""
    if callable(map_location):
        return
    if isinstance(map_location, dict):
        place = str(map_location.get(place, place))
    elif map_location is not None:
        place = str(map_location)
    kind = str(place).split(":")[0]
    if kind not in ("cpu", "meta"):
        raise RuntimeError(_CUDA.format(kind.upper()))

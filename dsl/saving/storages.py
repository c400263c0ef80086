"""Tensors as a file has them: bytes of storages, and windows on them. Loaded as a whole, made tensors at the end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import Type, input_value
from tdsl.nn.parameter import Parameter
from tdsl.recording import known
from tdsl.runtime.buffer import Buffer
from tdsl.saving.errors import FileError
from tdsl.tensor import Tensor, contiguous_strides


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor to be: a window on a storage. `dtype` is PyTorch's name of it."""

    storage: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    requires_grad: bool = False
    parameter: bool = False
    key: int = 0  # equal keys are one object


@dataclass(slots=True)
class Writer:
    """Numbers the storages of tensors that are saved; two tensors on one storage share its bytes."""

    arrays: list[np.ndarray[Any, Any]] = field(default_factory=list)
    dtypes: list[DType] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict)
    _objects: dict[int, int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    def stored(self, tensor: Tensor) -> Stored:
        """How the tensor lies in its storage; a storage of another dtype is left behind, the elements copied."""
        storage = tensor._storage
        value = storage.value if storage is not None else tensor.value
        plain = value.dtype is not tensor.dtype
        if plain:
            value = known(tensor.value)
        place = self._place(value)
        shape = tuple(tensor.shape)
        strides, offset = tuple(tensor.stride()), tensor.storage_offset()
        if plain:
            strides, offset = contiguous_strides(shape), 0
        self._alive.append(tensor)
        key = self._objects.setdefault(id(tensor), len(self._objects))
        leaf = tensor.requires_grad and tensor.is_leaf
        name = tensor.dtype.torch_name
        return Stored(str(place), name, shape, strides, offset, leaf, isinstance(tensor, Parameter), key)

    def _place(self, value: Any) -> int:
        data = known(value).data
        place = self._places.get(id(data))
        if place is None:
            place = self._places[id(data)] = len(self.arrays)
            self.arrays.append(data.array)
            self.dtypes.append(value.dtype)
            self._alive.append(data)
        return place


class Reader:
    """Makes tensors of what was stored; `read` gives the bytes of a storage by its name."""

    def __init__(self, read: Callable[[str], Any], swap: bool = False) -> None:
        self.read, self.swap = read, swap
        self._raw: dict[str, np.ndarray[Any, Any]] = {}
        self._bases: dict[tuple[str, str], Tensor] = {}
        self._made: dict[int, Tensor] = {}
        self._users: dict[str, set[Any]] = {}

    def tree(self, node: Any) -> Any:
        """The same containers with tensors in them."""
        self._count(node, 0)
        return self._built(node)

    def _count(self, node: Any, depth: int) -> None:
        """How many tensors see each storage: one alone needs no window."""
        if isinstance(node, Stored):
            self._users.setdefault(node.storage, set()).add(node.key)
        elif isinstance(node, dict):
            for v in dict.values(node):
                self._count(v, depth + 1)
        elif isinstance(node, list | tuple):
            for v in node:
                self._count(v, depth + 1)

    def _built(self, node: Any) -> Any:
        if isinstance(node, Stored):
            return self._tensor(node)
        if isinstance(node, OrderedDict) and "_metadata" in node.__dict__:
            made = OrderedDict((k, self._built(v)) for k, v in dict.items(node))
            made.__dict__["_metadata"] = node.__dict__["_metadata"]
            return made
        if isinstance(node, dict):
            items = [(k, self._built(v)) for k, v in dict.items(node)]
            return type(node)(items) if type(node) in (dict, OrderedDict) else node
        if type(node) in (list, tuple):
            return type(node)(self._built(v) for v in node)
        return node

    def _tensor(self, stored: Stored) -> Tensor:
        found = self._made.get(stored.key)
        if found is None:
            found = self._made[stored.key] = self._make(stored)
        return found

    def _make(self, stored: Stored) -> Tensor:
        base = self._base(stored.storage, stored.dtype)
        shape, strides, n = stored.shape, stored.strides, base.numel()
        _check(stored, n)
        count = prod(shape)
        dense = stored.offset == 0 and strides == contiguous_strides(shape) and count == n
        if dense and len(self._users[stored.storage]) == 1:
            made = _over(base.value.data, base.dtype, shape)
        else:
            made = base.as_strided(shape, strides, stored.offset)
        if stored.parameter:
            return Parameter(made, stored.requires_grad)
        return made.requires_grad_() if stored.requires_grad else made

    def _base(self, storage: str, name: str) -> Tensor:
        """The whole storage as one dimension."""
        found = self._bases.get((storage, name))
        if found is None:
            raw = self._raw.get(storage)
            if raw is None:
                raw = self._raw[storage] = np.frombuffer(self.read(storage), np.uint8)
            found = self._bases[storage, name] = from_bytes(raw, name, self.swap)
        return found


def _check(stored: Stored, n: int) -> None:
    """No window may reach past its storage."""
    shape, strides = stored.shape, stored.strides
    if len(shape) != len(strides) or stored.offset < 0 or any(x < 0 for x in (*shape, *strides)):
        raise FileError(f"damaged file: a tensor of sizes {list(shape)}, strides {list(strides)}")
    last = stored.offset + sum((m - 1) * s for m, s in zip(shape, strides, strict=True))
    if prod(shape) and last >= n:
        raise FileError(
            f"damaged file: a tensor of sizes {list(shape)}, strides {list(strides)} and offset {stored.offset} needs "
            f"{last + 1} elements, and its storage has {n}"
        )


def itemsize(name: str) -> int:
    """Bytes of an element of a dtype by PyTorch's name; FileError for a dtype that tdsl does not have."""
    try:
        return dt.by_name(name).itemsize
    except KeyError:
        raise FileError(f"the file has a tensor of dtype {name}, which tdsl does not have") from None


def from_bytes(raw: np.ndarray[Any, Any], name: str, swap: bool = False) -> Tensor:
    """A 1-d tensor of these bytes, copied."""
    size = itemsize(name)
    if raw.size % size:
        raise FileError(f"damaged file: {raw.size} bytes are no {name} elements of {size} bytes")
    raw = np.array(raw, np.uint8)
    if swap and size > 1:
        raw = raw.view(f"u{size}").byteswap().view(np.uint8)
    dtype = dt.by_name(name)
    if dtype is dt.bool_:
        raw = (raw != 0).view(np.uint8)
    return _over(Buffer(raw.view(dtype.storage)), dtype, (raw.size // size,))


def _over(buffer: Any, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    return Tensor(input_value(Type(dtype, shape), buffer))


def raw_bytes(array: np.ndarray[Any, Any]) -> memoryview:
    """An array's bytes without a copy."""
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # type: ignore[arg-type]

"""The Tensor: a recorded value, or a view of a storage that others see too."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from tdsl import printing
from tdsl.aliasing import CUT, Chain, unviewed
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import Type, Value, apply, input_value, number
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import (
    IndexError,
    RuntimeError,
    TypeError,
    ValueError,
)
from tdsl.recording import Mode, Storage, Tape, hold, known, record
from tdsl.runtime.buffer import Buffer

Number = bool | int | float


class Size(tuple[int, ...]):
    """A shape, printed as PyTorch prints one.

    >>> Size((2, 3))
    tdsl.Size([2, 3])
    """

    def __repr__(self) -> str:
        return f"tdsl.Size([{', '.join(map(str, self))}])"

    def numel(self) -> int:
        return prod(self)

    def __getitem__(self, key: Any) -> Any:
        item = tuple.__getitem__(self, key)
        return Size(item) if isinstance(key, slice) else item


class Device:
    """Where a tensor lives: always the CPU."""

    type = "cpu"
    index = None

    def __init__(self, name: object = "cpu") -> None:
        if str(name).split(":")[0] != "cpu":
            raise RuntimeError(f"tdsl runs on the CPU: there is no device {name!s}")

    def __repr__(self) -> str:
        return "device(type='cpu')"

    def __str__(self) -> str:
        return "cpu"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) or other == "cpu"

    def __hash__(self) -> int:
        return hash("cpu")


CPU = Device()


class MemoryFormat:
    """In which order of dimensions elements lie in memory: `contiguous_format`, `channels_last`, ..."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"tdsl.{self.name}"

    def __reduce__(self) -> str:
        return self.name


contiguous_format, preserve_format = MemoryFormat("contiguous_format"), MemoryFormat("preserve_format")
channels_last, channels_last_3d = MemoryFormat("channels_last"), MemoryFormat("channels_last_3d")
_RANK = {channels_last: 4, channels_last_3d: 5}  # of formats that say an order


class Layouts:
    """How elements are stored: always strided."""

    def __repr__(self) -> str:
        return "tdsl.strided"


strided_layout = Layouts()
OVERLAP = (
    "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please "
    "clone() the tensor before performing the operation."
)
Layout = tuple[tuple[int, ...], int]  # strides in elements, offset


def _channels_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


class Tensor:
    """An n-dimensional array of one dtype, with PyTorch's methods. Made by `tdsl.tensor`, `tdsl.zeros`, ..."""

    __slots__ = ("_value", "_storage", "_chain", "_seen", "_layout", "_grad", "__dict__", "__weakref__")
    __array_priority__ = 1000

    if TYPE_CHECKING:  # `methods.attach` gives the class these

        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __eq__(self, other: object) -> Any: ...
        def __ne__(self, other: object) -> Any: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...

    def __init__(self, value: Any = (), *sizes: int) -> None:
        """Of a recorded value; or, as PyTorch's own constructor, of sizes or of data in the default dtype."""
        if value.__class__ is not Value:
            value = _from_data(value, sizes)
        self._value = value
        self._storage: Storage | None = None
        self._chain: Chain = ()
        self._seen = 0
        self._layout: Layout | None = None
        self._grad: Tensor | None = None
        if value.data is None:
            hold(self)
        if Mode.inference:
            self._infer(True)

    # ---- the value now

    @property
    def value(self) -> Value:
        """The recorded value: for an alias, made anew when the storage changed."""
        storage = self._storage
        if storage is None or self._seen == storage.changes and not self._unseen(storage):
            return self._value
        value = storage.value
        for op, attrs in self._chain:
            value = record(op, value, **attrs)
            if op in CUT:
                value.tape = None
        self._value, self._seen = value, storage.changes
        return value

    def _unseen(self, storage: Storage) -> bool:
        """Whether somebody outside may have written what this view shows."""
        return storage.shared and bool(self._chain) and self._value.tape is None

    def pending_value(self) -> Value | None:
        """What a flush must compute for this tensor: views of a storage are computed when they are read."""
        return None if self._chain else self.value

    def storage(self) -> Storage:
        """The storage, made when a view or an in-place op first needs one."""
        if self._storage is None:
            self._storage = Storage(self._value)
        return self._storage

    def alias(self, op: str, layout: Layout | None, **attrs: Any) -> Tensor:
        """A view of this tensor: `op` applied to it, now and after every in-place change."""
        storage = self.storage()
        made = type(self)._plain(record(op, self.value, **attrs))
        made._storage = storage
        made._chain = (*self._chain, (op, attrs))
        made._seen = storage.changes
        made._layout = layout if layout is not None else (contiguous_strides(made.shape), self._offset())
        if Mode.inferred is not None:
            made._infer(self.is_inference())
        return made

    def storage_size(self) -> int:
        """Elements of this tensor's dtype in its storage."""
        if self._storage is None:
            return self.numel()
        base = self._storage.value.type
        return prod(base.shape) * base.dtype.itemsize // self.dtype.itemsize  # type: ignore[arg-type]

    def storage_alias(self) -> Tensor:
        """All of the storage as one dimension, past every view of it: what strides and offsets count in."""
        storage = self.storage()
        base = self._plain(storage.value)
        base._storage, base._seen = storage, storage.changes
        if any(op in CUT for op, _ in self._chain):
            base = base.detach()
        flat = base.alias("reshape", None, shape=(base.numel(),))
        if base.dtype is self.dtype:
            return flat
        ratio = max(self.dtype.itemsize // base.dtype.itemsize, 1)
        if base.numel() % ratio:
            flat = flat.alias("slice", None, dim=0, start=0, stop=base.numel() // ratio * ratio, step=1)
        return flat.alias("bitcast", None, dtype=self.dtype)

    @classmethod
    def _plain(cls, value: Value) -> Tensor:
        return Tensor(value)

    def become(self, view: Tensor) -> None:
        """Turn into a view of itself: `t_`, `squeeze_`."""
        self._value, self._storage, self._chain = view._value, view._storage, view._chain
        self._seen, self._layout = view._seen, view._layout

    def _offset(self) -> int:
        return self._layout[1] if self._layout is not None else 0

    def array(self) -> np.ndarray[Any, Any]:
        """The elements as NumPy sees them, in place for a tensor that is no view; do not write."""
        value = known(self.value)
        return dt.from_storage(value.data.view(value.shape), value.dtype)

    # ---- what it is

    @property
    def shape(self) -> Size:
        return Size(self._value.type.shape)  # type: ignore[arg-type]

    @property
    def dtype(self) -> DType:
        return self._value.type.dtype

    @property
    def device(self) -> Device:
        return CPU

    @property
    def ndim(self) -> int:
        return len(self._value.type.shape)

    def dim(self) -> int:
        return len(self._value.type.shape)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[wrap_dim(dim, self.ndim)]

    def numel(self) -> int:
        return prod(self.shape)

    nelement = numel

    def element_size(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.numel() * self.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        strides = self._layout[0] if self._layout is not None else contiguous_strides(self.shape)
        return strides if dim is None else strides[wrap_dim(dim, self.ndim)]

    def storage_offset(self) -> int:
        return self._offset()

    def is_contiguous(self, memory_format: MemoryFormat = contiguous_format) -> bool:
        rank = _RANK.get(memory_format)
        if rank is not None:
            return self.ndim == rank and self.permute(_channels_last(rank)).is_contiguous()
        if self._layout is None:
            return True
        want = contiguous_strides(self.shape)
        return self.numel() == 0 or all(
            n == 1 or s == w for n, s, w in zip(self.shape, self._layout[0], want, strict=True)
        )

    def contiguous(self, memory_format: MemoryFormat = contiguous_format) -> Tensor:
        """The tensor itself where its elements lie so already, else a copy."""
        if self.is_contiguous(memory_format):
            return self
        rank = _RANK.get(memory_format)
        if rank is None:
            return self.clone()
        if self.ndim != rank:
            raise RuntimeError(f"required rank {rank} tensor to use {memory_format.name} format")
        order = _channels_last(rank)
        moved: Tensor = self.permute(order).clone()
        return moved.permute([order.index(k) for k in range(rank)])

    def data_ptr(self) -> int:
        base = self._storage.value if self._storage is not None else self._value
        return int(known(base).data.address) + self._offset() * self.dtype.itemsize

    def is_floating_point(self) -> bool:
        return self.dtype.is_float

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def is_cuda(self) -> bool:
        return False

    # ---- autograd

    @property
    def requires_grad(self) -> bool:
        return self.value.tape is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self.requires_grad_(on)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        value = self.value
        if requires_grad and not Mode.inference and self.is_inference():
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        if not requires_grad:
            if value.tape is not None and value.tape.leaf is None:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed "
                    "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            value.tape = None
            return self
        if not self.dtype.is_float:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if value.tape is None:
            if self._storage is None and (value.owner is None or value.owner() is not self):
                self._fresh_value()
            self.value.tape = Tape(weakref.ref(self))
        return self

    def _fresh_value(self) -> None:
        """A value of this tensor's own, so that a leaf's mark is on nothing else."""
        old = self._value
        if old.data is not None:
            self._value = input_value(old.type, old.data, old.hint)
        elif old.op is not None:
            self._value = Value(old.op, old.args, old.signature, old.type, old.span)
        self._value.owner = weakref.ref(self)
        if self._value.data is None:
            hold(self)

    def is_inference(self) -> bool:
        """Whether it was made in inference mode: autograd must not use it."""
        return "_inference" in self.__dict__

    def _infer(self, on: bool) -> None:
        inferred = Mode.inferred
        assert inferred is not None
        if on:
            self.__dict__["_inference"] = True
            inferred.add(self._value)
        else:
            self.__dict__.pop("_inference", None)
            inferred.discard(self._value)

    @property
    def is_leaf(self) -> bool:
        tape = self.value.tape
        return tape is None or tape.leaf is not None

    @property
    def grad_fn(self) -> Any:
        from tdsl.autograd.graph import node_of

        return node_of(self.value)

    @property
    def grad(self) -> Tensor | None:
        tape = self.value.tape
        if self._grad is None and tape is not None and tape.leaf is None and tape.retain is None:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                "won't be populated during autograd.backward(). If you indeed want the .grad field to be populated "
                "for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, g: Tensor | None) -> None:
        if g is not None:
            if not isinstance(g, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(g).__name__}"
                )
            if g.shape != self.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(g.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if g.dtype is not self.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{type_name(g.dtype)}' to a tensor with grad_dtype "
                    f"'{type_name(self.dtype)}'. The gradient must match the tensor's grad_dtype"
                )
        self._grad = g

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Accumulate the gradients of this tensor into the `.grad` of the leaves that made it."""
        from tdsl.autograd.engine import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Any:
        from tdsl.autograd.engine import add_hook

        return add_hook(self, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Any:
        from tdsl.autograd.engine import add_post_hook

        return add_post_hook(self, hook)

    def retain_grad(self) -> None:
        tape = self.value.tape
        if tape is None:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if tape.leaf is None:
            tape.retain = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        tape = self.value.tape
        return tape is not None and tape.retain is not None

    def detach(self) -> Tensor:
        """The same elements in the same memory, with no gradient."""
        made = self.alias("detach", self._layout or (contiguous_strides(self.shape), 0))
        made.value.tape = None
        return made

    def detach_(self) -> Tensor:
        self.assign(apply("detach", self.value), bump=False)
        return self

    @property
    def data(self) -> Tensor:
        made = self.detach()
        made.__dict__["_unversioned"] = True
        return made

    @data.setter
    def data(self, other: Tensor) -> None:
        if not isinstance(other, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(other).__name__}")
        tape = self.value.tape
        value = apply("detach", other.value)
        self._storage, self._chain, self._layout, self._seen = None, (), None, 0
        self._value = value
        value.tape = tape if tape is not None and tape.leaf is not None else None
        hold(self)

    @property
    def _version(self) -> int:
        if self.is_inference():
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._storage.version if self._storage is not None else 0

    # ---- in place

    def check_writable(self, overlap: bool = False) -> None:
        """PyTorch's rules for in-place ops while grad mode is on, and for tensors that overlap themselves.

        `overlap`: every element is written with the same value, so that these are allowed.
        """
        if not Mode.inference and self.is_inference():
            raise RuntimeError(
                "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a "
                "normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more "
                "details."
            )
        if Mode.grad:
            tape = self.value.tape
            if tape is not None and tape.leaf is not None and not self._chain:
                raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
            storage = self._storage
            base = storage.value.tape if storage is not None and self._chain else None
            if base is not None and base.leaf is not None and self.value.tape is not None:
                raise RuntimeError(
                    "a view of a leaf Variable that requires grad is being used in an in-place operation."
                )
        if not overlap:
            self.check_overlap()

    def check_overlap(self) -> None:
        if self._layout is None:
            return
        if any(s == 0 and n > 1 for s, n in zip(self._layout[0], self.shape, strict=True)):
            raise RuntimeError(OVERLAP)

    def replace(self, value: Value) -> None:
        """Make `value`, of any shape, this tensor's own; what were its views keep the elements they saw."""
        self._value, self._storage, self._chain, self._seen, self._layout = value, None, (), 0, None
        if value.data is None:
            hold(self)

    def assign(self, value: Value, bump: bool = True) -> Tensor:
        """Make `value` this tensor's value, seen through every alias. It has this tensor's shape and dtype."""
        storage = self.storage()
        old = self.value
        if Mode.assigning is not None:
            Mode.assigning(storage.value, value)
        if bump and not self.__dict__.get("_unversioned"):
            superseded[old] = superseded[storage.value] = (storage, storage.version)
        if storage.shared:
            self._write(value, storage)
            return self
        if old.tape is not None and old.tape.leaf is not None and not self._chain:
            if value.tape is None:
                if value.op is None or value.owner is not None:
                    value = record("detach", value)
                value.tape = old.tape
        base = self._base_value(value, storage)
        kept = storage.value.tape
        if base.tape is None and kept is not None and kept.leaf is not None:
            base.tape = kept
        storage.value = base
        storage.changes += 1
        if bump and not self.__dict__.get("_unversioned"):
            storage.version += 1
        self._value, self._seen = value, storage.changes
        hold(_Holder(storage))
        return self

    def _base_value(self, value: Value, storage: Storage) -> Value:
        """The storage's value after this view of it became `value`: the chain of views run backwards."""
        return unviewed(self._chain, storage.value, value)

    def _write(self, value: Value, storage: Storage) -> None:
        """Into bytes that somebody outside shares: at once."""
        known(value)
        target = strided(self._flat(storage.value), self.shape, self.stride(), self._offset())
        if not target.flags.writeable:
            raise RuntimeError("the NumPy array that shares this tensor's memory is read-only")
        target[...] = value.data.view(value.shape)
        leaf = storage.value.tape
        storage.value = input_value(storage.value.type, storage.value.data, storage.value.hint)
        storage.value.tape = leaf if leaf is not None and leaf.leaf is not None else None
        storage.changes += 1
        storage.version += 1

    # ---- out of tdsl

    def item(self) -> Number:
        """The only element as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        if Mode.capture is not None and self.value.data is None:
            return Mode.capture.late(self)  # type: ignore[no-any-return]
        number_: Number = self.array().reshape(-1)[0].item()
        return number_

    def tolist(self) -> Any:
        return self.array().tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]:
        """The elements as a NumPy array that shares this tensor's memory."""
        if self.requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.dtype is dt.bf16:
            raise TypeError("Got unsupported ScalarType BFloat16", hint="NumPy has none: x.float().numpy()")
        if force:
            return np.array(self.array())
        storage = self.storage()
        base = known(storage.value)
        storage.shared = base.data.shared = True
        return strided(self._flat(base), self.shape, self.stride(), self._offset())

    def _flat(self, base: Value) -> np.ndarray[Any, Any]:
        """The storage's elements as this tensor's dtype has them."""
        flat: np.ndarray[Any, Any] = base.data.array
        size = flat.size * flat.itemsize // self.dtype.itemsize * self.dtype.itemsize
        return flat if base.dtype is self.dtype else flat[: size // flat.itemsize].view(self.dtype.storage)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        array = np.array(self.array())
        return array if dtype is None else array.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __bool__(self) -> bool:
        if self.numel() != 1:
            what = "no values" if self.numel() == 0 else "more than one value"
            raise RuntimeError(
                f"Boolean value of Tensor with {what} is ambiguous",
                code="E0503",
                hint="use any() or all(); in a .tdsl script `all[i] (...)` or `any[i] (...)`",
            )
        return bool(self.item())

    def _only(self) -> Number:
        if self.numel() != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __float__(self) -> float:
        return float(self._only())

    def __int__(self) -> int:
        return int(self._only())

    def __index__(self) -> int:
        if self.dtype.is_float or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __delitem__(self, key: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]  # type: ignore[no-any-return]

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[k] for k in range(self.shape[0])])

    def __contains__(self, x: Any) -> bool:
        return bool((self == x).any())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        suffixes = []
        default = self.dtype in (dt.f32, dt.i64, dt.bool_)
        if not default or self.numel() == 0 and self.dtype is not dt.f32:
            suffixes.append(f"dtype={self.dtype!r}")
        tape = self.value.tape
        if tape is not None:
            suffixes.append("requires_grad=True" if tape.leaf is not None else f"grad_fn=<{self.grad_fn.name()}>")
        return printing.tensor_text(self.array(), suffixes)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec or self.ndim == 0 and not self.requires_grad else repr(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return _rebuild, (np.array(self.array()), self.requires_grad and self.is_leaf, self.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol "
                "at the moment."
            )
        made: Tensor = _rebuild(np.array(self.array()), self.requires_grad, self.dtype)
        made.__class__ = type(self)
        made.__dict__.update(self.__dict__)
        memo[id(self)] = made
        return made


# Values that an in-place op replaced: their storage, and its version when they were current.
superseded: weakref.WeakKeyDictionary[Value, tuple[Storage, int]] = weakref.WeakKeyDictionary()


class _Holder:
    """Keeps a storage's pending value in the list of what a flush computes."""

    __slots__ = ("_storage", "__weakref__")

    def __init__(self, storage: Storage) -> None:
        self._storage = weakref.ref(storage)
        _HOLDERS[storage] = self

    def pending_value(self) -> Value | None:
        storage = self._storage()
        return None if storage is None else storage.value


_HOLDERS: weakref.WeakKeyDictionary[Storage, _Holder] = weakref.WeakKeyDictionary()


def _from_data(data: Any, sizes: tuple[int, ...]) -> Value:
    from tdsl import creation  # it makes tensors, so it imports this

    if isinstance(data, int) and not isinstance(data, bool):
        made = creation.empty(data, *sizes)
    elif isinstance(data, Size):
        made = creation.empty(*data)
    elif isinstance(data, Tensor):
        made = data.detach().clone()
    else:
        made = creation.tensor(data, dtype=creation.get_default_dtype())
    return known(made.value)


def _rebuild(array: np.ndarray[Any, Any], requires_grad: bool, dtype: DType | None = None) -> Tensor:
    made = from_array(array, dtype)
    return made.requires_grad_() if requires_grad else made


def strided(
    flat: np.ndarray[Any, Any], shape: Sequence[int], strides: Sequence[int], offset: int
) -> np.ndarray[Any, Any]:
    """A window on a flat array."""
    size = flat.itemsize
    window: np.ndarray[Any, Any] = np.lib.stride_tricks.as_strided(
        flat[offset:] if offset else flat, tuple(shape), [s * size for s in strides]
    )
    return window


def from_array(array: np.ndarray[Any, Any], dtype: DType | None = None) -> Tensor:
    """A tensor that owns these elements, of a dtype that NumPy may not have."""
    dtype = dtype or dt.by_numpy(array.dtype)
    if dtype is None:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: float64, float32, int64, "
            "int32, int16, int8, uint8, and bool."
        )
    flat = np.ascontiguousarray(dt.to_storage(array, dtype)).reshape(-1)
    return Tensor(input_value(Type(dtype, tuple(array.shape)), Buffer(flat)))


# ---- helpers of all the functions

_TYPE_NAMES = {dt.f32: "Float", dt.f64: "Double", dt.i64: "Long", dt.i32: "Int", dt.i16: "Short", dt.i8: "Char",
               dt.u8: "Byte", dt.bool_: "Bool", dt.f16: "Half", dt.bf16: "BFloat16"}  # fmt: skip


def type_name(dtype: DType) -> str:
    """What PyTorch's messages call a dtype: Float, Long."""
    return _TYPE_NAMES[dtype]


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the end made one counted from the start; a 0-d tensor has dimension 0."""
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})", code="E0303"
        )
    return dim + n if dim < 0 else dim


def op(name: str, *tensors: Tensor, **attrs: Any) -> Tensor:
    """Record an op on tensors."""
    made = Tensor(record(name, *[t.value for t in tensors], **attrs))
    for t in tensors:
        if t._storage is not None and t._storage.shared:
            known(made._value)
            break
    return made


def scan_op(
    kernel: Kernel, block: Kernel, reverse: bool, tensors: Sequence[Tensor], numbers: Sequence[Number] = ()
) -> Tensor:
    """Record a block of definitions that advance together: its results, side by side in a row a step."""
    supply_t, supply_n = iter(tensors), iter(numbers)
    args = [number(next(supply_n), p.dtype) if p.is_number else next(supply_t).value for p in kernel.params]
    made = Tensor(record("scan", *args, kernel=kernel, block=block, reverse=reverse))
    if any(t._storage is not None and t._storage.shared for t in tensors):
        known(made._value)
    return made


def index_op(kernel: Kernel, tensors: Sequence[Tensor], numbers: Sequence[Number] = ()) -> Tensor:
    """Record a kernel in index notation: tensors and numbers fill its params in order; its output is the result."""
    supply_t, supply_n = iter(tensors), iter(numbers)
    args = [number(next(supply_n), p.dtype) if p.is_number else next(supply_t).value for p in kernel.params]
    made = Tensor(record("index", *args, kernel=intern(kernel)))
    if any(t._storage is not None and t._storage.shared for t in tensors):
        known(made._value)
    return made

"""tdsl's own file: a zip of `tdsl.json`, which holds numbers, texts and containers, and of raw bytes `data/N`.

Reading one runs nothing: JSON and bytes. What JSON has no word for is an object of one key that names its kind:
{"tuple": [...]}, {"dict": [[key, value], ...]}, {"tensor": {...}}, {"dtype": "float32"}.
"""

from __future__ import annotations

import base64
import builtins
import json
import zipfile
from collections import Counter, OrderedDict
from typing import IO, Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.source import TypeError, ValueError
from tdsl.saving.errors import FileError
from tdsl.saving.storages import Reader, Stored, Writer, raw_bytes
from tdsl.tensor import Device, Size, Tensor

INDEX = "tdsl.json"
VERSION = 1


def write(obj: Any, file: IO[bytes]) -> None:
    """The whole object, or TypeError with the place of what cannot be saved."""
    writer = Writer()
    try:
        tree = _Encoder(writer).node(obj, "")
    except RecursionError:
        raise ValueError("save: the object is nested too deeply") from None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(INDEX, json.dumps({"format": "tdsl", "version": VERSION, "tree": tree}))
        for k, array in enumerate(writer.arrays):
            with archive.open(zipfile.ZipInfo(f"data/{k}"), "w", force_zip64=True) as entry:
                entry.write(raw_bytes(array))


def read(archive: zipfile.ZipFile) -> Any:
    """The object of an opened zip."""
    try:
        head = json.loads(archive.read(INDEX))
        if head["version"] > VERSION:
            raise FileError(f"the file was written by a newer tdsl: format {head['version']}, known: {VERSION}")
        tree = _decoded(head["tree"])
        return Reader(lambda name: entry_bytes(archive, f"data/{name}")).tree(tree)
    except FileError:
        raise
    except (RecursionError, AttributeError, LookupError, builtins.ValueError, builtins.TypeError) as error:
        raise FileError(f"damaged file: its index cannot be read: {type(error).__name__}: {error}") from None


def entry_bytes(archive: zipfile.ZipFile, name: str) -> bytes:
    """One entry, as it was written: zip's checksum is held against it."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise FileError(f"damaged file: {name} is missing") from None
    if info.compress_type != zipfile.ZIP_STORED:
        raise FileError(f"damaged file: {name} is compressed")
    return archive.read(info)


class _Encoder:
    """Objects as JSON; tensors go into the writer."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.open: set[int] = set()  # containers around the one that is written

    def node(self, x: Any, place: str) -> Any:
        kind = type(x)
        if x is None or kind in (bool, int, float, str):
            return x
        if isinstance(x, Tensor):
            return {"tensor": _fields(self.writer.stored(x))}
        if kind is Size:
            return {"size": list(x)}
        if isinstance(x, list | tuple | dict | set | frozenset):
            return self._container(x, kind, place)
        if isinstance(x, DType):
            return {"dtype": x.torch_name}
        if isinstance(x, Device):
            return {"device": str(x)}
        if isinstance(x, bytes | bytearray):
            return {kind.__name__: base64.b64encode(x).decode()}
        if isinstance(x, np.bool_ | np.integer | np.floating):
            return {"number": [x.dtype.str, x.item()]}
        if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":
            data = base64.b64encode(raw_bytes(x)).decode()
            return {"array": [x.dtype.str, list(x.shape), data]}
        raise _refusal(x, place)

    def _container(self, x: Any, kind: type, place: str) -> Any:
        if id(x) in self.open:
            raise ValueError(f"save: the object contains itself{_at(place)}")
        self.open.add(id(x))
        try:
            if isinstance(x, dict):
                name = _DICTS.get(kind)
                if name is None:
                    raise _refusal(x, place)
                items = [[self.node(k, f"{place}[{k!r}]"), self.node(v, f"{place}[{k!r}]")] for k, v in x.items()]
                more = x.__dict__ if kind is OrderedDict else {}
                return {name: items, "attributes": self.node(dict(more), place)} if more else {name: items}
            if kind not in (list, tuple, set, frozenset):
                raise _refusal(x, place)
            nodes = [self.node(v, f"{place}[{k}]") for k, v in enumerate(x)]
            return nodes if kind is list else {kind.__name__: nodes}
        finally:
            self.open.discard(id(x))


_DICTS: dict[type, str] = {dict: "dict", OrderedDict: "ordered", Counter: "counter"}


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _refusal(x: Any, place: str) -> TypeError:
    hint = "save its state_dict()" if hasattr(x, "state_dict") else "save what it is made of"
    return TypeError(f"save: cannot save an object of type {type(x).__name__}{_at(place)}", hint=hint)


def _fields(stored: Stored) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "storage": stored.storage, "dtype": stored.dtype, "shape": stored.shape, "strides": stored.strides,
        "offset": stored.offset, "key": stored.key,
    }  # fmt: skip
    return fields | {k: True for k in ("requires_grad", "parameter") if getattr(stored, k)}


def _stored(fields: dict[str, Any]) -> Stored:
    shape, strides = tuple(map(int, fields["shape"])), tuple(map(int, fields["strides"]))
    marks = bool(fields.get("requires_grad")), bool(fields.get("parameter"))
    return Stored(str(fields["storage"]), str(fields["dtype"]), shape, strides, int(fields["offset"]), *marks,
                  int(fields["key"]))  # fmt: skip


def _array(parts: list[Any]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(parts[0])
    if dtype.kind not in "biuf":
        raise FileError(f"damaged file: an array of dtype {parts[0]}")
    return np.frombuffer(bytearray(base64.b64decode(parts[2])), dtype).reshape(parts[1])


def _pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return [(_decoded(k), _decoded(v)) for k, v in items]


_KINDS: dict[str, Any] = {
    "tensor": _stored,
    "tuple": lambda items: tuple(_decoded(x) for x in items),
    "set": lambda items: {_decoded(x) for x in items},
    "frozenset": lambda items: frozenset(_decoded(x) for x in items),
    "dict": lambda items: dict(_pairs(items)),
    "ordered": lambda items: OrderedDict(_pairs(items)),
    "counter": lambda items: Counter(dict(_pairs(items))),
    "size": Size,
    "dtype": dt.by_name,
    "device": Device,
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "number": lambda parts: np.dtype(parts[0]).type(parts[1]),
    "array": _array,
}


def _decoded(node: Any) -> Any:
    if isinstance(node, list):
        return [_decoded(x) for x in node]
    if not isinstance(node, dict):
        return node
    kind = next(iter(node))
    made = _KINDS[kind](node[kind])
    if isinstance(made, OrderedDict) and "attributes" in node:
        made.__dict__.update(_decoded(node["attributes"]))
    return made

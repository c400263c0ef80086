"""safetensors files: a JSON header with each tensor's dtype, shape and place, then the bytes."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Mapping
from math import prod
from typing import IO, Any

import numpy as np

from tdsl.compiler.source import TypeError
from tdsl.recording import known
from tdsl.saving.atomic import writing
from tdsl.saving.errors import FileError
from tdsl.saving.storages import from_bytes, itemsize, raw_bytes
from tdsl.tensor import Tensor

_CODES = {"BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64",
          "U16": "uint16", "U32": "uint32", "U64": "uint64",
          "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}  # fmt: skip
_NAMES = {name: code for code, name in _CODES.items()}
_HEADER_LIMIT = 100_000_000


def save_safetensors(
    tensors: Mapping[str, Tensor], filename: str | os.PathLike[str] | IO[bytes],
    metadata: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write a flat dict of tensors. `metadata` is a dict of texts. The file is replaced as a whole, or not at all."""
    with writing(filename) as file:
        write(tensors, file, metadata)


def write(tensors: Mapping[str, Tensor], file: IO[bytes], metadata: Mapping[str, str] | None = None) -> None:
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(
                f"safetensors holds a flat dict of tensors by name, but {name!r} is an object of type "
                f"{type(tensor).__name__}",
                hint="tdsl.save writes nested objects",
            )
    for key, text in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(text, str):
            raise TypeError(f"safetensors metadata are texts, but {key!r} is {text!r}")
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        x = tensors[name]
        size = x.numel() * x.dtype.itemsize
        code = _NAMES[x.dtype.torch_name]
        header[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-len(head) % 8)
    file.write(len(head).to_bytes(8, "little") + head)
    for name in order:
        value = known(tensors[name].detach().contiguous().value)
        file.write(raw_bytes(value.data.view(tuple(value.shape))))  # type: ignore[arg-type]


def load_safetensors(filename: str | os.PathLike[str] | IO[bytes], device: object = "cpu") -> dict[str, Tensor]:
    """The tensors of a file by name. FileError where the file is damaged."""
    if isinstance(filename, str | os.PathLike):
        with open(filename, "rb") as file:
            return read(file.read())
    return read(filename.read())


def looks_like(head: bytes) -> bool:
    """Whether a file that begins so is one: the header's length, then the header."""
    return len(head) >= 10 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _HEADER_LIMIT


def read(content: bytes) -> dict[str, Tensor]:
    if len(content) < 8:
        raise FileError("damaged safetensors file: it has no header")
    length = int.from_bytes(content[:8], "little")
    if length > min(len(content) - 8, _HEADER_LIMIT):
        raise FileError(f"damaged safetensors file: its header of {length} bytes does not fit into {len(content)}")
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        entries = {name: _entry(name, fields) for name, fields in header.items()}
    except FileError:
        raise
    except (RecursionError, AttributeError, LookupError, builtins.ValueError, builtins.TypeError) as error:
        raise FileError(f"damaged safetensors file: {type(error).__name__}: {error}") from None
    data = np.frombuffer(content, np.uint8)[8 + length :]
    at = 0
    for name, (_, _, start, stop) in sorted(entries.items(), key=lambda item: item[1][2:]):
        if start != at:
            raise FileError(f"damaged safetensors file: {name!r} begins at byte {start} instead of {at}")
        at = stop
    if at != data.size:
        raise FileError(f"damaged safetensors file: it has {data.size} bytes of tensors, and its header says {at}")
    return {
        name: from_bytes(data[start:stop], dtype).reshape(shape)
        for name, (dtype, shape, start, stop) in entries.items()
    }


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FileError("damaged safetensors file: its header names something twice")
    return found


def _entry(name: str, fields: dict[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
    dtype = _CODES.get(fields["dtype"])
    if dtype is None:
        raise FileError(f"the safetensors file has a tensor of dtype {fields['dtype']}, which tdsl does not have")
    shape, (start, stop) = tuple(int(n) for n in fields["shape"]), fields["data_offsets"]
    if any(n < 0 for n in shape) or not 0 <= start <= stop or prod(shape) * itemsize(dtype) != stop - start:
        raise FileError(
            f"damaged safetensors file: {name!r} of shape {list(shape)} and dtype {dtype} at bytes {start} to {stop}"
        )
    return dtype, shape, start, stop

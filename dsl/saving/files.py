"""`save` and `load`."""

from __future__ import annotations

import builtins
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

from tdsl.compiler.source import TdslError, ValueError
from tdsl.saving import container, pytorch, safetensors
from tdsl.saving.atomic import writing
from tdsl.saving.errors import FileError
from tdsl.tensor import Device

File = str | os.PathLike[str] | IO[bytes]


def save(obj: Any, f: File, pickle_module: Any = None, pickle_protocol: int = 2, **options: Any) -> None:
    """Write an object to a path or a file object.

    The object: tensors, numbers, texts, None, and lists, tuples, dicts and sets of them: state dicts of models,
    optimizers and schedulers. Tensors that share memory share it again when loaded. A path that ends in
    `.safetensors` takes a flat dict of tensors. A file is replaced as a whole: a program that dies here leaves the
    old one. PyTorch's arguments about pickle have no effect: these files hold none.

    >>> import io, tdsl
    >>> file = io.BytesIO()
    >>> tdsl.save({"w": tdsl.ones(2), "epoch": 3}, file)
    >>> _ = file.seek(0)
    >>> tdsl.load(file)
    {'w': tensor([1., 1.]), 'epoch': 3}
    """
    if isinstance(f, str | os.PathLike) and os.fspath(f).endswith(".safetensors"):
        if not isinstance(obj, Mapping):
            raise ValueError(f"a .safetensors file holds a dict of tensors, but got {type(obj).__name__}")
        safetensors.save_safetensors(obj, f)
        return
    if isinstance(f, str | os.PathLike):
        with writing(f) as file:
            container.write(obj, file)
        return
    if not hasattr(f, "write"):
        raise AttributeError(
            "expected 'f' to be string, path, or a file-like object with a 'write' attribute, but got "
            f"{type(f).__name__}"
        )
    content = io.BytesIO()
    container.write(obj, content)  # nothing of an object that cannot be saved reaches the file
    f.write(content.getbuffer())


def load(
    f: File, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
    mmap: bool | None = None, **options: Any,
) -> Any:  # fmt: skip
    """What a file holds: one of `tdsl.save`, of safetensors, a zip of `torch.save`; or a `.tdsl` script, which is run.

    `f` is a path or a file object. Nothing in a file of tensors is ever called, with `weights_only=False` no more
    than with True: a PyTorch file that needs more than data is refused with `RefusedGlobal`, which names what it
    wanted. FileError for a damaged file. `map_location` maps storages of other devices to the CPU. The options of
    scripts are `allow_python` and `search`: see `tdsl.lang.modules.load`.
    """
    if isinstance(map_location, str | Device):
        Device(map_location)
    if isinstance(f, str | os.PathLike):
        name = os.fspath(f)
        if name.endswith(".tdsl") and not _is_archive(name):
            from tdsl.lang.modules import load as run_script

            return run_script(name, **options)
        with open(f, "rb") as file:
            return _content(file, name, map_location)
    if not hasattr(f, "read"):
        raise AttributeError(
            "expected 'f' to be string, path, or a file-like object with a 'read' attribute, but got "
            f"{type(f).__name__}"
        )
    return _content(f, getattr(f, "name", "the file"), map_location)


def _is_archive(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def _content(file: IO[bytes], name: str, map_location: Any) -> Any:
    if not (hasattr(file, "seek") and hasattr(file, "tell") and file.seekable()):
        file = io.BytesIO(file.read())
    start = file.tell()
    head = file.read(16)
    file.seek(start)
    if head[:2] == b"PK":
        return _archive(file, name, map_location)
    if safetensors.looks_like(head):
        return safetensors.read(file.read())
    if head[:1] == b"\x80":
        raise FileError(
            f"{name} is a bare pickle, which could run anything",
            hint="torch.save of PyTorch 1.6 and later writes zip files, which are read here",
        )
    raise FileError(
        f"{name} is no file of tensors: it begins with {head[:8]!r}" if head else f"{name} is empty",
        hint="tdsl.load reads files of tdsl.save, safetensors and torch.save, and runs .tdsl scripts",
    )


def _archive(file: IO[bytes], name: str, map_location: Any) -> Any:
    if file.tell():
        file = io.BytesIO(file.read())  # a zip that begins later in a file
    try:
        with zipfile.ZipFile(file) as archive:
            if container.INDEX in archive.namelist():
                return container.read(archive)
            prefix = pytorch.record_prefix(archive)
            if prefix is not None:
                return pytorch.read(archive, prefix, map_location)
    except TdslError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, OSError, builtins.ValueError,
            builtins.RuntimeError) as error:  # fmt: skip
        raise FileError(f"{name} is damaged: {error}") from None
    raise FileError(f"{name} is a zip file, but neither of tdsl.save nor of torch.save")

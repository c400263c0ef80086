"""The file functions of scripts. No pickles; writing below the working directory only, no hidden files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType, f32
from tdsl.compiler.source import RuntimeError, ValueError


def _tensor(array: Any) -> Any:
    return importlib.import_module("tdsl").from_numpy(np.ascontiguousarray(array))


def _array(value: Any) -> Any:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a run may do with files.

    sandbox      reads the script's directory only, and writes nothing.
    allow_write  writes below this directory, instead of the working directory.
    """

    sandbox: bool = False
    allow_write: str | None = None


DEFAULT = Policy()


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of a script, and what it may do."""

    folder: Path
    policy: Policy


def functions(script: Path, policy: Policy = DEFAULT) -> dict[str, Callable[..., Any]]:
    """The functions, for a script of that path (`here` and hints are relative to it)."""
    place = Place(script.parent, policy)
    return {name: _bind(fn, place) for name, fn in FUNCTIONS.items()} | {"here": lambda path: str(script.parent / path)}


def _bind(fn: Callable[..., Any], place: Place) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(place, *args, **kwargs)

    call.__name__ = call.__qualname__ = fn.__name__
    return call


def _readable(place: Place, path: str) -> Path:
    found = Path(path)
    if place.policy.sandbox and not found.resolve().is_relative_to(place.folder.resolve()):
        raise RuntimeError(f"in a sandbox a script reads its own directory only, not {found.absolute()}", code="E0705")
    if found.is_file():
        return found
    hint = None
    if not found.is_absolute() and (place.folder / path).is_file():
        hint = f'it exists beside the script: use here("{path}")'
    raise ValueError(f"there is no file {found.absolute()}", code="E0704", hint=hint)


def _writable(place: Place, path: str) -> Path:
    allowed = place.policy.allow_write
    if place.policy.sandbox and allowed is None:
        hint = "to let it write: tdsl run --sandbox --allow-write=DIR"
        raise RuntimeError("in a sandbox a script writes no files", code="E0705", hint=hint)
    target, root = Path(path).resolve(), Path(allowed or Path.cwd()).resolve()
    if not target.is_relative_to(root):
        where = "the working directory" if allowed is None else str(root)
        raise RuntimeError(f"a script writes below {where} only, not to {target}", code="E0705")
    if any(part.startswith(".") for part in target.relative_to(root).parts):
        raise RuntimeError(f"a script writes no hidden files: {path}", code="E0705")
    return target


def load_npz(place: Place, path: str) -> dict[str, Any]:
    with np.load(_readable(place, path), allow_pickle=False) as data:
        return {name: _tensor(data[name]) for name in data.files}


def load_npy(place: Place, path: str) -> Any:
    return _tensor(np.load(_readable(place, path), allow_pickle=False))


def load_csv(place: Place, path: str, skip_header: int = 0, delimiter: str = ",", dtype: DType = f32) -> Any:
    found = _readable(place, path)
    return _tensor(np.loadtxt(found, delimiter=delimiter, skiprows=skip_header, dtype=dtype.numpy, ndmin=2))


def load_safetensors(place: Place, path: str) -> dict[str, Any]:
    from safetensors.numpy import load_file  # most scripts do without

    return {name: _tensor(array) for name, array in load_file(str(_readable(place, path))).items()}


def read_text(place: Place, path: str) -> str:
    return _readable(place, path).read_text(encoding="utf-8")


def read_lines(place: Place, path: str) -> list[str]:
    return read_text(place, path).splitlines()


def save_npz(place: Place, tensors: Mapping[str, Any], path: str) -> None:
    arrays: dict[str, Any] = {name: _array(t) for name, t in tensors.items()}
    with _writable(place, path).open("wb") as file:
        np.savez(file, **arrays)


def save_npy(place: Place, value: Any, path: str) -> None:
    with _writable(place, path).open("wb") as file:
        np.save(file, _array(value), allow_pickle=False)


def save_csv(place: Place, value: Any, path: str, delimiter: str = ",") -> None:
    np.savetxt(_writable(place, path), _array(value), delimiter=delimiter)


def save_safetensors(place: Place, tensors: Mapping[str, Any], path: str) -> None:
    from safetensors.numpy import save_file  # most scripts do without

    save_file({name: np.ascontiguousarray(_array(t)) for name, t in tensors.items()}, str(_writable(place, path)))


def write_text(place: Place, text: str, path: str) -> None:
    _writable(place, path).write_text(text, encoding="utf-8")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        load_npz, load_npy, load_csv, load_safetensors, read_text, read_lines, save_npz, save_npy, save_csv,
        save_safetensors, write_text,
    )
}  # fmt: skip

"""The file functions of scripts. No pickles; writing below the working directory only, no hidden files."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tdsl.compiler.dtype import DType, f32
from tdsl.compiler.source import RuntimeError, ValueError


def _tensor(array: Any) -> Any:
    return importlib.import_module("tdsl").from_numpy(np.ascontiguousarray(array))


def _array(value: Any) -> Any:
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def functions(script: Path) -> dict[str, Callable[..., Any]]:
    """The functions, for a script of that path (`here` and hints are relative to it)."""
    return {name: _bind(fn, script.parent) for name, fn in FUNCTIONS.items()} | {
        "here": lambda path: str(script.parent / path)
    }


def _bind(fn: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(folder, *args, **kwargs)

    call.__name__ = call.__qualname__ = fn.__name__
    return call


def _readable(folder: Path, path: str) -> Path:
    found = Path(path)
    if found.is_file():
        return found
    hint = None
    if not found.is_absolute() and (folder / path).is_file():
        hint = f'it exists beside the script: use here("{path}")'
    raise ValueError(f"there is no file {found.absolute()}", code="E0704", hint=hint)


def _writable(path: str) -> Path:
    target, root = Path(path).resolve(), Path.cwd().resolve()
    if not target.is_relative_to(root):
        raise RuntimeError(f"a script writes below the working directory only, not to {target}", code="E0705")
    if any(part.startswith(".") for part in target.relative_to(root).parts):
        raise RuntimeError(f"a script writes no hidden files: {path}", code="E0705")
    return target


def load_npz(folder: Path, path: str) -> dict[str, Any]:
    with np.load(_readable(folder, path), allow_pickle=False) as data:
        return {name: _tensor(data[name]) for name in data.files}


def load_npy(folder: Path, path: str) -> Any:
    return _tensor(np.load(_readable(folder, path), allow_pickle=False))


def load_csv(folder: Path, path: str, skip_header: int = 0, delimiter: str = ",", dtype: DType = f32) -> Any:
    found = _readable(folder, path)
    return _tensor(np.loadtxt(found, delimiter=delimiter, skiprows=skip_header, dtype=dtype.numpy, ndmin=2))


def load_safetensors(folder: Path, path: str) -> dict[str, Any]:
    from safetensors.numpy import load_file  # most scripts do without

    return {name: _tensor(array) for name, array in load_file(str(_readable(folder, path))).items()}


def read_text(folder: Path, path: str) -> str:
    return _readable(folder, path).read_text(encoding="utf-8")


def read_lines(folder: Path, path: str) -> list[str]:
    return read_text(folder, path).splitlines()


def save_npz(folder: Path, tensors: Mapping[str, Any], path: str) -> None:
    arrays: dict[str, Any] = {name: _array(t) for name, t in tensors.items()}
    with _writable(path).open("wb") as file:
        np.savez(file, **arrays)


def save_npy(folder: Path, value: Any, path: str) -> None:
    with _writable(path).open("wb") as file:
        np.save(file, _array(value), allow_pickle=False)


def save_csv(folder: Path, value: Any, path: str, delimiter: str = ",") -> None:
    np.savetxt(_writable(path), _array(value), delimiter=delimiter)


def save_safetensors(folder: Path, tensors: Mapping[str, Any], path: str) -> None:
    from safetensors.numpy import save_file  # most scripts do without

    save_file({name: np.ascontiguousarray(_array(t)) for name, t in tensors.items()}, str(_writable(path)))


def write_text(folder: Path, text: str, path: str) -> None:
    _writable(path).write_text(text, encoding="utf-8")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        load_npz, load_npy, load_csv, load_safetensors, read_text, read_lines, save_npz, save_npy, save_csv,
        save_safetensors, write_text,
    )
}  # fmt: skip

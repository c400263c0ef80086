"""Windows that slide over spatial dimensions, and their index notation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tdsl.compiler.dtype import bool_, by_name
from tdsl.compiler.source import RuntimeError
from tdsl.tensor import Tensor, from_array

Ints = int | Sequence[int]
Array = np.ndarray[Any, Any]
OUT, TAPS = "ijk", "rst"


def per_dimension(x: Ints, rank: int, name: str = "kernel_size") -> tuple[int, ...]:
    """One number for each spatial dimension."""
    if isinstance(x, int):
        return (x,) * rank
    found = tuple(int(n) for n in x)
    if len(found) == 1:
        return found * rank
    if len(found) != rank:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {rank} values, but got {name}={list(found)}"
        )
    return found


def window(axis: str, tap: str, stride: int, dilation: int, padding: int) -> str:
    """The position that a tap of a window reads, as text."""
    text = axis if stride == 1 else f"{stride} * {axis}"
    text += f" + {tap}" if dilation == 1 else f" + {dilation} * {tap}"
    return text if padding == 0 else f"{text} - {padding}"


def source(axis: str, tap: str, stride: int, dilation: int, padding: int) -> tuple[str, str]:
    """The other way round: the window that reaches a position by a tap, and the guard that says there is one."""
    at = f"{axis} - {tap}" if dilation == 1 else f"{axis} - {dilation} * {tap}"
    at += f" + {padding}" if padding else ""
    return (at, "") if stride == 1 else (f"({at}) // {stride}", f"({at}) % {stride} == 0")


def zero_of(dtype: str) -> str:
    """The literal 0 of a dtype, as index notation writes it."""
    found = by_name(dtype)
    return "False" if found is bool_ else "0.0" if found is not None and found.is_float else "0"


@lru_cache(maxsize=256)
def _table(content: bytes, dtype: str, shape: tuple[int, ...]) -> Tensor:
    return from_array(np.frombuffer(content, dtype).reshape(shape).copy())


def table(values: Array) -> Tensor:
    """A small constant tensor; equal ones are one."""
    return _table(values.tobytes(), values.dtype.str, values.shape)


def tap_parts(tap: str, taps: Sequence[int]) -> list[str]:
    """A flat number of a window's tap taken apart into its place in each dimension, as text."""
    found, below = [], prod(taps)
    for q, n in enumerate(taps):
        below //= n
        part = tap if below == 1 else f"{tap} // {below}"
        found.append(f"({part})" if q == 0 else f"({part} % {n})")
    return found

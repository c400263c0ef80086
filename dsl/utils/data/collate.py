"""Samples as one batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.creation import as_tensor, tensor
from tdsl.shapes import stack
from tdsl.tensor import Tensor


def default_collate(batch: Sequence[Any]) -> Any:
    """Tensors and arrays stacked, numbers as a tensor, texts as a list; dicts, tuples and lists field by field.

    >>> default_collate([{"x": 1, "y": "a"}, {"x": 2, "y": "b"}])
    {'x': tensor([1, 2]), 'y': ['a', 'b']}
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(batch)
    if isinstance(first, np.ndarray):
        if first.dtype.kind in "SUO":
            raise TypeError(
                "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found "
                f"{first.dtype}"
            )
        return stack([as_tensor(x) for x in batch])
    if isinstance(first, np.bool_ | np.number):
        return as_tensor(np.array(batch))
    if isinstance(first, bool | int):
        return tensor(list(batch))
    if isinstance(first, float):
        return tensor(list(batch), dtype=dt.f64)
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        return _mapping(first, batch)
    if isinstance(first, Sequence):
        return _sequence(first, batch)
    raise TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first)}"
    )


def _mapping(first: Mapping[Any, Any], batch: Sequence[Any]) -> Any:
    fields = {k: default_collate([sample[k] for sample in batch]) for k in first}
    try:
        if isinstance(first, MutableMapping):
            made = copy.copy(first)
            made.update(fields)
            return made
        return type(first)(fields)  # type: ignore[call-arg]
    except BaseException:
        return fields  # a kind of mapping that cannot be made so


def _sequence(first: Sequence[Any], batch: Sequence[Any]) -> Any:
    if any(len(sample) != len(first) for sample in batch):
        raise RuntimeError("each element in list of batch should be of equal size")
    fields = [default_collate(list(field)) for field in zip(*batch, strict=True)]
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*fields)
    if isinstance(first, tuple):
        return fields
    try:
        if isinstance(first, MutableSequence):
            made = copy.copy(first)
            for k, field in enumerate(fields):
                made[k] = field
            return made
        return type(first)(fields)  # type: ignore[call-arg]
    except BaseException:
        return fields


def default_convert(data: Any) -> Any:
    """One sample with its arrays and NumPy numbers as tensors."""
    if isinstance(data, np.ndarray) and data.dtype.kind not in "SUO" or isinstance(data, np.bool_ | np.number):
        return as_tensor(np.asarray(data))
    if isinstance(data, Mapping):
        return {k: default_convert(v) for k, v in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, tuple):
        return [default_convert(x) for x in data]
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return [default_convert(x) for x in data]
    return data

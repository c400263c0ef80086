"""One expression run by tdsl and by PyTorch, and where the two differ."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import Any

import numpy as np

import tdsl


class Elements:
    """Numbers that equal others which differ by rounding only."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Elements):
            return NotImplemented
        return np.allclose(self.numbers, other.numbers, rtol=2e-5, atol=2e-6, equal_nan=True)

    def __repr__(self) -> str:
        return str(self.numbers)


def described(result: Any, library: Any) -> Any:
    """What of a result is compared: for a tensor its shape, dtype, elements, strides, offset and gradient flag."""
    if isinstance(result, library.Tensor):
        return (
            tuple(result.shape),
            str(result.dtype).split(".")[-1],
            Elements(result.detach().tolist()) if result.dtype.is_floating_point else str(result.tolist()),
            tuple(result.stride()),
            result.storage_offset(),
            result.is_contiguous(),
            result.requires_grad,
        )
    if isinstance(result, tuple | list):
        return [described(r, library) for r in result]
    return repr(result).replace("torch", "tdsl")


def outcome(case: str, library: ModuleType, setup: str) -> Any:
    """The described result of the case's last step, or the built-in classes and first line of what it raises."""
    names: dict[str, Any] = {"T": library}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(setup, names)
        *steps, last = case.split(" ;; ")
        try:
            for step in steps:
                exec(step, names)
            return described(eval(last, names), library)
        except Exception as error:
            classes = {c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"}
            words = str(error).split("\n")[0].replace("torch.", "tdsl.").strip().rstrip(".")
            return "refused", classes, words


def agree(ours: Any, theirs: Any) -> bool:
    if theirs and theirs[0] == "refused":
        return bool(ours) and ours[0] == "refused" and theirs[1] <= ours[1] and ours[2] == theirs[2]
    return bool(ours == theirs)


def differences(cases: list[str], peer: ModuleType, setup: str) -> list[str]:
    """A line for each case on which the libraries differ."""
    found = []
    for case in cases:
        ours, theirs = outcome(case, tdsl, setup), outcome(case, peer, setup)
        if not agree(ours, theirs):
            found.append(f"{case}\n    tdsl  {ours}\n    torch {theirs}")
    return found

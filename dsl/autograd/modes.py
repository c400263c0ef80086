"""Grad mode on and off, as context managers and decorators."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from tdsl.recording import Mode

F = TypeVar("F", bound=Callable[..., Any])


class _Grad:
    """Sets grad mode for a `with` block or a decorated function."""

    def __init__(self, on: bool) -> None:
        self.on = on
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(Mode.grad)
        Mode.grad = self.on

    def __exit__(self, *_: object) -> None:
        Mode.grad = self.before.pop()

    def __call__(self, function: F) -> F:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.on):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_Grad):
    """Nothing recorded here takes part in a backward. `with no_grad():` or `@no_grad()`."""

    def __init__(self, on: Any = False) -> None:
        super().__init__(False)

    def __new__(cls, function: Any = None) -> Any:
        made = super().__new__(cls)
        if callable(function):
            _Grad.__init__(made, False)
            return made(function)
        return made


class enable_grad(_Grad):
    """Turns grad mode on again inside no_grad."""

    def __init__(self, on: Any = True) -> None:
        super().__init__(True)


class set_grad_enabled(_Grad):
    """Sets grad mode at once; as a context manager, until the block ends."""

    def __init__(self, mode: bool) -> None:
        super().__init__(mode)
        self.before.append(Mode.grad)
        Mode.grad = mode

    def __enter__(self) -> None:
        Mode.grad = self.on


class inference_mode:
    """no_grad, and what is made here never takes part in autograd: neither saved nor changed in place outside.

    A context manager or a decorator; `inference_mode(False)` turns it off inside another.
    """

    def __new__(cls, mode: Any = True) -> Any:
        made = super().__new__(cls)
        return cls()(mode) if callable(mode) else made

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode
        self.before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        if Mode.inferred is None:
            from tdsl.autograd.graph import check_saved

            Mode.everywhere(inferred=weakref.WeakSet(), check_saved=check_saved)
        self.before.append((Mode.inference, Mode.grad))
        Mode.inference, Mode.grad = self.mode, not self.mode

    def __exit__(self, *_: object) -> None:
        Mode.inference, Mode.grad = self.before.pop()

    def __call__(self, function: F) -> F:
        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.mode):
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


def is_inference_mode_enabled() -> bool:
    return Mode.inference


def is_grad_enabled() -> bool:
    return Mode.grad

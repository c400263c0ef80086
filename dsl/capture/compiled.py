"""`tdsl.compile`: a function captured as a whole, forward, backward and optimizer, and replayed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any

from tdsl.capture.arguments import flatten
from tdsl.capture.record import Captured, NotCaptured, call
from tdsl.capture.replay import Replay
from tdsl.compiler.source import RuntimeError, TypeError
from tdsl.nn.module import Module
from tdsl.recording import Mode

MOST_CAPTURES = 32  # of one function, for other shapes and conditions
MOST_FAILURES = 6  # calls in a row that gave no capture: after them the function is run as it is


class Compiled:
    """A function under `tdsl.compile`. `explain()` says what was captured, and why again."""

    def __init__(self, function: Callable[..., Any], whole: bool = False) -> None:
        update_wrapper(self, function)
        self._function, self._whole = function, whole
        self._replays: list[Replay] = []
        self._varying: set[Any] = set()
        self._history: list[str] = []
        self._failures = 0
        self._given_up = False
        self.replayed = 0

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._given_up or _busy():
            return self._function(*args, **kwargs)
        leaves: list[Any] = []
        structure = flatten((args, kwargs), leaves)
        reason, place = "", None
        for k, replay in enumerate(self._replays):
            if replay.captured.structure != structure:
                reason = reason or "the arguments had another structure"
                continue
            try:
                found = replay.conditions(leaves)
            except (KeyError, IndexError, AttributeError, ValueError, ArithmeticError) as error:
                reason = reason or f"what it reaches has changed ({type(error).__name__}: {error})"
                continue
            if found.__class__ is int:
                if not reason:
                    reason, place = replay.why_not(found)
                continue
            if not replay.confirmed:
                return self._confirm(replay, leaves, structure)
            done, result = replay.run(found, leaves)
            if not done:
                return self._function(*args, **kwargs)
            if k:
                self._replays.insert(0, self._replays.pop(k))
            self.replayed += 1
            return result
        return self._capture(leaves, structure, reason, place)

    def _capture(self, leaves: list[Any], structure: Any, reason: str, place: Any) -> Any:
        if place is not None:
            self._varying.add(place)
        result, made = call(self._function, leaves, structure, self._varying)
        if isinstance(made, Captured):
            self._replays.insert(0, Replay(made))
            del self._replays[MOST_CAPTURES:]
            self._history.append(f"captured: {reason}" if reason else "captured: the first call of its kind")
            return result
        self._failed(made)
        return result

    def _confirm(self, replay: Replay, leaves: list[Any], structure: Any) -> Any:
        """A second call that is watched: only what both did alike is replayed."""
        result, made = call(self._function, leaves, structure, self._varying)
        if isinstance(made, NotCaptured):
            self._replays.remove(replay)
            self._failed(made)
        elif made.agrees(replay.captured):
            replay.confirmed, self._failures = True, 0
        else:
            self._replays.remove(replay)
            self._failed(NotCaptured("two calls under equal conditions did different things", again=True))
        return result

    def _failed(self, why: NotCaptured) -> None:
        self._history.append(f"not captured: {why}")
        self._failures += 1
        if why.place is not None:
            self._varying.add(why.place)
        if self._whole and not why.again:
            raise RuntimeError(f"{self.__name__} cannot be captured as a whole: {why}")
        if not why.again or self._failures >= MOST_FAILURES:
            self._given_up = True
            self._replays.clear()
            self._history.append("from here on it is run as it is")

    def explain(self) -> str:
        """A line for each capture, with its reason, and how many calls were replayed."""
        return "\n".join([f"{self.__name__}: {line}" for line in self._history[-100:]]
                         + [f"{self.__name__}: {self.replayed} calls replayed"])  # fmt: skip

    __name__: str


def _busy() -> bool:
    """Whether something is at work that must see each operation."""
    return bool(
        Mode.capture is not None or Mode.transforms or Mode.watch is not None or Mode.traces or Mode.saving
        or Mode.packing is not None or Mode.anomaly or Mode.hidden is not None or Mode.backwards or Mode.recompute
    )  # fmt: skip


class OptimizedModule(Module):
    """A module whose calls are captured and replayed; its parameters are those of `_orig_mod`."""

    def __init__(self, module: Module, whole: bool = False) -> None:
        super().__init__()
        self._orig_mod = module
        object.__setattr__(self, "_compiled", Compiled(module.__call__, whole))
        self._compiled.__name__ = type(module).__name__

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._compiled(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in ("_orig_mod", "_modules", "_parameters", "_buffers"):
            return super().__getattr__(name)
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._orig_mod, name)

    def train(self, mode: bool = True) -> OptimizedModule:
        super().train(mode)
        return self

    def explain(self) -> str:
        return str(self._compiled.explain())


def compile(
    model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "tdsl",
    mode: str | None = None, options: dict[str, Any] | None = None, disable: bool = False,
) -> Any:  # fmt: skip
    """The function or module, called once or twice under watch and then replayed as one program.

    What a call computes is captured as a whole: forward, backward, optimizer steps, in-place changes, random numbers,
    and Python numbers that change. Each later call checks the conditions under which the capture holds (types of
    arguments; what the function reads through closures, globals, modules and optimizers) and runs the program; where
    one fails, the function is captured again, and `explain()` of the result says why. A function that reads elements
    before its end, prints, or changes Python objects otherwise is run as it is. With `fullgraph=True` that is a
    RuntimeError. The other arguments are PyTorch's; there is one backend here.

    >>> import tdsl
    >>> w = tdsl.ones(3, requires_grad=True)
    >>> optimizer = tdsl.optim.SGD([w], lr=0.5)
    >>> @tdsl.compile
    ... def step(x):
    ...     optimizer.zero_grad()
    ...     loss = (w * x).square().sum()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> [round(step(tdsl.tensor([0.0, 0.5, 1.0])).item(), 4) for _ in range(4)]
    [1.25, 0.1406, 0.0791, 0.0445]
    """
    if model is None:
        return partial(compile, fullgraph=fullgraph, dynamic=dynamic, backend=backend, mode=mode, options=options,
                       disable=disable)  # fmt: skip
    if disable:
        return model
    if isinstance(model, Module):
        return OptimizedModule(model, fullgraph)
    if not callable(model):
        raise TypeError(f"compile() takes a function or a module, not {type(model).__name__}")
    return Compiled(model, fullgraph)

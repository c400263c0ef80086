"""Values that stand for each element of a batch while a function is recorded once.

A stand-in has a type and no bytes. What is made of one stays pending, whatever is run meanwhile; who demands it gets
`NeedsValue`. When the recording is over, what was kept of it is marked: its use is an error.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from tdsl import recording
from tdsl.compiler.graph import Type, Value
from tdsl.compiler.source import RuntimeError
from tdsl.recording import Mode, NeedsValue, Tape
from tdsl.runtime.dispatch import Failure
from tdsl.tensor import Tensor

_ITEM = (
    "vmap: It looks like you're calling .{0}() on a Tensor. We don't support vmap over calling .{0}() on a Tensor, "
    "please try to rewrite what you're doing with other operations."
)
_CONTROL = (
    "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't support that "
    "yet."
)
_IN_PLACE = (
    "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args "
    "that has more elements than `self`. This happened due to `other` being vmapped over but `self` not being vmapped "
    "over in a vmap. Please try to use out-of-place operators instead of inplace arithmetic. If said operator is being "
    "called inside tdsl, the state that it updates must be an input that is vmapped over."
)
_ESCAPED = "a Tensor made inside vmap was kept, and is used after vmap returned: return it from the function instead"


class Trace:
    """One recording with stand-ins, a context manager; recordings may be nested."""

    def __init__(self) -> None:
        self.standins: set[Value] = set()
        self._reaches: dict[Value, bool] = {}
        self.start = 0

    def standin(self, type_: Type, tape: bool) -> Tensor:
        value = Value(None, (), None, type_)
        if tape:
            value.tape = Tape()
        self.standins.add(value)
        self.start = self.start or value.serial
        return Tensor(value)

    def reaches(self, value: Value) -> bool:
        """Whether the value is made of a stand-in."""
        found = self._reaches
        stack = [value]
        while stack:
            v = stack[-1]
            if v in found:
                stack.pop()
                continue
            if v.serial < self.start or v.data is not None or v.op is None:
                found[v] = v in self.standins
                stack.pop()
                continue
            unknown = [a for a in v.args if a not in found]
            if unknown:
                stack.extend(unknown)
                continue
            found[v] = any(found[a] for a in v.args)
            stack.pop()
        return found[value]

    def __enter__(self) -> Trace:
        Mode.traces.append(self)
        Mode.hidden, Mode.assigning = _hidden, _assigning
        return self

    def __exit__(self, *_: object) -> None:
        self._mark()
        Mode.traces.remove(self)
        if not Mode.traces:
            Mode.hidden = Mode.assigning = None

    def _mark(self) -> None:
        """Mark what still lives of this recording."""
        for ref in Mode.pending:
            holder = ref()
            value = None if holder is None else holder.pending_value()
            if value is not None and value.data is None and self.reaches(value):
                value.data = Failure(RuntimeError(_ESCAPED))


def _hidden(value: Value) -> bool:
    return any(trace.reaches(value) for trace in Mode.traces)


def _assigning(old: Value, new: Value) -> None:
    """A tensor from outside may not become one that differs from element to element."""
    for trace in Mode.traces:
        if old.serial < trace.start and trace.reaches(new) and not trace.reaches(old):
            raise RuntimeError(_IN_PLACE)


_DEMANDS = {"item": "item", "tolist": "tolist", "numpy": "numpy", "__float__": "item", "__int__": "item",
            "__index__": "item", "__repr__": "__repr__", "__format__": "__repr__", "__array__": "numpy"}  # fmt: skip


def refusal(error: NeedsValue) -> RuntimeError | None:
    """What the user did to demand a value; None where a function of tdsl did, which can run on each element alone."""
    first: Any = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        ours = trace.tb_frame.f_code.co_filename.startswith(recording._OURS)
        if not ours:
            first = None
        elif first is None:
            first = trace.tb_frame.f_code.co_name
        trace = trace.tb_next
    if first in ("__bool__", "__contains__"):
        return RuntimeError(_CONTROL)
    return RuntimeError(_ITEM.format(_DEMANDS[first])) if first in _DEMANDS else None

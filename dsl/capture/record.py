"""One call of a function under watch: what it computes, of what, and what it leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tdsl.autograd.engine import node_name
from tdsl.capture.arguments import Structure, build, flatten
from tdsl.capture.numbers import Trace, Traced
from tdsl.capture.state import PLAIN, Slot, State, Unwatchable
from tdsl.compiler.dtype import f32
from tdsl.compiler.graph import Type, Value, input_value
from tdsl.compiler.source import resolve
from tdsl.recording import Mode, Storage, flush, known, release
from tdsl.runtime import dispatch
from tdsl.runtime.plan import Plan
from tdsl.tensor import Tensor

LARGEST_ARRAY = 4096  # elements of a NumPy array that are compared at each call


@dataclass(frozen=True, slots=True)
class Source:
    """Where an input of the program is found at each call.

    kind   "argument": the leaf `at`; "tensor": the object `at`; "storage": what all of a storage shows now (`at` is a
           tensor of it); "slot": what the slot `at` holds then; "constant": the value `at`.
    """

    kind: str
    at: Any

    @property
    def place(self) -> tuple[str, Any]:
        if self.kind == "argument":
            return self.kind, self.at
        if self.kind == "slot":
            return self.kind, self.at.place
        if self.kind == "constant":
            data = self.at.data
            return self.kind, data.array.tobytes() if hasattr(data, "array") else repr(data)
        return self.kind, id(self.at)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a call leaves behind.

    kind   "assign": the value `what` for the tensor `where` (a Source) and all that share its storage; "tensor": a new
           tensor of the value `what` in the slot `where`; "number": the number of the expression `what` in the slot;
           "plain": the object `what` in the slot; "count": the tensors `where` count one step more, `what` names.
    """

    kind: str
    where: Any
    what: Any
    versions: int = 0
    history: str = ""

    @property
    def place(self) -> tuple[Any, ...]:
        where = self.where
        place = where.place if isinstance(where, Slot | Source) else tuple(map(id, where))
        what = self.what
        if type(what) is Traced:
            what = what.name
        elif not isinstance(what, PLAIN):
            what = id(what)
        return self.kind, place, what, self.versions, self.history


@dataclass(eq=False, slots=True)
class Captured:
    """All that a replay needs. `wanted` are values of the recording, which effects and results name by number."""

    state: State
    leaves: list[Any]
    structure: Structure
    trace: Trace
    varying: dict[Any, Slot]
    traced_leaves: set[int]
    key: tuple[int, ...] = ()
    inputs: list[Source] = field(default_factory=list)
    numbers: list[Any] = field(default_factory=list)  # plain, or Traced
    plan: Plan | None = None
    template: list[Any] | None = None
    made: list[int | Source] = field(default_factory=list)  # each wanted value: the program's k-th result, or a source
    types: list[Any] = field(default_factory=list)  # of what is wanted
    effects: list[Effect] = field(default_factory=list)
    results: list[tuple[str, Any]] = field(default_factory=list)
    result: Structure = None
    counts: list[tuple[str, list[Tensor]]] = field(default_factory=list)

    def agrees(self, other: Captured) -> bool:
        """Whether two calls did the same, so that a replay may stand for both."""

        def told(c: Captured) -> list[Any]:
            numbers = [n.name if type(n) is Traced else repr(n) for n in c.numbers]
            results = [(k, x.place if isinstance(x, Source) else x.name if type(x) is Traced else x)
                       for k, x in c.results]  # fmt: skip
            made = [x.place if isinstance(x, Source) else x for x in c.made]
            return [c.key, made, [s.place for s in c.inputs], numbers, [e.place for e in c.effects], results, c.result,
                    c.trace.lines, c.types, c.structure]  # fmt: skip

        return told(self) == told(other)


class NotCaptured(Exception):
    """Why a call cannot be replayed.

    `again`: the next call may be another matter; `place`: of a number that is to be followed then.
    """

    def __init__(self, why: str, again: bool = False, place: Any = None) -> None:
        super().__init__(why)
        self.again, self.place = again, place


@dataclass(frozen=True, eq=False, slots=True)
class _Counted:
    """Step counts of optimizers that were equal at the start: they stay equal."""

    name: str
    after: tuple[Value, int]
    following: Any  # the count after the step, followed
    tensors: list[Tensor]


class Capture:
    """The watch over one call; `Mode.capture` while it is on."""

    def __init__(
        self, function: Callable[..., Any], leaves: list[Any], structure: Structure, varying: set[Any]
    ) -> None:
        flush()
        objects = [(x, f"argument {k}") for k, x in enumerate(leaves) if not isinstance(x, PLAIN)]
        self.state = State(function, objects)
        self.function, self.leaves, self.structure = function, leaves, structure
        self.trace = Trace()
        self.broken = ""
        self.lates: list[Value] = []
        self.shown: dict[Storage, Tensor] = {}  # of new tensors that are left behind or returned
        self.counted: dict[int, _Counted] = {}
        self.before: dict[int, tuple[Tensor, Value, Storage | None, int, bool]] = {}
        self.sources: dict[int, Source] = {}
        self._look()
        self.varying: dict[Any, tuple[Slot, Traced]] = {}
        self.given = list(leaves)
        self.traced_leaves: set[int] = set()
        for k, x in enumerate(leaves):
            if type(x) is float or type(x) is int and ("leaf", k) in varying:
                self.traced_leaves.add(k)
                self.given[k] = self.trace.compute(f"a{k}", x, f"argument {k}")
        self._follow(varying)
        self.start = input_value(Type(f32, ()), None).serial

    def _look(self) -> None:
        """The values of all tensors in reach, known before the call."""
        positions = {id(x): k for k, x in enumerate(self.leaves) if isinstance(x, Tensor)}
        for tensor, words in self.state.tensors.values():
            value = known(tensor.value)
            storage = tensor._storage
            if storage is not None and storage.shared:
                raise NotCaptured(f"{words} shares its memory with NumPy")
            if value.tape is not None and value.tape.leaf is None and id(tensor) not in positions:
                raise NotCaptured(f"{words} has a history: detach it")
            self.before[id(tensor)] = (tensor, value, storage, 0 if storage is None else storage.version,
                                       value.tape is not None)  # fmt: skip
            at = positions.get(id(tensor))
            source = Source("tensor", tensor) if at is None else Source("argument", at)
            self.sources.setdefault(id(value), source)
            if storage is not None:
                base = known(storage.value)
                self.sources.setdefault(id(base), Source("storage", tensor))
        for slot in self.state.slots:
            if slot.kind == "grad":
                slot.key = positions.get(id(slot.container))
        for slot in self.state.slots:  # a gradient is another tensor at each call
            if slot.kind == "grad" and isinstance(slot.held, Tensor):
                self.sources[id(slot.held.value)] = Source("slot", slot)

    def _follow(self, varying: set[Any]) -> None:
        lr = {(id(g), "lr") for o in self.state.optimizers for g in o.param_groups}
        streams = {(id(vars(g)), k) for g in self.state.generators for k in ("seed_", "offset")}
        for slot in self.state.slots:
            if type(slot.held) not in (int, float):
                continue
            where = (id(slot.container), slot.key) if isinstance(slot.key, str) else None
            if slot.place in varying or where in lr or where in streams:
                traced = self.trace.compute(f"s{len(self.varying)}", slot.held, slot.words)
                self.varying[slot.place] = (slot, traced)
                slot.set(traced)

    # ---- told while the function runs

    def demanded(self, value: Value) -> None:
        """An element is wanted before the end: from here on nothing is watched."""
        place = resolve(value.span)
        self.stop("it reads elements of a tensor before its end" + (f", of the one made at {place}" if place else ""))

    def stop(self, why: str) -> None:
        Mode.capture = None
        self.broken = self.broken or why
        self.trace.on = False
        self.restore()

    def restore(self) -> None:
        for slot, traced in self.varying.values():
            if slot.get() is traced:
                slot.set(slot.held)

    def late(self, tensor: Tensor) -> Traced:
        """`tensor.item()`: a number known when the kernels ran."""
        value = tensor.value
        self.lates.append(value)
        kind = bool if value.dtype.category == 0 else float if value.dtype.is_float else int

        def number() -> Any:
            known(value)
            return Tensor(value).item()

        return self.trace.late(f"o{len(self.lates) - 1}", number, kind, "an element of a result")

    def count(self, step: Tensor, plain: Callable[[int], tuple[Value, int]]) -> Any:
        """One more step of an optimizer for the parameter whose state has `step`."""
        have = step.__dict__.get("_known")
        if have is None or have[0] is not step._value or step._storage is not None:
            self.stop("the step count of an optimizer's state was set by hand")
            return None
        if any(have is group.after for group in self.counted.values()):
            self.stop("an optimizer takes more than one step")
            return None
        group = self.counted.get(have[1])
        if group is None:
            name = f"k{len(self.counted)}"
            traced = self.trace.compute(f"{name}[1]", have[1], "an optimizer's step count")
            group = self.counted[have[1]] = _Counted(name, plain(have[1] + 1), traced + 1, [])
        group.tensors.append(step)
        after, following = group.after, group.following
        step._value, step.__dict__["_known"] = after[0], after
        return following

    # ---- the call

    def run(self) -> tuple[Any, Captured]:
        args, kwargs = build(self.structure, iter(self.given))
        Mode.capture = self
        try:
            with _watched_output(self):
                result = self.function(*args, **kwargs)
        except BaseException:
            self.stop("it raised an error")
            raise
        finally:
            Mode.capture = None
        if self.broken:
            raise _Done(_plain_result(result), NotCaptured(self.broken))
        try:
            return self._finish(result)
        except NotCaptured as why:
            self.trace.on = False
            self._settle()
            raise _Done(_plain_result(result), why) from None

    def _settle(self) -> None:
        """No traced number stays in the program's state."""
        for slot in self.state.slots:
            now = slot.get()
            if type(now) is Traced:
                slot.set(
                    slot.held if (slot.place in self.varying and self.varying[slot.place][1] is now) else now.plain()
                )

    def _finish(self, result: Any) -> tuple[Any, Captured]:
        captured = Captured(self.state, self.leaves, self.structure, self.trace,
                            {place: slot for place, (slot, _) in self.varying.items()}, self.traced_leaves)  # fmt: skip
        captured.counts = [(g.name, g.tensors) for g in self.counted.values()]
        wanted: dict[Value, int] = {}

        def want(value: Value) -> int:
            return wanted.setdefault(value, len(wanted))

        for value in self.lates:
            want(value)
        self._tensors(captured, want)
        self._slots(captured, want)
        leaves: list[Any] = []
        captured.result = flatten(result, leaves)
        captured.results = [self._result(x, want) for x in leaves]
        values = list(wanted)
        captured.types = [v.type for v in values]
        self.trace.on = False
        self._settle()
        self._program(captured, values)
        return _plain_result(result), captured

    def _tensors(self, captured: Captured, want: Callable[[Value], int]) -> None:
        counted = {id(t) for g in self.counted.values() for t in g.tensors}
        done: set[int] = set()
        for tensor, before, storage, version, required in self.before.values():
            if id(tensor) in counted:
                continue
            if tensor._storage is not storage and storage is not None:
                raise NotCaptured("it gives a tensor another storage")
            if (tensor.value.tape is not None) != required:
                raise NotCaptured("it changes whether a tensor requires a gradient", again=True)
            if tensor.value is before or tensor._storage is not None and id(tensor._storage) in done:
                continue
            source = self.sources[id(before)]
            if source.kind == "slot" or tensor._chain:
                source = Source("tensor", tensor)
            value, steps = tensor._value, 0
            if tensor._storage is not None:
                done.add(id(tensor._storage))
                value, steps = tensor._storage.value, tensor._storage.version - version
            captured.effects.append(Effect("assign", source, want(value), steps))
        for group in self.counted.values():
            captured.effects.append(Effect("count", tuple(group.tensors), group.name))

    def _slots(self, captured: Captured, want: Callable[[Value], int]) -> None:
        for container, size, words in self.state.sizes:
            if len(container) != size:
                raise NotCaptured(f"it adds to or takes from {words}", again=True)
        for slot in self.state.slots:
            now = slot.get()
            if now is slot.held:
                continue
            if type(now) is Traced:
                found = self.varying.get(slot.place)
                if found is None or found[1] is not now:
                    captured.effects.append(Effect("number", slot, now))
            elif isinstance(now, Tensor):
                if id(now) in self.before:
                    raise NotCaptured(f"it puts a tensor that stood before into {slot.words}")
                self._own(now)
                if isinstance(slot.held, Tensor):
                    self.sources[id(self.before[id(slot.held)][1])] = Source("slot", slot)
                captured.effects.append(Effect("tensor", slot, want(now.value), 0, _history(now.value)))
            elif isinstance(now, PLAIN):
                if type(now) in (int, float) and type(slot.held) is type(now):
                    raise NotCaptured(f"it changes the number {slot.words}", True, slot.place)
                captured.effects.append(Effect("plain", slot, now))
            else:
                raise NotCaptured(f"it puts another object into {slot.words}", again=True)

    def _own(self, tensor: Tensor) -> None:
        """A new tensor, which shares no elements with one that stood before."""
        storage = tensor._storage
        if storage is None:
            return
        if self.shown.setdefault(storage, tensor) is not tensor or any(
            s is storage for _, _, s, _, _ in self.before.values()
        ):
            raise NotCaptured("it leaves behind or returns a view of another tensor")

    def _result(self, x: Any, want: Callable[[Value], int]) -> tuple[str, Any]:
        if type(x) is Traced:
            return "number", x
        if isinstance(x, Tensor):
            if id(x) in self.before:
                value = self.before[id(x)][1]
                source = self.sources[id(value)]
                return "known", source if source.kind == "argument" else Source("tensor", x)
            self._own(x)
            return "made", (want(x.value), _history(x.value), x._layout)
        if isinstance(x, PLAIN):
            return "plain", x
        raise NotCaptured(f"it returns a {type(x).__name__}")

    # ---- what is computed

    def _program(self, captured: Captured, values: list[Value]) -> None:
        pending = [v for v in values if v.data is None]
        number = {v: k for k, v in enumerate(pending)}
        captured.made = [number[v] if v in number else self._source(v) for v in values]
        order, place, key = dispatch.linearize(pending)
        captured.key = (*key, -3, *[place[v] for v in pending])
        for value in order:
            if value.data is None:
                continue
            if value.is_number:
                captured.numbers.append(value.data)
                if type(value.data) is Traced:
                    value.data = value.data.plain()
            else:
                captured.inputs.append(self._source(value))
        if any(_history(v) == "open" for v in values):
            captured.template = self._template(order, place, pending)
            return
        self._no_history(order)
        captured.plan = dispatch.prepare(pending)
        dispatch.realize(pending)
        for value in pending:
            release(value)

    def _source(self, value: Value) -> Source:
        found = self.sources.get(id(value))
        if found is not None:
            return found
        if value.serial > self.start:
            return Source("constant", value)
        raise NotCaptured("it reads a tensor that it reaches in a way that cannot be watched")

    def _no_history(self, order: Sequence[Value]) -> None:
        if any(v.data is not None and v.tape is not None and v.tape.leaf is None for v in order):
            raise NotCaptured("a tensor that it is given has a history of its own")
        for array, words in self.state.arrays:
            if array.size > LARGEST_ARRAY:
                raise NotCaptured(f"it reaches {words}, a NumPy array of {array.size} elements")

    def _template(self, order: Sequence[Value], place: dict[Value, int], values: Sequence[Value]) -> list[Any]:
        """The recording itself, for results that a later backward goes through."""
        steps: list[Any] = []
        for value in order:
            if value.data is not None:
                steps.append((None, (), None, value.type) if value.is_number else None)
                continue
            tape = value.tape
            if tape is not None and (
                tape.function is not None or tape.hooks or tape.packed or tape.retain or tape.root
            ):
                raise NotCaptured("a custom Function or a hook stands between its arguments and its results")
            steps.append((value.op, tuple(place[a] for a in value.args), value.signature, value.type, value.span,
                          tape is not None))  # fmt: skip
        return [steps, [place[v] for v in values]]


def _history(value: Value) -> str:
    """ "": none; "leaf"; "open": a backward may go through it; else the name of the node that one went through."""
    if value.tape is None:
        return ""
    if value.tape.leaf is not None:
        return "leaf"
    return "spent " + node_name(value) if value.tape.freed else "open"


class _Done(Exception):
    """The call was made, and cannot be replayed."""

    def __init__(self, result: Any, why: NotCaptured) -> None:
        super().__init__(str(why))
        self.result, self.why = result, why


def _plain_result(result: Any) -> Any:
    leaves: list[Any] = []
    structure = flatten(result, leaves)
    if not any(type(x) is Traced for x in leaves):
        return result
    return build(structure, iter([x.value() if type(x) is Traced else x for x in leaves]))


class _Output:
    """Standard output, which tells that something was written."""

    def __init__(self, stream: Any, capture: Capture) -> None:
        self._stream, self._capture = stream, capture

    def write(self, text: str) -> Any:
        if Mode.capture is self._capture:
            self._capture.stop("it prints")
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _watched_output(capture: Capture) -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Output(streams[0], capture), _Output(streams[1], capture)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def call(
    function: Callable[..., Any], leaves: list[Any], structure: Structure, varying: set[Any]
) -> tuple[Any, Captured | NotCaptured]:  # fmt: skip
    """Call the function once, watched; its result, and what a replay needs or why there is none."""
    try:
        capture = Capture(function, leaves, structure, varying)
    except (NotCaptured, Unwatchable) as why:
        args, kwargs = build(structure, iter(leaves))
        again = isinstance(why, NotCaptured) and why.again
        return function(*args, **kwargs), NotCaptured(str(why), again)
    try:
        return capture.run()
    except _Done as done:
        return done.result, done.why

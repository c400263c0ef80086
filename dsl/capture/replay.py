"""A captured call done again: conditions checked, one program run, what the call leaves behind put in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from tdsl.capture.arguments import LEAF, build
from tdsl.capture.numbers import Traced
from tdsl.capture.record import Captured, Effect, Source
from tdsl.capture.state import PLAIN, Slot
from tdsl.compiler.graph import Type, Value
from tdsl.elementwise import Defaults
from tdsl.optim.optimizer import counted
from tdsl.recording import Mode, Storage, Tape, hold, known
from tdsl.runtime import dispatch
from tdsl.runtime.buffer import Buffer, free
from tdsl.tensor import Tensor, _Holder, superseded

_INLINE = (bool, int, str, bytes, type(None))


def environment() -> tuple[Any, ...]:
    """What a call turns on besides its arguments and what the function reaches."""
    return Mode.grad, Mode.inference, Mode.anomaly, Defaults.dtype


class _Code:
    """The function that checks a capture's conditions and finds its inputs, as generated Python."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.names: dict[str, Any] = {"Tensor": Tensor, "environment": environment, "same": _same_arrays}
        self.told: list[str] = []
        self.lines: list[str] = []
        self._bound: dict[int, str] = {}
        self.positions = {id(x): k for k, x in reversed(list(enumerate(captured.leaves))) if isinstance(x, Tensor)}

    def bind(self, x: Any) -> str:
        """A name for an object."""
        found = self._bound.get(id(x))
        if found is None:
            at = self.positions.get(id(x))
            found = self._bound[id(x)] = f"c{len(self._bound)}" if at is None else f"a{at}"
            if at is None:
                self.names[found] = x
        return found

    def check(self, condition: str, told: str) -> None:
        self.lines.append(f"if not ({condition}): return {len(self.told)}")
        self.told.append(told)

    def slot(self, slot: Slot) -> str:
        key = repr(slot.key) if isinstance(slot.key, str | int) else self.bind(slot.key) if slot.kind == "item" else ""
        return slot.text(self.bind(slot.container), key)

    def source(self, source: Source) -> str:
        if source.kind == "argument":
            return f"a{source.at}.value"
        if source.kind == "slot":
            return f"{self.slot(source.at)}.value"
        if source.kind == "constant":
            return self.bind(source.at)
        return f"{self.bind(source.at)}.value" if source.kind == "tensor" else f"{self.bind(source.at)}._storage.value"

    def text(self) -> str:
        c = self.captured
        self._environment()
        self._leaves()
        self._slots()
        self._followed()
        offset = len(self.told)
        for line in c.trace.lines:
            head, mark, number = line.partition(": return ")
            self.lines.append(f"{head}: return {int(number) + offset}" if mark else line)
        self.told += c.trace.told
        numbers = ", ".join(n.name if type(n) is Traced else self._number(n) for n in c.numbers)
        left = ", ".join(e.what.name for e in c.effects if e.kind == "number")
        results = ", ".join(x.name for kind, x in c.results if kind == "number" and not x.late_)
        inputs = ", ".join(map(self.source, c.inputs))
        given = ", ".join(self.source(x) for x in c.made if isinstance(x, Source))
        self.lines.append(f"return [{inputs}], [{numbers}], [{left}], [{results}], [{given}]")
        body = "\n    ".join(self.lines)
        return f"def conditions(leaves):\n    {body}\n"

    def _number(self, x: Any) -> str:
        return repr(x) if type(x) in (bool, int) else self.bind(x) if x != x or abs(x) == float("inf") else repr(x)

    def _environment(self) -> None:
        self.names["expected"] = environment()
        self.check("environment() == expected", "grad mode, inference mode, anomaly detection or the default dtype")

    def _leaves(self) -> None:
        c = self.captured
        if c.leaves:
            self.lines.append("".join(f"a{k}, " for k in range(len(c.leaves))) + "= leaves")
        moved = self._moved_storages()
        for k, x in enumerate(c.leaves):
            if isinstance(x, Tensor):
                self._leaf(k, x, moved)
            elif k in c.traced_leaves:
                self.check(f"type(a{k}) is {type(x).__name__}", f"argument {k} was a {type(x).__name__}")
            elif isinstance(x, PLAIN):
                self._equal(f"a{k}", x, f"argument {k}", ("leaf", k))
            else:
                self.check(f"a{k} is {self.bind(x)}", f"argument {k} was another object")

    def _moved_storages(self) -> set[int]:
        """Storages that the call changes: an argument must not be a view of one unless it was."""
        found = {}
        for e in self.captured.effects:
            if e.kind == "assign" and e.where.kind == "tensor" and e.where.at._storage is not None:
                found[id(e.where.at._storage)] = e.where.at._storage
        self.names["moved"] = set(found.values())
        return set(found)

    def _leaf(self, k: int, x: Tensor, moved: set[int]) -> None:
        first = self.positions[id(x)]
        name, told = f"a{k}", f"argument {k}"
        if first != k:
            self.check(f"{name} is a{first}", f"{told} was argument {first}")
            return
        if id(x) in self.captured.state.tensors and any(s.held is x for s in self.captured.state.slots):
            self.check(f"{name} is {self._other(x)}", f"{told} was a tensor that the function reaches")
        self.names[f"T{k}"], self.names[f"C{k}"], self.names[f"L{k}"] = x._value.type, type(x), x._layout
        self.check(f"{name}.__class__ is C{k} and {name}._value.type is T{k}",
                   f"argument {k} was {x._value.type}")  # fmt: skip
        self.check(f"{name}._layout == L{k}", f"{told} had other strides")
        tape = x.value.tape
        leaf = "is None" if tape is None else "is not None"
        self.check(
            f"{name}.value.tape {leaf}", f"{told} {'did not require' if tape is None else 'required'} a gradient"
        )
        if tape is not None:
            other = "is None" if tape.leaf is None else "is not None"
            self.check(f"{name}.value.tape.leaf {other}", f"{told} had another history")
        if moved or any(e.kind == "assign" and e.where.kind == "argument" for e in self.captured.effects):
            within = id(x._storage) in moved
            self.check(f"({name}._storage in moved) is {within}", f"{told} was a view of another tensor")
            for j in range(k):
                y = self.captured.leaves[j]
                if isinstance(y, Tensor):
                    same = x._storage is not None and x._storage is y._storage
                    self.check(f"({name}._storage is not None and {name}._storage is a{j}._storage) is {same}",
                               f"arguments {j} and {k} were views of one tensor")  # fmt: skip

    def _other(self, x: Tensor) -> str:
        name = f"o{len(self.names)}"
        self.names[name] = x
        return name

    def _equal(self, text: str, x: Any, words: str, place: Any) -> None:
        told = f"{words} was {x!r}" if len(repr(x)) < 60 else f"{words} was another"
        self.places[len(self.told)] = place
        if isinstance(x, bool) or x is None:
            self.check(f"{text} is {x!r}", told)
        elif type(x) in (int, str):
            self.check(f"{text} == {x!r} and {text}.__class__ is {type(x).__name__}", told)
        else:
            self.check(f"same({text}, {self.bind(x)})", told)

    places: dict[int, Any]

    def _slots(self) -> None:
        c = self.captured
        for container, size, words in c.state.sizes:
            if size:
                self.check(f"len({self.bind(container)}) == {size}", f"{words} had {size} entries")
        empty = [(self.bind(container), words) for container, size, words in c.state.sizes if not size]
        if empty:
            told = ", ".join(dict.fromkeys(words for _, words in empty[:40]))
            self.check(f"not ({' or '.join(name for name, _ in empty)})", f"one of these was empty: {told}")
        for array, words in c.state.arrays:
            self.names[f"A{id(array)}"] = array.copy()
            self.check(f"same({self.bind(array)}, A{id(array)})", f"the array {words} held other elements")
        replaced = {e.where.place for e in c.effects if e.kind == "tensor"}
        for slot in c.state.slots:
            if slot.place in c.varying:
                continue
            text = self.slot(slot)
            if slot.kind == "grad" and isinstance(slot.held, Tensor) or slot.place in replaced:
                self._kind(text, slot)
            elif isinstance(slot.held, PLAIN):
                self._equal(text, slot.held, slot.words, slot.place)
            else:
                self.places[len(self.told)] = slot.place
                self.check(f"{text} is {self.bind(slot.held)}", f"{slot.words} was another object")

    def _kind(self, text: str, slot: Slot) -> None:
        """The slot holds a tensor of the same type, whichever it is."""
        held = slot.held
        if not isinstance(held, Tensor):
            self._equal(text, held, slot.words, slot.place)
            return
        name = f"G{len(self.told)}"
        self.names[name] = held._value.type
        self.check(f"{text} is not None and {text}._value.type is {name}", f"{slot.words} was {held._value.type}")

    def _followed(self) -> None:
        c = self.captured
        for k, slot in enumerate(c.varying.values()):
            kind = type(slot.held).__name__
            self.lines.append(f"s{k} = {self.slot(slot)}")
            self.check(f"s{k}.__class__ is {kind}", f"{slot.words} was a {kind}")
        for name, tensors in c.counts:
            first = self.bind(tensors[0])
            self.lines.append(f'{name} = {first}.__dict__.get("_known")')
            self.check(f"{name} is not None", "the step count of an optimizer was not set by hand")
            for t in map(self.bind, tensors):
                self.check(f'{t}.__dict__["_known"] is {name} and {t}._value is {name}[0]',
                           "the step counts of an optimizer were equal")  # fmt: skip


def _same_arrays(a: Any, b: Any) -> bool:
    if isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and (a == b or a != a and b != b)


class Replay:
    """A capture, ready to be done again."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.confirmed = False
        code = _Code(captured)
        code.places = {}
        self.text = code.text()
        space = dict(code.names)
        exec(compile(self.text, "<conditions of a capture>", "exec"), space)  # our own text, of checked names
        self.conditions: Callable[[list[Any]], Any] = space["conditions"]
        self.told, self.places = code.told, code.places
        self.plan, self.template = captured.plan, captured.template
        self.places_of = [None if isinstance(x, Source) else x for x in captured.made]
        self.types = captured.types
        self.spares: list[Buffer | None] = [] if self.plan is None else [None] * len(self.plan.made)
        self.spare_of: dict[int, int] = {}  # the wanted value whose bytes each of the plan's outputs becomes
        if self.plan is not None and not any(isinstance(x, Source) for x in captured.made):
            where = {slot: k for k, slot in enumerate(self.plan.made)}
            self.spare_of = {k: where[slot] for k, slot in enumerate(self.plan.program.outputs) if slot in where}
        self.effects = [self._effect(e) for e in captured.effects]
        self.single = captured.results[0] if captured.result is LEAF and captured.results[0][0] == "made" else None

    def why_not(self, found: int) -> tuple[str, Any]:
        """What a failed condition is about, and the place whose value it compared."""
        return self.told[found], self.places.get(found)

    def run(self, found: Any, leaves: list[Any]) -> tuple[bool, Any]:
        """(whether it was done, the result)."""
        inputs, numbers, left, answers, given = found
        if self.plan is not None:
            buffers = [v.data for v in inputs]
            if None in buffers or dispatch.Failure in map(type, buffers):
                buffers = [known(v).data for v in inputs]
            del inputs, found
            results = dispatch.run_plan(self.plan, buffers, numbers, self.spares)
            del buffers
            if results is None:
                return False, None
            made: list[Any] = list(results)
            self.spares = [None] * len(self.spares)
        else:
            made = self._recorded(inputs, numbers)
        if given:
            supply = iter(given)
            values = [next(supply) if k is None else made[k] for k in self.places_of]
        else:
            values = made
        numbers_left = iter(left)
        for effect in self.effects:
            effect(values, leaves, numbers_left)
        return True, self._result(values, leaves, answers)

    def _recorded(self, inputs: Sequence[Value], numbers: Sequence[Any]) -> list[Value]:
        """The recording made again, on the tape where it was."""
        assert self.template is not None
        steps, outputs = self.template
        made: list[Value] = []
        given, supply = iter(inputs), iter(numbers)
        for step in steps:
            if step is None:
                made.append(next(given))
                continue
            if step[0] is None:
                made.append(Value(None, (), None, step[3], None, next(supply)))
                continue
            op, args, signature, type_, span, on_tape = step
            value = Value(op, tuple([made[k] for k in args]), signature, type_, span)
            if on_tape:
                value.tape = Tape()
            made.append(value)
        Mode.recorded += len(steps)
        return [made[k] for k in outputs]

    # ---- what is left behind

    def _effect(self, effect: Effect) -> Callable[[list[Any], list[Any], Any], None]:
        where, what, versions, history = effect.where, effect.what, effect.versions, effect.history
        if effect.kind == "number":
            return lambda values, leaves, numbers: _put(where, leaves, next(numbers))
        if effect.kind == "plain":
            return lambda values, leaves, numbers: _put(where, leaves, what)
        if effect.kind == "count":
            return lambda values, leaves, numbers: _count(where)
        type_, spare = self.types[what], self.spare_of.get(what)
        if effect.kind == "tensor":
            return lambda values, leaves, numbers: _put(where, leaves, _tensor(values[what], type_, history))

        def assign(values: list[Any], leaves: list[Any], numbers: Any) -> None:
            tensor = leaves[where.at] if where.kind == "argument" else where.at
            old = _assign(tensor, values[what], type_, versions)
            if spare is not None and old is not None and free(old, 1):
                self.spares[spare] = old

        return assign

    def _late(self, values: list[Any], number: Traced) -> Any:
        k = int(number.name[1:])
        return Tensor(_value(values[k], self.types[k])).item()

    def _result(self, values: list[Any], leaves: list[Any], answers: Sequence[Any]) -> Any:
        if self.single is not None:
            k, history, layout = self.single[1]
            return _tensor(values[k], self.types[k], history, layout)
        plain_numbers = iter(answers)
        found: list[Any] = []
        for kind, x in self.captured.results:
            if kind == "made":
                found.append(_tensor(values[x[0]], self.types[x[0]], x[1], x[2]))
            elif kind == "known":
                found.append(leaves[x.at] if x.kind == "argument" else x.at)
            elif kind == "number":
                found.append(self._late(values, x) if x.late_ else next(plain_numbers))
            else:
                found.append(x)
        return build(self.captured.result, iter(found))


def _put(slot: Slot, leaves: list[Any], x: Any) -> None:
    if slot.kind == "grad" and isinstance(slot.key, int):
        leaves[slot.key]._grad = x
    else:
        slot.set(x)


def _value(made: Buffer | Value, type_: Type) -> Value:
    """A value of its own, for what a program made or a call was given."""
    if made.__class__ is Buffer:
        return Value(None, (), None, type_, None, made)
    if made.op is None and made.owner is not None:  # type: ignore[union-attr]
        return Value(None, (), None, type_, None, made.data)  # type: ignore[union-attr]
    return made  # type: ignore[return-value]


def _tensor(made: Buffer | Value, type_: Type, history: str, layout: Any = None) -> Tensor:
    value = _value(made, type_)
    result = Tensor(value)
    if layout is not None:
        result._layout = layout
    if history and value.tape is None:
        if history == "leaf":
            result.requires_grad_()
        elif history != "open":
            value.tape = Tape()
            value.tape.freed, value.tape.name = "used", history[6:]
    return result


def _assign(tensor: Tensor, made: Buffer | Value, type_: Type, versions: int) -> Buffer | None:
    """Put a new value in a tensor's place, and in that of its storage where it has one. The bytes it had, if the
    value that nobody else holds was given the new ones."""
    storage = tensor._storage
    if storage is None and versions:
        storage = tensor.storage()
    if made.__class__ is Buffer:
        old = tensor._value
        if storage is None and getrefcount(old) == 3:
            bytes_, old.data = old.data, made
            return bytes_  # type: ignore[no-any-return]
        if storage is not None and storage.value is old and not tensor._chain and getrefcount(old) == 4:
            bytes_, old.data = old.data, made
            storage.changes += 1
            storage.version += versions
            tensor._seen = storage.changes
            return bytes_  # type: ignore[no-any-return]
    _replace(tensor, storage, _value(made, type_), versions)
    return None


def _replace(tensor: Tensor, storage: Storage | None, value: Value, versions: int) -> None:
    if storage is None:
        value.tape = tensor._value.tape if value.tape is None else value.tape
        tensor._value = value
        if value.data is None:
            hold(tensor)
        return
    old = storage.value
    superseded[old] = (storage, storage.version)
    if old.tape is not None and old.tape.leaf is not None and value.tape is None:
        value.tape = old.tape
    storage.value = value
    storage.changes += 1
    storage.version += versions
    if not tensor._chain:
        tensor._value, tensor._seen = value, storage.changes
    if value.data is None:
        hold(_Holder(storage))


def _count(tensors: Sequence[Tensor]) -> None:
    after = counted(tensors[0].__dict__["_known"][1] + 1)
    for t in tensors:
        t._value = after[0]
        t.__dict__["_known"] = after

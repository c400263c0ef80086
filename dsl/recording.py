"""What is recorded and not yet run, grad mode, and where in the user's program an op stands.

Every op makes a Value at once and its bytes later. A demand runs all that is pending and still held, in one
program (`flush`).
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import tdsl.compiler.ops  # noqa: F401  fills the op table
from tdsl.compiler.graph import (
    OPS,
    InSingle,
    Signature,
    Value,
    apply_exactly,
    forget_signatures,
    in_single,
)
from tdsl.compiler.source import RawSpan, Span
from tdsl.runtime import dispatch

if TYPE_CHECKING:
    from types import CodeType

LIMIT = 2000  # recorded ops after which what is pending is run
SIGNATURES = 50_000  # combinations of op, attrs and shapes remembered

# The place in a .tdsl script that runs now; the interpreter assigns the only element.
script_span: list[Span | None] = [None]


class _Mode(threading.local):
    """Grad mode, what is recorded and not yet run, and what the engine watches while it applies a rule.

    Each thread has its own, as in PyTorch; what `everywhere` sets holds for all of them.
    """

    grad = True
    recorded = 0
    watch: Callable[[tuple[Value, ...]], None] | None = None  # told the args of each op recorded
    hidden: Callable[[Value], bool] | None = None  # whether a value has no bytes yet to be made of (`func/standins.py`)
    assigning: Callable[[Value, Value], None] | None = None  # told a storage's value and what replaces it
    capture: Any = None  # the watch over a call that is to be replayed (`capture/record.py`)
    transforms = 0  # transforms of functions that are at work
    inference = False
    inferred: weakref.WeakSet[Value] | None = None  # values made in inference mode; None: it was never on
    check_saved: Callable[[Value], None] | None = None  # told each value on the tape once inference mode was on
    packing: Callable[[Value], None] | None = None  # hands what is saved for a value's backward to hooks
    recompute = False  # what is recorded is computed again for a backward rather than kept
    anomaly = False
    check_nan = True

    def __init__(self) -> None:
        """Called in each thread that looks here first."""
        self.pending: list[weakref.ref[Any]] = []
        self.backwards: list[Any] = []  # the runs of the engine that are under way
        self.saving: list[Any] = []  # the saved_tensors_hooks that are on
        self.traces: list[Any] = []  # recordings that stand for every element of a batch

    @classmethod
    def everywhere(cls, **values: Any) -> None:
        """Set for every thread that has set nothing of its own."""
        for name, value in values.items():
            setattr(cls, name, staticmethod(value) if isinstance(value, FunctionType) else value)


Mode = _Mode()


class NeedsValue(Exception):
    """The bytes of a value were demanded that has none: it stands for every element of a batch."""


class Storage:
    """What a tensor and its views share: the base's value now, and how often it was changed in place."""

    __slots__ = ("value", "version", "changes", "shared", "__weakref__")

    def __init__(self, value: Value) -> None:
        self.value = value
        self.version = 0  # PyTorch's counter
        self.changes = 0  # the same, with changes through `.data`
        self.shared = False  # NumPy or DLPack sees the bytes


class Tape:
    """What autograd keeps of a value into which a gradient flows.

    leaf       the tensor whose `.grad` takes the gradient (weak), None for what an op made.
    versions   (storage, version) of each arg when the op was recorded; None for args without a storage.
    freed      a backward without retain_graph has been through: "" no, "used" and it used saved values.
    """

    __slots__ = ("leaf", "versions", "freed", "hooks", "retain", "post", "function", "name", "output", "root", "before",
                 "after", "node", "packed", "recompute")  # fmt: skip

    def __init__(self, leaf: Any = None) -> None:
        self.leaf: Any = leaf
        self.versions: tuple[tuple[Storage, int] | None, ...] = ()
        self.freed = ""
        self.hooks: dict[int, Callable[[Any], Any]] | None = None
        self.retain: Any = None
        self.post: dict[int, Callable[[Any], Any]] | None = None
        self.function: Any = None  # a custom Function's node
        self.name: str | None = None
        self.output = 0
        self.root: Any = None  # keeps the node
        self.before: dict[int, Callable[..., Any]] | None = None  # hooks of the node
        self.after: dict[int, Callable[..., Any]] | None = None
        self.node: Any = None
        self.packed: dict[int, Any] | None = None
        self.recompute = Mode.recompute


# The folders of our code: a frame outside them is the user's.
_OURS = tuple(str(Path(module.__file__ or "").parent) + os.sep for module in (sys.modules["tdsl"], dispatch))


def _resolver(code: CodeType, lasti: int) -> Callable[[], Span | None]:
    def resolve() -> Span | None:
        line = column = end = None
        for k, position in enumerate(code.co_positions()):
            if k == lasti // 2:
                line, _, column, end = position
                break
        if line is None:
            return None
        import linecache

        text = linecache.getline(code.co_filename, line).rstrip("\n")
        first = (column or 0) + 1
        return Span(code.co_filename, line, first, (end or first) + 1 if end is not None else first + 1, text)

    return resolve


def here(depth: int = 2) -> RawSpan:
    """The user's place: the script's, or the first frame outside tdsl, kept as a reference and resolved when shown."""
    span = script_span[0]
    if span is not None:
        return span
    frame = sys._getframe(depth)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    return _Place(frame.f_code, frame.f_lasti)


class _Place:
    """A code position; calling it finds the line."""

    __slots__ = ("code", "lasti")

    def __init__(self, code: CodeType, lasti: int) -> None:
        self.code, self.lasti = code, lasti

    def __call__(self) -> Span | None:
        return _resolver(self.code, self.lasti)()


def record(op: str, *args: Value, **attrs: Any) -> Value:
    """Record an op; its result is on the tape when grad mode is on and an arg is."""
    try:
        value = apply_exactly(OPS[op], *args, span=here(), **attrs)
    except InSingle:
        return in_single(record, OPS[op], args, attrs)
    if Mode.grad and value.type.dtype.is_float:
        for a in args:
            if a.tape is not None:
                value.tape = Tape()
                if Mode.check_saved is not None:
                    Mode.check_saved(value)
                if Mode.packing is not None:
                    Mode.packing(value)
                break
    Mode.recorded += 1
    if Mode.watch is not None:
        Mode.watch(args)
    return value


def hold(tensor: Any) -> None:
    """Remember a tensor whose value is pending."""
    Mode.pending.append(weakref.ref(tensor))
    if Mode.recorded > LIMIT:
        flush()


def flush(extra: Sequence[Value] = ()) -> None:
    """Run everything that this thread has pending and that is still held by somebody."""
    if Mode.capture is not None and not extra:
        return  # a captured call runs as a whole
    Mode.recorded = 0
    if Mode.hidden is not None and any(Mode.hidden(v) for v in extra):
        raise NeedsValue
    wanted: dict[Value, None] = {}
    refs, Mode.pending = Mode.pending, []
    for ref in refs:
        tensor = ref()
        if tensor is None:
            continue
        value = tensor.pending_value()
        if value is not None and value.data is None:
            if Mode.hidden is not None and Mode.hidden(value):
                Mode.pending.append(ref)
            else:
                wanted[value] = None
    wanted.update((v, None) for v in extra if v.data is None)
    if not wanted:
        return
    roots = list(wanted)
    if any(v.tape is not None and v.tape.leaf is None and not v.tape.freed for v in roots):
        _add_saved(roots, wanted)
    values = list(wanted)
    try:
        dispatch.realize(values)
    finally:
        for value in values:
            if value.data is not None:
                release(value)
        if Signature._count > SIGNATURES:
            Signature._count = 0
            forget_signatures()


def release(value: Value) -> None:
    """A known value that no backward needs forgets how it was made."""
    tape = value.tape
    if tape is None or tape.leaf is not None or tape.freed == "used":
        value.op = None
        value.args = ()
        value.signature = None


_CHEAP = frozenset(
    "add sub mul neg abs sign floor ceil round trunc relu where cast eq ne lt le gt ge and or xor not isnan maximum "
    "minimum reshape permute expand full slice constant iota detach copy flip pad as_strided".split()
)


def _add_saved(roots: Sequence[Value], wanted: dict[Value, None]) -> None:
    """What a later backward would have to compute again, dearly: reductions, products, transcendentals."""
    seen: set[Value] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value in seen or value.data is not None or value.op is None:
            continue
        seen.add(value)
        if value.tape is not None and value.op.name not in _CHEAP and not value.tape.recompute:
            wanted[value] = None
        stack.extend(value.args)


def known(value: Value) -> Value:
    """The value with its bytes."""
    if value.data is None:
        if Mode.capture is not None:
            Mode.capture.demanded(value)
        flush((value,))
    data = value.data
    if isinstance(data, dispatch.Failure):
        raise data.error
    return value

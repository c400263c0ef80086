"""Graph IR: what a program did, as SSA values. It is also the autograd tape.

    graph  := (input | node)* return
    input  := %name: type = input
    node   := %name: type = op %arg, ... attr=value ...
    type   := dtype "[" size, ... "]"          f32[32,784]   f32[s0,784]
    size   := integer | symbol                 a symbol (s0, s1, ...) is a size known at run time

A Value is made by `apply` only, which checks shapes and dtypes at once by the op's `infer`. A Value keeps its
args alive. Broadcasting is implicit in elementwise ops; dtype promotion is not: the caller casts.

Invariants, checked by `verify`: args come before uses; each type is what the op's rule infers; sizes are
non-negative; inputs have no op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from tdsl.compiler.dtype import DType, f32
from tdsl.compiler.source import InternalError, RawSpan, TdslError


@dataclass(frozen=True, slots=True)
class Sym:
    """A size that is a run-time argument. Its value is never 0 or 1: those are compiled exactly."""

    name: str

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


Size = int | Sym
Shape = tuple[Size, ...]
Attrs = Mapping[str, Any]


class Type:
    """A dtype and a shape. Interned: equal types are one object, so they compare and hash by identity."""

    __slots__ = ("dtype", "shape")
    dtype: Final[DType]  # type: ignore[misc]
    shape: Final[Shape]  # type: ignore[misc]
    _all: dict[tuple[DType, Shape], Type] = {}

    def __new__(cls, dtype: DType, shape: Shape) -> Type:
        found = cls._all.get((dtype, shape))
        if found is None:
            found = object.__new__(cls)
            found.dtype, found.shape = dtype, shape  # type: ignore[misc]
            found = cls._all.setdefault((dtype, shape), found)
        return found

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"

    __repr__ = __str__

    def __reduce__(self) -> tuple[object, ...]:
        return Type, (self.dtype, self.shape)


# The derivative of an op: a rule; DERIVED from its kernel; or ZERO wherever it exists. Never absent.
ZERO = "zero"
DERIVED = "derived"

# vjp(b, g, y, *args) -> one gradient per arg (None: no gradient). `b("mul", p, q)` builds an op, and takes
# Python numbers as operands; so one elementwise rule serves Graph values and index-notation expressions alike.
Vjp = Callable[..., "tuple[Any, ...]"] | str


@dataclass(frozen=True, eq=False)
class Op:
    """One op, one record: everything the house knows of it.

    infer      (arg types, attrs) -> result type; raises ShapeError or DTypeError with PyTorch's words.
    vjp        the derivative: a rule (see `Vjp`), DERIVED or ZERO.
    kernel     (arg types, result type, attrs) -> `kernel.Kernel`, the op in index notation, its params named
               a0, a1, ... and its result y; or None for a library op.
    library    NumPy function (*arrays, **attrs) -> array, for what has no kernel (sort, LAPACK).
    reference  the judge in tests: NumPy function (*arrays, **attrs) -> array.
    sizes      names of attrs that hold sizes (ints that may become run-time arguments); all other attrs are structure.
    elementwise  the name in `kernel.FUNCTIONS` when the op is that function at every element.
    view       the result is another arrangement of the argument's elements: it costs nothing when read.
    samples    () -> iterable of (args as NumPy arrays, attrs) that tests run forward, gradient, second gradient.
    refuses    () -> iterable of (args, attrs, words of the error).
    outside    the error of a position outside x, in PyTorch's words; None: the kernel's own.
    wraps      negative positions count from the end, unless the attr `wrap` says no.
    """

    name: str
    doc: str
    infer: Callable[[tuple[Type, ...], Attrs], Type]
    vjp: Vjp
    kernel: Callable[[tuple[Type, ...], Type, Attrs], Any] | None = None
    library: Callable[..., Any] | None = None
    reference: Callable[..., Any] | None = None
    sizes: frozenset[str] = frozenset()
    elementwise: str | None = None
    view: bool = False
    samples: Callable[[], Iterable[tuple[tuple[Any, ...], dict[str, Any]]]] = lambda: ()
    refuses: Callable[[], Iterable[tuple[tuple[Any, ...], dict[str, Any], str]]] = lambda: ()
    outside: type[TdslError] | None = None
    wraps: bool = False

    def counts_from_end(self, attrs: Attrs) -> bool:
        return self.wraps and bool(attrs.get("wrap", True))

    def __repr__(self) -> str:
        return f"<op {self.name}>"


OPS: dict[str, Op] = {}


def define(op: Op) -> Op:
    if op.name in OPS:
        raise InternalError(f"op {op.name!r} is defined twice")
    if op.kernel is None and op.library is None and op.elementwise is None:
        raise InternalError(f"op {op.name!r} has neither a kernel nor a library function")
    OPS[op.name] = op
    return op


_numbers = count(1)  # never twice the same, even after signatures are forgotten: programs are remembered by them


class Signature:
    """An op with its attrs, arg types and result type: one interned object for each combination ever seen."""

    __slots__ = ("op", "attrs", "arg_types", "type", "number")
    _count = 0

    def __init__(self, op: Op, attrs: dict[str, Any], arg_types: tuple[Type, ...], type_: Type) -> None:
        self.op, self.attrs, self.arg_types, self.type = op, attrs, arg_types, type_
        Signature._count += 1
        self.number = next(_numbers)


_serials = count()


class Value:
    """One SSA value.

    op         None: an input (its bytes are in `data`), or a run-time number (its Python number is in `data`).
    data       set by the runtime when the value is known: a runtime Buffer. For a number: int, float or bool.
    hint       a name for people (`w`, `l1_weight`), shown by `tdsl ir`.
    tape       set by autograd (`dsl/autograd`); the compiler never reads it. None: no gradient flows into it.
    serial     grows with each value made, so args always have smaller ones.
    owner      weak reference to the Tensor that holds it, set by `dsl/tensor.py`.
    """

    __slots__ = ("op", "args", "signature", "type", "span", "data", "hint", "tape", "owner", "serial", "__weakref__")

    def __init__(
        self,
        op: Op | None,
        args: tuple[Value, ...],
        signature: Signature | None,
        type_: Type,
        span: RawSpan = None,
        data: Any = None,
    ) -> None:
        self.op, self.args, self.signature, self.type, self.span, self.data = op, args, signature, type_, span, data
        self.serial: int = next(_serials)
        self.hint: str | None = None
        self.tape: Any = None
        self.owner: Any = None

    @property
    def attrs(self) -> dict[str, Any]:
        return self.signature.attrs if self.signature is not None else {}

    @property
    def shape(self) -> Shape:
        return self.type.shape

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def is_number(self) -> bool:
        return self.op is None and isinstance(self.data, (bool, int, float))

    def __repr__(self) -> str:
        return f"<{self.op.name if self.op else 'number' if self.is_number else 'input'}: {self.type}>"


def input_value(type_: Type, data: Any = None, hint: str | None = None) -> Value:
    value = Value(None, (), None, type_, None, data)
    value.hint = hint
    return value


def number(value: bool | int | float, dtype: DType) -> Value:
    """A Python number met while recording: a run-time argument of the program, never a constant."""
    return Value(None, (), None, Type(dtype, ()), None, value)


_signatures: dict[tuple[Any, ...], Signature] = {}


def apply(op: str | Op, *args: Value, span: RawSpan = None, **attrs: Any) -> Value:
    """Record `op(*args)`. Attr values are hashable: ints, floats, bools, strings, DTypes, tuples, Definitions."""
    record = OPS[op] if isinstance(op, str) else op
    try:
        return apply_exactly(record, *args, span=span, **attrs)
    except InSingle:
        return in_single(apply, record, args, attrs)


class InSingle(Exception):
    """The op takes no halves: it is computed in single precision."""


# Ops that move elements and compute nothing: halves stay halves.
_MOVING = frozenset(
    "detach copy reshape permute expand full slice slice_update as_strided unfold gather take pad flip roll cat "
    "constant pick pick_put scatter_put bitcast underivable".split()
)


def _single(make: Callable[..., Value], a: Value) -> Value:
    return number(a.data, f32) if a.is_number else make("cast", a, dtype=f32)


def in_single(make: Callable[..., Value], op: Op, args: Sequence[Value], attrs: Attrs) -> Value:
    """The op on halves: its arguments as f32, its result rounded once."""
    halves = [a.type.dtype for a in args if a.type.dtype.is_half]
    half = halves[0] if all(d is halves[0] for d in halves) else f32
    wide = [_single(make, a) if a.type.dtype.is_half else a for a in args]
    told = {k: f32 if isinstance(v, DType) and v.is_half else v for k, v in attrs.items()}
    for name in ("kernel", "block"):
        if name in told:
            told[name] = _widened_kernel(told[name])
    result = make(op.name, *wide, **told)
    wanted = attrs.get("dtype", half)
    if result.type.dtype is not f32 or not isinstance(wanted, DType) or not wanted.is_half:
        return result
    return make("cast", result, dtype=wanted)


_widened_kernel: Callable[[Any], Any] = lambda kernel: kernel  # noqa: E731  `kernel.py` is not known here: see there


def widen_kernels_with(function: Callable[[Any], Any]) -> None:
    global _widened_kernel
    _widened_kernel = function


def _settled(x: Any) -> Any:
    """Attrs are structure: of a number that a recording follows, the number itself."""
    if isinstance(x, tuple) and type(x) is tuple:
        return tuple(_settled(y) for y in x)
    return x.plain() if hasattr(type(x), "plain") else x


def apply_exactly(record: Op, *args: Value, span: RawSpan = None, **attrs: Any) -> Value:
    """`apply`, but for ops that take no halves: InSingle."""
    key = (record, *[a.type for a in args], *attrs.items())
    signature = _signatures.get(key)
    if signature is None:
        types = tuple(a.type for a in args)
        attrs = {name: _settled(x) for name, x in attrs.items()}
        key = (record, *types, *attrs.items())
        if record.elementwise is None and record.name not in _MOVING and any(t.dtype.is_half for t in types):
            raise InSingle
        try:
            result = record.infer(types, attrs)
        except TdslError as error:
            error.raw_span = error.raw_span or span
            raise
        signature = _signatures.setdefault(key, Signature(record, attrs, types, result))
    return Value(record, args, signature, signature.type, span)


def forget_signatures() -> None:
    """Drop what `apply` remembers of shapes seen: the runtime calls this when thousands have been seen."""
    _signatures.clear()


@dataclass(eq=False, slots=True)
class Graph:
    """Inputs and numbers, and the outputs made of them. Nodes are what the outputs reach."""

    inputs: list[Value]
    outputs: list[Value]
    sizes: tuple[Sym, ...] = field(default=())

    def nodes(self) -> list[Value]:
        """Every value with an op, args before uses."""
        return [v for v in postorder(self.outputs, stop=frozenset(self.inputs)) if v.op is not None]


def postorder(outputs: Sequence[Value], stop: frozenset[Value] | set[Value] = frozenset()) -> list[Value]:
    """All values reachable from `outputs`, args before uses, not going past `stop`. No recursion."""
    order: list[Value] = []
    done: set[Value] = set()
    for root in outputs:
        if root in done:
            continue
        stack: list[tuple[Value, int]] = [(root, 0)]
        while stack:
            value, i = stack.pop()
            if value in done:
                continue
            args = () if value in stop else value.args
            while i < len(args) and args[i] in done:
                i += 1
            if i < len(args):
                stack.append((value, i + 1))
                stack.append((args[i], 0))
                continue
            done.add(value)
            order.append(value)
    return order


def verify(graph: Graph) -> None:
    known = set(graph.inputs)
    for value in graph.inputs:
        if value.op is not None:
            raise InternalError(f"graph: input {value!r} has an op")
    for value in postorder(graph.outputs, stop=known):
        if value.op is None:
            if value not in known:
                raise InternalError(f"graph: {value!r} is used but is not an input")
            continue
        want = value.op.infer(tuple(a.type for a in value.args), value.attrs)
        if want is not value.type:
            raise InternalError(f"graph: {value.op.name} has type {value.type}, its rule says {want}", value.span)

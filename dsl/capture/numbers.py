"""Python numbers that may change from call to call: what a captured function computes of them is written down.

A `Traced` number behaves as the number it stands for. Arithmetic on it gives traced numbers again; a decision on it
(`if`, a comparison) and every use that needs the plain number (a shape, `math.sqrt`, formatting) becomes a condition
on which the capture holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

Plain = bool | int | float


class Trace:
    """What is done with traced numbers, as lines of a Python function.

    `lines` compute variables and check conditions; `told[k]` says in words what the k-th condition is about.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.told: list[str] = []
        self.on = True
        self._known: dict[str, Traced] = {}
        self._conditions: set[str] = set()

    def compute(self, expression: str, value: Plain, told: str) -> Traced:
        """A number that each call computes by `expression`: of what the call was given, or of traced numbers."""
        found = self._known.get(expression)
        if found is None:
            name = f"t{len(self._known)}"
            self.lines.append(f"{name} = {expression}")
            found = self._known[expression] = Traced(self, name, lambda: value, type(value), told, False)
        return found

    def late(self, name: str, value: Callable[[], Plain], kind: type, told: str) -> Traced:
        """A number that is known only after the kernels ran: an element of a result."""
        return Traced(self, name, value, kind, told, True)

    def condition(self, expression: str, told: str) -> None:
        """The capture holds only while `expression` is true."""
        if self.on and expression not in self._conditions:
            self._conditions.add(expression)
            self.lines.append(f"if not ({expression}): return {len(self.told)}")
            self.told.append(told)


class Traced:
    """A number that a capture follows. `isinstance(x, float)` (or int) holds for it."""

    __slots__ = ("trace", "name", "value", "kind", "told", "late_")

    def __init__(
        self, trace: Trace, name: str, value: Callable[[], Plain], kind: type, told: str, late: bool
    ) -> None:  # fmt: skip
        self.trace, self.name, self.value, self.kind, self.told, self.late_ = trace, name, value, kind, told, late

    if TYPE_CHECKING:  # `_operators` gives the class these, and more

        def __add__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return self.kind

    def plain(self) -> Plain:
        """The number itself, which the capture then takes to be always this."""
        value = self.value()
        if self.trace.on and not self.late_:
            self.trace.condition(_equals(self.name, value), f"{self.told} was {value!r}")
        return value

    def _operate(self, sign: str, other: Any, reverse: bool, function: Callable[[Any, Any], Any]) -> Any:
        traced = type(other) is Traced
        if not traced and type(other) not in (bool, int, float):
            return NotImplemented
        a, b = self.value(), other.value() if traced else other
        result = function(b, a) if reverse else function(a, b)
        if self.late_ or traced and other.late_:
            return result
        if not self.trace.on:
            return result
        first, second = self.name, other.name if traced else repr(other)
        expression = f"({second} {sign} {first})" if reverse else f"({first} {sign} {second})"
        return self.trace.compute(expression, result, self.told)

    def _compare(self, sign: str, other: Any, function: Callable[[Any, Any], bool]) -> Any:
        traced = type(other) is Traced
        if not traced and type(other) not in (bool, int, float):
            return NotImplemented
        result = function(self.value(), other.value() if traced else other)
        if self.trace.on and not self.late_ and not (traced and other.late_):
            second = other.name if traced else repr(other)
            verdict = "" if result else "not "
            self.trace.condition(f"{verdict}({self.name} {sign} {second})", f"a decision on {self.told}")
        return result

    def __bool__(self) -> bool:
        result = bool(self.value())
        if self.trace.on and not self.late_:
            self.trace.condition(self.name if result else f"not {self.name}", f"a decision on {self.told}")
        return result

    def _one(self, expression: str, result: Plain) -> Any:
        if not self.trace.on or self.late_:
            return result
        return self.trace.compute(expression, result, self.told)

    def __neg__(self) -> Any:
        return self._one(f"(-{self.name})", -self.value())

    def __pos__(self) -> Any:
        return self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __abs__(self) -> Any:
        return self._one(f"abs({self.name})", abs(self.value()))

    def as_float(self) -> Any:
        """`float(x)`, still followed."""
        return self if self.kind is float else self._one(f"float({self.name})", float(self.value()))

    def __eq__(self, other: object) -> Any:
        return self._compare("==", other, lambda a, b: a == b)

    def __ne__(self, other: object) -> Any:
        return self._compare("!=", other, lambda a, b: a != b)

    def __lt__(self, other: Any) -> Any:
        return self._compare("<", other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare("<=", other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(">", other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(">=", other, lambda a, b: a >= b)

    def __hash__(self) -> int:
        return hash(self.plain())

    def __float__(self) -> float:
        return float(self.plain())

    def __int__(self) -> int:
        return int(self.plain())

    def __index__(self) -> int:
        value = self.plain()
        if not isinstance(value, int):
            raise TypeError("'float' object cannot be interpreted as an integer")
        return value

    def __round__(self, digits: int | None = None) -> Any:
        return round(self.plain()) if digits is None else round(self.plain(), digits)

    def __trunc__(self) -> int:
        return math.trunc(self.plain())

    def __floor__(self) -> int:
        return math.floor(self.plain())

    def __ceil__(self) -> int:
        return math.ceil(self.plain())

    def __repr__(self) -> str:
        return repr(self.plain())

    def __str__(self) -> str:
        return str(self.plain())

    def __format__(self, spec: str) -> str:
        return format(self.plain(), spec)

    def __reduce__(self) -> Any:
        return _itself, (self.plain(),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain(), name)


def _itself(x: Plain) -> Plain:
    return x


def _equals(name: str, value: Plain) -> str:
    """The condition that a number is exactly this one; `1`, `1.0` and `True` differ, and `nan` is `nan`."""
    if isinstance(value, float) and math.isnan(value):
        return f"{name} != {name}"
    return f"{name} == {value!r} and {name}.__class__ is {type(value).__name__}"


_SIGNS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "add": ("+", lambda a, b: a + b),
    "sub": ("-", lambda a, b: a - b),
    "mul": ("*", lambda a, b: a * b),
    "truediv": ("/", lambda a, b: a / b),
    "floordiv": ("//", lambda a, b: a // b),
    "mod": ("%", lambda a, b: a % b),
    "pow": ("**", lambda a, b: a**b),
    "and": ("&", lambda a, b: a & b),
    "or": ("|", lambda a, b: a | b),
    "xor": ("^", lambda a, b: a ^ b),
    "lshift": ("<<", lambda a, b: a << b),
    "rshift": (">>", lambda a, b: a >> b),
}


def _operators() -> None:
    for name, (sign, function) in _SIGNS.items():

        def forward(self: Traced, other: Any, sign: str = sign, function: Any = function) -> Any:
            return self._operate(sign, other, False, function)

        def reverse(self: Traced, other: Any, sign: str = sign, function: Any = function) -> Any:
            return self._operate(sign, other, True, function)

        setattr(Traced, f"__{name}__", forward)
        setattr(Traced, f"__r{name}__", reverse)


_operators()


def plain(x: Any) -> Any:
    """x, where it is a traced number the number itself; tuples and lists of them, too."""
    if type(x) is Traced:
        return x.plain()
    if type(x) in (tuple, list):
        return type(x)(plain(y) for y in x)
    return x


def as_float(x: Any) -> Any:
    """`float(x)`; a traced number stays one."""
    return x.as_float() if type(x) is Traced else float(x)

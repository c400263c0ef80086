"""Ranges and bounds of index statements (LANGUAGE 4.6.3, 4.6.4)."""

from __future__ import annotations

import numpy as np
import pytest

from tdsl.compiler.affine import affine, interval, simplify, within
from tdsl.compiler.dtype import f32, i64
from tdsl.compiler.evaluate import evaluate
from tdsl.compiler.graph import Size, Sym
from tdsl.compiler.kernel import (
    Axis,
    Binder,
    Call,
    Const,
    Definition,
    Expr,
    Kernel,
    Read,
    Reduce,
    SizeOf,
    call,
    rewrite,
    walk,
)
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.ranges import OPEN, RangeError, linear, resolve
from tdsl.compiler.source import IRError

SHAPES = "x: f32[10], y2: f32[5], m: f32[3,4], tab: f32[5,2], ids: i64[2,3], one: f32[1], s: f32[s0]"


def kernel(line: str, params: str = SHAPES) -> Kernel:
    return parse(f"kernel k({params}) -> (y):\n  {line}\n")


def reads(k: Kernel, tensor: str) -> list[Read]:
    return [e for e in walk(k.definition("y").expr) if isinstance(e, Read) and e.tensor == tensor]


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("y[i, j] := m[i, j]", (3, 4)),
        ("y[i in 0:2] := x[i]", (2,)),
        ("y[i] := x[i + 2]", (8,)),
        ("y[i] := x[2 * i] + x[2 * i + 1]", (5,)),
        ("y[i] := sum[r in 0:2] x[2 * i + r]", (5,)),
        ("y[i] := sum[r in 0:3] x[2 * i + r]", (4,)),
        ("y[i] := x[i // 2]", (20,)),
        ("y[i] := x[9 - i]", (10,)),
        ("y[i] := sum[k] x[i + k] * y2[k]", (6,)),
        ("y[i] := x[i + 1] + y2[i]", (5,)),
        ("y[i, j] := x[i + 3] * x[j - i else 0.0] * y2[j]", (7, 5)),
        ("y[i] := y2[2 * (i % 2) + i // 4]", (12,)),
        ("y[b, t, d] := tab[ids[b, t], d]", (2, 3, 2)),
        ("y[i] := s[i]", (Sym("s0"),)),
        ("y[i in 0:4] := sum[k in -1:2] x[i + k else 0.0]", (4,)),
        ("y[i] := sum[k in 2:4] x[i + k]", (7,)),
    ],
)
def test_shape(line: str, shape: tuple[Size, ...]) -> None:
    assert kernel(line).definition("y").shape == shape


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("y[i] := x[i] + y2[i]", "E0410", "index `i` has two sizes: 10 in `x[i]` and 5 in `y2[i]`"),
        ("y[i] := x[i] + one[i]", "E0410", "index `i` has two sizes: 10 in `x[i]` and 1 in `one[i]`"),
        (
            "y[i] := sum[k] x[i + k]",
            "E0411",
            "cannot infer the ranges of `i` and `k`: they appear only together, in `x[i + k]`",
        ),
        ("y[i] := sum[r] x[i + r else 0.0] * y2[i]", "E0412", "the range of index `r` is not known: its only use"),
        ("y[i] := 1.0", "E0412", "the range of index `i` is not known"),
        ("y[i] := s[i + 1]", "E0412", "the range of index `i` is not known"),
        ("y[i] := x[i - 1]", "E0413", "`x[i - 1]` reads before the start when i = 0"),
        ("y[i] := sum[k] x[k - 2] * y2[i]", "E0413", "`x[k - 2]` reads before the start when k = 0"),
        ("y[i] := x[i + 12]", "E0414", "index `i` has an empty range"),
        ("y[i in 0:9] := x[i + 2]", "E0415", "`x[i + 2]` reads position 10 of dimension 0, which has size 10"),
        ("y[i in 0:2] := m[i, 4]", "E0415", "`m[i, 4]` reads position 4 of dimension 1, which has size 4"),
        ("y[i in 1:3] := x[i]", "E0416", "an output index starts at 0, but `i` starts at 1"),
    ],
)
def test_error(line: str, code: str, message: str) -> None:
    with pytest.raises(IRError) as info:
        kernel(line)
    assert message in info.value.message
    cause = info.value.__context__
    assert isinstance(cause, RangeError) and cause.code == code


def test_error_carries_reads_and_texts() -> None:
    first, second = Read("a", (Axis("i"),), f32), Read("b", (Axis("i"),), f32)
    names = {id(first): "self.w[i]", id(second): "v[0][i]"}
    shapes: dict[str, tuple[Size, ...]] = {"a": (3,), "b": (1,)}
    with pytest.raises(RangeError) as info:
        resolve([Binder("i", OPEN, OPEN)], [call("add", first, second)], shapes, ["i"], lambda e: names[id(e)])
    assert info.value.exprs == (first, second)
    assert info.value.texts == ("i is 3 here: self.w is [3]", "i is 1 here: v[0] is [1]")
    assert info.value.hint == "sizes are never broadcast in index notation; use 0 to read a dimension of size 1"


@pytest.mark.parametrize(
    ("line", "checked"),
    [
        ("y[i] := x[i]", False),
        ("y[i in 0:5] := x[2 * i + 1]", False),
        ("y[i in 0:99] := x[i % 10]", False),
        ("y[i in 0:99] := x[minimum(maximum(i - 3, 0), 9)]", False),
        ("y[i in 0:99] := x[i % 11]", True),
        ("y[i in 0:99] := x[i] if i < 10 else 0.0", True),
        ("y[i in 0:99] := sum[k in 0:2 if i + k < 10] x[i + k]", True),
        ("y[i in 0:99] := x[i else 0.0]", False),
        ("y[b, t] := x[ids[b, t]]", True),
        ("y[i] := s[i] * x[i % 10]", False),
    ],
)
def test_checked(line: str, checked: bool) -> None:
    (read,) = reads(kernel(line), "x")
    assert read.checked is checked


def test_outside_only_where_an_empty_range_reads() -> None:
    made = kernel("y[i in 0:3] := sum[k in 5:5] m[i, k]").definition("y")
    assert isinstance(made.expr, Reduce)


def test_position_that_only_looks_outside_is_checked() -> None:
    (read,) = reads(kernel("y[i in 0:10] := y2[i - i // 2]"), "y2")
    assert read.checked


def test_linear_forms() -> None:
    i, two = Axis("i"), Const(2, i64)
    assert linear(call("mul", call("add", i, two), call("add", two, two))) is not None
    assert linear(call("mul", i, i)) is None
    assert linear(call("mod", call("mul", i, i), two)) is None
    assert affine(call("sub", i, call("mul", two, i))) == affine(call("neg", i))


def test_interval_and_within() -> None:
    n = Sym("s0")
    ranges: dict[str, tuple[Size, Size]] = {"i": (0, 4), "j": (2, 5), "k": (0, n)}
    i, j, k = Axis("i"), Axis("j"), Axis("k")
    assert interval(call("sub", i, j), ranges) == (-4, 1)
    assert interval(call("floordiv", j, Const(2, i64)), ranges) == (1, 2)
    assert interval(call("minimum", i, Const(2, i64)), ranges) == (0, 2)
    assert interval(k, ranges) is None
    assert within(k, n, ranges) and not within(call("add", k, i), n, ranges)
    assert within(i, 4, ranges) and not within(i, 3, ranges)


def add(a: Expr, b: Expr) -> Expr:
    return call("add", a, b)


def test_simplify_undoes_views() -> None:
    ranges: dict[str, tuple[Size, Size]] = {"i": (0, 32), "j": (0, 64), "k": (0, Sym("s0"))}
    c = Const(64, i64)
    flat = add(call("mul", Axis("i"), c), Axis("j"))
    for fn, want in (("floordiv", Axis("i")), ("mod", Axis("j"))):
        got = simplify(call(fn, flat, c), ranges)
        assert isinstance(got, Axis) and got.name == want.name
    size = SizeOf(Sym("s0"))
    wide = add(call("mul", Axis("i"), size), Axis("k"))
    assert isinstance(simplify(call("floordiv", wide, size), ranges), Axis)
    assert isinstance(simplify(call("mod", wide, size), ranges), Axis)
    zero = simplify(call("sub", flat, flat), ranges)
    assert isinstance(zero, Const) and zero.value == 0
    nested = call("floordiv", call("floordiv", Axis("j"), Const(4, i64)), Const(2, i64))
    once = simplify(nested, ranges)
    assert isinstance(once, Call) and once.fn == "floordiv" and isinstance(once.args[0], Axis)


def random_index(rng: np.random.Generator, depth: int) -> Expr:
    kind = int(rng.integers(0, 9 if depth else 3))
    if kind == 0:
        return Const(int(rng.integers(-3, 9)), i64)
    if kind < 3:
        return Axis("ij"[kind - 1])
    a = random_index(rng, depth - 1)
    if kind < 6:
        return call(("add", "sub", "mul")[kind - 3], a, random_index(rng, depth - 1))
    return call("neg", a) if kind == 8 else call(("floordiv", "mod")[kind - 6], a, Const(int(rng.integers(1, 7)), i64))


def test_simplify_and_interval_keep_values() -> None:
    """At every point, the simplified form has the form's value, and the interval holds it."""
    rng = np.random.default_rng(1)
    ranges: dict[str, tuple[Size, Size]] = {"i": (0, 5), "j": (-2, 6)}
    for _ in range(150):
        e = random_index(rng, 3)
        forms = []
        for form in (e, simplify(e, ranges)):
            shifted = rewrite(form, lambda x: call("sub", x, Const(2, i64)) if _is_j(x) else None)
            y = Definition("y", (Binder("i", 0, 5), Binder("j", 0, 8)), shifted)
            forms.append(evaluate(Kernel("k", (), (y,), ("y",)), {}, {})["y"])
        np.testing.assert_array_equal(forms[0], forms[1])
        span = interval(e, ranges)
        assert span is None or (span[0] <= forms[0].min() and forms[0].max() <= span[1])


def _is_j(e: Expr) -> bool:
    return isinstance(e, Axis) and e.name == "j"

"""Kernels as text: round trips, precedence, literals, errors with places, canonical text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsl.compiler.dtype import f32, i64
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Axis, Binder, Const, Definition, Expr, Kernel, Param, Read, call
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import canonical, intern, show
from tdsl.compiler.source import IRError

FILES = sorted((Path(__file__).parent / "filetests" / "kernel").glob("*.ir"))
PARAMS = "x: f32[8], w: f32[8,4], d: f64[8], n: i64[8], b: bool[8], c: number f32, s: f32[s0]"


def one(line: str) -> str:
    return f"kernel k({PARAMS}) -> (y):\n  {line}\n"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file(path: Path) -> None:
    text = path.read_text()
    assert show(parse(text, path.name)) == text


@pytest.mark.parametrize(
    "line",
    [
        "y[i] := x[i] + 1.0",
        "y[i] := (x[i] + 1.0) * 2.0",
        "y[i] := x[i] - (1.0 - x[i])",
        "y[i] := x[i] / (x[i] * 2.0)",
        "y[i] := -x[i] * 2.0",
        "y[i] := -(x[i] * 2.0)",
        "y[i] := (-x[i]) ** 2.0",
        "y[i] := -x[i] ** 2.0",
        "y[i] := x[i] ** (x[i] ** 2.0)",
        "y[i] := x[i] * (-0.5)",
        "y[i] := x[i] + -0.5",
        "y[i] := x[i] if x[i] > 0.0 else -inf",
        "y[i] := (x[i] if x[i] > 0.0 else 0.0) + 1.0",
        "y[i] := x[i] if b[i] and not x[i] > 0.0 or n[i] == 2 else nan",
        "y[i] := x[i] if b[i] and (b[i] or x[i] < 1.0) else 0.0",
        "y[i] := n[i] & 3 | ~n[i] ^ 1",
        "y[i] := (n[i] + i) // 2 % 3",
        "y[i] := d[i] * 0.5 + exp(f64(0.5))",
        "y[i] := x[i].to(f64) + d[i]",
        "y[i] := (x[i] + 1.0).to(i64)",
        "y[i] := x[i] * c",
        "y[i] := s[i] * 2.0",
        "y[i] := s[i] + s0.to(f32)",
        "y[i in 0:s0] := x[minimum(i, 7)] + s[i]",
        "y[] := sum[i, j] w[i, j]",
        "y[i] := x[i] * sum[j] w[i, j] * 2.0",
        "y[i] := (sum[j] w[i, j]) * 2.0",
        "y[i] := sum[j] (w[i, j] + 1.0)",
        "y[i] := sum[j] w[i, j] + 1.0",
        "y[i] := -(sum[j] w[i, j])",
        "y[i] := any[j] (w[i, j] > 0.0)",
        "y[i] := max[j if j <= i and b[i]] w[i, j]",
        "y[i] := argmax[j] w[i, j]",
        "y[i] := logsumexp[j] max[k in 0:2] (w[i, j] + x[k])",
        "y[i in 0:10] := x[i - 1 else 0.0]",
        "y[i in 0:10, j in 0:9] := w[i - 1, j else x[0] * 2.0]",
        "y[i] := x[n[i]]",
        "y[i in 0:3] := x[i] + w[i + 1, i]",
        "y[i] := philox(n[i], i)",
    ],
)
def test_round_trip(line: str) -> None:
    k = parse(one(line))
    text = show(k)
    assert show(parse(text)) == text
    assert canonical(parse(text)) == canonical(k)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("y[i] := ((x[i] + 1.0))", "y[i] := x[i] + 1.0"),
        ("y[i] := (x[i] * 2.0) + 1.0", "y[i] := x[i] * 2.0 + 1.0"),
        ("y[i in 0:8] := x[i]", "y[i] := x[i]"),
        ("y[i] := sum[j in 0:4] (w[i, j] * x[i])", "y[i] := sum[j] w[i, j] * x[i]"),
        ("y[i] := x[i + 2]", "y[i in 0:6] := x[i + 2]"),
        ("y[i] := x[i] if (x[i] > 0.0) else (0.0)", "y[i] := x[i] if x[i] > 0.0 else 0.0"),
        ("y[i] := x[i] + 1", "y[i] := x[i] + 1.0"),
        ("y[i] := x[i]; a comment", "y[i] := x[i]"),
    ],
)
def test_shown(line: str, shown: str) -> None:
    assert show(parse(one(line))).splitlines()[1].strip() == shown


def test_precedence_is_the_language_s() -> None:
    same = [
        ("-x[i] * 2.0", "(-x[i]) * 2.0"),
        ("-x[i] ** 2.0", "-(x[i] ** 2.0)"),
        ("x[i] ** 2.0 ** 3.0", "x[i] ** (2.0 ** 3.0)"),
        ("sum[j] w[i, j] * x[i] + 1.0", "(sum[j] (w[i, j] * x[i])) + 1.0"),
        ("x[i] / 2.0 * 3.0", "(x[i] / 2.0) * 3.0"),
        ("x[i] if b[i] else x[i] if b[i] else 1.0", "x[i] if b[i] else (x[i] if b[i] else 1.0)"),
    ]
    for a, b in same:
        assert canonical(parse(one(f"y[i] := {a}"))) == canonical(parse(one(f"y[i] := {b}")))


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ("y[i] := x[i] + zz[i]", "`zz` is not defined", 18),
        ("y[i] := x[i] $ 2", "unexpected '$'", 16),
        ("y[i] := x[i] +", "expected an expression", 17),
        ("y[i] = x[i]", "expected :=, found =", 8),
        ("y[i] := sqrt(x[i], 2.0)", "no function sqrt of 2 arguments", None),
        ("y[i] := x[i, 0]", "x is f32 of rank 1", None),
        ("y[i] := x[i] and b[i]", "and of f32, bool", None),
        ("y[i] := x[i] if x[i] else 0.0", "a condition is f32", None),
        ("y[i] := x[i] x[i]", "unexpected x", 16),
        ("y[i] := " + "(" * 5000 + "x[i]" + ")" * 5000, "too deeply nested", None),
    ],
)
def test_error_has_a_place(line: str, message: str, column: int | None) -> None:
    with pytest.raises(IRError) as info:
        parse(one(line), "f.ir")
    assert message in info.value.message
    span = info.value.span
    assert span is not None and span.file == "f.ir"
    if column is not None:
        assert (span.line, span.column) == (2, column)


def test_long_sums_need_no_recursion() -> None:
    e: Expr = Read("x", (Axis("i"),), f32)
    for _ in range(5000):
        e = call("add", e, Const(1.0, f32))
    k = Kernel("k", (Param("x", f32, (8,)),), (Definition("y", (Binder("i", 0, 8),), e),), ("y",))
    assert show(parse(show(k))) == show(k)
    assert canonical(parse(show(k))) == canonical(k)


def test_canonical_ignores_names_only() -> None:
    a = parse("kernel k(x: f32[3]) -> (y):\n  y[i] := x[i] * 2.0\n")
    b = parse("kernel other(q: f32[3]) -> (r):\n  r[row] := q[row] * 2.0\n")
    assert canonical(a) == canonical(b)
    others = [
        "kernel k(x: f32[4]) -> (y):\n  y[i] := x[i] * 2.0\n",
        "kernel k(x: f64[3]) -> (y):\n  y[i] := x[i] * 2.0\n",
        "kernel k(x: f32[3]) -> (y):\n  y[i] := x[i] * 3.0\n",
        "kernel k(x: f32[3]) -> (y):\n  y[i] := 2.0 * x[i]\n",
        "kernel k(x: f32[3]) -> (y):\n  y[i in 0:2] := x[i] * 2.0\n",
        "kernel k(x: f32[s0]) -> (y):\n  y[i] := x[i] * 2.0\n",
    ]
    assert len({canonical(parse(t)) for t in others} | {canonical(a)}) == 7


def test_canonical_tells_swapped_axes_apart() -> None:
    a = parse("kernel k(x: f32[3,3]) -> (y):\n  y[i, j] := x[i, j]\n")
    b = parse("kernel k(x: f32[3,3]) -> (y):\n  y[i, j] := x[j, i]\n")
    assert canonical(a) != canonical(b)


def test_intern_gives_one_object() -> None:
    text = "kernel k(a0: f32[3]) -> (y):\n  y[{0}] := a0[{0}]\n"
    assert intern(parse(text.format("i"))) is intern(parse(text.format("row")))


def test_hints_rename_and_stay_distinct() -> None:
    k = parse("kernel k(a0: f32[3], a1: f32[3]) -> (y):\n  y[i] := a0[i] * a1[i]\n")
    shown = show(k, {"a0": "self.w", "a1": "self.w", "y": "sum"})
    assert "y[i] := self_w[i] * self_w_2[i]" in shown or "self_w[i] * self_w_2[i]" in shown
    assert show(parse(shown)) == shown
    assert show(k, {"a0": "i"}).splitlines()[1] == "  y[i] := i_2[i] * a1[i]"


def test_run_time_sizes_print_as_their_names() -> None:
    shape = (Sym("s0"), 4)
    x = Read("x", (Axis("i"), Axis("j")), f32)
    y = Definition("y", (Binder("i", 0, Sym("s0")), Binder("j", 0, 4)), x)
    k = Kernel("k", (Param("x", f32, shape),), (y,), ("y",))
    assert show(k) == "kernel k(x: f32[s0,4]) -> (y):\n  y[i, j] := x[i, j]\n"
    assert parse(show(k)).definition("y").shape == shape


def test_axes_that_disagree_with_a_bare_use_keep_their_range() -> None:
    """Where two bare uses have different sizes the range is written: by rule 2 it could not be inferred."""
    read = call("mul", Read("w", (Axis("i"),), f32), Read("x", (Axis("i"),), f32))
    params = (Param("w", f32, (3,)), Param("x", f32, (5,)))
    k = Kernel("k", params, (Definition("y", (Binder("i", 0, 3),), read),), ("y",))
    assert "y[i in 0:3]" in show(k)
    assert canonical(parse(show(k))) == canonical(k)


def test_index_literals_are_i64() -> None:
    k = parse(one("y[i] := x[7 - i]"))
    (read,) = [e for e in [k.definition("y").expr] if isinstance(e, Read)]
    assert read.index[0].dtype is i64

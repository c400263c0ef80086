"""The judge itself: every reducer, guards, fills, gathers, scatters, dtypes, run-time sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tdsl.compiler.dtype import bool_, f32, i64
from tdsl.compiler.evaluate import convert, evaluate
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Call, Const, Definition, Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.source import IndexError as OutsideError
from tdsl.compiler.source import ZeroDivisionError as DivisionError

Array = np.ndarray[Any, Any]
TYPES = {
    "float32": "f32",
    "float64": "f64",
    "int64": "i64",
    "int32": "i32",
    "int8": "i8",
    "uint8": "u8",
    "bool": "bool",
}


def run(body: str, sizes: dict[str, int] | None = None, **arrays: Any) -> Array:
    """The value of y. A tensor's run-time sizes are written as its type in place of an array: (array, "f32[s0]")."""
    params, values = [], {}
    for name, value in arrays.items():
        if isinstance(value, tuple):
            value, kind = value
        elif isinstance(value, float):
            kind = "number f32"
        else:
            value = np.asarray(value)
            kind = f"{TYPES[value.dtype.name]}[{','.join(map(str, value.shape))}]"
        params.append(f"{name}: {kind}")
        values[name] = value
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    k = parse(f"kernel k({', '.join(params)}) -> (y):\n{lines}")
    return evaluate(k, values, {Sym(s): n for s, n in (sizes or {}).items()})["y"]


X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("op", "want"),
    [
        ("sum", X.sum(1)),
        ("prod", X.prod(1)),
        ("max", X.max(1)),
        ("min", X.min(1)),
        ("mean", X.mean(1)),
        ("logsumexp", np.log(np.exp(X).sum(1))),
        ("argmax", X.argmax(1)),
        ("argmin", X.argmin(1)),
    ],
)
def test_reducers(op: str, want: Array) -> None:
    got = run(f"y[i] := {op}[j] x[i, j]", x=X)
    assert got.dtype == (np.int64 if op.startswith("arg") else np.float32)
    np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("guard", ["", " if j > 5"])
def test_reductions_of_nothing(guard: str) -> None:
    span = "j in 0:4" if guard else "j in 0:0"
    inf = np.inf
    wants = {
        "sum": 0,
        "prod": 1,
        "max": -inf,
        "min": inf,
        "mean": np.nan,
        "logsumexp": -inf,
        "argmax": -1,
        "argmin": -1,
    }
    for op, want in wants.items():
        np.testing.assert_array_equal(run(f"y[i] := {op}[{span}{guard}] x[i, j]", x=X), np.full(3, want))
    n = np.zeros((3, 4), np.int8)
    assert run(f"y[i] := max[{span}{guard}] n[i, j]", n=n).tolist() == [-128] * 3
    assert run(f"y[i] := min[{span}{guard}] n[i, j]", n=n).tolist() == [127] * 3
    assert not run(f"y[i] := any[{span}{guard}] (x[i, j] < 9.0)", x=X).any()
    assert run(f"y[i] := all[{span}{guard}] (x[i, j] > 9.0)", x=X).all()


def test_guarded_reductions() -> None:
    mask = np.tril(np.ones((3, 4), bool))
    np.testing.assert_allclose(run("y[i] := sum[j if j <= i] x[i, j]", x=X), np.where(mask, X, 0).sum(1), rtol=1e-6)
    np.testing.assert_array_equal(
        run("y[i] := max[j if j <= i] x[i, j]", x=X), np.where(mask, X, -np.inf).max(1).astype(np.float32)
    )
    assert run("y[i] := argmax[j if j > i] x[i, j]", x=-np.abs(X)).tolist() == [
        1 + i + (-np.abs(X))[i, i + 1 :].argmax() for i in range(3)
    ]
    assert run("y[i] := argmax[j in 1:3] x[i, j]", x=X).tolist() == (X[:, 1:3].argmax(1) + 1).tolist()


def test_nan_wins() -> None:
    x = np.array([1, np.nan, 3], np.float32)
    assert np.isnan(run("y[] := max[i] x[i]", x=x)) and np.isnan(run("y[] := min[i] x[i]", x=x))
    assert run("y[] := argmax[i] x[i]", x=x) == 1


def test_several_axes_and_zero_dimensions() -> None:
    got = run("y[] := sum[i, j] x[i, j]", x=X)
    assert got.shape == () and got.dtype == np.float32
    np.testing.assert_allclose(run("y[] := s * 2.0", s=np.float32(3)), 6)
    assert run("y[i, j] := x[i, j]", x=np.zeros((0, 4), np.float32)).shape == (0, 4)
    assert run("y[j] := sum[i] x[i, j]", x=np.zeros((0, 4), np.float32)).tolist() == [0] * 4


def test_sums_of_f32_are_rounded_once() -> None:
    x = np.full(1 << 16, 0.1, np.float32)
    assert run("y[] := sum[i] x[i]", x=x) == np.float32(x.astype(np.float64).sum())


def test_integers_wrap_and_floats_stay() -> None:
    n = np.array([120, -128], np.int8)
    assert run("y[i] := n[i] + n[i]", n=n).tolist() == [-16, 0]
    assert run("y[i] := -n[i]", n=n).tolist() == [-120, -128]
    assert run("y[i] := x[i] * 3.0", x=np.ones(2, np.float32)).dtype == np.float32


def test_casts_saturate() -> None:
    x = np.array([1e30, -1e30, np.nan, np.inf, -1.9, 300], np.float32)
    assert run("y[i] := x[i].to(i8)", x=x).tolist() == [127, -128, 0, 127, -1, 127]
    assert convert(np.array([2.0**63]), np.dtype(np.int64)).tolist() == [2**63 - 1]
    assert run("y[i] := x[i].to(bool)", x=np.array([0, 0.5, np.nan], np.float32)).tolist() == [False, True, True]
    assert run("y[i] := n[i].to(i8)", n=np.array([300, -1])).tolist() == [44, -1]


def test_division_rounds_down() -> None:
    n = np.array([-7, 7, -8])
    assert run("y[i] := n[i] // 4", n=n).tolist() == [-2, 1, -2]
    assert run("y[i] := n[i] % 4", n=n).tolist() == [1, 3, 0]
    assert run("y[i] := fmod(n[i], 4)", n=n).tolist() == [-3, 3, 0]


def test_integer_division_by_zero() -> None:
    n = np.array([1, 0])
    with pytest.raises(DivisionError) as info:
        run("y[i] := 4 // n[i]", n=n)
    assert info.value.code == "E0504"
    assert run("y[i] := 4 // n[i] if n[i] != 0 else 9", n=n).tolist() == [4, 9]
    assert run("y[i] := 1.0 / x[i]", x=np.array([0, 2], np.float32)).tolist() == [np.inf, 0.5]


def test_read_outside() -> None:
    with pytest.raises(OutsideError) as info:
        run("y[i] := x[n[i], 0]", x=X, n=np.array([0, 2, 3, -1]))
    assert info.value.code == "E0502"
    assert info.value.message == "position [3, 0] is outside `x`, which is [3, 4]"


def test_what_is_excluded_is_not_read() -> None:
    n = np.array([0, 5, -1])
    assert run("y[i] := x[n[i]] if n[i] >= 0 and n[i] < 2 else 7.0", x=np.ones(2, np.float32), n=n).tolist() == [
        1,
        7,
        7,
    ]
    assert run("y[] := sum[i if n[i] == 0] x[n[i]]", x=np.ones(2, np.float32), n=n) == 1
    assert run("y[i] := log(x[i]) if x[i] > 0.0 else 0.0", x=np.array([1, -1], np.float32)).tolist() == [0, 0]
    nested = "y[i] := (x[n[i]] if n[i] < 2 else 5.0) if n[i] >= 0 else 7.0"
    assert run(nested, x=np.ones(2, np.float32), n=n).tolist() == [1, 5, 7]


def test_fill() -> None:
    x = np.arange(3, dtype=np.float32)
    assert run("y[i in 0:5] := x[i - 1 else 9.0]", x=x).tolist() == [9, 0, 1, 2, 9]
    assert run("y[i in 0:5] := x[i - 1 else x[i // 4]]", x=x).tolist() == [0, 0, 1, 2, 1]
    assert run("y[i in 0:2, j in 0:2] := m[i, j - 1 else 0.0]", m=np.ones((1, 2), np.float32)).tolist() == [
        [0, 1],
        [0, 0],
    ]
    assert run("y[i in 0:2] := x[i else 1.0]", x=np.zeros(0, np.float32)).tolist() == [1, 1]


def test_scatter() -> None:
    n, x = np.array([1, 1, 3, 0, 1]), np.arange(1, 6, dtype=np.float32)
    base = "y[i in 0:4] := 0.0\n"
    assert run(base + "scatter[i]: y[n[i]] += x[i]", n=n, x=x).tolist() == [4, 8, 0, 3]
    assert run(base + "scatter[i]: y[n[i]] max= x[i]", n=n, x=x).tolist() == [4, 5, 0, 3]
    assert run(base + "scatter[i]: y[n[i]] min= -x[i]", n=n, x=x).tolist() == [-4, -5, 0, -3]
    assert run(base + "scatter[i if i < 2]: y[n[i]] += x[i]", n=n, x=x).tolist() == [0, 3, 0, 0]
    assert run(base + "scatter[i, j in 0:2]: y[n[i]] += x[j]", n=n, x=x).tolist() == [3, 9, 0, 3]
    with pytest.raises(OutsideError):
        run(base + "scatter[i]: y[n[i] + 1] += x[i]", n=n, x=x)
    assert run(base + "scatter[i if n[i] < 3]: y[n[i] + 1] += x[i]", n=n, x=x).tolist() == [0, 4, 8, 0]


def test_locals_and_numbers() -> None:
    got = run("t[i] := x[i] * c\ny[i] := t[i] + sum[j] t[j]", x=np.ones(3, np.float32), c=2.0)
    assert got.tolist() == [8, 8, 8]


def test_run_time_sizes() -> None:
    x = np.arange(5, dtype=np.float32)
    assert run("y[i in 0:s0] := x[s0 - 1 - i]", {"s0": 5}, x=(x, "f32[s0]")).tolist() == [4, 3, 2, 1, 0]
    assert run("y[] := sum[i] x[i] / s0.to(f32)", {"s0": 5}, x=(x, "f32[s0]")) == 2


def test_no_warning_escapes() -> None:
    """`filterwarnings = error`: each of these makes NumPy warn when it is asked directly."""
    x = np.array([-1, 0, 1e38, np.inf, np.nan], np.float32)
    for expr in ("log(x[i])", "x[i] / x[i]", "exp(x[i])", "x[i] * x[i]", "x[i] - x[i]", "sqrt(x[i])", "x[i] ** 0.5"):
        run(f"y[i] := {expr}", x=x)
    for fn in (
        "tanh",
        "floor",
        "ceil",
        "round",
        "trunc",
        "relu",
        "sign",
        "abs",
        "rsqrt",
        "log1p",
        "expm1",
        "sin",
        "erf",
    ):
        run(f"y[i] := {fn}(x[i])", x=x)
    run("y[] := mean[i] x[i]", x=x)
    run("y[] := logsumexp[i] x[i]", x=x)
    run("y[] := prod[i] x[i]", x=x)
    run("y[i] := x[i] < 0.0", x=x)


def test_deep_expressions() -> None:
    """A chain as long as fusion makes them."""
    e: Any = Const(0.0, f32)
    for _ in range(3000):
        e = Call("add", (e, Const(1.0, f32)), f32)
    for _ in range(3000):
        e = Call("where", (Const(False, bool_), Const(1.0, f32), e), f32)
    assert evaluate(Kernel("k", (), (Definition("y", (), e),), ("y",)), {}, {})["y"] == 3000


def test_axes_are_i64() -> None:
    got = run("y[i in 0:3, j in 0:2] := i * 10 + j")
    assert got.dtype == i64.numpy and got.tolist() == [[0, 1], [10, 11], [20, 21]]

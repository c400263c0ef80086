"""The errors of vector maths, in units in the last place, against the table of docs/vector-maths.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tdsl.compiler import llvm, pipeline
from tdsl.compiler.loops import F32, F64, I64, INDEX, SSA, Block, Func, MemRef, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.runtime import jit

DOC = Path(__file__).parent.parent / "docs" / "vector-maths.md"
ROWS = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \| (.+?) \|$", DOC.read_text(), re.MULTILINE)
PUBLISHED = {(name, dtype): float(ulp) for name, a, b, _ in ROWS for dtype, ulp in (("f32", a), ("f64", b))}
REFERENCES: dict[str, tuple[Callable[..., Any], float, float]] = {
    "exp": (np.exp, -745, 709),
    "expm1": (np.expm1, -40, 700),
    "log": (np.log, 0, 1e300),
    "log1p": (np.log1p, -1, 1e6),
    "sin": (np.sin, -1e6, 1e6),
    "cos": (np.cos, -1e6, 1e6),
    "tan": (np.tan, -1e4, 1e4),
    "tanh": (np.tanh, -25, 25),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80, 80),
    "erf": (np.vectorize(lambda x: math.erf(float(x))), -6, 6),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 0, 1e30),
}


def compiled(name: str, double: bool) -> Callable[[Any], Any]:
    """y = name(x) over vectors and over the tail, as any kernel computes it."""
    element = F64 if double else F32
    x, y, n, errors = SSA(MemRef(element)), SSA(MemRef(element)), SSA(INDEX), SSA(MemRef(I64))
    body = Block()
    b = Builder(body)

    def at(i: SSA, carried: list[SSA]) -> None:
        b.store(b.unary(f"math.{name}", b.load(x, i)), y, i)

    b.for_(b.constant(0), n, b.constant(1), (), at, vector=True)
    target = jit.host_target()
    module = pipeline.improve_loops(Module([Func("f", [x, y, n, errors], body)]), target)
    loaded = jit.load(llvm.emit(module, target), "f", target)

    def run(values: Any) -> Any:
        values = np.ascontiguousarray(values, np.float64 if double else np.float32)
        result, fault = np.empty_like(values), np.zeros(1, np.int64)
        frame = np.array([values.ctypes.data, result.ctypes.data, values.size, fault.ctypes.data])
        functions, frames = np.array([loaded.address]), np.array([frame.ctypes.data])
        jit.drive(functions.ctypes.data, frames.ctypes.data, 1)
        return result

    return run


def sample(low: float, high: float, dtype: Any) -> Any:
    """Over the range, near 0 on a logarithmic scale, subnormals, and huge values."""
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    spread = rng.uniform(max(low, 0.99 * float(info.min)), min(high, 0.99 * float(info.max)), 60_000)
    small = np.exp(rng.uniform(np.log(float(info.smallest_subnormal)), 0, 30_000))
    small = np.where(rng.random(30_000) < 0.5, small, -small)
    x = np.concatenate([spread, small]).astype(dtype)
    wide = x.astype(np.float64)
    return x[(wide >= low) & (wide <= high)]


@pytest.mark.parametrize(("name", "dtype"), sorted(PUBLISHED))
def test_errors_are_as_published(name: str, dtype: str) -> None:
    reference, low, high = REFERENCES[name]
    kind = np.float64 if dtype == "f64" else np.float32
    x = sample(low, high, kind)
    y = compiled(name, dtype == "f64")(x)
    with np.errstate(all="ignore"):
        exact = np.asarray(reference(x.astype(np.longdouble))).astype(np.longdouble)
        rounded = exact.astype(kind)
        spacing = np.spacing(np.abs(rounded)).astype(np.longdouble)
        ulp = np.abs(y.astype(np.longdouble) - exact) / spacing
    ulp = np.where(np.isfinite(rounded) & np.isfinite(y), ulp, np.where(rounded == y, 0, np.inf))

    assert float(ulp.max()) <= PUBLISHED[name, dtype], (x[int(ulp.argmax())], y[int(ulp.argmax())])


SPECIAL = {
    "exp": [(np.inf, np.inf), (-np.inf, 0.0), (0.0, 1.0)],
    "log": [(0.0, -np.inf), (np.inf, np.inf), (-1.0, np.nan), (1.0, 0.0)],
    "sin": [(np.inf, np.nan), (0.0, 0.0), (-0.0, -0.0)],
    "tanh": [(np.inf, 1.0), (-np.inf, -1.0), (-0.0, -0.0)],
    "sigmoid": [(np.inf, 1.0), (-np.inf, 0.0)],
    "erf": [(np.inf, 1.0), (-np.inf, -1.0)],
}


@pytest.mark.parametrize("name", sorted(SPECIAL))
@pytest.mark.parametrize("double", [False, True])
def test_special_values(name: str, double: bool) -> None:
    inputs = np.array([x for x, _ in SPECIAL[name]] + [np.nan])
    want = np.array([y for _, y in SPECIAL[name]] + [np.nan])
    got = compiled(name, double)(inputs)

    np.testing.assert_array_equal(got, want.astype(got.dtype))
    assert (np.signbit(got[:-1]) == np.signbit(want[:-1]))[want[:-1] == 0].all()


def test_large_angles_are_reduced_exactly() -> None:
    x = np.array([1e9, 1e15, 3e22, 1e300, -1e200, 2.0**120])

    np.testing.assert_allclose(compiled("sin", True)(x), [math.sin(v) for v in x], rtol=0, atol=3e-16)
    np.testing.assert_allclose(compiled("cos", True)(x), [math.cos(v) for v in x], rtol=0, atol=3e-16)

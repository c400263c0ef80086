"""Vector maths against long double: docs/vector-maths.md is what is asserted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from machine import HOST, Machine, elementwise
from tree import ROOT

from tdsl.compiler.kernel import philox
from tdsl.compiler.loops import F32, F64, I8, I32, I64, Scalar

Array = np.ndarray[Any, Any]
Long = np.longdouble
SLACK = 0.0 if np.finfo(Long).nmant >= 63 else 1.0  # where long double is double, the judge is off by half a place
ELEMENTS: dict[str, Scalar] = {"f32": F32, "f64": F64}
DTYPES = {"f32": np.float32, "f64": np.float64}


def _erf(x: Array) -> Array:
    """A series of positive terms: exact to long double's rounding. Beyond 7 it is 1."""
    x = np.clip(x, -7, 7)
    term = x.copy()
    total = x.copy()
    for n in range(1, 230):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return np.asarray(total * np.exp(-x * x) * 2 / np.sqrt(Long("3.14159265358979323846264338327950288")))


def _sigmoid(x: Array) -> Array:
    e = np.exp(-abs(x))
    return np.asarray(np.where(x >= 0, 1, e) / (1 + e))


JUDGES: dict[str, Callable[..., Array]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "tanh": np.tanh, "sigmoid": _sigmoid, "erf": _erf, "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip
BINARY: dict[str, Callable[..., Array]] = {"powf": np.power, "atan2": np.arctan2}


def published() -> dict[str, tuple[float, ...]]:
    """Of each function: f32, f64, and the same without FMA."""
    text = (ROOT / "docs/vector-maths.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)[^`]*` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+), ([\d.]+) \|$", text, re.MULTILINE)
    return {{"pow": "powf"}.get(name, name): tuple(map(float, bounds)) for name, *bounds in rows}


def special(dtype: type) -> Array:
    f = np.finfo(dtype)
    one = [0.0, np.inf, 1, 2, 3, 0.5, 1.5, 1e30, 2.0**52 + 1, 2.0**53 - 1, f.tiny, f.smallest_subnormal, f.max]
    return np.array([*one, *(-x for x in one), np.nan]).astype(dtype)


def sample(dtype: type, n: int) -> Array:
    """All exponents evenly, then where functions have their corners, then special values. Casts of signalling NaNs
    warn, so that parts are cast before they are joined."""
    rng = np.random.default_rng(1)
    word = np.uint64 if dtype is np.float64 else np.uint32
    spread = rng.integers(0, np.iinfo(word).max, n, dtype=word).view(dtype)
    spans = [np.linspace(-s, s, n // 6) for s in (1.0, 3.0, 12.0, 100.0, 800.0, 1e5)]
    turns = np.pi / 2 * np.concatenate([np.arange(-500, 500), rng.integers(1, 1 << 40, 1000), 2.0 ** np.arange(100)])
    small = rng.standard_normal(n // 6) * 10.0 ** rng.uniform(-8, 0, n // 6)
    return np.concatenate([spread, np.concatenate([*spans, turns, small, 1 + small]).astype(dtype), special(dtype)])


def pairs(dtype: type, n: int) -> tuple[Array, Array]:
    """Powers that stay in range, near 1, of small integers, of anything; and all pairs of special values."""
    rng = np.random.default_rng(2)
    largest = 80.0 if dtype is np.float32 else 700.0
    x = np.exp(rng.uniform(-largest, largest, n))
    y = rng.uniform(-largest, largest, n) / np.maximum(abs(np.log(x)), 1e-3)
    near, far = 1 + rng.standard_normal(n) * 1e-3, rng.uniform(-5e4, 5e4, n)
    any_x = rng.permutation(sample(dtype, n))[:n]
    any_y = rng.permutation(sample(dtype, n))[:n]
    s, t = (a.ravel() for a in np.meshgrid(special(dtype), special(dtype)))
    xs = np.concatenate([x, near, rng.uniform(-9, 9, n)]).astype(dtype)
    ys = np.concatenate([y, far, rng.integers(-9, 9, n)]).astype(dtype)
    return np.concatenate([xs, any_x, s]), np.concatenate([ys, any_y, t])


def ulps(got: Array, exact: Array) -> Array:
    """Distance in units in the last place; infinite where NaN, infinity or the sign of zero is wrong."""
    dtype = got.dtype
    rounded = exact.astype(dtype)
    inside = np.where(np.isfinite(rounded), rounded, np.finfo(dtype).max)
    distance = abs(got.astype(Long) - exact) / np.spacing(abs(inside)).astype(Long)
    distance[(np.isnan(got) & np.isnan(rounded)) | (np.isinf(rounded) & (got == rounded))] = 0
    distance[np.isnan(distance) | ((rounded == 0) & (np.signbit(got) != np.signbit(rounded)))] = np.inf
    return distance


def worst(name: str, kind: str, inputs: tuple[Array, ...], fused: bool) -> tuple[float, str]:
    element, judge = ELEMENTS[kind], {**JUDGES, **BINARY}[name]
    target = HOST if fused else replace(HOST, has_fma=False)
    got = np.empty_like(inputs[0])
    run = Machine(elementwise(f"math.{name}", element, len(inputs), target.lanes(element.bits)), target)
    run(*inputs, got, len(got))
    with np.errstate(all="ignore"):
        error = ulps(got, exact := judge(*(x.astype(Long) for x in inputs)))
    k = int(np.argmax(error))
    return float(error[k]), f"{name} of {[x[k] for x in inputs]}: {got[k]!r}, exactly {exact[k]!r}"


CASES = [(name, kind, fused) for name in [*JUDGES, *BINARY] for kind in ELEMENTS for fused in (True, False)]


@pytest.mark.parametrize(("name", "kind", "fused"), CASES)
def test_the_published_table_holds(name: str, kind: str, fused: bool) -> None:
    if fused and not HOST.has_fma:
        pytest.skip("this machine has no fused multiply-add")
    n = 20_000 if fused else 5_000
    inputs = pairs(DTYPES[kind], n // 4) if name in BINARY else (sample(DTYPES[kind], n),)

    error, where = worst(name, kind, inputs, fused)

    assert error <= published()[name][2 * (not fused) + (kind == "f64")] + SLACK, where


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "fused"), CASES)
def test_the_published_table_holds_densely(name: str, kind: str, fused: bool) -> None:
    inputs = pairs(DTYPES[kind], 500_000) if name in BINARY else (sample(DTYPES[kind], 2_000_000),)

    error, where = worst(name, kind, inputs, fused)

    assert error <= published()[name][2 * (not fused) + (kind == "f64")] + SLACK, where


@pytest.mark.parametrize("name", [*JUDGES, *BINARY])
@pytest.mark.parametrize("kind", ELEMENTS)
def test_a_value_does_not_depend_on_the_vector_width(name: str, kind: str) -> None:
    element = ELEMENTS[kind]
    inputs = pairs(DTYPES[kind], 300) if name in BINARY else (sample(DTYPES[kind], 300),)
    results = []
    for lanes in (1, 4):
        out = np.empty_like(inputs[0])
        Machine(elementwise(f"math.{name}", element, len(inputs), lanes))(*inputs, out, len(out))
        results.append(out)

    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("element", [I8, I32, I64])
def test_integer_powers_wrap(element: Scalar) -> None:
    bits = element.bits
    dtype = {8: np.int8, 32: np.int32, 64: np.int64}[bits]
    x, n = (a.ravel().copy() for a in np.meshgrid(np.arange(-12, 13, dtype=dtype), np.arange(-3, 40, dtype=dtype)))
    out = np.empty_like(x)
    Machine(elementwise("math.ipowi", element, 2, 4))(x, n, out, len(x))

    def judge(base: int, exponent: int) -> int:
        if exponent < 0:
            return {1: 1, -1: -1 if exponent % 2 else 1}.get(base, 0)
        power = base**exponent % (1 << bits)
        return power - (1 << bits) if power >= 1 << (bits - 1) else power

    assert out.tolist() == [judge(int(a), int(b)) for a, b in zip(x, n, strict=True)]


def test_random_bits_are_the_judges() -> None:
    counter = np.concatenate([np.arange(1000), [(1 << 40) + 3, (1 << 62) + 1]])
    for seed in (0, 1, 42, (1 << 63) - 1, -5):
        out = np.empty_like(counter)
        seeds = np.full_like(counter, seed)
        Machine(elementwise("tdsl.philox", I64, 2, 4))(seeds, counter, out, len(out))
        np.testing.assert_array_equal(out, philox(seeds, counter))

"""Elementwise functions: bits, signs, divisors, rounding, dtypes and refusals, against PyTorch's."""

from __future__ import annotations

import math
from math import inf, nan

import numpy as np
import pytest
from peers import differences

import tdsl

SETUP = """
nan, inf = float("nan"), float("inf")
f = T.tensor([0.0, -0.0, 1.5, -2.5, nan, inf, -inf, 1e-40])
i = T.tensor([7, -7, 0, 12])
j = T.tensor([3, 21, 5, -8])
u = T.tensor([200, 51, 0, 7], dtype=T.uint8)
b = T.tensor([True, False, True, False])
g = T.tensor([0.5, -1.5, 2.0], requires_grad=True)
"""
EXACT = """
T.frexp(f).mantissa
T.frexp(f).exponent
T.frexp(f.double()).exponent
T.signbit(f)
T.signbit(i)
T.signbit(b)
T.copysign(f, -1)
T.copysign(i, f[:4])
T.nextafter(f, T.tensor(0.25))
T.nextafter(f.double(), f.flip(0))
T.gcd(i, j)
T.gcd(u, T.tensor(34, dtype=T.uint8))
T.lcm(i, j)
T.lcm(i, b)
T.bitwise_left_shift(i, T.tensor([1, 70, -1, 3]))
T.bitwise_right_shift(i, T.tensor([1, 70, -1, 3]))
T.bitwise_right_shift(u, 9)
i << 2
-7 >> T.tensor([1, 2])
2 & i
T.bitwise_not(u)
T.round(T.tensor([1.25, -1.35, 1234.5]), decimals=1)
T.round(T.tensor([1250.0, -1351.0]), decimals=-2)
T.round(i)
T.fix(f[:4])
T.sgn(b)
T.sgn(f)
T.sign(f)
T.positive(i)
T.isposinf(f)
T.isneginf(f)
T.isposinf(i)
T.isreal(f)
T.angle(T.tensor([1.0, -1.0, 0.0, nan]))
T.angle(i)
T.clamp_min(i, 1.5)
T.clamp_max(f, 1.0)
T.clamp_min(u, T.tensor([100]))
T.fmax(f, T.tensor(0.0))
T.fmin(f, T.tensor(nan))
T.heaviside(f, T.tensor(0.5))
T.heaviside(b, b)
T.nan_to_num(f)
T.nan_to_num(f, 1.0, 2.0, 3.0)
T.nan_to_num(b)
T.frac(f[:4])
T.square(b)
T.float_power(i, 2)
T.float_power(2, j)
T.ldexp(T.tensor([0.75, -3.0]), T.tensor([4, -2]))
T.xlogy(T.tensor([0.0, 0.0, 0.0, 1.0]), T.tensor([0.0, nan, inf, 1.0]))
T.logaddexp(T.tensor([inf, -inf, inf, nan]), T.tensor([inf, -inf, -inf, 1.0]))
T.hypot(T.tensor([3.0, inf, nan, 1e38]), T.tensor([4.0, nan, 1.0, 0.0]))
T.lerp(T.tensor([1.0, 3.0]), T.tensor([5.0, 7.0]), 0.25)
T.lerp(T.tensor([1.0, 3.0]), T.tensor([5.0, 7.0]), T.tensor([0.75, 1.0]))
T.addcmul(i, j, i, value=2)
T.addcdiv(f[2:4], f[2:4], j[:2].float())
T.rsub(i, 10, alpha=2)
T.dist(T.tensor([3.0, 0.0]), T.tensor([0.0, 4.0]))
T.isclose(i, i)
T.isclose(b, b)
T.isclose(f, f, equal_nan=True)
T.isclose(f, f, rtol=0, atol=0)
T.add(b, b, alpha=True)
T.asinh(i).dtype
T.erfinv(b)
T.conj(i).dtype
g.conj() is g
g.real is g
T.fmod(T.tensor([7.0, -7.0]), -3)
T.div(i, 4, rounding_mode="trunc")
T.special.expit(T.tensor([0.0]))
T.special.round(T.tensor([0.55]), decimals=1)
T.where(f > 0, 1, 2)
i.clone().gcd_(j)
i.clone().clamp_min_(2)
f.clone().copysign_(-1)
i.clone().bitwise_left_shift_(1)
"""
REFUSED = """
T.eq(2, 3)
T.eq(2, i)
T.maximum(i, 2)
T.atan2(i, 2)
T.logical_and(i, 2)
T.logical_not(2)
T.pow(2, 3)
T.fmod(2, i)
T.copysign(2, i)
T.float_power(2, 3)
T.xlogy(2, 3)
T.special.zeta(2, 3)
T.special.chebyshev_polynomial_t(2, 3)
T.rsub(2, i)
T.sin(2)
T.sin([1.0])
T.isclose(i, 2)
T.isclose(i, i.float())
T.isclose(i, i, rtol=-1)
T.heaviside(i, 2)
T.heaviside(i, i.float())
T.lerp(i, 2, 0.5)
T.lerp(i, i, 0.5)
T.lerp(f, i, 0.5)
T.lerp(f, f, f.double())
T.gcd(f[:4], i)
T.lcm(b, b)
T.nextafter(i, i)
T.hypot(i, i)
T.logaddexp(i, i)
T.igamma(i, i)
T.frexp(i)
T.frac(i)
T.round(i, decimals=1)
T.floor(b)
T.abs(b)
T.neg(b)
b - b
b - 1
1 - b
T.positive(b)
T.relu(b)
T.add(i, i, alpha=1.5)
T.add(i, i, alpha=True)
T.polygamma(-1, f)
T.mvlgamma(f, 0)
T.addcdiv(i, i, i)
T.bitwise_and(i, 1.5)
T.bitwise_left_shift(b, b)
T.bitwise_not(f)
T.div(i, i, rounding_mode="up")
T.pow(b, b)
T.remainder(b, b)
T.floor_divide(b, b)
T.imag(f)
T.pow(i, -1)
T.i0(2.0)
T.dist(i, i)
T.add(f, "x")
T.mul(f, None)
T.eq(f, None)
T.exp(f, f)
i.clone().float_power_(2)
f.clone().float_power_(2)
"""


@pytest.mark.peer
@pytest.mark.parametrize("table", [EXACT, REFUSED], ids=["exact", "refused"])
def test_as_pytorch(table: str) -> None:
    torch = pytest.importorskip("torch")

    found = differences([line for line in table.split("\n") if line], torch, SETUP)

    assert not found, "\n".join(found)


def test_divisors_are_pythons() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8):
        info = np.iinfo(dtype)
        a, b = (rng.integers(info.min, info.max, 40, dtype=dtype, endpoint=True) for _ in range(2))
        a[:3], b[:3] = (0, 0, 6), (0, 4, 0)
        want = np.array([math.gcd(int(x), int(y)) for x, y in zip(a, b, strict=True)]).astype(dtype)
        np.testing.assert_array_equal(tdsl.gcd(tdsl.tensor(a), tdsl.tensor(b)).numpy(), want)
    assert tdsl.lcm(tdsl.tensor([4, -6, 0]), tdsl.tensor([6, 4, 3])).tolist() == [12, 12, 0]


def test_parts_of_floats_are_numpys() -> None:
    x = np.concatenate([np.random.default_rng(0).standard_normal(40) * 10.0 ** np.arange(-320, 320, 16), [0.0, 5e-324]])
    mantissa, exponent = tdsl.frexp(tdsl.tensor(x))
    np.testing.assert_array_equal(mantissa.numpy(), np.frexp(x)[0])
    np.testing.assert_array_equal(exponent.numpy(), np.frexp(x)[1])
    y = tdsl.nextafter(tdsl.tensor(x), tdsl.tensor(inf, dtype=tdsl.float64))
    np.testing.assert_array_equal(y.numpy(), np.nextafter(x, inf))


def test_ties_and_edges_of_gradients() -> None:
    x = tdsl.tensor([1.0, 2.0, nan], requires_grad=True)
    y = tdsl.tensor([1.0, 3.0, 0.0], requires_grad=True)
    tdsl.fmax(x, y).sum().backward()
    assert x.grad.tolist() == [1, 0, 0] and y.grad.tolist() == [0, 1, 1]
    s = tdsl.tensor([0.0], requires_grad=True)
    (tdsl.sinc(s) + tdsl.copysign(s, -1) + tdsl.angle(s)).sum().backward()
    assert s.grad.tolist() == [0]


def test_a_function_is_one_kernel() -> None:
    """What is made of several ops is fused: no step between is stored."""
    x = tdsl.linspace(0.1, 4, 100)
    want = np.log(np.exp(x.numpy()) + 2)
    np.testing.assert_allclose(tdsl.logaddexp(x, tdsl.tensor(math.log(2))).numpy(), want, rtol=1e-6)

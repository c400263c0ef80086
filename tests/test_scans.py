"""Running sums, products and extremes: against PyTorch where it is installed, and against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peers import differences
from reduction_cases import SCANNED, SETUP, cases

import tdsl


@pytest.mark.peer
def test_as_pytorch() -> None:
    torch = pytest.importorskip("torch")

    found = differences(cases(SCANNED), torch, SETUP)

    assert not found, "\n".join(found)


def same(ours: Any, want: Any, rtol: float = 1e-6) -> None:
    np.testing.assert_allclose(np.asarray(ours.detach()), want, rtol=rtol, atol=1e-6)


DATA = np.cos(np.arange(24.0)).reshape(2, 3, 4)


def test_scans_are_numpys() -> None:
    x = tdsl.tensor(DATA)
    for d in range(3):
        same(x.cumsum(d), DATA.cumsum(d))
        same(x.cumprod(d), DATA.cumprod(d))
        same(x.logcumsumexp(d), np.logaddexp.accumulate(DATA, d))
        same(x.cummax(d).values, np.maximum.accumulate(DATA, d))
        same(x.diff(dim=d), np.diff(DATA, axis=d))
        same(tdsl.trapezoid(x, dx=0.5, dim=d), np.trapezoid(DATA, dx=0.5, axis=d))


def test_single_precision_is_carried_in_double() -> None:
    """A million tenths: their sum in single precision would be off by a hundred."""
    sums = tdsl.full((1_000_000,), 0.1).cumsum(0)
    assert abs(float(sums[-1]) - 100_000.0) < 0.05


def test_scans_are_recorded_with_what_follows() -> None:
    x = tdsl.tensor(DATA)
    y = (x * 2).cumsum(1).exp().cumsum(2) + 1
    assert y.value.data is None
    same(y, np.exp((DATA * 2).cumsum(1)).cumsum(2) + 1)


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
def test_gradients_of_every_order_are_those_of_the_sums_and_products(name: str) -> None:
    """Against the same scan written as a reduction under a triangle."""
    data = np.array([0.5, 0.0, -1.5, 2.0, 0.0, 1.25])
    lower = tdsl.ones(6, 6, dtype=tdsl.float64).tril() > 0

    def by_triangle(x: Any) -> Any:
        rows = x.expand(6, 6)
        if name == "logcumsumexp":
            return rows.masked_fill(~lower, -1e9).logsumexp(1)
        return rows.masked_fill(~lower, float(name == "cumprod")).__getattribute__(name[3:])(1)

    found = []
    for function in (by_triangle, lambda x: getattr(x, name)(0)):
        x = tdsl.tensor(data).requires_grad_()
        weights = tdsl.arange(6, dtype=tdsl.float64) + 1
        (first,) = tdsl.autograd.grad((function(x) * weights).sum(), x, create_graph=True)
        (second,) = tdsl.autograd.grad((first * first * weights).sum() + x.sum() * 0, x)
        found.append((np.asarray(first.detach()), np.asarray(second)))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-9, atol=1e-9)


def test_nothing_and_one() -> None:
    for name in ("cumsum", "cumprod", "logcumsumexp"):
        for shape in ((0, 3), (3, 0), (1, 3)):
            x = tdsl.ones(*shape).requires_grad_()
            for d in (0, 1):
                y = getattr(x, name)(d)
                assert y.shape == shape
                assert tdsl.autograd.grad(y.sum(), x)[0].shape == shape
        assert float(getattr(tdsl.tensor(2.0), name)(0)) == 2.0


def test_infinities_and_nan() -> None:
    inf, nan = float("inf"), float("nan")
    same(tdsl.tensor([-inf, -inf, 1.0, inf, 2.0]).logcumsumexp(0), [-inf, -inf, 1.0, inf, inf])
    x = tdsl.tensor([-inf, 1.0, -inf, 2.0]).requires_grad_()
    x.logcumsumexp(0).sum().backward()
    assert x.grad.tolist()[2] == 0.0 and not np.isnan(np.asarray(x.grad)).any()
    found = tdsl.tensor([1.0, nan, 2.0, nan]).cummax(0)
    assert found.indices.tolist() == [0, 1, 1, 3]
    same(found.values, [1.0, nan, nan, nan])


def test_in_place() -> None:
    x = tdsl.tensor([[1, 2], [3, 4]])
    row = x[0]
    assert row.cumsum_(0) is row
    assert x.tolist() == [[1, 3], [3, 4]]
    small = tdsl.tensor([200, 100], dtype=tdsl.uint8)
    assert small.cumsum_(0).tolist() == [200, 44] and small.dtype is tdsl.uint8


def test_a_batch_of_scans() -> None:
    x = tdsl.tensor(DATA)
    same(tdsl.func.vmap(lambda row: row.cumsum(0).cummax(1).values)(x), np.maximum.accumulate(DATA.cumsum(1), 2))
    tangent = tdsl.func.jvp(lambda a: a.cumprod(0), (x,), (tdsl.ones_like(x),))[1]
    same(tangent[1], DATA.sum(0))

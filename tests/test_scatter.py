"""Writes and reductions at positions: against NumPy's ufunc.at, their gradients, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl import Tensor

INDEX = np.array([[0, 2, 0], [2, 2, 1]])
BASE = np.array([[3.0, -1.0, 4.0], [1.0, 5.0, -9.0], [2.0, 6.0, 5.0]])
SOURCE = np.array([[3.0, 5.0, -8.0, 1.0], [9.0, -7.0, 9.0, 2.0]])


def reduced(ufunc: Any, base: Any, include: bool, neutral: float) -> Any:
    places = list(np.indices(INDEX.shape))
    places[0] = INDEX
    want = np.array(base)
    if not include:
        want[tuple(places)] = neutral
    ufunc.at(want, tuple(places), SOURCE[:, :3].astype(base.dtype))
    return want


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int16])
@pytest.mark.parametrize("reduce", ["sum", "prod", "amax", "amin", "mean"])
def test_scatter_reduce(reduce: str, dtype: Any, include: bool) -> None:
    base = BASE.astype(dtype)
    ufunc = {"sum": np.add, "mean": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}[reduce]
    neutral = {"sum": 0, "mean": 0, "prod": 1, "amax": -1000, "amin": 1000}[reduce]
    want = reduced(ufunc, base, include, neutral)
    if reduce == "mean":
        count = np.full(base.shape, int(include))
        np.add.at(count, (INDEX, np.indices(INDEX.shape)[1]), 1)
        count = np.maximum(count, 1)
        want = want / count if want.dtype.kind == "f" else want // count
    made = tdsl.tensor(base).scatter_reduce(
        0, tdsl.tensor(INDEX), tdsl.tensor(SOURCE.astype(dtype)), reduce, include_self=include
    )
    np.testing.assert_allclose(np.asarray(made), want, rtol=1e-6)


def test_scatter_and_its_forms() -> None:
    x, index, source = tdsl.tensor(BASE), tdsl.tensor(INDEX), tdsl.tensor(SOURCE)
    last = np.array(BASE)
    for row in range(2):
        for k in range(3):
            last[INDEX[row, k], k] = SOURCE[row, k]
    np.testing.assert_array_equal(np.asarray(x.scatter(0, index, source)), last)
    np.testing.assert_array_equal(np.asarray(x.scatter(0, index, source, reduce="add")), reduced(np.add, BASE, True, 0))
    assert x.scatter(0, index[:1], 7.0).tolist()[0] == [7.0, -1.0, 7.0]
    assert x.scatter(0, index[:1], value=2.0, reduce="multiply").tolist()[2] == [2.0, 12.0, 5.0]
    assert tdsl.tensor(1.0).scatter(0, tdsl.tensor([0]), 5.0).item() == 5.0
    assert x.scatter(0, index.to(tdsl.int32), 0.0).equal(x.scatter(0, index, 0.0))
    y = tdsl.tensor(BASE)
    assert y.scatter_add_(0, index, source) is y
    np.testing.assert_array_equal(np.asarray(y), reduced(np.add, BASE, True, 0))


def test_index_functions_along_a_dimension() -> None:
    x = tdsl.tensor(BASE)
    rows = tdsl.tensor([2, 0])
    two = tdsl.ones(2, 3, dtype=tdsl.float64)
    assert x.index_add(0, rows, two, alpha=2).tolist() == (BASE + [[2], [0], [2]]).tolist()
    assert x.index_copy(0, rows, two)[0].tolist() == [1, 1, 1]
    assert x.index_fill(1, tdsl.tensor([-1]), 0)[:, 2].tolist() == [0, 0, 0]
    assert x.index_reduce(0, rows, two * 3, "prod")[2].tolist() == [6, 18, 15]
    assert x.index_reduce(0, rows, two * 3, "mean", include_self=False)[0].tolist() == [3, 3, 3]
    assert x.index_select(1, tdsl.tensor([2, 2])).tolist() == BASE[:, [2, 2]].tolist()
    assert tdsl.tensor(4.0).index_add(0, tdsl.tensor([0]), tdsl.tensor(1.0)).item() == 5.0


def test_put_take_and_masks() -> None:
    x = tdsl.tensor(BASE)
    assert x.put(tdsl.tensor([[0, -1]]), tdsl.tensor([7.0, 8.0], dtype=tdsl.float64)).take(
        tdsl.tensor([0, 8])
    ).tolist() == [7, 8]
    twice = x.put(tdsl.tensor([1, 1]), tdsl.tensor([7.0, 8.0], dtype=tdsl.float64), accumulate=True)
    assert twice[0, 1] == 14
    mask = x > 4
    assert x.masked_select(mask).tolist() == BASE[BASE > 4].tolist()
    filled = x.masked_scatter(mask, tdsl.arange(9, dtype=tdsl.float64))
    assert filled.masked_select(mask).tolist() == [0, 1, 2]
    assert tdsl.nonzero_static(mask, size=4, fill_value=9).tolist() == [[1, 1], [2, 1], [2, 2], [9, 9]]
    assert [p.tolist() for p in tdsl.unravel_index(tdsl.tensor([4, 8]), (3, 3))] == [[1, 2], [1, 2]]


def gradient(f: Any, *inputs: Tensor) -> list[Any]:
    result = f(*inputs)
    weights = np.cos(np.arange(result.numel())).reshape(result.shape) + 1.5
    return [np.asarray(g) for g in tdsl.autograd.grad((result * tdsl.tensor(weights)).sum(), inputs)]


FUNCTIONS: dict[str, Any] = {
    "scatter": lambda x, s: x.scatter(0, tdsl.tensor([[0, 2, 1]]), s),
    "scatter_add": lambda x, s: x.scatter_add(0, tdsl.tensor(INDEX), s),
    "prod": lambda x, s: x.scatter_reduce(0, tdsl.tensor(INDEX), s, "prod"),
    "mean": lambda x, s: x.scatter_reduce(0, tdsl.tensor(INDEX), s, "mean", include_self=False),
    "amax": lambda x, s: x.scatter_reduce(0, tdsl.tensor(INDEX), s, "amax"),
    "index_put": lambda x, s: x.index_put((tdsl.tensor([0, 2]), tdsl.tensor([1, 1])), s[:, 0]),
    "accumulate": lambda x, s: x.index_put((tdsl.tensor([0, 0]), tdsl.tensor([1, 1])), s[:, 0], accumulate=True),
    "index_copy": lambda x, s: x.index_copy(1, tdsl.tensor([2, 0]), s.t()[:3]),
    "index_add": lambda x, s: x.index_add(0, tdsl.tensor([1, 1]), s[:, :3], alpha=3),
    "masked_scatter": lambda x, s: x.masked_scatter(x > 2, s),
    "select_scatter": lambda x, s: x.select_scatter(s[0, :3], 1, 1),
    "slice_scatter": lambda x, s: x.slice_scatter(s[:, :3], 0, 0, 3, 2),
    "diagonal_scatter": lambda x, s: x.diagonal_scatter(s[0, :3]),
    "as_strided_scatter": lambda x, s: x.as_strided_scatter(s[:, :2], (2, 2), (4, 1), 0),
    "advanced": lambda x, s: x[[0, 2]][:, [1, 1]] * s[:, :2] + x[[0, 1], [1, 2]] * x[tdsl.tensor([[0], [2]]), [0, 1]],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_are_the_slopes(name: str) -> None:
    f = FUNCTIONS[name]
    arrays = [BASE + 0.1 * np.arange(9).reshape(3, 3), SOURCE + 0.01 * np.arange(8).reshape(2, 4)]
    found = gradient(f, *[tdsl.tensor(a, requires_grad=True) for a in arrays])

    def loss(*values: Any) -> float:
        result = f(*map(tdsl.tensor, values))
        weights = np.cos(np.arange(result.numel())).reshape(result.shape) + 1.5
        return float((np.asarray(result) * weights).sum())

    for k, array in enumerate(arrays):
        for at in np.ndindex(*array.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [np.array(a) for a in arrays]
                moved[k][at] += step
                ends.append(loss(*moved))
            assert found[k][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4, abs=1e-5)


def test_equals_share_the_gradient_and_zeros_keep_the_product() -> None:
    x = tdsl.tensor([2.0, 1.0], requires_grad=True)
    s = tdsl.tensor([2.0, 2.0, 0.0], requires_grad=True)
    index = tdsl.tensor([0, 0, 1])
    most = x.scatter_reduce(0, index, s, "amax").sum()
    a, b = tdsl.autograd.grad(most, (x, s))
    np.testing.assert_allclose(np.asarray(a), [1 / 3, 1])
    np.testing.assert_allclose(np.asarray(b), [1 / 3, 1 / 3, 0])
    product = x.scatter_reduce(0, index, s, "prod").sum()
    a, b = tdsl.autograd.grad(product, (x, s))
    assert (a.tolist(), b.tolist()) == ([4, 0], [4, 4, 1])


def test_positions_outside_are_refused_in_pytorchs_words() -> None:
    x = tdsl.tensor(BASE)
    nine = tdsl.tensor([9])
    refusals = [
        (lambda: x[nine], tdsl.IndexError, "index 9 is out of bounds for dimension 0 with size 3"),
        (lambda: x[:, [0, -4]], tdsl.IndexError, "index -4 is out of bounds for dimension 1 with size 3"),
        (lambda: x[[0, 1], [1, 7]], tdsl.IndexError, "index 7 is out of bounds for dimension 1 with size 3"),
        (lambda: x.gather(0, nine[None]), RuntimeError, "index 9 is out of bounds for dimension 0 with size 3"),
        (lambda: x.scatter(1, -nine[None], x), RuntimeError, "index -9 is out of bounds for dimension 1 with size 3"),
        (lambda: x.index_select(0, -nine), tdsl.IndexError, "index -9 is out of bounds for dimension 0 with size 3"),
        (lambda: x.index_add(0, nine, x[:1]), RuntimeError, "index 9 is out of bounds for dimension 0 with size 3"),
        (lambda: tdsl.ones(0)[nine], tdsl.IndexError, "index is out of bounds for dimension with size 0"),
    ]  # fmt: skip
    for call, error, words in refusals:
        with pytest.raises(error) as info:
            np.asarray(call())
        assert words in str(info.value)


def test_numbers_that_do_not_fit_are_refused() -> None:
    small = tdsl.zeros(2, dtype=tdsl.uint8)
    for call in (
        lambda: small.fill_(300), lambda: small.masked_fill(small == 0, 256), lambda: small.__setitem__(0, 999),
        lambda: small.index_fill(0, tdsl.tensor([0]), -300), lambda: tdsl.full((1,), 1e300),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="value cannot be converted to type .* without overflow"):
            call()
    assert small.fill_(-1).tolist() == [255, 255]

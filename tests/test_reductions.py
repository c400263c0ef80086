"""Reductions, order, statistics and sets: against PyTorch where it is installed, and against NumPy."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from peers import differences
from reduction_cases import COVARIED, KEYWORDS, ORDERED, REDUCED, SETUP, cases

import tdsl


@pytest.mark.peer
@pytest.mark.parametrize(
    "table", [REDUCED, ORDERED, COVARIED, KEYWORDS], ids=["reduced", "ordered", "covaried", "keywords"]
)
def test_as_pytorch(table: str) -> None:
    torch = pytest.importorskip("torch")

    found = differences(cases(table), torch, SETUP)

    assert not found, "\n".join(found)


def same(ours: Any, want: Any) -> None:
    np.testing.assert_allclose(np.asarray(ours.detach()), want, rtol=1e-6, atol=1e-6)


DATA = np.cos(np.arange(24.0)).reshape(2, 3, 4)


def test_moments_are_numpys() -> None:
    x = tdsl.tensor(DATA)
    same(tdsl.var(x, (0, 2), correction=0), DATA.var((0, 2)))
    same(tdsl.std(x, 1), DATA.std(1, ddof=1))
    same(tdsl.std_mean(x, 2, keepdim=True)[1], DATA.mean(2, keepdims=True))
    same(tdsl.var_mean(x, unbiased=False)[0], DATA.var())
    same(tdsl.logsumexp(x, (0, 1)), np.log(np.exp(DATA).sum((0, 1))))
    same(tdsl.cov(x[0], fweights=tdsl.tensor([1, 3, 1, 2])), np.cov(DATA[0], fweights=[1, 3, 1, 2]))
    same(tdsl.corrcoef(x[1]), np.corrcoef(DATA[1]))
    same(tdsl.norm(x, 3, (1, 2)), (np.abs(DATA) ** 3).sum((1, 2)) ** (1 / 3))


def test_quantiles_are_numpys() -> None:
    x, q = tdsl.tensor(DATA), np.array([0.1, 0.5, 0.75])
    for how in ("linear", "lower", "higher", "midpoint", "nearest"):
        same(tdsl.quantile(x, tdsl.tensor(q), 1, interpolation=how), np.quantile(DATA, q, 1, method=how))
    holed = np.where(DATA > 0.8, np.nan, DATA)
    same(tdsl.nanquantile(tdsl.tensor(holed), 0.3, 2), np.nanquantile(holed, 0.3, 2))
    assert np.isnan(float(tdsl.quantile(tdsl.tensor(holed), 0.3)))


def test_results_have_names() -> None:
    x = tdsl.tensor([[1.0, 3.0], [5.0, 2.0]])
    values, indices = found = x.max(1)
    assert found.values is values and found.indices is indices and type(found).__name__ == "max"
    assert repr(found) == "tdsl.return_types.max(\nvalues=tensor([3., 5.]),\nindices=tensor([1, 0]))"
    assert pickle.loads(pickle.dumps(found)).indices.tolist() == [1, 0]
    for made in (x.sort(), x.topk(1), x.median(0), x.mode(0), x.kthvalue(1), x.cummax(0), x.nanmedian(1)):
        assert made._fields == ("values", "indices") and made.indices.dtype is tdsl.int64
    assert x.aminmax()._fields == ("min", "max")
    assert tdsl.histogram(x, 2)._fields == ("hist", "bin_edges")


def test_equals_stay_in_place() -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 5, (3, 200))
    x = tdsl.tensor(data)
    same(tdsl.argsort(x), np.argsort(data, 1, kind="stable"))
    down = tdsl.sort(x, 1, descending=True)
    assert (np.diff(np.asarray(down.values)) <= 0).all()
    tied = np.diff(np.asarray(down.values)) == 0
    assert (np.diff(np.asarray(down.indices))[tied] > 0).all()


def test_topk_of_a_long_row_sorts_only_what_it_keeps() -> None:
    data = np.random.default_rng(1).normal(size=(4, 5000)).astype(np.float32)
    data[1, 7] = np.nan
    found = tdsl.tensor(data).topk(5)
    order = np.argsort(np.where(np.isnan(data), np.inf, data), 1)[:, ::-1][:, :5]
    assert found.indices.tolist() == order.tolist()
    assert tdsl.tensor(data).topk(3, largest=False).indices.tolist() == np.argsort(data, 1)[:, :3].tolist()


def test_searches_of_many_rows() -> None:
    rng = np.random.default_rng(2)
    rows, keys = np.sort(rng.normal(size=(3, 2, 50)), -1), rng.normal(size=(3, 2, 9))
    for right in (False, True):
        want = [[np.searchsorted(r, k, "right" if right else "left") for r, k in zip(*pair, strict=True)]
                for pair in zip(rows, keys, strict=True)]  # fmt: skip
        assert tdsl.searchsorted(tdsl.tensor(rows), tdsl.tensor(keys), right=right).tolist() == np.array(want).tolist()


def test_histograms_are_numpys() -> None:
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(300, 2)), rng.uniform(size=300)
    counts, edges = np.histogram(x[:, 0], 7, weights=w, density=True)
    found = tdsl.histogram(tdsl.tensor(x[:, 0].copy()), 7, weight=tdsl.tensor(w), density=True)
    same(found.hist, counts)
    same(found.bin_edges, edges)
    grid, (first, second) = np.histogramdd(x, (3, 4))[0], np.histogramdd(x, (3, 4))[1]
    grid_found = tdsl.histogramdd(tdsl.tensor(x), [3, 4])
    same(grid_found.hist, grid)
    same(grid_found.bin_edges[0], first)
    same(grid_found.bin_edges[1], second)
    same(tdsl.histc(tdsl.tensor(x[:, 1].copy()), 5, -1, 1), np.histogram(x[:, 1], 5, (-1, 1))[0])


def test_sets_are_numpys() -> None:
    data = np.random.default_rng(4).integers(0, 3, (20, 2, 2))
    x = tdsl.tensor(data)
    values, inverse, counts = tdsl.unique(x, return_inverse=True, return_counts=True, dim=0)
    want = np.unique(data, return_inverse=True, return_counts=True, axis=0)
    same(values, want[0])
    same(inverse, want[1].reshape(-1))
    same(counts, want[2])
    same(x.unique(), np.unique(data))
    assert tdsl.unique_consecutive(tdsl.tensor([1, 1, 2, 1])).tolist() == [1, 2, 1]
    assert tdsl.isin(x, tdsl.tensor([2, 7])).tolist() == np.isin(data, [2, 7]).tolist()


def test_order_is_recorded_and_differentiated_twice() -> None:
    x = tdsl.tensor([3.0, 1.0, 2.0], dtype=tdsl.float64, requires_grad=True)
    loss = (tdsl.msort(x) ** 3 * tdsl.tensor([1.0, 10.0, 100.0], dtype=tdsl.float64)).sum()
    (first,) = tdsl.autograd.grad(loss, x, create_graph=True)
    (second,) = tdsl.autograd.grad(first.sum(), x)
    assert first.tolist() == [2700.0, 3.0, 120.0] and second.tolist() == [1800.0, 6.0, 120.0]


def test_products_with_zeros_have_exact_second_gradients() -> None:
    x = tdsl.tensor([0.0, 2.0, 0.0, 3.0], dtype=tdsl.float64, requires_grad=True)
    (first,) = tdsl.autograd.grad(x.prod(), x, create_graph=True)
    assert first.tolist() == [0.0, 0.0, 0.0, 0.0]
    (second,) = tdsl.autograd.grad(first[0], x)
    assert second.tolist() == [0.0, 0.0, 6.0, 0.0]


def test_a_mask_hides_elements() -> None:
    x, mask = tdsl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), tdsl.tensor([[True, False, True], [False] * 3])
    masked = tdsl.masked
    assert masked.sum(x, 1, mask=mask).tolist() == [4.0, 0.0]
    assert masked.amax(x, 1, mask=mask).tolist() == [3.0, -float("inf")]
    assert masked.mean(x[:1], 1, mask=mask[:1]).tolist() == [2.0]
    assert np.isnan(float(masked.var(x, 1, mask=mask)[1]))
    assert masked.softmax(x[:1], 1, mask=mask[:1])[0, 1].item() == 0.0
    assert masked.cumsum(x, 1, mask=mask).tolist() == [[1.0, 1.0, 4.0], [0.0, 0.0, 0.0]]
    with pytest.raises(IndexError, match="broadcastable mask"):
        masked.sum(x[0], mask=mask)


def test_wrong_arguments_are_refused_in_pytorchs_words() -> None:
    x = tdsl.ones(2, 3)
    with pytest.raises(TypeError, match='cumsum\\(\\) missing 1 required positional arguments: "dim"'):
        x.cumsum()
    with pytest.raises(RuntimeError, match="dim 1 appears multiple times"):
        x.sum((1, -1))
    with pytest.raises(NotImplementedError, match="\"median_cpu\" not implemented for 'Bool'"):
        (x > 0).median()
    with pytest.raises(RuntimeError, match="selected index k out of range"):
        x.topk(4)


def test_results_of_several_tensors_are_written_where_they_are_wanted() -> None:
    x = tdsl.tensor([[1.0, 3.0], [5.0, 2.0]])
    values, indices = tdsl.empty(2), tdsl.empty(2, dtype=tdsl.int64)
    found = tdsl.max(x, 1, out=(values, indices))
    assert found.values is values and values.tolist() == [3.0, 5.0] and indices.tolist() == [1, 0]
    tdsl.sort(x, 0, out=(values, indices))
    assert values.tolist() == [[1.0, 2.0], [5.0, 3.0]] and indices.shape == (2, 2)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype long int, but got float instead"):
        tdsl.topk(x, 1, out=(values, tdsl.empty(2)))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        tdsl.kthvalue(x.clone().requires_grad_(), 1, out=(values, indices))

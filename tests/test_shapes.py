"""Shapes: every view, copy and index form against PyTorch, and what holds without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peers import differences
from shape_cases import ARRANGED, INDEXED, PLACED, REFUSED, SETUP, cases

import tdsl


@pytest.mark.peer
@pytest.mark.parametrize(
    "table", [ARRANGED, INDEXED, PLACED, REFUSED], ids=["arranged", "indexed", "placed", "refused"]
)
def test_as_pytorch(table: str) -> None:
    torch = pytest.importorskip("torch")

    found = differences(cases(table), torch, SETUP)

    assert not found, "\n".join(found)


def data(*shape: int) -> Any:
    return np.arange(float(np.prod(shape)), dtype=np.float32).reshape(shape)


def same(ours: Any, want: Any) -> None:
    np.testing.assert_array_equal(np.asarray(ours), want)


def test_arrangements_are_numpys() -> None:
    a = data(3, 4)
    x = tdsl.tensor(a)
    same(tdsl.rot90(x), np.rot90(a))
    same(tdsl.rot90(x, -1), np.rot90(a, -1))
    same(tdsl.roll(x, (1, -2), (0, 1)), np.roll(a, (1, -2), (0, 1)))
    same(tdsl.tile(x, (2, 1, 2)), np.tile(a, (2, 1, 2)))
    same(x.repeat_interleave(tdsl.tensor([2, 0, 1]), 0), np.repeat(a, [2, 0, 1], 0))
    same(tdsl.column_stack([x[0], x[1]]), np.column_stack([a[0], a[1]]))
    same(tdsl.dstack([x, x]), np.dstack([a, a]))
    same(tdsl.vander(x[0], 3), np.vander(a[0], 3))
    same(tdsl.diagflat(x, 1), np.diagflat(a, 1))
    same(tdsl.tril_indices(3, 4, 1), np.stack(np.tril_indices(3, 1, 4)))
    assert [p.tolist() for p in tdsl.tensor_split(x[0], 3)] == [p.tolist() for p in np.array_split(a[0], 3)]


def test_block_diagonal_and_diagonal_embedding() -> None:
    assert tdsl.block_diag(tdsl.tensor([[1, 2]]), tdsl.tensor(3)).tolist() == [[1, 2, 0], [0, 0, 3]]
    embedded = tdsl.diag_embed(tdsl.tensor([[1, 2], [3, 4]]), -1)
    assert embedded.diagonal(-1, -2, -1).tolist() == [[1, 2], [3, 4]]
    assert int(embedded.sum()) == 10


def test_atleast_and_broadcast_shapes() -> None:
    one, several = tdsl.atleast_2d(tdsl.tensor(1.0)), tdsl.atleast_3d(tdsl.ones(2), tdsl.ones(2, 3))
    assert one.shape == (1, 1)
    assert [x.shape for x in several] == [(1, 2, 1), (2, 3, 1)]
    assert tdsl.broadcast_shapes((2, 1), 3, (1,)) == (2, 3)
    with pytest.raises(tdsl.TdslError, match="Attempting to broadcast a dimension of length 4 at -1"):
        tdsl.broadcast_shapes((2, 3), (4,))


def test_views_of_run_time_sizes() -> None:
    """The same ops on growing shapes: programs with run-time sizes give what exact ones give."""
    for n in (2, 3, 5, 7):
        a = data(n, 4)
        x = tdsl.tensor(a)
        same(x.unfold(1, 2, 1).sum(-1), a[:, :-1] + a[:, 1:])
        same(x.as_strided((n, 2), (4, 3)), a[:, [0, 3]])
        same(x.t().flip(0).roll(1, 1), np.roll(a.T[::-1], 1, 1))
        same(x[:, [0, 2]] + x[:, 1:3], a[:, [0, 2]] + a[:, 1:3])
        same(x[[0, -1], [1, 2]], a[[0, -1], [1, 2]])


def test_gradients_of_views_add_up() -> None:
    x = tdsl.tensor(data(3, 4), requires_grad=True)
    total = x.unfold(1, 2, 1).sum() + 2 * x.as_strided((2, 2), (5, 0), 1).sum() + (3 * x.diagonal(1)).sum()
    (gradient,) = tdsl.autograd.grad(total, x)
    want = np.array([[1, 2 + 4 + 3, 2, 1], [1, 2, 2 + 4 + 3, 1], [1, 2, 2, 1 + 3]])
    same(gradient, want)


def test_bytes_as_another_dtype() -> None:
    x = tdsl.tensor([1.0, -2.0])
    same(x.view(tdsl.int32), np.array([1.0, -2.0], np.float32).view(np.int32))
    assert x.view(tdsl.uint8).shape == (8,)
    assert x.view(tdsl.uint8).view(tdsl.float32).tolist() == [1.0, -2.0]
    with pytest.raises(RuntimeError, match=r"self.size\(-1\) must be divisible by 2 to view Float as Double"):
        tdsl.ones(3).view(tdsl.float64)


def test_a_tensor_keeps_its_storage() -> None:
    with pytest.raises(RuntimeError, match="a tensor keeps its storage"):
        tdsl.ones(2).set_(tdsl.ones(3))
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        tdsl.ones(2, requires_grad=True).resize_(3)
    grown = tdsl.ones(2).resize_(2, 2)
    assert grown.shape == (2, 2)
    assert grown[0].tolist() == [1.0, 1.0]


def test_many_tensors_are_joined() -> None:
    parts = [tdsl.full((2, 3), float(k), requires_grad=True) for k in range(300)]
    made = tdsl.stack(parts)
    (made * made).sum().backward()
    assert made.shape == (300, 2, 3)
    assert made[:, 1, 2].tolist() == [float(k) for k in range(300)]
    assert all(x.grad is not None and x.grad.tolist() == [[2.0 * k] * 3] * 2 for k, x in enumerate(parts))

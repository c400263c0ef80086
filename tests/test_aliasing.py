"""Views share memory, copies do not: every function of either kind, written through on both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl import Tensor

View = Callable[[Tensor], Any]

VIEWS: dict[str, View] = {
    "view": lambda x: x.view(4, 3),
    "reshape": lambda x: x.reshape(2, 6),
    "ravel": lambda x: x.ravel(),
    "flatten": lambda x: x.flatten(),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "permute": lambda x: x.permute(1, 0),
    "transpose": lambda x: x.transpose(0, 1),
    "t": lambda x: x.t(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "H": lambda x: x.H,
    "adjoint": lambda x: x.adjoint(),
    "movedim": lambda x: x.movedim(0, 1),
    "moveaxis": lambda x: x.moveaxis(0, 1),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "swapdims": lambda x: x.swapdims(0, 1),
    "squeeze": lambda x: x[:1].squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "narrow": lambda x: x.narrow(1, 1, 2),
    "select": lambda x: x.select(1, 2),
    "slice": lambda x: x[1:, ::2],
    "slice method": lambda x: x.slice(1, 1, None, 2),
    "integer": lambda x: x[-1],
    "ellipsis": lambda x: x[..., 1],
    "None": lambda x: x[None, :, None],
    "all of it": lambda x: x[()],
    "diagonal": lambda x: x.diagonal(1),
    "diagonal below": lambda x: x.diagonal(-1),
    "unfold": lambda x: x.unfold(1, 2, 2),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 4), 3),
    "as_strided of a view": lambda x: x[1:].t().as_strided((2,), (5,), 0),
    "split": lambda x: x.split(3, 1)[1],
    "split_with_sizes": lambda x: x.split_with_sizes([1, 3], 1)[1],
    "chunk": lambda x: x.chunk(2, 1)[1],
    "tensor_split": lambda x: x.tensor_split(3, 1)[0],
    "hsplit": lambda x: x.hsplit(2)[1],
    "vsplit": lambda x: x.vsplit(3)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "iteration": lambda x: list(x)[1],
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "view_as": lambda x: x.view_as(tdsl.ones(4, 3)),
    "view of a view": lambda x: x.t()[1:].unsqueeze(0).select(2, 1),
    "contiguous": lambda x: x.contiguous(),
    "atleast_3d": lambda x: tdsl.atleast_3d(x),
    "broadcast_tensors": lambda x: tdsl.broadcast_tensors(x, x[0])[0],
    "expand to its own shape": lambda x: x.expand(1, 3, 4),
    "bytes": lambda x: x.view(tdsl.int32),
}

COPIES: dict[str, View] = {
    "clone": lambda x: x.clone(),
    "contiguous of a transpose": lambda x: x.t().contiguous(),
    "reshape of a transpose": lambda x: x.t().reshape(12),
    "flatten of a transpose": lambda x: x.t().flatten(),
    "list": lambda x: x[[0, 1]],
    "mask": lambda x: x[x > -1],
    "tensor index": lambda x: x[:, tdsl.tensor([0, 1])],
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(0, 0),
    "rot90": lambda x: x.rot90(4),
    "repeat": lambda x: x.repeat(1, 1),
    "tile": lambda x: x.tile((1, 1)),
    "repeat_interleave": lambda x: x.repeat_interleave(1, 0),
    "cat": lambda x: tdsl.cat([x]),
    "stack": lambda x: tdsl.stack([x]),
    "gather": lambda x: x.gather(0, tdsl.zeros(3, 4, dtype=tdsl.int64)),
    "index_select": lambda x: x.index_select(0, tdsl.tensor([0])),
    "take": lambda x: x.take(tdsl.tensor([0])),
    "tril": lambda x: x.tril(9),
    "diag": lambda x: x.diag(),
    "scatter of nothing": lambda x: x.scatter(0, tdsl.zeros(0, 0, dtype=tdsl.int64), x),
    "masked_fill": lambda x: x.masked_fill(x > 99, 0),
    "view_copy": lambda x: tdsl.view_copy(x, (12,)),
    "expand_copy": lambda x: tdsl.expand_copy(x, (3, 4)),
    "select_copy": lambda x: tdsl.select_copy(x, 0, 1),
    "slice_copy": lambda x: tdsl.slice_copy(x, 0, 1),
    "narrow_copy": lambda x: x.narrow_copy(0, 0, 3),
    "unbind_copy": lambda x: tdsl.unbind_copy(x)[0],
    "split_copy": lambda x: tdsl.split_copy(x, 2)[0],
    "diagonal_copy": lambda x: tdsl.diagonal_copy(x),
    "unfold_copy": lambda x: tdsl.unfold_copy(x, 1, 2, 1),
    "as_strided_copy": lambda x: tdsl.as_strided_copy(x, (2,), (1,)),
    "detach_copy": lambda x: tdsl.detach_copy(x),
    "select_scatter": lambda x: x.select_scatter(x[0], 0, 0),
}


def base() -> Tensor:
    return tdsl.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))


def seen(view: Tensor, flat: Any) -> Any:
    """What the view shows, by its own strides, of the storage's elements."""
    flat = flat.view(view.dtype.numpy)
    strides = [s * flat.itemsize for s in view.stride()]
    return np.lib.stride_tricks.as_strided(flat[view.storage_offset() :], tuple(view.shape), strides)


@pytest.mark.parametrize("name", VIEWS)
def test_views_alias(name: str) -> None:
    x = base()
    view = VIEWS[name](x)
    np.testing.assert_array_equal(np.asarray(view), seen(view, np.array(x).reshape(-1)))

    view.fill_(77)  # seen in the base ...
    want = np.arange(12, dtype=np.float32)
    seen(view, want)[...] = 77
    np.testing.assert_array_equal(np.asarray(x).reshape(-1), want)

    x.mul_(2)  # ... and the other way round
    np.testing.assert_array_equal(np.asarray(view), seen(view, want * 2))
    assert view._version == x._version or name == "data"


@pytest.mark.parametrize("name", COPIES)
def test_copies_do_not(name: str) -> None:
    x = base()
    copy = COPIES[name](x)
    before = np.array(copy)

    x.zero_()
    np.testing.assert_array_equal(np.asarray(copy), before)
    copy.fill_(5)
    assert not np.asarray(x).any()


def test_writes_at_positions_go_through_views() -> None:
    x = base()
    column = x.t()[1]
    column[[0, 2]] = 50
    column[column == 5] = 60
    column.index_add_(0, tdsl.tensor([0, 0]), tdsl.ones(2))
    column.masked_fill_(column > 55, 61)
    assert x[:, 1].tolist() == [52, 61, 50]
    x.t().scatter_(0, tdsl.tensor([[3, 0, 3]]), -1)
    assert x.tolist()[0][3] == x.tolist()[1][0] == x.tolist()[2][3] == -1
    x.diagonal().copy_(tdsl.tensor([7, 8, 9]))
    assert x.diagonal().tolist() == [7, 8, 9]


def test_overlapping_views_are_written_where_they_are_seen() -> None:
    x = base()
    windows = x.view(-1).unfold(0, 3, 1)
    windows[2] = 0
    windows[4, 0] = -4
    assert x.view(-1).tolist() == [0, 1, 0, 0, -4, 5, 6, 7, 8, 9, 10, 11]
    stretched = x[0].expand(3, 4)
    stretched[1, 2:] = 9
    assert stretched.tolist() == [[0, 1, 9, 9]] * 3
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        stretched.add_(1)
    stretched.zero_()
    assert not x[0].any()


def test_shapes_change_in_place_with_their_memory() -> None:
    x = base()
    y = x.view(-1)
    x.t_()
    x[1] = 0
    x.unsqueeze_(0).squeeze_(0).swapaxes_(0, 1)
    assert x.shape == (3, 4)
    assert y.tolist() == [0, 0, 2, 3, 4, 0, 6, 7, 8, 0, 10, 11]
    x.resize_(2, 2)[1, 1] = 99
    assert y.tolist()[:4] == [0, 0, 2, 99]
    x.as_strided_((2,), (6,), 5).fill_(1)
    assert (y[5], y[11]) == (1, 1)


def test_bytes_are_shared_between_dtypes_and_numpy() -> None:
    array = np.zeros(4, np.float32)
    x = tdsl.from_numpy(array)
    x.view(tdsl.int32)[1] = np.float32(2.5).view(np.int32).item()
    assert array.tolist() == [0, 2.5, 0, 0]
    x.view(2, 2).t()[0] = 3
    assert array.tolist() == [3, 2.5, 3, 0]
    corner = x.view(2, 2)[1, 1]
    assert corner == 0
    array[3] = 8
    assert corner == 8
    leaf = x[1:].requires_grad_()
    (leaf * leaf).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.tolist() == [5, 6, 16]
    assert x.view(tdsl.int32).numpy()[3] == np.float32(8).view(np.int32)


def test_a_copy_is_not_spoiled_by_writes_to_its_source() -> None:
    leaf = tdsl.ones(3, requires_grad=True)
    x = leaf * 2
    copy = x.clone()
    loss = (copy * copy).sum()
    x.add_(1)
    (gradient,) = tdsl.autograd.grad(loss, leaf)
    assert gradient.tolist() == [8, 8, 8]
    assert copy.grad_fn.name() == "CloneBackward0"


def test_detached_views_stay_detached() -> None:
    x = tdsl.ones(3, requires_grad=True) * 2
    cut = x.detach()
    x.add_(1)
    assert not cut.requires_grad
    assert not cut.view(tdsl.int32).requires_grad
    assert cut.tolist() == [3, 3, 3]
    assert not cut[1:].as_strided((3,), (1,), 0).requires_grad


def test_gradients_flow_around_a_written_part() -> None:
    leaf = tdsl.tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=True)
    x = leaf * 1.5
    x.select(-1, 0).add_(1)
    x.unfold(1, 2, 1)[0, 0, 1] = 0
    (gradient,) = tdsl.autograd.grad((x * x).sum(), leaf)
    values = np.arange(6, dtype=np.float32).reshape(2, 3) * 1.5
    values[:, 0] += 1
    values[0, 1] = 0
    np.testing.assert_allclose(np.asarray(gradient), 3 * values)

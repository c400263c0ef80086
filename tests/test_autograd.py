"""Autograd's semantics, in PyTorch's words where it has some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl


def leaf(*values: float) -> Any:
    return tdsl.tensor(list(values), requires_grad=True)


def test_gradients_accumulate_in_place() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (x * x).sum().backward()

    assert x.grad is first and x.grad.tolist() == [4.0, 8.0]


def test_leaves_are_not_written_in_place() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x += 1
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used"):
        x[0] = 5
    with tdsl.no_grad():
        x += 1
    assert x._version == 1 and x.is_leaf and x.requires_grad


def test_scalars_only_without_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape: grad_output"):
        (x * 2).backward(tdsl.ones(3))
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        tdsl.ones(()).backward()
    (x * 2).sum().reshape(1, 1).backward()


def test_a_second_backward_needs_what_was_saved() -> None:
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()
    z = (x + 1).sum()
    z.backward()
    z.backward()
    w = (x * x).sum()
    w.backward(retain_graph=True)
    w.backward()


def test_saved_values_may_not_change() -> None:
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    fine = x * 2
    fine.add_(1)
    fine.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2.0, 2.0]


def test_grad_leaves_grad_alone() -> None:
    x, unused = leaf(2.0), leaf(1.0)
    (g,) = tdsl.autograd.grad((x**3).sum(), x, create_graph=True)
    (h,) = tdsl.autograd.grad(g.sum(), x)
    assert x.grad is None and g.item() == 12.0 and h.item() == 12.0
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        tdsl.autograd.grad((x * 2).sum(), unused)
    assert tdsl.autograd.grad((x * 2).sum(), unused, allow_unused=True) == (None,)


def test_modes() -> None:
    x = leaf(1.0)
    with tdsl.no_grad():
        y = x * 2
        with tdsl.enable_grad():
            z = x * 2
    assert not y.requires_grad and y.is_leaf and z.requires_grad
    assert not x.detach().requires_grad
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        x.numpy()


def test_hooks_replace_gradients_and_can_be_removed() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    seen: list[Any] = []
    handle = y.register_hook(lambda g: g * 10)
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [30.0, 30.0] and seen == [[30.0, 30.0]]
    handle.remove()
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_in_place_through_a_view_rebases() -> None:
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    y[:2].mul_(3)
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [3.0, 3.0, 1.0]
    b = tdsl.zeros(3)
    b[:2] = x[:2]
    assert b.requires_grad


@pytest.mark.parametrize(
    ("f", "x", "want"),
    [
        (lambda x: x.max(), [1.0, 3.0, 3.0, 3.0], [0, 1 / 3, 1 / 3, 1 / 3]),
        (lambda x: x.amax(), [1.0, 3.0, 3.0], [0, 0.5, 0.5]),
        (lambda x: x.max(0).values, [1.0, 3.0, 3.0], [0, 1, 0]),
        (lambda x: x.clamp(0, 1).sum(), [-1.0, 0.0, 0.5, 1.0, 2.0], [0, 1, 1, 1, 0]),
        (lambda x: x.relu().sum(), [0.0, 1.0], [0, 1]),
        (lambda x: x.abs().sum(), [0.0, -2.0], [0, -1]),
        (lambda x: x.prod(), [0.0, 2.0, 3.0], [6, 0, 0]),
        (lambda x: x.prod(), [0.0, 0.0, 3.0], [0, 0, 0]),
        (lambda x: (x**0).sum(), [0.0, 2.0], [0, 0]),
        (lambda x: x.norm(), [0.0, 0.0], [0, 0]),
        (lambda x: x[[0, 0, 1]].sum(), [1.0, 2.0], [2, 1]),
        (lambda x: x.floor().sum() + x.sum(), [1.5], [1]),
    ],
)
def test_subgradients(f: Any, x: list[float], want: list[float]) -> None:
    t = leaf(*x)
    f(t).backward()
    assert t.grad is not None
    np.testing.assert_allclose(t.grad.tolist(), want, rtol=1e-6)


class Scale(tdsl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, k: float) -> Any:
        ctx.save_for_backward(x)
        ctx.k = k
        assert not tdsl.is_grad_enabled()
        return x * x * k

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return g * 2 * x * ctx.k, None


def test_custom_functions_differentiate_twice() -> None:
    x = tdsl.randn(4, dtype=tdsl.float64, requires_grad=True)
    assert tdsl.autograd.gradcheck(lambda u: Scale.apply(u, 3.0), (x,))
    assert tdsl.autograd.gradgradcheck(lambda u: Scale.apply(u, 3.0), (x,))


class Wrong(tdsl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any) -> Any:
        return x + y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def test_a_function_returns_one_gradient_an_input() -> None:
    with pytest.raises(RuntimeError, match="returned an incorrect number of gradients .expected 2, got 1."):
        Wrong.apply(leaf(1.0), leaf(2.0)).sum().backward()


def test_only_floating_tensors_require_grad() -> None:
    with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
        tdsl.tensor([1, 2], requires_grad=True)
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        (leaf(1.0) * 2).requires_grad = False

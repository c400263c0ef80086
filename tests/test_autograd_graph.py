"""Autograd's edges against PyTorch's: inference mode, anomalies, nodes and hooks, what is saved, checkpoints, and the
functions of `autograd.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tdsl

DOUBLE = tdsl.float64


def leaf(*values: float) -> Any:
    return tdsl.tensor(values, dtype=DOUBLE, requires_grad=True)


def test_inference_mode() -> None:
    x = leaf(1, 2)
    with tdsl.inference_mode():
        t = tdsl.ones(2, dtype=DOUBLE)
        view = x[:1]
        assert t.is_inference() and not view.is_inference() and not (x * 2).requires_grad
        assert tdsl.is_inference_mode_enabled() and not tdsl.is_grad_enabled()
        t.add_(1)
        with tdsl.inference_mode(False):
            assert not tdsl.ones(1).is_inference() and (x * 2).requires_grad
    assert (x + t).tolist() == [3, 4] and t[:1].is_inference() and not t.clone().is_inference()
    for use, message in [
        (lambda: x * t, "cannot be saved for backward"), (lambda: t.add_(1), "Inplace update to inference tensor"),
        (lambda: t.view(2).mul_(2), "Inplace update"), (lambda: t.requires_grad_(), "Setting requires_grad=True"),
        (lambda: t._version, "version counter"),
    ]:  # fmt: skip
        with pytest.raises(RuntimeError, match=message):
            use()
    (x * t.clone()).sum().backward()
    assert x.grad.tolist() == [2, 2]

    @tdsl.inference_mode()
    def made() -> Any:
        return tdsl.ones(1)

    assert made().is_inference() and tdsl.inference_mode(made)().is_inference()


def test_anomalies_name_the_line() -> None:
    x = leaf(0)
    y = x.sqrt() * 0  # the line to be named
    with pytest.warns(UserWarning, match="Anomaly Detection has been enabled"):
        detection = tdsl.autograd.detect_anomaly()
    with detection, pytest.warns(UserWarning, match="(?s)Error detected in SqrtBackward0.*the line to be named"):
        with pytest.raises(RuntimeError, match="(?s)Function 'SqrtBackward0' returned nan.*the line to be named"):
            y.sum().backward(retain_graph=True)
    with tdsl.autograd.set_detect_anomaly(True, check_nan=False):
        y.sum().backward(retain_graph=True)
    y.sum().backward()
    assert np.isnan(x.grad.numpy()).all()


def test_nodes_and_their_hooks() -> None:
    x = leaf(1, 2)
    y = (x * 3).exp()
    node = y.grad_fn
    assert node is y.grad_fn and type(node).__name__ == node.name() == "ExpBackward0"
    ((inner, _),) = node.next_functions
    assert inner.name() == "MulBackward0"
    (accumulate, _), (nothing, _) = inner.next_functions
    assert nothing is None and accumulate.name() == "AccumulateGrad" and accumulate.variable is x
    assert accumulate.next_functions == ()
    calls = []
    node.register_prehook(lambda grads: calls.append("before") or (grads[0] * 2,))
    handle = node.register_hook(lambda inputs, outputs: calls.append("after") or (inputs[0] * 0 + 1,))
    y.sum().backward(retain_graph=True)
    assert calls == ["before", "after"] and x.grad.tolist() == [3, 3]
    handle.remove()
    x.grad = None
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), 6 * np.exp([3, 6]))


def test_hooks_of_several_tensors() -> None:
    a, b = leaf(1), leaf(2)
    seen: list[Any] = []
    with tdsl.autograd.graph.register_multi_grad_hook([a, b], seen.append):
        (a * b).sum().backward()
        (a * 2).sum().backward()
    (a * b).sum().backward()
    assert [[None if g is None else g.tolist() for g in s] for s in seen] == [[[2], [1]], [[2], None]]
    seen.clear()
    with tdsl.autograd.graph.register_multi_grad_hook([a, b], seen.append, mode="any"):
        (a * b).sum().backward()
    assert len(seen) == 1
    with pytest.raises(ValueError, match="Expects mode"):
        tdsl.autograd.graph.register_multi_grad_hook([a], print, mode="some")
    posts: list[Any] = []
    a.register_post_accumulate_grad_hook(lambda t: posts.append(t.grad.tolist()))
    a.grad = None
    (a * 2).sum().backward()
    assert posts == [[2]]


def test_what_is_saved_goes_through_hooks() -> None:
    x = leaf(1, 2)
    packed: list[Any] = []

    def pack(t: Any) -> int:
        packed.append(t.detach().clone())
        return len(packed) - 1

    with tdsl.autograd.graph.saved_tensors_hooks(pack, lambda k: packed[k] * 2):
        y = x * x.exp()
    assert len(packed) == 3
    y.sum().backward()
    # exp's result is doubled where exp and the product saved it, and so is x
    e = np.exp([1, 2])
    assert np.allclose(x.grad.numpy(), 2 * e + 2 * np.array([1, 2]) * 2 * e)
    with tdsl.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: 3):
        y = x.exp()
    with pytest.raises(TypeError, match="unpack_hook expected to be a Tensor but got result of type int"):
        y.sum().backward()
    with tdsl.autograd.graph.save_on_cpu():
        y = x.exp()
    x.grad = None
    y.sum().backward()
    assert np.allclose(x.grad.numpy(), e)


def test_functions() -> None:
    class Both(tdsl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            sign = (x > 0).to(DOUBLE)
            ctx.mark_non_differentiable(sign)
            return x * sign, sign

        @staticmethod
        @tdsl.autograd.once_differentiable
        def backward(ctx: Any, g: Any, _: Any) -> Any:
            (x,) = ctx.saved_tensors
            return g * (x > 0).to(DOUBLE)

    x = leaf(-1, 2)
    y, sign = Both.apply(x)
    assert y.requires_grad and not sign.requires_grad
    (g,) = tdsl.autograd.grad(y.sum(), x, create_graph=True)
    assert g.tolist() == [0, 1]
    with pytest.raises(RuntimeError, match="trying to differentiate twice"):
        (g * x).sum().backward()

    class Twice(tdsl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2

    a = leaf(1, 2)
    b = a * 1
    c = Twice.apply(b)
    c.sum().backward()
    assert c.tolist() == [2, 4] and a.grad.tolist() == [2, 2]


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoints(use_reentrant: bool) -> None:
    from tdsl.utils.checkpoint import checkpoint, checkpoint_sequential

    tdsl.manual_seed(0)
    model = tdsl.nn.Sequential(*[m for _ in range(3) for m in (tdsl.nn.Linear(4, 4), tdsl.nn.Tanh())])
    x = tdsl.rand(5, 4, requires_grad=True)
    model(x).sum().backward()
    wanted = [x.grad.clone(), *[p.grad.clone() for p in model.parameters()]]
    for run in (
        lambda: checkpoint(model, x, use_reentrant=use_reentrant),
        lambda: checkpoint_sequential(model, 3, x, use_reentrant=use_reentrant),
    ):
        x.grad = None
        model.zero_grad()
        loss = run().sum()
        loss.item()  # the forward runs alone, so the backward computes again what was not kept
        loss.backward()
        for a, b in zip(wanted, [x.grad, *[p.grad for p in model.parameters()]], strict=True):
            assert np.allclose(a.numpy(), b.numpy(), atol=1e-6)
    noise = checkpoint(lambda t: (t * tdsl.rand(5, 4)).exp(), x, use_reentrant=use_reentrant)
    noise.sum().item()
    (g,) = tdsl.autograd.grad(noise.sum(), x)
    assert np.allclose(g.numpy(), (noise * noise.log() / x).detach().numpy(), atol=1e-5)


def test_checkpoints_that_give_no_gradient() -> None:
    from tdsl.utils.checkpoint import checkpoint

    w = leaf(1)
    with pytest.warns(UserWarning, match="None of the inputs have requires_grad=True"):
        assert not checkpoint(lambda t: t * w, tdsl.ones(1, dtype=DOUBLE), use_reentrant=True).requires_grad
    assert checkpoint(lambda t: t * w, tdsl.ones(1, dtype=DOUBLE), use_reentrant=False).requires_grad
    with pytest.raises(ValueError, match="Unexpected keyword arguments: k"):
        checkpoint(lambda t: t, w, use_reentrant=True, k=1)
    with pytest.warns(UserWarning, match="should be passed explicitly"):
        checkpoint(lambda t: t, w)


# ---- autograd.functional

X, Y = np.linspace(0.5, 2, 3), np.linspace(-1, 1, 6).reshape(3, 2)
CALLS: dict[str, Callable[..., Any]] = {
    "vjp": lambda f, x, y: f.vjp(lambda a: a.exp(), x, x * 2),
    "vjp of several": lambda f, x, y: f.vjp(lambda a, b: ((a @ b).sin(), a.sum()), (x, y), (y[0], x[0])),
    "vjp without v": lambda f, x, y: f.vjp(lambda a: (a * a).sum(), x),
    "jvp": lambda f, x, y: f.jvp(lambda a: a.exp(), x, x * 2),
    "jvp of several": lambda f, x, y: f.jvp(lambda a, b: ((a @ b).sin(), a.sum()), (x, y), (x, y * 2)),
    "jacobian": lambda f, x, y: f.jacobian(lambda a: a.exp() * a[0], x),
    "jacobian of several": lambda f, x, y: f.jacobian(lambda a, b: (a @ b, a.sum()), (x, y)),
    "unused": lambda f, x, y: f.jacobian(lambda a, b: a * 2, (x, y)),
    "with graph": lambda f, x, y: f.jacobian(lambda a: a**3, x.requires_grad_(), create_graph=True),
    "hessian": lambda f, x, y: f.hessian(lambda a: (a**3).sum(), x),
    "hessian of several": lambda f, x, y: f.hessian(lambda a, b: (a @ b).sin().sum(), (x, y)),
    "vhp": lambda f, x, y: f.vhp(lambda a: (a**3).prod(), x, x * 2),
    "hvp": lambda f, x, y: f.hvp(lambda a, b: (a @ b).sin().sum(), (x, y), (x, y)),
    "no vector": lambda f, x, y: f.vjp(lambda a: a, x),
    "no vector of jvp": lambda f, x, y: f.jvp(lambda a: a, x),
    "vector size": lambda f, x, y: f.vjp(lambda a: a, x, x[:2]),
    "vector count": lambda f, x, y: f.vjp(lambda a, b: (a, b), (x, y), (x,)),
    "no tensor": lambda f, x, y: f.vjp(lambda a: a, 3),
    "no tensors": lambda f, x, y: f.jacobian(lambda a: a, (x, 3)),
    "output": lambda f, x, y: f.jacobian(lambda a: 3, x),
    "not one": lambda f, x, y: f.hessian(lambda a: a, x),
    "several": lambda f, x, y: f.hvp(lambda a: (a.sum(), a), x, x),
    "strict output": lambda f, x, y: f.jacobian(lambda a: y, x, strict=True),
    "strict input": lambda f, x, y: f.jacobian(lambda a, b: a * 2, (x, y), strict=True),
    "strict vjp": lambda f, x, y: f.vjp(lambda a, b: a * 2, (x, y), x, strict=True),
    "strict hessian": lambda f, x, y: f.hessian(lambda a: a.sum(), x, strict=True),
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("name", CALLS)
def test_functional_as_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._pytree import tree_flatten

    from tdsl.func.tree import flatten

    def outcome(lib: Any, flat: Any) -> Any:
        try:
            found = CALLS[name](lib.autograd.functional, lib.tensor(X), lib.tensor(Y))
        except Exception as error:
            return error
        return flat(found)[0]

    ours, theirs = outcome(tdsl, flatten), outcome(torch, tree_flatten)
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
        words = str(theirs).replace("torch.", "tdsl.").split(" has type")[0]
        assert str(ours).startswith(words)
        return
    assert isinstance(ours, list) and len(ours) == len(theirs), ours
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-12)

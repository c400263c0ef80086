"""Layers, losses and optimizers against PyTorch on the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl import nn, optim

RNG = np.random.default_rng(0)


def data(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


LAYERS = [
    ("Linear(5, 3)", (4, 5)),
    ("Linear(5, 3, bias=False)", (2, 4, 5)),
    ("Conv2d(2, 4, 3)", (2, 2, 7, 6)),
    ("Conv2d(2, 4, 3, stride=2, padding=1)", (2, 2, 7, 6)),
    ("Conv2d(2, 4, (3, 2), dilation=2, padding=2)", (1, 2, 7, 6)),
    ("Conv2d(4, 6, 3, padding=1, groups=2)", (2, 4, 5, 5)),
    ("MaxPool2d(2)", (2, 3, 6, 6)),
    ("MaxPool2d(3, stride=2, padding=1)", (2, 3, 7, 7)),
    ("AvgPool2d(2)", (2, 3, 6, 6)),
    ("LayerNorm(6)", (3, 6)),
    ("BatchNorm1d(4)", (8, 4)),
    ("BatchNorm2d(3)", (4, 3, 5, 5)),
    ("GELU()", (3, 4)),
    ("GELU(approximate='tanh')", (3, 4)),
    ("SiLU()", (3, 4)),
    ("ELU()", (3, 4)),
    ("LeakyReLU(0.2)", (3, 4)),
    ("Softmax(dim=1)", (3, 4)),
    ("LogSoftmax(dim=-1)", (3, 4)),
    ("Sequential({0}.Linear(4, 3), {0}.ReLU(), {0}.Linear(3, 2))", (5, 4)),
]


@pytest.mark.peer
@pytest.mark.parametrize(("text", "shape"), LAYERS)
def test_layer(text: str, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    ours = eval(f"nn.{text}".format("nn"), {"nn": nn})
    theirs = eval(f"nn.{text}".format("nn"), {"nn": torch.nn})
    ours.load_state_dict({k: tdsl.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x = data(*shape)
    a, b = tdsl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    seed = data(*z.shape)
    y.backward(tdsl.tensor(seed))
    z.backward(torch.tensor(seed))

    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-5)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    for (name, u), v in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(u.numpy(), v.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


CLASSES = RNG.integers(0, 4, 6)
LOSSES = [
    ("cross_entropy", (6, 4), CLASSES, {}),
    ("cross_entropy", (6, 4), CLASSES, {"label_smoothing": 0.1}),
    ("cross_entropy", (6, 4), CLASSES, {"ignore_index": 2}),
    ("cross_entropy", (6, 4), CLASSES, {"reduction": "sum"}),
    ("cross_entropy", (6, 4), CLASSES, {"reduction": "none"}),
    ("cross_entropy", (2, 4, 3), CLASSES.reshape(2, 3), {}),
    ("mse_loss", (3, 4), data(3, 4), {}),
    ("l1_loss", (3, 4), data(3, 4), {}),
    ("smooth_l1_loss", (3, 4), data(3, 4), {}),
    ("binary_cross_entropy_with_logits", (3, 4), (data(3, 4) > 0).astype(np.float32), {}),
]


@pytest.mark.peer
@pytest.mark.parametrize(("name", "shape", "target", "options"), LOSSES)
def test_loss(name: str, shape: tuple[int, ...], target: Any, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = data(*shape)
    a, b = tdsl.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = getattr(nn.functional, name)(a, tdsl.tensor(target), **options)
    z = getattr(torch.nn.functional, name)(b, torch.tensor(target), **options)
    y.sum().backward()
    z.sum().backward()

    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-4, atol=1e-6)


OPTIMIZERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True}),
    ("AdamW", {"lr": 0.01, "maximize": True}),
]


@pytest.mark.peer
@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_optimizer(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    w, x = data(3, 4), data(5, 4)
    p, q = tdsl.tensor(w, requires_grad=True), torch.tensor(w, requires_grad=True)
    ours, theirs = getattr(optim, name)([p], **options), getattr(torch.optim, name)([q], **options)
    for _ in range(5):
        for opt, t, u in ((ours, p, tdsl.tensor(x)), (theirs, q, torch.tensor(x))):
            opt.zero_grad()
            ((u @ t.t()) ** 2).mean().backward()
            opt.step()

    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_state_travels_and_is_checked() -> None:
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(net.state_dict())
    assert other.weight.tolist() == net.weight.tolist()
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({"weight": net.weight})
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        other.load_state_dict({"weight": tdsl.zeros(2, 2), "bias": tdsl.zeros(2)}, strict=False)
    assert other.weight.tolist() == net.weight.tolist()


def test_modules_refuse_what_pytorch_refuses() -> None:
    net = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="cannot assign 'Tensor' as parameter 'weight'"):
        net.weight = tdsl.zeros(2, 3)
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        optim.SGD([net.weight * 2], lr=0.1)
    with pytest.raises(ValueError, match="optimizer got an empty parameter list"):
        optim.SGD([], lr=0.1)
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        nn.functional.cross_entropy(tdsl.zeros(2, 3), tdsl.tensor([0, 5]))

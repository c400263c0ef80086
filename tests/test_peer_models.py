"""Networks written once, run by both libraries on the same weights: outputs, gradients and three optimizer steps.

The steps are taken in float64: in float32 a gradient that is 0 but for rounding (a bias before a norm) becomes a step
of any direction. In float32, outputs and gradients are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peer_models
import pytest

import tdsl

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peer

IMAGES = np.random.default_rng(1).standard_normal((3, 3, 32, 32)).astype(np.float32)
PLANES = np.random.default_rng(2).standard_normal((2, 2, 8, 8)).astype(np.float32)
NOISE = np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32)
LETTERS = np.random.default_rng(4).integers(1, 20, (2, 9))
PADDED = LETTERS * (np.arange(9) < [[9], [6]])

# The optimizers are those with which each network became known, or an unusual one: all of them take three steps.
MODELS: dict[str, tuple[Any, Callable[[Any, Any], Any]]] = {
    "resnet18": (IMAGES, lambda T, p: T.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)),
    "gpt2": (LETTERS, lambda T, p: T.optim.AdamW(p, lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)),
    "lstm_language_model": (LETTERS, lambda T, p: T.optim.SGD(p, lr=0.5)),
    "transformer": (PADDED, lambda T, p: T.optim.Adam(p, lr=1e-3, betas=(0.9, 0.98), eps=1e-6)),
    "unet": (PLANES, lambda T, p: T.optim.RMSprop(p, lr=1e-3, momentum=0.9)),
    "dcgan": (NOISE, lambda T, p: T.optim.Adam(p, lr=2e-4, betas=(0.5, 0.999), eps=1e-4)),
    "vit": (IMAGES[:, :, :16, :16], lambda T, p: T.optim.NAdam(p, lr=1e-3, eps=1e-4)),
}


def array(x: Any) -> Any:
    return np.asarray(x.detach())


def close(mine: Any, theirs: Any, what: str, tolerance: float, least: float = 1e-3) -> None:
    """Equal but for rounding, which is measured against the largest element, or `least`."""
    a, b = array(mine), array(theirs)
    assert a.shape == b.shape and a.dtype == b.dtype, what
    error = float(np.abs(a - b).max(initial=0)) / max(least, float(np.abs(b).max(initial=0)))
    assert error <= tolerance, f"{what} differs by {error:.1e}"


def pair(name: str, dtype: str) -> tuple[Any, Any]:
    """The network in tdsl and in PyTorch, with the same weights under the same names."""
    build = getattr(peer_models, name)
    torch.manual_seed(0)
    mine, theirs = (build(T).to(getattr(T, dtype)) for T in (tdsl, torch))
    with torch.no_grad():
        for p in theirs.parameters():  # those that begin as 0 or 1, too, so that no term of a gradient hides
            p.add_(0.1 * torch.randn(p.shape))
    state = {k: tdsl.tensor(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    assert list(mine.state_dict()) == list(state)
    assert str(mine.load_state_dict(state)) == "<All keys matched successfully>"
    return mine, theirs


def outcome(T: Any, net: Any, x: Any) -> tuple[Any, Any]:
    """The output, and a loss in which every element of it has its own weight."""
    dtype = next(net.parameters()).dtype
    x = T.tensor(x)
    y = net(x.to(dtype) if x.dtype.is_floating_point else x)
    weights = T.cos(T.arange(y.numel(), dtype=dtype)).reshape(y.shape)
    return y, (y * weights).mean() + (y**2).mean()


def backward_both(mine: Any, theirs: Any, x: Any, tolerance: float) -> None:
    """Outputs and all gradients of both, compared."""
    (y, loss), (z, wanted) = outcome(tdsl, mine, x), outcome(torch, theirs, x)
    close(y, z, "output", tolerance)
    close(loss, wanted, "loss", tolerance)
    loss.backward()
    wanted.backward()
    largest = max(float(p.grad.abs().max()) for p in theirs.parameters())
    for (key, p), q in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        close(p.grad, q.grad, f"gradient of {key}", 10 * tolerance, 1e-2 * largest)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_network_takes_the_same_steps(name: str, peer_summary: list[str]) -> None:
    x, optimizer = MODELS[name]
    mine, theirs = pair(name, "float64")
    opts = optimizer(tdsl, mine.parameters()), optimizer(torch, theirs.parameters())
    for _ in range(3):
        for opt in opts:
            opt.zero_grad()
        backward_both(mine, theirs, x, 1e-8)
        for opt in opts:
            opt.step()
    for (key, a), b in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        close(a, b, key, 1e-7)
    mine.eval()
    theirs.eval()
    close(outcome(tdsl, mine, x)[0], outcome(torch, theirs, x)[0], "output in evaluation", 1e-7)
    peer_summary.append(f"{name}: outputs, gradients and three optimizer steps agree")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_network_is_the_same_in_single_precision(name: str) -> None:
    mine, theirs = pair(name, "float32")
    backward_both(mine, theirs, MODELS[name][0], 1e-4)

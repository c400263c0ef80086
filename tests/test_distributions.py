"""Distributions against PyTorch's: densities, moments, divergences, refusals; samples against their moments."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl.distributions.gamma import slope
from tdsl.tensor import from_array

SPECIAL = hasattr(tdsl.Tensor, "lgamma") and hasattr(tdsl.Tensor, "digamma")
A, B = np.array([0.5, 1.0, 2.5]), np.array([[1.5], [0.75]])
C = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.3], [0.1, 0.3, 0.8]])
P = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
MAKE: dict[str, Callable[..., Any]] = {
    "Normal": lambda t, d: d.Normal(t.tensor(A), t.tensor(B)),
    "Normal of numbers": lambda t, d: d.Normal(1, 2.0),
    "Laplace": lambda t, d: d.Laplace(t.tensor(A), t.tensor(B)),
    "Uniform": lambda t, d: d.Uniform(t.tensor(-A), t.tensor(B)),
    "Uniform of numbers": lambda t, d: d.Uniform(0.0, 1.0),
    "Exponential": lambda t, d: d.Exponential(t.tensor(A)),
    "Bernoulli": lambda t, d: d.Bernoulli(t.tensor(P)),
    "Bernoulli of logits": lambda t, d: d.Bernoulli(logits=t.tensor(A)),
    "Bernoulli of a number": lambda t, d: d.Bernoulli(0.5),
    "Categorical": lambda t, d: d.Categorical(t.tensor(P * 3)),
    "Categorical of logits": lambda t, d: d.Categorical(logits=t.tensor(P)),
    "Independent": lambda t, d: d.Independent(d.Normal(t.tensor(A), t.tensor(B)), 1),
    "Gamma": lambda t, d: d.Gamma(t.tensor(A), t.tensor(B)),
    "Beta": lambda t, d: d.Beta(t.tensor(A), t.tensor(B)),
    "Beta of numbers": lambda t, d: d.Beta(2.0, 3),
    "MultivariateNormal": lambda t, d: d.MultivariateNormal(t.tensor(A), t.tensor(C)),
    "MultivariateNormal of a factor": lambda t, d: d.MultivariateNormal(t.tensor(P), scale_tril=t.tensor(C).tril()),
    "MultivariateNormal of an inverse": lambda t, d: d.MultivariateNormal(t.tensor(P), precision_matrix=t.tensor(C)),
    "Dirichlet": lambda t, d: d.Dirichlet(t.tensor(P * 10)),
}
ALWAYS = [n for n in MAKE if n.split()[0] not in ("Gamma", "Beta", "Dirichlet")]
NAMES = list(MAKE) if SPECIAL else ALWAYS
PARTS = ("mean", "variance", "stddev", "mode", "batch_shape", "event_shape", "support")


def both(name: str) -> tuple[Any, Any, Any]:
    torch = pytest.importorskip("torch")
    import_module = __import__("torch.distributions", fromlist=["x"])
    return torch, MAKE[name](tdsl, tdsl.distributions), MAKE[name](torch, import_module)


def close(a: Any, b: Any, **tolerance: float) -> None:
    if not hasattr(b, "detach"):
        assert repr(a).replace("tdsl", "torch") == repr(b)
        return
    assert tuple(a.shape) == tuple(b.shape) and a.dtype.torch_name == str(b.dtype)[6:]
    options = {"rtol": 1e-6 if b.dtype.itemsize == 4 else 1e-9, "atol": 1e-6 if b.dtype.itemsize == 4 else 1e-10}
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), **{**options, **tolerance})


@pytest.mark.peer
@pytest.mark.parametrize("name", NAMES)
def test_densities_as_pytorch(name: str) -> None:
    torch, ours, theirs = both(name)
    assert repr(ours).replace("tdsl", "torch") == repr(theirs)
    for part in PARTS:
        close(getattr(ours, part), getattr(theirs, part))
    close(ours.entropy(), theirs.entropy())
    close(ours.expand((4, *ours.batch_shape)).mean, theirs.expand((4, *theirs.batch_shape)).mean)
    torch.manual_seed(0)
    values = theirs.sample((5,))
    mine = from_array(values.numpy())
    close(ours.log_prob(mine), theirs.log_prob(values))
    assert ours.sample((5,)).shape == tuple(values.shape) and ours.has_rsample == theirs.has_rsample
    for method, at in (("cdf", values), ("icdf", theirs.cdf(values) if name.split()[0] in CONTINUOUS else None)):
        if name.split()[0] not in CONTINUOUS or (method == "icdf" and not hasattr(tdsl.Tensor, "erfinv")):
            continue
        close(getattr(ours, method)(from_array(at.numpy())), getattr(theirs, method)(at), rtol=1e-5)
    close(ours.sample() * 0, theirs.sample() * 0)
    if theirs.has_enumerate_support:
        close(ours.enumerate_support(), theirs.enumerate_support())
        close(ours.enumerate_support(expand=False), theirs.enumerate_support(expand=False))


CONTINUOUS = ("Normal", "Laplace", "Uniform", "Exponential")


@pytest.mark.parametrize("name", NAMES)
def test_samples_have_their_moments(name: str) -> None:
    tdsl.manual_seed(0)
    d = MAKE[name](tdsl, tdsl.distributions)
    n = 20_000
    drawn = d.sample((n,)).double().numpy()
    assert not np.isnan(drawn).any()
    if name.startswith("Categorical"):
        found = np.stack([(drawn == k).mean(0) for k in range(3)], -1)
        assert np.allclose(found, d.probs.numpy(), atol=0.02)
        return
    mean, deviation = d.mean.numpy(), d.stddev.numpy()
    assert (np.abs(drawn.mean(0) - mean) < 5 * deviation / np.sqrt(n)).all()
    assert np.allclose(drawn.std(0), deviation, rtol=0.06)


def test_gradients_of_samples() -> None:
    loc = tdsl.tensor(A, requires_grad=True)
    scale = tdsl.tensor(A, requires_grad=True)
    x = tdsl.distributions.Normal(loc, scale).rsample((7,))
    x.sum().backward()
    assert np.allclose(loc.grad.numpy(), 7)
    assert np.allclose(scale.grad.numpy(), ((x - loc) / scale).sum(0).detach().numpy())
    assert not tdsl.distributions.Normal(loc, scale).sample().requires_grad


@pytest.mark.peer
def test_the_gradient_of_a_gamma_sample() -> None:
    torch = pytest.importorskip("torch")
    a = np.array([1e-2, 0.3, 1.0, 3.0, 30.0, 400.0, 3000.0])[:, None]
    q = np.array([-2.0, -0.5, 0.1, 1.0, 2.5])
    z = np.maximum(a + q * np.sqrt(a), a * 0.1)
    theirs = torch._standard_gamma_grad(*torch.broadcast_tensors(torch.tensor(a), torch.tensor(z))).numpy()
    np.testing.assert_allclose(slope(z, a), theirs, rtol=2e-3)
    # and against differences of the distribution function
    h = 1e-5
    cdf = [torch.special.gammainc(torch.tensor(a + s), torch.tensor(z)).numpy() for s in (h, -h)]
    density = torch.exp(torch.distributions.Gamma(torch.tensor(a), 1.0).log_prob(torch.tensor(z))).numpy()
    wanted = -(cdf[0] - cdf[1]) / (2 * h) / density
    small = (a < 1000) & (np.abs(q) < 2)
    np.testing.assert_allclose(slope(z, a)[small], wanted[small], rtol=1e-4)


KINDS = ["Normal", "Laplace", "Uniform", "Exponential", "Gamma", "Beta"]


@pytest.mark.peer
@pytest.mark.parametrize("left, right", [*product(KINDS, KINDS), *[(n, n) for n in MAKE if n.split()[0] not in KINDS]])
def test_divergences_as_pytorch(left: str, right: str) -> None:
    torch, p, their_p = both(left)
    _, q, their_q = both(right)
    library = __import__("torch.distributions", fromlist=["x"])
    if not SPECIAL and {left, right} & {"Gamma", "Beta", "Dirichlet"}:
        pytest.skip("needs lgamma")
    if left == right == "Uniform":
        q, their_q = tdsl.distributions.Uniform(-3.0, 3.0), library.Uniform(-3.0, 3.0)
    try:
        wanted = library.kl_divergence(their_p, their_q)
    except NotImplementedError as error:
        with pytest.raises(NotImplementedError) as ours:
            tdsl.distributions.kl_divergence(p, q)
        assert str(ours.value) == str(error)
        return
    found = tdsl.distributions.kl_divergence(p, q)
    np.testing.assert_allclose(np.broadcast_to(found.numpy(), wanted.shape), wanted.numpy(), rtol=1e-6, atol=1e-8)


REFUSED: list[Callable[..., Any]] = [
    lambda t, d: d.Normal(0.0, -1.0), lambda t, d: d.Normal(0.0, t.tensor([1.0, -1.0])),
    lambda t, d: d.Normal("a", 1.0), lambda t, d: d.Uniform(1.0, 0.0), lambda t, d: d.Bernoulli(1.5),
    lambda t, d: d.Bernoulli(), lambda t, d: d.Bernoulli(0.5, 0.5), lambda t, d: d.Categorical(t.tensor(0.5)),
    lambda t, d: d.Categorical(t.tensor([-1.0, 2.0])), lambda t, d: d.Categorical(), lambda t, d: d.Exponential(0.0),
    lambda t, d: d.Categorical(logits=t.tensor(1.0)), lambda t, d: d.Laplace(0.0, 0.0),
    lambda t, d: d.Normal(0.0, 1.0).log_prob(3.0), lambda t, d: d.Normal(t.zeros(2), 1.0).log_prob(t.zeros(3)),
    lambda t, d: d.Categorical(t.ones(3)).log_prob(t.tensor([3])),
    lambda t, d: d.Bernoulli(0.5).log_prob(t.tensor(0.3)),
    lambda t, d: d.Exponential(1.0).log_prob(t.tensor(-1.0)), lambda t, d: d.Independent(d.Normal(0.0, 1.0), 1),
    lambda t, d: d.Independent(d.Normal(t.zeros(2), 1.0), 1).log_prob(t.zeros(3)), lambda t, d: d.Gamma(-1.0, 1.0),
    lambda t, d: d.Beta(0.0, 1.0), lambda t, d: d.Dirichlet(t.tensor(1.0)), lambda t, d: d.Dirichlet(t.tensor([-1.0])),
    lambda t, d: d.Bernoulli(0.5).rsample(), lambda t, d: d.Bernoulli(0.5).cdf(t.tensor(1.0)),
    lambda t, d: d.Uniform(0.0, 1.0).log_prob(t.tensor(2.0)), lambda t, d: d.MultivariateNormal(t.tensor(1.0)),
    lambda t, d: d.MultivariateNormal(t.ones(2)), lambda t, d: d.MultivariateNormal(t.ones(2), t.ones(2)),
    lambda t, d: d.MultivariateNormal(t.ones(2), t.tensor([[1.0, 2.0], [2.0, 1.0]])),
    lambda t, d: d.MultivariateNormal(t.ones(2), t.tensor([[1.0, 0.0], [2.0, 1.0]])),
    lambda t, d: d.MultivariateNormal(t.ones(2), scale_tril=t.tensor([[1.0, 3.0], [2.0, 1.0]])),
]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("k", range(len(REFUSED)))
def test_refusals_as_pytorch(k: int) -> None:
    torch = pytest.importorskip("torch")
    library = __import__("torch.distributions", fromlist=["x"])
    with pytest.raises(Exception) as theirs:
        REFUSED[k](torch, library)
    with pytest.raises(type(theirs.value)) as ours:
        REFUSED[k](tdsl, tdsl.distributions)
    assert str(ours.value).replace("tdsl", "torch") == str(theirs.value)


def test_arguments_are_not_checked_where_that_is_not_wanted() -> None:
    d = tdsl.distributions
    assert d.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    assert d.Exponential(1.0, validate_args=False).log_prob(tdsl.tensor(-1.0)).item() == 1
    try:
        d.Distribution.set_default_validate_args(False)
        assert d.Uniform(1.0, 0.0).low.item() == 1
    finally:
        d.Distribution.set_default_validate_args(True)

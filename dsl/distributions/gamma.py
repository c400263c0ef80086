"""Gamma, and what is made of gammas. Samples are drawn by rejection; their gradients by implicit differentiation.

Drawing: Marsaglia and Tsang (2000). Gradient: with F the distribution function of a standard gamma, F(z, a) stays
the same when a moves, so dz/da = -(dF/da) / (dF/dz) (Figurnov et al., arXiv:1805.08498).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tdsl.autograd.function import Function, once_differentiable
from tdsl.compiler.source import ValueError
from tdsl.creation import tensor
from tdsl.distributions import constraints
from tdsl.distributions.constraints import Constraint
from tdsl.distributions.distribution import Distribution, broadcast_all, shape_of
from tdsl.elementwise import where
from tdsl.random import bits
from tdsl.shapes import stack
from tdsl.tensor import Tensor, from_array

Array = np.ndarray[Any, Any]
LARGE = 1000.0  # concentrations from which on a gamma is a power of a normal (Wilson and Hilferty, 1931)
TERMS = 2000


def _uniform(count: int) -> Array:
    """In (0, 1), neither end."""
    return (bits(count) + 0.5) * 2.0**-32


def _normal(count: int) -> Array:
    u, v = _uniform(count), _uniform(count)
    result: Array = np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
    return result


def draw(concentration: Array) -> Array:
    """One standard gamma number for each concentration, in float64."""
    a = concentration.reshape(-1).astype(np.float64)
    small = a < 1
    d = np.where(small, a + 1, a) - 1 / 3
    c = 1 / np.sqrt(9 * d)
    result = np.zeros_like(a)
    left = np.arange(a.size)
    while left.size:
        x, u = _normal(left.size), _uniform(left.size)
        v = (1 + c[left] * x) ** 3
        with np.errstate(invalid="ignore", divide="ignore"):
            kept = (v > 0) & (np.log(u) < 0.5 * x * x + d[left] * (1 - v + np.log(v)))
        result[left[kept]] = (d[left] * v)[kept]
        left = left[~kept]
    boost = _uniform(a.size) ** (1 / a)
    return np.where(small, result * boost, result).reshape(concentration.shape)


def slope(z: Array, a: Array) -> Array:
    """dz/da at equal probability, for standard gamma numbers z of concentration a."""
    z, a = np.broadcast_arrays(z.astype(np.float64), a.astype(np.float64))
    result = np.empty(z.shape)
    large = a > LARGE
    result[large] = _slope_of_large(z[large], a[large])
    result[~large] = _slope_by_series(z[~large], a[~large])
    return result


def _slope_of_large(z: Array, a: Array) -> Array:
    """z = a w^3 with w = 1 - 1/(9a) + x / (3 sqrt(a)), x standard normal and fixed."""
    w = np.cbrt(z / a)
    x = (w - 1 + 1 / (9 * a)) * 3 * np.sqrt(a)
    result: Array = w**3 + 3 * a * w**2 * (1 / (9 * a**2) - x / (6 * a**1.5))
    return result


def _slope_by_series(z: Array, a: Array) -> Array:
    """From gamma(a, z) = z^a e^-z sum_n z^n / (a (a+1) ... (a+n)), each term and its derivative by a.

    Divided by the density z^(a-1) e^-z / Gamma(a), both are z times sums without overflow.
    """
    if z.size == 0:
        return z
    z = np.maximum(z, np.finfo(np.float64).tiny)
    term, inverse = 1 / a, 1 / a
    total, moved = term.copy(), term * inverse
    for n in range(1, TERMS):
        term = term * z / (a + n)
        inverse = inverse + 1 / (a + n)
        total += term
        moved += term * inverse
        if np.all(term * inverse <= 1e-17 * moved):
            break
    digamma = _digamma(a)
    result: Array = -z * (total * (np.log(z) - digamma) - moved)
    return result


def _digamma(a: Array) -> Array:
    """The derivative of log Gamma: recurrence up to 6, then its asymptotic series."""
    result = np.zeros_like(a)
    a = a.copy()
    while np.any(low := a < 6):
        result[low] -= 1 / a[low]
        a[low] += 1
    f = 1 / (a * a)
    series = f * (1 / 12 - f * (1 / 120 - f * (1 / 252 - f * (1 / 240 - f * (1 / 132)))))
    return result + np.log(a) - 0.5 / a - series


class _StandardGamma(Function):
    """A standard gamma number for each concentration."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor) -> Tensor:
        a = concentration.detach().array()
        z = np.maximum(draw(a).astype(a.dtype), np.finfo(a.dtype).tiny)
        result = from_array(z)
        ctx.save_for_backward(concentration, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        a, z = (x.detach().array() for x in ctx.saved_tensors)
        return g * from_array(slope(z, a).astype(a.dtype))


def standard_gamma(concentration: Tensor) -> Tensor:
    """Standard gamma numbers; the gradient flows to the concentrations."""
    return _StandardGamma.apply(concentration)  # type: ignore[no-any-return]


class Gamma(Distribution):
    """Density proportional to x^(concentration - 1) exp(-rate x)."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(shape_of(self.concentration, concentration, rate), validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.nonnegative

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(batch_shape, {"concentration": 0, "rate": 0})

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate**2

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        scaled = _xlogy(a, self.rate) + _xlogy(a - 1, value)
        return scaled - self.rate * value - a.lgamma()

    def cdf(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        from tdsl import special

        return special.gammainc(self.concentration, self.rate * value)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - self.rate.log() + a.lgamma() + (1.0 - a) * a.digamma()


def _xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x log y, 0 where x is 0."""
    return where(x == 0, 0.0, x * where(x == 0, 1.0, y).log())  # type: ignore[no-any-return]


class Dirichlet(Distribution):
    """Probabilities along the last dimension: gammas of these concentrations, divided by their sum."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.ndim < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.simplex

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(batch_shape, {"concentration": 1})

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        above = (self.concentration - 1).clamp(min=0.0)
        found = above / above.sum(-1, keepdim=True)
        flat = (self.concentration < 1).all(-1, keepdim=True)
        largest = found.argmax(-1, keepdim=True)
        places = tensor(range(self.concentration.shape[-1]))
        return where(flat, (places == largest).to(found.dtype), found)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        parts = standard_gamma(self.concentration.expand((*self._extended_shape(sample_shape),)))
        return parts / parts.sum(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        a = self.concentration
        return _xlogy(a - 1.0, value).sum(-1) + a.sum(-1).lgamma() - a.lgamma().sum(-1)  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        a, k = self.concentration, self.concentration.shape[-1]
        total = a.sum(-1)
        spread = ((a - 1.0) * a.digamma()).sum(-1)
        return a.lgamma().sum(-1) - total.lgamma() - (k - total) * total.digamma() - spread  # type: ignore[no-any-return]


class Beta(Distribution):
    """Density proportional to x^(concentration1 - 1) (1 - x)^(concentration0 - 1)."""

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    has_rsample = True

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        both = broadcast_all(concentration1, concentration0)
        numbers = [isinstance(x, int | float) for x in (concentration1, concentration0)]
        if all(numbers):
            both = tuple(tensor(float(x)) for x in (concentration1, concentration0))
        self._dirichlet = Dirichlet(stack(list(both), -1), validate_args=validate_args)
        super().__init__(self._dirichlet.batch_shape, validate_args=validate_args)

    @property
    def concentration1(self) -> Tensor:
        return self._dirichlet.concentration[..., 0]

    @property
    def concentration0(self) -> Tensor:
        return self._dirichlet.concentration[..., 1]

    @property
    def support(self) -> Constraint:
        return constraints.unit_interval

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expanded(batch_shape, {})
        new._dirichlet = self._dirichlet.expand(batch_shape)
        return new

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._dirichlet.rsample(sample_shape).select(-1, 0)  # type: ignore[no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        return self._dirichlet.log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._dirichlet.entropy()

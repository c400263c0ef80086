"""Kullback-Leibler divergences, by the kinds of both distributions."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, pi, sqrt
from typing import Any

from tdsl import linalg
from tdsl.compiler.source import ValueError
from tdsl.distributions.combined import Independent
from tdsl.distributions.continuous import Exponential, Laplace, Normal, Uniform
from tdsl.distributions.discrete import Bernoulli, Categorical
from tdsl.distributions.distribution import Distribution, sum_rightmost
from tdsl.distributions.gamma import Beta, Dirichlet, Gamma
from tdsl.distributions.multivariate import MultivariateNormal, half_log_det, mahalanobis
from tdsl.elementwise import where
from tdsl.shapes import broadcast_shapes
from tdsl.tensor import Tensor

Rule = Callable[[Any, Any], Tensor]
_rules: dict[tuple[type, type], Rule] = {}
_EULER = 0.57721566490153286060


def register_kl(type_p: type, type_q: type) -> Callable[[Rule], Rule]:
    """Decorates the rule for p of one kind, q of another; subclasses use it, too."""

    def register(rule: Rule) -> Rule:
        _rules[type_p, type_q] = rule
        return rule

    return register


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expectation of log p(x) - log q(x) for x drawn from p; NotImplementedError where there is no formula."""
    for kind_p in type(p).__mro__:
        for kind_q in type(q).__mro__:
            rule = _rules.get((kind_p, kind_q))
            if rule is not None:
                return rule(p, q)
    raise NotImplementedError(
        f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}"
    )


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + (-x.abs()).exp().log1p()  # type: ignore[no-any-return]


def _x_log_x(x: Tensor) -> Tensor:
    return where(x == 0, 0.0, x * x.log())  # type: ignore[no-any-return]


@register_kl(Bernoulli, Bernoulli)
def _bernoulli_bernoulli(p: Any, q: Any) -> Tensor:
    one = p.probs * (_softplus(-q.logits) - _softplus(-p.logits))
    one = where(p.probs == 0, 0.0, where(q.probs == 0, inf, one))
    zero = (1 - p.probs) * (_softplus(q.logits) - _softplus(p.logits))
    return one + where(p.probs == 1, 0.0, where(q.probs == 1, inf, zero))  # type: ignore[no-any-return]


@register_kl(Categorical, Categorical)
def _categorical_categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    return where(p.probs == 0, 0.0, where(q.probs == 0, inf, terms)).sum(-1)  # type: ignore[no-any-return]


@register_kl(Normal, Normal)
def _normal_normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - ratio.log())  # type: ignore[no-any-return]


@register_kl(Laplace, Laplace)
def _laplace_laplace(p: Any, q: Any) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * (-distance / p.scale).exp() - 1  # type: ignore[no-any-return]


@register_kl(Uniform, Uniform)
def _uniform_uniform(p: Any, q: Any) -> Tensor:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return where((q.low > p.low) | (q.high < p.high), inf, found)  # type: ignore[no-any-return]


@register_kl(Exponential, Exponential)
def _exponential_exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1  # type: ignore[no-any-return]


@register_kl(Gamma, Gamma)
def _gamma_gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    found = b * (p.rate / q.rate).log() + b.lgamma() - a.lgamma() + (a - b) * a.digamma()
    return found + (q.rate - p.rate) * (a / p.rate)  # type: ignore[no-any-return]


@register_kl(Dirichlet, Dirichlet)
def _dirichlet_dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    found = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return found + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)  # type: ignore[no-any-return]


@register_kl(Beta, Beta)
def _beta_beta(p: Any, q: Any) -> Tensor:
    return _dirichlet_dirichlet(p._dirichlet, q._dirichlet)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be computed"
        )
    n = p.event_shape[0]
    shape = broadcast_shapes(tuple(p._lower.shape[:-2]), tuple(q._lower.shape[:-2]))
    ratio = linalg.solve_triangular(
        q._lower.expand(
            (
                *shape,
                n,
                n,
            )
        ),
        p._lower.expand(
            (
                *shape,
                n,
                n,
            )
        ),
        upper=False,
    )
    far = mahalanobis(q._lower, q.loc - p.loc)
    return half_log_det(q._lower) - half_log_det(p._lower) + 0.5 * ((ratio**2).sum((-2, -1)) + far - n)


@register_kl(Independent, Independent)
def _independent_independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


# ---- of two kinds


def _expected_normal(p: Any, q: Normal, second: Any) -> Tensor:
    """-E log q of a distribution with this mean and second moment."""
    variance = q.scale**2
    return 0.5 * (2 * pi * variance).log() + (0.5 * second - q.loc * p.mean + 0.5 * q.loc**2) / variance  # type: ignore[no-any-return]


def _to_normal(p: Any, q: Any) -> Tensor:
    return _expected_normal(p, q, p.variance + p.mean**2) - p.entropy()


for _kind in (Beta, Exponential, Gamma, Laplace, Uniform):
    register_kl(_kind, Normal)(_to_normal)


def _to_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean  # type: ignore[no-any-return]


for _kind in (Beta, Gamma):
    register_kl(_kind, Exponential)(_to_exponential)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    return where(p.low < 0, inf, _to_exponential(p, q))  # type: ignore[no-any-return]


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    distance = p.loc - q.loc
    scaled = distance / p.scale
    far = sqrt(2 / pi) * p.scale * (-0.5 * scaled**2).exp() + distance * (sqrt(0.5) * scaled).erf()
    return -(p.scale / q.scale).log() + far / q.scale - 0.5 * (1 + log(0.5 * pi))  # type: ignore[no-any-return]


def _expected_gamma(q: Any, mean: Any, mean_log: Any) -> Tensor:
    """-E log q of a distribution with this mean, and mean of the logarithm."""
    a = q.concentration
    return a.lgamma() - a * q.rate.log() - (a - 1) * mean_log + q.rate * mean  # type: ignore[no-any-return]


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    mean_log = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return _expected_gamma(q, p.mean, mean_log) - p.entropy()


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    return _expected_gamma(q, p.mean, -_EULER - p.rate.log()) - p.entropy()


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    mean_log = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    return where(p.low < 0, inf, _expected_gamma(q, p.mean, mean_log) - p.entropy())  # type: ignore[no-any-return]


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    found = (q.high - q.low).log() - p.entropy()
    return where((q.low > 0) | (q.high < 1), inf, found)  # type: ignore[no-any-return]


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width, a, b = p.high - p.low, q.concentration1, q.concentration0
    up = (a - 1) * (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    down = (b - 1) * (_x_log_x(1 - p.high) - _x_log_x(1 - p.low) + width) / width
    found = down + a.lgamma() + b.lgamma() - (a + b).lgamma() - width.log() - up
    return where((p.high > 1) | (p.low < 0), inf, found)  # type: ignore[no-any-return]


def _infinite(p: Any, q: Any) -> Tensor:
    """p reaches where q is never."""
    return p.mean * 0 + inf  # type: ignore[no-any-return]


_BEYOND: tuple[tuple[type, tuple[type, ...]], ...] = (
    (Exponential, (Beta, Uniform)),
    (Gamma, (Beta, Uniform)),
    (Laplace, (Beta, Exponential, Gamma, Uniform)),
    (Normal, (Beta, Exponential, Gamma, Uniform)),
)
for _wide, _narrow in _BEYOND:
    for _other in _narrow:
        register_kl(_wide, _other)(_infinite)

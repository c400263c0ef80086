"""Probability distributions under PyTorch's names."""

from tdsl.distributions import constraints
from tdsl.distributions.combined import Independent
from tdsl.distributions.continuous import Exponential, Laplace, Normal, Uniform
from tdsl.distributions.discrete import Bernoulli, Categorical
from tdsl.distributions.distribution import Distribution, ExponentialFamily
from tdsl.distributions.gamma import Beta, Dirichlet, Gamma
from tdsl.distributions.kl import kl_divergence, register_kl
from tdsl.distributions.multivariate import MultivariateNormal

__all__ = [
    "Bernoulli", "Beta", "Categorical", "Dirichlet", "Distribution", "Exponential", "ExponentialFamily", "Gamma",
    "Independent", "Laplace", "MultivariateNormal", "Normal", "Uniform", "constraints", "kl_divergence", "register_kl",
]  # fmt: skip

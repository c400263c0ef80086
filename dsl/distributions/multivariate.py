"""The normal distribution of vectors."""

from __future__ import annotations

from math import log, pi
from typing import Any

from tdsl import linalg
from tdsl.compiler.source import ValueError
from tdsl.creation import eye
from tdsl.distributions import constraints
from tdsl.distributions.constraints import Constraint
from tdsl.distributions.distribution import Distribution, lazy_property
from tdsl.random import randn
from tdsl.shapes import broadcast_shapes
from tdsl.tensor import Tensor


def half_log_det(lower: Tensor) -> Tensor:
    """Half the logarithm of the determinant of L L^T."""
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)  # type: ignore[no-any-return]


def mahalanobis(lower: Tensor, x: Tensor) -> Tensor:
    """x^T (L L^T)^-1 x, for batches that broadcast."""
    shape = broadcast_shapes(tuple(lower.shape[:-2]), tuple(x.shape[:-1]))
    n = x.shape[-1]
    matrices, vectors = (
        lower.expand(
            (
                *shape,
                n,
                n,
            )
        ),
        x.expand(
            (
                *shape,
                n,
            )
        ).unsqueeze(-1),
    )
    return (linalg.solve_triangular(matrices, vectors, upper=False) ** 2).sum((-2, -1))


class MultivariateNormal(Distribution):
    """Vectors of mean `loc` and a covariance: given as such, as its inverse, or as its lower Cholesky factor."""

    arg_constraints = {
        "loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky,
    }  # fmt: skip
    has_rsample = True

    def __init__(
        self, loc: Tensor, covariance_matrix: Tensor | None = None, precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None, validate_args: bool | None = None,
    ) -> None:  # fmt: skip
        if loc.ndim < 1:
            raise ValueError("loc must be at least one-dimensional.")
        given = {"scale_tril": scale_tril, "covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix}
        found = [(name, x) for name, x in given.items() if x is not None]
        if len(found) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
        ((name, matrix),) = found
        if matrix.ndim < 2:
            what = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(f"{what} must be at least two-dimensional, with optional leading batch dimensions")
        batch = broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1]))
        setattr(
            self,
            name,
            matrix.expand(
                (
                    *batch,
                    -1,
                    -1,
                )
            ),
        )
        self.loc = loc.expand(
            (
                *batch,
                -1,
            )
        )
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._lower = _factor(name, matrix)

    @property
    def support(self) -> Constraint:
        return constraints.real_vector

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        names = {"loc": 1, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}
        return self._expanded(batch_shape, names)

    def _full(self, matrix: Tensor) -> Tensor:
        return matrix.expand(
            (
                *self._batch_shape,
                *self._event_shape,
                *self._event_shape,
            )
        )  # type: ignore[no-any-return]

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._full(self._lower)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        return self._full(self._lower @ self._lower.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        n = self._lower.shape[-1]
        one = eye(n, dtype=self._lower.dtype).expand((*self._lower.shape,))
        inverse = linalg.solve_triangular(self._lower, one, upper=False)
        return self._full(inverse.mT @ inverse)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (
            (self._lower**2)
            .sum(-1)
            .expand(
                (
                    *self._batch_shape,
                    *self._event_shape,
                )
            )
        )  # type: ignore[no-any-return]

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        return self.loc + (self._lower @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        distance = mahalanobis(self._lower, value - self.loc)
        return -0.5 * (self._event_shape[0] * log(2 * pi) + distance) - half_log_det(self._lower)

    def entropy(self) -> Tensor:
        found = 0.5 * self._event_shape[0] * (1.0 + log(2 * pi)) + half_log_det(self._lower)
        return found.expand((*self._batch_shape,))  # type: ignore[no-any-return]


def _factor(name: str, matrix: Tensor) -> Tensor:
    """The lower Cholesky factor of the covariance."""
    if name == "scale_tril":
        return matrix
    if name == "covariance_matrix":
        return linalg.cholesky(matrix)
    # the factor of the reversed matrix, reversed, is the inverse of the one wanted, transposed
    reversed_ = linalg.cholesky(matrix.flip(-2, -1))
    inverse = reversed_.flip(-2, -1).mT
    one = eye(matrix.shape[-1], dtype=matrix.dtype).expand((*matrix.shape,))
    return linalg.solve_triangular(inverse, one, upper=False)

"""Sets of values: what parameters must be, and what a distribution draws."""

from __future__ import annotations

from typing import Any

from tdsl import linalg
from tdsl.compiler.dtype import bool_
from tdsl.compiler.source import ValueError
from tdsl.tensor import Tensor


class Constraint:
    """Subclass with `check(value)`: for each element, or each `event_dim` last dimensions, whether it is inside."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Tensor:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Boolean(Constraint):
    is_discrete = True

    def check(self, value: Any) -> Tensor:
        return (value == 0) | (value == 1)  # type: ignore[no-any-return]


class Real(Constraint):
    """Anything but NaN."""

    def check(self, value: Any) -> Tensor:
        return value == value  # type: ignore[no-any-return]


class _Bounded(Constraint):
    bounds: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{b}={getattr(self, b)}' for b in self.bounds)})"


class _Lower(_Bounded):
    bounds = ("lower_bound",)

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound


class _Upper(_Bounded):
    bounds = ("upper_bound",)

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound


class _Between(_Bounded):
    bounds = ("lower_bound", "upper_bound")

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound


class GreaterThan(_Lower):
    def check(self, value: Any) -> Tensor:
        return value > self.lower_bound  # type: ignore[no-any-return]


class GreaterThanEq(_Lower):
    def check(self, value: Any) -> Tensor:
        return value >= self.lower_bound  # type: ignore[no-any-return]


class LessThan(_Upper):
    def check(self, value: Any) -> Tensor:
        return value < self.upper_bound  # type: ignore[no-any-return]


class Interval(_Between):
    def check(self, value: Any) -> Tensor:
        return (value >= self.lower_bound) & (value <= self.upper_bound)  # type: ignore[no-any-return]


class HalfOpenInterval(_Between):
    def check(self, value: Any) -> Tensor:
        return (value >= self.lower_bound) & (value < self.upper_bound)  # type: ignore[no-any-return]


class IntegerInterval(_Between):
    is_discrete = True

    def check(self, value: Any) -> Tensor:
        whole = value % 1 == 0
        return whole & (value >= self.lower_bound) & (value <= self.upper_bound)  # type: ignore[no-any-return]


class Simplex(Constraint):
    """Probabilities along the last dimension: none negative, their sum 1."""

    event_dim = 1

    def check(self, value: Any) -> Tensor:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)  # type: ignore[no-any-return]


class LowerCholesky(Constraint):
    """Lower triangular matrices with a positive diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Tensor:
        triangular = (value.tril() == value).flatten(-2).all(-1)
        return triangular & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)  # type: ignore[no-any-return]


class PositiveDefinite(Constraint):
    """Symmetric matrices that have a Cholesky factor."""

    event_dim = 2

    def check(self, value: Any) -> Tensor:
        n, m = value.shape[-2:]
        if n != m:
            return value.new_zeros(*value.shape[:-2]).to(bool_)  # type: ignore[no-any-return]
        near = (value - value.mT).abs() <= 1e-6 + 1e-5 * value.mT.abs()
        symmetric = near.flatten(-2).all(-1)
        if not bool(symmetric.all()):
            return symmetric  # type: ignore[no-any-return]
        return linalg.cholesky_ex(value).info == 0


class IndependentConstraint(Constraint):
    """Another constraint of whole blocks: of `reinterpreted_batch_ndims` more dimensions."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint, self.reinterpreted_batch_ndims = base_constraint, reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Any) -> Tensor:
        result = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        if result.ndim < n:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.ndim}")
        return result.reshape(*result.shape[: result.ndim - n], -1).all(-1) if n else result  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


boolean = Boolean()
real = Real()
positive = GreaterThan(0.0)
nonnegative = GreaterThanEq(0.0)
unit_interval = Interval(0.0, 1.0)
simplex = Simplex()
lower_cholesky = LowerCholesky()
positive_definite = PositiveDefinite()
independent = IndependentConstraint
real_vector = IndependentConstraint(real, 1)
greater_than, greater_than_eq, less_than = GreaterThan, GreaterThanEq, LessThan
interval, half_open_interval, integer_interval = Interval, HalfOpenInterval, IntegerInterval

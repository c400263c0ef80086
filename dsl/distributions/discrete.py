"""Distributions of outcomes that can be counted."""

from __future__ import annotations

from math import nan
from typing import Any

from tdsl.autograd.modes import no_grad
from tdsl.compiler import dtype as dt
from tdsl.compiler.source import ValueError
from tdsl.creation import arange, full
from tdsl.distributions import constraints
from tdsl.distributions.constraints import Constraint
from tdsl.distributions.distribution import Distribution, broadcast_all, clamp_probs, lazy_property, numel, shape_of
from tdsl.elementwise import where
from tdsl.formulas import finfo
from tdsl.random import bernoulli, multinomial
from tdsl.shapes import broadcast_shapes
from tdsl.tensor import Size, Tensor

_EITHER = "Either `probs` or `logits` must be specified, but not both."


def binary_entropy(logits: Tensor, value: Tensor) -> Tensor:
    """-log of the probability of `value` in 0..1 under these logits, without overflow."""
    return logits.clamp(min=0) - logits * value + (-logits.abs()).exp().log1p()  # type: ignore[no-any-return]


class Bernoulli(Distribution):
    """1 with probability `probs`, or sigmoid(`logits`), else 0."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        if (probs is None) == (logits is None):
            raise ValueError(_EITHER)
        given = logits if probs is None else probs
        (self._param,) = broadcast_all(given)
        setattr(self, "logits" if probs is None else "probs", self._param)
        super().__init__(shape_of(self._param, given), validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.boolean

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(batch_shape, {"probs": 0, "logits": 0, "_param": 0})

    @lazy_property
    def logits(self) -> Tensor:
        p = clamp_probs(self.probs)
        return p.log() - (-p).log1p()  # type: ignore[no-any-return]

    @lazy_property
    def probs(self) -> Tensor:
        return self.logits.sigmoid()  # type: ignore[no-any-return]

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    @property
    def mean(self) -> Tensor:
        return self.probs  # type: ignore[no-any-return]

    @property
    def mode(self) -> Tensor:
        found = (self.probs >= 0.5).to(self.probs.dtype)
        return where(self.probs == 0.5, nan, found)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)  # type: ignore[no-any-return]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return bernoulli(self.probs.expand((*self._extended_shape(sample_shape),)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_entropy(logits, value)

    def entropy(self) -> Tensor:
        return binary_entropy(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _enumerated(arange(2, dtype=self._param.dtype), self._batch_shape, expand)


def _enumerated(values: Tensor, batch_shape: Size, expand: bool) -> Tensor:
    values = values.reshape(-1, *(1,) * len(batch_shape))
    return (
        values.expand(
            (
                -1,
                *batch_shape,
            )
        )
        if expand
        else values
    )  # type: ignore[no-any-return]


class Categorical(Distribution):
    """Numbers 0, 1, ... with probabilities proportional to `probs`, or to exp(`logits`), along the last dimension."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        if probs is not None and logits is None:
            if probs.ndim < 1:
                raise ValueError("`probs` parameter must be at least one-dimensional.")
            self._param = self.probs = probs / probs.sum(-1, keepdim=True)
        elif logits is not None and probs is None:
            if logits.ndim < 1:
                raise ValueError("`logits` parameter must be at least one-dimensional.")
            self._param = self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)
        else:
            raise ValueError(_EITHER)
        self._num_events: int = self._param.shape[-1]
        super().__init__(self._param.shape[:-1], validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expanded(batch_shape, {"probs": 1, "logits": 1, "_param": 1})

    @lazy_property
    def logits(self) -> Tensor:  # type: ignore[no-redef]
        return clamp_probs(self.probs).log()  # type: ignore[no-any-return]

    @lazy_property
    def probs(self) -> Tensor:  # type: ignore[no-redef]
        return self.logits.softmax(-1)  # type: ignore[no-any-return]

    @property
    def param_shape(self) -> Size:
        return self._param.shape

    @property
    def mean(self) -> Tensor:
        return full(tuple(self._batch_shape), nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(dim=-1)  # type: ignore[no-any-return]

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Any = ()) -> Tensor:
        rows = self.probs.detach().reshape(-1, self._num_events)
        found = multinomial(rows, numel(sample_shape), True).t()
        return found.reshape(*self._extended_shape(sample_shape))  # type: ignore[no-any-return]

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        shape = broadcast_shapes(tuple(value.shape), tuple(self._batch_shape))
        index = value.to(dt.i64).expand(shape).unsqueeze(-1)
        return (
            self.logits.expand(
                (
                    *shape,
                    self._num_events,
                )
            )
            .gather(-1, index)
            .squeeze(-1)
        )  # type: ignore[no-any-return]

    def entropy(self) -> Tensor:
        lowest = finfo(self.logits.dtype).min
        return -(self.logits.clamp(min=lowest) * self.probs).sum(-1)  # type: ignore[no-any-return]

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return _enumerated(arange(self._num_events), self._batch_shape, expand)

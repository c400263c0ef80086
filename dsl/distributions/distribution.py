"""The base of all distributions, and what they share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from tdsl.autograd import engine
from tdsl.autograd.modes import enable_grad, no_grad
from tdsl.compiler.source import ValueError
from tdsl.creation import Defaults, tensor
from tdsl.distributions.constraints import Constraint
from tdsl.formulas import finfo
from tdsl.shapes import broadcast_tensors
from tdsl.tensor import Size, Tensor

Number = bool | int | float


class lazy_property:
    """Computed when it is first asked for, and kept."""

    def __init__(self, compute: Callable[[Any], Tensor]) -> None:
        self.compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.compute(instance)
        setattr(instance, self.name, value)
        return value


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of one shape; a number takes the dtype of the first tensor."""
    if not all(isinstance(v, Tensor | Number) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, tdsl.Tensor or objects implementing __torch_function__."
        )
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), Defaults.dtype)
    made = [v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values]
    return tuple(broadcast_tensors(*made))


def shape_of(first: Tensor, *given: Any) -> Size:
    """The batch's shape: none when all parameters were numbers."""
    return Size() if all(isinstance(x, Number) for x in given) else first.shape


def clamp_probs(probs: Tensor) -> Tensor:
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)  # type: ignore[no-any-return]


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over so many last dimensions."""
    return value if dims == 0 else value.reshape(*value.shape[: value.ndim - dims], -1).sum(-1)  # type: ignore[no-any-return]


class Distribution:
    """`batch_shape` distributions side by side, each drawing values of `event_shape`.

    Subclass with `arg_constraints`, `support`, `rsample` or `sample`, and `log_prob`. Parameters and values are
    checked against them, unless `validate_args` is False.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    arg_constraints: Mapping[str, Constraint]

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions made from now on check their arguments."""
        if value not in (True, False):
            raise ValueError("validate_args is True or False")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Any = (), event_shape: Any = (), validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        for name, constraint in self._constraints().items():
            if name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property):
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{self!r} to satisfy the constraint {constraint!r}, but found invalid values:\n{value}"
                )

    def _constraints(self) -> Mapping[str, Constraint]:
        try:
            return self.arg_constraints
        except (AttributeError, NotImplementedError):
            warnings.warn(
                f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize "
                "the distribution with `validate_args=False` to turn off validation.",
                stacklevel=4,
            )
            return {}

    def _expanded(self, batch_shape: Any, event_dims: Mapping[str, int]) -> Any:
        """A copy for a larger batch: each parameter expanded but for so many last dimensions."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        shape = Size(batch_shape)
        for name, keep in event_dims.items():
            if name in self.__dict__:
                x = self.__dict__[name]
                new.__dict__[name] = x.expand(
                    (
                        *shape,
                        *x.shape[x.ndim - keep :],
                    )
                )
        new._batch_shape = shape
        return new

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        """This distribution for a batch of another shape."""
        raise NotImplementedError

    # ---- shapes and moments

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    @property
    def support(self) -> Constraint:
        """Where values lie."""
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    @property
    def mode(self) -> Tensor:
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()  # type: ignore[no-any-return]

    # ---- drawing

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """`sample_shape` values of each distribution, with no gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Values through which gradients flow to the parameters."""
        raise NotImplementedError

    def sample_n(self, n: int) -> Tensor:
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def _extended_shape(self, sample_shape: Any = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    # ---- densities

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density, or of the probability, at `value`."""
        raise NotImplementedError

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of values up to `value`."""
        raise NotImplementedError

    def icdf(self, value: Tensor) -> Tensor:
        """The value that is not exceeded with probability `value`."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a first dimension."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        return self.entropy().exp()  # type: ignore[no-any-return]

    def _validate_sample(self, value: Any) -> None:
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.ndim - len(self._event_shape)
        if tuple(value.shape)[start:] != tuple(self._event_shape):
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape!r} vs {self._event_shape!r}."
            )
        expected = Size((*self._batch_shape, *self._event_shape))
        for m, n in zip(reversed(value.shape), reversed(expected), strict=False):
            if m != 1 and n != 1 and m != n:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape!r} vs {expected!r}."
                )
        support = self.support
        if not bool(support.check(value).all()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within the "
                f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        found = {name: self.__dict__[name] for name in self.arg_constraints if name in self.__dict__}
        texts = [f"{name}: {x if x.numel() == 1 else repr(x.shape)}" for name, x in found.items()]
        return f"{type(self).__name__}({', '.join(texts)})"


class ExponentialFamily(Distribution):
    """Densities exp(t(x) . eta - A(eta) + k(x)): the entropy follows from A and its gradient."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> float:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        params = [p.detach().requires_grad_() for p in self._natural_params]
        with enable_grad():
            normalizer = self._log_normalizer(*params)
            gradients = engine.grad(normalizer.sum(), params, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        extra = result.ndim - len(self._batch_shape)
        for p, g in zip(params, gradients, strict=True):
            assert g is not None
            result = result - sum_rightmost(p * g, extra)
        return result


def numel(shape: Any) -> int:
    return prod(shape)

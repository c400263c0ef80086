"""Ops that NumPy computes because their number of steps depends on the elements: incomplete gamma functions and
orthogonal polynomials; and the op that says that a derivative is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tdsl.compiler.graph import ZERO, Attrs, Op, Type, define
from tdsl.compiler.maths.incomplete import lower_gamma, upper_gamma
from tdsl.compiler.maths.polynomials import POLYNOMIALS, polynomial
from tdsl.compiler.ops.elementwise import broadcast, pointwise
from tdsl.compiler.source import InternalError, NotImplementedError

Samples = Callable[[], Iterable[tuple[tuple[Any, ...], dict[str, Any]]]]


def _pair(types: tuple[Type, ...], attrs: Attrs) -> Type:
    a, x = types
    if a.dtype is not x.dtype or not a.dtype.is_float:
        raise InternalError(f"operands of {a} and {x}")
    return Type(a.dtype, broadcast((a.shape, x.shape)))


def _pair_of_one_shape(types: tuple[Type, ...], attrs: Attrs) -> Type:
    result = _pair(types, attrs)
    if any(t.shape != result.shape for t in types):
        raise InternalError(f"operands of {types[0]} and {types[1]}")
    return result


def _density(b: Any, g: Any, a: Any, x: Any) -> Any:
    """g x^(a-1) e^-x / gamma(a)."""
    logarithm = b("mul", b("sub", a, 1.0), b("log", x))
    return b("mul", g, b("exp", b("sub", b("sub", logarithm, x), b("lgamma", a))))


def _lower_vjp(b: Any, g: Any, y: Any, a: Any, x: Any) -> tuple[None, Any]:
    return None, _density(b, g, a, x)


def _upper_vjp(b: Any, g: Any, y: Any, a: Any, x: Any) -> tuple[None, Any]:
    return None, b("neg", _density(b, g, a, x))


def _pairs() -> Iterable[tuple[tuple[Any, ...], dict[str, Any]]]:
    rng = np.random.default_rng(0)
    return [((rng.uniform(0.3, 9, 20), rng.uniform(0.1, 12, 20)), {})]


define(Op("igamma", "The lower incomplete gamma function over gamma(a).", _pair_of_one_shape, _lower_vjp,
          library=lower_gamma, reference=lower_gamma, samples=_pairs))  # fmt: skip
define(Op("igammac", "The upper incomplete gamma function over gamma(a).", _pair_of_one_shape, _upper_vjp,
          library=upper_gamma, reference=upper_gamma, samples=_pairs))  # fmt: skip
define(Op("polynomial", "An orthogonal polynomial, one of POLYNOMIALS, of degree n at x.", _pair, ZERO,
          library=polynomial, reference=polynomial,
          samples=lambda: [((np.linspace(-2, 2, 5)[:, None], np.arange(-1.0, 11)), {"kind": k}) for k in POLYNOMIALS],
          ))  # fmt: skip


def _unknown(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    raise NotImplementedError(f"the derivative for '{y.attrs['name']}' is not implemented.")


define(
    Op(
        "underivable",
        "x, whose derivative is not known: asking for it is an error.",
        lambda types, attrs: types[0],
        _unknown,
        lambda types, result, attrs: pointwise(types, result, lambda x: x),
        reference=lambda x, name: x,
        view=True,
        samples=lambda: [((np.arange(3, dtype=np.float32),), {"name": "f"})],
    )
)

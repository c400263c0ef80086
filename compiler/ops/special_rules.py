"""Derivatives and test inputs of the functions of maths/special.py."""

from __future__ import annotations

from collections.abc import Iterable
from math import log, pi, sqrt
from typing import Any

import numpy as np

from tdsl.compiler.graph import Vjp
from tdsl.compiler.maths.special import SPECIAL

_ROOT_PI = sqrt(pi)


def _scaled(scale: Any) -> Any:
    """The rule g * scale(b, y, x)."""
    return lambda b, g, y, x: (b("mul", g, scale(b, y, x)),)


def _over(divisor: Any) -> Any:
    """The rule g / divisor(b, y, x)."""
    return lambda b, g, y, x: (b("div", g, divisor(b, y, x)),)


def _square(b: Any, x: Any) -> Any:
    return b("mul", x, x)


def _i1(b: Any, y: Any, x: Any) -> Any:
    """I0(x) - I1(x) / x, at 0 one half."""
    at_zero = b("eq", x, 0.0)
    safe = b("where", at_zero, 1.0, x)
    return b("where", at_zero, 0.5, b("sub", b("bessel_i0", x), b("div", y, safe)))


def _i1e(b: Any, y: Any, x: Any) -> Any:
    at_zero = b("eq", x, 0.0)
    safe = b("where", at_zero, 1.0, x)
    rest = b("mul", y, b("add", b("sign", x), b("div", 1.0, safe)))
    return b("where", at_zero, 0.5, b("sub", b("bessel_i0e", x), rest))


def _log_ndtr(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """sqrt(2/pi) / erfcx(-x / sqrt 2): the density over the distribution, neither of them too small."""
    return (b("div", b("mul", g, sqrt(2 / pi)), b("erfcx", b("mul", x, -sqrt(0.5)))),)


def _copysign(b: Any, g: Any, y: Any, x: Any, sign: Any) -> tuple[Any, None]:
    at_zero = b("eq", x, 0.0)
    return b("where", at_zero, 0.0, b("mul", g, b("div", y, b("where", at_zero, 1.0, x)))), None


def _zeta(b: Any, g: Any, y: Any, s: Any, q: Any) -> tuple[None, Any]:
    return None, b("mul", b("mul", g, b("neg", s)), b("zeta", b("add", s, 1.0), q))


def _logit(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    """g / (x (1 - x)), NaN outside [0, 1]."""
    inside = b("and", b("ge", x, 0.0), b("le", x, 1.0))
    return (b("where", inside, b("div", g, b("mul", x, b("sub", 1.0, x))), float("nan")),)


def _hypot(b: Any, g: Any, y: Any, p: Any, q: Any) -> tuple[Any, Any]:
    return b("mul", g, b("div", p, y)), b("mul", g, b("div", q, y))


def _mantissa(b: Any, g: Any, y: Any, x: Any) -> tuple[Any]:
    return (b("mul", g, b("exp2", b("neg", b("exponent", x)))),)


SPECIAL_RULES: dict[str, Vjp] = {
    "sinh": _scaled(lambda b, y, x: b("cosh", x)),
    "cosh": _scaled(lambda b, y, x: b("sinh", x)),
    "asinh": _scaled(lambda b, y, x: b("rsqrt", b("add", _square(b, x), 1.0))),
    "acosh": _scaled(lambda b, y, x: b("rsqrt", b("sub", _square(b, x), 1.0))),
    "atanh": _over(lambda b, y, x: b("sub", 1.0, _square(b, x))),
    "asin": _scaled(lambda b, y, x: b("rsqrt", b("sub", 1.0, _square(b, x)))),
    "acos": _scaled(lambda b, y, x: b("neg", b("rsqrt", b("sub", 1.0, _square(b, x))))),
    "atan": _over(lambda b, y, x: b("add", _square(b, x), 1.0)),
    "exp2": _scaled(lambda b, y, x: b("mul", y, log(2))),
    "log2": _over(lambda b, y, x: b("mul", x, log(2))),
    "log10": _over(lambda b, y, x: b("mul", x, log(10))),
    "erfc": _scaled(lambda b, y, x: b("mul", b("exp", b("neg", _square(b, x))), -2 / _ROOT_PI)),
    "erfcx": _scaled(lambda b, y, x: b("sub", b("mul", b("mul", x, y), 2.0), 2 / _ROOT_PI)),
    "erfinv": _scaled(lambda b, y, x: b("mul", b("exp", _square(b, y)), _ROOT_PI / 2)),
    "ndtri": _scaled(lambda b, y, x: b("mul", b("exp", b("mul", _square(b, y), 0.5)), sqrt(2 * pi))),
    "log_ndtr": _log_ndtr,
    "lgamma": _scaled(lambda b, y, x: b("digamma", x)),
    "digamma": _scaled(lambda b, y, x: b("zeta", 2.0, x)),
    "zeta": _zeta,
    "bessel_i0": _scaled(lambda b, y, x: b("bessel_i1", x)),
    "bessel_i0e": _scaled(lambda b, y, x: b("sub", b("bessel_i1e", x), b("mul", b("sign", x), y))),
    "bessel_i1": _scaled(_i1),
    "bessel_i1e": _scaled(_i1e),
    "logit": _logit,
    "entr": _scaled(lambda b, y, x: b("neg", b("add", b("log", x), 1.0))),
    "hypot": _hypot,
    "nextafter": lambda b, g, y, p, q: (g, None),
    "copysign": _copysign,
    "mantissa": _mantissa,
}

# where the functions are smooth: a range for each operand
_DOMAINS: dict[str, list[tuple[float, float]]] = {
    "acosh": [(1.1, 30)], "atanh": [(-0.9, 0.9)], "asin": [(-0.9, 0.9)], "acos": [(-0.9, 0.9)],
    "log2": [(0.2, 9)], "log10": [(0.2, 9)], "erfinv": [(-0.9, 0.9)], "ndtri": [(0.05, 0.95)],
    "logit": [(0.1, 0.9)],
    "entr": [(0.1, 3)], "lgamma": [(0.3, 9)], "digamma": [(0.3, 9)], "zeta": [(2, 5), (0.5, 9)],
    "gcd": [(-90, 90), (-90, 90)],
    "mantissa": [(1.1, 1.9)], "exponent": [(1.1, 1.9)],
}  # fmt: skip


def special_inputs(name: str) -> Iterable[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Operands of a function of SPECIAL for tests: a few of its smooth range, then the corners of floats."""
    rng = np.random.default_rng(0)
    special = SPECIAL[name]
    ranges = _DOMAINS.get(name, [(-3.0, 9.0)] * special.arity)
    shapes = [(3, 5), (5,)] if special.arity == 2 else [(3, 5)]
    arrays = [rng.uniform(lo, hi, shape) for (lo, hi), shape in zip(ranges, shapes, strict=True)]
    if special.integral:
        yield tuple(x.astype(np.int64) for x in arrays), {}
        return
    yield tuple(arrays), {}
    corners = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 40.0, np.inf, -np.inf, np.nan, 1e-30])
    yield (np.full(11, 3, np.float32),) * (special.arity - 1) + (corners.astype(np.float32),), {}

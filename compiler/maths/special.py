"""The functions of this room that are elementwise functions of kernels by nothing but their expansion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tdsl.compiler.maths import bessel, errors, exponential, gamma, hyperbolic, integers
from tdsl.compiler.maths.lane import Lane


@dataclass(frozen=True, slots=True)
class Special:
    """A function of lanes; in loops it is the op `tdsl.NAME`."""

    function: Callable[..., Lane]
    arity: int = 1
    integral: bool = False  # of ints rather than floats


SPECIAL: dict[str, Special] = {
    "sinh": Special(hyperbolic.sinh),
    "cosh": Special(hyperbolic.cosh),
    "asinh": Special(hyperbolic.asinh),
    "acosh": Special(hyperbolic.acosh),
    "atanh": Special(hyperbolic.atanh),
    "asin": Special(hyperbolic.asin),
    "acos": Special(hyperbolic.acos),
    "atan": Special(hyperbolic.atan),
    "exp2": Special(exponential.exp2),
    "log2": Special(hyperbolic.log2),
    "log10": Special(hyperbolic.log10),
    "logit": Special(hyperbolic.logit),
    "entr": Special(hyperbolic.entr),
    "hypot": Special(hyperbolic.hypot, 2),
    "erfc": Special(errors.erfc),
    "erfcx": Special(errors.erfcx),
    "erfinv": Special(errors.erfinv),
    "ndtri": Special(errors.ndtri),
    "log_ndtr": Special(errors.log_ndtr),
    "lgamma": Special(gamma.lgamma),
    "digamma": Special(gamma.digamma),
    "zeta": Special(gamma.zeta, 2),
    "bessel_i0": Special(bessel.i0),
    "bessel_i0e": Special(bessel.i0e),
    "bessel_i1": Special(bessel.i1),
    "bessel_i1e": Special(bessel.i1e),
    "bessel_k0": Special(bessel.k0),
    "bessel_k0e": Special(bessel.k0e),
    "bessel_k1": Special(bessel.k1),
    "bessel_k1e": Special(bessel.k1e),
    "bessel_j0": Special(bessel.j0),
    "bessel_j1": Special(bessel.j1),
    "bessel_y0": Special(bessel.y0),
    "bessel_y1": Special(bessel.y1),
    "airy_ai": Special(bessel.airy_ai),
    "spherical_j0": Special(bessel.spherical_j0),
    "nextafter": Special(integers.nextafter, 2),
    "mantissa": Special(integers.mantissa),
    "exponent": Special(integers.exponent),
    "gcd": Special(integers.gcd, 2, integral=True),
}

"""tdsl.special: special functions of mathematics, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tdsl import elementwise as ew
from tdsl import maths
from tdsl.elementwise import binary, constant, expm1, float_function, log1p, record, round
from tdsl.maths import digamma, erfc, erfinv, exp2, floating_pair, i0, logit, polygamma, sinc, times_log, xlogy
from tdsl.operands import some_tensor
from tdsl.reductions import log_softmax, logsumexp, softmax
from tdsl.tensor import Tensor

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0",
    "i0e", "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0",
    "xlog1py", "xlogy", "zeta",
]  # fmt: skip

erf, expit = ew.erf, ew.sigmoid
gammaln, psi, multigammaln = maths.lgamma, maths.digamma, maths.mvlgamma
gammainc, gammaincc = maths.igamma, maths.igammac
entr, erfcx, ndtri, log_ndtr = map(float_function, ("entr", "erfcx", "ndtri", "log_ndtr"))
i0e, i1, i1e = (float_function(f"special_{name}", f"bessel_{name}") for name in ("i0e", "i1", "i1e"))


def _without_gradient(name: str, op: str) -> Callable[[Tensor], Tensor]:
    """A function that PyTorch does not differentiate either: its results never require a gradient."""
    function = float_function(f"special_{name}", op)

    def constant_function(input: Tensor) -> Tensor:
        return function(input).detach()

    constant_function.__name__ = name
    constant_function.__doc__ = f"{name} of each element, without a gradient; ints give the default floating dtype."
    return constant_function


airy_ai = _without_gradient("airy_ai", "airy_ai")
bessel_j0, bessel_j1, bessel_y0, bessel_y1 = (
    _without_gradient(f"bessel_{name}", f"bessel_{name}") for name in ("j0", "j1", "y0", "y1")
)
modified_bessel_i0, modified_bessel_i1, modified_bessel_k0, modified_bessel_k1 = (
    _without_gradient(f"modified_bessel_{name}", f"bessel_{name}") for name in ("i0", "i1", "k0", "k1")
)
scaled_modified_bessel_k0 = _without_gradient("scaled_modified_bessel_k0", "bessel_k0e")
scaled_modified_bessel_k1 = _without_gradient("scaled_modified_bessel_k1", "bessel_k1e")
spherical_bessel_j0 = _without_gradient("spherical_bessel_j0", "spherical_j0")


def ndtr(input: Tensor) -> Tensor:
    """The probability that a standard normal number is below each element."""
    x = ew.floating(ew.tensor_argument("special_ndtr", input))
    return erfc(x * constant(-(0.5**0.5), x)) * constant(0.5, x)  # type: ignore[no-any-return]


def xlog1py(input: Any, other: Any) -> Tensor:
    """input * log1p(other), 0 where input is 0 unless other is NaN."""
    some_tensor("special_xlog1py", input, other)
    return times_log(input, other, "special_xlog1py", -1.0, log1p)


def zeta(input: Any, other: Any) -> Tensor:
    """Hurwitz's zeta: the sum over k >= 0 of (other + k) ** -input; no gradient by `input` is known.

    >>> import tdsl
    >>> tdsl.special.zeta(tdsl.tensor([2.0]), tdsl.tensor([1.0]))
    tensor([1.6449])
    """
    some_tensor("special_zeta", input, other)
    a, b, dtype = floating_pair("special_zeta", input, other)
    return ew.underivable("zeta", a, binary("zeta", a, b, dtype))


def _polynomial(name: str, kind: str) -> Callable[[Any, Any], Tensor]:
    def function(input: Any, n: Any) -> Tensor:
        some_tensor(f"special_{name}", input, n, ("x", "n"))
        a, b, dtype = floating_pair(name, input, n)
        x, degree = ew.value_of(_alone(a), dtype), ew.value_of(_alone(b), dtype)
        return Tensor(record("polynomial", x, degree, kind=kind))

    function.__name__ = name
    function.__doc__ = f"{name} of degree `n` at each element; 0 for degrees below 0. Without a gradient."
    return function


def _alone(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else ew.tensor_of(x)


chebyshev_polynomial_t, chebyshev_polynomial_u, chebyshev_polynomial_v, chebyshev_polynomial_w = (
    _polynomial(f"chebyshev_polynomial_{k}", f"chebyshev_{k}") for k in "tuvw"
)
(
    shifted_chebyshev_polynomial_t,
    shifted_chebyshev_polynomial_u,
    shifted_chebyshev_polynomial_v,
    shifted_chebyshev_polynomial_w,
) = (_polynomial(f"shifted_chebyshev_polynomial_{k}", f"shifted_chebyshev_{k}") for k in "tuvw")
hermite_polynomial_h = _polynomial("hermite_polynomial_h", "hermite_h")
hermite_polynomial_he = _polynomial("hermite_polynomial_he", "hermite_he")
laguerre_polynomial_l = _polynomial("laguerre_polynomial_l", "laguerre_l")
legendre_polynomial_p = _polynomial("legendre_polynomial_p", "legendre_p")

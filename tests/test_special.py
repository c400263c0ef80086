"""Special functions against values of 30 digits, their derivatives by differences, and the edges of their domains."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl.autograd import gradcheck

# computed with mpmath
VALUES: dict[str, tuple[list[float], list[float]]] = {
    "lgamma": (
        [0.1, 0.75, 1.25, 2.5, 4.2, 7.0, 33.0],
        [
            2.252712651734206,
            0.20328095143129538,
            -0.09827183642181316,
            0.2846828704729192,
            2.04855563696059,
            6.579251212010101,
            81.55795945611504,
        ],
    ),
    "digamma": (
        [0.1, 1.2, 3.3, 6.0, 40.0, -1.5],
        [
            -10.423754940411076,
            -0.2890398965921884,
            1.0348224890596216,
            1.7061176684318005,
            3.676327374034843,
            0.7031566406452432,
        ],
    ),
    "erfc": (
        [-1.0, 0.2, 0.7, 3.0, 10.0, 25.0],
        [
            1.8427007929497148,
            0.7772974107895215,
            0.32219880616258156,
            2.209049699858544e-05,
            2.088487583762545e-45,
            8.300172571196523e-274,
        ],
    ),
    "erfinv": (
        [-0.9, 0.01, 0.5, 0.999999],
        [-1.1630871536766743, 0.008862501280950598, 0.4769362762044699, 3.458910737275499],
    ),
    "i0": ([0.5, 7.0, 30.0], [1.0634833707413236, 168.5939085102897, 781672297823.9775]),
    "asinh": ([-2.0, 1e-05, 50.0], [-1.4436354751788103, 9.999999999833334e-06, 4.605270170991424]),
    "acosh": ([1.001, 3.0], [0.04471763360830685, 1.762747174039086]),
    "atanh": ([-0.5, 0.99], [-0.5493061443340549, 2.6466524123622457]),
    "sinh": ([-0.0001, 3.0, 40.0], [-0.00010000000016666667, 10.017874927409903, 1.1769263341851e17]),
    "cosh": ([0.5, 40.0], [1.1276259652063807, 1.1769263341851e17]),
    "asin": ([-0.9, 0.3], [-1.1197695149986342, 0.3046926540153975]),
    "acos": ([-0.9, 0.999], [2.6905658417935308, 0.044725087168733454]),
    "exp2": ([-3.5, 0.25, 9.0], [0.08838834764831845, 1.189207115002721, 512.0]),
    "log2": ([0.3, 8.0, 10000000000.0], [-1.7369655941662063, 3.0, 33.219280948873624]),
    "log10": ([0.3, 1000.0, 1e-07], [-0.5228787452803376, 3.0, -7.0]),
    "special.erfcx": ([-1.0, 0.5, 40.0], [5.008980080762283, 0.6156903441929259, 0.014100335983377814]),
    "special.ndtri": ([0.001, 0.3, 0.8], [-3.0902323061678136, -0.5244005127080408, 0.8416212335729144]),
    "special.log_ndtr": (
        [-30.0, -2.0, 0.5, 4.0],
        [-454.3212439563432, -3.783184333682032, -0.3689464152886564, -3.167174337748927e-05],
    ),
    "special.i0e": ([1.0, 20.0], [0.46575960759364043, 0.08978031188482602]),
    "special.i1": ([-2.0, 0.5, 20.0], [-1.590636854637329, 0.2578943053908963, 42454973.38512777]),
    "special.i1e": ([1.0, 20.0], [0.20791041534970844, 0.08750622218328867]),
    "special.modified_bessel_k0": (
        [0.1, 1.5, 5.0, 30.0],
        [2.4270690247020164, 0.21380556264752573, 0.0036910983340425942, 2.1324774964630563e-14],
    ),
    "special.modified_bessel_k1": (
        [0.1, 1.5, 5.0, 30.0],
        [9.853844780870606, 0.2773878004568438, 0.004044613445452165, 2.1677320018915495e-14],
    ),
    "special.scaled_modified_bessel_k0": ([0.1, 30.0], [2.6823261022628944, 0.22788666561625373]),
    "special.scaled_modified_bessel_k1": ([0.1, 30.0], [10.890182683049696, 0.2316541293777118]),
    "special.bessel_j0": (
        [-1.0, 4.0, 7.0, 50.0],
        [0.7651976865579666, -0.39714980986384735, 0.3000792705195556, 0.055812327669251816],
    ),
    "special.bessel_j1": (
        [-1.0, 4.0, 7.0, 50.0],
        [-0.4400505857449335, -0.06604332802354913, -0.004682823482345833, -0.09751182812517514],
    ),
    "special.bessel_y0": (
        [0.1, 4.0, 7.0, 50.0],
        [-1.5342386513503667, -0.016940739325064992, -0.025949743967209265, -0.09806499547007708],
    ),
    "special.bessel_y1": (
        [0.1, 4.0, 7.0, 50.0],
        [-6.4589510947020266, 0.3979257105571, -0.30266723702418485, -0.05679566856201477],
    ),
    "special.airy_ai": (
        [-20.0, -7.0, -3.0, 0.0, 1.0, 4.0, 15.0],
        [
            -0.1764061270779847,
            0.18428083525050565,
            -0.37881429367765806,
            0.3550280538878172,
            0.13529241631288141,
            0.0009515638512048018,
            2.1649625207379925e-18,
        ],
    ),
    "special.spherical_bessel_j0": ([0.05, 3.0], [0.9995833854135666, 0.04704000268662241]),
}

INCOMPLETE = [
    (0.5, 0.3, 0.5614219739190002, 0.4385780260809999),
    (2, 5, 0.9595723180054871, 0.040427681994512805),
    (3.7, 3.5, 0.5275553330547736, 0.4724446669452264),
    (150, 160, 0.7956261882343224, 0.20437381176567754),
    (5000, 4990, 0.4455940887896612, 0.5544059112103388),
    (0.01, 0.5, 0.9943732438060329, 0.0056267561939671844),
]
ZETA = [
    (2, 1, 1.6449340668482264),
    (3, 0.5, 8.41439832211716),
    (1.5, 7.25, 0.7692752912828447),
    (4, -2.5, 32.4579793698646),
    (3, -0.25, -61.34868339183118),
]


def function(name: str) -> Any:
    return getattr(tdsl.special, name.removeprefix("special."), None) or getattr(tdsl, name)


def double(*values: Any) -> tuple[tdsl.Tensor, ...]:
    return tuple(tdsl.tensor(v, dtype=tdsl.float64) for v in values)


@pytest.mark.parametrize("name", VALUES)
def test_values(name: str) -> None:
    points, want = VALUES[name]
    (x,) = double(points)
    np.testing.assert_allclose(function(name)(x).numpy(), want, rtol=3e-14, atol=1e-17)
    single = function(name)(x.float()).numpy()
    at = x.float().double()  # what the single ones are given
    np.testing.assert_allclose(single, function(name)(at).numpy(), rtol=2e-7, atol=1e-38)


def test_incomplete_gamma_functions() -> None:
    a, x, p, q = map(list, zip(*INCOMPLETE, strict=True))
    np.testing.assert_allclose(tdsl.special.gammainc(*double(a, x)).numpy(), p, rtol=1e-12)
    np.testing.assert_allclose(tdsl.special.gammaincc(*double(a, x)).numpy(), q, rtol=1e-12)
    edges = tdsl.igamma(tdsl.tensor([0.0, 0.0, 1.0, 1.0, inf, -1.0]), tdsl.tensor([0.0, 1.0, 0.0, inf, 1.0, 1.0]))
    np.testing.assert_array_equal(edges.numpy(), [nan, 1, 0, 1, 0, nan])


def test_zeta_and_polygamma() -> None:
    s, q, want = map(list, zip(*ZETA, strict=True))
    np.testing.assert_allclose(tdsl.special.zeta(*double(s, q)).numpy(), want, rtol=1e-14)
    (x,) = double([0.5, 3.0])
    np.testing.assert_allclose(tdsl.polygamma(2, x).numpy(), -2 * tdsl.special.zeta(3, x).numpy())
    np.testing.assert_array_equal(tdsl.polygamma(0, x).numpy(), tdsl.digamma(x).numpy())
    np.testing.assert_array_equal(
        tdsl.special.zeta(*double([1.0, 0.5, 2.0, 2.5], [2.0, 2.0, -1.0, -1.5])), [inf, nan, inf, nan]
    )


EDGES: dict[str, tuple[list[float], list[float]]] = {
    "lgamma": ([0.0, -0.0, -2.0, inf, -inf, nan, 1.0, 2.0], [inf, inf, inf, inf, inf, nan, 0, 0]),
    "digamma": ([0.0, -0.0, -2.0, inf, nan], [-inf, inf, nan, inf, nan]),
    "erfc": ([0.0, inf, -inf, 28.0, nan], [1, 0, 2, 0, nan]),
    "erfinv": ([0.0, 1.0, -1.0, 1.5, nan], [0, inf, -inf, nan, nan]),
    "i0": ([0.0, inf, -inf, nan], [1, inf, inf, nan]),
    "acosh": ([1.0, 0.5, inf, nan], [0, nan, inf, nan]),
    "atanh": ([1.0, -1.0, 2.0, nan], [inf, -inf, nan, nan]),
    "asinh": ([inf, -inf, 0.0, nan], [inf, -inf, 0, nan]),
    "sinh": ([inf, -inf, 800.0, nan], [inf, -inf, inf, nan]),
    "cosh": ([inf, -inf, 800.0, nan], [inf, inf, inf, nan]),
    "exp2": ([inf, -inf, 2000.0, -2000.0, nan, -1074.0, 10.0], [inf, 0, inf, 0, nan, 5e-324, 1024]),
    "log2": ([0.0, -1.0, inf, nan, 8.0, 5e-324], [-inf, nan, inf, nan, 3, -1074]),
    "log10": ([0.0, -1.0, inf, nan, 1000.0, 1e22], [-inf, nan, inf, nan, 3, 22]),
    "logit": ([0.0, 1.0, 0.5, 1.5, nan], [-inf, inf, 0, nan, nan]),
    "sinc": ([0.0, 1e-300, nan], [1, 1, nan]),
    "special.ndtri": ([0.0, 1.0, 0.5, -1.0, nan], [-inf, inf, 0, nan, nan]),
    "special.log_ndtr": ([inf, -inf, nan], [0, -inf, nan]),
    "special.ndtr": ([0.0, inf, -inf, nan], [0.5, 1, 0, nan]),
    "special.entr": ([0.0, 1.0, -1.0, nan, inf], [0, 0, -inf, nan, -inf]),
    "special.erfcx": ([0.0, inf, -inf, nan], [1, 0, inf, nan]),
    "special.i1": ([0.0, inf, -inf, nan], [0, inf, -inf, nan]),
    "special.i0e": ([0.0, inf, nan], [1, 0, nan]),
    "special.modified_bessel_k0": ([0.0, -1.0, inf, nan], [inf, nan, 0, nan]),
    "special.modified_bessel_k1": ([0.0, -1.0, inf, nan], [inf, nan, 0, nan]),
    "special.bessel_j0": ([0.0, inf, nan], [1, 0, nan]),
    "special.bessel_y0": ([0.0, -1.0, inf, nan], [-inf, nan, 0, nan]),
    "special.bessel_y1": ([0.0, -1.0, inf, nan], [-inf, nan, 0, nan]),
    "special.airy_ai": ([inf, -inf, nan], [0, 0, nan]),
    "special.spherical_bessel_j0": ([0.0, inf, nan], [1, 0, nan]),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str) -> None:
    points, want = EDGES[name]
    np.testing.assert_array_equal(function(name)(*double(points)).numpy(), want)


SMOOTH = {
    "lgamma digamma special.i1 special.i1e special.i0e i0 special.erfcx special.log_ndtr erfc asinh sinh cosh exp2 "
    "log2 log10 sinc special.entr special.ndtr": [0.4, 1.7, 3.2],
    "erfinv atanh asin acos special.ndtri logit": [0.2, 0.6, 0.9],
    "acosh": [1.2, 4.0],
}


@pytest.mark.parametrize("name", [name for names in SMOOTH for name in names.split()])
def test_gradients(name: str) -> None:
    points = next(points for names, points in SMOOTH.items() if name in names.split())
    (x,) = double(points)
    assert gradcheck(function(name), (x.requires_grad_(),))


def test_gradients_of_two_arguments() -> None:
    a, b = (x.requires_grad_() for x in double([0.4, 1.7], [2.5, 0.3]))
    for f in (tdsl.xlogy, tdsl.special.xlog1py, tdsl.hypot, tdsl.logaddexp, tdsl.logaddexp2, tdsl.ldexp):
        assert gradcheck(f, (a, b))
    for f in (tdsl.igamma, tdsl.igammac):
        assert gradcheck(lambda x, f=f: f(a.detach(), x), (b,))
    assert gradcheck(lambda x: tdsl.polygamma(3, x), (b,))
    assert gradcheck(lambda x: tdsl.mvlgamma(x, 3), (double([2.0, 4.5])[0].requires_grad_(),))


def test_what_has_no_gradient() -> None:
    x = tdsl.tensor([0.5, 1.5], requires_grad=True)
    assert not tdsl.special.bessel_j0(x).requires_grad
    assert not tdsl.special.legendre_polynomial_p(x, 3).requires_grad
    for y in (tdsl.special.zeta(x + 1, 2.0), tdsl.igamma(x, tdsl.tensor([1.0, 2.0]))):
        with pytest.raises(NotImplementedError, match="the derivative for .* is not implemented"):
            y.sum().backward()


@pytest.mark.parametrize("kind", ["T", "U", "V", "W"])
def test_chebyshev_polynomials_at_angles(kind: str) -> None:
    angle, degree = np.linspace(0.1, 3.0, 9)[:, None], np.arange(12.0)
    half = degree + 0.5
    want = {
        "T": np.cos(degree * angle), "U": np.sin((degree + 1) * angle) / np.sin(angle),
        "V": np.cos(half * angle) / np.cos(angle / 2), "W": np.sin(half * angle) / np.sin(angle / 2),
    }[kind]  # fmt: skip
    (x,) = double(np.cos(angle))
    (n,) = double(degree)
    np.testing.assert_allclose(function(f"chebyshev_polynomial_{kind.lower()}")(x, n).numpy(), want, atol=1e-12)
    shifted = function(f"shifted_chebyshev_polynomial_{kind.lower()}")((x + 1) / 2, n)
    np.testing.assert_allclose(shifted.numpy(), want, atol=1e-11)


def test_other_polynomials() -> None:
    (x,) = double([-1.5, 0.25, 2.0])
    v = x.numpy()
    np.testing.assert_allclose(tdsl.special.hermite_polynomial_h(x, 3).numpy(), 8 * v**3 - 12 * v)
    np.testing.assert_allclose(tdsl.special.hermite_polynomial_he(x, 3).numpy(), v**3 - 3 * v)
    np.testing.assert_allclose(tdsl.special.legendre_polynomial_p(x, 2).numpy(), (3 * v * v - 1) / 2)
    np.testing.assert_allclose(tdsl.special.laguerre_polynomial_l(x, 2).numpy(), (v * v - 4 * v + 2) / 2)
    np.testing.assert_array_equal(tdsl.special.legendre_polynomial_p(x, -1).numpy(), np.zeros(3))


@pytest.mark.peer
def test_names_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    ours = set(tdsl.special.__all__)
    theirs = {n for n in dir(torch.special) if callable(getattr(torch.special, n)) and not n.startswith("_")}
    assert theirs - {"Tensor"} <= ours

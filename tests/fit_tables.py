"""Makes compiler/maths/tables.py: `python tests/fit_tables.py > compiler/maths/tables.py`, with mpmath installed.

Each table is the polynomial through the values of a function at the Chebyshev nodes of an interval, computed with 60
digits and cut where the rest is below the last place of a double. The variable t runs over [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

mp.mp.dps = 60
ROOT = mp.findroot(mp.digamma, 1.46)


def chebyshev(f: Callable[[Any], Any], nodes: int) -> list[Any]:
    """Chebyshev coefficients of f on [-1, 1]."""
    angles = [(2 * k + 1) * mp.pi / (2 * nodes) for k in range(nodes)]
    values = [f(mp.cos(a)) for a in angles]
    found = [2 * mp.fsum(v * mp.cos(j * a) for v, a in zip(values, angles, strict=True)) / nodes for j in range(nodes)]
    found[0] /= 2
    return found


def monomials(coefficients: list[Any]) -> list[Any]:
    """The same polynomial in powers of t, highest first."""
    before, here = [mp.mpf(1)], [mp.mpf(0), mp.mpf(1)]
    total = [mp.mpf(0)] * len(coefficients)
    total[0] = coefficients[0]
    for c in coefficients[1:]:
        for k, x in enumerate(here):
            total[k] += c * x
        after = [mp.mpf(0), *[2 * x for x in here]]
        for k, x in enumerate(before):
            after[k] -= x
        before, here = here, after
    return total[::-1]


def fit(name: str, f: Callable[[Any], Any], lo: Any, hi: Any, note: str, tolerance: float = 2e-17) -> None:
    """Print f over [lo, hi] as the table `name`, highest power first."""
    lo, hi = mp.mpf(lo), mp.mpf(hi)
    middle, half = (lo + hi) / 2, (hi - lo) / 2
    found = chebyshev(lambda t: f(middle + half * t), 64)
    scale = max(abs(c) for c in found)
    while abs(found[-1]) < tolerance * scale:
        found.pop()
    numbers = [repr(float(c)) for c in monomials(found)]
    print(f"# {note}, of [{mp.nstr(lo, 6)}, {mp.nstr(hi, 6)}]")
    line = f"{name} = ["
    for k, text in enumerate(numbers):
        piece = text + ("," if k < len(numbers) - 1 else "]  # fmt: skip")
        if len(line) + len(piece) > 118:
            print(line.rstrip())
            line = "    "
        line += piece + " "
    print(line.rstrip())


def bounded(s: Any) -> Any:
    """sqrt(2) erfinv(y) / y at 1 - y^2 = exp(-s^2) and the same without sqrt(2)."""
    w = s * s
    y = mp.sqrt(-mp.expm1(-w))
    if w < mp.mpf("1e-20"):
        return mp.sqrt(mp.pi) / 2
    if w < 30:
        return mp.erfinv(y) / y
    rest = mp.exp(-w) / (1 + y)  # 1 - y
    guess = mp.sqrt(w)
    for _ in range(60):
        error = mp.erfc(guess) / rest
        step = mp.log(error) * mp.erfc(guess) * mp.sqrt(mp.pi) / 2 * mp.exp(guess * guess)
        guess += step
        if abs(step) < mp.mpf(10) ** -45:
            break
    return guess / y


def hankel(kind: str, order: int) -> Callable[[Any], Any]:
    """P and x Q of the modulus and phase form of J and Y (DLMF 10.17.3), as functions of z = 1 / x^2."""

    def f(z: Any) -> Any:
        if z == 0:
            z = mp.mpf(10) ** -24
        x = 1 / mp.sqrt(z)
        c, s = mp.cos(x - (2 * order + 1) * mp.pi / 4), mp.sin(x - (2 * order + 1) * mp.pi / 4)
        j, y = mp.besselj(order, x), mp.bessely(order, x)
        scale = mp.sqrt(mp.pi * x / 2)
        return scale * (j * c + y * s) if kind == "P" else scale * (y * c - j * s) * x

    return f


def airy_wave(kind: str) -> Callable[[Any], Any]:
    """The same of Ai and Bi at -x (DLMF 9.7.9), as functions of 1 / zeta."""

    def f(u: Any) -> Any:
        zeta = 1 / max(u, mp.mpf(10) ** -6)
        x = (mp.mpf(3) / 2 * zeta) ** (mp.mpf(2) / 3)
        a, b = mp.airyai(-x), mp.airybi(-x)
        c, s = mp.cos(zeta - mp.pi / 4), mp.sin(zeta - mp.pi / 4)
        scale = mp.sqrt(mp.pi) * x ** (mp.mpf(1) / 4)
        return scale * (a * c - b * s) if kind == "P" else scale * (a * s + b * c) * zeta

    return f


def airy_decay(u: Any) -> Any:
    zeta = 1 / max(u, mp.mpf(10) ** -6)
    x = (mp.mpf(3) / 2 * zeta) ** (mp.mpf(2) / 3)
    return 2 * mp.sqrt(mp.pi) * x ** (mp.mpf(1) / 4) * mp.exp(zeta) * mp.airyai(x)


def near(f: Callable[[Any], Any], low: str = "1e-25") -> Callable[[Any], Any]:
    return lambda z: f(max(z, mp.mpf(low)))


def main() -> None:
    print('"""Polynomials of special functions, highest power first, in a t that runs over [-1, 1].')
    print()
    print("Interpolants of our own at Chebyshev nodes, from 60-digit values: made by tests/fit_tables.py.")
    print('"""')
    print()
    c = mp.mpf("3.75")

    def erfcx(t: Any) -> Any:
        if 1 - t < mp.mpf(10) ** -20:
            return 2 / mp.sqrt(mp.pi)
        x = c * (1 + t) / (1 - t)
        if x > 300:
            z = 1 / (x * x)
            tail = mp.fsum((-1) ** k * mp.fac2(2 * k - 1) * (z / 2) ** k for k in range(12))
            return (1 + 2 * x) * tail / (x * mp.sqrt(mp.pi))
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)

    fit("ERFCX", erfcx, -1, 1, "(1 + 2 x) exp(x^2) erfc(x) in t = (x - 3.75) / (x + 3.75)")
    fit("ERF", lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) if z else 2 / mp.sqrt(mp.pi), 0, 1, "erf(x) / x in x^2")
    inverse = "erfinv(y) / y in s^2 or s, exp(-s^2) = 1 - y^2"
    fit("ERFINV_NEAR", lambda w: bounded(mp.sqrt(w)), 0, "6.25", inverse)
    fit("ERFINV_MIDDLE", bounded, "2.5", 7, inverse)
    fit("ERFINV_FAR", bounded, 7, 28, inverse)
    for name, lo, hi in (("HALF", ".5", 1), ("ONE", 1, 2), ("TWO", 2, 3)):

        def ratio(x: Any) -> Any:
            if abs(x - 1) < mp.mpf(10) ** -22:
                return mp.euler
            if abs(x - 2) < mp.mpf(10) ** -22:
                return 1 - mp.euler
            return mp.loggamma(x) / ((x - 1) * (x - 2))

        fit(f"LGAMMA_{name}", ratio, lo, hi, "log gamma(x) / ((x - 1) (x - 2))")
    fit("LGAMMA_THREE", mp.loggamma, 3, 5, "log gamma(x)")
    fit("LGAMMA_FIVE", mp.loggamma, 5, 8, "log gamma(x)")
    fit("DIGAMMA_ONE", lambda x: mp.digamma(x) / (x - ROOT), 1, 2, "digamma(x) / (x - its root)")
    fit("DIGAMMA_TWO", mp.digamma, 2, 4, "digamma(x)")
    fit("DIGAMMA_FOUR", mp.digamma, 4, 8, "digamma(x)")
    for n in (0, 1):
        fit(f"I{n}_NEAR", lambda x, n=n: mp.exp(-x) * mp.besseli(n, x) / x**n if x else mp.mpf(1) / (1 + n), 0, 8,
            f"exp(-x) I{n}(x)" + (" / x" if n else ""))  # fmt: skip

        def i_far(u: Any, n: int = n) -> Any:
            x = 1 / max(u, mp.mpf(10) ** -4)
            return mp.sqrt(x) * mp.exp(-x) * mp.besseli(n, x)

        if True:
            fit(f"I{n}_FAR", lambda u, n=n: series_i(n, u) if u < mp.mpf("0.01") else i_far(u, n), 0, "0.125",
                f"sqrt(x) exp(-x) I{n}(x) in 1 / x")  # fmt: skip
    fit("K0_NEAR", near(lambda z: mp.besselk(0, mp.sqrt(z)) + mp.log(mp.sqrt(z) / 2) * mp.besseli(0, mp.sqrt(z))), 0, 4,
        "K0(x) + log(x / 2) I0(x) in x^2")  # fmt: skip
    fit("K1_NEAR", near(lambda z: (mp.besselk(1, mp.sqrt(z)) - mp.log(mp.sqrt(z) / 2) * mp.besseli(1, mp.sqrt(z)))
        * mp.sqrt(z), "1e-22"), 0, 4, "x (K1(x) - log(x / 2) I1(x)) in x^2")  # fmt: skip
    for n in (0, 1):
        fit(f"K{n}_MIDDLE", lambda u, n=n: k_scaled(n, u), "0.125", "0.5", f"sqrt(x) exp(x) K{n}(x) in 1 / x")
        fit(f"K{n}_FAR", lambda u, n=n: k_scaled(n, u), 0, "0.125", f"sqrt(x) exp(x) K{n}(x) in 1 / x")
    for n in (0, 1):
        over = " / x" if n else ""
        fit(f"J{n}_NEAR", lambda z, n=n: mp.besselj(n, mp.sqrt(z)) / mp.sqrt(z) ** n if z else mp.mpf(1) / (1 + n),
            0, 25, f"J{n}(x){over} in x^2")  # fmt: skip
        fit(f"J{n}_MIDDLE", lambda z, n=n: mp.besselj(n, mp.sqrt(z)) / mp.sqrt(z) ** n, 25, 64, f"J{n}(x){over} in x^2")
        for kind in "PQ":
            note = f"{'x ' * (kind == 'Q')}{kind} of J{n}, Y{n} in 1 / x^2"
            fit(f"J{n}_{kind}", hankel(kind, n), 0, 1 / mp.mpf(64), note)
    two = 2 / mp.pi

    def y0(z: Any) -> Any:
        x = mp.sqrt(z)
        return mp.bessely(0, x) - two * mp.log(x / 2) * mp.besselj(0, x)

    def y1(z: Any) -> Any:
        x = mp.sqrt(z)
        return (mp.bessely(1, x) - two * (mp.log(x / 2) * mp.besselj(1, x) - 1 / x)) / x

    fit("Y0_NEAR", near(y0), 0, 25, "Y0(x) - 2/pi log(x / 2) J0(x) in x^2")
    fit("Y0_MIDDLE", y0, 25, 64, "the same")
    fit("Y1_NEAR", near(y1, "1e-15"), 0, 25, "(Y1(x) - 2/pi (log(x / 2) J1(x) - 1 / x)) / x in x^2")
    fit("Y1_MIDDLE", y1, 25, 64, "the same")
    fit("AIRY_P", airy_wave("P"), 0, "0.13", "P of Ai(-x) in 1 / zeta, zeta = 2/3 x^(3/2)")
    fit("AIRY_Q", airy_wave("Q"), 0, "0.13", "zeta Q of Ai(-x) in 1 / zeta")
    fit("AIRY_LOW", mp.airyai, -6, -2, "Ai(x)")
    fit("AIRY_NEAR", mp.airyai, -2, 2, "Ai(x)")
    fit("AIRY_MIDDLE", airy_decay, "0.1", "0.55", "2 sqrt(pi) x^(1/4) exp(zeta) Ai(x) in 1 / zeta")
    fit("AIRY_FAR", airy_decay, 0, "0.1", "the same")


def series_i(n: int, u: Any) -> Any:
    """The asymptotic series of sqrt(x) exp(-x) I_n(x), DLMF 10.40.1."""
    term, total = mp.mpf(1), mp.mpf(1)
    for k in range(1, 30):
        term *= -(4 * n * n - (2 * k - 1) ** 2) * u / (8 * k)
        total += term
    return total / mp.sqrt(2 * mp.pi)


def k_scaled(n: int, u: Any) -> Any:
    if u < mp.mpf("0.01"):
        term, total = mp.mpf(1), mp.mpf(1)
        for k in range(1, 30):
            term *= (4 * n * n - (2 * k - 1) ** 2) * u / (8 * k)
            total += term
        return total * mp.sqrt(mp.pi / 2)
    x = 1 / u
    return mp.sqrt(x) * mp.exp(x) * mp.besselk(n, x)


if __name__ == "__main__":
    main()

"""Gradients of index notation: values and first and second derivatives against NumPy and central differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import tdsl.compiler.ops  # noqa: F401  the derivative rules
from tdsl.compiler.evaluate import evaluate
from tdsl.compiler.kernel import Kernel, Scatter, verify
from tdsl.compiler.kernel_grad import derive
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import canonical, rename, show

Array = np.ndarray[Any, Any]
DTYPES = {"f": "f64", "i": "i64", "b": "bool"}
rng = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return rng.standard_normal(shape)


def kernel(body: str, inputs: Mapping[str, Any]) -> tuple[Kernel, dict[str, Any]]:
    """Statements with output y over f64 or i64 arrays, and numbers, as a kernel with params a0, a1, ..."""
    params = []
    for name, value in inputs.items():
        kind = DTYPES[np.asarray(value).dtype.kind]
        shape = ",".join(map(str, np.shape(value)))
        params.append(f"{name}: number {kind}" if isinstance(value, float) else f"{name}: {kind}[{shape}]")
    lines = "".join(f"  {line}\n" for line in body.splitlines())
    made = parse(f"kernel k({', '.join(params)}) -> (y):\n{lines}")
    names = {name: f"a{k}" for k, name in enumerate(inputs)}
    return rename(made, names), {names[n]: np.asarray(v) for n, v in inputs.items()}


def run(k: Kernel, arrays: Mapping[str, Any]) -> Array:
    return evaluate(k, {p.name: arrays[p.name] for p in k.params}, {})[k.outputs[0]]


def differences(k: Kernel, arrays: dict[str, Any], wrt: str, seed: Array) -> Array:
    """The gradient of sum(y * seed), by central differences."""
    result = np.zeros(arrays[wrt].shape)
    for at in np.ndindex(result.shape):
        ends = []
        for step in (1e-6, -1e-6):
            moved = arrays[wrt].copy()
            moved[at] += step
            ends.append((run(k, arrays | {wrt: moved}) * seed).sum())
        result[at] = (ends[0] - ends[1]) / 2e-6
    return result


def as_forward(k: Kernel) -> Kernel:
    """A derived kernel with the names that a kernel has which can be derived again."""
    names = {p.name: f"b{n}" for n, p in enumerate(k.params)} | {"d": "y"}
    return rename(k, names)


def check_gradients(k: Kernel, arrays: dict[str, Any], tol: float, again: bool) -> None:
    y = run(k, arrays)
    g = normal(*y.shape)
    for p in k.params:
        if not p.dtype.is_float:
            continue
        d = derive(k, p.name)
        want = differences(k, arrays, p.name, g)
        if d is None:
            np.testing.assert_allclose(want, 0, atol=1e-8)
            continue
        verify(d)
        assert show(parse(show(d))) == show(d)
        own = arrays | {"y": y, "g": g}
        np.testing.assert_allclose(run(d, own), want, atol=tol, err_msg=show(d))
        if again:
            second = as_forward(d)
            values = {f"b{n}": np.asarray(own[q.name]) for n, q in enumerate(d.params)}
            check_gradients(second, values, tol, False)


A, B = normal(3, 4), normal(4, 5)
image, filters = normal(2, 2, 5, 6), normal(3, 2, 3, 3)
q, k_, v = normal(1, 2, 4, 3), normal(1, 2, 4, 3), normal(1, 2, 4, 3)
shuffled = normal(1, 4, 2, 3)
table, ids = normal(3, 2), np.array([[1, 1, 0], [2, 1, 2]])


def conv(x: Array, w: Array, pad: int) -> Array:
    xp = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    h, n = xp.shape[2] - 2, xp.shape[3] - 2
    parts = (
        np.einsum("nchw,oc->nohw", xp[:, :, r : r + h, s : s + n], w[:, :, r, s]) for r in range(3) for s in range(3)
    )
    return np.asarray(sum(parts))


def attention() -> Array:
    scores = np.einsum("bhid,bhjd->bhij", q, k_) / np.sqrt(3)
    scores = np.where(np.tril(np.ones((4, 4))) > 0, scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(np.einsum("bhij,bhjd->bhid", p / p.sum(-1, keepdims=True), v))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


CASES: dict[str, tuple[str, dict[str, Any], Array | None]] = {
    "matmul": ("y[i, j] := sum[k] A[i, k] * B[k, j]", {"A": A, "B": B}, A @ B),
    "sum scope": ("y[i] := a[i] + sum[j] b[i, j] * a[j]", {"a": normal(2), "b": normal(2, 2)}, None),
    "conv valid": (
        "y[n, o, i, j] := sum[c, r, s] x[n, c, i + r, j + s] * w[o, c, r, s]",
        {"x": image, "w": filters},
        conv(image, filters, 0),
    ),
    "conv same": (
        "y[n, o, i in 0:5, j in 0:6] := sum[c, r, s] x[n, c, i + r - 1, j + s - 1 else 0.0] * w[o, c, r, s]",
        {"x": image, "w": filters},
        conv(image, filters, 1),
    ),
    "conv strided": (
        "y[n, o, i, j] := sum[c, r, s] x[n, c, 2 * i + r, 2 * j + s] * w[o, c, r, s]",
        {"x": image, "w": filters},
        conv(image, filters, 0)[:, :, ::2, ::2],
    ),
    "softmax": (
        "m[i] := max[j] x[i, j]\ne[i, j] := exp(x[i, j] - m[i])\nz[i] := sum[j] e[i, j]\ny[i, j] := e[i, j] / z[i]",
        {"x": A},
        softmax(A),
    ),
    "attention": (
        "s[b, h, i, j] := sum[d] q[b, h, i, d] * k[b, h, j, d] * f64(0.5773502691896258)\n"
        "l[b, h, i] := logsumexp[j if j <= i] s[b, h, i, j]\n"
        "y[b, h, i, d] := sum[j if j <= i] exp(s[b, h, i, j] - l[b, h, i]) * v[b, h, j, d]",
        {"q": q, "k": k_, "v": v},
        attention(),
    ),
    "layer norm": (
        "mu[i] := mean[d] x[i, d]\nvar[i] := mean[d] (x[i, d] - mu[i]) ** 2.0\n"
        "y[i, d] := (x[i, d] - mu[i]) * rsqrt(var[i] + 1e-5) * w[d] + b[d]",
        {"x": normal(3, 4), "w": normal(4), "b": normal(4)},
        None,
    ),
    "max pool": ("y[i, j] := max[r in 0:2, s in 0:2] x[2 * i + r, 2 * j + s]", {"x": normal(4, 6)}, None),
    "min": ("y[i] := min[j] x[i, j] * w[j]", {"x": normal(3, 4), "w": normal(4)}, None),
    "product with zeros": (
        "y[i] := prod[k] x[i, k]",
        {"x": np.array([[1.0, 2, 0, 3], [0, 0, 5, 1], [2, 3, 4, 5]])},
        np.array([0.0, 0, 120]),
    ),
    "mean under a guard": ("y[i] := mean[j if j <= i] x[i, j]", {"x": normal(3, 3)}, None),
    "logsumexp": ("y[i] := logsumexp[j] x[i, j]", {"x": A}, np.log(np.exp(A).sum(1))),
    "downsample": ("y[i] := (x[2 * i] + x[2 * i + 1]) / 2.0", {"x": normal(7)}, None),
    "upsample": ("y[i] := x[i // 2] * x[i // 2]", {"x": normal(3)}, None),
    "reversed": ("y[i in 0:5] := x[4 - i] * w[i]", {"x": normal(5), "w": normal(5)}, None),
    "circular shift": ("y[i in 0:5] := x[(i - 2) % 5]", {"x": np.arange(5.0)}, np.roll(np.arange(5.0), 2)),
    "pixel shuffle": (
        "y[n, c in 0:1, i, j] := x[n, 4 * c + 2 * (i % 2) + j % 2, i // 2, j // 2]",
        {"x": shuffled},
        shuffled.reshape(1, 1, 2, 2, 2, 3).transpose(0, 1, 4, 2, 5, 3).reshape(1, 1, 4, 6),
    ),
    "gather": ("y[b, t, d] := table[ids[b, t], d] * table[0, d]", {"table": table, "ids": ids}, table[ids] * table[0]),
    "trace": ("y[i] := x[i, i] + sum[k] x[k, k]", {"x": normal(3, 3)}, None),
    "branches": ("y[i] := log(x[i]) if x[i] > 0.0 else x[i] * x[i]", {"x": np.array([1.0, -2, 3])}, None),
    "guard": ("y[i in 0:5] := sum[k in -1:2 if 0 <= i + k and i + k < 5] x[i + k] * x[i]", {"x": normal(5)}, None),
    "fill": ("y[i in 0:7] := x[i - 1 else b[0] * b[0]]", {"x": normal(5), "b": normal(2)}, None),
    "number": ("y[i] := x[i] * c + tanh(c)", {"x": normal(3), "c": 0.3}, None),
    "scalar": ("y[] := sum[i] s * x[i]", {"x": normal(3), "s": np.array(0.7)}, None),
    "functions": (
        "y[i] := exp(x[i]) * sigmoid(x[i]) + maximum(x[i], w[i]) / sqrt(abs(w[i])) - sin(x[i]) ** 3.0",
        {"x": normal(3), "w": normal(3)},
        None,
    ),
    "normalised": ("y[r, c] := x[r, c] / sum[j] x[r, j] * x[r, j]", {"x": 1 + normal(2, 3) ** 2}, None),
    "axis as a value": ("y[i] := x[i] * (i.to(f64) + 1.0)", {"x": normal(3)}, None),
    "local read twice": ("t[i] := x[i] * x[i]\ny[i] := sum[j] t[j] * t[i]", {"x": normal(3)}, None),
}
SECOND = (
    "matmul",
    "conv valid",
    "conv same",
    "max pool",
    "product with zeros",
    "logsumexp",
    "gather",
    "branches",
    "fill",
)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str) -> None:
    body, inputs, want = CASES[name]
    k, arrays = kernel(body, inputs)
    if want is not None:
        np.testing.assert_allclose(run(k, arrays), want, rtol=1e-10, atol=1e-10)
    check_gradients(k, arrays, 2e-5, again=name in SECOND)


@pytest.mark.parametrize("name", ["conv valid", "conv same", "conv strided"])
def test_second_gradient_of_convolution(name: str) -> None:
    x, w = normal(1, 1, 4, 5), normal(1, 1, 3, 3)
    body = CASES[name][0].replace("0:5", "0:4").replace("0:6", "0:5")
    check_gradients(*kernel(body, {"x": x, "w": w}), 1e-5, again=True)


def test_ties_share_the_gradient() -> None:
    k, _ = kernel("y[i] := max[j] x[i, j]", {"x": normal(1, 3)})
    d = derive(k, "a0")
    assert d is not None
    got = run(d, {"a0": np.array([[1.0, 1, 0]]), "y": np.array([1.0]), "g": np.array([1.0])})
    np.testing.assert_array_equal(got, [[0.5, 0.5, 0]])


def test_excluded_points_contribute_nothing() -> None:
    """Where the guard is false the derivative is infinite, and where it is true it is not."""
    k, arrays = kernel(
        "y[i] := sum[j if c[i] > 0.0] log(x[i]) * w[j]", {"x": normal(2), "w": normal(2), "c": normal(2)}
    )
    own = {"a0": np.array([0.0, 2]), "a1": np.ones(2), "a2": np.array([-1.0, 1]), "g": np.ones(2), "y": np.zeros(2)}
    d = derive(k, "a0")
    assert d is not None
    np.testing.assert_array_equal(run(d, own), [0, 1])


def test_excluded_gather_is_not_read() -> None:
    body = "y[i] := x[i] if ids[i] >= 0 and t[0] > 0.0 else 0.0\n"
    k, _ = kernel(body, {"x": normal(2), "ids": np.array([0, 1]), "t": normal(2)})
    assert derive(k, "a2") is None
    body = "y[i] := (x[i] if t[ids[i]] > 0.0 else 0.0) if ids[i] >= 0 else 0.0"
    k, arrays = kernel(body, {"x": normal(2), "ids": np.array([-1, 1]), "t": np.ones(2)})
    d = derive(k, "a0")
    assert d is not None
    np.testing.assert_array_equal(run(d, arrays | {"g": np.ones(2), "y": np.zeros(2)}), [0, 1])


def test_nothing_flows() -> None:
    k, _ = kernel("y[i] := floor(x[i])", {"x": normal(3)})
    assert derive(k, "a0") is None
    k, _ = kernel("y[i] := 1.0 if x[i] > 0.0 else 0.0", {"x": normal(3)})
    assert derive(k, "a0") is None


def line(d: Kernel | None) -> str:
    assert d is not None
    return show(d).splitlines()[1].strip()


def test_convolution_stays_one_definition() -> None:
    x, w = normal(2, 2, 6, 7), normal(3, 2, 3, 3)
    k, _ = kernel("y[n, o, i, j] := sum[c, r, s] x[n, c, i + r, j + s] * w[o, c, r, s]", {"x": x, "w": w})
    dx, dw = derive(k, "a0"), derive(k, "a1")
    assert dx is not None and dw is not None
    want = "kernel k(a1: f64[3,2,3,3], g: f64[2,3,4,5]) -> (d):\n"
    want += "  d[n, c, a in 0:6, b in 0:7] := sum[o, r, s] g[n, o, a - r, b - s else 0.0] * a1[o, c, r, s]\n"
    assert canonical(dx) == canonical(parse(want))
    want = "kernel k(a0: f64[2,2,6,7], g: f64[2,3,4,5]) -> (d):\n"
    want += "  d[o, c, r in 0:3, s in 0:3] := sum[n, i, j] g[n, o, i, j] * a0[n, c, i + r, j + s]\n"
    assert canonical(dw) == canonical(parse(want))


def test_names_of_the_forward_are_kept() -> None:
    k, _ = kernel("y[row, col] := sum[inner] A[row, inner] * B[inner, col]", {"A": A, "B": B})
    assert line(derive(k, "a0")) == "d[row, inner] := sum[col] g[row, col] * a1[inner, col]"
    assert line(derive(k, "a1")) == "d[inner, col] := sum[row] g[row, col] * a0[row, inner]"


def test_gather_stays_a_scatter() -> None:
    k, _ = kernel("y[n, c] := table[ids[n], c]", {"table": table, "ids": np.array([0, 1])})
    d = derive(k, "a0")
    assert d is not None and isinstance(d.body[1], Scatter)


def test_circular_shift_is_shifted_back() -> None:
    k, _ = kernel("y[i in 0:5] := x[(i - 2) % 5] * w[i]", {"x": normal(5), "w": normal(5)})
    assert line(derive(k, "a0")) == "d[i in 0:5] := g[(i + 2) % 5] * a1[(i + 2) % 5]"


def test_equal_terms_are_counted() -> None:
    k, _ = kernel("y[i] := x[i] * x[i]", {"x": normal(5)})
    assert line(derive(k, "a0")) == "d[i] := 2.0 * (g[i] * a0[i])"


def test_what_the_sum_does_not_change_stands_outside() -> None:
    k, _ = kernel("y[r, c] := x[r, c] / s[r]", {"x": normal(3, 4), "s": normal(3)})
    assert line(derive(k, "a1")) == "d[r] := -((sum[c] g[r, c] * a0[r, c]) / a1[r] / a1[r])"


def test_run_time_sizes() -> None:
    head = "kernel k(a0: f64[s0], a1: f64[3]) -> (y):\n  "
    k = parse(head + "y[i in 0:s1] := sum[k] a0[i + k] * a1[k]\n")
    assert line(derive(k, "a0")) == "d[i in 0:s0] := sum[k] g[i - k else 0.0] * a1[k]"
    k = parse(head + "y[i in 0:s0] := a0[(i - 2) % s0]\n")
    assert line(derive(k, "a0")) == "d[i in 0:s0] := g[(i + 2) % s0]"


def test_constants_fold() -> None:
    k, _ = kernel("y[i] := x[i] ** 2.0", {"x": normal(5)})
    assert line(derive(k, "a0")) == "d[i] := g[i] * (2.0 * a0[i])"


def test_solved_gather_is_a_comparison() -> None:
    k, _ = kernel("y[n] := x[n, t[n]]", {"x": normal(3, 4), "t": np.array([0, 3, 1])})
    d = derive(k, "a0")
    assert d is not None and len(d.body) == 1
    assert "==" in show(d)

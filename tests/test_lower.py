"""Kernels, compiled and run, against the NumPy judge: every kind of read, reduction and output; every target."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from lowering import HOST, TARGETS, Array, build

from tdsl.compiler import loops_text
from tdsl.compiler.dtype import by_name, f32
from tdsl.compiler.evaluate import evaluate
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import Axis, Binder, Const, Definition, Expr, Kernel, Param, Read, call, verify
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.loops import walk
from tdsl.compiler.lower import lower_kernel
from tdsl.compiler.lower.collapse import collapse
from tdsl.compiler.target import PLAIN

CASES = {
    "relu": "kernel k(x: f32[s0,s1]) -> (y):\n  y[i, j] := relu(x[i, j] + 1.0)\n",
    "bias": "kernel k(x: f32[33,17], b: f32[17]) -> (y):\n  y[i, j] := x[i, j] * 2.0 + b[j]\n",
    "transposed": "kernel k(x: f32[33,17]) -> (y):\n  y[i, j] := x[j, i]\n",
    "padded": "kernel k(x: f32[5,7]) -> (y):\n  y[i in 0:9, j in 0:20] := x[i - 2, j - 3 else -1.5]\n",
    "padded_by_a_size": "kernel k(x: f32[s0]) -> (y):\n  y[i in 0:s1] := x[i - 2 else 0.0]\n",
    "transposed_tiles": (
        "kernel k(x: f32[70,3,50], b: f32[70]) -> (y):\n  y[c in 0:3, j in 0:50, i in 0:70] := x[i, c, j] + b[i]\n"
    ),
    "transposed_sizes": "kernel k(x: f32[s0,s1]) -> (y):\n  y[j in 0:s1, i in 0:s0] := relu(x[i, j])\n",
    "every_third": (
        "kernel k(x: f32[200], z: u8[200]) -> (y, w):\n  y[i in 0:66] := x[3 * i + 2]\n  w[i in 0:50] := z[4 * i]\n"
    ),
    "backwards": "kernel k(x: f64[70]) -> (y):\n  y[i in 0:80] := x[72 - i else 2.0]\n",
    "strided": "kernel k(x: f32[41]) -> (y):\n  y[i in 0:20] := x[2 * i + 1]\n",
    "flip": "kernel k(x: f32[41]) -> (y):\n  y[i in 0:41] := x[40 - i]\n",
    "flipped_sum": "kernel k(x: f32[41]) -> (y):\n  y[] := sum[i in 0:41] x[40 - i] * x[i]\n",
    "convolution": (
        "kernel k(x: f32[2,3,9,11], w: f32[4,3,3,3]) -> (y):\n"
        "  y[n, o, i in 0:9, j in 0:11] := sum[c, r, s] x[n, c, i + r - 1, j + s - 1 else 0.0] * w[o, c, r, s]\n"
    ),
    "convolution_any_width": (
        "kernel k(x: f32[2,3,9,s0], w: f32[4,3,3,3]) -> (y):\n"
        "  y[n, o, i in 0:9, j in 0:s0] := sum[c, r, s] x[n, c, i + r - 1, j + s - 1 else 0.0] * w[o, c, r, s]\n"
    ),
    "maxpool": (
        "kernel k(x: f32[2,8,10]) -> (y):\n"
        "  y[n, i in 0:4, j in 0:5] := max[r in 0:2, s in 0:2] x[n, 2 * i + r, 2 * j + s]\n"
    ),
    "guarded_mean": (
        "kernel k(x: f32[8,10]) -> (y):\n"
        "  y[i in 0:8, j in 0:10] := mean[r in 0:3, s in 0:3 if (i + r - 1 >= 0) & (i + r - 1 < 8) & (j + s -"
        " 1 >= 0) & (j + s - 1 < 10)] x[i + r - 1, j + s - 1 else 7.0]\n"
    ),
    "softmax": (
        "kernel k(x: f32[s0,s1]) -> (y):\n"
        "  m[i] := max[j] x[i, j]\n"
        "  z[i] := sum[j] exp(x[i, j] - m[i])\n"
        "  y[i, j] := exp(x[i, j] - m[i]) / z[i]\n"
    ),
    "guarded_logsumexp": "kernel k(x: f64[5,s0]) -> (y):\n  y[i] := logsumexp[j if j != i] x[i, j]\n",
    "causal": (
        "kernel k(x: f32[9,9]) -> (y):\n  y[i, j] := x[i, j] - logsumexp[q if q <= i] x[i, q] if j <= i else 0.0\n"
    ),
    "layer_norm": (
        "kernel k(x: f32[7,33], g: f32[33]) -> (y, m, v):\n"
        "  m[i] := mean[j] x[i, j]\n"
        "  v[i] := mean[j] (x[i, j] - m[i]) * (x[i, j] - m[i])\n"
        "  y[i, j] := (x[i, j] - m[i]) * rsqrt(v[i] + 1e-5) * g[j]\n"
    ),
    "two_outputs": ("kernel k(x: f32[7,33]) -> (y, z):\n  y[i, j] := x[i, j] + 1.0\n  z[i, j] := y[i, j] * 3.0\n"),
    "outputs_of_two_shapes": (
        "kernel k(x: f32[7,33]) -> (y, z):\n  y[i, j] := x[i, j] + 1.0\n  z[j] := sum[i] y[i, j]\n"
    ),
    "gather": "kernel k(x: f32[5,6], ix: i64[4,3]) -> (y):\n  y[a, b, d] := x[ix[a, b], d]\n",
    "gather_last": "kernel k(x: f32[5,6], ix: i64[40]) -> (y):\n  y[i, a] := x[i, ix[a]]\n",
    "negative_log_likelihood": "kernel k(x: f32[40,6], ix: i64[40]) -> (y):\n  y[] := mean[i] -x[i, ix[i]]\n",
    "branch": "kernel k(x: f32[33]) -> (y):\n  y[i] := log(x[i]) if x[i] > 0.0 else 0.0\n",
    "concatenation": (
        "kernel k(x: f32[5,7], z: f32[5,9]) -> (y):\n  y[i in 0:5, j in 0:16] := x[i, j] if j < 7 else z[i, j - 7]\n"
    ),
    "concatenation_of_rows": (
        "kernel k(x: f32[5,7], z: f32[9,7]) -> (y):\n  y[i in 0:14, j in 0:7] := x[i, j] if i < 5 else z[i - 5, j]\n"
    ),
    "roll": "kernel k(x: f32[s0]) -> (y):\n  y[i in 0:s0] := x[(i + 3) % s0]\n",
    "division_i32": (
        "kernel k(x: i32[40], z: i32[40]) -> (y, w, v):\n"
        "  y[i] := x[i] // z[i]\n"
        "  w[i] := x[i] % z[i]\n"
        "  v[i] := fmod(x[i], z[i])\n"
    ),
    "division_u8": ("kernel k(x: u8[40], z: u8[40]) -> (y, w):\n  y[i] := x[i] // z[i]\n  w[i] := x[i] % z[i]\n"),
    "division_i64": ("kernel k(x: i64[40], z: i64[40]) -> (y, w):\n  y[i] := x[i] // z[i]\n  w[i] := x[i] % z[i]\n"),
    "division_i8": ("kernel k(x: i8[40], z: i8[40]) -> (y, w):\n  y[i] := x[i] // z[i]\n  w[i] := x[i] % z[i]\n"),
    "guarded_division": (
        "kernel k(x: i32[40], z: i32[40]) -> (y):\n  y[i] := x[i] // (z[i] - 3) if z[i] != 3 else 0\n"
    ),
    "division_f32": (
        "kernel k(x: f32[40], z: f32[40]) -> (y, w, v):\n"
        "  y[i] := x[i] // z[i]\n"
        "  w[i] := x[i] % z[i]\n"
        "  v[i] := fmod(x[i], z[i])\n"
    ),
    "embedding_gradient": (
        "kernel k(g: f32[40,6], ix: i64[40]) -> (y):\n"
        "  y[a in 0:5, b in 0:6] := 0.0\n"
        "  scatter[i in 0:40, j in 0:6]: y[ix[i], j] += g[i, j]\n"
    ),
    "histogram": "kernel k(ix: i64[40]) -> (y):\n  y[a in 0:5] := 0\n  scatter[i in 0:40]: y[ix[i]] += 1\n",
    "scatter_max": (
        "kernel k(g: f32[40], ix: i64[40]) -> (y):\n"
        "  y[a in 0:5] := -1.0\n"
        "  scatter[i in 0:40 if g[i] > 0.0]: y[ix[i]] max= g[i]\n"
    ),
    "scatter_last": (
        "kernel k(ix: i64[40], g: f32[40,6]) -> (y):\n"
        "  y[a in 0:5, j in 0:6] := 0.5\n"
        "  scatter[i in 0:40, j in 0:6]: y[ix[i], j] = g[i, j]\n"
    ),
    "scatter_product": (
        "kernel k(ix: i64[40], g: f32[40]) -> (y):\n  y[a in 0:5] := 2.0\n  scatter[i in 0:40]: y[ix[i]] *= g[i]\n"
    ),
    "scatter_into_input": (
        "kernel k(x: f32[5,6], g: f32[40,6], ix: i64[40]) -> (y):\n"
        "  y[a, b] := x[a, b]\n"
        "  scatter[i in 0:40, j in 0:6]: y[ix[i], j] += g[i, j]\n"
    ),
    "numbers": (
        "kernel k(x: f32[40], a: number f32, n: number i64) -> (y, z):\n  y[i] := x[i] * a\n  z[i in 0:40] := i + n\n"
    ),
    "cast_from_f32": (
        "kernel k(x: f32[40]) -> (y, z, w, b, d):\n"
        "  y[i] := x[i].to(i32)\n"
        "  z[i] := x[i].to(u8)\n"
        "  w[i] := x[i].to(i64)\n"
        "  b[i] := x[i].to(bool)\n"
        "  d[i] := x[i].to(f64)\n"
    ),
    "cast_from_i64": (
        "kernel k(x: i64[40]) -> (y, z, w, b, d):\n"
        "  y[i] := x[i].to(i32)\n"
        "  z[i] := x[i].to(u8)\n"
        "  w[i] := x[i].to(f32)\n"
        "  b[i] := x[i].to(bool)\n"
        "  d[i] := x[i].to(i16)\n"
    ),
    "cast_from_u8": (
        "kernel k(x: u8[40]) -> (y, z, w, b, d):\n"
        "  y[i] := x[i].to(i32)\n"
        "  z[i] := x[i].to(i8)\n"
        "  w[i] := x[i].to(f32)\n"
        "  b[i] := x[i].to(bool)\n"
        "  d[i] := x[i].to(i16)\n"
    ),
    "bools": (
        "kernel k(x: bool[40], z: bool[40]) -> (y, w, v):\n"
        "  y[i] := x[i] & z[i] | ~x[i]\n"
        "  w[i] := x[i] ^ z[i]\n"
        "  v[i] := x[i].to(f32) + z[i].to(f32)\n"
    ),
    "iota": "kernel k(x: f32[3,5]) -> (y):\n  y[i, j] := (i * 5 + j).to(f32) + x[i, j]\n",
    "triangle": "kernel k(x: f32[9,9]) -> (y):\n  y[i, j] := x[i, j] if j >= i else 0.0\n",
    "scalar": "kernel k(x: f32[]) -> (y):\n  y[] := x[] * 2.0\n",
    "long_sum": "kernel k(x: f32[100003]) -> (y):\n  y[] := sum[i] x[i]\n",
    "long_mean": ("kernel k(x: f32[100003], z: f32[100003]) -> (y):\n  y[] := mean[i] (x[i] - z[i]) * (x[i] - z[i])\n"),
    "long_max": "kernel k(x: f32[100003]) -> (y):\n  y[] := max[i] x[i]\n",
    "long_sum_of_two_axes": "kernel k(x: f32[300,301]) -> (y):\n  y[] := sum[i, j] x[i, j]\n",
    "middle_axis": "kernel k(x: f32[5,9,17]) -> (y):\n  y[i, q] := sum[j] x[i, j, q]\n",
    "outer_axes": "kernel k(x: f32[5,9,17]) -> (y):\n  y[j] := sum[i, q] x[i, j, q]\n",
    "argmax_rows": "kernel k(x: f32[5,40]) -> (y):\n  y[i] := argmax[j] x[i, j]\n",
    "argmin_columns": "kernel k(x: f32[5,40]) -> (y):\n  y[j] := argmin[i] x[i, j]\n",
    "locals": ("kernel k(x: f32[s0]) -> (y):\n  t[i] := exp(x[i])\n  u[i] := t[i] * t[i]\n  y[i] := u[i] + t[i]\n"),
    "shifted_local": (
        "kernel k(x: f32[40]) -> (y):\n  t[i] := exp(x[i])\n  y[i in 0:38] := t[i] + t[i + 1] + t[i + 2]\n"
    ),
    "product": "kernel k(x: f32[19,23], w: f32[23,37]) -> (y):\n  y[i, j] := sum[q] x[i, q] * w[q, j]\n",
    "product_transposed": ("kernel k(x: f32[19,23], w: f32[37,23]) -> (y):\n  y[i, j] := sum[q] x[i, q] * w[j, q]\n"),
    "guarded_sum": "kernel k(x: f32[19,23]) -> (y):\n  y[i] := sum[j in 0:23 if j < i] x[i, j]\n",
    "mixed_widths": (
        "kernel k(x: f32[40], z: f64[40], q: i8[40]) -> (y):\n  y[i] := x[i].to(f64) * z[i] + q[i].to(f64)\n"
    ),
    "mixed_reduction": ("kernel k(x: f32[40], q: u8[40]) -> (y):\n  y[] := sum[i] x[i].to(f64) * q[i].to(f64)\n"),
    "bool_reductions": (
        "kernel k(x: f32[5,40]) -> (y, z):\n  y[i] := any[j] (x[i, j] > 1.5)\n  z[i] := all[j] (x[i, j] < 2.0)\n"
    ),
    "pow": "kernel k(x: f32[40], q: i32[40]) -> (y, z):\n  y[i] := abs(x[i]) ** 2.5\n  z[i] := q[i] ** 3\n",
    "philox": ("kernel k(s: number i64, o: number i64) -> (y):\n  y[i in 0:40] := (philox(s, o + i) // 256).to(f32)\n"),
    "functions": (
        "kernel k(x: f32[40]) -> (a, b, c, d, e, f, g):\n"
        "  a[i] := tanh(x[i])\n"
        "  b[i] := sigmoid(x[i])\n"
        "  c[i] := erf(x[i])\n"
        "  d[i] := sin(x[i])\n"
        "  e[i] := floor(x[i]) + ceil(x[i]) + round(x[i]) + trunc(x[i])\n"
        "  f[i] := sign(x[i])\n"
        "  g[i] := sqrt(abs(x[i]))\n"
    ),
    "empty": "kernel k(x: f32[0,7]) -> (y, z):\n  y[j] := sum[i] x[i, j]\n  z[i, j] := x[i, j]\n",
    "empty_inside": "kernel k(x: f32[5,7], w: f32[0]) -> (y):\n  y[i] := (sum[j] x[i, j]) * (max[q] w[q])\n",
}
SIZES = ((2, 3), (17, 5), (33, 40), (64, 130))


def judged(kernel: Kernel, arrays: dict[str, Any], sizes: dict[str, int]) -> dict[str, Array]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate(kernel, arrays, {Sym(k): v for k, v in sizes.items()})


def argument(p: Param, name: str, sizes: dict[str, int], rng: np.random.Generator) -> Any:
    """Values that suit the case: positions for `ix`, divisors that are not 0, floats with edges for casts."""
    if p.is_number:
        return 0.5 if p.dtype.is_float else 12345678901
    shape = tuple(sizes[n.name] if isinstance(n, Sym) else n for n in p.shape)
    kind = p.dtype.numpy
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "f":
        x = (rng.standard_normal(shape) * 2).astype(kind)
        if name.startswith("cast"):
            x.reshape(-1)[:6] = [np.nan, np.inf, -np.inf, 1e20, -1e20, 300]
        return x
    if p.name == "ix":
        return rng.integers(0, 5, shape)
    low = np.iinfo(kind).min
    x = rng.integers(max(low, -9), 9, shape).astype(kind)
    if "division" in name and p.name == "z":
        x[x == 0] = 3
        x[:2] = -1 if low else 255
    elif "division" in name:
        x[:1] = low
    return x


def compare(got: dict[str, Array], want: dict[str, Array], names: tuple[str, ...]) -> None:
    for name in names:
        g, w = got[name], np.asarray(want[name])
        assert g.dtype == w.dtype and g.shape == w.shape
        if w.dtype.kind == "f":
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(g, w, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    kernel = parse(CASES[name])
    for target, upto in [(HOST, "lower"), *((t, None) for t in TARGETS)]:
        compiled = build(kernel, target, upto)
        for s0, s1 in SIZES if kernel.sizes() else SIZES[:1]:
            sizes = {s.name: {"s0": s0, "s1": s1}[s.name] for s in kernel.sizes()}
            rng = np.random.default_rng(1)
            arrays = {p.name: argument(p, name, sizes, rng) for p in kernel.params}
            ran = compiled(sizes, **arrays)
            assert ran.error == 0
            compare(ran.outputs, judged(kernel, arrays, sizes), kernel.outputs)


# ------------------------------------------------------------------------------------------- reducers

FLOAT_ONLY, BOOL_ONLY = ("mean", "logsumexp"), ("any", "all")
REDUCTIONS = [
    (op, dtype)
    for op in ("sum", "prod", "max", "min", "mean", "any", "all", "logsumexp", "argmax", "argmin")
    for dtype in ("f32", "f64", "i64", "i32", "u8", "i8", "bool")
    if not (op in FLOAT_ONLY and dtype[0] != "f" or op in BOOL_ONLY and dtype != "bool")
    if not (dtype == "bool" and op in ("sum", "prod", "argmin"))
]
ALONG = ("x: {}[3,s0]) -> (y):\n  y[i] := {}[j] x[i, j]", "x: {}[s0,19]) -> (y):\n  y[i] := {}[j] x[j, i]")


def elements(op: str, dtype: str, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    kind = by_name(dtype).numpy
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind != "f":
        return rng.integers(max(np.iinfo(kind).min, -50), 50, shape).astype(kind)
    x = rng.standard_normal(shape)
    if op == "prod":
        x = 1 + x * 0.01
    x = x.astype(kind)
    if op.startswith("arg"):
        x.reshape(-1)[rng.integers(0, x.size, 3)] = x.reshape(-1)[0]  # equals: the first wins
    if op in ("max", "min", "argmax", "argmin") and rng.integers(0, 3) == 0:
        x.reshape(-1)[rng.integers(0, x.size)] = np.nan
    return x


@pytest.mark.parametrize("op,dtype", REDUCTIONS)
def test_reductions(op: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for axis, text in enumerate(ALONG):
        for target in (HOST, PLAIN) if dtype in ("f32", "i64", "bool") else (HOST,):
            compiled = build("kernel k(" + text.format(dtype, op), target)
            for n in (2, 7, 15, 16, 17, 33, 1000):
                x = elements(op, dtype, (3, n) if axis == 0 else (n, 19), rng)
                got = compiled({"s0": n}, x=x).outputs["y"]
                want = judged(compiled.kernel, {"x": x}, {"s0": n})["y"]
                if dtype[0] == "f" and not op.startswith("arg"):
                    np.testing.assert_allclose(got, want, rtol=2e-6 if dtype == "f32" else 1e-12, atol=2e-5)
                else:
                    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "op,want",
    [("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf), ("mean", np.nan), ("logsumexp", -np.inf),
     ("argmax", -1), ("argmin", -1)],
)  # fmt: skip
def test_reductions_of_nothing(op: str, want: float) -> None:
    for shape, index in (("3,0", "i, j"), ("0,3", "j, i")):
        compiled = build(f"kernel k(x: f32[{shape}]) -> (y):\n  y[i] := {op}[j] x[{index}]")
        got = compiled(x=np.zeros(tuple(map(int, shape.split(","))), np.float32)).outputs["y"]
        np.testing.assert_array_equal(got, np.full(3, want))


def test_long_float_sums_stay_exact() -> None:
    """The error of a sum of n grows like that of a sum of sums."""
    x = np.random.default_rng(0).random((1 << 18, 16), np.float32)
    rows = build("kernel k(x: f32[16,262144]) -> (y):\n  y[i] := sum[j] x[i, j]")
    columns = build("kernel k(x: f32[262144,16]) -> (y):\n  y[i] := sum[j] x[j, i]")
    want = x.sum(0, dtype=np.float64)
    np.testing.assert_allclose(rows(x=np.ascontiguousarray(x.T)).outputs["y"], want, rtol=1e-6)
    np.testing.assert_allclose(columns(x=x).outputs["y"], want, rtol=2e-6)


# --------------------------------------------------------------------------------- faults and positions


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: str(t.vector_bits))
@pytest.mark.parametrize("bad", [-1, 5, 1 << 40, -(1 << 40)])
def test_a_position_outside_is_reported_and_not_read(target: Any, bad: int) -> None:
    x = np.arange(5, dtype=np.float32)
    ix = np.zeros(40, np.int64)
    read = build("kernel k(x: f32[5], ix: i64[40]) -> (y):\n  y[i] := x[ix[i]]", target)
    scatter = build(
        "kernel k(x: f32[5], ix: i64[40]) -> (y):\n  y[a] := x[a]\n  scatter[i in 0:40]: y[ix[i]] += 1.0", target
    )
    assert read(x=x, ix=ix).error == 0
    assert scatter(x=x, ix=ix).error == 0
    ix[37] = bad
    assert read(x=x, ix=ix).error != 0
    ran = scatter(x=x, ix=ix)
    assert ran.error != 0
    np.testing.assert_array_equal(ran.outputs["y"], x + [39, 0, 0, 0, 0])


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: str(t.vector_bits))
def test_no_fault_of_a_branch_not_taken(target: Any) -> None:
    ix = np.array([1, -3, 2, 99] * 10, np.int64)
    x = np.arange(5, dtype=np.float32)
    safe = build(
        "kernel k(x: f32[5], ix: i64[40]) -> (y):\n  y[i] := x[ix[i]] if (ix[i] >= 0) & (ix[i] < 5) else -1.0", target
    )
    ran = safe(x=x, ix=ix)
    assert ran.error == 0
    np.testing.assert_array_equal(ran.outputs["y"], [1, -1, 2, -1] * 10)
    divide = build("kernel k(z: i64[40]) -> (y):\n  y[i] := 12 // z[i] if z[i] != 0 else 0", target)
    ran = divide(z=np.array([0, 5, -5, 12] * 10))
    assert ran.error == 0
    np.testing.assert_array_equal(ran.outputs["y"], [0, 2, -3, 1] * 10)


@pytest.mark.parametrize("dtype", ["i64", "i32", "i16", "i8", "u8"])
def test_division_by_zero_is_reported(dtype: str) -> None:
    divide = build(
        f"kernel k(x: {dtype}[40], z: {dtype}[40]) -> (y, w):\n  y[i] := x[i] // z[i]\n  w[i] := x[i] % z[i]"
    )
    z = np.ones(40, by_name(dtype).numpy)
    assert divide(x=z, z=z).error == 0
    z[33] = 0
    assert divide(x=z, z=z).error != 0


def test_a_guard_keeps_reads_inside() -> None:
    text = "kernel k(x: f32[40], ix: i64[40]) -> (y):\n  y[] := sum[i in 0:40 if ix[i] >= 0] x[ix[i]]"
    ix = np.where(np.arange(40) % 3 == 0, -7, np.arange(40))
    for target in TARGETS:
        ran = build(text, target)(x=np.ones(40, np.float32), ix=ix)
        assert ran.error == 0
        assert ran.outputs["y"] == (ix >= 0).sum()


def test_deep_expressions() -> None:
    e: Expr = Read("x", (Axis("i"),), f32)
    for k in range(2000):
        e = call("add", e, Const(float(k % 3), f32))
    kernel = Kernel("k", (Param("x", f32, (8,)),), (Definition("y", (Binder("i", 0, 8),), e),), ("y",))
    module = lower_kernel(kernel, HOST)
    loops_text.verify(module)
    assert sum(op.name == "arith.addf" for op in walk(module.funcs[0].body)) == 2000


def test_long_chains_of_locals() -> None:
    lines = ["t0[i] := x[i] + 1.0"]
    lines += [f"t{k}[i] := (t{k - 1}[i] * 0.5 + t{k - 1}[i]) * 0.5 + 0.25" for k in range(1, 600)]
    text = "kernel k(x: f32[8]) -> (y):\n" + "".join(f"  {line}\n" for line in [*lines, "y[i] := t599[i]"])
    module = lower_kernel(parse(text), HOST)
    loops_text.verify(module)
    assert sum(op.name == "arith.mulf" for op in walk(module.funcs[0].body)) == 2 * 599


@pytest.mark.parametrize("text", [CASES["layer_norm"], CASES["functions"], CASES["division_f32"], CASES["padded"]])
def test_the_tail_has_the_bits_of_the_rest(text: str) -> None:
    """An element's value does not depend on its place: scalar loops and vectors agree bit for bit."""
    kernel = parse(text.replace("mean", "max"))
    rng = np.random.default_rng(2)
    arrays = {p.name: argument(p, "", {}, rng) for p in kernel.params}
    for target in TARGETS:
        scalar = build(kernel, target, "lower")(**arrays).outputs
        for name, value in build(kernel, target)(**arrays).outputs.items():
            np.testing.assert_array_equal(value, scalar[name], err_msg=name)


@pytest.mark.parametrize(
    "text,ranks",
    [
        ("x: f32[32,8,4], b: f32[8,4]) -> (y):\n  y[n, i, j] := x[n, i, j] + b[i, j]", {"y": 2}),
        ("x: f32[s0,8,4]) -> (y):\n  y[n, i, j] := relu(x[n, i, j])", {"y": 1}),
        ("x: f32[4,1,8], w: f32[8,1]) -> (y, z):\n  z[n, i, j] := relu(x[n, i, j])\n"
         "  y[n, i] := sum[j] z[n, i, j] * w[j, i]", {"y": 1, "z": 2}),
        ("x: f32[4,6,8]) -> (y):\n  t[n, i, j] := exp(x[n, i, j])\n  y[i] := sum[n, j] t[n, i, j]", {"y": 1, "t": 3}),
        ("x: f32[4,6], z: f32[6,4]) -> (y):\n  y[i, j] := x[i, j] + z[j, i]", {"y": 2}),
        ("x: f32[4,6]) -> (y):\n  y[i in 0:5, j in 0:6] := x[i, j else 1.0]", {"y": 2}),
        ("x: f32[4,6]) -> (y):\n  y[i in 0:4, j in 0:6] := x[i, j] + (i * j).to(f32)", {"y": 2}),
    ],
)  # fmt: skip
def test_axes_collapse(text: str, ranks: dict[str, int]) -> None:
    kernel = parse("kernel k(" + text)
    small = collapse(kernel)
    verify(small)
    assert {name: len(small.definition(name).binders) for name in ranks} == ranks
    sizes = {s.name: 5 for s in kernel.sizes()}
    rng = np.random.default_rng(3)
    arrays = {p.name: argument(p, "", sizes, rng) for p in kernel.params}
    compare(build(kernel)(sizes, **arrays).outputs, judged(kernel, arrays, sizes), kernel.outputs)

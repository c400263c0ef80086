"""Convolutions through the tiled product, against NumPy: shapes that fill panels and that do not, every argument."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import tdsl
import tdsl.nn.functional as F
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.lower import lower_kernel
from tdsl.compiler.lower.collapse import collapse
from tdsl.compiler.lower.contraction import match, match_indexed
from tdsl.compiler.lower.phases import split_phases
from tdsl.compiler.pipeline import emit, improve_loops
from tdsl.compiler.target import AVX2, AVX512, NEON, PLAIN

Array = Any


def windows(x: Array, kernel: tuple[int, ...], stride: int, padding: int, dilation: int) -> Array:
    """[n, c, *out, *kernel]: what each element of the output looks at."""
    x = np.pad(x, ((0, 0), (0, 0), *((padding, padding) for _ in kernel)))
    reach = tuple(dilation * (k - 1) + 1 for k in kernel)
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    steps = (slice(None), slice(None), *(slice(None, None, stride) for _ in kernel))
    return seen[(*steps, *(slice(None, None, dilation) for _ in kernel))]


def reference(x: Array, w: Array, g: Array | None, stride: int, padding: int, dilation: int) -> tuple[Array, ...]:
    """The convolution, and its gradients for a gradient g of the output."""
    kernel, d = w.shape[2:], w.ndim - 2
    seen = windows(x, kernel, stride, padding, dilation)
    axes = tuple(range(2 + d, 2 + 2 * d))
    out = np.moveaxis(np.tensordot(seen, w, ((1, *axes), (1, *range(2, 2 + d)))), -1, 1)
    if g is None:
        return (out,)
    space = tuple(range(2, 2 + d))
    dw = np.tensordot(g, seen, ((0, *space), (0, *space)))
    padded = np.zeros((*x.shape[:2], *(n + 2 * padding for n in x.shape[2:])), x.dtype)
    for at in product(*map(range, kernel)):
        part = np.moveaxis(np.tensordot(g, w[(slice(None), slice(None), *at)], ((1,), (0,))), -1, 1)
        place = (slice(a * dilation, a * dilation + stride * n, stride) for a, n in zip(at, g.shape[2:], strict=True))
        padded[(slice(None), slice(None), *place)] += part
    inner = (slice(padding, padding + n) for n in x.shape[2:])
    return out, padded[(slice(None), slice(None), *inner)], dw


CASES = [  # images, channels, sizes, filters, kernel, stride, padding, dilation
    (2, 3, (9, 11), 5, (3, 3), 1, 0, 1),
    (3, 8, (14, 14), 16, (3, 3), 1, 1, 1),
    (2, 16, (7, 7), 32, (3, 3), 1, 1, 1),  # panels over several images
    (2, 8, (16, 12), 20, (3, 2), 2, 1, 1),  # phases
    (2, 6, (15, 13), 9, (3, 3), 2, 1, 1),  # sizes that the stride does not divide
    (2, 6, (12, 12), 9, (3, 3), 1, 2, 2),
    (2, 5, (12, 18), 7, (5, 5), 3, 2, 1),
    (8, 1, (28, 28), 32, (3, 3), 1, 0, 1),  # one panel and a long sum: slices
    (1, 230, (6, 5), 12, (3, 3), 1, 1, 1),  # a sum in blocks
    (3, 4, (50,), 6, (5,), 1, 2, 1),
    (3, 4, (50,), 6, (4,), 2, 1, 1),
    (1, 3, (6, 7, 8), 5, (3, 2, 3), 1, 1, 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_numpy(case: Any, dtype: str) -> None:
    n, c, sizes, o, kernel, stride, padding, dilation = case
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((n, c, *sizes), (o, c, *kernel)))
    f = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(sizes)]
    tx, tw = tdsl.tensor(x, requires_grad=True), tdsl.tensor(w, requires_grad=True)
    out = f(tx, tw, None, stride, padding, dilation)
    (expected,) = reference(x, w, None, stride, padding, dilation)
    g = rng.standard_normal(expected.shape).astype(dtype)
    out.backward(tdsl.tensor(g))
    results = (out.detach(), tx.grad, tw.grad)
    tolerance = 2e-5 if dtype == "float32" else 1e-13
    for got, want in zip(results, reference(x, w, g, stride, padding, dilation), strict=True):
        assert got is not None
        np.testing.assert_allclose(got.numpy(), want, atol=tolerance * np.abs(want).max(), rtol=0)


def test_epilogue_reads_rows_of_its_own() -> None:
    """Bias, a residual, and one that is broadcast along rows, on the tile."""
    rng = np.random.default_rng(1)
    x, w, b = (rng.standard_normal(s).astype("f") for s in ((2, 4, 9, 10), (6, 4, 3, 3), (6,)))
    whole, rows = (rng.standard_normal(s).astype("f") for s in ((2, 6, 9, 10), (2, 6, 9, 1)))
    out = F.relu(
        F.conv2d(tdsl.tensor(x), tdsl.tensor(w), tdsl.tensor(b), padding=1) + tdsl.tensor(whole)
    ) * tdsl.tensor(rows)
    (plain,) = reference(x, w, None, 1, 1, 1)
    np.testing.assert_allclose(
        out.numpy(), np.maximum(plain + b[:, None, None] + whole, 0) * rows, atol=1e-4, rtol=1e-5
    )


def test_a_producer_is_evaluated_while_packing() -> None:
    text = """kernel k(x: f32[4,6,20], w: f32[8,6,3]) -> (y):
  y[i, o, p in 0:18] := sum[c, r] relu(x[i, c, p + r]) * w[o, c, r]"""
    kernel = parse(text)
    assert match(collapse(kernel)) is None and match_indexed(collapse(kernel)) is not None
    x, w = (np.random.default_rng(2).standard_normal(s).astype("f") for s in ((4, 6, 20), (8, 6, 3)))
    y = tdsl.index(text.splitlines()[1].strip())(x=tdsl.tensor(x), w=tdsl.tensor(w))
    (expected,) = reference(np.maximum(x, 0), w, None, 1, 0, 1)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-5)


def test_phases_leave_nothing_out() -> None:
    """Stride and kernel in every relation to each other."""
    for stride, size in product((2, 3, 4), (1, 2, 3, 4, 5)):
        there = f"p - r + 1) // {stride} else 0.0"
        body = (
            f"y[i, c, p in 0:{6 * stride}] := sum[o, r if (p - r + 1) % {stride} == 0] g[i, o, ({there}] * w[o, c, r]"
        )
        found = split_phases(parse(f"kernel k(g: f32[2,4,6], w: f32[4,8,{size}]) -> (y):\n  {body}"))
        assert found is not None and found[1] == {"p~"}
        x = tdsl.tensor(np.random.default_rng(size).standard_normal((2, 4, 6)).astype("f"))
        w = tdsl.tensor(np.random.default_rng(stride).standard_normal((4, 8, size)).astype("f"))
        out = tdsl.index(body)(g=x, w=w).numpy()
        expected = np.zeros_like(out)
        for o, r in product(range(4), range(size)):
            for q in range(6):
                p = q * stride + r - 1
                if 0 <= p < 6 * stride:
                    expected[:, :, p] += x.numpy()[:, o, q][:, None] * w.numpy()[o, :, r]
        np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("target", [AVX512, AVX2, NEON, PLAIN], ids=lambda t: f"{t.cpu}-{t.vector_bits}")
def test_lowers_for_every_target(target: Any) -> None:
    for text in (
        "kernel k(x: f32[2,8,14,14], w: f32[16,8,3,3]) -> (y):\n"
        "  y[i, o, p in 0:14, q in 0:14] := sum[c, r, s] x[i, c, p + r - 1, q + s - 1 else 0.0] * w[o, c, r, s]",
        "kernel k(x: f32[32,8,14,14], g: f32[32,16,14,14]) -> (y):\n"
        "  y[o, c, r in 0:3, s in 0:3] := sum[i, p, q] g[i, o, p, q] * x[i, c, p + r - 1, q + s - 1 else 0.0]",
    ):
        module = lower_kernel(parse(text), target)
        assert "tdsl_outer_f32" in emit(improve_loops(module, target), target)


def test_same_bits_with_any_number_of_threads() -> None:
    rng = np.random.default_rng(3)
    x, w = (rng.standard_normal(s).astype("f") for s in ((8, 3, 30, 30), (16, 3, 3, 3)))
    before, results = tdsl.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tdsl.set_num_threads(threads)
            tx, tw = tdsl.tensor(x, requires_grad=True), tdsl.tensor(w, requires_grad=True)
            y = F.conv2d(tx, tw, padding=1)
            y.sum().backward()
            assert tx.grad is not None and tw.grad is not None
            results.append([y.detach().numpy().tobytes(), tx.grad.numpy().tobytes(), tw.grad.numpy().tobytes()])
    finally:
        tdsl.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_products_of_what_was_reshaped_and_permuted() -> None:
    """Heads that are split and joined, and a flattened image: the reshape is written into the product's subscripts."""
    rng = np.random.default_rng(4)
    x, w, b = (rng.standard_normal(s).astype("f") for s in ((3, 4, 10, 8), (20, 32), (20,)))
    image, v = (rng.standard_normal(s).astype("f") for s in ((6, 5, 4, 12), (9, 240)))
    tensors = [tdsl.tensor(a, requires_grad=True) for a in (x, w, b, image, v)]
    tx, tw, tb, ti, tv = tensors
    joined = F.linear(tx.transpose(1, 2).reshape(3, 10, 32), tw, tb)
    flat = F.relu(ti.flatten(1) @ tv.t())
    (joined.square().sum() + flat.sum()).backward()
    rows = x.transpose(0, 2, 1, 3).reshape(3, 10, 32)
    y, z = rows @ w.T + b, image.reshape(6, 240) @ v.T
    np.testing.assert_allclose(joined.detach().numpy(), y, atol=1e-4)
    np.testing.assert_allclose(flat.detach().numpy(), np.maximum(z, 0), atol=1e-4)
    gradients = (
        (2 * y @ w).reshape(3, 10, 4, 8).transpose(0, 2, 1, 3), np.einsum("btn,btk->nk", 2 * y, rows),
        2 * y.sum((0, 1)),
        ((z > 0) @ v).reshape(image.shape), (z > 0).T.astype("f") @ image.reshape(6, 240),
    )  # fmt: skip
    for tensor, want in zip(tensors, gradients, strict=True):
        assert tensor.grad is not None
        np.testing.assert_allclose(tensor.grad.numpy(), want, atol=1e-3)

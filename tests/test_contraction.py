"""Sums of products against NumPy: left-over sizes, layouts, batches, epilogues, run-time sizes."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest

from tdsl.compiler import pipeline
from tdsl.compiler.graph import Sym
from tdsl.compiler.kernel import FUNCTIONS, Const, Expr, Kernel, SizeOf
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.loops import F32, SSA, Block, MemRef
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.loops_verify import verify
from tdsl.compiler.lower.collapse import collapse
from tdsl.compiler.lower.contraction import match
from tdsl.compiler.lower.microkernel import micro_kernel
from tdsl.compiler.lower.packing import transpose
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import AVX2, NEON, PLAIN, Target
from tdsl.runtime import jit, threads
from tdsl.runtime.kernels import KernelCache

Array = np.ndarray[Any, Any]
HOST = jit.host_target()
EDGES = (1, 2, 13, 14, 15, 16, 17, 31, 33, 100)


@cache
def kernels() -> KernelCache:
    return KernelCache(HOST)


def kernel(body: str, params: str) -> Kernel:
    return parse(f"kernel k({params}) -> (y):\n  {body}\n")


def is_contraction(k: Kernel) -> bool:
    return match(collapse(k)) is not None


def count(e: Expr, sizes: Mapping[Sym, int]) -> int:
    if isinstance(e, Const):
        return int(e.value)
    if isinstance(e, SizeOf):
        return sizes[e.sym]
    return int(FUNCTIONS[e.fn].evaluate(*(count(a, sizes) for a in e.args)))  # type: ignore[union-attr]


def run(k: Kernel, sizes: dict[str, int] | None = None, **arrays: Array) -> Array:
    """The output y. It and the workspaces start as NaN, so that what is not written is seen."""
    made = kernels().get(k)
    known = {Sym(name): n for name, n in (sizes or {}).items()}
    d = k.definition("y")
    out = np.full([known[n] if isinstance(n, Sym) else n for n in d.shape], np.nan, d.dtype.numpy)
    held = [np.ascontiguousarray(arrays[p.name], p.dtype.numpy) for p in k.params]
    held.append(out)
    frame = [x.ctypes.data for x in held]
    for space in made.workspaces:
        held.append(np.full(count(space.elements, known) + 8, np.nan))
        frame.append(-(-held[-1].ctypes.data // 64) * 64)
    error = np.zeros(1, np.int64)
    slots = np.array([*frame, *(known[s] for s in k.sizes()), error.ctypes.data], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.loaded.address)(slots.ctypes.data)
    assert error[0] == 0
    return out


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def near(got: Array, want: Array) -> None:
    tolerance = 1e-3 if got.dtype == np.float32 else 1e-10
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


RUN_TIME = "a: {t}[s0,s1], b: {t}[s1,s2]"


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("axis", ["m", "n", "k"])
def test_left_over_sizes_at_run_time(axis: str, dtype: str) -> None:
    """One compiled kernel for every size: rows, columns and depth beyond a whole tile."""
    k = kernel("y[i, j] := sum[k] a[i, k] * b[k, j]", RUN_TIME.format(t=dtype))
    assert is_contraction(k)
    kind = "float32" if dtype == "f32" else "float64"
    for edge in (0, *EDGES, 513, 1025):
        m, n, depth = (edge if x == axis else whole for x, whole in (("m", 29), ("n", 35), ("k", 18)))
        a, b = normal(m, depth, dtype=kind), normal(depth, n, seed=1, dtype=kind)
        near(run(k, {"s0": m, "s1": depth, "s2": n}, a=a, b=b), a @ b)


@pytest.mark.parametrize(("m", "n", "depth"), [(1, 100, 33), (100, 1, 17), (13, 33, 15), (31, 16, 2), (15, 17, 100),
                                               (14, 32, 512), (33, 31, 513)])  # fmt: skip
def test_sizes_that_are_known(m: int, n: int, depth: int) -> None:
    k = kernel("y[i, j] := sum[k] a[i, k] * b[k, j]", f"a: f32[{m},{depth}], b: f32[{depth},{n}]")
    a, b = normal(m, depth), normal(depth, n, seed=1)
    near(run(k, a=a, b=b), a @ b)


@pytest.mark.parametrize("depth", [0, 1, 512, 600])
def test_the_epilogue_runs_once_on_the_whole_sum(depth: int) -> None:
    """Also where K is nothing, and where it is more than one block."""
    body = "y[i, j] := relu(c[j] + sum[k] a[i, k] * b[k, j]) - r[i, j]"
    k = kernel(body, "a: f32[20,s0], b: f32[s0,40], c: f32[40], r: f32[20,40]")
    assert is_contraction(k)
    a, b, c, r = normal(20, depth), normal(depth, 40, seed=1), normal(40, seed=2), normal(20, 40, seed=3)
    near(run(k, {"s0": depth}, a=a, b=b, c=c, r=r), np.maximum(a @ b + c, 0) - r)


@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("depth", [50, 530])
def test_layouts(ta: bool, tb: bool, depth: int) -> None:
    a, b = normal(37, depth), normal(depth, 45, seed=1)
    sides = ("k, i" if ta else "i, k", "j, k" if tb else "k, j")
    shapes = (f"{depth},37" if ta else f"37,{depth}", f"45,{depth}" if tb else f"{depth},45")
    k = kernel(f"y[i, j] := sum[k] a[{sides[0]}] * b[{sides[1]}]", f"a: f32[{shapes[0]}], b: f32[{shapes[1]}]")
    assert is_contraction(k)
    near(run(k, a=a.T if ta else a, b=b.T if tb else b), a @ b)


@pytest.mark.parametrize("m", [4, 6, 29, 64, 70, 130])
@pytest.mark.parametrize("n", [8, 10, 16, 33, 96, 300])
def test_forms(m: int, n: int) -> None:
    """Packed, read where it lies with a packed edge, and along K: by layout and size, with a left-over of K."""
    for depth, (ta, tb) in itertools.product((9, 150), itertools.product((False, True), repeat=2)):
        a, b = normal(m, depth), normal(depth, n, seed=1)
        sides = ("k, i" if ta else "i, k", "j, k" if tb else "k, j")
        shapes = (f"{depth},{m}" if ta else f"{m},{depth}", f"{n},{depth}" if tb else f"{depth},{n}")
        k = kernel(f"y[i, j] := sum[k] a[{sides[0]}] * b[{sides[1]}]", f"a: f32[{shapes[0]}], b: f32[{shapes[1]}]")
        assert is_contraction(k)
        near(run(k, a=a.T if ta else a, b=b.T if tb else b), a @ b)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_a_block_is_transposed_in_registers(size: int) -> None:
    b = Builder(Block())
    memory = SSA(MemRef(F32), "m")
    lanes = np.arange(size * size).reshape(size, size)
    rows = [b.load(memory, b.constant(i), size) for i in range(size)]
    known = dict(zip(rows, lanes, strict=True))
    out = transpose(b, rows)
    for op in b.block.ops:
        if op.name == "vector.shuffle":
            known[op.result] = np.concatenate([known[x] for x in op.operands])[list(op.attrs["lanes"])]
    assert np.array_equal([known[x] for x in out], lanes.T)


@pytest.mark.parametrize("target", [AVX2, NEON, PLAIN], ids=["avx2", "neon", "plain"])
@pytest.mark.parametrize("name", ["tdsl_outer_f32_6x8", "tdsl_dot_f64_3x3", "tdsl_dot_f32_2x4"])
def test_micro_kernels_of_other_targets_are_well_formed(name: str, target: Target) -> None:
    verify(pipeline.improve_loops(micro_kernel(name, target), target))


@pytest.mark.parametrize(
    ("body", "einsum", "a", "b"),
    [
        ("y[n, i, j] := sum[k] a[n, i, k] * b[n, k, j]", "nik,nkj->nij", (5, 20, 30), (5, 30, 40)),
        ("y[n, i, j] := sum[k] a[i, k] * b[n, k, j]", "ik,nkj->nij", (20, 30), (5, 30, 40)),
        ("y[n, i, j] := sum[k] a[n, i, k] * b[k, j]", "nik,kj->nij", (5, 20, 30), (30, 40)),
        ("y[n, h, i, j] := sum[k] a[n, i, h, k] * b[n, j, h, k]", "nihk,njhk->nhij", (2, 19, 3, 16), (2, 21, 3, 16)),
        ("y[i, n, j] := sum[k] a[i, k] * b[n, k, j]", "ik,nkj->inj", (20, 30), (5, 30, 40)),
        ("y[j, i] := sum[k] a[i, k] * b[k, j]", "ik,kj->ji", (20, 30), (30, 40)),
        ("y[i, j] := sum[k] a[i, k] * b[j, k]", "ik,jk->ij", (40, 600), (30, 600)),
    ],
)
def test_batches_and_orders(body: str, einsum: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    k = kernel(body, f"a: f32[{','.join(map(str, a))}], b: f32[{','.join(map(str, b))}]")
    assert is_contraction(k)
    x, y = normal(*a), normal(*b, seed=1)
    near(run(k, a=x, b=y), np.einsum(einsum, x, y))


def test_a_batch_of_run_time_size() -> None:
    k = kernel("y[n, i, j] := sum[k] a[n, i, k] * b[n, k, j]", "a: f32[s0,20,30], b: f32[s0,30,40]")
    assert is_contraction(k)
    for n in (0, 1, 7):
        a, b = normal(n, 20, 30), normal(n, 30, 40, seed=1)
        near(run(k, {"s0": n}, a=a, b=b), a @ b)


@pytest.mark.parametrize("depth", [60, 600])
def test_a_cast_around_the_sum(depth: int) -> None:
    k = kernel("y[i, j] := (sum[k] a[i, k] * b[k, j]).to(f64)", f"a: f32[40,{depth}], b: f32[{depth},60]")
    a, b = normal(40, depth), normal(depth, 60, seed=1)
    got = run(k, a=a, b=b)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, a @ b, rtol=1e-3, atol=1e-3)


def test_a_part_of_the_operands_is_summed() -> None:
    k = kernel("y[i, j] := sum[k in 0:50] a[i, k] * b[k, j]", "a: f32[40,50], b: f32[70,60]")
    a, b = normal(40, 50), normal(70, 60, seed=1)
    near(run(k, a=a, b=b), a @ b[:50])


@pytest.mark.parametrize("body", ["a[i, k] * b[k, j + 1 else 0.0]", "exp(a[i, k]) * b[k, j]", "(a[i, k] + b[k, j])"])
def test_other_sums_take_the_general_nest(body: str) -> None:
    k = kernel(f"y[i in 0:20, j in 0:40] := sum[k] {body}", "a: f32[20,30], b: f32[30,40]")
    assert not is_contraction(k)


def test_integers_take_the_general_nest() -> None:
    assert not is_contraction(kernel("y[i, j] := sum[k] a[i, k] * b[k, j]", "a: i64[20,30], b: i64[30,40]"))


@pytest.mark.parametrize(("m", "depth", "n"), [(300, 700, 260), (32, 784, 256)])
def test_bits_do_not_depend_on_the_number_of_threads(m: int, depth: int, n: int) -> None:
    k = kernel("y[i, j] := sum[k] a[i, k] * b[k, j]", f"a: f32[{m},{depth}], b: f32[{depth},{n}]")
    a, b = normal(m, depth), normal(depth, n, seed=1)
    before = threads.runtime().allowed.value
    results = []
    for allowed in (1, 2, 3):
        threads.runtime().allowed.value = allowed
        results.append(run(k, a=a, b=b))
    threads.runtime().allowed.value = before
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_a_micro_kernel_is_made_from_its_name() -> None:
    module = micro_kernel("tdsl_outer_f32_14x32", HOST)
    assert module.funcs[-1].name == "tdsl_outer_f32_14x32"
    with pytest.raises(InternalError, match="no micro-kernel"):
        micro_kernel("tdsl_gemm", HOST)

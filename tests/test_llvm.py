"""Loops to machine code: every op of loops IR, on this machine and on one without its conveniences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from machine import HOST, Machine, elementwise, function

from tdsl.compiler import llvm
from tdsl.compiler.llvm_types import literal
from tdsl.compiler.loops import F32, F64, I1, I8, I32, I64, INDEX, SSA, Block, Func, MemRef, Module, Scalar, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target

BARE = Target(triple=HOST.triple, cpu="generic", vector_bits=128, has_fma=False, has_masked_memory=False)
TARGETS = [HOST, replace(HOST, vector_bits=256), BARE]
DTYPES = {F32: np.float32, F64: np.float64, I8: np.int8, I32: np.int32, I64: np.int64}

FLOATS = [0.0, -0.0, 1.5, -2.5, 1e30, -1e30, np.inf, -np.inf, np.nan, 3.5, 0.5, -0.5, 7.0, -3.0, 2.0, 1e-40, 5.0]
INTS = [0, 1, -1, 7, -7, 100, -100, 127, -128, 5, 3, -3, 64, 2, -2, 11, 12]
CHECKS: dict[str, tuple[Scalar, Callable[..., Any]]] = {
    "arith.addf": (F32, np.add),
    "arith.subf": (F64, np.subtract),
    "arith.mulf": (F32, np.multiply),
    "arith.divf": (F64, np.divide),
    "arith.remf": (F32, np.fmod),
    "arith.maximumf": (F32, np.maximum),
    "arith.minimumf": (F64, np.minimum),
    "arith.maxnumf": (F32, np.fmax),
    "math.copysign": (F64, np.copysign),
    "arith.addi": (I8, np.add),
    "arith.subi": (I32, np.subtract),
    "arith.muli": (I64, np.multiply),
    "arith.andi": (I32, np.bitwise_and),
    "arith.ori": (I8, np.bitwise_or),
    "arith.xori": (I64, np.bitwise_xor),
    "arith.maxsi": (I8, np.maximum),
    "arith.minsi": (I32, np.minimum),
    "math.floor": (F32, np.floor),
    "math.ceil": (F64, np.ceil),
    "math.roundeven": (F32, np.rint),
    "math.trunc": (F64, np.trunc),
    "math.sqrt": (F32, np.sqrt),
    "math.absf": (F64, np.abs),
    "arith.negf": (F32, np.negative),
    "math.absi": (I8, np.abs),
}


@pytest.mark.parametrize("target", TARGETS, ids=["host", "half", "bare"])
def test_elementwise_ops_agree_with_numpy(target: Target) -> None:
    for op, (element, judge) in CHECKS.items():
        values = np.array(FLOATS if element.is_float else INTS).astype(DTYPES[element])
        inputs = [x.ravel().copy() for x in np.meshgrid(values, values)][: getattr(judge, "nin", 2)]
        with np.errstate(all="ignore"):
            expected = judge(*inputs)
        for lanes in (1, target.lanes(element.bits)):
            out = np.zeros_like(expected)
            Machine(elementwise(op, element, len(inputs), lanes), target)(*inputs, out, len(out))
            np.testing.assert_array_equal(out, expected, err_msg=op)


def test_casts() -> None:
    def write(b: Builder, x: SSA, out: SSA) -> None:
        for k, (name, to) in enumerate([("arith.fptosi", I32), ("arith.fptosi", I8), ("arith.fptosi", I64)]):
            for j in range(5):
                value = b.load(x, b.constant(j))
                wide = b.convert(name, value, to)
                wide = wide if to is I64 else b.convert("arith.extsi", wide, I64)
                b.store(wide, out, b.constant(5 * k + j))

    out = np.zeros(15, np.int64)
    x = np.array([1.9, -1.9, 1e30, -np.inf, np.nan])
    Machine(function("f", [MemRef(F64), MemRef(I64)], write))(x, out)

    limits = [(np.iinfo(t).max, np.iinfo(t).min) for t in (np.int32, np.int8, np.int64)]
    assert out.tolist() == [v for high, low in limits for v in (1, -1, high, low, 0)]


@pytest.mark.parametrize(
    ("predicate", "judge"),
    [("olt", np.less), ("oge", np.greater_equal), ("oeq", np.equal), ("une", np.not_equal), ("ogt", np.greater)],
)
def test_comparisons_select(predicate: str, judge: Callable[..., Any]) -> None:
    lanes = HOST.lanes(32)

    def write(b: Builder, x: SSA, y: SSA, out: SSA) -> None:
        u, v = (b.load(m, b.constant(0), lanes) for m in (x, y))
        flags = b.compare("arith.cmpf", predicate, u, v)
        one, zero = (b.constant(c, Vector(lanes, F32)) for c in (1.0, 0.0))
        b.store(b.select(flags, one, zero), out, b.constant(0))

    x, y = (np.resize(np.array(FLOATS, np.float32), (lanes,)), np.resize(np.array(FLOATS[3:], np.float32), (lanes,)))
    out = np.zeros(lanes, np.float32)
    Machine(function("f", [MemRef(F32)] * 3, write))(x, y, out)

    np.testing.assert_array_equal(out, judge(x, y))


def test_loops_carry_values_and_may_run_not_at_all() -> None:
    def write(b: Builder, out: SSA, n: SSA) -> None:
        zero, one = b.constant(0), b.constant(1)

        def outer(i: SSA, carried: list[SSA]) -> list[SSA]:
            inner = b.for_(zero, i, one, carried, lambda j, c: [b.binary("arith.addi", c[0], j)])
            return inner

        total = b.for_(zero, n, one, [zero], outer)[0]
        b.store(b.convert("arith.index_cast", total, I64), out, zero)

    run = Machine(function("f", [MemRef(I64), INDEX], write))
    out = np.zeros(1, np.int64)
    for n in (-1, 0, 1, 2, 7):
        run(out, n)
        assert out[0] == sum(j for i in range(n) for j in range(i))


def test_branches_give_results() -> None:
    def write(b: Builder, out: SSA, n: SSA) -> None:
        zero = b.constant(0)
        positive = b.compare("arith.cmpi", "sgt", n, zero)
        a, c = b.if_(positive, lambda: [n, b.constant(1)], lambda: [b.sub(zero, n), zero])
        b.store(b.convert("arith.index_cast", a, I64), out, zero)
        b.if_(positive, lambda: b.store(b.convert("arith.index_cast", c, I64), out, b.constant(1)))

    run = Machine(function("f", [MemRef(I64), INDEX], write))
    out = np.full(2, -9, np.int64)
    run(out, -5)
    assert out.tolist() == [5, -9]
    run(out, 6)
    assert out.tolist() == [6, 1]


@pytest.mark.parametrize("target", TARGETS, ids=["host", "half", "bare"])
def test_masked_memory_touches_only_its_lanes(target: Target) -> None:
    lanes = 8

    def write(b: Builder, x: SSA, out: SSA, n: SSA) -> None:
        t, zero = Vector(lanes, F32), b.constant(0)
        steps = b.op("vector.step", (), (Vector(lanes, INDEX),)).result
        mask = b.compare("arith.cmpi", "slt", steps, b.broadcast(n, lanes))
        passed = b.constant(-1.0, t)
        loaded = b.op("vector.maskedload", (x, zero, mask, passed), (t,)).result
        b.op("vector.maskedstore", (out, zero, mask, loaded))
        last = b.binary("arith.subi", b.broadcast(n, lanes), b.constant(1, Vector(lanes, INDEX)))
        backwards = b.binary("arith.subi", last, steps)
        taken = b.op("vector.gather", (x, zero, backwards, mask, passed), (t,)).result
        b.store(taken, out, b.constant(lanes))

    run = Machine(function("f", [MemRef(F32), MemRef(F32), INDEX], write), target)
    x = np.arange(1, 9, dtype=np.float32)
    for n in range(lanes + 1):
        out = np.zeros(2 * lanes, np.float32)
        run(x, out, n)
        assert out.tolist() == [*x[:n], *[0] * (lanes - n), *x[:n][::-1], *[-1] * (lanes - n)]


def test_reductions_are_trees_in_a_fixed_order() -> None:
    lanes, kinds = 16, ["add", "mul", "maximumf", "minimumf"]

    def write(b: Builder, x: SSA, out: SSA) -> None:
        v = b.load(x, b.constant(0), lanes)
        for k, kind in enumerate(kinds):
            b.store(b.op("vector.reduction", (v,), (F32,), kind=kind).result, out, b.constant(k))

    x = np.random.default_rng(0).standard_normal(lanes).astype(np.float32)
    out = np.zeros(4, np.float32)
    for target in TARGETS:
        Machine(function("f", [MemRef(F32)] * 2, write), target)(x, out)
        expected = []
        for f in (np.add, np.multiply, np.maximum, np.minimum):
            part = x
            while len(part) > 1:
                part = f(part[: len(part) // 2], part[len(part) // 2 :])
            expected.append(part[0])
        assert out.tolist() == expected
    x[3] = np.nan
    Machine(function("f", [MemRef(F32)] * 2, write))(x, out)
    assert np.isnan(out).all()


def test_reductions_of_ints_extract_and_shuffle() -> None:
    judges: list[Callable[..., Any]] = [np.sum, np.max, np.min, np.bitwise_and.reduce]
    kinds = dict(zip(["add", "maxsi", "minsi", "and"], judges, strict=True))

    def write(b: Builder, x: SSA, out: SSA) -> None:
        v = b.load(x, b.constant(0), 4)
        for k, kind in enumerate(kinds):
            b.store(b.op("vector.reduction", (v,), (I64,), kind=kind).result, out, b.constant(k))
        mixed = b.op("vector.shuffle", (v, v), (Vector(4, I64),), lanes=[3, 4, 1, 6]).result
        b.store(mixed, out, b.constant(4))
        b.store(b.op("vector.extract", (v,), (I64,), position=2).result, out, b.constant(8))

    x, out = np.array([7, -3, 12, 5]), np.zeros(9, np.int64)
    Machine(function("f", [MemRef(I64)] * 2, write))(x, out)

    assert out.tolist() == [*[int(f(x)) for f in kinds.values()], 5, 7, -3, 12, 12]


def test_a_reduction_of_odd_lanes_is_refused() -> None:
    def write(b: Builder, x: SSA) -> None:
        b.op("vector.reduction", (b.load(x, b.constant(0), 12),), (F32,), kind="add")

    with pytest.raises(InternalError, match="12 lanes"):
        llvm.emit(function("f", [MemRef(F32)], write), HOST)


def test_parallel_bodies_see_what_they_capture() -> None:
    def write(b: Builder, x: SSA, out: SSA, n: SSA, factor: SSA) -> None:
        half = b.binary("arith.mulf", factor, b.constant(0.5, F64))
        wide = b.broadcast(half, 4)

        def body(i: SSA) -> None:
            at = b.mul(i, b.constant(4))
            b.store(b.binary("arith.mulf", b.load(x, at, 4), wide), out, at)

        b.parallel(n, body)

    run = Machine(function("f", [MemRef(F64), MemRef(F64), INDEX, F64], write))
    for n in (0, 1, 2, 3, 100):
        x, out = np.arange(4.0 * n + 1), np.zeros(4 * n + 1)
        run(x, out, n, int(np.float64(6.0).view(np.int64)))
        assert out.tolist() == [*(3 * x[:-1]), 0]


def test_calls_and_subviews() -> None:
    def inner(b: Builder, out: SSA, i: SSA) -> None:
        b.store(b.convert("arith.index_cast", i, I64), out, b.constant(0))

    args = [SSA(MemRef(I64)), SSA(INDEX)]
    body = Block()
    inner(Builder(body), *args)
    callee = Func("put", args, body, framed=False)

    def write(b: Builder, out: SSA, n: SSA) -> None:
        def iteration(i: SSA, carried: list[SSA]) -> None:
            place = b.op("memref.subview_offset", (out, i), (MemRef(I64),)).result
            b.op("func.call", (place, b.mul(i, i)), callee="put")

        b.for_(b.constant(0), n, b.constant(1), [], iteration)

    module = function("f", [MemRef(I64), INDEX], write)
    module.funcs.insert(0, callee)
    out = np.full(6, -1, np.int64)
    Machine(module)(out, 5)

    assert out.tolist() == [0, 1, 4, 9, 16, -1]


def test_the_first_report_stays() -> None:
    def write(b: Builder, x: SSA, slot: SSA, n: SSA) -> None:
        def iteration(i: SSA, carried: list[SSA]) -> None:
            value = b.load(x, i)
            b.op("tdsl.report", (b.compare("arith.cmpi", "slt", value, b.constant(0, I64)), slot), site=0)
            several = b.compare("arith.cmpi", "sgt", b.load(x, i, 4), b.constant(50, Vector(4, I64)))
            b.op("tdsl.report", (several, slot), site=6)

        b.for_(b.constant(0), n, b.constant(1), [], iteration)

    run = Machine(function("f", [MemRef(I64), MemRef(I64), INDEX], write))
    cases = [([1, 2, 3, 4, 5], 0), ([1, -2, 3, 4, 5], 1), ([1, 2, 3, 60, -5], 7), ([1, 2, 3, 4, 60], 7)]
    for values, expected in cases:
        slot = np.zeros(1, np.int64)
        run(np.array([*values, 0, 0, 0]), slot, 5)
        assert slot[0] == expected


def test_literals() -> None:
    assert literal(True, I1) == "true"
    assert literal(3, I32) == "3"
    assert literal(float("nan"), F32) == "0x7FF8000000000000"
    assert literal(1e300, F32) == literal(float("inf"), F32)
    assert literal(0.1, F32) != literal(0.1, F64)


def test_what_has_no_llvm_is_an_internal_error() -> None:
    module = function("f", [F64], lambda b, x: b.unary("math.unheard_of", x))

    with pytest.raises(InternalError, match="unheard_of"):
        llvm.emit(module, HOST)


def test_module_without_functions_but_externals_declares_them() -> None:
    module = function("f", [MemRef(F32)], lambda b, x: b.op("func.call", (x,), callee="kernel_1"))

    ir = llvm.emit(Module(module.funcs, {"kernel_1": (MemRef(F32),)}), HOST)

    assert "declare void @kernel_1(ptr)" in ir

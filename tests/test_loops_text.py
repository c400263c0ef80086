"""Loops IR as MLIR text: it reads back, xdsl and MLIR accept it, and what is wrong is refused in place."""

import pytest

from tdsl.compiler import loops_text, pipeline
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.loops import F32, I1, INDEX, SSA, Block, Func, LOp, MemRef, Module, Vector
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.source import InternalError, IRError
from tdsl.compiler.target import AVX512, NEON

KERNELS = {
    "softmax": (
        "kernel k(x: f32[s0,s1]) -> (y):\n  m[i] := max[j] x[i, j]\n  z[i] := sum[j] exp(x[i, j] - m[i])\n"
        "  y[i, j] := exp(x[i, j] - m[i]) / z[i]"
    ),
    "padded": "kernel k(x: bool[33]) -> (y):\n  y[i in 0:40] := x[i - 3 else True]",
    "split": "kernel k(x: f32[1000000]) -> (y):\n  y[] := mean[i] x[i] * x[i]",
    "gather": "kernel k(x: f64[100], ix: i64[70]) -> (y):\n  y[i] := x[ix[i]]",
    "scatter": (
        "kernel k(g: f32[40,6], ix: i64[40]) -> (y):\n  y[a in 0:5, b in 0:6] := 0.0\n"
        "  scatter[i in 0:40, j in 0:6]: y[ix[i], j] += g[i, j]"
    ),
    "functions": (
        "kernel k(x: f32[90], n: i32[90], a: number f32, b: number i64) -> (y, z):\n"
        "  y[i] := sigmoid(x[i]) * a + fmod(x[i], 2.0) + erf(x[i])\n  z[i] := n[i] // 3 + (n[i].to(i64) % b).to(i32)"
    ),
    "product": "kernel k(x: f32[s0,784], w: f32[10,784]) -> (y):\n  y[i, j] := sum[q] x[i, q] * w[j, q]",
}
STAGES = ("lower", "parallel", "vectorize", "expand_math", None)
CASES = [(name, target, stage) for name in KERNELS for target in (AVX512, NEON) for stage in STAGES]


def text_of(name: str, target: object, stage: str | None) -> str:
    return loops_text.show(pipeline.lower(parse(KERNELS[name]), target, stage))  # type: ignore[arg-type]


@pytest.mark.parametrize("name,target,stage", CASES)
def test_reads_back(name: str, target: object, stage: str | None) -> None:
    text = text_of(name, target, stage)
    module = loops_text.parse(text)
    loops_text.verify(module)
    assert loops_text.show(module) == text


@pytest.mark.parametrize("name", KERNELS)
def test_xdsl_accepts_scalar_loops(name: str) -> None:
    """xdsl's arith has no vectors yet: MLIR's own verifier judges those, in the next test."""
    pytest.importorskip("xdsl")
    from xdsl.context import Context
    from xdsl.dialects import arith, builtin, func, math, memref, scf
    from xdsl.parser import Parser

    context = Context(allow_unregistered=True)
    for dialect in (arith.Arith, builtin.Builtin, func.Func, math.Math, memref.MemRef, scf.Scf):
        context.load_dialect(dialect)
    for stage in ("lower", "parallel"):
        module = Parser(context, text_of(name, AVX512, stage)).parse_module()
        module.verify()
        unknown = {op.op_name.data for op in module.walk() if op.name == "builtin.unregistered"}  # type: ignore[attr-defined]
        assert all(op.startswith("tdsl.") or op == "arith.remf" for op in unknown), unknown


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KERNELS)
def test_mlir_accepts_every_stage(name: str) -> None:
    pytest.importorskip("jax")
    from jax._src.interpreters.mlir import make_ir_context
    from jaxlib.mlir import ir

    with make_ir_context() as context:
        context.allow_unregistered_dialects = True
        for target in (AVX512, NEON):
            for stage in STAGES:
                assert ir.Module.parse(text_of(name, target, stage)).operation.verify()


WRAP = "module {{\n  func.func @f(%m: memref<?xf32>, %n: index) {{\n    {}\n    func.return\n  }}\n}}"


@pytest.mark.parametrize(
    "line,words",
    [
        ("%0 = arith.addi %n, %q : index", "%q is not defined here"),
        ("%0 = arith.addx %n, %n : index", "no op of loops IR: arith.addx"),
        ("%0 = arith.constant 1 : i13", "no type of loops IR: i13"),
        ("%0 = memref.load %m[%n : memref<?xf32>", "expected ']'"),
        ("%n = arith.constant 1 : index", "%n is defined twice"),
        ("%0 = arith.constant ? : index", "unexpected character"),
        ("%0, %1 = arith.constant 1 : index", "has 1 results"),
        ('"tdsl.nothing"() : () -> ()', "no op of loops IR: tdsl.nothing"),
    ],
)
def test_bad_text_is_refused_where_it_stands(line: str, words: str) -> None:
    with pytest.raises(IRError) as refused:
        loops_text.parse(WRAP.format(line), "bad.mlir")
    assert words in refused.value.message
    assert refused.value.span is not None and refused.value.span.line == 3


def test_constants_read_back_exactly() -> None:
    b = Builder(Block())
    values = [0.1, 1e-5, 1e300, -0.0, float("inf"), float("-inf"), 3.0]
    for value in values:
        b.constant(value, F32)
        b.constant(value, Vector(8, F32))
    b.constant(True, I1)
    b.constant(-7)
    text = loops_text.show(Module([Func("f", [SSA(INDEX, "n")], b.block)]))
    back = loops_text.parse(text)
    assert [op.attrs["value"] for op in back.funcs[0].body.ops] == [op.attrs["value"] for op in b.block.ops]
    assert loops_text.show(back) == text


def _broken(write: object) -> Module:
    m, n = SSA(MemRef(F32), "m"), SSA(INDEX, "n")
    block = Block()
    write(Builder(block), m, n)  # type: ignore[operator]
    return Module([Func("f", [m, n], block)])


@pytest.mark.parametrize(
    "write,words",
    [
        (lambda b, m, n: b.op("arith.addi", (n, SSA(INDEX, "q")), (INDEX,)), "is not defined here"),
        (lambda b, m, n: b.op("arith.addf", (n, n), (INDEX,)), "is of floats"),
        (lambda b, m, n: b.op("memref.load", (m, n), (INDEX,)), "takes memref, index"),
        (lambda b, m, n: b.op("memref.store", (n, m, n)), "takes a value, memref, index"),
        (lambda b, m, n: b.parallel(n, lambda i: b.parallel(i, lambda j: None)), "inside another parallel loop"),
        (lambda b, m, n: b.op("func.call", (n,), callee="g"), "does not fit g"),
        (lambda b, m, n: b.op("scf.for", (n, n, n), (), (Block([SSA(INDEX)]),)), "does not end in scf.yield"),
        (lambda b, m, n: b.op("arith.bitcast", (n,), (F32,)), "is not of an index"),
        (lambda b, m, n: b.op("arith.made_up", (n,), (INDEX,)), "no op of loops IR"),
        (lambda b, m, n: b.compare("arith.cmpi", "olt", n, n), "compares two of one type"),
        (lambda b, m, n: b.block.ops.append(LOp("arith.constant", [], [SSA(F32)], {"value": 1})), "not of its type"),
    ],
)
def test_broken_modules_are_refused(write: object, words: str) -> None:
    with pytest.raises(InternalError, match="loops IR") as refused:
        loops_text.verify(_broken(write))
    assert words in refused.value.message

"""IR to code in this process: what is refused, what lives how long, what one call can do."""

from __future__ import annotations

import ctypes
import gc
import threading

import numpy as np
import pytest
from machine import HOST, Machine, elementwise, function

from tdsl.compiler import llvm
from tdsl.compiler.loops import F64, I64, INDEX, SSA, MemRef, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.compiler.source import InternalError
from tdsl.runtime import jit


def add_one(name: str = "f") -> Module:
    def write(b: Builder, x: SSA) -> None:
        zero = b.constant(0)
        b.store(b.binary("arith.addi", b.load(x, zero), b.constant(1, I64)), x, zero)

    return function(name, [MemRef(I64)], write)


def test_host_target_says_what_the_machine_has() -> None:
    assert HOST.vector_bits in (128, 256, 512)
    assert HOST.vector_registers == (32 if HOST.vector_bits == 512 else HOST.vector_registers)
    assert HOST.triple and HOST.cpu


def test_unknown_externals_are_refused_before_they_are_linked() -> None:
    ir = "declare void @nobody(ptr)\ndefine void @f(ptr %x) {\n  call void @nobody(ptr %x)\n  ret void\n}\n"

    with pytest.raises(InternalError, match="'nobody' is not registered"):
        jit.load(ir, "f", HOST)


def test_ir_that_llvm_refuses_is_our_fault() -> None:
    with pytest.raises(InternalError, match="LLVM refuses"):
        jit.load("define void @f() { nonsense }", "f", HOST)


def test_a_missing_entry_is_our_fault() -> None:
    with pytest.raises(InternalError, match="no function 'g'"):
        jit.load("define void @f() {\n  ret void\n}", "g", HOST)


def test_registered_functions_are_called_by_name() -> None:
    calls: list[int] = []
    callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(calls.append)
    jit.register("test_note", ctypes.cast(callback, ctypes.c_void_p).value or 0, callback)

    def write(b: Builder, n: SSA) -> None:
        b.op("func.call", (n,), callee="test_note")

    module = function("f", [INDEX], write)
    Machine(Module(module.funcs, {"test_note": (INDEX,)}))(42)

    assert calls == [42]
    assert jit.is_registered("test_note") and not jit.is_registered("test_unheard_of")


def test_drive_calls_in_order() -> None:
    def double(b: Builder, x: SSA) -> None:
        zero = b.constant(0)
        b.store(b.binary("arith.muli", b.load(x, zero), b.constant(2, I64)), x, zero)

    loaded = [
        jit.load(llvm.emit(m, HOST), "f", HOST) for m in (add_one(), function("f", [MemRef(I64)], double), add_one())
    ]
    x = np.array([5])
    frame = np.array([x.ctypes.data], np.int64)
    functions = np.array([k.address for k in loaded], np.uint64)
    frames = np.array([frame.ctypes.data] * 3, np.uint64)
    jit.drive(functions.ctypes.data, frames.ctypes.data, 3)

    assert x[0] == (5 + 1) * 2 + 1


def test_code_lives_as_long_as_its_loaded() -> None:
    runs = [Machine(add_one()) for _ in range(20)]
    del runs[::2]
    gc.collect()
    x = np.zeros(1, np.int64)
    for run in runs:
        run(x)

    assert x[0] == len(runs)


def test_the_c_librarys_calls_of_the_code_generator_resolve() -> None:
    x, y, out = np.array([7.5, -7.5, 1e300]), np.array([2.0, 2.0, 3.0]), np.zeros(3)
    Machine(elementwise("arith.remf", F64, 2, 1))(x, y, out, 3)

    assert out.tolist() == np.fmod(x, y).tolist()


def test_threads_compile_at_once() -> None:
    results: list[int] = []

    def work(k: int) -> None:
        x = np.array([k])
        for _ in range(3):
            Machine(add_one(f"f{k}"))(x)
        results.append(int(x[0]) - k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert results == [3] * 4


def test_assembly_is_text_of_this_machine() -> None:
    text = jit.assembly(llvm.emit(add_one("shown"), HOST), HOST)

    assert "shown" in text and "ret" in text


def test_loaded_kernels_leave_room_for_memory_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans give up their kernels before the system runs out of memory maps, which would end the process."""
    import tdsl
    from tdsl.runtime import dispatch, kernels

    cache = dispatch._kernels
    gc.collect()  # what earlier tests left
    before = len(cache._alive)
    monkeypatch.setattr(kernels, "LIMIT", len(cache._kernels) + 10)
    monkeypatch.setattr(kernels, "ALIVE", before + 20)
    plans = len(dispatch._plans)
    x = tdsl.arange(6.0).reshape(2, 3)
    for k in range(40):
        y = x + 1
        for bit in range(6):
            y = y.sin() if k >> bit & 1 else y.cos()
        assert y.isfinite().all()
        assert len(cache._alive) <= before + 20 + 3
    assert len(dispatch._plans) < plans + 40
    assert (x + 1).tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]

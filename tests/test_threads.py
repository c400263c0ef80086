"""Threads of the OpenMP runtime: counts that are obeyed, results that do not depend on them, forks that do not hang."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from machine import Machine, function
from tree import ROOT

from tdsl.compiler.loops import F64, INDEX, SSA, MemRef, Module
from tdsl.compiler.loops_builder import Builder
from tdsl.runtime import jit, threads

openmp = pytest.mark.skipif(not threads.runtime().symbols, reason="no OpenMP runtime on this machine")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    allowed = threads.runtime().allowed.value
    yield
    threads.runtime().allowed.value = allowed


def squares() -> Module:
    def write(b: Builder, x: SSA, n: SSA) -> None:
        def body(i: SSA) -> None:
            value = b.load(x, i)
            b.store(b.binary("arith.mulf", value, value), x, i)

        b.parallel(n, body)

    return function("squares", [MemRef(F64), INDEX], write)


def noting() -> Module:
    def write(b: Builder, n: SSA) -> None:
        b.parallel(n, lambda i: b.op("func.call", (i,), callee="test_iteration"))

    return Module(function("noting", [INDEX], write).funcs, {"test_iteration": (INDEX,)})


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_every_iteration_runs_once_whatever_the_threads(count: int) -> None:
    if threads.runtime().symbols:
        threads.set_num_threads(count)
    run = Machine(squares())
    for n in (0, 1, 2, 7, 1000):
        x = np.arange(float(n) + 1)
        run(x, n)
        assert x.tolist() == [*(np.arange(float(n)) ** 2), n]


@openmp
def test_iterations_are_shared_in_contiguous_runs() -> None:
    seen: list[tuple[int, int]] = []

    def note(i: int) -> None:
        seen.append((i, threading.get_ident()))
        time.sleep(0.002)

    callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(note)
    jit.register("test_iteration", ctypes.cast(callback, ctypes.c_void_p).value or 0, callback)
    threads.set_num_threads(2)
    Machine(noting())(10)

    owners = [owner for _, owner in sorted(seen)]
    assert sorted(i for i, _ in seen) == list(range(10))
    assert owners == [owners[0]] * 5 + [owners[9]] * 5 and owners[0] != owners[9]


def test_python_threads_run_kernels_at_once() -> None:
    run, wrong = Machine(squares()), []

    def work(k: int) -> None:
        for _ in range(20):
            x = np.full(500, float(k))
            run(x, 500)
            if not (x == k * k).all():
                wrong.append(k)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not wrong


@pytest.mark.parametrize("bad", [0, -1, 1.5, "2", True, None])
def test_a_thread_count_is_a_positive_integer(bad: object) -> None:
    with pytest.raises(ValueError, match="positive integer"):
        threads.set_num_threads(bad)  # type: ignore[arg-type]


@openmp
def test_set_num_threads_is_what_get_num_threads_says() -> None:
    threads.set_num_threads(3)

    assert threads.get_num_threads() == 3
    assert threads.describe()["threads"] == "3"


_REPORT = "from tdsl.runtime import threads; print(threads.get_num_threads())"
_KERNEL = """
import numpy as np
from test_threads import Machine, squares
run = Machine(squares())
x = np.arange(1000.0)
run(x, 1000)
print(int(x.sum() == (np.arange(1000.0) ** 2).sum()))
"""
_FORK = """
import os, signal, warnings
import numpy as np
from test_threads import Machine, squares
from tdsl.runtime import threads
threads.set_num_threads(2) if threads.runtime().symbols else None
run = Machine(squares())
x = np.arange(1000.0)
run(x, 1000)
child = os.fork()
if child == 0:
    signal.alarm(30)
    x = np.arange(1000.0)
    run(x, 1000)
    good = x[999] == 999.0**2 and threads.get_num_threads() == 1
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        threads.set_num_threads(2)
    run(x, 1000)
    os._exit(0 if good and len(seen) == 1 and threads.get_num_threads() == 1 else 1)
print(os.waitpid(child, 0)[1])
"""


def in_child(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


@openmp
def test_omp_num_threads_is_obeyed() -> None:
    assert in_child(_REPORT, OMP_NUM_THREADS="3").stdout.strip() == "3"


@pytest.mark.parametrize("value", ["0", "-4", "many", "", "99999999999999999999"])
def test_a_bad_omp_num_threads_does_not_crash(value: str) -> None:
    done = in_child(_KERNEL, OMP_NUM_THREADS=value)

    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_computes_serially() -> None:
    done = in_child(_FORK)

    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_without_a_runtime_kernels_run_serially() -> None:
    bare = threads.Runtime("none", {})
    loaded = jit.load(threads.launcher_ir(bare), "tdsl_parallel", jit.host_target())

    assert loaded.address

"""Threads: the OpenMP runtime that is on the machine, and what happens where there is none.

The order: a runtime already loaded in this process (PyTorch's, scikit-learn's), `libgomp.so.1`, `libiomp5`; else
kernels run serially. A pool of our own would fight theirs for the cores. The OpenMP runtime hangs in a forked child
that asks for threads, so a forked child runs serially.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

SPIN = "20000"  # turns, tens of microseconds: as long as the gaps between a program's kernels
_NAMES = ("libgomp", "libiomp5", "libomp")
_CANDIDATES = ("libgomp.so.1", "libiomp5.so", "libomp.so", "libomp.dylib", "libgomp.1.dylib")


@dataclass(frozen=True, eq=False)
class Runtime:
    """An OpenMP runtime; `symbols` are empty where there is none."""

    name: str
    symbols: dict[str, int]
    library: ctypes.CDLL | None = None
    allowed: ctypes.c_int = field(default_factory=ctypes.c_int)  # 0: the runtime decides; else at most so many


_forked = threading.Event()  # set in a child that must not ask for threads


def _loaded_libraries() -> Iterator[str]:
    """Paths of OpenMP runtimes already in this process."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if ".so" in line}
    except OSError:
        return
    yield from sorted(p for p in paths if os.path.basename(p).startswith(_NAMES))


def _load(path: str) -> ctypes.CDLL:
    """Load an OpenMP runtime whose idle threads spin for some microseconds only.

    By default they spin for milliseconds, and where another process wants the core a region of one microsecond takes
    a scheduler's slice. What the user set stands.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        return ctypes.CDLL(path)
    os.environ["GOMP_SPINCOUNT"] = SPIN
    try:
        return ctypes.CDLL(path)
    finally:
        del os.environ["GOMP_SPINCOUNT"]


@cache
def runtime() -> Runtime:
    """The OpenMP runtime of this process, found once."""
    for path in [*_loaded_libraries(), *_CANDIDATES]:
        try:
            library = _load(path)
            symbols = {
                name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                for name in ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "omp_get_max_threads")
            }
        except (OSError, AttributeError):
            continue
        found = Runtime(path, symbols, library)
        os.register_at_fork(after_in_child=_in_child)
        return found
    return Runtime("none", {})


def _in_child() -> None:
    _forked.set()
    runtime().allowed.value = 1


def launcher_ir(found: Runtime) -> str:
    """LLVM IR of `tdsl_parallel`. Iterations are split evenly and in order among the threads there are."""
    if not found.symbols:
        return _SERIAL
    address = ctypes.addressof(found.allowed)
    return _GOMP.replace("ALLOWED", str(address))


_SERIAL = """
define void @tdsl_parallel(ptr %body, ptr %context, i64 %n) {
  call void %body(ptr %context, i64 0, i64 %n)
  ret void
}
"""

_GOMP = """
declare void @GOMP_parallel(ptr, ptr, i32, i32)
declare i32 @omp_get_thread_num()
declare i32 @omp_get_num_threads()
declare i32 @omp_get_max_threads()

define internal void @share(ptr %region) {
  %np = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 2
  %bp = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 0
  %cp = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 1
  %n = load i64, ptr %np
  %body = load ptr, ptr %bp
  %context = load ptr, ptr %cp
  %t32 = call i32 @omp_get_thread_num()
  %m32 = call i32 @omp_get_num_threads()
  %t = sext i32 %t32 to i64
  %m = sext i32 %m32 to i64
  %u = add i64 %t, 1
  %a = mul i64 %n, %t
  %b = mul i64 %n, %u
  %lo = sdiv i64 %a, %m
  %hi = sdiv i64 %b, %m
  call void %body(ptr %context, i64 %lo, i64 %hi)
  ret void
}

define void @tdsl_parallel(ptr %body, ptr %context, i64 %n) {
entry:
  %region = alloca { ptr, ptr, i64 }
  %allowed.p = inttoptr i64 ALLOWED to ptr
  %allowed = load i32, ptr %allowed.p
  %alone = icmp eq i32 %allowed, 1
  br i1 %alone, label %serial, label %ask
ask:
  %max = call i32 @omp_get_max_threads()
  %free = icmp eq i32 %allowed, 0
  %limit = select i1 %free, i32 %max, i32 %allowed
  %n32 = call i64 @llvm.smin.i64(i64 %n, i64 1024)
  %nt = trunc i64 %n32 to i32
  %threads = call i32 @llvm.smin.i32(i32 %limit, i32 %nt)
  %single = icmp sle i32 %threads, 1
  br i1 %single, label %serial, label %many
serial:
  call void %body(ptr %context, i64 0, i64 %n)
  ret void
many:
  %bp = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 0
  %cp = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 1
  %np = getelementptr { ptr, ptr, i64 }, ptr %region, i32 0, i32 2
  store ptr %body, ptr %bp
  store ptr %context, ptr %cp
  store i64 %n, ptr %np
  call void @GOMP_parallel(ptr @share, ptr %region, i32 %threads, i32 0)
  ret void
}

declare i32 @llvm.smin.i32(i32, i32)
declare i64 @llvm.smin.i64(i64, i64)
"""


def get_num_threads() -> int:
    """How many threads a kernel may use."""
    found = runtime()
    if not found.symbols:
        return 1
    if found.allowed.value:
        return found.allowed.value
    assert found.library is not None
    return max(1, int(found.library.omp_get_max_threads()))


def set_num_threads(n: int) -> None:
    """Use at most `n` threads from now on; results do not depend on it.

    Raises ValueError unless `n` is a positive int.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"set_num_threads expects a positive integer, got {n!r}")
    found = runtime()
    if n > 1 and (_forked.is_set() or not found.symbols):
        why = "this process was forked" if _forked.is_set() else "no OpenMP runtime was found"
        warnings.warn(f"{why}: kernels run on one thread", stacklevel=2)
        return
    found.allowed.value = n


def describe() -> dict[str, str]:
    """What `tdsl doctor` prints of threads."""
    found = runtime()
    return {
        "OpenMP runtime": found.name,
        "threads": str(get_num_threads()),
        "cores": str(os.cpu_count()),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "not set"),
    }

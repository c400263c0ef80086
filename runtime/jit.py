"""LLVM IR to machine code in this process.

No IR passes run: lowering emits vector code that needs none, and the code generator alone is the fastest way to
code. Externals are checked against what is registered before LLVM links, because LLVM links an unknown symbol
silently and the call crashes.
"""

from __future__ import annotations

import ctypes
import platform
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from tdsl.compiler.source import InternalError
from tdsl.compiler.target import Target
from tdsl.runtime import disk_cache, threads


@dataclass(frozen=True, eq=False, slots=True)
class Loaded:
    """A function's address, and what keeps its code alive: whoever calls the address holds this object."""

    address: int
    engine: Any


_registered: dict[str, object] = {}
# What the code generator may call of its own accord: for frem, for rounding and fma where no instruction does it, and
# for copies. They are in this process's C library.
_LIBRARY_CALLS = (
    "fmod", "fmodf", "floor", "floorf", "ceil", "ceilf", "trunc", "truncf", "roundeven", "roundevenf", "fma", "fmaf",
    "memcpy", "memmove", "memset",
)  # fmt: skip
_DECLARED = re.compile(r"^declare [^@]*@([\w.]+)\(", re.MULTILINE)


@cache
def host_target() -> Target:
    """This machine, as LLVM sees it."""
    _initialize()
    cpu, found = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    features = found.flatten()
    bits, registers, masked, fma = 128, 16, False, True
    if found.get("avx512f"):
        bits, registers, masked = 512, 32, True
    elif found.get("avx2"):
        bits, masked = 256, True
    elif platform.machine() in ("aarch64", "arm64"):
        registers = 32
    else:
        fma = bool(found.get("fma"))
    return Target(llvm.get_default_triple(), cpu, features, bits, registers, has_fma=fma, has_masked_memory=masked)


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    process = ctypes.CDLL(None)
    for name in _LIBRARY_CALLS:
        function = getattr(process, name, None)
        if function is not None:
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value or 0)


def _machine(target: Target) -> Any:
    """A target machine: each engine takes one of its own."""
    _initialize()
    triple = target.triple or llvm.get_default_triple()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True
    )


def _parse(ir: str) -> Any:
    try:
        module = llvm.parse_assembly(ir)
        module.verify()
    except RuntimeError as error:
        raise InternalError(f"LLVM refuses the IR that was made: {error}\n{ir}") from None
    return module


@cache
def on_disk() -> disk_cache.DiskCache:
    """The cache of this process: whatever machine code depends on beside its source is part of every key."""
    target = host_target()
    process = {
        "cpu": target.cpu,
        "features": target.features,
        "triple": target.triple,
        "llvmlite": llvm_version(),
        "code": disk_cache.sources(),
        "library_calls": " ".join(_LIBRARY_CALLS),
    }
    return disk_cache.DiskCache(disk_cache.place(), process)


def llvm_version() -> str:
    from llvmlite import __version__

    return f"{__version__} LLVM {'.'.join(map(str, llvm.llvm_version_info))}"


def load(ir: str, entry: str, target: Target, key: str = "", about: dict[str, Any] | None = None) -> Loaded:
    """Compile the module and find `entry` in it; with a key, keep it on disk, with what is said about it."""
    externals = [name for name in _DECLARED.findall(ir) if not name.startswith("llvm.")]
    _check(externals)
    code: bytes = _machine(target).emit_object(_parse(ir))
    loaded = _linked(code, entry)
    if key and target is host_target():
        on_disk().put(key, {**(about or {}), "entry": entry, "externals": externals}, code)
    return loaded


def recall(key: str) -> disk_cache.Entry | None:
    """What an earlier process kept under the key."""
    return on_disk().get(key)


def link(kept: disk_cache.Entry) -> Loaded:
    """Machine code that was compiled before, in this process."""
    _check(kept.about["externals"])
    return _linked(kept.code, kept.about["entry"])


def _check(externals: list[str]) -> None:
    for name in externals:
        if not is_registered(name):
            raise InternalError(f"the external function {name!r} is not registered")


def _linked(code: bytes, entry: str) -> Loaded:
    """Object code in this process, and the address of a function of it.

    (LLVM's own object cache would do as well, but its callbacks hold the engine in a cycle of references.)
    """
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine(host_target()))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(entry)
    if not address:
        raise InternalError(f"no function {entry!r} in the compiled module")
    return Loaded(address, engine)


def _runtime_function(ir: str, entry: str) -> Loaded:
    """A function of the runtime itself, through the disk cache."""
    kept = recall(ir)
    return link(kept) if kept is not None else load(ir, entry, host_target(), ir)


def assembly(ir: str, target: Target) -> str:
    """The module as this machine's assembly."""
    module = _parse(ir)
    text: str = _machine(target).emit_assembly(module)
    return text


def register(name: str, address: int, keep: object) -> None:
    """Let compiled code call `address` by `name`; `keep` holds the code alive for good."""
    _registered[name] = keep
    llvm.add_symbol(name, address)


def is_registered(name: str) -> bool:
    if name == "tdsl_parallel" and name not in _registered:
        _register_parallel()
    return name in _registered


def _register_parallel() -> None:
    """`tdsl_parallel(body, context, n)`: the iterations 0..n-1 shared out over the OpenMP runtime's threads."""
    runtime = threads.runtime()
    for name, address in runtime.symbols.items():
        register(name, address, runtime)
    loaded = _runtime_function(threads.launcher_ir(runtime), "tdsl_parallel")
    register("tdsl_parallel", loaded.address, loaded)


_DRIVE = """
define void @tdsl_drive(ptr %functions, ptr %frames, i64 %n) {
entry:
  br label %body
body:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %fp = getelementptr i64, ptr %functions, i64 %i
  %f = load ptr, ptr %fp
  %ap = getelementptr i64, ptr %frames, i64 %i
  %a = load ptr, ptr %ap
  call void %f(ptr %a)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %body, label %done
done:
  ret void
}
"""


_kept: list[Loaded] = []


@cache
def _driver() -> Any:
    loaded = _runtime_function(_DRIVE, "tdsl_drive")
    function = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t)(loaded.address)
    _kept.append(loaded)
    return function


def drive(functions: int, frames: int, n: int) -> None:
    """Call the n >= 1 functions whose addresses lie at `functions`, each with its frame: one foreign call, no GIL."""
    _driver()(functions, frames, n)

"""Names of LLVM: types, literals, instructions and intrinsics of loops ops."""

from __future__ import annotations

import struct
from math import isnan

from tdsl.compiler.loops import F32, I1, SSA, LType, MemRef, Scalar, Vector

BINARY = {
    "arith.addi": "add", "arith.subi": "sub", "arith.muli": "mul", "arith.divsi": "sdiv", "arith.remsi": "srem",
    "arith.andi": "and", "arith.ori": "or", "arith.xori": "xor", "arith.shli": "shl", "arith.shrsi": "ashr",
    "arith.shrui": "lshr", "arith.addf": "fadd", "arith.subf": "fsub", "arith.mulf": "fmul", "arith.divf": "fdiv",
    "arith.remf": "frem",
}  # fmt: skip
INTRINSIC = {
    "arith.maxsi": "smax", "arith.minsi": "smin", "arith.maxui": "umax", "arith.minui": "umin",
    "arith.maxnumf": "maxnum", "arith.minnumf": "minnum",
    "math.fma": "fma", "math.floor": "floor", "math.ceil": "ceil", "math.roundeven": "roundeven",
    "math.trunc": "trunc", "math.sqrt": "sqrt", "math.absf": "fabs", "math.copysign": "copysign",
}  # fmt: skip
CONVERT = {
    "arith.extsi": "sext", "arith.extui": "zext", "arith.trunci": "trunc", "arith.extf": "fpext",
    "arith.truncf": "fptrunc", "arith.sitofp": "sitofp", "arith.uitofp": "uitofp", "arith.bitcast": "bitcast",
}  # fmt: skip
_SCALAR = {"index": "i64", "f32": "float", "f64": "double"}
_SUFFIX = {"float": "f32", "double": "f64"}
INT_REDUCE = {"add": "add", "mul": "mul", "maxsi": "smax", "minsi": "smin", "maxui": "umax", "minui": "umin",
              "and": "and", "or": "or", "xor": "xor"}  # fmt: skip
FLOAT_REDUCE = {"add": "fadd", "mul": "fmul"}
EXTREME = {"arith.maximumf": "ogt", "arith.minimumf": "olt"}  # the test by which the first operand is chosen


def llvm_type(t: LType) -> str:
    if isinstance(t, MemRef):
        return "ptr"
    if isinstance(t, Vector):
        return f"<{t.lanes} x {llvm_type(t.element)}>"
    return _SCALAR.get(t.name, t.name)


def suffix(t: LType) -> str:
    """The type's name in an intrinsic."""
    if isinstance(t, Vector):
        return f"v{t.lanes}{suffix(t.element)}"
    text = llvm_type(t)
    return _SUFFIX.get(text, text)


def literal(value: bool | int | float, t: Scalar) -> str:
    if not t.is_float:
        return ("true" if value else "false") if t is I1 else str(int(value))
    number = float(value)
    if isnan(number):
        return "0x7FF8000000000000"
    if t is F32:
        try:
            number = struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:
            number = float("inf") if number > 0 else float("-inf")
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def splat(text: str, t: Vector) -> str:
    """A constant in every lane."""
    return f"splat ({llvm_type(t.element)} {text})"


def bits(t: LType) -> int:
    if isinstance(t, Vector):
        return t.element.bits
    assert isinstance(t, Scalar)
    return t.bits


def alignment(memref: SSA) -> int:
    assert isinstance(memref.type, MemRef)
    return max(1, memref.type.element.bits // 8)

"""float16 and bfloat16 as integer arithmetic on 32 bits: the same on every machine, and no call of a runtime library.

In registers a half is the f32 that it equals. Rounding is to nearest, ties to even. The arithmetic for float16 is that
of F. Giesen, "Float->half variants" and "Half->float" (public domain, 2012-2013).
"""

from __future__ import annotations

from tdsl.compiler.dtype import DType, bf16
from tdsl.compiler.loops import F32, I16, I32, SSA
from tdsl.compiler.loops_builder import Builder


class Halves:
    def __init__(self, b: Builder) -> None:
        self.b = b

    def rounded(self, x: SSA, dtype: DType) -> SSA:
        """An f32 as the nearest that the dtype holds."""
        bits = self._bits(x, dtype)
        return self._from_bits(bits, dtype)

    def narrowed(self, x: SSA, dtype: DType) -> SSA:
        """The 16 bits of an f32 in the dtype."""
        return self.b.convert("arith.trunci", self._bits(x, dtype), I16)

    def widened(self, x: SSA, dtype: DType) -> SSA:
        """The f32 that 16 bits are."""
        return self._from_bits(self.b.convert("arith.extui", x, I32), dtype)

    # ---- 32 bits, of which the lower 16 are the half

    def _bits(self, x: SSA, dtype: DType) -> SSA:
        b = self.b
        bits = b.convert("arith.bitcast", x, I32)
        unordered = b.compare("arith.cmpf", "uno", x, x)
        if dtype is bf16:
            odd = self._and(self._right(bits, 16), 1)
            up = b.binary("arith.addi", b.binary("arith.addi", bits, self._int(0x7FFF)), odd)
            return b.select(unordered, self._int(0x7FC0), self._right(up, 16))
        sign = self._and(self._right(bits, 16), 0x8000)
        size = self._and(bits, 0x7FFFFFFF)
        # 65520 and above round to infinity; below 2^-14 the sum with 0.5 lines the bits up, and rounds them
        value = b.convert("arith.bitcast", size, F32)
        small = b.convert("arith.bitcast", b.binary("arith.addf", value, b.constant(0.5, F32)), I32)
        small = b.binary("arith.subi", small, self._int(0x3F000000))
        odd = self._and(self._right(size, 13), 1)
        normal = b.binary("arith.addi", size, self._int(0xC8000FFF - (1 << 32)))
        normal = self._right(b.binary("arith.addi", normal, odd), 13)
        half = b.select(b.compare("arith.cmpi", "ult", size, self._int(0x38800000)), small, normal)
        half = b.select(b.compare("arith.cmpi", "uge", size, self._int(0x477FF000)), self._int(0x7C00), half)
        half = b.select(unordered, self._int(0x7E00), half)
        return b.binary("arith.ori", half, sign)

    def _from_bits(self, bits: SSA, dtype: DType) -> SSA:
        b = self.b
        if dtype is bf16:
            return b.convert("arith.bitcast", b.binary("arith.shli", bits, self._int(16)), F32)
        sign = b.binary("arith.shli", self._and(bits, 0x8000), self._int(16))
        shifted = b.binary("arith.shli", self._and(bits, 0x7FFF), self._int(13))
        exponent = self._and(shifted, 0x0F800000)
        normal = b.binary("arith.addi", shifted, self._int(0x38000000))
        special = b.binary("arith.addi", normal, self._int(0x38000000))
        tiny = b.convert("arith.bitcast", b.binary("arith.addi", normal, self._int(0x00800000)), F32)
        tiny = b.binary("arith.subf", tiny, b.constant(2.0**-14, F32))
        result = b.select(b.compare("arith.cmpi", "eq", exponent, self._int(0x0F800000)), special, normal)
        is_tiny = b.compare("arith.cmpi", "eq", exponent, self._int(0))
        result = b.select(is_tiny, b.convert("arith.bitcast", tiny, I32), result)
        return b.convert("arith.bitcast", b.binary("arith.ori", result, sign), F32)

    def _int(self, value: int) -> SSA:
        return self.b.constant(value, I32)

    def _and(self, x: SSA, mask: int) -> SSA:
        return self.b.binary("arith.andi", x, self._int(mask))

    def _right(self, x: SSA, by: int) -> SSA:
        return self.b.binary("arith.shrui", x, self._int(by))

"""The machine a kernel is compiled for, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What lowering and emission may know of a machine. AVX-512, AVX2 and NEON differ by these fields only."""

    triple: str = ""
    cpu: str = ""
    features: str = ""
    vector_bits: int = 512
    vector_registers: int = 32
    l1_bytes: int = 32 << 10
    l2_bytes: int = 1 << 20
    l3_bytes: int = 32 << 20
    has_fma: bool = True
    has_masked_memory: bool = True  # masked loads and stores are one instruction (AVX-512, AVX, SVE)

    def lanes(self, bits: int) -> int:
        """Vector lanes for elements of `bits` bits."""
        return max(1, self.vector_bits // bits)


AVX512 = Target(cpu="x86-64-v4")
AVX2 = Target(cpu="x86-64-v3", vector_bits=256, vector_registers=16)
NEON = Target(cpu="generic", vector_bits=128, has_masked_memory=False)
PLAIN = Target(cpu="generic", vector_bits=128, vector_registers=16, has_fma=False, has_masked_memory=False)

"""Counter-based random bits."""

from __future__ import annotations

from tdsl.compiler.maths.lane import Lane

_WORD = 0xFFFFFFFF


def philox(seed: Lane, counter: Lane) -> Lane:
    """Philox4x32-10 in 64-bit lanes, the same bits as `kernel.philox`: seed, counter i64 -> 32 random bits as i64."""
    word, block = counter & 3, counter >> 2
    c = [block & _WORD, block >> 32, seed.const(0), seed.const(0)]
    k0, k1 = seed & _WORD, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(p1 >> 32) ^ c[1] ^ k0, p1 & _WORD, (p0 >> 32) ^ c[3] ^ k1, p0 & _WORD]
        k0, k1 = (k0 + 0x9E3779B9) & _WORD, (k1 + 0xBB67AE85) & _WORD
    low = word.test("eq", 0).choose(c[0], c[1])
    high = word.test("eq", 2).choose(c[2], c[3])
    return word.test("slt", 2).choose(low, high)

"""Matrix products against NumPy's BLAS, alternating in one process: python -m benchmarks.matmul"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

import tdsl

SHAPES = [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (32, 784, 256), (32, 256, 128),
          (256, 784, 256), (768, 128, 512)]  # fmt: skip


def timed(run: Callable[[], object], repeat: int) -> float:
    """Seconds a run. The other's idle threads spin for a while after their last call: let them sleep first."""
    time.sleep(0.15)
    run()
    start = time.perf_counter()
    for _ in range(repeat):
        run()
    return (time.perf_counter() - start) / repeat


def compare(m: int, k: int, n: int, transposed: bool = False) -> tuple[float, float]:
    """GFLOP/s of tdsl and of NumPy, medians of alternating runs."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((m, k)).astype(np.float32)
    b = rng.standard_normal((n, k) if transposed else (k, n)).astype(np.float32)
    ta, tb = tdsl.tensor(a), tdsl.tensor(b)
    nb = b.T if transposed else b

    def ours() -> object:
        y = ta @ (tb.t() if transposed else tb)
        tdsl.recording.known(y.value)
        return y

    np.testing.assert_allclose((ta @ (tb.t() if transposed else tb)).numpy(), a @ nb, rtol=1e-3, atol=1e-3)
    flops = 2e-9 * m * k * n
    repeat = max(1, int(0.02 / (flops / 150)))
    pairs = [(timed(ours, repeat), timed(lambda: a @ nb, repeat)) for _ in range(7)]
    return flops / median(p[0] for p in pairs), flops / median(p[1] for p in pairs)


def main() -> None:
    print(f"{'m x k x n':>18} {'tdsl':>8} {'numpy':>8}  ratio   (GFLOP/s, f32, {tdsl.get_num_threads()} threads)")
    for m, k, n in SHAPES:
        for transposed in (False, True):
            ours, theirs = compare(m, k, n, transposed)
            name = f"{m} x {k} x {n}{' ^T' if transposed else ''}"
            print(f"{name:>18} {ours:8.1f} {theirs:8.1f}  {ours / theirs:5.2f}")


if __name__ == "__main__":
    main()

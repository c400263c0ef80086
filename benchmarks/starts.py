"""Processes that start, operations too small to compute anything, and batches of many sizes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Any

GRADIENT = (
    "import {lib} as t; x = t.tensor([1.0, 2.0], requires_grad=True); (x.sin() * x).sum().backward(); print(x.grad)"
)


def starts(rounds: int, torch: bool) -> dict[str, float]:
    """Seconds from process start: an import, and a printed gradient with nothing cached and with a warm cache."""
    found = {"import tdsl": _process("import tdsl", rounds)}
    with tempfile.TemporaryDirectory() as folder:
        cold = [_process(GRADIENT.format(lib="tdsl"), 1, f"{folder}/{k}") for k in range(rounds)]
        found["first gradient, nothing cached"] = median(cold)
        found["first gradient, warm cache"] = _process(GRADIENT.format(lib="tdsl"), rounds, f"{folder}/0")
    if torch:
        found["import torch"] = _process("import torch", max(1, rounds // 2))
    return found


def _process(code: str, rounds: int, cache: str = "") -> float:
    env = {**os.environ, **({"TDSL_CACHE_DIR": cache} if cache else {})}
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], env=env, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return median(times)


def overhead(lib: Any, nodes: int = 500) -> float:
    """Microseconds an operation on a tensor of one element: recorded, found and run."""
    x = lib.ones(1)

    def chain() -> None:
        y = x
        for _ in range(nodes):
            y = y * 1.001
        y.item()

    chain(), chain()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        chain()
        times.append(time.perf_counter() - start)
    return 1e6 * median(times) / nodes


def sweep() -> tuple[int, int]:
    """Programs and kernels compiled while an MLP sees batches of 1 to 64."""
    import tdsl
    from tdsl.runtime import dispatch

    nn = tdsl.nn
    net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = tdsl.optim.SGD(net.parameters(), lr=0.1)
    programs, kernels = dispatch.counters.programs, dispatch.counters.kernels
    for batch in range(1, 65):
        loss = nn.functional.cross_entropy(net(tdsl.ones(batch, 20)), tdsl.zeros(batch, dtype=tdsl.int64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
    return dispatch.counters.programs - programs, dispatch.counters.kernels - kernels

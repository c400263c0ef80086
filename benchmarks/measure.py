"""Timing works against peers: in one process, alternating, values compared first, medians of ratios.

Times on a shared machine move by a fifth from run to run; what was measured in one round was measured on the same
machine, so a ratio is taken round by round, and the median and the quartiles of the rounds are given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from types import ModuleType
from typing import Any

import numpy as np

Run = Callable[[], Any]
ROUND = 0.12  # seconds that a round of one library takes, about
REST = 0.05  # seconds for the other libraries' threads to fall asleep


@dataclass(frozen=True, slots=True)
class Work:
    """Something to do. `make(lib)` prepares it with a library of PyTorch's names and gives what runs it once.

    others   the same for libraries with other names: name -> prepare
    flops    multiplications and additions of a run
    nbytes   bytes that a run must read and write
    reach    by how many times a peer's time must be longer than tdsl's
    """

    name: str
    group: str
    make: Callable[[ModuleType], Run]
    others: Mapping[str, Callable[[], Run]] = field(default_factory=dict)
    flops: float = 0.0
    nbytes: float = 0.0
    reach: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-3


@dataclass(frozen=True, slots=True)
class Result:
    """Seconds a run of each library, and for each peer the quartiles of its time over tdsl's."""

    work: Work
    seconds: dict[str, float]
    ratios: dict[str, tuple[float, float, float]]

    def short(self) -> dict[str, Any]:
        w = self.work
        return {"name": w.name, "group": w.group, "seconds": self.seconds, "ratios": self.ratios,
                "reach": dict(w.reach), "flops": w.flops, "bytes": w.nbytes}  # fmt: skip


def finished(x: Any) -> Any:
    """Demand a tensor's bytes, where the library waits for that."""
    if hasattr(x, "data_ptr"):
        x.data_ptr()
    return x


def measure(work: Work, libraries: Mapping[str, ModuleType], rounds: int, compare: bool = True) -> Result:
    runs: dict[str, Run] = {name: work.make(lib) for name, lib in libraries.items()}
    for name, prepare in work.others.items():
        try:
            runs[name] = prepare()
        except ImportError:
            continue
    values = {name: _numbers(run()) for name, run in runs.items()}
    if compare:
        for name, value in values.items():
            scale = float(np.abs(values["tdsl"]).max(initial=1e-6))
            np.testing.assert_allclose(value, values["tdsl"], atol=work.tolerance * scale, rtol=0,
                                       err_msg=f"{work.name}: {name} and tdsl differ")  # fmt: skip
    for run in runs.values():
        run(), run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(_round(run))
    ratios = {name: _spread([t / own for t, own in zip(times[name], times["tdsl"], strict=True)])
              for name in runs if name != "tdsl"}  # fmt: skip
    return Result(work, {name: median(t) for name, t in times.items()}, ratios)


def _round(run: Run) -> float:
    time.sleep(REST)
    start = time.perf_counter()
    run()
    once = max(time.perf_counter() - start, 1e-7)
    count = max(1, min(2000, int(ROUND / once)))
    start = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - start) / count


def _spread(values: Sequence[float]) -> tuple[float, float, float]:
    """(lower quartile, median, upper quartile)"""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _numbers(x: Any) -> np.ndarray[Any, Any]:
    if hasattr(x, "detach"):
        x = x.detach()
    return np.asarray(x, np.float64)

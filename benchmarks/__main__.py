"""python -m benchmarks [WORDS]: tdsl against NumPy, PyTorch and JAX, as a table, JSON, a picture and a page.

WORDS choose works whose names or groups contain one of them; none: all.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.measure import Result, Work, measure
from benchmarks.starts import overhead, starts, sweep
from benchmarks.works import works


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of names or groups")
    parser.add_argument("--rounds", type=int, default=9, help="alternations (9)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="FILE", help="write the figures")
    parser.add_argument("--plot", metavar="FILE", help="draw the ratios (needs matplotlib)")
    parser.add_argument("--page", metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--no-starts", action="store_true", help="no processes that start")
    options = parser.parse_args(arguments)
    libraries = _libraries(options.threads)
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, {', '.join(libraries)}; peer / tdsl"
    )
    results = []
    for work in works():
        if not options.words or any(w.lower() in f"{work.group} {work.name}".lower() for w in options.words):
            results.append(measure(work, libraries, options.rounds))
            print(_line(results[-1]), flush=True)
    small = _small(libraries, options) if not options.words or "starts" in options.words else {}
    for name, value in small.items():
        print(f"{name:62} {value}", flush=True)
    if options.json:
        found = {"results": [r.short() for r in results], "small": small}
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.page:
        Path(options.page).write_text(_page(results, small, options), encoding="utf-8")
    if options.plot:
        _plot(results, options.plot)
    return 0


def _libraries(threads: int) -> dict[str, ModuleType]:
    import tdsl

    tdsl.set_num_threads(threads)
    found: dict[str, ModuleType] = {"tdsl": tdsl}
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: tdsl is timed alone", file=sys.stderr)
    else:
        torch.set_num_threads(threads)
        found["torch"] = torch
    return found


def _small(libraries: dict[str, ModuleType], options: argparse.Namespace) -> dict[str, str]:
    found = {f"an operation on one element, {name}": f"{overhead(lib):.2f} us" for name, lib in libraries.items()}
    programs, kernels = sweep()
    found["batches of 1 to 64"] = f"{programs} programs, {kernels} kernels"
    if not options.no_starts:
        for name, seconds in starts(max(1, options.rounds // 2), "torch" in libraries).items():
            found[name] = f"{seconds:.2f} s"
    return found


def _line(r: Result) -> str:
    rate = f"{r.work.flops / r.seconds['tdsl'] / 1e9:6.0f} GFLOP/s" if r.work.flops else ""
    rate = rate or (f"{r.work.nbytes / r.seconds['tdsl'] / 1e9:6.1f} GB/s" if r.work.nbytes else "")
    told = "  ".join(f"{name} {_ratio(r, name)}" for name in r.ratios)
    return f"{r.work.name:62} {1e3 * r.seconds['tdsl']:9.3f} ms {rate:15} {told}"


def _ratio(r: Result, name: str) -> str:
    low, middle, high = r.ratios[name]
    wanted = r.work.reach.get(name)
    goal = "" if wanted is None else f", goal {wanted:g}"
    return f"{middle:.2f} ({low:.2f}-{high:.2f}{goal})"


# ----------------------------------------------------------------------------------------------- the page

_HEAD = """# How fast it is

Written by `python -m benchmarks --page docs/performance.md`: each work is timed in one process with every library in
turn, values compared first, and a ratio is taken round by round (the other library's time over tdsl's: above 1, tdsl
is faster). The median is given, and the quartiles. On a shared machine expect a fifth of difference between runs.

"""


def _page(results: Sequence[Result], small: dict[str, str], options: argparse.Namespace) -> str:
    lines = [_HEAD, f"{options.threads} threads, {options.rounds} rounds, NumPy {np.__version__}, "
             f"Python {platform.python_version()}.\n"]  # fmt: skip
    for group in dict.fromkeys(r.work.group for r in results):
        lines += [f"\n## {group.capitalize()}\n", "| work | tdsl | rate | PyTorch / tdsl | NumPy / tdsl | goal |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [_row(r) for r in results if r.work.group == group]
    if small:
        lines += ["\n## Starting, and small things\n", "| | |", "|---|---|"]
        lines += [f"| {name} | {value} |" for name, value in small.items()]
    lost = [r for r in results if "torch" in r.ratios and r.ratios["torch"][1] < r.work.reach.get("torch", 0)]
    lines += ["\n## Where the goal is not reached\n"]
    lines += [f"- {r.work.name}: {r.ratios['torch'][1]:.2f}, goal {r.work.reach['torch']:g}" for r in lost]
    return "\n".join(lines) + ("\n" if lost else "Nowhere.\n")


def _row(r: Result) -> str:
    rate = f"{r.work.flops / r.seconds['tdsl'] / 1e9:.0f} GFLOP/s" if r.work.flops else ""
    rate = rate or (f"{r.work.nbytes / r.seconds['tdsl'] / 1e9:.1f} GB/s" if r.work.nbytes else "")

    def ratio(name: str) -> str:
        return "{1:.2f} ({0:.2f}-{2:.2f})".format(*r.ratios[name]) if name in r.ratios else ""

    goal = f"{r.work.reach['torch']:g}" if "torch" in r.work.reach else ""
    return (
        f"| {r.work.name} | {1e3 * r.seconds['tdsl']:.3f} ms | {rate} | {ratio('torch')} | {ratio('numpy')} | {goal} |"
    )


def _plot(results: Sequence[Result], file: str) -> None:
    """A bar for each work: PyTorch's time over tdsl's, with its quartiles and the goal."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("the picture needs matplotlib: pip install matplotlib", file=sys.stderr)
        return
    shown = [r for r in results if "torch" in r.ratios][::-1]
    figure, axes = pyplot.subplots(figsize=(10, 0.3 * len(shown) + 1))
    middles = [r.ratios["torch"][1] for r in shown]
    errors: Any = [[m - r.ratios["torch"][0] for m, r in zip(middles, shown, strict=True)],
                   [r.ratios["torch"][2] - m for m, r in zip(middles, shown, strict=True)]]  # fmt: skip
    axes.barh([r.work.name for r in shown], middles, xerr=errors, color="#4878a8")
    axes.plot([r.work.reach.get("torch", 1) for r in shown], range(len(shown)), "k|", markersize=9, label="goal")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("PyTorch's time / tdsl's")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file)


__all__ = ["Work", "main"]

if __name__ == "__main__":
    sys.exit(main())

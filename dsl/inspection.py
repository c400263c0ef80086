"""Reading what the compiler does: the text of every stage of a program.

graph     what was recorded, as SSA           (`after`: a graph pass)
grad      the same with all graph passes: forward and backward, as they are compiled
kernels   index notation, one statement a line
loops     MLIR, as lowered and shared out      (`after`: "lower", a loop pass, or "all")
llvm      LLVM IR
asm       assembly of this machine
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tdsl.compiler import generalize, graph_text, kernel_text, loops_text, pipeline
from tdsl.compiler.graph import Value
from tdsl.compiler.program import KernelStep, Program
from tdsl.compiler.source import ValueError
from tdsl.runtime import dispatch, jit
from tdsl.tensor import Tensor

LOOPS_SHOWN = "parallel"  # what a person reads, and other tools' MLIR accepts; vectors and expanded maths come after
STAGES = ("graph", "grad", "kernels", "loops", "llvm", "asm")


@dataclass(frozen=True, eq=False, slots=True)
class Inspected:
    """A program that was compiled or run."""

    program: Program

    def text(self, stage: str, after: str | None = None) -> str:
        """The program at `stage`, one of STAGES; `after` names the last pass to apply (graph and loops)."""
        if stage == "graph":
            recorded = self.program.recorded
            return graph_text.show(recorded if after is None else pipeline.improve(recorded, after))
        if stage == "grad":
            return graph_text.show(self.program.graph)
        if stage not in STAGES:
            raise ValueError(f"no stage named {stage!r}", hint=f"the stages are {', '.join(STAGES)}")
        return "\n".join(dict.fromkeys(_step_text(s, stage, after) for s in self.program.steps if _is_kernel(s)))


def _is_kernel(step: object) -> bool:
    return isinstance(step, KernelStep)


def _step_text(step: object, stage: str, after: str | None) -> str:
    assert isinstance(step, KernelStep)
    if stage == "kernels":
        return kernel_text.show(step.kernel, dict(step.hints))
    target = jit.host_target()
    if stage == "loops":
        upto = LOOPS_SHOWN if after is None else None if after == "all" else after
        return loops_text.show(pipeline.lower(step.kernel, target, upto))
    module = pipeline.lower(step.kernel, target)
    ir = pipeline.emit(module, target)
    return ir if stage == "llvm" else jit.assembly(ir, target)


@contextmanager
def collect() -> Iterator[list[Inspected]]:
    """The different programs that run inside the `with` block, in order of their first run."""
    found: list[Inspected] = []
    seen: set[int] = set()

    def observe(program: Program) -> None:
        if id(program) not in seen:
            seen.add(id(program))
            found.append(Inspected(program))

    dispatch.observers.append(observe)
    try:
        yield found
    finally:
        dispatch.observers.remove(observe)


def program_of(values: Sequence[Value]) -> Inspected:
    """The program that would compute these values now; nothing is run."""
    pending = [v for v in values if v.data is None]
    if not pending:
        raise ValueError("these tensors are known already", hint="ask before their values are needed")
    order, place, _ = dispatch.linearize(pending)
    outputs = [place[v] for v in pending]
    _, sizes = generalize.describe(order, outputs)
    return Inspected(pipeline.compile_graph(generalize.build(order, outputs, sizes)))


def ir(*tensors: Tensor, stage: str = "kernels", after: str | None = None) -> str:
    """The program that would compute these tensors now, as text of a stage, one of STAGES; nothing is run.

    `after` names the last pass to apply (graph and loops). ValueError where every tensor's elements are known.

    >>> import tdsl
    >>> x = tdsl.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> print(tdsl.ir((x.exp() - x).sum(1)))
    kernel k0(a0: f32[2,2]) -> (y):
      y[i] := sum[j] (exp(a0[i, j]) - a0[i, j])
    <BLANKLINE>
    """
    return program_of([t.value for t in tensors]).text(stage, after)


def explain_compiles(limit: int = 100) -> str:
    """Why programs were compiled, a line for each graph that no plan stood ready for, the latest `limit` of them.

    A graph is compiled for the sizes it has, and with run-time sizes when it comes with others; kernels are found in
    this process, then on disk, and compiled where they are in neither.

    >>> import tdsl
    >>> for n in (3, 4, 5):
    ...     _ = (tdsl.tensor(range(n)) * 2 + 1).prod().item()
    >>> for line in tdsl.explain_compiles(3).splitlines():
    ...     print(line.split(": ", 1)[1].split(";")[0])
    not seen before
    seen before with other sizes (3 -> 4)
    seen before
    """
    found = list(dispatch.compilations)[-limit:]
    return "\n".join(map(str, found)) or "nothing was compiled"

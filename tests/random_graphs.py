"""Random programs over the operators, made from a seed and written once for tdsl and PyTorch alike.

`Program.random(seed)` is a list of steps, each a line of Python over the tensors made before it. Where every value is
a multiple of a power of two and small enough, results are exact: those tensors may be compared, rounded and sorted,
and must agree bit for bit. The others agree to rounding.

`python tests/random_graphs.py FIRST COUNT` runs programs and prints those on which two ways disagree.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

import tdsl
from tdsl.compiler import pipeline
from tdsl.compiler.loop_passes.expand_math import expand_math
from tdsl.runtime import dispatch
from tdsl.runtime.interpreter import interpret

SIZES = (0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33)
LARGEST = 6000  # elements of a tensor
EXACT = 2.0**22  # steps of the smallest difference that a float32 sum may hold with some to spare
FLOATS = ("float32", "float64")
INTEGERS = ("int64", "int32", "uint8")


@dataclass(frozen=True)
class Kind:
    """What is known of a tensor: `quantum` divides every element, 0 when elements are rounded; none exceeds `bound`."""

    shape: tuple[int, ...]
    dtype: str
    quantum: float
    bound: float

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    @property
    def is_exact(self) -> bool:
        return self.quantum > 0 and self.bound / self.quantum < EXACT


@dataclass(frozen=True)
class Step:
    """`line` makes tensor number `place` from those before it: `x[3].relu()`."""

    line: str
    kind: Kind


@dataclass
class Program:
    seed: int
    inputs: list[Kind]
    strided: list[bool]
    steps: list[Step] = field(default_factory=list)

    @classmethod
    def random(cls, seed: int, length: int = 9) -> Program:
        return _Writer(seed).write(length)

    def text(self) -> str:
        lines = [f"# seed {self.seed}"]
        for k, (kind, strided) in enumerate(zip(self.inputs, self.strided, strict=True)):
            lines.append(f"x[{k}] = {kind.dtype}{list(kind.shape)}{' strided' if strided else ''}")
        first = len(self.inputs)
        lines += [f"x[{first + k}] = {s.line}  # {s.kind.dtype}{list(s.kind.shape)}" for k, s in enumerate(self.steps)]
        return "\n".join(lines)

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        rng = np.random.default_rng(self.seed)
        return [_array(rng, kind) for kind in self.inputs]

    def run(self, lib: Any, strided: bool = True) -> tuple[list[Any], list[Any]]:
        """All tensors of the program, and its leaves."""
        leaves: list[Any] = []
        x: list[Any] = []
        for array, is_strided in zip(self.arrays(), self.strided, strict=True):
            floating = array.dtype.kind == "f"
            if strided and is_strided and array.ndim:
                spread = np.zeros((*array.shape[1:], 2 * array.shape[0]), array.dtype)
                spread[..., ::2] = np.moveaxis(array, 0, -1)
                leaf = lib.tensor(spread).requires_grad_(floating)
                x.append(leaf[..., ::2].movedim(-1, 0))
            else:
                leaf = lib.tensor(array).requires_grad_(floating)
                x.append(leaf)
            leaves.append(leaf)
        for step in self.steps:
            x.append(eval(step.line, {"x": x, "lib": lib, "_with": _with}))  # noqa: S307  our own line
        return x, leaves

    def gradients(self, x: list[Any], leaves: list[Any], lib: Any) -> list[Any]:
        """Of the sum of all that was made, each tensor weighted by its number."""
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        parts = [t.to(lib.float64).sum() / (k + 1) for k, t in enumerate(x) if t.requires_grad]
        if not wanted or not parts:
            return []
        total = parts[0]
        for p in parts[1:]:
            total = total + p
        found = lib.autograd.grad(total, wanted, allow_unused=True)
        return [lib.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]


def _array(rng: np.random.Generator, kind: Kind) -> np.ndarray[Any, Any]:
    if kind.dtype == "bool":
        return rng.integers(0, 2, kind.shape).astype(bool)
    if kind.is_float:
        return (rng.integers(-8, 9, kind.shape) / 4).astype(kind.dtype)
    return rng.integers(0 if kind.dtype == "uint8" else -6, 7, kind.shape).astype(kind.dtype)


class _Writer:
    """Writes a program: tries operators at random until one fits a tensor at random."""

    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, random.Random(seed)
        self.kinds: list[Kind] = []

    def write(self, length: int) -> Program:
        rng = self.rng
        shape = tuple(rng.choice(SIZES) for _ in range(rng.randrange(4)))
        for _ in range(rng.randrange(2, 5)):
            self.kinds.append(self._input(shape))
        count = len(self.kinds)
        program = Program(self.seed, list(self.kinds), [rng.random() < 0.4 for _ in range(count)])
        while len(program.steps) < length:
            k = rng.randrange(len(self.kinds)) if rng.random() < 0.4 else len(self.kinds) - 1 - rng.randrange(2)
            step = getattr(self, rng.choice(OPERATORS))(k, self.kinds[k])
            if step is None or prod(step.kind.shape) > LARGEST or step.kind.bound > 1e5:
                continue
            program.steps.append(step)
            self.kinds.append(step.kind)
        return program

    def _input(self, shape: tuple[int, ...]) -> Kind:
        """Of the common shape, or one that broadcasts with it."""
        rng = self.rng
        if rng.random() < 0.4:
            shape = tuple(n if rng.random() < 0.6 else 1 for n in shape)[rng.randrange(len(shape) + 1) :]
        dtype = rng.choice(("float32",) * 6 + ("float64",) * 2 + INTEGERS + ("bool",))
        return Kind(shape, dtype, 0.25 if dtype in FLOATS else 1.0, {"bool": 1.0}.get(dtype, 6.0))

    # ---- elementwise

    def unary(self, k: int, a: Kind) -> Step | None:
        if a.dtype == "bool":
            return Step(f"~x[{k}]", a)
        if a.dtype == "uint8":
            return Step(f"x[{k}].bitwise_not() // 2", Kind(a.shape, a.dtype, 1.0, 255.0))
        return Step(f"x[{k}].{self.rng.choice(('neg()', 'abs()', 'relu()', 'square().sqrt()'))}", a) if (
            a.is_float and a.is_exact and a.bound < 512
        ) else Step(f"x[{k}].{self.rng.choice(('neg()', 'abs()', 'relu()'))}", a)  # fmt: skip

    def smooth(self, k: int, a: Kind) -> Step | None:
        """Functions that round."""
        if not a.is_float:
            return None
        line, bound = self.rng.choice(
            (
                ("x[{k}].tanh()", 1.0),
                ("x[{k}].sigmoid()", 1.0),
                ("x[{k}].clamp(-3, 3).exp()", 21.0),
                ("x[{k}].sin()", 1.0),
                ("(x[{k}].abs() + 1).log()", 12.0),
                ("(x[{k}].abs() + 1).rsqrt()", 1.0),
                ("lib.nn.functional.gelu(x[{k}])", a.bound + 1),
                ("lib.nn.functional.softplus(x[{k}])", a.bound + 1),
                ("x[{k}] / (1 + x[{k}] * x[{k}])", 1.0),
                ("x[{k}].erf()", 1.0),
                ("x[{k}].atan()", 2.0),
            )
        )
        return Step(line.format(k=k), Kind(a.shape, a.dtype, 0.0, bound))

    def steps_of(self, k: int, a: Kind) -> Step | None:
        """Functions with jumps, of exact values alone."""
        if not a.is_float or not a.is_exact:
            return None
        name = self.rng.choice(("floor", "ceil", "round", "trunc", "sign"))
        return Step(f"x[{k}].{name}()", Kind(a.shape, a.dtype, min(1.0, a.quantum) if a.quantum else 1.0, a.bound + 1))

    def _other(self, k: int) -> int | None:
        """A tensor that broadcasts with this one."""
        fits = [j for j, b in enumerate(self.kinds) if _broadcast(self.kinds[k].shape, b.shape) is not None]
        return self.rng.choice(fits) if fits else None

    def binary(self, k: int, a: Kind) -> Step | None:
        j = self._other(k)
        if j is None:
            return None
        b = self.kinds[j]
        op = self.rng.choice("+-*")
        dtype = _promoted(a, b)
        if dtype in ("bool", "uint8") or "bool" in (a.dtype, b.dtype) and op == "-":
            return None
        exact = bool(a.quantum and b.quantum)
        quantum = (a.quantum * b.quantum if op == "*" else min(a.quantum, b.quantum)) if exact else 0.0
        bound = a.bound * b.bound if op == "*" else a.bound + b.bound
        return self._exact(f"x[{k}] {op} x[{j}]", Kind(_broadcast(a.shape, b.shape) or (), dtype, quantum, bound))

    def _exact(self, line: str, kind: Kind) -> Step:
        if kind.is_float and not kind.is_exact:
            kind = Kind(kind.shape, kind.dtype, 0.0, kind.bound)
        return Step(line, kind)

    def scalar(self, k: int, a: Kind) -> Step | None:
        if a.dtype in ("bool", "uint8"):
            return None
        number = self.rng.choice((2, -1, 3) if not a.is_float else (0.5, -2, 1.5, 3))
        op = self.rng.choice("+*")
        bound = a.bound * abs(number) if op == "*" else a.bound + abs(number)
        quantum = (a.quantum * 0.5 if op == "*" and a.is_float else min(a.quantum, 0.5)) if a.quantum else 0.0
        return self._exact(f"x[{k}] {op} {number}", Kind(a.shape, a.dtype, quantum if a.is_float else 1.0, bound))

    def compared(self, k: int, a: Kind) -> Step | None:
        j = self._other(k)
        if j is None or not (a.is_exact and self.kinds[j].is_exact):
            return None
        op = self.rng.choice(("<", "<=", "==", "!=", ">", ">="))
        return Step(f"x[{k}] {op} x[{j}]", Kind(_broadcast(a.shape, self.kinds[j].shape) or (), "bool", 1.0, 1.0))

    def extreme(self, k: int, a: Kind) -> Step | None:
        j = self._other(k)
        if j is None or not (a.is_exact and self.kinds[j].is_exact):
            return None
        b = self.kinds[j]
        kind = Kind(
            _broadcast(a.shape, b.shape) or (), _promoted(a, b), min(a.quantum, b.quantum), max(a.bound, b.bound)
        )
        return Step(f"lib.{self.rng.choice(('maximum', 'minimum'))}(x[{k}], x[{j}])", kind)

    def chosen(self, k: int, a: Kind) -> Step | None:
        masks = [m for m, b in enumerate(self.kinds) if b.dtype == "bool" and _broadcast(a.shape, b.shape) is not None]
        if not masks:
            return None
        m = self.rng.choice(masks)
        shape = _broadcast(a.shape, self.kinds[m].shape) or ()
        if self.rng.random() < 0.5:
            return Step(f"lib.where(x[{m}], x[{k}], lib.zeros_like(x[{k}]))", Kind(shape, a.dtype, a.quantum, a.bound))
        if shape != a.shape or a.dtype in ("bool", "uint8"):
            return None
        return Step(f"x[{k}].masked_fill(x[{m}], 2)", Kind(shape, a.dtype, a.quantum, max(a.bound, 2.0)))

    def cast(self, k: int, a: Kind) -> Step | None:
        if a.is_float or a.dtype == "uint8":
            return None
        dtype = self.rng.choice(FLOATS)
        return Step(f"x[{k}].to(lib.{dtype})", Kind(a.shape, dtype, 1.0, a.bound))

    # ---- reductions and scans

    def _dim(self, a: Kind) -> int | None:
        return self.rng.randrange(len(a.shape)) if a.shape else None

    def reduced(self, k: int, a: Kind) -> Step | None:
        d = self._dim(a)
        if d is None or a.dtype == "bool":
            return None
        keep = self.rng.random() < 0.4
        shape = (*a.shape[:d], *((1,) if keep else ()), *a.shape[d + 1 :])
        dtype = a.dtype if a.is_float else "int64"
        n = max(a.shape[d], 1)
        names = ["sum"]
        if a.shape[d] and a.is_exact:
            names += ["amax", "amin"]
        if a.is_float and a.shape[d]:
            names += ["mean", "logsumexp"]
        name = self.rng.choice(names)
        line = f"x[{k}].{name}({d}, keepdim={keep})"
        if name == "sum":
            return self._exact(line, Kind(shape, dtype, a.quantum, a.bound * n))
        if name in ("amax", "amin"):
            return Step(line, Kind(shape, a.dtype, a.quantum, a.bound))
        return Step(line, Kind(shape, a.dtype, 0.0, a.bound + 8))

    def scanned(self, k: int, a: Kind) -> Step | None:
        d = self._dim(a)
        if d is None or a.dtype in ("bool", "uint8", "int32") or a.bound * max(a.shape[d], 1) > 1e4:
            return None
        return self._exact(f"x[{k}].cumsum({d})", Kind(a.shape, a.dtype, a.quantum, a.bound * max(a.shape[d], 1)))

    def rows(self, k: int, a: Kind) -> Step | None:
        d = self._dim(a)
        if d is None or not a.is_float:
            return None
        name = self.rng.choice(("softmax", "log_softmax"))
        return Step(f"x[{k}].{name}({d})", Kind(a.shape, a.dtype, 0.0, 1.0 if name == "softmax" else 2 * a.bound + 8))

    def positions(self, k: int, a: Kind) -> Step | None:
        d = self._dim(a)
        if d is None or not a.is_exact or not a.shape[d] or a.dtype == "bool":
            return None
        shape = (*a.shape[:d], *a.shape[d + 1 :])
        if self.rng.random() < 0.5:
            return Step(f"x[{k}].argmax({d})", Kind(shape, "int64", 1.0, float(a.shape[d])))
        return Step(f"x[{k}].sort(stable=True, dim={d}).values", a)

    # ---- products

    def product(self, k: int, a: Kind) -> Step | None:
        if not a.is_float or len(a.shape) < 2:
            return None
        n = a.shape[-1]
        bound = a.bound * a.bound * max(a.shape[-1], a.shape[-2], 1)
        quantum = a.quantum * a.quantum
        if self.rng.random() < 0.5:
            kind = Kind((*a.shape[:-1], a.shape[-2]), a.dtype, quantum, bound)
            return self._exact(f"x[{k}] @ x[{k}].transpose(-1, -2)", kind)
        kind = Kind((*a.shape[:-2], n, n), a.dtype, quantum, bound)
        return self._exact(f"x[{k}].transpose(-1, -2) @ x[{k}]", kind)

    # ---- views, joins, gathers

    def viewed(self, k: int, a: Kind) -> Step | None:
        rng, shape = self.rng, a.shape
        if not shape:
            return Step(f"x[{k}].expand(3)", Kind((3,), a.dtype, a.quantum, a.bound))
        d = rng.randrange(len(shape))
        n = shape[d]
        which = rng.randrange(7)
        if which == 0:
            order = list(range(len(shape)))
            rng.shuffle(order)
            return Step(f"x[{k}].permute({order})", Kind(tuple(shape[o] for o in order), a.dtype, a.quantum, a.bound))
        if which == 1:
            return Step(f"x[{k}].reshape(-1)" if prod(shape) else f"x[{k}].flatten()",
                        Kind((prod(shape),), a.dtype, a.quantum, a.bound))  # fmt: skip
        if which == 2:
            return Step(f"x[{k}].unsqueeze({d})", Kind((*shape[:d], 1, *shape[d:]), a.dtype, a.quantum, a.bound))
        if which == 3:
            return Step(f"x[{k}].flip({d})", a)
        if which == 4:
            return Step(f"x[{k}].roll({rng.randrange(-3, 4)}, {d})", a)
        if which == 5 and n:
            start, step = rng.randrange(n), rng.randrange(1, 3)
            at = ", ".join([":"] * d + [f"{start}::{step}"])
            kind = Kind((*shape[:d], -(-(n - start) // step), *shape[d + 1 :]), a.dtype, a.quantum, a.bound)
            return Step(f"x[{k}][{at}]", kind)
        if which == 6 and n:
            kind = Kind((*shape[:d], *shape[d + 1 :]), a.dtype, a.quantum, a.bound)
            return Step(f"x[{k}].select({d}, {rng.randrange(-n, n)})", kind)
        return None

    def joined(self, k: int, a: Kind) -> Step | None:
        same = [j for j, b in enumerate(self.kinds) if b.shape == a.shape and b.dtype == a.dtype]
        j = self.rng.choice(same)
        b = self.kinds[j]
        quantum, bound = min(a.quantum, b.quantum), max(a.bound, b.bound)
        if not a.shape or self.rng.random() < 0.4:
            d = self.rng.randrange(len(a.shape) + 1)
            return Step(
                f"lib.stack([x[{k}], x[{j}]], {d})", Kind((*a.shape[:d], 2, *a.shape[d:]), a.dtype, quantum, bound)
            )
        d = self.rng.randrange(len(a.shape))
        kind = Kind((*a.shape[:d], 2 * a.shape[d], *a.shape[d + 1 :]), a.dtype, quantum, bound)
        return Step(f"lib.cat([x[{k}], x[{j}]], {d})", kind)

    def padded(self, k: int, a: Kind) -> Step | None:
        if not a.shape or a.dtype == "bool":
            return None
        kind = Kind((*a.shape[:-1], a.shape[-1] + 3), a.dtype, a.quantum, a.bound)
        return Step(f"lib.nn.functional.pad(x[{k}], (1, 2))", kind)

    def gathered(self, k: int, a: Kind) -> Step | None:
        d = self._dim(a)
        if d is None or not a.shape[d]:
            return None
        at = [self.rng.randrange(a.shape[d]) for _ in range(self.rng.randrange(1, 6))]
        kind = Kind((*a.shape[:d], len(at), *a.shape[d + 1 :]), a.dtype, a.quantum, a.bound)
        return Step(f"x[{k}].index_select({d}, lib.tensor({at}))", kind)

    def scattered(self, k: int, a: Kind) -> Step | None:
        if not a.shape or a.dtype in ("bool", "uint8") or a.shape[0] < 1:
            return None
        at = [self.rng.randrange(3) for _ in range(a.shape[0])]
        kind = Kind((3, *a.shape[1:]), a.dtype, a.quantum, a.bound * a.shape[0])
        line = f"lib.zeros({kind.shape}, dtype=x[{k}].dtype).index_add(0, lib.tensor({at}), x[{k}])"
        return self._exact(line, kind)

    # ---- changes in place

    def changed(self, k: int, a: Kind) -> Step | None:
        """A clone changed through a view, or a view of a view."""
        if not a.shape or a.dtype in ("bool", "uint8") or not a.shape[-1]:
            return None
        half = a.quantum * 0.5 if a.is_float else a.quantum
        i, n = self.rng.randrange(a.shape[-1]), a.shape[-1]
        line, quantum, bound = self.rng.choice(
            (
                (f"_with(x[{k}].clone(), lambda t: t[..., {i}:].mul_(2))", half, 2 * a.bound),
                (f"_with(x[{k}].clone(), lambda t: t.select(-1, {i}).zero_())", a.quantum, a.bound),
                (
                    f"_with(x[{k}].clone(), lambda t: t.unsqueeze(0)[..., ::2].add_(1))",
                    min(a.quantum, 1.0),
                    a.bound + 1,
                ),
                (f"_with(x[{k}].clone(), lambda t: t.transpose(0, -1).neg_())", a.quantum, a.bound),
                (
                    f"_with(x[{k}].clone(), lambda t: t[..., {n - 1 - i}].copy_(x[{k}].select(-1, {i})))",
                    a.quantum,
                    a.bound,
                ),
            )
        )
        return self._exact(line, Kind(a.shape, a.dtype, quantum, bound))


OPERATORS = (
    "unary", "smooth", "smooth", "steps_of", "binary", "binary", "binary", "scalar", "compared", "extreme", "chosen",
    "cast", "reduced", "reduced", "scanned", "rows", "positions", "product", "viewed", "viewed", "viewed", "joined",
    "padded", "gathered", "scattered", "changed", "changed",
)  # fmt: skip


def _with(tensor: Any, change: Any) -> Any:
    change(tensor)
    return tensor


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        return None


def _promoted(a: Kind, b: Kind) -> str:
    made = tdsl.result_type(
        tdsl.empty(a.shape, dtype=getattr(tdsl, a.dtype)), tdsl.empty(b.shape, dtype=getattr(tdsl, b.dtype))
    )
    return str(made).removeprefix("tdsl.")


# ------------------------------------------------------------------------------------------ the ways to run one


@contextmanager
def passes_off() -> Iterator[None]:
    """Graphs as recorded, loops as lowered; nothing compiled before or after is used."""
    graph, loop = pipeline.GRAPH_PASSES, pipeline.LOOP_PASSES
    dispatch.clear_cache()
    pipeline.GRAPH_PASSES, pipeline.LOOP_PASSES = (), (expand_math,)
    try:
        yield
    finally:
        pipeline.GRAPH_PASSES, pipeline.LOOP_PASSES = graph, loop
        dispatch.clear_cache()


def computed(program: Program, strided: bool = True) -> list[np.ndarray[Any, Any]]:
    """All tensors and all gradients, compiled."""
    x, leaves = program.run(tdsl, strided)
    gradients = program.gradients(x, leaves, tdsl)
    return [t.detach().numpy().copy() for t in (*x, *gradients)]


def interpreted(program: Program) -> list[np.ndarray[Any, Any]]:
    """The same op by op in NumPy, with no compiler."""
    x, leaves = program.run(tdsl)
    tensors = [*x, *program.gradients(x, leaves, tdsl)]
    return interpret([t.value for t in tensors])


def peer(program: Program, lib: Any) -> list[np.ndarray[Any, Any]]:
    """The same in PyTorch."""
    x, leaves = program.run(lib)
    return [t.detach().numpy() for t in (*x, *program.gradients(x, leaves, lib))]


def differences(program: Program, have: list[Any], want: list[Any], way: str) -> list[str]:
    """Bit for bit where values are exact, else to rounding."""
    kinds = [*program.inputs, *(s.kind for s in program.steps)]
    found = []
    for k, (p, q) in enumerate(zip(have, want, strict=True)):
        name = f"x[{k}]" if k < len(kinds) else f"gradient {k - len(kinds)}"
        if p.shape != q.shape or p.dtype != q.dtype:
            found.append(f"{way}: {name} is {p.dtype}{list(p.shape)}, not {q.dtype}{list(q.shape)}")
            continue
        exact = p.dtype.kind != "f" or k < len(kinds) and kinds[k].is_exact
        scale = float(np.max(np.abs(q), initial=1.0, where=np.isfinite(q))) if p.dtype.kind == "f" else 1.0
        tolerance = 0.0 if exact else 3e-4 * scale
        if not np.allclose(p.astype(float), q.astype(float), rtol=0.0, atol=tolerance, equal_nan=True):
            wrong = np.flatnonzero(
                ~np.isclose(p.astype(float), q.astype(float), rtol=0.0, atol=tolerance, equal_nan=True)
            )
            at = wrong[0]
            found.append(
                f"{way}: {name} at {at} is {p.reshape(-1)[at]!r}, not {q.reshape(-1)[at]!r} ({len(wrong)} differ)"
            )
    return found


def judge(seed: int, everything: bool = False, lib: Any = None) -> list[str]:
    """What differs between the ways to run the program of this seed; nothing, it is hoped."""
    program = Program.random(seed)
    want = interpreted(program)
    have = computed(program)
    found = differences(program, have, want, "compiled")
    if lib is not None:
        found += differences(program, want, peer(program, lib), "against PyTorch")
    if everything:
        threads = tdsl.get_num_threads()
        tdsl.set_num_threads(1 if threads > 1 else 2)
        try:
            again = computed(program)
        finally:
            tdsl.set_num_threads(threads)
        same = all(p.tobytes() == q.tobytes() for p, q in zip(have, again, strict=True))
        found += [] if same else ["another number of threads gives other bits"]
        count = len(program.inputs) + len(program.steps)
        found += differences(program, computed(program, strided=False)[:count], want[:count], "contiguous")
        with passes_off():
            found += differences(program, computed(program), want, "passes off")
    return [f"{line}\n{program.text()}" for line in found]


if __name__ == "__main__":
    try:
        import torch
    except ImportError:
        torch = None  # type: ignore[assignment]
    first, count = (int(a) for a in sys.argv[1:3])
    for seed in range(first, first + count):
        try:
            for line in judge(seed, True, torch):
                print(line, flush=True)
        except Exception as e:
            print(f"{type(e).__name__}: {e}\n{Program.random(seed).text()}", flush=True)

"""Index notation against its reference semantics (`indexref.py`): values, gradients and refusals.

Every kernel of the samples, and statements of these tests' own, are evaluated both ways in double precision.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import indexref
import numpy as np
import pytest

import tdsl
from tdsl.compiler.source import TdslError
from tdsl.lang import ast
from tdsl.lang.modules import ScriptModule, Session
from tdsl.lang.parse import parse_source

SAMPLES = Path(__file__).parent / "samples"
DRAW = np.random.default_rng(20)


def real(*shape: int) -> Any:
    return DRAW.standard_normal(shape)


def whole(high: int, *shape: int) -> Any:
    return DRAW.integers(0, high, shape)


# ------------------------------------------------------------------------------- the kernels of the samples

# function: its arguments, and what its statements read besides (sizes, what was made before)
KERNELS: dict[str, dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "05_convnet": {
        "conv_same": (
            dict(x=real(2, 3, 5, 4), w=real(2, 3, 3, 2), b=real(2)),
            dict(H=5, W=4, R=3, S=2),
        ),
        "maxpool2": (dict(x=real(2, 2, 5, 4)), {}),
    },
    "07_index_notation": {
        "matmul": (dict(A=real(4, 3), B=real(3, 5)), {}),
        "pairwise_l1": (dict(x=real(4, 3), y=real(5, 3)), {}),
        "layer_norm": (dict(x=real(4, 6), g=real(6), b=real(6), eps=1e-5), {}),
        "softmax_rows": (dict(x=real(3, 7)), {}),
        "attention": (dict(q=real(2, 2, 5, 3), k=real(2, 2, 5, 3), v=real(2, 2, 5, 3)), dict(D=3)),
        "conv2d_valid": (dict(x=real(2, 2, 6, 5), w=real(3, 2, 3, 2)), {}),
        "conv2d_same": (dict(x=real(2, 2, 5, 4), w=real(3, 2, 3, 2)), dict(H=5, W=4, R=3, S=2)),
        "downsample": (dict(x=real(9)), {}),
        "circular_shift": (dict(x=real(7), by=3), dict(N=7)),
        "pixel_shuffle2": (dict(x=real(2, 8, 3, 2)), {}),
        "embed": (dict(table=real(6, 3), ids=whole(6, 2, 4)), {}),
        "nll": (dict(logp=real(5, 4), y=whole(4, 5)), {}),
        "causal_mask": (dict(T=4), {}),
    },
    "08_scan_scatter": {
        "linear_scan": (dict(a=real(6, 3), x=real(6, 3), h0=real(3)), {}),
        "cumulative_max": (dict(x=real(8)), {}),
        "returns": (dict(r=real(7), gamma=0.9), {}),
        "lstm": (dict(x=real(4, 2, 3), wx=real(12, 3), wh=real(12, 3), b=real(12)), dict(H=3)),
        "histogram": (dict(x=DRAW.uniform(-0.2, 1.2, 12), lo=0.0, hi=1.0, bins=4), dict(h=np.zeros(4))),
        "segment_max": (dict(x=real(9), seg=whole(3, 9), segments=3), dict(m=np.full(3, -np.inf))),
        "message_pass": (
            dict(h=real(4, 3), src=whole(4, 7), dst=whole(4, 7), w=real(7)),
            dict(out=np.zeros((4, 3))),
        ),
    },
}


@cache
def sample(name: str) -> ScriptModule:
    """The functions of a sample."""
    return Session().load(SAMPLES / f"{name}.tdsl")


def statements(name: str, function: str) -> tuple[str, str]:
    """The index statements of a function, and the name of what it returns."""
    source = ast.Source(name, (SAMPLES / f"{name}.tdsl").read_text(encoding="utf-8"))
    body = next(s.body for s in parse_source(source).body if isinstance(s, ast.FuncDef) and s.name == function)
    lines: list[str] = []
    result = "result"
    for s in body:
        start = source.text.rindex("\n", 0, s.at[0]) + 1
        if isinstance(s, (ast.IndexDef, ast.Scan, ast.Scatter)):
            lines.append(textwrap.dedent(source.text[start : s.at[1]]))
        elif isinstance(s, ast.Return) and isinstance(s.value, ast.Name):
            result = s.value.id
        elif isinstance(s, ast.Return) and s.value is not None:
            lines.append(f"result[_] := {source.text[s.value.at[0] : s.value.at[1]]}")
    return "\n".join(line.rstrip() for line in lines) + "\n", result


def judged(run: Callable[..., Any], values: dict[str, Any], source: str, env: dict[str, Any], result: str) -> None:
    """Both give the same values and, for a random weighing of them, the same gradients."""
    with np.errstate(all="ignore"):
        want = np.asarray(indexref.run(source, env)[result])
    wrt = [n for n, v in values.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"]
    given = {n: tdsl.tensor(v) if isinstance(v, np.ndarray) else v for n, v in values.items()}
    for name in wrt:
        given[name].requires_grad_()
    found = run(**given)
    want = want.reshape(tuple(found.shape))
    np.testing.assert_allclose(found.detach().numpy(), want, rtol=1e-10, atol=1e-12)
    if want.dtype.kind != "f" or not found.requires_grad:
        return
    seed = np.where(np.isfinite(want), DRAW.standard_normal(want.shape), 0.0)
    with np.errstate(all="ignore"):
        shape = np.shape(indexref.run(source, env)[result])
        back = indexref.grad(source, env, result, wrt, seed.reshape(shape))
    (found * tdsl.tensor(seed))[tdsl.isfinite(found)].sum().backward()
    for name in wrt:
        mine = given[name].grad
        mine = np.zeros_like(values[name]) if mine is None else mine.numpy()
        np.testing.assert_allclose(mine, back[name], rtol=1e-9, atol=1e-11, err_msg=f"the gradient of {name}")


@pytest.mark.parametrize(("name", "function"), [(n, f) for n, found in KERNELS.items() for f in found])
def test_kernel_of_a_sample(name: str, function: str) -> None:
    values, more = KERNELS[name][function]
    source, result = statements(name, function)
    judged(getattr(sample(name), function), values, source, {**values, **more}, result)


def test_no_kernel_is_left_out() -> None:
    """Each function of a sample that is made of index statements is in the table."""
    for name, found in KERNELS.items():
        source = ast.Source(name, (SAMPLES / f"{name}.tdsl").read_text(encoding="utf-8"))
        kinds = (ast.IndexDef, ast.Scan, ast.Scatter, ast.Return, ast.Assert, ast.Assign)
        functions = {
            s.name for s in parse_source(source).body
            if isinstance(s, ast.FuncDef) and all(isinstance(x, kinds) for x in s.body)
        }  # fmt: skip
        assert functions == set(found)


# ---------------------------------------------------------------------------------------- more statements

X, Y, M = real(5), real(5), real(4, 3)
STATEMENTS: list[tuple[str, dict[str, Any]]] = [
    # reductions of each kind, several indices, guards, nesting
    ("y[i] := sum[j] M[i, j] * v[j] + w[i]", dict(M=M, v=real(3), w=real(4))),
    ("y[i] := prod[j] M[i, j]", dict(M=np.where(whole(3, 4, 3) == 0, 0.0, real(4, 3)))),
    ("y[i] := prod[j if j != i] M[i, j]", dict(M=M)),
    ("y[i] := max[j] M[i, j] - min[j] M[i, j]", dict(M=whole(3, 4, 3) * 1.0)),  # ties share
    ("y[_] := mean[i, j] M[i, j] ** 2", dict(M=M)),
    ("y[i] := logsumexp[j if j <= i] M[i, j]", dict(M=real(4, 4))),
    ("y[i] := mean[j if j > i] M[i, j]", dict(M=real(3, 3))),
    ("y[i] := sum[j if M[i, j] > 0.0] sqrt(M[i, j])", dict(M=M)),
    ("y[i] := argmax[j] M[i, j]", dict(M=M)),
    ("y[i] := any[j] (M[i, j] > 1.0)", dict(M=M)),
    ("y[i] := sum[j] (x[i] - max[k] M[j, k]) ** 2", dict(x=X, M=M)),
    # branches, elementwise functions, numbers
    ("y[i] := log(x[i]) if x[i] > 0.0 else x[i] * x[i]", dict(x=X)),
    ("y[i] := where(x[i] > 0.0, rsqrt(x[i]), exp(x[i]))", dict(x=X)),
    ("y[i] := tanh(x[i]) * sigmoid(z[i]) / (1.0 + abs(x[i])) - relu(z[i])", dict(x=X, z=Y)),
    ("y[i] := maximum(x[i], z[i]) * minimum(x[i], 0.5) + clamp(z[i], -0.5, 0.5)", dict(x=X, z=Y)),
    ("y[i] := i * x[i] + 2 ** i", dict(x=X)),
    ("y[i] := x[i] ** 3 + (x[i] * x[i] + 1.0) ** z[i]", dict(x=X, z=Y)),
    ("y[i] := -x[i] if not (x[i] > 0.0 and i % 2 == 0) else +x[i]", dict(x=X)),
    ("m[i in 0:4, j in 0:4] := i == j or i + 1 == j", {}),
    # subscripts
    ("y[i] := x[2 * i + 1] - x[2 * i]", dict(x=real(9))),
    ("y[i] := x[4 - i]", dict(x=X)),
    ("y[i] := x[i // 2]", dict(x=X)),
    ("y[i in 0:12] := x[(i + 3) % 5]", dict(x=X)),
    ("y[i in 0:5] := x[clamp(i - 2, 0, 4)]", dict(x=X)),
    ("y[i in 0:6] := x[i - 1 else 7.0]", dict(x=X)),
    ("y[i in 0:5] := x[i - 2 else z[i] * z[i]]", dict(x=X, z=Y)),
    ("y[i in 0:3, j in 0:5] := sum[r in 0:3] x[2 * i + r - 1 else 0.0] * z[j]", dict(x=X, z=Y)),
    ("y[i, j] := M[j, i] + M[j, 0]", dict(M=M)),
    ("y[i, _, j] := M[i, j]", dict(M=M)),
    ("y[i] := table[ids[i], 1] + table[0, ids[i] % 2]", dict(table=real(4, 3), ids=whole(4, 6))),
    ("y[i in 0:5] := sum[j in 0:2 if i + j < 5] x[i + j]", dict(x=X)),
    ("d[i] := M[i, i]", dict(M=real(3, 3))),
    # definitions that follow each other
    ("a[i] := sum[j] M[i, j]\nb[i, j] := M[i, j] / a[i]\nc[j] := max[i] b[i, j]", dict(M=np.abs(M) + 0.5)),
    ("x[i] := x[i] * x[4 - i]\nx[i] := x[i] + 1.0", dict(x=X)),
    # scans
    ("scan[t]: h[t] := 0.5 * h[t - 2 else 1.0] + x[t]", dict(x=X)),
    ("scan[t]: h[t, i] := tanh(x[t, i] + sum[j] U[i, j] * h[t - 1, j else h0[j]])",
     dict(x=real(5, 3), U=real(3, 3), h0=real(3))),
    ("scan[t]: h[b, t, d] := x[b, t, d] + 0.5 * h[b, t - 1, 2 - d else 0.1]", dict(x=real(2, 5, 3))),
    ("scan[t]: h[t, i] := x[t, i] + 0.3 * h[t - 1, p[t, i] else 0.0]", dict(x=real(4, 3), p=whole(3, 4, 3))),
    ("scan[t]:\n    a[t] := x[t] * b[t + 1 else 0.5]\n    b[t] := a[t] + z[t]", dict(x=X, z=Y)),
    ("scan[t]: h[t, i] := logsumexp[j] (h[t - 1, j else 0.0] + A[j, i]) + e[t, i]", dict(A=real(3, 3), e=real(6, 3))),
    ("scan[t in 0:6]: f[t] := f[t - 1 else 0.0] + f[t - 2 else x[0]]", dict(x=X)),
    ("scan[i]: d[i, j] := c[i, j] + min[k in 0:3 if abs(k - j) <= 1] d[i - 1, k else 0.0]", dict(c=real(5, 3))),
    # scatters
    ("scatter[n]: H[b[n]] += x[n] * z[n]", dict(H=real(3), b=whole(3, 5), x=X, z=Y)),
    ("scatter[i, j if i != j]: H[(i + j) % 3] += M[i, j]", dict(H=real(3), M=M)),
    ("scatter[n]: H[b[n]] max= x[n] * x[n]", dict(H=real(3), b=whole(3, 5), x=X)),
    ("scatter[n]: H[b[n]] min= x[n]",
     dict(H=np.zeros(3), b=np.array([0, 1, 1, 0, 2]), x=np.array([0.0, -1, -1, 0, 3]))),
    ("scatter[n if x[n] > 0.0]:\n    H[b[n]] += x[n]\n    K[b[n], 1] += 2.0 * H[b[n]]",
     dict(H=real(3), K=real(3, 2), b=whole(3, 5), x=X)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "env"), STATEMENTS, ids=[s.split("\n")[0] for s, _ in STATEMENTS])
def test_statement(source: str, env: dict[str, Any]) -> None:
    function = tdsl.index(source)
    assert set(function.names) <= set(env)
    judged(function, {n: env[n] for n in function.names}, source, env, function.result)


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("C[i, j] := sum[k] A[i, k] * B[k, j]", dict(A=real(3, 4), B=real(5, 2))),
    ("y[i] := x[i] + z[i]", dict(x=real(3), z=real(1))),
    ("y[i] := sum[k] x[i + k] / 3", dict(x=X)),
    ("y[i] := sum[j] x[i]", dict(x=X)),
    ("y[i] := x[i - 1 else 0.0]", dict(x=X)),
    ("d[i] := x[i - 1] * 2", dict(x=X)),
    ("d[i] := x[i + 7]", dict(x=X)),
    ("d[i in 0:7] := x[i]", dict(x=X)),
    ("d[i] := x[i, 0]", dict(x=X)),
    ("d[i] := x[i] + z", dict(x=X, z=Y)),
    ("d[i] := sum[i] x[i]", dict(x=X)),
    ("e[t] := table[ids[t]]", dict(table=real(3), ids=np.array([0, 3]))),
    ("scan[t]: h[t] := h[t] + x[t]", dict(x=X)),
    ("scan[t]: h[t] := h[t - 1 else 0.0] + h[t + 1 else 0.0] + x[t]", dict(x=X)),
    ("scan[t]: h[t] := h[2 * t else 0.0] + x[t]", dict(x=X)),
    ("scatter[n]: H[b[n]] += x[n]", dict(H=real(2), b=np.array([0, 1, 2, 0, 0]), x=X)),
]
CODES = {"E0403": "E0407"}  # the number of indices: the oracle's code, and the language's


@pytest.mark.parametrize(("source", "env"), REFUSED, ids=[s for s, _ in REFUSED])
def test_refused(source: str, env: dict[str, Any]) -> None:
    with pytest.raises(indexref.IndexError_) as want:
        indexref.run(source, env)
    with pytest.raises(TdslError) as found:
        tdsl.index(source)(**{n: tdsl.tensor(v) for n, v in env.items()}).numpy()
    assert found.value.code == CODES.get(want.value.code, want.value.code)

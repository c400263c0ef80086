"""Every op record: its kernel and its compiled form against its reference, its gradients against differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl.compiler.ops  # noqa: F401
from tdsl.compiler.autodiff import build, pull_back
from tdsl.compiler.dtype import by_numpy, f64
from tdsl.compiler.evaluate import evaluate
from tdsl.compiler.graph import OPS, Op, Type, Value, apply, input_value
from tdsl.compiler.kernel import verify
from tdsl.compiler.source import TdslError
from tdsl.runtime.buffer import Buffer
from tdsl.runtime.dispatch import realize

EXACT = {"rtol": 1e-12, "atol": 1e-12}
SINGLE = {"rtol": 3e-6, "atol": 1e-6}  # vector maths differ from NumPy's by a few units in the last place


def leaf(array: Any) -> Value:
    array = np.asarray(array)
    dtype = by_numpy(array.dtype)
    assert dtype is not None
    return input_value(Type(dtype, array.shape), Buffer(np.array(array).reshape(-1)))


def numpy_of(value: Value) -> Any:
    return value.data.view(value.shape)


CASES = [(op, k, args, attrs) for op in OPS.values() for k, (args, attrs) in enumerate(op.samples())]


def test_every_op_has_samples() -> None:
    # `constant` has no operands, `index` and `scan` take any kernel: they have tests of their own
    assert {op.name for op in OPS.values()} - {c[0].name for c in CASES} <= {"constant", "index", "scan"}


@pytest.mark.parametrize(("op", "k", "args", "attrs"), CASES, ids=lambda x: x.name if isinstance(x, Op) else "")
def test_forward(op: Op, k: int, args: Any, attrs: Any) -> None:
    values = [leaf(a) for a in args]
    result = apply(op, *values, **attrs)
    if op.reference is None:
        pytest.skip("its kernel is its only meaning")
    want = np.asarray(op.reference(*map(np.asarray, args), **attrs)).astype(result.dtype.numpy).reshape(result.shape)
    tolerance = EXACT if want.dtype != np.float32 else SINGLE
    if op.kernel is not None:
        kernel = op.kernel(tuple(v.type for v in values), result.type, attrs)
        verify(kernel)
        judged = evaluate(kernel, {f"a{i}": np.asarray(a) for i, a in enumerate(args)}, {})[kernel.outputs[0]]
        np.testing.assert_allclose(judged, want, rtol=2e-5, atol=1e-6)
    realize([result])
    np.testing.assert_allclose(numpy_of(result), want, **tolerance)


SMOOTH = [c for c in CASES if any(np.asarray(a).dtype == np.float64 for a in c[2]) and all(
    np.isfinite(np.asarray(a, float)).all() for a in c[2])]  # fmt: skip
KINKS = {
    "floordiv",
    "mod",
    "fmod",
    "floor",
    "ceil",
    "round",
    "trunc",
    "sign",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "isnan",
}


def weighted(op: Op, values: list[Value], attrs: Any) -> tuple[Value, Value]:
    """The op, and a weighted sum of its result, so that every element matters differently."""
    y = apply(op, *values, **attrs)
    n = int(np.prod(y.shape))
    weights = leaf(np.cos(np.arange(n, dtype=np.float64)).reshape(y.shape) + 1.5)
    product = apply("mul", y, weights)
    return y, apply("sum", product, dims=tuple(range(len(y.shape))), keepdim=False) if y.shape else product


def gradients(op: Op, values: list[Value], attrs: Any, needs: list[bool]) -> list[Value | None]:
    y = apply(op, *values, **attrs)
    n = int(np.prod(y.shape))
    seed = leaf(np.cos(np.arange(n, dtype=np.float64)).reshape(y.shape) + 1.5)
    return pull_back(y, seed, needs)


def differences(f: Any, x: Any, eps: float = 1e-6) -> Any:
    found = np.zeros(x.shape)
    for at in np.ndindex(*x.shape):
        ends = []
        for step in (eps, -eps):
            moved = np.array(x)
            moved[at] += step
            ends.append(f(moved))
        found[at] = (ends[0] - ends[1]) / (2 * eps)
    return found


@pytest.mark.parametrize(("op", "k", "args", "attrs"), SMOOTH, ids=lambda x: x.name if isinstance(x, Op) else "")
def test_gradient(op: Op, k: int, args: Any, attrs: Any) -> None:
    arrays = [np.asarray(a) for a in args]
    values = [leaf(a) for a in arrays]
    if apply(op, *values, **attrs).dtype is not f64 or op.name in KINKS or op.name == "detach":
        pytest.skip("no gradient")
    if op.name in ("amax", "amin", "max", "min", "prod") and len(np.unique(arrays[0])) != arrays[0].size:
        pytest.skip("ties have tests of their own")
    needs = [a.dtype == np.float64 for a in arrays]
    parts = gradients(op, values, attrs, needs)
    realize([p for p in parts if p is not None])

    for i, (array, part) in enumerate(zip(arrays, parts, strict=True)):
        if not needs[i] or part is None or array.size == 0:
            continue

        def loss(moved: Any, i: int = i) -> float:
            inputs = [leaf(moved if j == i else a) for j, a in enumerate(arrays)]
            total = weighted(op, inputs, attrs)[1]
            realize([total])
            return float(numpy_of(total))

        np.testing.assert_allclose(numpy_of(part), differences(loss, array), rtol=1e-4, atol=1e-6)


SECOND = ["mul", "div", "exp", "log", "sin", "tanh", "sigmoid", "sqrt", "matmul", "mean", "logsumexp", "pow", "take",
          "slice", "expand", "permute", "cumsum", "cumprod", "logcumsumexp", "recurrence", "prod", "sort"]  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_second_gradient(name: str) -> None:
    op = OPS[name]
    args, attrs = next((a, t) for o, _, a, t in SMOOTH if o is op and np.asarray(a[0]).size > 1)
    arrays = [np.asarray(a) for a in args]
    values = [leaf(a) for a in arrays]

    def first(inputs: list[Value]) -> Value | None:
        part = gradients(op, inputs, attrs, [True] + [False] * (len(inputs) - 1))[0]
        if part is None:
            return None
        squares = apply("mul", part, part)
        return apply("sum", squares, dims=tuple(range(len(part.shape))), keepdim=False)

    total = first(values)
    assert total is not None
    order: list[Value] = []
    stack, seen = [total], set()
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            order.append(v)
            stack.extend(v.args)
    order.sort(key=lambda v: v.serial)
    reach = {values[0]}
    for v in order:
        if any(a in reach for a in v.args):
            reach.add(v)
    cotangent: dict[Value, Value] = {total: build("constant", value=1.0, dtype=f64)}
    for v in reversed(order):
        g = cotangent.get(v)
        if g is None or v.op is None:
            continue
        for a, part in zip(v.args, pull_back(v, g, [a in reach for a in v.args]), strict=True):
            if part is not None:
                cotangent[a] = build("add", cotangent[a], part) if a in cotangent else part

    def loss(moved: Any) -> float:
        result = first([leaf(moved), *[leaf(a) for a in arrays[1:]]])
        assert result is not None
        realize([result])
        return float(numpy_of(result))

    want = differences(loss, arrays[0])
    if values[0] not in cotangent:
        np.testing.assert_allclose(want, 0, atol=1e-6)
        return
    realize([cotangent[values[0]]])
    np.testing.assert_allclose(numpy_of(cotangent[values[0]]), want, rtol=1e-4, atol=1e-5)


REFUSED = [(op, args, attrs, words) for op in OPS.values() for args, attrs, words in op.refuses()]


@pytest.mark.parametrize(("op", "args", "attrs", "words"), REFUSED, ids=lambda x: x.name if isinstance(x, Op) else "")
def test_refusal(op: Op, args: Any, attrs: Any, words: str) -> None:
    with pytest.raises(TdslError) as error:
        apply(op, *[leaf(a) for a in args], **attrs)
    assert words in str(error.value)

"""Transforms of functions: every op's batching rule against a loop, and everything against PyTorch's torch.func."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl.compiler.graph import OPS, Type, Value, apply
from tdsl.func.batching import Batcher
from tdsl.func.standins import Trace
from tdsl.func.tree import flatten, spread, unflatten
from tdsl.tensor import Tensor, from_array

SIZE = 3


def variants(a: np.ndarray) -> np.ndarray:
    """SIZE arrays like this one, all different, integers within the same bounds."""
    flat = a.reshape(-1)
    return np.stack([np.roll(flat, k).reshape(a.shape) for k in range(SIZE)])


def one(op: str, arrays: list[np.ndarray], attrs: dict[str, Any]) -> np.ndarray:
    return Tensor(apply(op, *[from_array(a).value for a in arrays], **attrs)).array()


def batched(op: str, arrays: list[np.ndarray], flags: tuple[bool, ...], attrs: dict[str, Any]) -> np.ndarray:
    trace, known, given = Trace(), {}, []
    for a, flag in zip(arrays, flags, strict=True):
        value: Value = from_array(a).value
        if flag:
            standin = trace.standin(Type(value.dtype, value.shape[1:]), False).value
            known[standin] = value
            value = standin
        given.append(value)
    with trace:
        y = apply(op, *given, **attrs)
    batcher = Batcher(SIZE, known, trace.start, False)
    batcher.run([y])
    return Tensor(batcher.batched[y]).array()


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.samples() and n != "random"))
def test_rules_batch_as_a_loop_does(name: str) -> None:
    for arrays, attrs in list(OPS[name].samples())[:3]:
        arrays = [np.asarray(a) for a in arrays]
        for flags in product((False, True), repeat=len(arrays)):
            if not any(flags):
                continue
            given = [variants(a) if f else a for a, f in zip(arrays, flags, strict=True)]
            rows = [
                one(name, [a[k] if f else a for a, f in zip(given, flags, strict=True)], attrs) for k in range(SIZE)
            ]
            np.testing.assert_array_equal(
                batched(name, given, flags, attrs), np.stack(rows), err_msg=f"{attrs} {flags}"
            )


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.samples() and n != "random"))
def test_rules_batch_what_was_batched(name: str) -> None:
    arrays, attrs = next(iter(OPS[name].samples()))
    given = [variants(variants(np.asarray(a))) for a in arrays]
    if not given:
        return

    def single(*xs: Any) -> Any:
        return Tensor(apply(name, *[x.value for x in xs], **attrs))

    found = tdsl.vmap(tdsl.vmap(single))(*map(from_array, given)).array()
    rows = [[one(name, [a[j, k] for a in given], attrs) for k in range(SIZE)] for j in range(SIZE)]
    np.testing.assert_array_equal(found, np.array(rows))


X = np.random.default_rng(0).standard_normal((4, 3))
W = np.random.default_rng(1).standard_normal((3, 2))
INDEX = np.array([[0, 2], [1, 1], [2, 0], [0, -1]])
PROGRAMS: dict[str, Callable[..., Any]] = {
    "elementwise": lambda t, x, w, i: t.vmap(lambda a: a.sin() + 1)(x),
    "matrices": lambda t, x, w, i: t.vmap(lambda a: a @ w)(x),
    "mapped and not": lambda t, x, w, i: t.vmap(lambda a, b: (a * b).mean(), in_dims=(0, None))(x, w[:, 0]),
    "dims": lambda t, x, w, i: t.vmap(lambda a: (a, a.sum()), in_dims=1, out_dims=(1, 0))(x),
    "negative dims": lambda t, x, w, i: t.vmap(lambda a: a.outer(a), in_dims=-1, out_dims=-1)(x),
    "trees": lambda t, x, w, i: t.vmap(lambda d, k: {"s": d["a"] + k, "t": [d["b"]]}, in_dims=({"a": 0, "b": None}, 1))(
        {"a": x, "b": w}, x.t()
    ),
    "keywords": lambda t, x, w, i: t.vmap(lambda a, b: a - b)(x, b=x * 2),
    "the same for all": lambda t, x, w, i: t.vmap(lambda a: (a, w), out_dims=(0, None))(x),
    "not of the batch": lambda t, x, w, i: t.vmap(lambda a: w)(x),
    "softmax": lambda t, x, w, i: t.vmap(lambda a: t.softmax(a, 0))(x),
    "index_select": lambda t, x, w, i: t.vmap(lambda a, k: t.index_select(a, 0, k.clamp(min=0)))(x, i),
    "indexing": lambda t, x, w, i: t.vmap(lambda a, k: a[k])(x, i),
    "indices": lambda t, x, w, i: t.vmap(lambda k: w[k])(i),
    "indexed": lambda t, x, w, i: t.vmap(lambda a: a[i[0]])(x),
    "nested": lambda t, x, w, i: t.vmap(lambda a: t.vmap(lambda b: a * b.sum())(w))(x),
    "sort": lambda t, x, w, i: t.vmap(lambda a: t.sort(a).values)(x),
    "in place": lambda t, x, w, i: t.vmap(lambda a: a.clone().add_(1).mul_(a))(x),
    "conv": lambda t, x, w, i: t.vmap(lambda a: convolved(t, a, w))(x),
    "no grad inside": lambda t, x, w, i: t.func.grad(lambda a: detached(t, a) + a.sum())(x),
    "vmap of grad": lambda t, x, w, i: t.vmap(t.func.grad(lambda a: (a @ w).sin().sum()))(x),
    "grad of vmap": lambda t, x, w, i: t.func.grad(lambda a: t.vmap(lambda b: (b @ w).sin().sum())(a).sum())(x),
    "third": lambda t, x, w, i: t.func.grad(t.func.grad(t.func.grad(lambda a: a**5)))(x[0, 0]),
    "per example": lambda t, x, w, i: t.vmap(t.func.grad(lambda p, a: ((a @ p) ** 2).sum()), in_dims=(None, 0))(w, x),
    "with aux": lambda t, x, w, i: t.func.grad(lambda a: (a.prod(), {"n": a * 2}), has_aux=True)(x),
    "value": lambda t, x, w, i: t.func.grad_and_value(lambda a, b: (a @ b).sum(), argnums=(1, 0))(x, w),
    "jacrev": lambda t, x, w, i: t.func.jacrev(lambda a: (a @ w).sin())(x),
    "jacrev in chunks": lambda t, x, w, i: t.func.jacrev(lambda a: (a @ w).sin(), chunk_size=3)(x),
    "jacfwd": lambda t, x, w, i: t.func.jacfwd(lambda a: (a @ w).sin())(x),
    "several": lambda t, x, w, i: t.func.jacrev(lambda a, b: {"p": a @ b, "s": a.sum()}, argnums=(0, 1))(x, w),
    "several forward": lambda t, x, w, i: t.func.jacfwd(lambda a, b: (a @ b, a.sum()), argnums=(0, 1))(x, w),
    "hessian": lambda t, x, w, i: t.func.hessian(lambda a: (a @ w).sin().sum())(x),
    "hessians": lambda t, x, w, i: t.vmap(t.func.hessian(lambda a: (a @ w).exp().sum()))(x),
    "mixed": lambda t, x, w, i: t.func.jacrev(t.func.jacfwd(lambda a: t.logsumexp(a, 0)))(x[0]),
    "Jacobians of a layer": lambda t, x, w, i: t.vmap(t.func.jacrev(lambda a: layer(t, a, w)))(x),
    "Hessians of a layer": lambda t, x, w, i: t.vmap(t.func.hessian(lambda a: (layer(t, a, w) ** 2).sum()))(x),
    "jvp": lambda t, x, w, i: t.func.jvp(lambda a, b: ((a @ b).cos(), b), (x, w), (x * 2, w + 1)),
    "vjp": lambda t, x, w, i: t.func.vjp(lambda a, b: (a.cos() @ b, b * 2), x, w)[1]((x @ w, w)),
    "chunks": lambda t, x, w, i: t.vmap(lambda a: (a @ w, a), chunk_size=3, out_dims=(0, 1))(x),
    "same numbers": lambda t, x, w, i: (t.vmap(lambda a: a + t.rand(3), randomness="same")(x) - x).std(0).round(),
}  # fmt: skip


def convolved(lib: Any, a: Any, w: Any) -> Any:
    return lib.nn.functional.conv2d(a[None, None, None], w[None, None, None, :2, 0])


def layer(lib: Any, a: Any, w: Any) -> Any:
    return lib.nn.functional.linear(a, w.t(), w[0]).tanh()


def detached(lib: Any, a: Any) -> Any:
    with lib.no_grad():
        return (a * a).sum()


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PROGRAMS)
def test_transforms_as_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._pytree import tree_flatten

    ours, theirs = (PROGRAMS[name](lib, lib.tensor(X), lib.tensor(W), lib.tensor(INDEX)) for lib in (tdsl, torch))
    left, right = flatten(ours)[0], tree_flatten(theirs)[0]
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-7, atol=1e-9)


REFUSED: dict[str, Callable[..., Any]] = {
    "in_dims kind": lambda t, x: t.vmap(abs, in_dims="a")(x),
    "no inputs": lambda t, x: t.vmap(lambda: 1)(),
    "in_dims structure": lambda t, x: t.vmap(lambda a: a, in_dims=(0, 0))(x),
    "in_dim of a number": lambda t, x: t.vmap(lambda a, b: a, in_dims=(0, 0))(x, 3),
    "in_dim too large": lambda t, x: t.vmap(lambda a: a, in_dims=2)(x),
    "sizes": lambda t, x: t.vmap(lambda a, b: a)(x, x[:2]),
    "nothing mapped": lambda t, x: t.vmap(lambda a: a, in_dims=(None,))(x),
    "no tensor": lambda t, x: t.vmap(lambda a: 3)(x),
    "out_dims": lambda t, x: t.vmap(lambda a: a, out_dims=(0, 1))(x),
    "out_dims kind": lambda t, x: t.vmap(lambda a: a, out_dims="a")(x),
    "None for what differs": lambda t, x: t.vmap(lambda a: a, out_dims=None)(x),
    "item": lambda t, x: t.vmap(lambda a: a * a[0].item())(x),
    "control": lambda t, x: t.vmap(lambda a: a if a.sum() > 0 else -a)(x),
    "random": lambda t, x: t.vmap(lambda a: a + t.rand(3))(x),
    "randomness": lambda t, x: t.vmap(lambda a: a, randomness="some")(x),
    "chunk": lambda t, x: t.vmap(lambda a: a, chunk_size=0)(x),
    "scalar": lambda t, x: t.func.grad(lambda a: a)(x),
    "tensor": lambda t, x: t.func.grad(lambda a: 3.0)(x),
    "argnum": lambda t, x: t.func.grad(lambda a: a.sum(), argnums=1)(x),
    "argnums twice": lambda t, x: t.func.grad(lambda a: a.sum(), argnums=(0, 0))(x),
    "argnums none": lambda t, x: t.func.grad(lambda a: a.sum(), argnums=())(x),
    "aux": lambda t, x: t.func.grad(lambda a: a.sum(), has_aux=True)(x),
    "jvp primals": lambda t, x: t.func.jvp(lambda a: a, x, x),
    "jvp structure": lambda t, x: t.func.jvp(lambda a: a, (x,), (x, x)),
    "jvp empty": lambda t, x: t.func.jvp(lambda: 1, (), ()),
    "backward": lambda t, x: t.func.grad(lambda a: a.sum().backward())(x),
}  # fmt: skip


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        REFUSED[name](torch, torch.tensor(X))
    with pytest.raises(type(theirs.value)) as ours:
        REFUSED[name](tdsl, tdsl.tensor(X))
    start = str(theirs.value).replace("torch.", "tdsl.")[:60].split("<")[0]
    assert str(ours.value).startswith(start)


def test_a_mapped_tensor_kept_is_an_error_and_nothing_else_breaks() -> None:
    kept: list[Any] = []
    x = tdsl.tensor(X)
    y = tdsl.vmap(lambda a: kept.append(a * 2) or a + 1)(x)
    assert np.allclose(y.numpy(), X + 1)
    with pytest.raises(RuntimeError, match="was kept"):
        print(kept[0])
    total = tdsl.zeros(3, dtype=tdsl.float64)
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        tdsl.vmap(lambda a: total.add_(a))(x)
    assert total.tolist() == [0, 0, 0] and (x + 1).tolist() == (X + 1).tolist()


def test_what_runs_meanwhile_runs() -> None:
    """A demand inside the function of what does not differ, and a recording longer than the limit."""
    c = tdsl.ones(3)

    def many(a: Any) -> Any:
        assert (c + 1).sum().item() == 6
        for _ in range(2500):
            a = a + c
        return a

    assert tdsl.vmap(many)(tdsl.zeros(2, 3)).tolist() == [[2500] * 3] * 2


def test_random_numbers() -> None:
    x = tdsl.zeros(4, 8)
    different = tdsl.vmap(lambda a: a + tdsl.rand(8), randomness="different")(x).numpy()
    assert len({tuple(r) for r in different}) == 4
    orders = tdsl.vmap(lambda a: a[tdsl.randperm(8)], randomness="different")(tdsl.arange(32).reshape(4, 8) % 8).numpy()
    assert len({tuple(r) for r in orders}) > 1 and np.array_equal(np.sort(orders), np.tile(np.arange(8), (4, 1)))
    same = tdsl.vmap(lambda a: a + tdsl.rand(8), randomness="same")(x).numpy()
    assert len({tuple(r) for r in same}) == 1


def test_gradients_flow_through_vmap_to_what_is_outside() -> None:
    x, w = tdsl.tensor(X, requires_grad=True), tdsl.tensor(W, requires_grad=True)
    tdsl.vmap(lambda a: (a @ w).tanh())(x).sum().backward()
    with tdsl.enable_grad():
        other, v = x.detach().requires_grad_(), w.detach().requires_grad_()
        (other @ v).tanh().sum().backward()
    assert np.allclose(x.grad.numpy(), other.grad.numpy()) and np.allclose(w.grad.numpy(), v.grad.numpy())
    g = tdsl.func.grad(lambda a: (a @ w).sin().sum())(tdsl.tensor(X))
    assert g.requires_grad
    g.sum().backward()
    assert not tdsl.func.grad(lambda a: a.sum())(tdsl.tensor(X)).requires_grad


def test_custom_functions_inside_vmap() -> None:
    class Twice(tdsl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * 5

    x = tdsl.ones(3, 2, requires_grad=True)
    tdsl.vmap(Twice.apply)(x).sum().backward()
    assert x.grad.tolist() == [[5, 5]] * 3


def test_models_as_functions() -> None:
    models = [tdsl.nn.Sequential(tdsl.nn.Linear(3, 2), tdsl.nn.ReLU()) for _ in range(4)]
    params, buffers = tdsl.func.stack_module_state(models)
    assert all(p.requires_grad and p.shape[0] == 4 for p in params.values()) and buffers == {}
    x = tdsl.rand(5, 3)
    out = tdsl.vmap(lambda p: tdsl.func.functional_call(models[0], p, (x,)))(params)
    assert all(np.allclose(out[k].detach().numpy(), m(x).detach().numpy()) for k, m in enumerate(models))
    before = models[0][0].weight
    tdsl.func.functional_call(models[0], ({"0.weight": before * 0}, {"0.bias": tdsl.ones(2)}), x)
    assert models[0][0].weight is before
    for bad, message in [
        ([{"0.weight": before}, {"0.weight": before}], "appeared in multiple"), (3, "to be a dict"),
        ({"9.weight": before}, "no parameter or buffer"), ([3], "all elements"),
    ]:  # fmt: skip
        with pytest.raises((ValueError, RuntimeError), match=message):
            tdsl.func.functional_call(models[0], bad, x)
    with pytest.raises(RuntimeError, match="Missing key"):
        tdsl.func.functional_call(models[0], {"0.weight": before}, x, strict=True)
    tied = tdsl.nn.Sequential(tdsl.nn.Linear(2, 2, bias=False), tdsl.nn.Linear(2, 2, bias=False))
    tied[1].weight = tied[0].weight
    y = tdsl.func.functional_call(tied, {"0.weight": tdsl.eye(2) * 3}, tdsl.ones(1, 2))
    assert y.tolist() == [[9, 9]]
    for some, message in [([], "at least one"), ([models[0], models[1].eval()], "same training"),
                          ([models[0], tdsl.nn.Linear(3, 2)], "same class")]:  # fmt: skip
        with pytest.raises(RuntimeError, match=message):
            tdsl.func.stack_module_state(some)


def test_trees() -> None:
    tree = {"a": (1, [2, 3]), "b": 4}
    leaves, spec = flatten(tree)
    assert leaves == [1, 2, 3, 4] and unflatten(leaves, spec) == tree
    assert spread({"a": 0, "b": None}, spec) == [0, 0, 0, None] and spread({"a": 0}, spec) is None

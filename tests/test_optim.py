"""Optimizers and schedules against PyTorch's, step by step; without it, against formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", dict(momentum=0.9, nesterov=True, weight_decay=0.1)),
    ("SGD", dict(momentum=0.9, dampening=0.3, maximize=True)),
    ("Adam", {}),
    ("Adam", dict(amsgrad=True, weight_decay=0.1)),
    ("AdamW", {}),
    ("Adamax", dict(weight_decay=0.1)),
    ("NAdam", {}),
    ("NAdam", dict(weight_decay=0.1, decoupled_weight_decay=True)),
    ("RAdam", {}),
    ("RAdam", dict(weight_decay=0.1)),
    ("RMSprop", {}),
    ("RMSprop", dict(centered=True, momentum=0.9, weight_decay=0.01)),
    ("Adagrad", dict(lr_decay=0.1, initial_accumulator_value=0.1)),
    ("Adadelta", dict(weight_decay=0.1)),
    ("Rprop", {}),
    ("ASGD", {}),
    ("ASGD", dict(t0=3, lambd=0.01)),
    ("LBFGS", dict(line_search_fn="strong_wolfe")),
    ("LBFGS", dict(lr=0.5, history_size=3)),
]


def problem(lib: Any) -> tuple[list[Any], Any]:
    w = lib.tensor(np.linspace(-1, 1, 12).reshape(3, 4), dtype=lib.float64, requires_grad=True)
    b = lib.tensor(np.linspace(0.5, 1, 3), dtype=lib.float64, requires_grad=True)
    x = lib.tensor(np.cos(np.arange(20.0)).reshape(5, 4))
    y = lib.tensor(np.sin(np.arange(15.0)).reshape(5, 3))
    return [w, b], lambda: ((x @ w.T + b - y) ** 2).mean() + (w**4).sum()


def train(lib: Any, name: str, options: dict[str, Any], steps: int = 12) -> tuple[Any, list[Any]]:
    params, loss_of = problem(lib)
    optimizer = getattr(lib.optim, name)(params, **options)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return optimizer, [p.detach().numpy().copy() for p in params]


@pytest.mark.peer
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours, have = train(tdsl, name, options)
    theirs, want = train(torch, name, options)
    for a, b in zip(have, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8)
    assert repr(ours) == repr(theirs)
    mine, peers = ours.state_dict(), theirs.state_dict()
    assert mine["param_groups"] == peers["param_groups"]
    if name != "LBFGS":
        assert {k: set(v) for k, v in mine["state"].items()} == {k: set(v) for k, v in peers["state"].items()}


@pytest.mark.parametrize("name", ["Adam", "SGD", "RMSprop", "NAdam"])
def test_a_loaded_state_continues(name: str) -> None:
    options: dict[str, Any] = {"momentum": 0.9} if name == "SGD" else {}
    params, loss_of = problem(tdsl)
    first = getattr(tdsl.optim, name)(params, **options)

    def steps(optimizer: Any, loss_of: Any, n: int) -> None:
        for _ in range(n):
            optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()

    steps(first, loss_of, 3)
    others, other_loss = problem(tdsl)
    with tdsl.no_grad():
        for p, q in zip(others, params, strict=True):
            p.copy_(q)
    second = getattr(tdsl.optim, name)(others, lr=123.0, **options)
    second.load_state_dict(first.state_dict())
    steps(first, loss_of, 3)
    steps(second, other_loss, 3)
    for p, q in zip(others, params, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_refusals() -> None:
    w = tdsl.ones(3, requires_grad=True)
    with pytest.raises(ValueError, match="empty parameter list"):
        tdsl.optim.SGD([])
    with pytest.raises(ValueError, match="can't optimize a non-leaf"):
        tdsl.optim.SGD([w * 2])
    with pytest.raises(TypeError, match="should be an iterable"):
        tdsl.optim.SGD(w)
    with pytest.raises(ValueError, match="Invalid learning rate: -1"):
        tdsl.optim.Adam([w], lr=-1)
    with pytest.raises(ValueError, match="appear in more than one parameter group"):
        tdsl.optim.SGD([{"params": [w]}, {"params": [w]}])
    with pytest.raises(ValueError, match="different number of parameter groups"):
        tdsl.optim.SGD([w]).load_state_dict({"state": {}, "param_groups": []})


def test_groups_hooks_and_changing_rates() -> None:
    a, b = tdsl.ones(2, requires_grad=True), tdsl.ones(2, requires_grad=True)
    optimizer = tdsl.optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    seen: list[str] = []
    before = optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    (a + b).sum().backward()
    optimizer.step()
    before.remove()
    optimizer.param_groups[0]["lr"] = tdsl.tensor(0.2)
    optimizer.step()
    assert seen == ["before", "after", "after"]
    np.testing.assert_allclose(a.detach().numpy(), [0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(b.detach().numpy(), [0.0, 0.0], atol=1e-6)
    assert a._version == 2
    optimizer.zero_grad(set_to_none=False)
    assert a.grad is not None and a.grad.tolist() == [0.0, 0.0]


def test_the_state_tensors_stay_the_same_objects() -> None:
    w = tdsl.ones(2, requires_grad=True)
    optimizer = tdsl.optim.Adam([w])
    w.sum().backward()
    optimizer.step()
    kept = dict(optimizer.state[w])
    optimizer.step()
    assert all(optimizer.state[w][name] is tensor for name, tensor in kept.items())
    assert kept["step"].item() == 2

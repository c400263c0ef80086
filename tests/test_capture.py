"""`tdsl.compile`: a captured function does exactly what the function does."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl import nn
from tdsl.nn import functional as F
from tdsl.runtime import dispatch

Scenario = Callable[[Callable[[Any], Any]], list[Any]]


def _x(*shape: int, seed: int = 0) -> tdsl.Tensor:
    return tdsl.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def _known(x: Any) -> Any:
    return x.tolist() if isinstance(x, tdsl.Tensor) else x


def _close(a: Any, b: Any) -> bool:
    """Equal but for rounding: a replay fuses what a demand in between would have kept apart."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(_close, a.values(), b.values()))
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float):
        return isinstance(b, float) and math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6)
    return type(a) is type(b) and a == b


def _training(make_optimizer: Any, make_net: Any = None, clip: bool = False, fresh: bool = True) -> Scenario:
    def scenario(compile_: Callable[[Any], Any]) -> list[Any]:
        tdsl.manual_seed(1)
        net = make_net() if make_net else nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.25), nn.Linear(5, 3))
        optimizer = make_optimizer(net.parameters())

        def step(x: Any, y: Any) -> Any:
            if fresh:
                optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            optimizer.step()
            return loss

        step = compile_(step)
        found: list[Any] = []
        for k in range(9):
            if k == 6:
                optimizer.param_groups[0]["lr"] *= 0.5
            loss = step(_x(4, 6, seed=k), tdsl.tensor([0, 1, 2, 1]))
            found += [loss.item(), loss.requires_grad, [p.grad.tolist() for p in net.parameters()]]
        found += [p.tolist() for p in net.parameters()]
        found.append({k: {n: _known(v) for n, v in s.items()} for k, s in optimizer.state_dict()["state"].items()})
        return [*found, tdsl.rand(2).tolist()]

    return scenario


def _bn() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3))


def _counter(compile_: Callable[[Any], Any]) -> list[Any]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls, self.scale = 0, 1.0
            self.last: Any = None

        def forward(self, x: Any) -> Any:
            self.calls += 1
            self.scale *= 0.9
            self.last = (x * self.scale).sum()
            return self.last + self.calls

    net = Net()
    call = compile_(lambda x: net(x))
    return [x for k in range(12) for x in (call(_x(3, seed=k)).item(), net.calls, net.scale, net.last.item())]


def _global_number(compile_: Callable[[Any], Any]) -> list[Any]:
    rate = 0.1

    def f(x: Any) -> Any:
        return x * rate if rate < 0.5 else x - rate

    f = compile_(f)
    found = []
    for k in range(12):
        rate = 0.1 * k
        found.append(f(_x(3)).tolist())
    return found


def _schedule(compile_: Callable[[Any], Any]) -> list[Any]:
    w = tdsl.ones(4, requires_grad=True)
    optimizer = tdsl.optim.SGD([w], lr=0.1, momentum=0.9)
    scheduler = tdsl.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        (w * x).square().sum().backward()
        optimizer.step()

    step = compile_(step)
    found = []
    for k in range(10):
        step(_x(4, seed=k))
        scheduler.step()
        found.append((w.tolist(), scheduler.get_last_lr()))
    return found


def _in_place(compile_: Callable[[Any], Any]) -> list[Any]:
    total = tdsl.zeros(3)
    first = total[:2]

    def add(x: Any, k: int, by: float) -> Any:
        total.add_(x, alpha=k)
        x.mul_(by)
        return x, {"sum": total.sum(), "by": by * 2, "k": k}

    add = compile_(add)
    found = []
    for k in range(12):
        x = _x(3, seed=k)
        y, more = add(x, k, 0.5 + k)
        found += [y is x, x.tolist(), total.tolist(), first.tolist(), more["sum"].item(), more["by"], more["k"]]
        found += [total._version, x._version]
    return found


def _accumulated(compile_: Callable[[Any], Any]) -> list[Any]:
    w = tdsl.ones(4, requires_grad=True)

    def f(x: Any) -> Any:
        (w * x).sum().backward()
        return w.grad.sum().item()

    f = compile_(f)
    return [(f(_x(4, seed=k)), w.grad.tolist()) for k in range(7)]


def _histories(compile_: Callable[[Any], Any]) -> list[Any]:
    """Only the forward is captured; backward and step are outside."""
    tdsl.manual_seed(0)
    net = _bn()
    run = compile_(net)
    optimizer = tdsl.optim.Adam(net.parameters(), lr=0.01)
    found = []
    for k in range(8):
        if k == 5:
            run.eval()
            found.append(run(_x(4, 6)).tolist())
            run.train()
        x = _x(4, 6, seed=k).requires_grad_(k > 3)
        loss = run(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found += [loss.item(), None if x.grad is None else x.grad.tolist()]
    return [*found, [p.tolist() for p in net.parameters()], [b.tolist() for b in net.buffers()]]


def _not_capturable(compile_: Callable[[Any], Any]) -> list[Any]:
    seen: list[float] = []

    def f(x: Any) -> Any:
        y = x * 2
        if y.sum().item() > 0:
            seen.append(y.sum().item())
            return y
        return -y

    f = compile_(f)
    return [f(_x(3, seed=k)).tolist() for k in range(6)] + seen


def _append(compile_: Callable[[Any], Any]) -> list[Any]:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        seen.append(x.sum())

    f = compile_(f)
    for k in range(10):
        f(_x(3, seed=k))
    return [s.item() for s in seen]


def _outside_random(compile_: Callable[[Any], Any]) -> list[Any]:
    numbers = iter(range(100))

    def f(x: Any) -> Any:
        return x + next(numbers)

    f = compile_(f)
    return [f(_x(2)).tolist() for _ in range(9)]


def _numbers(compile_: Callable[[Any], Any]) -> list[Any]:
    def f(x: Any, t: int, lr: float) -> Any:
        size = lr * math.sqrt(1 - 0.9**t) / (1 - 0.5**t)
        return x[: t % 2 + 1] * size + t, (t + 1, -lr)

    f = compile_(f)
    return [(y.tolist(), z) for t in range(1, 14) for y, z in [f(_x(4), t, 0.1 / t)]]


def _shapes(compile_: Callable[[Any], Any]) -> list[Any]:
    f = compile_(lambda x, *, flip=False: x.flip(0) if flip else x.exp().sum(-1))
    return [f(_x(n, 3), flip=flip).tolist() for n in (2, 3, 2, 4, 3, 2) for flip in (False, True, False)]


def _recurrent(compile_: Callable[[Any], Any]) -> list[Any]:
    tdsl.manual_seed(0)
    cell = nn.GRUCell(3, 4)
    state = {"h": tdsl.zeros(2, 4)}

    def f(x: Any) -> Any:
        state["h"] = cell(x, state["h"]).detach()
        return state["h"].sum()

    f = compile_(f)
    return [(f(_x(2, 3, seed=k)).item(), state["h"].tolist()) for k in range(8)]


def _replaced(compile_: Callable[[Any], Any]) -> list[Any]:
    net = nn.Linear(2, 2)
    with tdsl.no_grad():
        net.weight.fill_(0.5), net.bias.zero_()
    f = compile_(lambda x: net(x).sum())
    found = []
    for k in range(12):
        if k == 4:
            net.weight = nn.Parameter(tdsl.ones(2, 2) * 3)
        if k == 8:
            net.load_state_dict({"weight": tdsl.ones(2, 2), "bias": tdsl.ones(2)})
        with tdsl.no_grad():
            found.append(f(_x(2, seed=k)).item())
    return found


SCENARIOS: dict[str, Scenario] = {
    "sgd": _training(lambda p: tdsl.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)),
    "adam": _training(lambda p: tdsl.optim.Adam(p, lr=0.01)),
    "adamw, clipped": _training(lambda p: tdsl.optim.AdamW(p, lr=0.01, amsgrad=True), clip=True),
    "adamax": _training(lambda p: tdsl.optim.Adamax(p)),
    "nadam": _training(lambda p: tdsl.optim.NAdam(p)),
    "radam": _training(lambda p: tdsl.optim.RAdam(p)),
    "adadelta": _training(lambda p: tdsl.optim.Adadelta(p)),
    "adagrad": _training(lambda p: tdsl.optim.Adagrad(p, lr=0.1, lr_decay=0.1)),
    "rmsprop": _training(lambda p: tdsl.optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True)),
    "rprop": _training(lambda p: tdsl.optim.Rprop(p)),
    "asgd": _training(lambda p: tdsl.optim.ASGD(p)),
    "batch norm": _training(lambda p: tdsl.optim.Adam(p, lr=0.01), _bn),
    "accumulating": _training(lambda p: tdsl.optim.SGD(p, lr=0.01), _bn, fresh=False),
    "counter": _counter,
    "global number": _global_number,
    "schedule": _schedule,
    "in place": _in_place,
    "accumulated": _accumulated,
    "histories": _histories,
    "not capturable": _not_capturable,
    "append": _append,
    "outside random": _outside_random,
    "numbers": _numbers,
    "shapes": _shapes,
    "recurrent": _recurrent,
    "replaced": _replaced,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_compiled_function_does_what_the_function_does(name: str) -> None:
    scenario = SCENARIOS[name]
    want = scenario(lambda f: f)
    got = scenario(tdsl.compile)
    assert _close(got, want)


REPLAYED = ["sgd", "adam", "adadelta", "batch norm", "counter", "schedule", "in place", "accumulated", "recurrent"]


@pytest.mark.parametrize("name", REPLAYED)
def test_these_are_replayed(name: str) -> None:
    made: list[Any] = []

    def compile_(f: Any) -> Any:
        made.append(tdsl.compile(f))
        return made[-1]

    SCENARIOS[name](compile_)
    assert made[0].replayed >= 3, made[0].explain()


def test_it_says_why_it_captured_again() -> None:
    f = tdsl.compile(lambda x: x * 2)
    f.__name__ = "f"
    for n in (2, 2, 2, 3, 3, 3):
        f(_x(n))
    assert f.explain().splitlines() == [
        "f: captured: the first call of its kind",
        "f: captured: argument 0 was f32[2]",
        "f: 2 calls replayed",
    ]


def test_it_says_why_it_did_not_capture() -> None:
    def f(x: Any) -> Any:
        return x if bool((x > 0).all()) else -x

    f = tdsl.compile(f)
    assert f(_x(3)).shape == (3,)
    assert "not captured: it reads elements of a tensor before its end" in f.explain()
    assert "test_capture.py" in f.explain()
    whole = tdsl.compile(f._function, fullgraph=True)
    with pytest.raises(RuntimeError, match="cannot be captured as a whole: it reads elements"):
        whole(_x(3))


def test_printing_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    @tdsl.compile
    def f(x: Any) -> Any:
        print("called")
        return x + 1

    for _ in range(5):
        f(_x(2))
    assert capsys.readouterr().out == "called\n" * 5


def test_one_program_a_call_and_no_growth() -> None:
    w = tdsl.ones(8, requires_grad=True)
    optimizer = tdsl.optim.Adam([w])

    @tdsl.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * x).sum().square()
        loss.backward()
        optimizer.step()
        return loss.item()

    x = _x(8)
    for _ in range(5):
        step(x)
    before = dispatch.counters.runs, dispatch.counters.plans
    kept = weakref.ref(w.grad)
    gc.collect()
    for _ in range(10):
        step(x)
    assert dispatch.counters.runs == before[0] + 10
    assert dispatch.counters.plans == before[1]
    assert kept() is None


def test_an_error_in_a_replay_is_the_functions_own() -> None:
    f = tdsl.compile(lambda x, k: x[k])
    for _ in range(4):
        assert f(_x(3), tdsl.tensor([1])).shape == (1,)
    with pytest.raises(IndexError, match="index 7 is out of bounds"):
        f(_x(3), tdsl.tensor([7])).tolist()
    assert f(_x(3), tdsl.tensor([2])).shape == (1,)


def test_methods_modules_and_decorators() -> None:
    class Model:
        def __init__(self, by: float) -> None:
            self.by = by

        @tdsl.compile(fullgraph=True)
        def scaled(self, x: Any) -> Any:
            return x * self.by

    two, three = Model(2.0), Model(3.0)
    for _ in range(4):
        assert two.scaled(tdsl.ones(1)).item() == 2
        assert three.scaled(tdsl.ones(1)).item() == 3
    net = tdsl.compile(nn.Linear(2, 1))
    assert list(net.state_dict()) == ["_orig_mod.weight", "_orig_mod.bias"]
    assert net.in_features == 2
    assert tdsl.compile(two.by.__add__, disable=True)(1.0) == 3


def test_old_values_are_not_written_over() -> None:
    """A replay reuses the bytes of values that nobody holds, and of no others."""
    w = tdsl.zeros(3)

    @tdsl.compile
    def f() -> None:
        w.add_(1)

    kept = []
    for _ in range(6):
        f()
        kept.append((w.clone(), w.detach().numpy().copy(), w * 1))
    assert [k[0].tolist()[0] for k in kept] == [1, 2, 3, 4, 5, 6]
    assert [k[2].tolist()[0] for k in kept] == [1, 2, 3, 4, 5, 6]


def test_halves_and_grad_mode() -> None:
    f = tdsl.compile(lambda x: (x * x).sum())
    x = tdsl.ones(3, requires_grad=True)
    for _ in range(3):
        assert f(x).requires_grad
        with tdsl.no_grad():
            assert not f(x).requires_grad
    assert f(tdsl.ones(3, dtype=tdsl.bfloat16)).dtype is tdsl.bfloat16

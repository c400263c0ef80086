"""Learning rate schedulers against PyTorch's, step for step; without it, against formulas."""

from __future__ import annotations

import warnings
from math import cos, pi
from typing import Any

import numpy as np
import pytest

import tdsl


class Half:
    """A callable with state."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, epoch: int) -> float:
        return self.rate**epoch


CASES: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", dict(lr_lambda=[lambda e: 0.95**e, Half(0.9)])),
    ("LambdaLR", dict(lr_lambda=lambda e: 1 / (e + 1))),
    ("MultiplicativeLR", dict(lr_lambda=lambda e: 0.9)),
    ("StepLR", dict(step_size=3, gamma=0.5)),
    ("MultiStepLR", dict(milestones=[2, 2, 6], gamma=0.5)),
    ("ConstantLR", dict(factor=0.5, total_iters=4)),
    ("LinearLR", dict(start_factor=0.25, end_factor=0.75, total_iters=5)),
    ("ExponentialLR", dict(gamma=0.9)),
    ("PolynomialLR", dict(total_iters=6, power=2.0)),
    ("CosineAnnealingLR", dict(T_max=4, eta_min=0.001)),
    ("CosineAnnealingWarmRestarts", dict(T_0=3, T_mult=2, eta_min=0.01)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=[0.1, 0.2], step_size_up=3, step_size_down=2)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=3, mode="triangular2")),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=3, mode="exp_range", gamma=0.9, cycle_momentum=False)),
    ("CyclicLR", dict(base_lr=0.01, max_lr=0.1, step_size_up=2, scale_fn=Half(0.8), scale_mode="iterations")),
    ("OneCycleLR", dict(max_lr=[0.1, 0.3], total_steps=12)),
    ("OneCycleLR", dict(max_lr=0.1, epochs=3, steps_per_epoch=4, anneal_strategy="linear", three_phase=True)),
]


def optimizer(lib: Any, kind: str = "SGD") -> Any:
    a, b = lib.ones(2, requires_grad=True), lib.ones(3, requires_grad=True)
    options = dict(momentum=0.9) if kind == "SGD" else {}
    return getattr(lib.optim, kind)([{"params": [a]}, {"params": [b], "lr": 0.05}], lr=0.1, **options)


def trace(lib: Any, scheduler: Any, opt: Any, steps: int = 12) -> list[list[Any]]:
    found = [[*scheduler.get_last_lr(), *momenta(opt)]]
    for _ in range(steps):
        opt.step()
        scheduler.step()
        found.append([*scheduler.get_last_lr(), *[g["lr"] for g in opt.param_groups], *momenta(opt)])
    return found


def momenta(opt: Any) -> list[float]:
    return [x for g in opt.param_groups for x in (g.get("momentum", 0.0), *g.get("betas", ()))]


def plain(state: Any) -> Any:
    """State without what only one library has."""
    if isinstance(state, dict):
        return {k: plain(v) for k, v in state.items()}
    return [plain(v) for v in state] if isinstance(state, list) else state


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name, options", CASES)
def test_schedulers_step_as_pytorch(name: str, options: dict[str, Any], kind: str) -> None:
    torch = pytest.importorskip("torch")
    made = []
    for lib in (tdsl, torch):
        opt = optimizer(lib, kind)
        scheduler = getattr(lib.optim.lr_scheduler, name)(opt, **options)
        rates = trace(lib, scheduler, opt)
        made.append((rates, plain(scheduler.state_dict())))
    assert np.allclose(*[np.array([r[-4:] for r in m[0]], float) for m in made], rtol=1e-12, atol=0)
    assert [len(r) for r in made[0][0]] == [len(r) for r in made[1][0]]
    assert np.allclose(*[np.concatenate(m[0]) for m in made], rtol=1e-12, atol=0)
    assert list(made[0][1]) == list(made[1][1]) or set(made[0][1]) == set(made[1][1])
    assert np.allclose(made[0][1]["_last_lr"], made[1][1]["_last_lr"], rtol=1e-12, atol=0)


@pytest.mark.peer
@pytest.mark.parametrize("name, options", CASES)
def test_a_state_dict_carries_on(name: str, options: dict[str, Any]) -> None:
    """The second half of a run that was saved, and one that goes on with last_epoch, both as PyTorch's."""
    torch = pytest.importorskip("torch")
    results = []
    for lib in (tdsl, torch):
        opt = optimizer(lib)
        scheduler = getattr(lib.optim.lr_scheduler, name)(opt, **options)
        trace(lib, scheduler, opt, 4)
        state, rates = scheduler.state_dict(), opt.state_dict()
        fresh = optimizer(lib)
        other = getattr(lib.optim.lr_scheduler, name)(fresh, **options)
        fresh.load_state_dict(rates)
        other.load_state_dict(state)
        first = trace(lib, other, fresh, 5)
        opt.load_state_dict(rates)
        resumed = getattr(lib.optim.lr_scheduler, name)(opt, **options, last_epoch=4)
        results.append(np.concatenate([*first, *trace(lib, resumed, opt, 5)]))
    assert np.allclose(*results, rtol=1e-12, atol=0)


def combined(lib: Any, which: str) -> tuple[Any, Any]:
    s = lib.optim.lr_scheduler
    opt = optimizer(lib)
    if which == "chained":
        return opt, s.ChainedScheduler([s.ConstantLR(opt, 0.5, 3), s.ExponentialLR(opt, 0.9)], optimizer=opt)
    if which == "sequential":
        parts = [s.ConstantLR(opt, 0.1, 2), s.ExponentialLR(opt, 0.9), s.CosineAnnealingLR(opt, 4)]
        return opt, s.SequentialLR(opt, parts, milestones=[3, 6])
    inner = s.SequentialLR(opt, [s.LinearLR(opt, 0.5), s.StepLR(opt, 2, 0.5)], milestones=[2])
    return opt, s.SequentialLR(opt, [inner, s.ExponentialLR(opt, 0.5)], milestones=[5])


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore:Detected call of")  # PyTorch's nested ones warn at milestones too
@pytest.mark.parametrize("which", ["chained", "sequential", "nested"])
def test_combined_schedulers(which: str) -> None:
    torch = pytest.importorskip("torch")
    runs = []
    for lib in (tdsl, torch):
        opt, scheduler = combined(lib, which)
        first = trace(lib, scheduler, opt, 4)
        fresh, other = combined(lib, which)
        fresh.load_state_dict(opt.state_dict())
        other.load_state_dict(scheduler.state_dict())
        runs.append((np.concatenate([*first, *trace(lib, other, fresh, 7)]), scheduler.state_dict()))
    assert np.allclose(runs[0][0], runs[1][0], rtol=1e-12, atol=0)
    assert set(runs[0][1]) == set(runs[1][1])


@pytest.mark.peer
@pytest.mark.parametrize("options", [
    {}, dict(mode="max", threshold_mode="abs", threshold=0.1, patience=1),
    dict(patience=0, cooldown=2, min_lr=[0.02, 0.03]), dict(patience=1, threshold_mode="abs", factor=0.5, eps=0.04),
    dict(mode="max", patience=2, min_lr=0.06),
])  # fmt: skip
def test_plateau(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    metrics = [1.0, 0.9, 0.95, 0.9, 0.91, 0.899, 0.9, 1.0, 1.1, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
    runs = []
    for lib in (tdsl, torch):
        opt = optimizer(lib)
        scheduler = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
        rates = []
        for m in metrics:
            opt.step()
            scheduler.step(lib.tensor(m, dtype=lib.float64))
            rates.append([*scheduler.get_last_lr(), scheduler.best, scheduler.num_bad_epochs])
        runs.append((np.array(rates, float), scheduler.state_dict()))
    assert np.allclose(runs[0][0], runs[1][0], rtol=1e-12, atol=0)
    assert runs[0][1].keys() == runs[1][1].keys()


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("LambdaLR", dict(lr_lambda=[abs])), ("MultiplicativeLR", dict(lr_lambda=3)), ("ConstantLR", dict(factor=2.0)),
    ("LinearLR", dict(start_factor=0)), ("LinearLR", dict(end_factor=1.5)), ("StepLR", dict(step_size=1, last_epoch=3)),
    ("CosineAnnealingWarmRestarts", dict(T_0=0)), ("CosineAnnealingWarmRestarts", dict(T_0=2, T_mult=0)),
    ("CosineAnnealingWarmRestarts", dict(T_0=2, eta_min="a")), ("CyclicLR", dict(base_lr=[1.0], max_lr=1)),
    ("CyclicLR", dict(base_lr=1, max_lr=1, mode="round")), ("OneCycleLR", dict(max_lr=1)),
    ("OneCycleLR", dict(max_lr=1, total_steps=0)), ("OneCycleLR", dict(max_lr=1, total_steps=9, pct_start=2.0)),
    ("OneCycleLR", dict(max_lr=1, total_steps=9, anneal_strategy="x")), ("OneCycleLR", dict(max_lr=1, epochs=1)),
    ("OneCycleLR", dict(max_lr=1, epochs=0, steps_per_epoch=2)), ("ReduceLROnPlateau", dict(factor=1.0)),
    ("ReduceLROnPlateau", dict(mode="mid")), ("ReduceLROnPlateau", dict(threshold_mode="mid")),
    ("ReduceLROnPlateau", dict(min_lr=[0.1])), ("SequentialLR", dict(schedulers=[], milestones=[])),
    ("SequentialLR", dict(schedulers=[1], milestones=[])),
]  # fmt: skip


@pytest.mark.peer
@pytest.mark.parametrize("name, options", REFUSED)
def test_refusals(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as theirs:
        getattr(torch.optim.lr_scheduler, name)(optimizer(torch), **options)
    with pytest.raises(type(theirs.value)) as ours:
        getattr(tdsl.optim.lr_scheduler, name)(optimizer(tdsl), **options)
    assert isinstance(ours.value, tdsl.TdslError)
    assert str(theirs.value).strip("\"'").replace("\\n", "\n") in str(ours.value).replace("\\n", "\n")


def test_warnings() -> None:
    opt = optimizer(tdsl)
    scheduler = tdsl.optim.lr_scheduler.StepLR(opt, 2)
    with pytest.warns(UserWarning, match=r"lr_scheduler.step\(\)` before `optimizer.step"):
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="epoch parameter"):
        scheduler.step(7)
    assert np.allclose(scheduler.get_last_lr(), [0.1 * 0.1**3, 0.05 * 0.1**3])
    with pytest.raises(TypeError, match="int is not an Optimizer"):
        tdsl.optim.lr_scheduler.StepLR(3, 2)


def test_formulas_and_a_rate_in_a_tensor() -> None:
    p = tdsl.ones(1, requires_grad=True)
    rate = tdsl.tensor(0.5)
    opt = tdsl.optim.SGD([p], lr=rate)
    scheduler = tdsl.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(1, 4):
            opt.step()
            scheduler.step()
            assert opt.param_groups[0]["lr"] is rate
            assert np.isclose(float(rate), 0.5 * (1 + cos(pi * k / 4)) / 2, rtol=1e-5)


def test_averaged_model() -> None:
    model = tdsl.nn.Linear(2, 2)
    equal = tdsl.optim.swa_utils.AveragedModel(model)
    moving = tdsl.optim.swa_utils.AveragedModel(model, avg_fn=tdsl.optim.swa_utils.get_ema_avg_fn(0.75))
    seen = []
    for k in range(3):
        with tdsl.no_grad():
            model.weight.fill_(k)
        seen.append(float(k))
        equal.update_parameters(model)
        moving.update_parameters(model)
    assert equal.module.weight[0, 0].item() == 1.0 and equal.n_averaged.item() == 3
    assert moving.module.weight[0, 0].item() == 0.75 * (0.75 * 0 + 0.25 * 1) + 0.25 * 2
    x = tdsl.ones(1, 2)
    assert np.allclose(equal(x).detach().numpy(), equal.module(x).detach().numpy())
    with pytest.raises(ValueError, match="Invalid decay value 2"):
        tdsl.optim.swa_utils.get_ema_avg_fn(2)

"""What the whole promises: nothing compiled twice, flat memory, long chains, the same bits on any number of threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tdsl
from tdsl import nn, optim, recording
from tdsl.runtime import dispatch
from tdsl.runtime.interpreter import interpret


def small_net() -> Any:
    tdsl.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))


def step(net: Any, opt: Any, x: Any, y: Any) -> Any:
    loss = nn.functional.cross_entropy(net(x), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    return loss


def test_changing_rates_and_last_batches_compile_nothing_new() -> None:
    net = small_net()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    x, y = tdsl.randn(70, 6), tdsl.randint(0, 3, (70,))
    seen = []
    for epoch in range(4):
        for start in range(0, 70, 32):
            opt.param_groups[0]["lr"] = 1e-3 / (1 + epoch + start)
            step(net, opt, x[start : start + 32], y[start : start + 32]).item()
        seen.append((dispatch.counters.programs, dispatch.counters.kernels))

    assert seen[1] == seen[2] == seen[3]


def test_a_sweep_of_batch_sizes_compiles_few_programs() -> None:
    net = small_net().eval()
    before = dispatch.counters.programs
    for batch in range(2, 40):
        with tdsl.no_grad():
            net(tdsl.randn(batch, 6)).sum().item()

    assert dispatch.counters.programs - before <= 4  # the random inputs are part of the program


def test_a_long_chain_goes_forward_and_backward() -> None:
    x = tdsl.ones(8, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y * 1.0001 + 0.0001
    y.sum().backward()

    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), np.full(8, 1.0001**20_000), rtol=1e-2)


def test_doubling_sixty_times_is_linear_work() -> None:
    x = tdsl.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()

    assert y.item() == 2.0**60 and x.grad is not None and x.grad.item() == 2.0**60


def resident() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def train(steps: int) -> None:
    net = small_net()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    x, y = tdsl.randn(32, 6), tdsl.randint(0, 3, (32,))
    for _ in range(steps):
        step(net, opt, x, y)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads Linux's /proc")
@pytest.mark.parametrize("steps", [400, pytest.param(5000, marks=pytest.mark.slow)])
def test_training_keeps_memory_flat(steps: int) -> None:
    train(50)
    gc.collect()
    before = resident()
    train(steps)
    gc.collect()

    assert resident() - before < 8 << 20


def run(code: str, **env: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={**os.environ, **env}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


BITS = """
import hashlib, tdsl
tdsl.manual_seed(3)
x = tdsl.randn(300, 517); w = tdsl.randn(517, 129, requires_grad=True)
y = ((x @ w).tanh() * 0.5 + 1.0).logsumexp(1)
z = y.mean() + x.sum() * 1e-3 + (x * x).mean(0).sum()
z.backward()
big = tdsl.randn(400_000); parts = [z, w.grad, y, big.sum(), big.exp(), (big * 2 + 1).sigmoid()]
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in parts)).hexdigest())
"""


def test_the_same_bits_on_any_number_of_threads() -> None:
    assert len({run(BITS, OMP_NUM_THREADS=str(n)) for n in (1, 2, 3)}) == 1


def test_fused_and_op_by_op_agree_bit_for_bit() -> None:
    x = tdsl.randn(1000)
    fused = ((x * 1.5 + 2.0).exp() - x).sigmoid() * x
    a = x * 1.5
    a.tolist()
    b = (a + 2.0).exp()
    b.tolist()
    c = (b - x).sigmoid()
    c.tolist()

    assert (fused.numpy() == (c * x).numpy()).all()


def test_a_first_gradient_from_process_start() -> None:
    code = "import tdsl; x = tdsl.tensor([1., 2.], requires_grad=True); (x.sin() * x).sum().backward(); print(x.grad)"

    assert run(code).strip() == "tensor([1.3818, 0.0770])"


FORK = """
import os, warnings, tdsl
warnings.simplefilter("ignore")
big = tdsl.randn(1_000_000); total = big.exp().sum().item()
pid = os.fork()
if pid == 0:
    os._exit(0 if big.exp().sum().item() == total else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_computes() -> None:
    assert run(FORK).strip() == "0"


def test_a_fault_is_reported_and_the_rest_goes_on() -> None:
    table, good = tdsl.randn(4, 2), tdsl.ones(3) + 1
    bad = table[tdsl.tensor([0, 1, 2]) + 3]
    with pytest.raises(tdsl.IndexError):
        bad.tolist()

    assert good.tolist() == [2.0, 2.0, 2.0]
    assert (good * 2).sum().item() == 12.0
    with pytest.raises(tdsl.IndexError):
        bad.sum().item()


def test_integer_division_by_zero_is_an_error() -> None:
    with pytest.raises(ZeroDivisionError):
        (tdsl.tensor([4, 2]) // tdsl.tensor([2, 0])).tolist()


OPS = ["exp", "tanh", "neg", "abs", "relu", "sin"]


@pytest.mark.parametrize("seed", [*range(40), *[pytest.param(s, marks=pytest.mark.slow) for s in range(40, 2000)]])
def test_random_programs_equal_their_op_by_op_meaning(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 17], rng.integers(1, 4)))
    pool = [tdsl.tensor(rng.standard_normal(shape)) for _ in range(2)]
    for _ in range(int(rng.integers(3, 12))):
        x = pool[int(rng.integers(len(pool)))]
        kind = int(rng.integers(7))
        if kind == 0:
            pool.append(getattr(tdsl, str(rng.choice(OPS)))(x))
        elif kind == 1:
            y = pool[int(rng.integers(len(pool)))]
            if y.shape == x.shape:
                pool.append(x * y + float(rng.standard_normal()))
        elif kind == 2:
            d = int(rng.integers(x.ndim)) if x.ndim else 0
            pool.append(getattr(x, str(rng.choice(["sum", "mean", "amax", "logsumexp"])))(d, True))
        elif kind == 3 and x.ndim > 1:
            pool.append(x.transpose(0, x.ndim - 1))
        elif kind == 4:
            pool.append(x.reshape(-1))
        elif kind == 5 and x.ndim == 2:
            pool.append(x @ x.t())
        elif kind == 6 and x.ndim and x.shape[0] > 1:
            pool.append(x[1:] * 0.5)
    values = [t.value for t in pool if t.value.data is None]
    if not values:
        return
    wanted = interpret(values)
    dispatch.realize(values)
    for value, want in zip(values, wanted, strict=True):
        scale = max(1.0, float(np.abs(want).max(initial=0.0)))
        np.testing.assert_allclose(value.data.view(value.shape) / scale, want / scale, rtol=1e-9, atol=1e-9)


def test_forgotten_signatures_find_no_other_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers given anew would make new recordings look like programs of old ones."""
    monkeypatch.setattr(recording, "SIGNATURES", 3)
    for n in range(2, 12):
        found = (tdsl.ones(n) * 2).sum() if n % 2 else (tdsl.ones(n) + 3).amax()
        assert float(found) == (2.0 * n if n % 2 else 4.0)


@pytest.mark.parametrize("stage", ["graph", "grad", "kernels", "loops", "llvm", "asm"])
def test_every_stage_of_a_tensors_program_is_text(stage: str) -> None:
    x = tdsl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    (x.exp() * x).sum().backward()
    text = tdsl.ir(x.grad, stage=stage)
    assert {"graph": "exp", "grad": "exp", "kernels": "exp(a0[i, j])", "loops": "math.exp"}.get(stage, "k0") in text
    with pytest.raises(ValueError, match="known already"):
        tdsl.ir(tdsl.tensor([1.0]))

"""Python threads that record and train at once: each has its own grad mode and its own pending work, as in PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tdsl


def in_threads(work: Callable[[int], Any], count: int = 4) -> list[Any]:
    """What `work(k)` gives in each of several threads that start together; an error in one is raised here."""
    gate = threading.Barrier(count)

    def one(k: int) -> Any:
        gate.wait(30)
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def train(seed: int, steps: int = 40) -> tuple[float, list[float]]:
    """A regression whose steps switch grad mode off and on many times."""
    generator = tdsl.Generator().manual_seed(seed)
    x = tdsl.randn(64, 5, generator=generator)
    target = x @ tdsl.arange(5.0)
    w = tdsl.zeros(5, requires_grad=True)
    optimizer = tdsl.optim.Adam([w], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((x @ w - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        with tdsl.no_grad():
            w.mul_(1.0)
    return loss.item(), w.tolist()


def test_threads_train_at_once_as_they_do_alone() -> None:
    assert in_threads(train) == [train(k) for k in range(4)]


def test_grad_mode_is_the_threads_own() -> None:
    def mode(k: int) -> list[bool]:
        seen = [tdsl.is_grad_enabled()]
        with tdsl.set_grad_enabled(k % 2 == 0):
            for _ in range(200):
                seen.append((tdsl.ones(2, requires_grad=True) * 2).requires_grad)
        return seen

    with tdsl.no_grad():
        found = in_threads(mode)
        assert not tdsl.is_grad_enabled()
    for k, seen in enumerate(found):
        assert seen[0] is True, "a new thread begins with grad mode on"
        assert set(seen[1:]) == {k % 2 == 0}


def test_what_one_thread_recorded_another_reads() -> None:
    recorded = [(tdsl.arange(6.0) * k).reshape(2, 3).sum(1) for k in range(4)]
    assert in_threads(lambda k: recorded[k].tolist()) == [[3.0 * k, 12.0 * k] for k in range(4)]
    shared = (tdsl.arange(1000.0) * 2).cumsum(0)
    assert in_threads(lambda k: shared[k].item()) == [0.0, 2.0, 6.0, 12.0]


def test_saved_tensor_hooks_and_inference_mode_stay_in_their_thread() -> None:
    packed = [0] * 4

    def work(k: int) -> float:
        def pack(t: tdsl.Tensor) -> tdsl.Tensor:
            packed[k] += 1
            return t

        x = tdsl.full((3,), float(k), requires_grad=True)
        if k == 0:
            with tdsl.inference_mode():
                return float((x * 2).sum().item())
        if k == 1:
            with tdsl.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
                y = x.exp()
        else:
            y = x.exp()
        y.sum().backward()
        return float(x.grad.sum().item())

    found = in_threads(work)
    assert found[0] == 0.0
    assert packed == [0, packed[1], 0, 0] and packed[1] > 0
    assert abs(found[1] - 3 * 2.718281828) < 1e-5

"""A training step of an MLP against PyTorch eager, alternating in one process: python -m benchmarks.mlp"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from types import ModuleType
from typing import Any

import numpy as np

SIZES = (784, 256, 128, 10)
BLOCK = 40  # steps in a row


def step_of(lib: ModuleType, batch: int) -> tuple[Callable[[], Any], Callable[[Any], float]]:
    """A step of Adam on fixed data, with the same weights for every library, and how to read its loss."""
    rng = np.random.default_rng(0)
    nn = lib.nn
    layers: list[Any] = []
    for n, m in zip(SIZES, SIZES[1:], strict=False):
        layers += [nn.Linear(n, m), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    with lib.no_grad():
        for p in net.parameters():
            p.copy_(lib.tensor(rng.uniform(-0.05, 0.05, tuple(p.shape)).astype(np.float32)))
    opt = lib.optim.Adam(net.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    x = lib.tensor(rng.standard_normal((batch, SIZES[0])).astype(np.float32))
    y = lib.tensor(rng.integers(0, SIZES[-1], batch))

    def step() -> Any:
        loss = loss_of(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return step, lambda loss: float(loss.item())


def block(step: Callable[[], Any]) -> float:
    """Seconds a step. The other library's idle threads spin for a while: let them sleep first."""
    time.sleep(0.15)
    step()
    start = time.perf_counter()
    for _ in range(BLOCK):
        step()
    return (time.perf_counter() - start) / BLOCK


def main() -> None:
    import torch

    import tdsl

    torch.set_num_threads(2)
    print(f"{'batch':>6} {'tdsl ms':>9} {'torch ms':>9}   torch / tdsl")
    for batch in (32, 256):
        ours, our_loss = step_of(tdsl, batch)
        theirs, their_loss = step_of(torch, batch)
        for _ in range(5):
            a, b = our_loss(ours()), their_loss(theirs())
        np.testing.assert_allclose(a, b, rtol=1e-3)
        pairs = [(block(ours), block(theirs)) for _ in range(9)]
        t, p = median(x[0] for x in pairs), median(x[1] for x in pairs)
        print(f"{batch:6} {1e3 * t:9.3f} {1e3 * p:9.3f}   {p / t:.2f}")


if __name__ == "__main__":
    main()

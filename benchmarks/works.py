"""What is timed. A work is written once, in PyTorch's names, and run with tdsl and with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.measure import Run, Work, finished


def works() -> Iterator[Work]:
    yield from _rows()
    yield from _products()
    yield from _convolutions()
    yield from _networks()


def _random(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


# --------------------------------------------------------------------------- elementwise, rows, reductions


def _rows() -> Iterator[Work]:
    functions: dict[str, Callable[[ModuleType, Any], Any]] = {
        "exp": lambda lib, x: lib.exp(x),
        "tanh": lambda lib, x: lib.tanh(x),
        "gelu": lambda lib, x: lib.nn.functional.gelu(x),
        "softmax": lambda lib, x: lib.softmax(x, -1),
        "layer_norm": lambda lib, x: lib.nn.functional.layer_norm(x, (x.shape[-1],)),
    }
    for name, function in functions.items():
        for rows in (100, 4000):
            label = f"{name} {rows}x1000"
            nbytes = 8.0 * rows * 1000
            yield Work(
                label, "rows", _forward(function, rows), nbytes=nbytes, reach={"torch": 2.5 if rows == 100 else 1}
            )
            both = _with_backward(function, rows)
            yield Work(f"{label}, with backward", "rows", both, nbytes=2.5 * nbytes, reach={"torch": 2.5})
    for name in ("sum", "amax", "logsumexp"):
        yield Work(
            f"{name} of 4000x1000", "rows", _forward(_reduction(name), 4000), nbytes=4.0 * 4e6, reach={"torch": 1}
        )


def _reduction(name: str) -> Callable[[ModuleType, Any], Any]:
    return lambda lib, x: getattr(lib, name)(x, -1)


def _forward(function: Callable[[ModuleType, Any], Any], rows: int) -> Callable[[ModuleType], Run]:
    def make(lib: ModuleType) -> Run:
        x = lib.tensor(_random(rows, 1000))
        return lambda: finished(function(lib, x))

    return make


def _with_backward(function: Callable[[ModuleType, Any], Any], rows: int) -> Callable[[ModuleType], Run]:
    def make(lib: ModuleType) -> Run:
        x, g = lib.tensor(_random(rows, 1000), requires_grad=True), lib.tensor(_random(rows, 1000)[::-1].copy())

        def run() -> Any:
            x.grad = None
            y = function(lib, x)
            y.backward(g)
            finished(y)
            return finished(x.grad)

        return run

    return make


# ------------------------------------------------------------------------------------------------ products


def _products() -> Iterator[Work]:
    for m, k, n in [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (32, 784, 256),
                    (768, 128, 512)]:  # fmt: skip

        def make(lib: ModuleType, m: int = m, k: int = k, n: int = n) -> Run:
            a, b = lib.tensor(_random(m, k)), lib.tensor(_random(k, n))
            return lambda: finished(a @ b)

        def with_numpy(m: int = m, k: int = k, n: int = n) -> Run:
            a, b = _random(m, k), _random(k, n)
            return lambda: a @ b

        others = {"numpy": with_numpy}
        yield Work(f"matmul {m}x{k}x{n}", "products", make, others, 2.0 * m * k * n, reach={"torch": 1, "numpy": 0.9})
    yield Work(
        "index notation: attention scores", "products", _scores, flops=2.0 * 48 * 64 * 64 * 32, reach={"torch": 1}
    )


def _scores(lib: ModuleType) -> Run:
    """In tdsl through the language's own notation; in PyTorch through einsum."""
    q, k = lib.tensor(_random(12, 4, 64, 32)), lib.tensor(_random(12, 4, 64, 32))
    if lib.__name__ != "tdsl":
        return lambda: lib.einsum("bhid,bhjd->bhij", q, k)
    function = lib.index("s[b, h, i, j] := sum[d] q[b, h, i, d] * k[b, h, j, d]")
    return lambda: finished(function(q=q, k=k))


# -------------------------------------------------------------------------------------------- convolutions

# (images, channels, size, filters, kernel, arguments, what to reach against PyTorch)
_CONVOLUTIONS: list[tuple[int, int, int, int, int, dict[str, int], float]] = [
    (32, 64, 28, 64, 3, {}, 1.2),
    (8, 128, 56, 128, 3, {"padding": 1}, 1.0),
    (64, 1, 28, 32, 3, {}, 1.0),
    (32, 64, 28, 64, 1, {}, 1.0),
    (16, 64, 28, 128, 3, {"stride": 2, "padding": 1}, 1.0),
]


def _convolutions() -> Iterator[Work]:
    for n, c, size, o, kernel, arguments, reach in _CONVOLUTIONS:

        def make(
            lib: ModuleType, n: int = n, c: int = c, size: int = size, o: int = o, kernel: int = kernel,
            arguments: dict[str, int] = arguments,
        ) -> Run:  # fmt: skip
            x = lib.tensor(_random(n, c, size, size), requires_grad=True)
            w = lib.tensor(_random(o, c, kernel, kernel), requires_grad=True)
            g = lib.ones_like(lib.nn.functional.conv2d(x, w, **arguments).detach())

            def run() -> Any:
                x.grad = w.grad = None
                y = lib.nn.functional.conv2d(x, w, **arguments)
                y.backward(g)
                finished(y), finished(x.grad)
                return finished(w.grad)

            return run

        told = "".join(f", {k} {v}" for k, v in arguments.items())
        out = (size + 2 * arguments.get("padding", 0) - kernel) // arguments.get("stride", 1) + 1
        flops = 6.0 * n * o * c * kernel * kernel * out * out
        name = f"conv2d {n}x{c}x{size}x{size}, {o} of {kernel}x{kernel}{told}, with backward"
        yield Work(name, "convolutions", make, flops=flops, reach={"torch": reach})


# ------------------------------------------------------------------------------------------------ networks


def _networks() -> Iterator[Work]:
    for batch, reach in ((32, 3.5), (256, 1.7)):
        flops = 6.0 * batch * (784 * 256 + 256 * 128 + 128 * 10)
        yield Work(f"MLP 784-256-128-10, batch {batch}, Adam step", "networks", _mlp(batch), flops=flops,
                   reach={"torch": reach})  # fmt: skip
    yield Work("CNN of PyTorch's MNIST example, batch 64, Adadelta step", "networks", _cnn, flops=4.6e9,
               reach={"torch": 1.5}, tolerance=1e-2)  # fmt: skip
    yield Work("GPT 4 layers of 128, 12 x 64 tokens, AdamW step", "networks", _gpt, flops=4.0e9, reach={"torch": 1.6},
               tolerance=1e-2)  # fmt: skip
    yield Work("LSTM 64 -> 128, 16 x 32, SGD step", "networks", _lstm, flops=6.0 * 16 * 32 * 4 * 128 * 192,
               reach={"torch": 1.0}, tolerance=1e-2)  # fmt: skip


def _same_weights(lib: ModuleType, net: Any) -> None:
    rng = np.random.default_rng(1)
    with lib.no_grad():
        for p in net.parameters():
            p.copy_(lib.tensor((rng.standard_normal(tuple(p.shape)) * 0.05).astype(np.float32)))


def _step(lib: ModuleType, net: Any, optimizer: Any, loss_of: Callable[[], Any]) -> Run:
    def run() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return finished(loss)

    return run


def _mlp(batch: int) -> Callable[[ModuleType], Run]:
    def make(lib: ModuleType) -> Run:
        nn = lib.nn
        net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
        _same_weights(lib, net)
        x, y = lib.tensor(_random(batch, 784)), lib.tensor(np.arange(batch) % 10)
        optimizer = lib.optim.Adam(net.parameters(), lr=1e-3)
        return _step(lib, net, optimizer, lambda: nn.functional.cross_entropy(net(x), y))

    return make


def _cnn(lib: ModuleType) -> Run:
    """Without its dropout, whose random numbers differ from library to library."""
    nn = lib.nn
    net = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10))  # fmt: skip
    _same_weights(lib, net)
    x, y = lib.tensor(_random(64, 1, 28, 28)), lib.tensor(np.arange(64) % 10)
    optimizer = lib.optim.Adadelta(net.parameters(), lr=1.0)
    return _step(lib, net, optimizer, lambda: nn.functional.cross_entropy(net(x), y))


def _gpt(lib: ModuleType) -> Run:
    nn = lib.nn
    width, heads, length, vocabulary = 128, 4, 64, 65

    class Layer(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
            self.attend, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            b, t, _ = x.shape
            parts = self.attend(self.norms[0](x)).split(width, dim=2)
            q, k, v = (p.view(b, t, heads, width // heads).transpose(1, 2) for p in parts)
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.join(y.transpose(1, 2).contiguous().view(b, t, width))
            return x + self.down(nn.functional.gelu(self.up(self.norms[1](x))))

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.layers = nn.Sequential(*[Layer() for _ in range(4)])
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, x: Any) -> Any:
            return self.head(self.norm(self.layers(self.tokens(x) + self.places(lib.arange(length)))))

    net = Model()
    _same_weights(lib, net)
    rng = np.random.default_rng(2)
    x, y = (lib.tensor(rng.integers(0, vocabulary, (12, length))) for _ in range(2))
    optimizer = lib.optim.AdamW(net.parameters(), lr=1e-3)
    return _step(lib, net, optimizer, lambda: nn.functional.cross_entropy(net(x).view(-1, vocabulary), y.view(-1)))


def _lstm(lib: ModuleType) -> Run:
    nn = lib.nn
    net = nn.LSTM(64, 128, batch_first=True)
    _same_weights(lib, net)
    x = lib.tensor(_random(16, 32, 64))
    optimizer = lib.optim.SGD(net.parameters(), lr=0.1)
    return _step(lib, net, optimizer, lambda: net(x)[0].square().mean())

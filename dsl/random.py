"""Random numbers by counter (Philox): the same seed gives the same numbers, whatever is fused or threaded."""

from __future__ import annotations

from math import pi, prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import Value, number
from tdsl.compiler.kernel import philox
from tdsl.compiler.source import RuntimeError
from tdsl.elementwise import Defaults, constant
from tdsl.recording import record
from tdsl.shapes import sizes
from tdsl.tensor import Tensor, from_array

__all__ = [
    "Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like", "randperm",
    "set_rng_state",
]  # fmt: skip


class Generator:
    """A stream of random numbers: a seed, and how many were taken."""

    def __init__(self, device: object = "cpu") -> None:
        self.seed_, self.offset = (device if isinstance(device, int) else 0), 0

    def manual_seed(self, seed: int) -> Generator:
        self.seed_, self.offset = int(seed) & ((1 << 63) - 1), 0
        return self

    def initial_seed(self) -> int:
        return self.seed_

    def seed(self) -> int:
        self.manual_seed(int(np.random.SeedSequence().generate_state(1, np.uint64)[0]))
        return self.seed_

    def get_state(self) -> Tensor:
        return from_array(np.array([self.seed_, self.offset]))

    def set_state(self, state: Tensor) -> Generator:
        self.seed_, self.offset = state.tolist()
        return self

    def take(self, count: int) -> tuple[int, int]:
        """(seed, offset) of `count` numbers."""
        offset = self.offset
        self.offset += count
        return self.seed_, offset


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    return default_generator.manual_seed(seed)


def initial_seed() -> int:
    return default_generator.seed_


def get_rng_state() -> Tensor:
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    default_generator.set_state(state)


def _uniform(shape: tuple[int, ...], generator: Generator | None) -> Value:
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    seed, offset = (generator or default_generator).take(prod(shape))
    return record("random", number(seed, dt.i64), number(offset, dt.i64), shape=shape)


def _finish(x: Tensor, dtype: DType | None, requires_grad: bool) -> Tensor:
    dtype = dtype or Defaults.dtype
    x = x if x.dtype is dtype else x.to(dtype)
    return x.requires_grad_() if requires_grad else x


def rand(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, requires_grad: bool = False,
    device: Any = None, out: Any = None,
) -> Tensor:  # fmt: skip
    """Uniform in [0, 1)."""
    return _finish(Tensor(_uniform(sizes(size), generator)), dtype, requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, requires_grad: bool = False,
    device: Any = None, out: Any = None,
) -> Tensor:  # fmt: skip
    """Normal, mean 0 and variance 1, by Box and Muller (1958): two uniforms a number."""
    shape = sizes(size)
    u, v = Tensor(_uniform(shape, generator)), Tensor(_uniform(shape, generator))
    radius = ((constant(1.0, u) - u).log() * constant(-2.0, u)).sqrt()
    return _finish(radius * (v * constant(2 * pi, v)).cos(), dtype, requires_grad)


def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None) -> Tensor:
    shape = size if size is not None else (mean if isinstance(mean, Tensor) else std).shape
    return randn(*shape, generator=generator) * std + mean  # type: ignore[no-any-return]


def randint(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: DType = dt.i64, device: Any = None,
    requires_grad: bool = False, low: int | None = None, high: int | None = None,
) -> Tensor:  # fmt: skip
    """Integers in [low, high). `randint(high, size)`, `randint(low, high, size)`; without a size, one number."""
    numbers = [int(a) for a in args if not isinstance(a, tuple | list)]
    given = [a for a in args if isinstance(a, tuple | list)]
    shape = tuple(size if size is not None else given[0] if given else ())
    if high is None:
        *first, high = numbers
        low = first[0] if first else low or 0
    low = numbers[0] if low is None and numbers else low or 0
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    u = Tensor(_uniform(shape, generator)).to(dt.f64)
    # 24 bits decide up to 16 million values; two draws give 48
    if high - low > 1 << 20:
        u = (u * float(1 << 24) + Tensor(_uniform(shape, generator)).to(dt.f64)) / float(1 << 24)
    return ((u * float(high - low)).floor() + float(low)).to(dtype)  # type: ignore[no-any-return]


def bits(count: int, generator: Generator | None = None) -> np.ndarray[Any, Any]:
    """`count` 32-bit words, now."""
    seed, offset = (generator or default_generator).take(count)
    return philox(np.int64(seed), np.arange(offset, offset + count))  # type: ignore[no-any-return]


def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: DType = dt.i64,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """0..n-1 in random order: the order of n random keys."""
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    keys = bits(2 * n, generator)
    order = np.lexsort((keys[n:], keys[:n]))
    return from_array(order.astype(dtype.numpy))


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with probability `input` (or p), else 0."""
    u = Tensor(_uniform(tuple(input.shape), generator))
    return (u < (input if p is None else p)).to(input.dtype)  # type: ignore[no-any-return]


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with probabilities proportional to each row, by the largest of log p + Gumbel noise."""
    weights = np.array(input.detach().array(), np.float64)
    rows = weights.reshape(-1, weights.shape[-1])
    if (rows < 0).any() or not np.isfinite(rows).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (rows.sum(1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement and num_samples > rows.shape[1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if replacement:
        u = bits(rows.shape[0] * num_samples, generator).reshape(-1, num_samples) / 2.0**32
        cdf = np.cumsum(rows, 1) / rows.sum(1, keepdims=True)
        result = np.stack([np.searchsorted(c, x, side="right") for c, x in zip(cdf, u, strict=True)])
        result = np.minimum(result, rows.shape[1] - 1)
    else:
        u = (bits(rows.size, generator).reshape(rows.shape) + 0.5) / 2.0**32
        with np.errstate(divide="ignore"):
            keys = np.log(rows) - np.log(-np.log(u))
        result = np.argsort(-keys, 1, kind="stable")[:, :num_samples]
    return from_array(result.astype(np.int64).reshape(*weights.shape[:-1], num_samples))


def rand_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    return rand(*input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randn_like(input: Tensor, *, dtype: DType | None = None, requires_grad: bool = False) -> Tensor:
    return randn(*input.shape, dtype=dtype or input.dtype, requires_grad=requires_grad)


def randint_like(input: Tensor, *args: int, dtype: DType | None = None) -> Tensor:
    return randint(*args, size=tuple(input.shape), dtype=dtype or input.dtype)

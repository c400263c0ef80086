"""Random numbers by counter (Philox): the same seed gives the same numbers, whatever is fused or threaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import log1p, pi, prod
from typing import Any

import numpy as np

from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.graph import Value, number
from tdsl.compiler.kernel import philox
from tdsl.compiler.ops.elementwise import broadcast
from tdsl.compiler.source import NotImplementedError, RuntimeError, TypeError
from tdsl.elementwise import Defaults, constant
from tdsl.recording import record
from tdsl.shapes import sizes
from tdsl.tensor import Device, Tensor, from_array, type_name

__all__ = [
    "Generator", "bernoulli", "binomial", "default_generator", "get_rng_state", "initial_seed", "manual_seed",
    "multinomial", "normal", "poisson", "rand", "rand_like", "randint", "randint_like", "randn", "randn_like",
    "randperm", "seed", "set_rng_state",
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
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, names: None = None,
) -> Tensor:  # fmt: skip
    """Uniform in [0, 1)."""
    Device(device or "cpu")
    return _finish(Tensor(_uniform(sizes(size), generator)), _floating("rand", dtype), requires_grad)


def randn(
    *size: Any, generator: Generator | None = None, dtype: DType | None = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False, names: None = None,
) -> Tensor:  # fmt: skip
    """Normal, mean 0 and variance 1, by Box and Muller (1958): two uniforms a number."""
    Device(device or "cpu")
    return _finish(_gauss(sizes(size), generator), _floating("randn", dtype), requires_grad)


def _floating(name: str, dtype: DType | None) -> DType:
    dtype = dtype or Defaults.dtype
    if not isinstance(dtype, DType):
        raise TypeError(f"{name}(): argument 'dtype' must be tdsl.dtype, not {type(dtype).__name__}")
    if not dtype.is_float:
        kernel = "check_uniform_bounds" if name == "rand" else "normal_kernel_cpu"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(dtype)}'")
    return dtype


def _gauss(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    u, v = Tensor(_uniform(shape, generator)), Tensor(_uniform(shape, generator))
    radius = ((constant(1.0, u) - u).log() * constant(-2.0, u)).sqrt()
    return radius * (v * constant(2 * pi, v)).cos()


def _positive_uniform(shape: tuple[int, ...], generator: Generator | None) -> Tensor:
    """Uniform in (0, 1]: a logarithm can be taken of it."""
    u = Tensor(_uniform(shape, generator))
    return constant(1.0, u) - u


def normal(
    mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
    dtype: DType | None = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """Normal numbers: of one mean and deviation and a size, or of tensors of means and deviations."""
    deviations = std if isinstance(std, Tensor) else None
    if deviations is not None and deviations.numel() and bool((deviations < 0).any()):
        raise RuntimeError("normal expects all elements of std >= 0.0")
    if deviations is None and std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if size is not None:
        shape = sizes((size,))
    else:
        given = [tuple(x.shape) for x in (mean, std) if isinstance(x, Tensor)]
        if not given:
            raise TypeError("normal(): give a size, or a tensor of means or deviations")
        shape = broadcast(given)  # type: ignore[assignment]
    x = _finish(_gauss(shape, generator), dtype, False)
    x = x.detach() * (std.detach() if isinstance(std, Tensor) else std)
    x = x + (mean.detach() if isinstance(mean, Tensor) else mean)
    like = mean if isinstance(mean, Tensor) else std
    if size is None and isinstance(like, Tensor):
        x = x.to(like.dtype)
    return x.requires_grad_() if requires_grad else x


def _integers(
    low: int, high: int, shape: tuple[int, ...], generator: Generator | None, dtype: DType, name: str = "random_"
) -> Tensor:
    """Integers in [low, high): 24 bits decide up to a million values; two draws give 48."""
    if low >= high:
        raise RuntimeError(f"{name} expects 'from' to be less than 'to', but got from={low} >= to={high}")
    _inside(low, high, dtype)
    u = Tensor(_uniform(shape, generator)).to(dt.f64)
    if high - low > 1 << 20:
        u = (u * float(1 << 24) + Tensor(_uniform(shape, generator)).to(dt.f64)) / float(1 << 24)
    return ((u * float(high - low)).floor() + float(low)).to(dtype)  # type: ignore[no-any-return]


_C_NAMES = {dt.u8: "unsigned char", dt.i8: "signed char", dt.i16: "short", dt.i32: "int", dt.bool_: "bool"}


def _inside(low: int, high: int, dtype: DType) -> None:
    if dtype.is_float or dtype is dt.i64:
        return
    least = -(1 << (dtype.bits - 1)) if dtype.signed else 0
    most = (1 << (dtype.bits - dtype.signed)) - 1
    for what, x in (("from", low), ("to - 1", high - 1)):
        if not least <= x <= most:
            raise RuntimeError(f"{what} is out of bounds for {_C_NAMES[dtype]}")


def randint(
    *args: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None, layout: Any = None,
    device: Any = None, requires_grad: bool = False, pin_memory: bool = False, low: int | None = None,
    high: int | None = None,
) -> Tensor:  # fmt: skip
    """Integers in [low, high). `randint(high, size)` or `randint(low, high, size)`; without a size, one number."""
    Device(device or "cpu")
    numbers = [int(a) for a in args if not isinstance(a, tuple | list)]
    given = [a for a in args if isinstance(a, tuple | list)]
    shape = sizes((size if size is not None else given[0] if given else (),))
    if high is None:
        if not numbers:
            raise TypeError("randint(): argument 'high' is missing")
        *first, high = numbers
        low = first[0] if first else low or 0
    low = numbers[0] if low is None and numbers else low or 0
    made = _integers(low, high, shape, generator, dtype or dt.i64)
    return made.requires_grad_() if requires_grad else made


def bits(count: int, generator: Generator | None = None) -> np.ndarray[Any, Any]:
    """`count` 32-bit words, now."""
    seed, offset = (generator or default_generator).take(count)
    return philox(np.int64(seed), np.arange(offset, offset + count))  # type: ignore[no-any-return]


def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType = dt.i64, layout: Any = None, device: Any = None,
    requires_grad: bool = False, pin_memory: bool = False,
) -> Tensor:  # fmt: skip
    """0..n-1 in random order: the order of n random keys."""
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if not dtype.is_float and n - 1 > (1 << (dtype.bits - dtype.signed)) - 1:
        raise RuntimeError(f"value cannot be converted to type {dtype.torch_name}_t without overflow")
    keys = bits(2 * n, generator)
    order = np.lexsort((keys[n:], keys[:n]))
    return from_array(order).to(dtype)  # type: ignore[no-any-return]


def _need_float(input: Tensor, kernel: str) -> None:
    if not input.dtype.is_float:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(input.dtype)}'")


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with probability `input` (or p), else 0."""
    if p is None:
        _need_float(input, "bernoulli_tensor_cpu_p_")
        if input.numel() and not bool(((input >= 0) & (input <= 1)).all()):
            raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    u = Tensor(_uniform(tuple(input.shape), generator))
    return (u < (input.detach() if p is None else p)).to(input.dtype)  # type: ignore[no-any-return]


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson numbers of these rates: through NumPy's generator, seeded from our stream."""
    _need_float(input, "poisson_cpu")
    rates = np.array(input.detach().array(), np.float64)
    if (rates < 0).any():
        raise RuntimeError("invalid Poisson rate, expected rate to be non-negative")
    return from_array(np.asarray(_numpy_random(generator).poisson(rates))).to(input.dtype)  # type: ignore[no-any-return]


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials of this probability succeed."""
    _need_float(count, "binomial_cpu")
    n, p = (np.array(x.detach().array(), np.float64) for x in (count, prob))
    made = _numpy_random(generator).binomial(n.astype(np.int64), np.clip(p, 0, 1))
    return from_array(np.asarray(made)).to(count.dtype)  # type: ignore[no-any-return]


def _numpy_random(generator: Generator | None) -> np.random.Generator:
    """NumPy's generator, seeded from our stream."""
    return np.random.Generator(np.random.Philox(key=int(bits(1, generator)[0]) << 32 | int(bits(1, generator)[0])))


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Positions drawn with probabilities proportional to each row, by the largest of log p + Gumbel noise."""
    if not input.dtype.is_float:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {type_name(input.dtype)}")
    if input.ndim not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    weights = np.array(input.detach().array(), np.float64)
    rows = weights.reshape(-1, weights.shape[-1])
    if not replacement and num_samples > rows.shape[1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if (rows < 0).any() or not np.isfinite(rows).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if (rows.sum(1) <= 0).any():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
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


def rand_like(
    input: Tensor, *, dtype: DType | None = None, generator: Generator | None = None, **options: Any
) -> Tensor:
    return rand(*input.shape, dtype=dtype or input.dtype, generator=generator, **_kept(options))


def randn_like(
    input: Tensor, *, dtype: DType | None = None, generator: Generator | None = None, **options: Any
) -> Tensor:
    return randn(*input.shape, dtype=dtype or input.dtype, generator=generator, **_kept(options))


def randint_like(
    input: Tensor, *args: Any, dtype: DType | None = None, generator: Generator | None = None, **options: Any
) -> Tensor:
    bounds = [a.item() if isinstance(a, Tensor) else a for a in args]
    return randint(*bounds, size=tuple(input.shape), dtype=dtype or input.dtype, generator=generator, **_kept(options))


def _kept(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in options.items() if k != "memory_format"}


# ---- numbers of a distribution, for `Tensor.exponential_` and its kin


def exponential(input: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    _need_float(input, "exponential_")
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    u = _positive_uniform(tuple(input.shape), generator)
    return (u.log() * (-1.0 / lambd)).to(input.dtype)  # type: ignore[no-any-return]


def cauchy(input: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    _need_float(input, "cauchy_")
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    u = Tensor(_uniform(tuple(input.shape), generator))
    return (((u - 0.5) * pi).tan() * sigma + median).to(input.dtype)  # type: ignore[no-any-return]


def geometric(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    u = _positive_uniform(tuple(input.shape), generator)
    return (u.log() / log1p(-p)).ceil().clamp(1).to(input.dtype)  # type: ignore[no-any-return]


def log_normal(input: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    _need_float(input, "log_normal_")
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    return (_gauss(tuple(input.shape), generator) * std + mean).exp().to(input.dtype)  # type: ignore[no-any-return]


def uniform(input: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    _need_float(input, "check_uniform_bounds")
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_} > to={to}")
    u = Tensor(_uniform(tuple(input.shape), generator))
    return (u * (to - from_) + from_).to(input.dtype)  # type: ignore[no-any-return]


def normal_of(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    _need_float(input, "normal_kernel_cpu")
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    return (_gauss(tuple(input.shape), generator) * std + mean).to(input.dtype)  # type: ignore[no-any-return]


def random_of(input: Tensor, from_: int = 0, to: int | None = None, *, generator: Generator | None = None) -> Tensor:
    """Integers in [from, to); without `to`, in [0, from); without either, all the dtype holds exactly."""
    d = input.dtype
    if to is None:
        most = {dt.f32: 1 << 24, dt.f64: 1 << 53, dt.f16: 1 << 11, dt.bf16: 1 << 8}.get(d)
        from_, to = 0, from_ or most or (2 if d is dt.bool_ else 1 << min(d.bits - d.signed, 48))
    return _integers(from_, to, tuple(input.shape), generator, d)


@contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_: Any) -> Iterator[None]:
    """The stream of random numbers goes on afterwards as if nothing had been drawn."""
    state = (default_generator.seed_, default_generator.offset)
    try:
        yield
    finally:
        if enabled:
            default_generator.seed_, default_generator.offset = state


def seed() -> int:
    """A seed from the machine's entropy, set and returned."""
    return default_generator.seed()

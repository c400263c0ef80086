"""float16 and bfloat16: every value, rounding at each operation, f32 within sums and products, all that moves them."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdsl
import tdsl.nn.functional as F
from tdsl.compiler.dtype import bf16, from_storage, to_storage
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.pipeline import emit, lower
from tdsl.compiler.target import AVX2, NEON, PLAIN

HALVES = [tdsl.float16, tdsl.bfloat16]
BITS = np.arange(1 << 16, dtype=np.uint16)
Array = Any


def elements(bits: Array, dtype: Any) -> Array:
    """What 16 bits are, by NumPy and by the definition of bfloat16: the upper half of an f32."""
    return bits.view(np.float16).astype(np.float32) if dtype is tdsl.float16 else from_storage(bits, bf16)


def nearest(x: Array, dtype: Any) -> Array:
    with np.errstate(all="ignore"):
        return x.astype(np.float16).view(np.uint16) if dtype is tdsl.float16 else to_storage(x, bf16)


def halves(bits: Array, dtype: Any) -> Any:
    return tdsl.from_numpy(bits.view(np.int16).copy()).view(dtype)


def bits_of(x: Any) -> Array:
    return x.view(tdsl.int16).numpy().view(np.uint16)


@pytest.mark.parametrize("dtype", HALVES)
def test_every_half_widens_and_comes_back(dtype: Any) -> None:
    wide = halves(BITS, dtype).float().numpy()
    np.testing.assert_array_equal(wide, elements(BITS, dtype))
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(bits_of(tdsl.tensor(wide).to(dtype))[number], BITS[number])
    assert np.isnan(tdsl.tensor(wide[~number]).to(dtype).float().numpy()).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_rounds_to_nearest_even(dtype: Any) -> None:
    """Random bits, and all values beside and between two halves."""
    rng = np.random.default_rng(0)
    step = 0x1000 if dtype is tdsl.float16 else 0x8000
    exact = elements(BITS, dtype).view(np.uint32).astype(np.int64)
    near = (exact[:, None] + np.array([-step - 1, -step, 1 - step, -1, 1, step - 1, step, step + 1])).astype(np.uint32)
    x = np.concatenate([rng.integers(0, 1 << 32, 300_000, dtype=np.uint32), near.reshape(-1)]).view(np.float32)
    x = x[~np.isnan(x)]
    np.testing.assert_array_equal(bits_of(tdsl.tensor(x).to(dtype)), nearest(x, dtype))
    wide = rng.standard_normal(1000) * 10.0 ** rng.integers(-9, 9, 1000)
    np.testing.assert_array_equal(bits_of(tdsl.tensor(wide).to(dtype)), nearest(wide.astype(np.float32), dtype))


@pytest.mark.parametrize("dtype", HALVES)
def test_each_operation_rounds_though_it_is_fused(dtype: Any) -> None:
    rng = np.random.default_rng(1)
    x, y = (elements(nearest(rng.standard_normal(4001).astype("f"), dtype), dtype) for _ in range(2))
    a, b = tdsl.tensor(x, dtype=dtype), tdsl.tensor(y, dtype=dtype)

    def rounded(v: Array) -> Array:
        return elements(nearest(v.astype(np.float32), dtype), dtype)

    expected = rounded(rounded(rounded(x * y) + x) - rounded(y * y))
    np.testing.assert_array_equal((a * b + a - b * b).float().numpy(), expected)
    assert (a * b).dtype is dtype and (a > b).dtype is tdsl.bool and a.sum().dtype is dtype


def test_promotion() -> None:
    f16, b16 = tdsl.ones(2, dtype=tdsl.float16), tdsl.ones(2, dtype=tdsl.bfloat16)
    assert (f16 + b16).dtype is tdsl.float32 and (f16 + 1.5).dtype is tdsl.float16
    assert (b16 * tdsl.ones(2, dtype=tdsl.int64)).dtype is tdsl.bfloat16
    assert (b16 + tdsl.tensor(2.0)).dtype is tdsl.bfloat16  # a 0-d tensor of the same category is weaker
    assert (f16 + tdsl.ones(2)).dtype is tdsl.float32 and (f16 + tdsl.ones(2).double()).dtype is tdsl.float64
    assert tdsl.promote_types(tdsl.float16, tdsl.uint8) is tdsl.float16
    assert tdsl.half is tdsl.float16 and f16.float().half().dtype is tdsl.float16 and f16.bfloat16().dtype is b16.dtype


@pytest.mark.parametrize("dtype", HALVES)
def test_sums_and_products_are_made_in_f32(dtype: Any) -> None:
    ones = tdsl.ones(5000, dtype=dtype)
    assert ones.sum().item() == pytest.approx(5000, rel=2**-8)
    assert ones.cumsum(0)[-1].item() == pytest.approx(5000, rel=2**-8) and ones.mean().item() == 1
    assert ones.sum(dtype=tdsl.float32).item() == 5000
    rng = np.random.default_rng(2)
    x, y = (elements(nearest(rng.standard_normal(s).astype("f"), dtype), dtype) for s in ((33, 70), (70, 41)))
    product = tdsl.tensor(x, dtype=dtype) @ tdsl.tensor(y, dtype=dtype)
    np.testing.assert_allclose(product.float().numpy(), x @ y, rtol=2**-7, atol=2**-7)
    image, filters = tdsl.ones(2, 4, 9, 9, dtype=dtype), tdsl.ones(6, 4, 3, 3, dtype=dtype)
    made = F.conv2d(image, filters)
    assert made.dtype is dtype and made.unique().tolist() == [36.0]


@pytest.mark.parametrize("dtype", HALVES)
def test_moving_them(dtype: Any) -> None:
    x = tdsl.arange(24, dtype=dtype).reshape(4, 6)
    y = x[1:3, ::2]
    y.add_(0.5)
    assert x[1].tolist() == [6.5, 7, 8.5, 9, 10.5, 11] and x.t().contiguous()[0].tolist() == [0, 6.5, 12.5, 18]
    x[0] = 7
    assert x.tolist()[0] == [7.0] * 6 and tdsl.cat([x, x]).shape == (8, 6) and x.flip(0)[3, 0].item() == 7
    assert x.gather(1, tdsl.tensor([[5], [0], [0], [0]])).flatten().tolist() == [7, 6.5, 12.5, 18]
    assert tdsl.where(x > 10, x, 0).dtype is dtype and x.sort(descending=True).values[0, 0].item() == 7
    assert x.topk(1).values.dtype is dtype and x.max().item() == 23 and x.argmax().item() == 23
    assert copy.deepcopy(x).equal(x) and x.clone().dtype is dtype and x.element_size() == 2 and x.nbytes == 48
    assert (
        tdsl.zeros_like(x).dtype is dtype and x.new_ones(2).dtype is dtype and tdsl.rand(3, dtype=dtype).dtype is dtype
    )
    assert repr(tdsl.tensor([1.5, -2.25], dtype=dtype)) == f"tensor([ 1.5000, -2.2500], dtype=tdsl.{dtype.torch_name})"


def test_numpy_has_one_of_them() -> None:
    x = tdsl.ones(3, dtype=tdsl.float16)
    array = x.numpy()
    array[0] = 5
    assert array.dtype == np.float16 and x.tolist() == [5, 1, 1]
    assert tdsl.from_numpy(np.ones(2, np.float16)).dtype is tdsl.float16
    with pytest.raises(TypeError, match="unsupported ScalarType BFloat16"):
        tdsl.ones(3, dtype=tdsl.bfloat16).numpy()
    assert tdsl.tensor([0.1], dtype=tdsl.bfloat16).tolist() == [0.10009765625]


def test_limits() -> None:
    half, brain = tdsl.finfo(tdsl.float16), tdsl.finfo(tdsl.bfloat16)
    assert (half.max, half.eps, half.tiny, half.bits) == (65504.0, 2.0**-10, 2.0**-14, 16)
    assert (brain.max, brain.eps, brain.tiny) == (3.3895313892515355e38, 2.0**-7, 2.0**-126)
    with pytest.raises(RuntimeError, match="without overflow"):
        tdsl.full((2,), 1e6, dtype=tdsl.float16)
    assert tdsl.tensor([1e6]).half().tolist() == [float("inf")]


@pytest.mark.parametrize("dtype", HALVES)
def test_a_network_trains(dtype: Any) -> None:
    tdsl.manual_seed(0)
    model = tdsl.nn.Sequential(tdsl.nn.Linear(8, 32), tdsl.nn.GELU(), tdsl.nn.LayerNorm(32), tdsl.nn.Linear(32, 3)).to(
        dtype
    )
    optimizer = tdsl.optim.AdamW(model.parameters(), lr=0.02, eps=1e-4)
    x, target = tdsl.randn(64, 8).to(dtype), tdsl.randint(0, 3, (64,))
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.dtype is dtype and p.grad is not None and p.grad.dtype is dtype for p in model.parameters())


def test_gradients_flow_through_casts() -> None:
    x = tdsl.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x.half() * tdsl.tensor([1.0, 0.1, 3.0], dtype=tdsl.float16)).sum().float().backward()
    assert x.grad is not None and x.grad.dtype is tdsl.float32
    assert x.grad.tolist() == [1.0, float(np.float16(0.1)), 3.0]


@pytest.mark.parametrize("dtype", HALVES)
def test_files(dtype: Any, tmp_path: Path) -> None:
    x = halves(BITS[: 1 << 12], dtype).reshape(64, 64)
    file = io.BytesIO()
    tdsl.save({"x": x, "part": x[3:5]}, file)
    file.seek(0)
    back = tdsl.load(file)
    assert back["x"].dtype is dtype and back["x"].equal(x) and back["part"].equal(x[3:5])
    tdsl.save_safetensors({"x": x}, tmp_path / "x.safetensors")
    again = tdsl.load_safetensors(tmp_path / "x.safetensors")["x"]
    assert again.dtype is dtype and again.equal(x)


def test_index_notation_names_them() -> None:
    f = tdsl.index("y[i] := (x[i] * x[i]).to(f16)")
    assert f(x=tdsl.tensor([1.1, 2.0])).tolist() == [float(np.float16(np.float32(1.1) * np.float32(1.1))), 4.0]
    assert "bf16" in tdsl.ir(tdsl.ones(3, dtype=tdsl.bfloat16).exp())


@pytest.mark.parametrize("target", [AVX2, NEON, PLAIN], ids=lambda t: f"{t.cpu}-{t.vector_bits}")
def test_no_runtime_library_is_called(target: Any) -> None:
    for name in ("f16", "bf16"):
        kernel = parse(f"kernel k(x: {name}[64]) -> (y):\n  y[i] := exp(x[i]) * x[i]")
        text = emit(lower(kernel, target), target)
        assert "half" not in text and "bfloat" not in text

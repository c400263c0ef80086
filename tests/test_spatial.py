"""Layers over space: transposed convolutions, folding, resizing, sampling and pooling, alone and against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tdsl
import tdsl.nn.functional as F
from tdsl import nn
from tdsl.autograd import gradcheck, gradgradcheck

RNG = np.random.default_rng(5)


def values(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.standard_normal(shape)


def test_fold_sums_what_unfold_reads() -> None:
    x = tdsl.tensor(values(1, 2, 5, 6))
    counts = F.fold(F.unfold(tdsl.ones(1, 2, 5, 6, dtype=tdsl.float64), 3, padding=1), (5, 6), 3, padding=1)
    folded = F.fold(F.unfold(x, 3, padding=1), (5, 6), 3, padding=1)
    np.testing.assert_allclose(folded.numpy(), (x * counts).numpy())


@pytest.mark.parametrize("options", [{"stride": 2, "output_padding": 1}, {"dilation": 2, "padding": 1}])
def test_transposed_convolution_is_the_gradient_of_convolution(options: dict[str, int]) -> None:
    x, w = tdsl.tensor(values(2, 3, 4)), tdsl.tensor(values(3, 2, 3))
    y = F.conv_transpose1d(x, w, **options)
    back = {k: v for k, v in options.items() if k != "output_padding"}
    z = tdsl.zeros(*y.shape, dtype=tdsl.float64, requires_grad=True)
    F.conv1d(z, w, **back)[..., :4].backward(x)
    assert z.grad is not None
    np.testing.assert_allclose(y.numpy(), z.grad.numpy(), atol=1e-12)


def test_gradients_of_the_second_order() -> None:
    x, w = (tdsl.tensor(values(*s), requires_grad=True) for s in ((1, 2, 3), (2, 1, 2)))
    assert gradcheck(lambda a, b: F.conv_transpose1d(a, b, stride=2), (x, w))
    assert gradgradcheck(lambda a, b: F.conv_transpose1d(a, b, stride=2), (x, w))


def test_bytes_are_resized_and_rounded() -> None:
    x = tdsl.tensor([[[[0, 255], [255, 0]]]], dtype=tdsl.uint8)
    assert F.interpolate(x, size=(2, 3), mode="bilinear").tolist() == [[[[0, 128, 255], [255, 128, 0]]]]


def test_fractional_windows_are_drawn_for_each_channel() -> None:
    x = tdsl.arange(162.0).reshape(1, 2, 9, 9)
    samples = tdsl.tensor([[[0.0, 0.0], [0.5, 0.5]]])
    y, places = F.fractional_max_pool2d(x, 2, output_size=3, return_indices=True, _random_samples=samples)
    assert (x.reshape(1, 2, 81).gather(2, places.reshape(1, 2, 9)).reshape(1, 2, 3, 3) == y).all()
    assert y[0, 0].tolist() != (y[0, 1] - 81).tolist()


def _both(torch: Any, call: Any, arrays: list[Any]) -> None:
    """Value and gradients by tdsl and by PyTorch."""
    ours = [tdsl.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = call(F, ours), call(torch.nn.functional, theirs)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)
    seed = np.cos(np.arange(z.numel())).reshape(z.shape)
    y.backward(tdsl.tensor(seed))
    z.backward(torch.tensor(seed))
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grids_are_sampled_as_pytorch_does(mode: str, padding: str) -> None:
    torch = pytest.importorskip("torch")
    arrays = [values(2, 2, 4, 5), RNG.uniform(-1.6, 1.6, (2, 3, 4, 2))]
    _both(torch, lambda f, a: f.grid_sample(*a, mode=mode, padding_mode=padding, align_corners=False), arrays)


@pytest.mark.peer
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("options", [{"align_corners": True}, {"antialias": True}])
def test_images_are_resized_as_pytorch_does(mode: str, options: dict[str, bool]) -> None:
    torch = pytest.importorskip("torch")
    _both(torch, lambda f, a: f.interpolate(*a, size=(3, 11), mode=mode, **options), [values(2, 2, 7, 6)])


@pytest.mark.peer
@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}, {"stride": 3, "dilation": 2}]
)
def test_transposed_convolution_as_pytorch_does(options: dict[str, int]) -> None:
    torch = pytest.importorskip("torch")
    outputs = 3 * options.get("groups", 1)
    arrays = [values(2, 4, 3, 4), values(4, 3, 3, 2), values(outputs)]
    _both(torch, lambda f, a: f.conv_transpose2d(*a, **options), arrays)


@pytest.mark.peer
def test_layers_have_the_text_and_the_state_of_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    makers: list[Any] = [
        lambda m: m.Conv2d(4, 6, 3, stride=2, padding="valid", groups=2, padding_mode="reflect"),
        lambda m: m.ConvTranspose2d(4, 6, (3, 2), stride=2, output_padding=1),
        lambda m: m.BatchNorm3d(4, momentum=None), lambda m: m.InstanceNorm2d(4, affine=True),
        lambda m: m.GroupNorm(2, 4), lambda m: m.LayerNorm((3, 4)), lambda m: m.RMSNorm(4),
        lambda m: m.LocalResponseNorm(2), lambda m: m.MaxPool2d(3, 2, ceil_mode=True), lambda m: m.AvgPool1d(2),
        lambda m: m.AdaptiveAvgPool2d((None, 3)), lambda m: m.MaxUnpool2d(2), lambda m: m.LPPool2d(2, 3),
        lambda m: m.Upsample(scale_factor=2, mode="bilinear"), lambda m: m.UpsamplingNearest2d(size=4),
        lambda m: m.Fold((4, 5), 2), lambda m: m.Unfold(2), lambda m: m.ReflectionPad2d(1),
        lambda m: m.ConstantPad1d(2, 3.5), lambda m: m.ZeroPad3d(1), lambda m: m.CircularPad2d((1, 2, 0, 1)),
        lambda m: m.PixelShuffle(2), lambda m: m.PixelUnshuffle(2), lambda m: m.ChannelShuffle(2),
        lambda m: m.SyncBatchNorm(3),
    ]  # fmt: skip
    for make in makers:
        ours, theirs = make(nn), make(torch.nn)
        assert repr(ours) == repr(theirs)
        assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
            (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
        ]

"""Convolutions of one, two and three dimensions, each one line of index notation."""

from __future__ import annotations

from functools import lru_cache
from math import prod

from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.kernel_text import intern
from tdsl.compiler.source import RuntimeError
from tdsl.nn.patches import folded
from tdsl.nn.windows import OUT, TAPS, Ints, per_dimension, window
from tdsl.shapes import pad_constant
from tdsl.tensor import Tensor, index_op, type_name


@lru_cache(maxsize=2048)
def _kernel(
    dtype: str, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], bias: bool, zero: str,
) -> Kernel:  # fmt: skip
    """x is (N, C, ...) and w (O, C, ...); of groups, (N, G, C, ...) and (G, O, C, ...)."""
    rank = len(out)
    places = ", ".join(window(OUT[k], TAPS[k], stride[k], dilation[k], padding[k]) for k in range(rank))
    fill = f" else {zero}" if any(padding) else ""
    group = "g, " if len(x) == rank + 3 else ""
    params = f"a0: {dtype}[{','.join(map(str, x))}], a1: {dtype}[{','.join(map(str, w))}]"
    params += f", a2: {dtype}[{','.join(map(str, w[: len(w) - rank - 1]))}]" if bias else ""
    axes = ", ".join(f"{OUT[k]} in 0:{out[k]}" for k in range(rank))
    taps = ", ".join(TAPS[:rank])
    start = f"a2[{group}o] + " if bias else ""
    return intern(parse(
        f"kernel conv({params}) -> (y):\n"
        f"  y[n, {group}o, {axes}] := {start}sum[c, {taps}] a0[n, {group}c, {places}{fill}] * a1[{group}o, c, {taps}]"
    ))  # fmt: skip


def _checked(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...],
    padding: tuple[int, ...], dilation: tuple[int, ...], groups: int, transposed: bool,
) -> None:  # fmt: skip
    for what, given in (("stride", stride), ("dilation", dilation)):
        if any(n <= 0 for n in given):
            raise RuntimeError(
                f"non-positive {what} is not supported" if what == "stride" else "dilation should be greater than zero"
            )
    if any(n < 0 for n in padding):
        raise RuntimeError("negative padding is not supported")
    if groups <= 0:
        raise RuntimeError("non-positive groups is not supported")
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"Expected {rank + 2}-dimensional input for {rank + 2}-dimensional weight {list(weight.shape)}, but got "
            f"{input.ndim}-dimensional input of size {list(input.shape)} instead"
        )
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"Input type ({_torch_type(input)}) and weight type ({_torch_type(weight)}) should be the same"
        )
    if bias is not None and bias.dtype is not input.dtype:
        raise RuntimeError(f"Input type ({_torch_type(input)}) and bias type ({_torch_type(bias)}) should be the same")
    if weight.shape[0] % groups or weight.shape[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but got weight of size "
            f"{list(weight.shape)} instead"
            if weight.shape[0] < groups else
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, but got weight of "
            "size "
            f"{list(weight.shape)} instead"
        )  # fmt: skip
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    if input.shape[1] != channels:
        turned = "transposed=1, " if transposed else f"groups={groups}, "
        raise RuntimeError(
            f"Given {turned}weight of size {list(weight.shape)}, expected input{list(input.shape)} to have {channels} "
            f"channels, but got {input.shape[1]} channels instead"
        )
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and tuple(bias.shape) != (outputs,):
        turned = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"Given {turned}weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {outputs} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )


def _torch_type(x: Tensor) -> str:
    return f"tdsl.{type_name(x.dtype)}Tensor"


def _batched(name: str, rank: int, input: Tensor) -> bool:
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got input of size: "
            f"{list(input.shape)}"
        )
    return input.ndim == rank + 2


def convolution(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints | str,
    dilation: Ints, groups: int,
) -> Tensor:  # fmt: skip
    if not _batched(name, rank, input):
        return convolution(name, rank, input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)  # type: ignore[no-any-return]
    s, d = per_dimension(stride, rank, "stride"), per_dimension(dilation, rank, "dilation")
    if weight.ndim != rank + 2:
        raise RuntimeError(
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight {list(weight.shape)}, but "
            f"got {input.ndim}-dimensional input of size {list(input.shape)} instead"
        )
    if isinstance(padding, str):
        input, padding = _padded_same(input, weight, s, d, padding, rank)
    p = per_dimension(padding, rank, "padding")
    _checked(name, rank, input, weight, bias, s, p, d, groups, False)
    spatial, taps = tuple(input.shape[2:]), tuple(weight.shape[2:])
    out = tuple((spatial[k] + 2 * p[k] - d[k] * (taps[k] - 1) - 1) // s[k] + 1 for k in range(rank))
    if any(n <= 0 for n in out):
        padded = " x ".join(str(spatial[k] + 2 * p[k]) for k in range(rank))
        sizes = " x ".join(str(d[k] * (taps[k] - 1) + 1) for k in range(rank))
        raise RuntimeError(
            f"Calculated padded input size per channel: ({padded}). Kernel size: ({sizes}). Kernel size can't be "
            "greater "
            "than actual input size"
        )
    if input.shape[0] == 0 or 0 in weight.shape:
        return _nothing(input, weight, bias, (input.shape[0], weight.shape[0], *out))
    x, w, b = input, weight, bias
    if groups > 1:
        x = x.reshape(x.shape[0], groups, weight.shape[1], *spatial)
        w = w.reshape(groups, weight.shape[0] // groups, weight.shape[1], *taps)
        b = None if b is None else b.reshape(groups, weight.shape[0] // groups)
    zero = "0.0" if input.dtype.is_float else "0"
    kernel = _kernel(input.dtype.name, tuple(x.shape), tuple(w.shape), out, s, p, d, b is not None, zero)
    y = index_op(kernel, [x, w] if b is None else [x, w, b])
    return y.reshape(input.shape[0], weight.shape[0], *out) if groups > 1 else y  # type: ignore[no-any-return]


def _nothing(input: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Of no samples, or of no channels: zeros, or the bias, that hang on what they come from."""
    start = 0 * input.sum() + 0 * weight.sum()
    y = start.expand(shape) if bias is None else (bias + start).reshape(-1, *[1] * (len(shape) - 2)).expand(shape)
    return y.clone()  # type: ignore[no-any-return]


def _padded_same(
    input: Tensor, weight: Tensor, s: tuple[int, ...], d: tuple[int, ...], padding: str, rank: int
) -> tuple[Tensor, Ints]:
    if padding == "valid":
        return input, 0
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    if any(n != 1 for n in s):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d[k] * (weight.shape[2 + k] - 1) for k in range(rank)]
    if all(t % 2 == 0 for t in total):
        return input, tuple(t // 2 for t in total)
    low, high = [0, 0, *(t // 2 for t in total)], [0, 0, *(t - t // 2 for t in total)]
    return pad_constant(input, low, high), 0


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, L) with (O, C / groups, R)."""
    return convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, H, W) with (O, C / groups, R, S)."""
    return convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints | str = 0,
    dilation: Ints = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, D, H, W) with (O, C / groups, Q, R, S)."""
    return convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


# ---- transposed: a product makes the windows that each position spreads to, and folding sums them


def transposed(
    name: str, rank: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints,
    output_padding: Ints, groups: int, dilation: Ints,
) -> Tensor:  # fmt: skip
    if not _batched(name, rank, input):
        made = transposed(
            name, rank, input.unsqueeze(0), weight, bias, stride, padding, output_padding, groups, dilation
        )
        return made.squeeze(0)  # type: ignore[no-any-return]
    s, p = per_dimension(stride, rank, "stride"), per_dimension(padding, rank, "padding")
    d, extra = per_dimension(dilation, rank, "dilation"), per_dimension(output_padding, rank, "output_padding")
    _checked(name, rank, input, weight, bias, s, p, d, groups, True)
    for k in range(rank):
        if extra[k] >= max(s[k], d[k]):
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding_height: {extra[0]} output_padding_width: {extra[-1]} stride_height: {s[0]} "
                f"stride_width: {s[-1]} dilation_height: {d[0]} dilation_width: {d[-1]}"
            )
    spatial, taps = tuple(input.shape[2:]), tuple(weight.shape[2:])
    out = tuple((spatial[k] - 1) * s[k] - 2 * p[k] + d[k] * (taps[k] - 1) + extra[k] + 1 for k in range(rank))
    if any(n <= 0 for n in out):
        raise RuntimeError(
            f"Given input size per channel: {list(spatial)}. Calculated output size per channel: {list(out)}. Output "
            "size is too small"
        )
    channels = weight.shape[1] * groups
    if input.shape[0] == 0 or 0 in weight.shape:
        return _nothing(input, weight, bias, (input.shape[0], channels, *out))
    n, per = input.shape[0], weight.shape[0] // groups
    x = input.reshape(n, groups, per, prod(spatial))
    w = weight.reshape(groups, per, prod(weight.shape[1:]))
    columns = w.transpose(1, 2) @ x  # what each input position adds to the window it makes
    y = folded(columns.reshape(n, channels, *taps, *spatial), out, s, p, d)
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution of (N, C, L) with (C, O / groups, R)."""
    return transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution of (N, C, H, W) with (C, O / groups, R, S)."""
    return transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1, padding: Ints = 0,
    output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> Tensor:  # fmt: skip
    """The transposed convolution of (N, C, D, H, W) with (C, O / groups, Q, R, S)."""
    return transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)


__all__ = [
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
]  # fmt: skip

"""Functions of neural networks: formulas on tensors, and windowed reads in index notation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.compiler import dtype as dt
from tdsl.compiler.dtype import DType
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.source import IndexError, RuntimeError, ShapeError, ValueError
from tdsl.elementwise import constant, relu, sigmoid, where
from tdsl.elementwise import gelu as gelu
from tdsl.elementwise import tanh as tanh
from tdsl.nn import fused
from tdsl.random import rand
from tdsl.recording import record
from tdsl.reductions import log_softmax as _log_softmax
from tdsl.reductions import logsumexp
from tdsl.reductions import softmax as _softmax
from tdsl.shapes import flatten, matmul, pad_constant, permute
from tdsl.tensor import Tensor, index_op

Pair = int | Sequence[int]


def softmax(input: Tensor, dim: int | None = None, dtype: DType | None = None) -> Tensor:
    return _softmax(input, -1 if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: DType | None = None) -> Tensor:
    return _log_softmax(input, -1 if dim is None else dim, dtype)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    return where(input > 0, input, input * negative_slope)  # type: ignore[no-any-return]


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    return where(input > 0, input, alpha * ew.expm1(where(input > 0, 0.0, input)))  # type: ignore[no-any-return]


def silu(input: Tensor) -> Tensor:
    return input * sigmoid(input)  # type: ignore[no-any-return]


def softplus(input: Tensor) -> Tensor:
    return relu(input) + ew.log1p(ew.exp(-abs(input)))  # type: ignore[no-any-return]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x w^T + b over the last dimension."""
    one = fused.linear(input, weight, bias)
    if one is not None:
        return one
    if input.shape[-1:] != weight.shape[-1:]:
        rows = input.numel() // max(1, input.shape[-1]) if input.ndim else 1
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{input.shape[-1] if input.ndim else 1} and "
            f"{weight.shape[1]}x{weight.shape[0]})",
            notes=[f"linear: the input is {input.dtype.name}{list(input.shape)}, but the weight {weight.dtype.name}"
                   f"{list(weight.shape)} takes {weight.shape[-1]} features"],
        )  # fmt: skip
    y = matmul(input, permute(weight, 1, 0) if weight.ndim == 2 else weight)
    return y if bias is None else y + bias  # type: ignore[no-any-return]


def embedding(
    input: Tensor, weight: Tensor, padding_idx: int | None = None, max_norm: float | None = None, *_: Any
) -> Tensor:
    """Rows of weight; the row `padding_idx` gets no gradient."""
    if padding_idx is not None:
        padding_idx %= weight.shape[0]
        rows = ew.eq(Tensor(_iota(weight.shape[0])), padding_idx).unsqueeze(1)
        weight = where(rows, weight.detach(), weight)
    return weight[input if input.dtype is dt.i64 else input.long()]  # type: ignore[no-any-return]


def _iota(n: int) -> Any:
    return record("iota", length=n)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero with probability p, scaled by 1 / (1 - p)."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    keep = rand(*input.shape) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    return where(keep, input * scale, constant(0.0, input))  # type: ignore[no-any-return]


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Each sample's last dimensions with mean 0 and variance 1 (Ba, Kiros and Hinton, arXiv:1607.06450)."""
    n = len(normalized_shape)
    if tuple(input.shape[input.ndim - n :]) != tuple(normalized_shape):
        raise RuntimeError(
            f"Given normalized_shape={list(normalized_shape)}, expected input with shape [*, "
            f"{', '.join(map(str, normalized_shape))}], but got input of size{list(input.shape)}"
        )
    dims = tuple(range(input.ndim - n, input.ndim))
    centred = input - input.mean(dims, True)
    y = centred * ew.rsqrt((centred * centred).mean(dims, True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias  # type: ignore[no-any-return]


def batch_norm(
    input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Per channel; normalises with the biased variance, keeps a running unbiased one."""
    dims = (0, *range(2, input.ndim))
    shape = (1, -1) + (1,) * (input.ndim - 2)
    if training or running_mean is None or running_var is None:
        n = input.numel() // max(1, input.shape[1])
        if n <= 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape!r}")
        mean = input.mean(dims)
        centred = input - mean.reshape(shape)
        var = (centred * centred).mean(dims)
        if running_mean is not None and running_var is not None:
            running_mean.copy_(running_mean * (1 - momentum) + mean.detach() * momentum)
            running_var.copy_(running_var * (1 - momentum) + var.detach() * (momentum * n / (n - 1)))
    else:
        centred, var = input - running_mean.reshape(shape), running_var
    y = centred * ew.rsqrt(var + eps).reshape(shape)
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)  # type: ignore[no-any-return]


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    return input / input.norm(p, dim, True).clamp(min=eps)  # type: ignore[no-any-return]


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Each class as a row with 1 at its place; `num_classes` -1: one more than the largest."""
    if tensor.dtype is not dt.i64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if num_classes == 0 or num_classes < -1:
        raise RuntimeError("num_classes should be positive")
    if tensor.numel() and int(tensor.min().item()) < 0:
        raise RuntimeError("Class values must be non-negative.")
    n = int(tensor.max().item()) + 1 if num_classes == -1 else num_classes
    if tensor.numel() and int(tensor.max().item()) >= n:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (tensor.unsqueeze(-1) == Tensor(_iota(n))).long()  # type: ignore[no-any-return]


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Constant padding, the last dimension first; negative amounts cut."""
    if mode != "constant":
        raise ValueError(f"padding mode {mode!r} is not supported", hint='use mode="constant"')
    low, high = [0] * input.ndim, [0] * input.ndim
    for k in range(len(pad) // 2):
        low[-1 - k], high[-1 - k] = pad[2 * k], pad[2 * k + 1]
    for d in range(input.ndim):
        cut_low, cut_high = max(0, -low[d]), max(0, -high[d])
        if cut_low or cut_high:
            input = input.narrow(d, cut_low, input.shape[d] - cut_low - cut_high)
    return pad_constant(input, [max(0, n) for n in low], [max(0, n) for n in high], value or 0.0)


# ------------------------------------------------------------------------------------------------ losses


def _averaged(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss.mean() if reduction == "mean" else loss.sum()  # type: ignore[no-any-return]


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    d = input - target
    return _averaged(d * d, reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    return _averaged(abs(input - target), reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    d = abs(input - target)
    return _averaged(where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Logarithms are at least -100."""
    loss = -(target * ew.log(input).clamp(min=-100.0) + (1 - target) * ew.log(1 - input).clamp(min=-100.0))
    return _averaged(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    soft = ew.log1p(ew.exp(-abs(input))) + relu(-input)
    loss = (1 - target) * input + (soft if pos_weight is None else (1 + (pos_weight - 1) * target) * soft)
    return _averaged(loss if weight is None else loss * weight, reduction)


@lru_cache(maxsize=256)
def _picked(dtype: str, n: int, c: int) -> Kernel:
    return parse(f"kernel picked(a0: {dtype}[{n},{c}], a1: i64[{n}]) -> (y):\n  y[n] := a0[n, a1[n]]")


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Minus the log-probability of each target class."""
    x, t = _rows(input, target)
    if weight is None and not _has(t, ignore_index):
        loss = -_pick(x, t)
        return _averaged(loss.reshape(tuple(target.shape)), reduction)
    return _weighted(-_pick(x, _safe(t, ignore_index)), t, weight, ignore_index, reduction, target)


def _rows(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(positions, classes) and (positions) from PyTorch's (N, C, ...) and (N, ...)."""
    if target.dtype is not dt.i64:
        kind = {"i32": "Int", "f32": "Float", "f64": "Double", "u8": "Byte"}.get(target.dtype.name, target.dtype.name)
        raise RuntimeError(f"expected scalar type Long but found {kind}")
    if input.ndim == 1:
        return input.unsqueeze(0), target.reshape(1)
    if input.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size ({target.shape[0]})."
        )
    if input.ndim == 2:
        return input, target
    return input.movedim(1, -1).reshape(-1, input.shape[1]), flatten(target)


def _has(t: Tensor, ignore_index: int) -> bool:
    """Whether targets known already hold the ignored class; pending ones are taken to when it can occur."""
    value = t.value
    if value.data is None:
        return ignore_index >= 0
    return bool((value.data.view(value.shape) == ignore_index).any())


def _all_classes(t: Tensor, x: Tensor, ignore_index: int) -> bool:
    """Whether every target is known, one of the classes, and none is ignored."""
    data = t.value.data
    if data is None or t.numel() == 0 or 0 <= ignore_index < x.shape[1]:
        return False
    return int(data.array.view(np.uint64).max()) < x.shape[1]  # a negative one is a large one


def _safe(t: Tensor, ignore_index: int) -> Tensor:
    return where(t == ignore_index, 0, t)  # type: ignore[no-any-return]


def _pick(x: Tensor, t: Tensor) -> Tensor:
    """x[n, t[n]], whose gradient is a comparison, not a scatter."""
    value = t.value
    if value.data is not None and value.data.array.size:
        low, high = int(value.data.array.min()), int(value.data.array.max())
        if low < 0 or high >= x.shape[1]:
            raise IndexError(f"Target {low if low < 0 else high} is out of bounds.")
    return index_op(_picked(x.dtype.name, x.shape[0], x.shape[1]), [x, t])


def _weighted(
    loss: Tensor, t: Tensor, weight: Tensor | None, ignore_index: int, reduction: str, target: Tensor
) -> Tensor:
    keep = (t != ignore_index).to(loss.dtype)
    w = keep if weight is None else weight[_safe(t, ignore_index)] * keep
    loss = where(t == ignore_index, constant(0.0, loss), loss * w)
    if reduction == "mean":
        return loss.sum() / w.sum()  # type: ignore[no-any-return]
    return _averaged(loss.reshape(tuple(target.shape)), reduction)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Of logits: classes as int64 indices, or probabilities of the input's shape."""
    if target.dtype.is_float:
        if tuple(target.shape) != tuple(input.shape):
            raise ValueError(f"Expected input {list(input.shape)} and target {list(target.shape)} of one shape")
        d = 1 if input.ndim > 1 else 0
        if label_smoothing:
            target = target * (1 - label_smoothing) + label_smoothing / input.shape[d]
        terms = target * _log_softmax(input, d)
        terms = terms if weight is None else terms * weight.reshape((1, -1) + (1,) * (input.ndim - 2))
        loss = -terms.sum(d)
        return loss.sum() / (input.numel() // input.shape[d]) if reduction == "mean" else _averaged(loss, reduction)  # type: ignore[no-any-return]
    x, t = _rows(input, target)
    lse = logsumexp(x, 1)
    if weight is None and not label_smoothing and reduction in ("mean", "sum") and _all_classes(t, x, ignore_index):
        return fused.picked_loss(x, lse, t, reduction)
    plain = weight is None and not _has(t, ignore_index)
    if plain and not label_smoothing:
        return _averaged((lse - _pick(x, t)).reshape(tuple(target.shape)), reduction)
    safe = _safe(t, ignore_index)
    loss = lse - _pick(x, safe)
    if not label_smoothing:
        return _weighted(loss, t, weight, ignore_index, reduction, target)
    return _smoothed(x, t, lse, loss, weight, ignore_index, reduction, label_smoothing, target)


def _smoothed(
    x: Tensor, t: Tensor, lse: Tensor, loss: Tensor, weight: Tensor | None, ignore_index: int, reduction: str,
    smoothing: float, target: Tensor,
) -> Tensor:  # fmt: skip
    """(1 - s) of the target's loss, and s shared over all classes."""
    keep = (t != ignore_index).to(loss.dtype)
    spread = lse.unsqueeze(1) - x
    spread = (spread if weight is None else spread * weight).sum(1) / x.shape[1]
    w = keep if weight is None else weight[_safe(t, ignore_index)] * keep
    total = loss * w * (1 - smoothing) + spread * keep * smoothing
    if reduction == "mean":
        return total.sum() / w.sum()  # type: ignore[no-any-return]
    return _averaged(total.reshape(tuple(target.shape)), reduction)


# ------------------------------------------------------------------------------------- windowed reads


def _pair(x: Pair) -> tuple[int, int]:
    return (x, x) if isinstance(x, int) else (int(x[0]), int(x[1]))


def _window(axis: str, tap: str, stride: int, dilation: int, padding: int) -> str:
    text = axis if stride == 1 else f"{stride} * {axis}"
    text += f" + {tap}" if dilation == 1 else f" + {dilation} * {tap}"
    return text if padding == 0 else f"{text} - {padding}"


@lru_cache(maxsize=512)
def _conv_kernel(
    dtype: str, x: tuple[int, ...], w: tuple[int, ...], out: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int], groups: int, bias: bool,
) -> Kernel:  # fmt: skip
    rows = _window("i", "r", stride[0], dilation[0], padding[0])
    columns = _window("j", "s", stride[1], dilation[1], padding[1])
    fill = " else 0.0" if any(padding) else ""
    params = f"a0: {dtype}[{','.join(map(str, x))}], a1: {dtype}[{','.join(map(str, w))}]"
    start = "a2[o] + " if bias else ""
    params += f", a2: {dtype}[{w[0]}]" if bias else ""
    per = w[0] // groups
    channel = "c" if groups == 1 else f"o // {per} * {w[1]} + c"
    return parse(
        f"kernel conv({params}) -> (y):\n"
        f"  y[n, o, i in 0:{out[0]}, j in 0:{out[1]}] := {start}sum[c in 0:{w[1]}, r, s] "
        f"a0[n, {channel}, {rows}, {columns}{fill}] * a1[o, c, r, s]"
    )


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Pair = 1, padding: Pair | str = 0,
    dilation: Pair = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """Cross-correlation of (N, C, H, W) with (O, C / groups, R, S); one line of index notation."""
    if input.ndim == 3:
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)  # type: ignore[no-any-return]
    if input.ndim != 4:
        raise RuntimeError(
            f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
        )
    s, d = _pair(stride), _pair(dilation)
    if padding == "valid":
        padding = 0
    if padding == "same":
        total = [d[k] * (weight.shape[2 + k] - 1) for k in (0, 1)]
        input = pad(input, [total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2])
        padding = 0
    p = _pair(padding)  # type: ignore[arg-type]
    if input.shape[1] != weight.shape[1] * groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[1] * groups} channels, but got {input.shape[1]} channels instead"
        )
    out = tuple((input.shape[2 + k] + 2 * p[k] - d[k] * (weight.shape[2 + k] - 1) - 1) // s[k] + 1 for k in (0, 1))
    if min(out) <= 0:
        raise RuntimeError(
            f"Calculated padded input size per channel: ({input.shape[2] + 2 * p[0]} x {input.shape[3] + 2 * p[1]}). "
            f"Kernel size: ({weight.shape[2]} x {weight.shape[3]}). Kernel size can't be greater than actual input size"
        )
    kernel = _conv_kernel(
        input.dtype.name,
        tuple(input.shape),
        tuple(weight.shape),
        out,
        s,
        p,
        d,
        groups,
        bias is not None,  # type: ignore[arg-type]
    )
    return index_op(kernel, [input, weight] if bias is None else [input, weight, bias])


@lru_cache(maxsize=512)
def _pool_kernel(
    dtype: str, x: tuple[int, ...], op: str, out: tuple[int, int], size: tuple[int, int], stride: tuple[int, int],
    padding: tuple[int, int], dilation: tuple[int, int],
) -> Kernel:  # fmt: skip
    rows = _window("i", "r", stride[0], dilation[0], padding[0])
    columns = _window("j", "s", stride[1], dilation[1], padding[1])
    fill = (" else -inf" if op == "max" else " else 0.0") if any(padding) else ""
    return parse(
        f"kernel pool(a0: {dtype}[{','.join(map(str, x))}]) -> (y):\n"
        f"  y[n, c, i in 0:{out[0]}, j in 0:{out[1]}] := {op}[r in 0:{size[0]}, s in 0:{size[1]}] "
        f"a0[n, c, {rows}, {columns}{fill}]"
    )


def _pool(
    op: str, input: Tensor, size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Tensor:
    if input.ndim == 3:
        return _pool(op, input.unsqueeze(0), size, stride, padding, dilation, ceil_mode).squeeze(0)  # type: ignore[no-any-return]
    k, p, d = _pair(size), _pair(padding), _pair(dilation)
    s = k if stride is None else _pair(stride)
    if any(2 * a > b for a, b in zip(p, k, strict=True)):
        raise RuntimeError(
            f"pad should be at most half of effective kernel size, but got pad={p[0]}, kernel_size={k[0]}"
        )
    span = [input.shape[2 + q] + 2 * p[q] - d[q] * (k[q] - 1) - 1 for q in (0, 1)]
    out = tuple((-(-span[q] // s[q]) if ceil_mode else span[q] // s[q]) + 1 for q in (0, 1))
    if min(out) <= 0:
        raise RuntimeError(
            f"Given input size: {list(input.shape[1:])}. Calculated output size: {list(out)}. Output size is too small"
        )
    kernel = _pool_kernel(input.dtype.name, tuple(input.shape), op, out, k, s, p, d)  # type: ignore[arg-type]
    return index_op(kernel, [input])


def max_pool2d(
    input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1,
    ceil_mode: bool = False, return_indices: bool = False,
) -> Tensor:  # fmt: skip
    """The largest of each window."""
    if return_indices or ceil_mode:
        raise ValueError("max_pool2d: return_indices and ceil_mode are not supported yet")
    return _pool("max", input, kernel_size, stride, padding, dilation, False)


def avg_pool2d(
    input: Tensor, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window; padding counts."""
    if ceil_mode or not count_include_pad:
        raise ValueError("avg_pool2d: ceil_mode and count_include_pad=False are not supported yet")
    return _pool("mean", input, kernel_size, stride, padding, 1, False)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None,
) -> Tensor:  # fmt: skip
    """softmax(q k^T / sqrt(d)) v; a bool mask keeps what is True; a row with nothing kept is 0."""
    scale = 1 / query.shape[-1] ** 0.5 if scale is None else scale
    scores = matmul(query, key.transpose(-2, -1)) * scale
    if is_causal:
        rows, columns = Tensor(_iota(query.shape[-2])), Tensor(_iota(key.shape[-2]))
        attn_mask = rows.unsqueeze(1) >= columns.unsqueeze(0)
    if attn_mask is None:
        return matmul(dropout(_softmax(scores, -1), dropout_p), value)
    if attn_mask.dtype is not dt.bool_:
        return matmul(dropout(_softmax(scores + attn_mask, -1), dropout_p), value)
    masked = where(attn_mask, scores, float("-inf"))
    some = attn_mask.any(-1, True)
    weights = where(some, _softmax(where(some, masked, 0.0), -1), 0.0)
    return matmul(dropout(weights, dropout_p), value)

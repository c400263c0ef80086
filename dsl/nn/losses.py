"""Loss functions under PyTorch's names."""

from __future__ import annotations

import warnings
from functools import lru_cache
from math import log, pi
from typing import Any

import numpy as np

from tdsl import elementwise as ew
from tdsl.autograd.function import Function
from tdsl.broadcasting import broadcast_tensors
from tdsl.compiler import dtype as dt
from tdsl.compiler.kernel import Kernel
from tdsl.compiler.kernel_parse import parse
from tdsl.compiler.source import IndexError, RuntimeError, ValueError
from tdsl.elementwise import constant, relu, where
from tdsl.halves import rounded_once
from tdsl.nn import fused
from tdsl.nn.activations import logsigmoid
from tdsl.products import matmul
from tdsl.reductions import log_softmax as _log_softmax
from tdsl.reductions import logsumexp
from tdsl.shapes import flatten, permute
from tdsl.statistics import safe_sqrt
from tdsl.tensor import Tensor, from_array, index_op, type_name

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cosine_similarity",
    "cross_entropy", "ctc_loss", "gaussian_nll_loss", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss",
    "linear_cross_entropy", "margin_ranking_loss", "mse_loss", "multi_margin_loss", "multilabel_margin_loss",
    "multilabel_soft_margin_loss", "nll_loss", "pairwise_distance", "pdist", "poisson_nll_loss", "smooth_l1_loss",
    "soft_margin_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss",
]  # fmt: skip


def _reduction(reduction: str, size_average: Any = None, reduce: Any = None) -> str:
    """The older two flags as the one of today."""
    if size_average is None and reduce is None:
        return reduction
    size_average, reduce = size_average is not False, reduce is not False
    return "none" if not reduce else "mean" if size_average else "sum"


def averaged(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return loss.mean() if reduction == "mean" else loss.sum()  # type: ignore[no-any-return]


def _known(reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")


def _same_size(name: str, input: Tensor, target: Tensor) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({target.shape!r}) that is different to the input size ({input.shape!r}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            UserWarning,
            stacklevel=3,
        )


def mse_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean of squared differences."""
    _same_size("mse_loss", input, target)
    d = input - target
    loss = d * d
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return loss.sum() / weight.expand(loss.shape).sum()  # type: ignore[no-any-return]
    return averaged(loss, _reduction(reduction, size_average, reduce))


def l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The mean of absolute differences."""
    _same_size("l1_loss", input, target)
    loss = ew.abs(input - target)
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return loss.sum() / weight.expand(loss.shape).sum()  # type: ignore[no-any-return]
    return averaged(loss, _reduction(reduction, size_average, reduce))


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:  # fmt: skip
    """Squares within beta of 0, absolute differences beyond."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    _same_size("smooth_l1_loss", input, target)
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)
    d = ew.abs(input - target)
    loss = where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta)
    return averaged(loss, _reduction(reduction, size_average, reduce))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Half squares within delta of 0, delta (|d| - delta / 2) beyond (Huber, 1964)."""
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    _same_size("huber_loss", input, target)
    d = ew.abs(input - target)
    loss = where(d <= delta, d * d * 0.5, delta * (d - 0.5 * delta))
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return loss.sum() / weight.expand(loss.shape).sum()  # type: ignore[no-any-return]
    return averaged(loss, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Of probabilities; logarithms are at least -100."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"Using a target size ({target.shape!r}) that is different to the input size ({input.shape!r}) is "
            "deprecated. "
            "Please ensure they have the same size."
        )
    if input.numel() and input.value.data is not None and not bool(((input >= 0) & (input <= 1)).all()):
        raise RuntimeError("all elements of input should be between 0 and 1")
    loss = _Bce.apply(input, target)
    return averaged(loss if weight is None else loss * weight, _reduction(reduction, size_average, reduce))


class _Bce(Function):
    """The gradient is that of the sum, with a denominator of at least 1e-12, as PyTorch has it."""

    @staticmethod
    def forward(ctx: Any, x: Any, t: Any) -> Any:
        ctx.save_for_backward(x, t)
        return -(t * ew.log(x).clamp(min=-100.0) + (1 - t) * ew.log1p(-x).clamp(min=-100.0))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, t = ctx.saved_tensors
        to_x = g * (x - t) / ((1 - x) * x).clamp(min=1e-12)
        to_t = g * (ew.log1p(-x).clamp(min=-100.0) - ew.log(x).clamp(min=-100.0)) if ctx.needs_input_grad[1] else None
        return to_x, to_t


def binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean", pos_weight: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """binary_cross_entropy of sigmoid(input), without loss of digits."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(f"Target size ({target.shape!r}) must be the same as input size ({input.shape!r})")
    soft = -logsigmoid(input)
    loss = (1 - target) * input + (soft if pos_weight is None else (1 + (pos_weight - 1) * target) * soft)
    return averaged(loss if weight is None else loss * weight, _reduction(reduction, size_average, reduce))


# ---- classes


@lru_cache(maxsize=256)
def _picked(dtype: str, n: int, c: int) -> Kernel:
    return parse(f"kernel picked(a0: {dtype}[{n},{c}], a1: i64[{n}]) -> (y):\n  y[n] := a0[n, a1[n]]")


def nll_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Minus the log-probability of each target class."""
    reduction = _reduction(reduction, size_average, reduce)
    _check_classes(input, target, weight, reduction)
    x, t = _rows(input, target)
    if weight is None and not _has(t, ignore_index) and x.numel():
        loss = -_pick(x, t)
        return averaged(loss.reshape(tuple(target.shape)), reduction)
    if x.numel() == 0:
        return _of_none(input, target, reduction)
    return _weighted(-_pick(x, _safe(t, ignore_index)), t, weight, ignore_index, reduction, target)


def _of_none(input: Tensor, target: Tensor, reduction: str) -> Tensor:
    zero = input.sum() * 0
    if reduction == "none":
        return zero.expand(target.shape)  # type: ignore[no-any-return]
    return zero / 0 if reduction == "mean" else zero


def _check_classes(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> None:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if input.ndim == 0:
        raise RuntimeError("input tensor should be 1D or 2D")
    c = input.shape[0] if input.ndim == 1 else input.shape[1]
    if weight is not None and tuple(weight.shape) != (c,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {c} classes or no classes but got weight tensor of shape: "
            f"{list(weight.shape)}"
        )
    if input.ndim > 1 and target.ndim > 0 and input.shape[0] == target.shape[0]:
        if tuple(target.shape) != (input.shape[0], *input.shape[2:]):
            raise RuntimeError(
                "0D or 1D target tensor expected, multi-target not supported" if input.ndim == 2 else
                f"size mismatch (got input: {list(input.shape)} , target: {list(target.shape)}"
            )  # fmt: skip


def _rows(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """(positions, classes) and (positions) from PyTorch's (N, C, ...) and (N, ...)."""
    if target.dtype not in (dt.i64, dt.u8):
        raise RuntimeError(f"expected scalar type Long but found {type_name(target.dtype)}")
    target = target if target.dtype is dt.i64 else target.to(dt.i64)
    if input.ndim == 1:
        return input.unsqueeze(0), target.reshape(1)
    if target.ndim == 0 or input.shape[0] != target.shape[0]:
        raise ValueError(
            f"Expected input batch_size ({input.shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.ndim else 1})."
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
    return averaged(loss.reshape(tuple(target.shape)), reduction)


def cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Of logits: classes as int64 indices, or probabilities of the input's shape."""
    reduction = _reduction(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    _check_classes(input, target, weight, reduction) if not target.dtype.is_float else None
    if target.dtype.is_float:
        return _soft_targets(input, target, weight, reduction, label_smoothing)
    x, t = _rows(input, target)
    if x.numel() == 0:
        return _of_none(input, target, reduction)
    lse = logsumexp(x, 1)
    if weight is None and not label_smoothing and reduction in ("mean", "sum") and _all_classes(t, x, ignore_index):
        return fused.picked_loss(x, lse, t, reduction)
    plain = weight is None and not _has(t, ignore_index)
    if plain and not label_smoothing:
        return averaged((lse - _pick(x, t)).reshape(tuple(target.shape)), reduction)
    safe = _safe(t, ignore_index)
    loss = lse - _pick(x, safe)
    if not label_smoothing:
        return _weighted(loss, t, weight, ignore_index, reduction, target)
    return _smoothed(x, t, lse, loss, weight, ignore_index, reduction, label_smoothing, target)


def _soft_targets(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, smoothing: float) -> Tensor:
    if tuple(target.shape) != tuple(input.shape):
        raise RuntimeError("Expected floating point type for target with class probabilities of one shape, got "
                           f"{list(target.shape)} for input {list(input.shape)}")  # fmt: skip
    d = 1 if input.ndim > 1 else 0
    if smoothing:
        target = target * (1 - smoothing) + smoothing / input.shape[d]
    terms = target * _log_softmax(input, d)
    shape = (1, -1) + (1,) * (input.ndim - 2) if input.ndim > 1 else (-1,)
    terms = terms if weight is None else terms * weight.reshape(shape)
    loss = -terms.sum(d)
    if reduction != "mean":
        return averaged(loss, reduction)
    return loss.sum() / (input.numel() // input.shape[d])  # type: ignore[no-any-return]


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
    return averaged(total.reshape(tuple(target.shape)), reduction)


def linear_cross_entropy(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Tensor | None = None, **options: Any
) -> Tensor:
    """cross_entropy of a linear layer's output."""
    logits = matmul(input, permute(linear_weight, 1, 0))
    logits = logits if linear_bias is None else logits + linear_bias
    options = {k: v for k, v in options.items() if k in ("reduction", "ignore_index", "label_smoothing", "weight")}
    return cross_entropy(logits.movedim(-1, 1) if logits.ndim > 2 else logits, target, **options)


# ---- distributions


@rounded_once
def kl_div(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:  # fmt: skip
    """target (log target - input): the divergence of log-probabilities `input` from `target`."""
    if log_target:
        loss = ew.exp(target) * (target - input)
    else:
        positive = target > 0
        logs = ew.log(where(positive, target, 1.0))
        loss = where(positive, target * logs, where(target == 0, 0.0, float("nan"))) - target * input
    if reduction == "batchmean":
        return loss.sum() / (input.shape[0] if input.ndim else 1)  # type: ignore[no-any-return]
    if reduction == "mean" and size_average is None and reduce is None:
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.", UserWarning, stacklevel=2,
        )  # fmt: skip
    return averaged(loss, _reduction(reduction, size_average, reduce))


def poisson_nll_loss(
    input: Tensor, target: Tensor, log_input: bool = True, full: bool = False, size_average: Any = None,
    eps: float = 1e-8, reduce: Any = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Minus the log-likelihood of counts of a Poisson distribution, but for a constant."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = ew.exp(input) - target * input if log_input else input - target * ew.log(input + eps)
    if full:
        some = target > 1
        safe = where(some, target, 2.0)
        stirling = safe * ew.log(safe) - safe + 0.5 * ew.log(2 * pi * safe)
        loss = loss + where(some, stirling, 0.0)
    return averaged(loss, _reduction(reduction, size_average, reduce))


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Minus the log-likelihood of a normal distribution; variances are at least eps."""
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input * 0 + var
    elif bool((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if tuple(var.shape) != tuple(input.shape):
        if tuple(input.shape[:-1]) == tuple(var.shape):
            var = var.unsqueeze(-1)
        elif not (tuple(input.shape[:-1]) == tuple(var.shape[:-1]) and var.shape[-1] == 1):
            if not _broadcastable(var.shape, input.shape):
                raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    floor = where(var < eps, eps, var).to(var.dtype).detach()
    safe = var + (floor - var).detach()
    d = input - target
    loss = 0.5 * (ew.log(safe) + d * d / safe)
    return averaged(loss + 0.5 * log(2 * pi) if full else loss, reduction)


def _broadcastable(small: Any, big: Any) -> bool:
    return len(small) <= len(big) and all(a in (1, b) for a, b in zip(reversed(small), reversed(big), strict=False))


# ---- margins


def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, -target (input1 - input2) + margin)."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.shape!r}, input2: {input2.shape!r}, target: {target.shape!r} "
        )
    loss = (-target * (input1 - input2) + margin).clamp(min=0)
    return averaged(loss, _reduction(reduction, size_average, reduce))


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """x where the target is 1, max(0, margin - x) where it is -1."""
    zero = constant(0.0, input)
    loss = where(target != 1, (margin - input).clamp(min=0), zero) + where(target != -1, input, zero)
    return averaged(loss, _reduction(reduction, size_average, reduce))


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target x))."""
    z = -target * input
    return averaged(relu(z) + ew.log1p(ew.exp(-ew.abs(z))), _reduction(reduction, size_average, reduce))


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The mean over classes of the binary cross entropy of logits."""
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    loss = loss if weight is None else loss * weight
    return averaged(loss.sum(-1) / input.shape[-1], _reduction(reduction, size_average, reduce))


def _classes(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if input.ndim not in (1, 2) and not (input.ndim == 0 and target.ndim == 0) or input.ndim and input.shape[-1] == 0:
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    return (input.reshape(1, -1) if input.ndim < 2 else input), target


def multi_margin_loss(
    input: Tensor, target: Tensor, p: int = 1, margin: float = 1.0, weight: Tensor | None = None,
    size_average: Any = None, reduce: Any = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """The mean over the other classes of max(0, margin - x[target] + x[class])^p."""
    _known(_reduction(reduction, size_average, reduce))
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.ndim != 1:
        raise ValueError("weight must be one-dimensional")
    x, t = _classes("multi_margin_loss", input, target)
    t = t.reshape(-1)
    if t.shape[0] != x.shape[0]:
        raise RuntimeError(f"inconsistent target size, expected {x.shape[0]} but got {list(target.shape)}")
    c = x.shape[1]
    if x.shape[0] == 0:
        return _of_none(x, t, _reduction(reduction, size_average, reduce)) if reduction != "none" else x.sum(1)
    gap = (margin - _pick(x, t).unsqueeze(1) + x).clamp(min=0)
    gap = gap if p == 1 else gap * gap
    gap = gap if weight is None else gap * weight[t].unsqueeze(1)
    own = t.unsqueeze(1) == from_array(np.arange(c))
    loss = where(own, 0.0, gap).sum(1) / c
    loss = loss if input.ndim > 1 else loss.reshape(tuple(target.shape))
    return averaged(loss, _reduction(reduction, size_average, reduce))


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """The mean over classes of hinges of every target class (before the first -1) with every other."""
    _known(_reduction(reduction, size_average, reduce))
    x, t = _classes("multilabel_margin_loss", input, target)
    t = t.reshape(x.shape) if tuple(target.shape) == tuple(input.shape) else t
    if tuple(t.shape) != tuple(x.shape):
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    c = x.shape[1]
    listed = t.detach().array()
    live = np.cumprod(listed >= 0, 1).astype(bool)
    mine = np.zeros(listed.shape, bool)
    rows, columns = np.nonzero(live)
    mine[rows, listed[rows, columns]] = True
    chosen = x.gather(1, from_array(np.where(live, listed, 0)))
    gap = (1 - chosen.unsqueeze(2) + x.unsqueeze(1)).clamp(min=0)
    keep = from_array(live[:, :, None] & ~mine[:, None, :])
    loss = where(keep, gap, 0.0).sum((1, 2)) / c
    loss = loss if input.ndim > 1 else loss.reshape(())
    return averaged(loss, _reduction(reduction, size_average, reduce))


# ---- distances


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle along dim; norms are at least eps."""
    dtype = ew.result_type(x1, x2)
    if not dtype.is_float:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {type_name(dtype)}")
    a, b = broadcast_tensors(x1.to(dtype), x2.to(dtype))
    size = [safe_sqrt((v * v).sum(dim, True)) for v in (a, b)]
    floor = [s + (s.clamp(min=eps) - s).detach() for s in size]
    return ((a / floor[0]) * (b / floor[1])).sum(dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dimension."""
    return (x1 - x2 + eps).norm(p, -1, keepdim)


def pdist(input: Tensor, p: float = 2.0) -> Tensor:
    """The p-norm distance of every pair of rows."""
    if input.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if not input.dtype.is_float:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    i, j = np.triu_indices(input.shape[0], 1)
    gap = input[from_array(i)] - input[from_array(j)]
    if p not in (0, 1, 2, float("inf")):
        near = gap == 0
        total = where(near, 0.0, where(near, 1.0, ew.abs(gap)) ** p).sum(1)
        zero = total == 0
        return where(zero, 0.0, where(zero, 1.0, total) ** (1 / p)).to(input.dtype)  # type: ignore[no-any-return]
    return gap.norm(p, 1) if gap.shape[1] or p != float("inf") else gap.sum(1)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0, size_average: Any = None, reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    if not (target.ndim == 0 and input1.ndim == 1 or target.ndim == 1 and input1.ndim == 2):
        raise RuntimeError(
            f"{target.ndim}D target tensor expects {target.ndim + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    d = target.ndim
    eps = 1e-12
    product = (input1 * input2).sum(d)
    size = ((input1 * input1).sum(d) + eps) * ((input2 * input2).sum(d) + eps)
    cos = product / ew.sqrt(size)
    zero = constant(0.0, cos)
    loss = where(target == 1, 1 - cos, zero) + where(target == -1, (cos - margin).clamp(min=0), zero)
    return averaged(loss, _reduction(reduction, size_average, reduce))


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, d(anchor, positive) - d(anchor, negative) + margin)."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return triplet_margin_with_distance_loss(
        anchor, positive, negative, distance_function=distance, margin=margin, swap=swap,
        reduction=_reduction(reduction, size_average, reduce),
    )  # fmt: skip


def triplet_margin_with_distance_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, *, distance_function: Any = None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """triplet_margin_loss with a distance of one's own."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ew.minimum(far, distance(positive, negative))
    return averaged((margin + near - far).clamp(min=0), reduction)


# ---- alignments


class _Ctc(Function):
    """Connectionist temporal classification (Graves et al., 2006): forward and backward variables by NumPy in 64 "
    "bits."""

    @staticmethod
    def forward(ctx: Any, log_probs: Any, targets: Any, lengths: Any, sizes: Any, blank: Any) -> Any:
        x = log_probs.detach().array().astype(np.float64)
        labels = targets.array()
        losses, grads = np.zeros(x.shape[1]), np.zeros_like(x)
        at = 0
        for n in range(x.shape[1]):
            row = labels[at : at + sizes[n]] if labels.ndim == 1 else labels[n, : sizes[n]]
            at += sizes[n]
            losses[n], grads[:, n] = _ctc_one(x[: lengths[n], n], row, blank, x.shape[0])
        ctx.save_for_backward(from_array(grads).to(log_probs.dtype))
        return from_array(losses).to(log_probs.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (grads,) = ctx.saved_tensors
        return grads * g.reshape(1, -1, 1), None, None, None, None


def _ctc_one(x: Any, labels: Any, blank: int, steps: int) -> tuple[float, Any]:
    """(loss, gradient by the log-probabilities) of one sequence."""
    length, classes = x.shape
    path = np.full(2 * len(labels) + 1, blank)
    path[1::2] = labels
    size = len(path)
    skip = np.zeros(size, bool)
    skip[2:] = (path[2:] != blank) & (path[2:] != path[:-2])
    grad = np.zeros((steps, classes))
    if length == 0:
        return (0.0 if len(labels) == 0 else np.inf), grad
    with np.errstate(all="ignore"):
        alpha = _ctc_walk(x, path, skip)
        back_skip = np.zeros(size, bool)
        back_skip[:-2] = skip[2:]
        beta = _ctc_walk(x[::-1], path[::-1], back_skip[::-1])[::-1, ::-1]
        total = np.logaddexp(alpha[-1, -1], alpha[-1, -2]) if size > 1 else alpha[-1, -1]
        if np.isfinite(total):
            # as PyTorch has it: the derivative through a softmax, which log-probabilities are taken to come from
            grad[:length] = np.exp(x)
            both = alpha + beta - x[:, path]
            for s in range(size):
                grad[:length, path[s]] -= np.exp(both[:, s] - total)
    return -total, grad


def _ctc_walk(x: Any, path: Any, skip: Any) -> Any:
    length, size = x.shape[0], len(path)
    alpha = np.full((length, size), -np.inf)
    alpha[0, 0] = x[0, path[0]]
    if size > 1:
        alpha[0, 1] = x[0, path[1]]
    for t in range(1, length):
        before = alpha[t - 1]
        one = np.concatenate([[-np.inf], before[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], before[:-2]])[:size], -np.inf)
        alpha[t] = np.logaddexp(np.logaddexp(before, one), two) + x[t, path]
    return alpha


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Minus the log-probability of the targets under every alignment; log_probs are (T, N, C) or (T, C)."""
    lone = log_probs.ndim == 2
    x = log_probs.unsqueeze(1) if lone else log_probs
    targets = targets.unsqueeze(0) if lone and targets.ndim == 1 else targets
    lengths, sizes = (
        [int(n) for n in np.asarray(v.array() if isinstance(v, Tensor) else v).reshape(-1)]
        for v in (input_lengths, target_lengths)
    )
    if not 0 <= blank < x.shape[2]:
        raise RuntimeError("blank must be in label range")
    if len(lengths) != x.shape[1] or len(sizes) != x.shape[1]:
        raise RuntimeError("input_lengths must be of size batch_size" if len(lengths) != x.shape[1] else
                           "target_lengths must be of size batch_size")  # fmt: skip
    if max(lengths, default=0) > x.shape[0]:
        raise RuntimeError(f"Expected input_lengths to have value at most {x.shape[0]}, but got value {max(lengths)}")
    loss = _Ctc.apply(x, targets, lengths, sizes, blank)
    if zero_infinity:
        loss = where(loss == float("inf"), 0.0, loss)
    if reduction == "mean":
        share = from_array(np.maximum(np.array(sizes), 1).astype(np.float64)).to(loss.dtype)
        return (loss / share).mean()  # type: ignore[no-any-return]
    return averaged(loss.reshape(()) if lone else loss, reduction)
